"""The arithmetic of measuring against a fake clock, memory against known answers, the rest against torch."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seqbench import archs, measure, model
from seqbench.config import MeasureSettings
from seqbench.measure import Bench, Usage
from seqbench.records import Measured, Measurement

CPU = torch.device("cpu")
TINY = MeasureSettings(
    parameters=5000, lengths=(4, 8), batch=2, repetitions=5, seconds=100.0, gradient_length=6, gradient_seeds=(1, 2, 3)
)
TICK = 0.25


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by TICK at every look, on a machine with nobody else on it."""
    looks = itertools.count()
    monkeypatch.setattr(measure, "now", lambda device: next(looks) * TICK)
    monkeypatch.setattr(measure, "usage", lambda: Usage(next(looks), 0.0, 0.0))


def bench(arch: str, settings: MeasureSettings = TINY, **core: Any) -> Bench:
    return Bench(arch, archs.defaults(arch) | core, settings, CPU)


def run(arch: str, settings: MeasureSettings = TINY, say: Callable[[str], None] = lambda text: None) -> Measured:
    return measure.measure(arch, archs.defaults(arch), settings, CPU, say)


def at(measured: Measured, quantity: str) -> dict[int, Measurement]:
    return {m.length: m for m in measured.measurements if m.quantity == quantity}


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("arch", archs.names())
def test_every_quantity_at_every_length(arch: str, clock: None) -> None:
    measured = run(arch)
    for quantity in ("train", "infer", "stream", "train_memory"):
        assert list(at(measured, quantity)) == [4, 8]
    assert list(at(measured, "gradient")) == [0, 1, 2, 3, 4, 5]
    assert all(m.status == "ok" and m.flags == () for m in measured.measurements)
    assert measured.parameters == pytest.approx(5000, rel=0.05)
    assert measured.provenance.threads == torch.get_num_threads()
    assert Measured.from_data(measured.plain()) == measured


def test_values_are_those_of_the_clock(clock: None) -> None:
    measured = run("rnn")
    for quantity, length in itertools.product(("train", "infer"), (4, 8)):
        value = at(measured, quantity)[length].value
        assert value is not None
        assert value.median == value.q25 == value.q75 == value.p99 == TINY.batch * length / TICK
        assert value.repetitions == 5
    stream = at(measured, "stream")[8]
    assert stream.value is not None
    assert (stream.value.median, stream.unit, stream.batch) == (1000 * TICK, "ms", 1)
    assert {m.value.repetitions for m in at(measured, "gradient").values() if m.value} == {3}


def test_a_real_clock_gives_positive_rates() -> None:
    quick = TINY.model_copy(update={"lengths": (4,), "seconds": 0.0})
    for m in run("rnn", quick).measurements:
        assert m.value is not None
        assert m.value.median > 0
        assert m.quantity in ("train_memory", "gradient") or m.value.repetitions == 3


def test_the_order_is_shuffled_and_always_the_same(clock: None) -> None:
    def order() -> list[str]:
        lines: list[str] = []
        run("rnn", say=lines.append)
        return [line.split(":")[0] for line in lines]

    first = order()
    assert first == order()
    assert first != sorted(first)
    swept = itertools.product(("train", "infer", "stream", "train_memory"), (4, 8))
    assert set(first) == {f"{name} at length {n}" for name, n in swept} | {"gradient at length 6"}


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("seconds", "most", "made"), [(100.0, 5, 5), (1.0, 20, 4), (0.0, 20, 3), (100.0, 1, 3)], ids=str
)
def test_repetitions_end_after_seconds_but_not_before_three(seconds: float, most: int, made: int) -> None:
    looks = itertools.count()
    taken = measure.repeat(lambda: None, 3, most, seconds, lambda: next(looks) * TICK)
    assert taken == [TICK] * made


def test_quantiles_are_numpys() -> None:
    found = measure.quantiles(range(101))
    assert (found.q25, found.median, found.q75, found.p99, found.repetitions) == (25.0, 50.0, 75.0, 99.0, 101)


