"""Counts against closed formulas, kernels against each other, curves against counts; the peaks of this machine."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqbench import archs, model
from seqbench.measure import peaks, work
from seqbench.measurements import Peak
from seqbench.records import Spec

CPU = torch.device("cpu")
EVERY = archs.names()
every = pytest.mark.parametrize("arch", EVERY)
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
gated = pytest.mark.parametrize("arch", GATES)
BATCH, TIME, WIDTH, FEATURES, CLASSES = 3, 20, 24, 8, 10  # 24 = 2 heads of 12: attention fills up no columns
STEP = 4
"""Bytes of a number."""


def core(arch: str, causal: bool = True, **settings: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        return archs.find(arch)(WIDTH, length=TIME, causal=causal, **archs.defaults(arch) | settings)


def net(arch: str) -> model.Model:
    spec = Spec(
        inputs="values",
        input_size=FEATURES,
        outputs="classes",
        output_size=CLASSES,
        length=TIME,
        metric="accuracy",
        direction="max",
    )
    made = model.build(spec, arch, archs.defaults(arch), WIDTH, 0)
    assert isinstance(made, model.Model)
    return made


def infer(arch: str, length: int) -> Callable[[], object]:
    made, x = net(arch).eval(), torch.ones(BATCH, length, FEATURES)
    return torch.inference_mode()(lambda: made(x))


def train(arch: str, length: int) -> Callable[[], object]:
    made, x, y = net(arch).train(), torch.ones(BATCH, length, FEATURES), torch.zeros(BATCH, dtype=torch.int64)
    optimizer = torch.optim.AdamW(made.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model.loss(made(x), y, made.spec).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def stream(arch: str, length: int) -> Callable[[], object]:
    made, x_t, state = net(arch).eval(), torch.ones(1, FEATURES), None
    with torch.inference_mode():
        for _ in range(length):
            _, state = made.step(x_t, state)
    return torch.inference_mode()(lambda: made.step(x_t, state))


def backward(made: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """Forward and backward, gradients by the inputs too."""
    return lambda: made(*(x.detach().requires_grad_() for x in inputs)).sum().backward()  # type: ignore[no-untyped-call]


def flops(step: Callable[[], object]) -> float:
    return work.count(step)[0]


def traffic(step: Callable[[], object]) -> float:
    return work.count(step)[1]


def products(arch: str, length: int) -> int:
    """Operations of one layer's forward pass on a batch of sequences of this length."""
    if arch in GATES:
        return GATES[arch] * 2 * BATCH * length * 2 * WIDTH**2
    maps: int = (4 + 2 * archs.defaults(arch)["expansion"]) * WIDTH**2
    return BATCH * length * (2 * maps + 4 * length * WIDTH)


KNOWN = [*GATES, "transformer"]
known = pytest.mark.parametrize("arch", KNOWN)

# ---------------------------------------------------------------- closed formulas


@known
def test_a_forward_pass_has_the_products_of_its_equations(arch: str) -> None:
    made, x = core(arch).eval(), torch.ones(BATCH, TIME, WIDTH)
    assert flops(torch.inference_mode()(lambda: made(x))) == products(arch, TIME)
    assert flops(torch.no_grad()(lambda: made(x))) == products(arch, TIME)


@known
@pytest.mark.parametrize("causal", [True, False])
def test_layers_add_up_and_both_ways_share_the_width(arch: str, causal: bool) -> None:
    made, x = core(arch, causal, layers=2).eval(), torch.ones(BATCH, TIME, WIDTH)
    both_ways = not causal and arch in GATES  # two directions of half the width: W (w/2 x w) and U (w/2 x w/2) each
    expected = 2 * products(arch, TIME) * (3 if both_ways else 4) // 4
    assert flops(torch.inference_mode()(lambda: made(x))) == expected


@known
def test_training_costs_three_times_the_forward_pass(arch: str) -> None:
    """But for the first step of ATen's loops, whose state of zeros gets no gradient."""
    made, x = core(arch).train(), torch.ones(BATCH, TIME, WIDTH)
    free = GATES[arch] * 2 * BATCH * WIDTH**2 if arch in ("rnn", "gru") else 0
    assert flops(backward(made, x)) == 3 * products(arch, TIME) - free