def test_a_training_step_learns_and_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    clipped: list[float] = []
    loss, clip = model.loss, torch.nn.utils.clip_grad_norm_

    def spy_loss(*args: Any) -> Tensor:
        found = loss(*args)
        losses.append(found.item())
        return found

    def spy_clip(parameters: Any, limit: float) -> Tensor:
        clipped.append(limit)
        return clip(parameters, limit)

    monkeypatch.setattr(model, "loss", spy_loss)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy_clip)
    step = bench("gru").train(4)
    for _ in range(20):
        step()
    assert clipped == [measure.CLIP] * 20
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_streaming_repeats_the_step_after_the_context(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Tensor, Any, Tensor]] = []
    step = model.Model.step

    def spy(self: model.Model, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        out, after = step(self, x_t, state)
        calls.append((x_t, state, out))
        return out, after

    monkeypatch.setattr(model.Model, "step", spy)
    at_context = bench(arch)
    work = at_context.stream(7)
    assert len(calls) == 7
    work()
    work()
    (x_t, state, out), (_, again, _) = calls[7:]
    assert again is state
    assert x_t.shape == (1, measure.FEATURES)
    if arch == "transformer":
        assert [keys.shape[2] for keys, _ in state] == [7]
    x, _ = at_context.data(1, 8)
    torch.testing.assert_close(out, at_context.net().eval()(x), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- contention


def looks(*shares: float) -> Iterator[Usage]:
    """Two looks a second apart for each share of a core that others take, while this process takes 1.5 s."""
    for n, share in enumerate(shares):
        yield Usage(10.0 * n, 5.0 * n, 100.0 * n)
        yield Usage(10.0 * n + 1, 5.0 * n + 1.5, 100.0 * n + 1.5 + share)


@pytest.mark.parametrize(
    ("shares", "kept", "contended"),
    [((0.0,), 0, False), ((0.15,), 0, False), ((0.9, 0.1), 1, False), ((0.9, 0.4), 1, True), ((0.4, 0.9), 0, True)],
    ids=str,
)
def test_a_disturbed_point_is_repeated_once_and_the_quieter_kept(
    shares: tuple[float, ...], kept: int, contended: bool
) -> None:
    seen, tries = looks(*shares), itertools.count()
    assert measure.quietly(lambda: next(tries), lambda: next(seen)) == (kept, contended)
    assert next(tries) == len(shares)


def test_others_are_what_is_busy_but_not_own() -> None:
    assert measure.others(Usage(0, 0, 0), Usage(2, 3, 4)) == pytest.approx(0.5, abs=0.011)
    assert measure.others(Usage(0, 0, 0), Usage(1, 1, 0.99)) == 0.0


def test_usage_counts_on() -> None:
    before = measure.usage()
    sum(range(200_000))
    after = measure.usage()
    assert after.wall > before.wall
    assert after.own > before.own
    assert after.busy >= before.busy > 0


def test_contention_is_flagged(clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "quietly", lambda work, look: (work(), True))
    lines: list[str] = []
    for m in run("rnn", say=lines.append).measurements:
        assert m.flags == (("contended",) if m.quantity in ("train", "infer", "stream") else ())
    assert sum("(contended)" in line for line in lines) == 6


# ---------------------------------------------------------------- memory


def test_memory_of_a_chain_of_saved_activations() -> None:
    """x and k saved results, each n float32; backward holds two gradients more."""
    n, k = 100_000, 10

    def chain() -> None:
        x = torch.zeros(n, requires_grad=True)
        y = x
        for _ in range(k):
            y = y.exp()
        y.sum().backward()  # type: ignore[no-untyped-call]

    assert measure.allocated(chain) == pytest.approx(4 * n * (k + 1 + 2), rel=0.02)


def test_memory_given_back_does_not_count() -> None:
    n = 100_000

    @torch.no_grad()
    def chain() -> None:
        y = torch.zeros(n)
        for _ in range(10):
            y = y.exp()  # the old and the new

    assert measure.allocated(chain) == pytest.approx(4 * n * 2, rel=0.02)


def test_memory_that_stays_between_calls_counts() -> None:
    n = 100_000

    def make() -> measure.Work:
        kept = torch.ones(3 * n)
        return lambda: kept[:n] * 2.0

    assert measure.peak_memory(make, CPU) == pytest.approx(4 * n * (3 + 1), rel=0.02)


def test_memory_of_training_repeats_and_is_linear_for_an_lstm() -> None:
    of = bench("lstm")
    short, middle, long = (measure.peak_memory(lambda n=n: of.train(n), CPU) for n in (100, 200, 400))  # type: ignore[misc]
    assert long - middle == pytest.approx(2 * (middle - short), rel=0.02)
    assert measure.peak_memory(lambda: of.train(100), CPU) == short
    assert short > 4 * 4 * model.count(of.net()).matched  # weights, gradients, two moments; float32


# ---------------------------------------------------------------- gradient


def test_gradient_is_that_of_each_sequence_alone() -> None:
    of = bench("lstm")
    net = of.net(7).double()
    x, y = of.data(TINY.batch, 6, 7)
    norms = []
    for item, label in zip(x.double(), y, strict=True):
        steps = [x_t.clone().requires_grad_() for x_t in item]
        F.cross_entropy(net(torch.stack(steps)[None])[0], label).backward()  # type: ignore[no-untyped-call]
        norms.append([float(torch.linalg.vector_norm(x_t.grad)) for x_t in reversed(steps)])  # type: ignore[arg-type]
    means = [sum(of_lag) / len(norms) for of_lag in zip(*norms, strict=True)]
    assert of.gradient(7, 6) == pytest.approx(means, rel=1e-9)
    assert of.gradient(8, 6) != pytest.approx(means, rel=1e-3)


def test_gradient_below_float32_is_seen() -> None:
    far = bench("rnn", MeasureSettings(parameters=2000, lengths=(4,), batch=2, gradient_length=1000)).gradient(1, 1000)
    assert 0.0 < far[-1] < 1e-60  # the smallest float32 is 1e-45


def test_gradient_has_no_dropout_in_it() -> None:
    wet, dry = (bench("gru", layers=2, dropout=p).gradient(1, 6) for p in (0.5, 0.0))
    assert wet == dry


def test_a_gradient_of_zero_is_a_value(clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Bench.net

    def forgetful(self: Bench, seed: int = 0) -> model.Model:
        made = net(self, seed)
        for name, values in made.named_parameters():
            if "weight_hh" in name:
                torch.nn.init.zeros_(values)
        return made

    monkeypatch.setattr(Bench, "net", forgetful)
    gradient = at(run("rnn"), "gradient")
    medians = [gradient[lag].value.median for lag in range(6)]  # type: ignore[union-attr]
    assert medians[0] > 0
    assert medians[1:] == [0.0] * 5


def test_lags() -> None:
    assert measure.lags(1) == [0]
    assert measure.lags(2) == [0, 1]
    found = measure.lags(1000)
    assert (found[:4], found[-1]) == ([0, 1, 2, 3], 999)
    assert 15 < len(found) <= 25
    assert found == sorted(set(found))


# ---------------------------------------------------------------- failures and modes


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_is_a_result(error: Exception, clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Bench.train

    def small_only(self: Bench, length: int) -> measure.Work:
        if length > 4:
            raise error
        return train(self, length)

    monkeypatch.setattr(Bench, "train", small_only)
    measured = run("rnn")
    for quantity in ("train", "train_memory"):
        short, long = at(measured, quantity).values()
        assert (short.status, long.status, long.value) == ("ok", "out_of_memory", None)
        assert short.value is not None
    assert at(measured, "infer")[8].status == "ok"


def test_out_of_memory_of_the_gradient_is_recorded_at_every_lag(clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Bench, seed: int, length: int) -> list[float]:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Bench, "gradient", fail)
    gradient = at(run("rnn"), "gradient")
    assert list(gradient) == [0, 1, 2, 3, 4, 5]
    assert {(m.status, m.value) for m in gradient.values()} == {("out_of_memory", None)}


def test_another_error_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Bench, length: int) -> measure.Work:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Bench, "infer", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run("rnn")


def modes() -> list[bool]:
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        gc.get_freeze_count() > 0,
    ]


@pytest.fixture
def strict() -> Iterator[None]:
    """Deterministic mode with TF32 on: nothing that measuring wants."""
    deterministic, _, cudnn, products, _ = modes()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, products


@pytest.mark.parametrize("fails", [False, True])
def test_modes_come_back(fails: bool, strict: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[bool]] = []

    def spy(*args: Any) -> list[Measurement]:
        seen.append(modes())
        if fails:
            raise KeyError
        return point(*args)

    point = measure.point
    monkeypatch.setattr(measure, "point", spy)
    before = modes()
    if fails:
        with pytest.raises(KeyError):
            run("rnn")
    else:
        run("rnn", TINY.model_copy(update={"lengths": (4,), "seconds": 0.0}))
    assert seen == [[False, False, False, False, True]] * len(seen)
    assert before == modes() == [True, True, True, True, False]