@known
def test_a_model_has_a_frontend_and_a_head(arch: str) -> None:
    frontend, head = 2 * BATCH * TIME * FEATURES * WIDTH, 2 * BATCH * WIDTH * CLASSES
    assert flops(infer(arch, TIME)) == frontend + products(arch, TIME) + head
    free = frontend + (GATES[arch] * 2 * BATCH * WIDTH**2 if arch in ("rnn", "gru") else 0)  # x needs no gradient
    assert flops(train(arch, TIME)) == 3 * (frontend + products(arch, TIME) + head) - free


@known
def test_a_streamed_step_costs_the_same_for_ever_or_grows_with_what_it_attends_to(arch: str) -> None:
    ends = 2 * WIDTH * (FEATURES + CLASSES)
    for length in (0, 1, 10, 33):
        pairs = 0 if arch in GATES else length * 4 * WIDTH
        assert flops(stream(arch, length)) == ends + products(arch, 1) / BATCH + pairs


@every
def test_every_architecture_has_products_and_traffic(arch: str) -> None:
    for make in (train, infer, stream):
        operations, moved = work.count(make(arch, 5))
        assert operations > 2 * FEATURES * WIDTH
        assert moved > STEP * sum(p.numel() for p in core(arch).parameters() if p.dim() == 2)


# ---------------------------------------------------------------- kernels against each other


@pytest.mark.parametrize("causal", [True, False])
def test_fused_attention_counts_as_much_as_attention_written_out(causal: bool) -> None:
    made, x = core("transformer", causal), torch.ones(BATCH, TIME, WIDTH)
    for run in (torch.inference_mode()(lambda: made(x)), backward(made, x)):
        fused = flops(run)
        with sdpa_kernel(SDPBackend.MATH):
            assert flops(run) == fused


def test_shared_heads_of_keys_count_for_each_head_of_queries() -> None:
    q, k, v = torch.ones(2, 6, 5, 4), torch.ones(2, 3, 7, 4), torch.ones(2, 3, 7, 4)
    assert work._attention(q, k, v) == 2 * (2 * 6 * 5 * 7 * 4) * 2
    with sdpa_kernel(SDPBackend.MATH):
        assert flops(lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)) == work._attention(q, k, v)


def test_the_fused_lstm_counts_as_much_as_cells() -> None:
    made, x = core("lstm"), torch.ones(BATCH, TIME, WIDTH)

    @torch.no_grad()
    def cells() -> None:
        state = None
        for x_t in x.unbind(1):
            _, state = made.step(x_t, state)

    fused, loop = work.count(torch.no_grad()(lambda: made(x))), work.count(cells)
    assert loop[0] == fused[0]
    assert loop[1] > 2 * fused[1]  # the cells read the weights at each step


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_cudnns_formula_counts_as_much_as_the_cpu(kind: Callable[..., nn.Module]) -> None:
    made, x = kind(5, 7, num_layers=2, bidirectional=True), torch.ones(4, 3, 5)
    weights = list(made.parameters())
    here = flops(torch.no_grad()(lambda: made(x)))
    assert work.FORMULAS[torch.ops.aten._cudnn_rnn]((x, weights)) == here
    for asked, times in ((True, 2), (False, 1)):
        args = (x, weights, *[None] * 19, [True, True, True, asked])
        assert work.FORMULAS[torch.ops.aten._cudnn_rnn_backward](args) == times * here


def test_cudnns_arguments_stand_where_the_formula_looks() -> None:
    for name, places in (("_cudnn_rnn", {0: "input", 1: "weight"}), ("_cudnn_rnn_backward", {21: "output_mask"})):
        schema = getattr(torch.ops.aten, name).default._schema
        assert {place: schema.arguments[place].name for place in places} == places


def test_every_backward_of_attention_has_its_inputs_where_the_formula_looks() -> None:
    kinds = [packet for packet in work.FORMULAS if "attention" in str(packet) and "backward" in str(packet)]
    assert len(kinds) == 4
    for packet in kinds:
        assert [argument.name for argument in packet.default._schema.arguments[1:4]] == ["query", "key", "value"]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_count_the_channels_of_a_group(groups: int) -> None:
    x = torch.ones(2, 4, 9)
    made = nn.Conv1d(4, 8, 3, padding=1, groups=groups)
    forward = 2 * 2 * 9 * 8 * (4 // groups) * 3
    assert flops(lambda: made(x)) == forward
    assert flops(backward(made, x)) == 3 * forward
    turned = nn.ConvTranspose1d(4, 8, 3, groups=groups)
    assert flops(lambda: turned(x)) == forward
    assert flops(backward(turned, x)) == 3 * forward


def test_products_with_a_vector_count() -> None:
    a, b, v = torch.ones(3, 5), torch.ones(5, 2), torch.ones(5)
    bias = torch.ones(3)
    assert flops(lambda: a @ v) == flops(lambda: torch.addmv(bias, a, v)) == 2 * 15
    assert flops(lambda: v @ v) == 2 * 5
    assert flops(lambda: torch.addbmm(torch.ones(3, 2), a.expand(4, 3, 5), b.expand(4, 5, 2))) == 2 * 4 * 3 * 5 * 2
    assert flops(lambda: torch._addmm_activation(torch.ones(2), a, b)) == 2 * 3 * 5 * 2
    assert flops(lambda: torch.einsum("ij,jk->ik", a, b)) == 2 * 3 * 5 * 2


def test_torchs_own_transformer_is_not_one_operator() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.ones(2, 5, 8)
    expected = 2 * 2 * 5 * (4 * 64 + 2 * 8 * 16) + 4 * 2 * 5 * 5 * 8
    assert flops(torch.inference_mode()(lambda: layer(x))) == expected
    assert torch.backends.mha.get_fastpath_enabled()


# ---------------------------------------------------------------- bytes


def test_bytes_are_those_of_inputs_and_outputs() -> None:
    x, weight, bias = torch.ones(6, 5), torch.ones(7, 5), torch.ones(7)
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        assert traffic(mode()(lambda: F.linear(x, weight, bias))) == STEP * (30 + 35 + 7 + 42)
    assert traffic(lambda: x.double()) == STEP * 30 + 8 * 30
    assert traffic(lambda: torch.cat((x, x))) == STEP * 120
    assert traffic(lambda: torch.zeros(11)) == STEP * 11
    assert traffic(lambda: float(x.flatten()[0])) == STEP


def test_views_and_empty_memory_are_free() -> None:
    x = torch.ones(6, 5)
    assert traffic(lambda: x.t().reshape(30).view(5, 6).select(1, 0).unbind(0)) == STEP * 60  # reshape has to copy
    assert traffic(lambda: x.view(5, 6).unsqueeze(0).expand(3, 5, 6)) == 0
    assert traffic(lambda: torch.empty_like(x)) == 0


def test_what_is_written_in_place_counts_once() -> None:
    x, y = torch.ones(6, 5), torch.ones(6, 5)
    assert traffic(lambda: x.add_(y)) == STEP * 90
    assert traffic(lambda: torch.mul(x, 2.0, out=y)) == STEP * 90  # the output is an argument as well
    assert traffic(lambda: torch._foreach_mul_([x, y], 2.0)) == STEP * 120


def test_what_a_stride_of_zero_repeats_is_read_once() -> None:
    x = torch.ones(5, 1)
    assert traffic(lambda: x.expand(5, 7) + 1.0) == STEP * (5 + 35)
    assert traffic(lambda: x.t().expand(0, 5).clone()) == 0


def test_an_optimizer_reads_and_writes_weights_gradients_and_moments() -> None:
    parameter = nn.Parameter(torch.ones(100))
    parameter.grad = torch.ones(100)
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, fused=True)
    assert traffic(optimizer.step) == STEP * 600  # SGD writes its gradients too


def test_a_step_is_called_twice_and_the_second_call_counts() -> None:
    calls = itertools.count(1)
    assert traffic(lambda: torch.zeros(next(calls))) == STEP * 2
    assert next(calls) == 3


# ---------------------------------------------------------------- along the length


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SAMPLE", (4, 9, 15))
    monkeypatch.setattr(work, "CHECK", 24)


class Made:
    """Makes steps, and notes the lengths that were asked for."""

    def __init__(self, make: Callable[[int], Callable[[], object]]) -> None:
        self.make, self.lengths = make, list[int]()

    def __call__(self, length: int) -> Callable[[], object]:
        self.lengths.append(length)
        return self.make(length)


@every
@pytest.mark.parametrize("phase", [train, infer, stream])
def test_the_curve_gives_what_counting_gives(
    arch: str, phase: Callable[[str, int], Callable[[], object]], short: None
) -> None:
    made, tokens = Made(partial(phase, arch)), 1 if phase is stream else BATCH
    found = work.along(made, (9, 60), lambda length: tokens * length)
    for length in (9, 60):
        assert found[length] == tuple(total / (tokens * length) for total in work.count(phase(arch, length)))
    if arch in KNOWN and (arch, phase) != ("lstm", train):  # whole pages are much of so small a model
        assert sorted(made.lengths) == [4, 9, 15, 24]


def test_a_length_within_reach_is_counted_and_nothing_else(short: None) -> None:
    made = Made(partial(infer, "rnn"))
    assert list(work.along(made, (7, 24), lambda length: length)) == [7, 24]
    assert made.lengths == [7, 24]


@pytest.mark.parametrize(("most", "runs"), [(20, [4, 9, 15, 24, 60]), (10, [4, 9, 15, 24, 60]), (99, [4, 9, 15, 24])])
def test_what_is_on_no_curve_is_counted_as_it_is(most: int, runs: list[int], short: None) -> None:
    """Attention to so many last steps: a square up to there, a line beyond."""

    def make(length: int) -> Callable[[], object]:
        x = torch.ones(length, 2)
        return lambda: [x[t : t + 1] @ x[max(0, t - most + 1) : t + 1].t() for t in range(length)]

    made = Made(make)
    found = work.along(made, (60,), lambda length: 1)
    pairs = sum(min(t + 1, most) for t in range(60)) if 60 in runs else 60 * 61 // 2
    assert found[60][0] == 2 * 2 * pairs
    assert made.lengths == runs


def test_blocks_of_steps_are_found_out(short: None) -> None:
    def make(length: int) -> Callable[[], object]:
        x = torch.ones(-(-length // 16) * 16, 8)
        return lambda: x @ x[:8]

    assert work.along(make, (90,), lambda length: 1)[90][0] == 2 * 96 * 64


@pytest.mark.parametrize(("rounded", "found"), [(1, 8192 * 1001), (500, 8192 * 1001), (5000, None)])
def test_whole_pages_are_taken_for_a_line(rounded: int, found: int | None) -> None:
    counts = {length: float(-(-length * 1001 // rounded) * rounded) for length in (24, 70, 130, 512)}
    curve = work._curve(counts)
    assert (curve and curve(8192)) == (found and pytest.approx(found, rel=1e-3))


def test_a_parabola_must_hold_exactly_or_be_a_line() -> None:
    counts = {length: 3.0 * length**2 + length + 7 for length in (24, 70, 130, 512)}
    curve = work._curve(counts)
    assert curve is not None
    assert curve(8192) == 3 * 8192**2 + 8192 + 7
    assert work._curve(counts | {512: counts[512] + 1}) is None


def test_the_method_names_its_lengths() -> None:
    assert "above 512" in work.METHOD
    assert "24, 70, 130, 512" in work.METHOD
    assert "within 0.1%" in work.METHOD


# ---------------------------------------------------------------- this machine


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "SIZES", {"cpu": (8, 64)})
    monkeypatch.setattr(peaks, "BUFFER", {"cpu": 2**16})


def test_peaks_of_this_machine(small: None) -> None:
    threads = torch.get_num_threads()
    found = peaks.peaks(CPU, threads + 1, 0.0)
    assert found.threads == threads + 1
    assert torch.get_num_threads() == threads
    for rates in (found.flops, found.traffic):
        assert rates.repetitions == peaks.LEAST
        assert 0 < rates.q25 <= rates.median <= rates.q75 <= rates.p99
        assert rates.variation >= 0
    assert Peak.from_data(found.plain()) == found


def test_peaks_are_rates_of_the_best_size(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    seconds = {2.0 * 8**3: 1e-6, 2.0 * 64**3: 1e-3, 2.0 * 2**16: 1.0}

    def rates(work_: Callable[[], object], amount: float, limit: float, device: torch.device) -> list[float]:
        work_()
        seen.append((amount, limit))
        return [amount / seconds[amount] * share for share in (0.5, 1.0, 1.5)]

    monkeypatch.setattr(peaks, "_rates", rates)
    found = peaks.peaks(CPU, 1, 7.0)
    assert seen == [(2.0 * 8**3, 0.0), (2.0 * 64**3, 0.0), (2.0 * 8**3, 7.0), (2.0 * 2**16, 7.0)]
    assert (found.flops.median, found.traffic.median) == (2 * 8**3 / 1e-6, 2 * 2**16)
    assert found.flops.variation == pytest.approx(0.5)


def test_repetitions_go_on_for_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: 0.25 * next(looks))
    calls = itertools.count()
    assert peaks._rates(lambda: next(calls), 10.0, 2.0, CPU) == [40.0] * 8
    assert next(calls) == 9  # one before the clock ran


def test_a_small_memory_gets_a_small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 8 * 4000

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    amounts: list[float] = []
    monkeypatch.setattr(peaks, "_rates", lambda work_, amount, *rest: amounts.append(amount))
    peaks._copies(CPU, 0.0)
    assert amounts == [2 * 4000]


@pytest.mark.parametrize(
    ("arch", "kernel"),
    [("lstm", "aten::mkldnn_rnn_layer"), ("transformer", "aten::_scaled_dot_product_flash_attention_for_cpu")],
)
def test_the_fused_kernels_are_named(arch: str, kernel: str) -> None:
    made, x = core(arch), torch.ones(BATCH, 200, WIDTH)
    found = peaks.kernels(torch.no_grad()(lambda: made(x)), CPU)
    assert len(found) == 5
    assert kernel in {line.split()[0] for line in found}


def test_autograd_is_no_kernel() -> None:
    found = peaks.kernels(train("rnn", 3), CPU, most=1000)
    assert {line.split("::")[0] for line in found} == {"aten"}


def event(name: str, device: str, taken: float, mine: bool = False) -> SimpleNamespace:
    """A line of the profiler's record, with half the time on the CPU."""
    times = {"self_cpu_time_total": taken / 2, "self_device_time_total": taken}
    return SimpleNamespace(key=name, device_type=SimpleNamespace(name=device), is_user_annotation=mine, **times)


EVENTS = [
    event("autograd::engine::evaluate_function: MmBackward0", "CPU", 90.0),
    event("MmBackward0", "CPU", 90.0),
    event("Optimizer.step#AdamW.step", "CUDA", 90.0, mine=True),
    event("x" * 200, "CUDA", 10.0),
    event("sgemm", "CUDA", 20.0),
    event("sgemm", "CUDA", 10.0),
    event("nothing", "CUDA", 0.0),
    event("aten::add", "CPU", 20.0),
    event("aten::mm", "CPU", 60.0),
    event("mine::scan", "CPU", 40.0),
    event("aten::t", "CPU", 0.0),
]


@pytest.mark.parametrize(
    ("device", "most", "lines"),
    [
        ("cpu", 5, ("aten::mm 50 %", "mine::scan 33 %", "aten::add 17 %")),
        ("cpu", 1, ("aten::mm 50 %",)),
        ("cuda", 5, ("sgemm 75 %", f"{'x' * peaks.LONGEST} 25 %")),
    ],
)
def test_kernels_come_by_cost_with_their_share(
    device: str, most: int, lines: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = SimpleNamespace(key_averages=lambda: EVENTS)
    steps: list[str] = []
    monkeypatch.setattr(peaks, "profile", lambda activities: contextlib.nullcontext(record))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: steps.append("wait"))
    assert peaks.kernels(lambda: steps.append("work"), torch.device(device), most) == lines
    assert steps == ["work", "work", *(["wait"] if device == "cuda" else [])]
