"""The clock of measuring against fake clocks, memory against known answers, ways of running against each other."""

from __future__ import annotations

import gc
import itertools
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from planted import provenance
from torch import Tensor, nn
from torch.nn import functional as F

from seqbench import archs, model, tasks
from seqbench.batches import Splits
from seqbench.config import MeasureSettings
from seqbench.device import out_of_memory
from seqbench.errors import MachineError
from seqbench.measure import bench as benches
from seqbench.measure import clock, count, forms, kept, memory, pace, peaks, speed, visits
from seqbench.measure.bench import Bench
from seqbench.measure.clock import Frequency, Seen, Usage, Work
from seqbench.measure.visits import Visit
from seqbench.measurements import Check, Counted, Gates, Measured, Measurement, Pace, Peak, Prediction
from seqbench.prepare import prepare
from seqbench.records import Setting, TrainSettings, TuneSettings
from seqbench.train import Job

CPU = torch.device("cpu")
TINY = MeasureSettings(
    parameters=6000,
    lengths=(4, 8),
    batch=2,
    tokens=32,
    batches=(1, 2),
    length=4,
    contexts=(2, 3),
    generate=2,
    repetitions=6,
    seconds=100.0,
    memory_lengths=(8, 16, 32, 64),
    window=4,
    fits=2**20,
    gradient_length=6,
)
TICK = 0.25


def bench(arch: str, settings: MeasureSettings = TINY, **core: Any) -> Bench:
    return Bench(arch, archs.defaults(arch) | core, settings, CPU)


def passed(arch: str, *checks: Check, kind: str = "embedding, every, causal") -> Gates:
    return Gates(
        arch=arch,
        core=archs.defaults(arch),
        version=archs.version(arch),
        checks=(FAILED.model_copy(update={"passed": True, "model": kind}), *checks),
        provenance=provenance(),
    )


FAILED = Check(
    gate="causality",
    model="embedding, every, causal",
    passed=False,
    deviation=1.0,
    tolerance=0.0,
    note="output 2 changes with input 5",
)


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("seconds", "most", "made"), [(100.0, 5, 5), (1.0, 20, 4), (0.0, 20, 3), (100.0, 1, 3)], ids=str
)
def test_repetitions_end_after_seconds_but_not_before_three(seconds: float, most: int, made: int) -> None:
    looks = itertools.count()
    taken = clock.repeat(lambda: None, 3, most, seconds, lambda: next(looks) * TICK)
    assert taken == [TICK] * made


@pytest.mark.parametrize(
    ("seconds", "taken", "made"),
    [(100.0, [9, 5, 3, 1, 1, 1, 1, 1], 9), (100.0, [1] * 6, 7), (12.0, [9, 5, 3, 1], 3), (0.0, [1, 1], 3)],
    ids=str,
)
def test_warm_up_ends_when_repetitions_take_as_long_as_before(seconds: float, taken: list[float], made: int) -> None:
    times = itertools.accumulate(itertools.chain.from_iterable((0, one) for one in taken))
    assert clock.warm_up(lambda: None, seconds, lambda: next(times)) == made


def test_quantiles_are_numpys() -> None:
    found = clock.quantiles(range(101))
    assert (found.q25, found.median, found.q75, found.p99, found.repetitions) == (25.0, 50.0, 75.0, 99.0, 101)
    assert found.variation == pytest.approx(29.3 / 50, rel=1e-3)
    assert clock.quantiles([3.0]).variation == 0.0


def test_a_budget_of_seconds_ends_the_work() -> None:
    with pytest.raises(clock.OverBudget, match=r"0\.05 s"), clock.seconds_at_most(0.05):
        while True:
            time.sleep(0.001)
    with clock.seconds_at_most(0.05):
        pass
    time.sleep(0.06)  # the alarm is off again


def test_a_budget_is_seen_through_the_errors_of_a_library() -> None:
    with pytest.raises(clock.OverBudget), clock.seconds_at_most(0.01) as alarm:
        try:
            while True:
                time.sleep(0.001)
        except clock.OverBudget as error:
            raise KeyError("the compiler failed") from error
    assert alarm.over
    with pytest.raises(RuntimeError, match="its own"), clock.seconds_at_most(10.0):
        raise RuntimeError("its own")


def test_a_torch_that_does_not_recover_is_said_in_three_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Tensor:
        raise RuntimeError("could not create a primitive")

    def fill() -> None:
        with clock.bytes_at_most(2**28, CPU):
            torch.zeros(2**27)

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        fill()
    monkeypatch.setattr(torch.nn.functional, "linear", broken)
    with pytest.raises(MachineError, match="could not create a primitive") as caught:
        fill()
    assert "points that were measured are kept" in caught.value.fix


def test_a_budget_of_bytes_is_what_the_kernel_gives() -> None:
    with clock.bytes_at_most(2**28, CPU):
        torch.zeros(2**24)  # 64 MiB
        with pytest.raises(RuntimeError) as caught:
            torch.zeros(2**27)  # 512 MiB
    assert out_of_memory(caught.value)
    torch.zeros(2**27)


# ---------------------------------------------------------------- a quiet machine


def looks(*shares: float) -> Iterator[Usage]:
    """Two looks a second apart for each share of a core that others take, while this process takes 1.5 s."""
    for n, share in enumerate(shares):
        yield Usage(10.0 * n, 5.0 * n, 100.0 * n)
        yield Usage(10.0 * n + 1, 5.0 * n + 1.5, 100.0 * n + 1.5 + share)


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})


class Clocked(Frequency):
    """A clock frequency as told."""

    def __init__(self, *megahertz: float | None) -> None:
        super().__init__(CPU)
        self.told = iter(megahertz)

    def read(self, threads: int) -> float | None:
        return next(self.told, None)


@pytest.mark.parametrize(
    ("shares", "kept", "flags"),
    [
        ((0.0,), 0, ()),
        ((0.15,), 0, ()),
        ((0.9, 0.1), 1, ()),
        ((0.9, 0.4), 1, ("contended",)),
        ((0.4, 0.9), 0, ("contended",)),
    ],
    ids=str,
)
def test_a_disturbed_point_is_repeated_once_and_the_quieter_kept(
    shares: tuple[float, ...], kept: int, flags: tuple[str, ...], one_core: None
) -> None:
    seen, tries = looks(*shares), itertools.count()
    found = clock.quietly(lambda: next(tries), lambda: next(seen), Clocked())
    assert (found.result, found.flags) == (kept, flags)
    assert found.load == pytest.approx(min(shares), abs=0.021)
    assert next(tries) == len(shares)


@pytest.mark.parametrize(
    ("megahertz", "kept", "flags"),
    [((3000.0, 2800.0), 0, ()), ((2000.0, 2900.0), 1, ()), ((2000.0, 2000.0), 0, ("throttled",))],
    ids=str,
)
def test_a_throttled_point_is_repeated_once_then_flagged(
    megahertz: tuple[float, ...], kept: int, flags: tuple[str, ...]
) -> None:
    frequency, seen, tries = Clocked(3000.0, *megahertz), looks(0.0, 0.0), itertools.count()
    assert frequency.look() == (3000.0, False)
    found = clock.quietly(lambda: next(tries), lambda: next(seen), frequency)
    assert (found.result, found.flags, found.megahertz) == (kept, flags, megahertz[kept])


def test_a_loaded_machine_is_noticed() -> None:
    """Real load: a second process on each of this process's cores, while this one waits."""
    cores = len(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        found = clock.quietly(lambda: time.sleep(0.3), clock.usage, Clocked())
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert found.flags == ("contended",)
    assert found.load > 0.5


def test_the_frequency_is_that_of_as_many_cores_as_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    lines = [f"processor : {core}\ncpu MHz\t\t: {clock}\n" for core, clock in enumerate((2000.5, 3000.5, 9000.0))]
    path.write_text("".join(lines), encoding="utf-8")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 7})  # the third core is not this process's
    assert [Frequency(CPU, path).read(threads) for threads in (1, 2, 9)] == [3000.5, 2500.5, 2500.5]
    assert Frequency(CPU, tmp_path / "none").look() == (None, False)


def test_all_cores_run_slower_than_one_and_are_not_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    frequency = Clocked(4200.0, 3400.0, 3400.0, 4200.0, 3000.0)
    threads = iter((1, 16, 16, 1, 1))
    monkeypatch.setattr(torch, "get_num_threads", lambda: next(threads))
    assert [frequency.look()[1] for _ in range(5)] == [False, False, False, False, True]


class Driver:
    """What pynvml is asked of a GPU's clock."""

    def __init__(self, reasons: int | Exception) -> None:
        self.reasons = reasons

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        assert handle == "GPU-1234"
        if isinstance(self.reasons, Exception):
            raise self.reasons
        return self.reasons


@pytest.mark.parametrize(
    ("reasons", "slow"), [(0x0, False), (0x4, False), (0x40, True), (0x20 | 0x4, True), (OSError("no"), False)], ids=str
)
def test_a_gpu_says_itself_that_it_is_slowed_down(
    reasons: int | Exception, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver(reasons))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda device: 1980)
    assert Frequency(torch.device("cuda", 0)).look() == (1980.0, slow)


def test_a_first_result_stays_where_there_is_no_time_for_a_second() -> None:
    seen, tries = looks(0.9, 0.0), itertools.count()

    def work() -> int:
        if (found := next(tries)) > 0:
            raise clock.OverBudget("over")
        return found

    assert clock.quietly(work, lambda: next(seen), Clocked())[::3] == (0, ("contended",))


def test_others_are_what_is_busy_but_not_own(one_core: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.others(Usage(0, 0, 0), Usage(2, 3, 4)) == pytest.approx(0.5, abs=0.011)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert clock.others(Usage(0, 0, 0), Usage(2, 3, 4)) == pytest.approx(0.5 - 8 * 0.01, abs=0.001)
    assert clock.others(Usage(0, 0, 0), Usage(1, 1, 0.99)) == 0.0


def test_usage_counts_on() -> None:
    before = clock.usage()
    sum(range(200_000))
    after = clock.usage()
    assert after.wall > before.wall
    assert after.own > before.own
    assert after.busy >= before.busy > 0


# ---------------------------------------------------------------- the measured work


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
    step = bench("gru").train(2, 4)
    for _ in range(20):
        step()
    assert clipped == [benches.CLIP] * 20
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
    at_context = bench(arch, TINY.model_copy(update={"contexts": (7,)}))
    step_on = at_context.stream(7)
    assert len(calls) == 7
    step_on()
    step_on()
    (x_t, state, out), (_, again, _) = calls[7:]
    assert again is state
    assert x_t.shape == (1,)
    if arch == "transformer":
        assert [keys.shape[2] for keys, _ in state] == [7]
    x, _ = at_context.data(1, 8)
    torch.testing.assert_close(out, at_context.net().eval()(x)[:, -1], rtol=1e-4, atol=1e-5)


def test_generation_writes_what_greedy_decoding_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Tensor] = []
    step = model.Model.step

    def spy(self: model.Model, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        read.append(x_t)
        return step(self, x_t, state)

    monkeypatch.setattr(model.Model, "step", spy)
    of = bench("gru", TINY.model_copy(update={"generate": 4}))
    write = of.generate(2, 3)
    del read[:]
    write()
    sequence = of.data(2, 4)[0]
    for token in read[1:]:
        sequence = torch.cat((sequence, of.net().eval()(sequence)[:, -1].argmax(-1)[:, None]), dim=1)
        assert torch.equal(sequence[:, -1], token)
    assert len(read) == 4


# ---------------------------------------------------------------- tracks and forms


@pytest.mark.parametrize("arch", archs.names())
@pytest.mark.parametrize("layers", [1, 2])
def test_the_reference_track_gives_the_same_numbers(arch: str, layers: int) -> None:
    of = bench(arch, layers=layers)
    usual, plain = of.net(), of.net()
    forms.change(plain, "reference", "", "plain", TINY.window)
    x, y = of.data(2, 9)
    for net, wrap in ((usual, lambda work: work), (plain, lambda work: forms.under("reference", "", work))):
        wrap(lambda net=net: model.loss(net(x), y, of.spec).backward())()
    for (name, left), right in zip(usual.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("arch", archs.names())
def test_checkpointing_gives_the_same_gradients(arch: str) -> None:
    of = bench(arch, layers=2)
    usual, frugal = of.net(), of.net()
    forms.change(frugal, "best", forms.CHECKPOINTED, "eager", 4)
    x, y = of.data(2, 9)
    for net in (usual, frugal):
        model.loss(net(x), y, of.spec).backward()  # type: ignore[no-untyped-call]
    for left, right in zip(usual.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-3, atol=1e-6)


def test_a_core_without_carry_or_layers_is_checkpointed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Core(nn.Module):
        def __init__(self, width: int, *, length: int, causal: bool) -> None:
            super().__init__()
            self.linear = nn.Linear(width, width)

        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            calls.append(len(x))
            return torch.tanh(self.linear(x))

    monkeypatch.setattr(archs, "find", lambda name: Core)
    of = Bench("rnn", {}, TINY, CPU)
    of.train(2, 4, form=forms.CHECKPOINTED)()
    assert len(calls) == 2  # forwards, and again in the backward pass


def test_truncated_gradients_end_at_the_window() -> None:
    """A window of the whole length changes nothing; a shorter one cuts what comes from later windows."""
    of = bench("rnn")
    x, y = of.data(2, 8)
    whole, uncut, cut, first = of.net(), of.net(), of.net(), of.net()
    model.loss(whole(x), y, of.spec).backward()  # type: ignore[no-untyped-call]
    forms.truncated(uncut, x, y, 8)
    forms.truncated(cut, x, y, 4)
    outputs, state = first.carry(x[:, :4])
    model.loss(outputs, y[:, :4], of.spec).mul(0.5).backward()  # type: ignore[no-untyped-call]
    outputs, _ = first.carry(x[:, 4:], tuple(tuple(part.detach() for part in layer) for layer in state))
    model.loss(outputs, y[:, 4:], of.spec).mul(0.5).backward()  # type: ignore[no-untyped-call]
    grads = [torch.cat([p.grad.flatten() for p in net.parameters()]) for net in (whole, uncut, cut, first)]  # type: ignore[union-attr]
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(grads[2], grads[3])
    assert not torch.allclose(grads[0], grads[2], rtol=1e-3)


def test_only_attention_has_a_naive_form() -> None:
    assert [arch for arch in archs.names() if forms.attends(bench(arch).net(), bench(arch).data(1, 3)[0])] == [
        "transformer"
    ]


def test_a_way_with_other_answers_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = bench("rnn")
    assert of.correct("plain")
    monkeypatch.setattr(archs.find("rnn"), "plain", lambda self, x: x)
    assert not of.correct("plain")
    sweep = speed.Sweep(TINY.model_copy(update={"seconds": 0.0}), tmp_path, CPU)
    assert sweep.path(of, speed.Place("infer", 4, 2)) == "eager"


def test_the_fastest_way_is_taken_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, of = speed.Sweep(TINY.model_copy(update={"seconds": 0.0}), tmp_path, CPU), bench("gru")
    taken = {"eager": 2.0, "plain": 1.0}
    monkeypatch.setattr(speed.Sweep, "_try", lambda self, bench, quantity, path: (taken[path], ()))
    assert sweep.path(of, speed.Place("train", 8, 2)) == "plain"
    assert sweep.path(of, speed.Place("train", 8, 2, form=forms.CHECKPOINTED)) == "eager"
    assert sweep.path(of, speed.Place("train", 8, 2, track="reference")) == "plain"
    assert sweep.path(bench("transformer"), speed.Place("train", 8, 2, track="reference")) == "eager"
    taken["plain"] = 3.0
    again = speed.Sweep(TINY.model_copy(update={"seconds": 0.0}), tmp_path, CPU)
    assert again.path(of, speed.Place("train", 8, 2)) == "plain"


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is none")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
def test_a_compiled_model_is_one_of_the_ways_and_no_more_is_compiled_than_can_be(tmp_path: Path) -> None:
    settings = TINY.model_copy(update={"seconds": 0.0, "compile": True, "budget": 300.0, "memory": 2**33})
    sweep = speed.Sweep(settings, tmp_path, CPU)
    assert math.isfinite(sweep._try(bench("transformer"), "infer", "compiled")[0])
    assert math.isinf(sweep._try(bench("lstm"), "infer", "compiled")[0])  # torch compiles no fused recurrent layer
    visit = sweep.look(bench("transformer"), speed.Place("infer", 8, 2), "compiled", settings.budget)
    assert (visit.path, visit.status) == ("compiled", "ok")


def test_a_length_that_cannot_be_compiled_is_run_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = Bench.infer

    def fails(self: Bench, *args: Any) -> Work:
        def fail() -> None:
            raise RuntimeError("recompile limit")

        return fail if args[-1] == "compiled" else infer(self, *args)

    monkeypatch.setattr(Bench, "infer", fails)
    sweep = speed.Sweep(TINY.model_copy(update={"seconds": 0.0}), tmp_path, CPU)
    visit = sweep.look(bench("rnn"), speed.Place("infer", 8, 2), "compiled", TINY.budget)
    assert (visit.path, visit.status) == ("eager", "ok")
    assert visit.seconds


def test_a_value_stays_where_its_profile_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> tuple[str, ...]:
        raise clock.OverBudget("over")

    monkeypatch.setattr(peaks, "kernels", slow)
    sweep = speed.Sweep(TINY.model_copy(update={"seconds": 0.0}), tmp_path, CPU)
    visit = sweep.look(bench("rnn"), speed.Place("infer", 4, 2), "eager", TINY.budget)
    assert (visit.status, visit.kernels) == ("ok", ())
    assert visit.seconds


# ---------------------------------------------------------------- visits


def visit(*seconds: float, took: float = 1.0, **more: Any) -> Visit:
    return Visit(seconds=seconds, took=took, **({"path": "eager", "load": 0.0, "megahertz": 1000.0} | more))


def test_visits_make_one_sample_and_tell_how_far_they_lie_apart() -> None:
    found = visits.together([visit(1.0, 2.0, 3.0, load=0.1), visit(4.0, 5.0, 6.0)], lambda seconds: 10 * seconds)
    assert (found["value"].median, found["value"].repetitions, found["visits"]) == (35.0, 6, 2)
    assert found["drift"] == pytest.approx(15 / 35)
    assert (found["load"], found["megahertz"], found["path"], found["flags"]) == (0.1, 1000, "eager", ("unsteady",))
    assert visits.together([visit(1.0), visit(1.0 + visits.UNSTEADY)], float)["flags"] == ()
    assert visits.together([visit(1.0)], float)["drift"] is None


def test_disturbed_visits_are_left_out_where_most_were_quiet() -> None:
    loud = visit(9.0, flags=("contended",), load=0.9)
    few = visits.together([visit(1.0), loud, visit(1.0)], float)
    assert (few["value"].median, few["visits"], few["flags"], few["load"]) == (1.0, 2, (), 0.0)
    half = visits.together([visit(1.0), loud], float)
    assert (half["value"].median, half["flags"], half["load"]) == (5.0, ("contended", "unsteady"), 0.9)


def test_a_point_without_a_value_says_why_and_later_visits_take_none_away() -> None:
    over = visit(status="time_limit", reason="10 s were over")
    found = visits.together([over], float)
    assert (found["value"], found["status"], found["reason"]) == (None, "time_limit", "10 s were over")
    found = visits.together([visit(2.0), over], float)
    assert (found["value"].median, found["visits"], found.get("status", "ok")) == (2.0, 1, "ok")


def test_visits_share_a_budget() -> None:
    assert visits.left(10.0, []) == 10.0
    assert visits.left(10.0, [visit(1.0, took=4.0)]) == 6.0
    assert visits.left(10.0, [visit(1.0, took=4.0), visit(1.0, took=3.0)]) == 0.0  # not enough for another of 4 s
    assert visits.left(10.0, [visit(took=1.0, status="out_of_memory")]) == 0.0


# ---------------------------------------------------------------- the sweep


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by TICK at every look, on a machine with nobody else on it."""
    ticks = itertools.count()
    monkeypatch.setattr(clock, "now", lambda device: next(ticks) * TICK)
    monkeypatch.setattr(clock, "usage", lambda: Usage(next(ticks), 0.0, 0.0))
    one = clock.quantiles([1e9])  # the real one has a clock of its own
    monkeypatch.setattr(peaks, "peaks", lambda device, threads, seconds: Peak(threads=threads, flops=one, traffic=one))


def run(
    root: Path,
    *names: str,
    settings: MeasureSettings = TINY,
    gates: dict[str, Gates] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Measured]:
    cores = {arch: archs.defaults(arch) for arch in names}
    gates = gates or {arch: passed(arch) for arch in names}
    return list(speed.measure(cores, settings, gates, root, CPU, say))


def at(measured: Measured | Counted, quantity: str, **where: Any) -> dict[tuple[int, int], Measurement]:
    where = {"threads": 1, "track": "best", "form": ""} | where
    return {
        (m.length, m.batch): m
        for m in measured.measurements
        if m.quantity == quantity and all(getattr(m, key) == value for key, value in where.items())
    }


def test_every_point_of_every_architecture(tmp_path: Path, quiet: None) -> None:
    many = speed.threads(TINY, CPU)
    for measured in run(tmp_path, "lstm", "transformer"):
        for quantity in ("train", "infer", "generate"):
            swept = {(4, 2), (8, 2), (4, 8), (8, 4), (4, 1)}
            assert set(at(measured, quantity)) == swept
            plain = set() if quantity == "generate" else {(4, 2), (8, 2)}
            assert set(at(measured, quantity, track="reference")) == plain
            assert many == 1 or set(at(measured, quantity, threads=many)) == {(4, 2), (8, 2)}
        for some in {1, many}:
            assert set(at(measured, "first_token", threads=some)) == {(4, 1), (8, 1)}
            assert set(at(measured, "stream", threads=some)) == {(2, 1), (3, 1)}
        assert set(at(measured, "train", form=forms.CHECKPOINTED)) == {(8, 2)}
        assert bool(at(measured, "train", form=forms.TRUNCATED)) == (measured.arch != "transformer")
        assert all(m.status == "ok" and m.flags == () for m in measured.measurements)
        assert measured.parameters == pytest.approx(6000, rel=0.05)
        assert [peak.threads for peak in measured.peaks] == sorted({1, many})
        assert Measured.from_data(measured.plain()) == measured


def test_values_are_those_of_the_clock(tmp_path: Path, quiet: None) -> None:
    (measured,) = run(tmp_path, "rnn")
    for quantity in ("train", "infer"):
        for (length, batch), m in at(measured, quantity).items():
            assert m.value is not None
            assert m.value.median == m.value.q25 == m.value.q75 == m.value.p99 == batch * length / TICK
            assert (m.value.repetitions, m.value.variation, m.unit) == (6, 0.0, "tokens/s")
    stream = at(measured, "stream")[3, 1]
    assert stream.value is not None
    streamed = 3 * math.ceil(speed.STREAMED / 3)
    assert (stream.value.median, stream.value.repetitions, stream.unit) == (1000 * TICK, streamed, "ms")
    generate = at(measured, "generate")[8, 2].value
    assert generate is not None
    assert generate.median == 2 * TINY.generate / TICK


def test_a_real_clock_gives_positive_rates_and_names_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "PATHS", ("eager",))
    short = TINY.model_copy(update={"seconds": 0.0, "all_threads": False})
    (measured,) = run(tmp_path, "lstm", settings=short)
    for m in measured.measurements:
        assert m.value is not None and m.value.median > 0 and m.value.repetitions == 3
    assert any("mkldnn_rnn_layer" in name for name in at(measured, "infer")[4, 2].kernels)
    assert not any("mkldnn_rnn" in name for name in at(measured, "infer", track="reference")[4, 2].kernels)


def test_the_order_is_shuffled_over_architectures_and_always_the_same(tmp_path: Path, quiet: None) -> None:
    def order(folder: str) -> list[str]:
        lines: list[str] = []
        run(tmp_path / folder, "rnn", "gru", say=lines.append)
        return [line.rsplit(":", 1)[0] for line in lines]

    first = order("a")
    assert first == order("b")
    assert first != sorted(first)
    names = [line.split(":")[0] for line in first]
    assert len(list(itertools.groupby(names))) > 10  # neither architecture has a time of its own


def test_a_killed_sweep_goes_on_and_a_new_architecture_costs_its_own_points(
    tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    look = speed.Sweep.look

    def spy(self: speed.Sweep, bench: Bench, *rest: Any, **more: Any) -> Visit:
        if len(made) == 7 and bench.arch == "rnn":
            raise KeyboardInterrupt
        made.append(bench.arch)
        return look(self, bench, *rest, **more)

    monkeypatch.setattr(speed.Sweep, "look", spy)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "rnn")
    points = [path.read_text(encoding="utf-8") for path in tmp_path.glob("measured/points/rnn/*.json")]
    assert sum('"took"' in text for text in points) == 7  # and the ways of running that were chosen
    made.append("went on")
    (first,) = run(tmp_path, "rnn")
    assert len(made) - 1 == TINY.visits * len(first.measurements)
    again, other = run(tmp_path, "rnn", "gru")
    assert again.measurements == first.measurements
    assert made.count("gru") == TINY.visits * len(other.measurements)


def test_a_flagged_point_is_measured_again_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = kept.Kept(tmp_path, TINY, CPU)
    made = itertools.count()

    def make(*flags: str) -> Measurement:
        value = clock.quantiles([float(next(made))])
        return Measurement(quantity="train", length=4, batch=2, unit="tokens/s", value=value, flags=flags)

    def get(*flags: str, settings: MeasureSettings = TINY) -> float:
        keep = kept.Kept(tmp_path, settings, CPU)
        point = keep.get("rnn", {}, "here", Measurement, lambda: make(*flags))
        assert point.value is not None
        return point.value.median

    assert get("contended") == 0
    assert get() == 1
    assert get() == get(settings=TINY.model_copy(update={"lengths": (4,)})) == 1
    assert get(settings=TINY.model_copy(update={"repetitions": 9})) == 2
    assert len(keep.get("rnn", {}, "there", Measurement, make).commit) == 40
    monkeypatch.setattr(kept, "SOURCES", ("errors",))
    assert get() == 4  # other code


def test_contention_is_flagged(tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "quietly", lambda work, look, frequency: Seen(work(), 0.9, None, ("contended",)))
    lines: list[str] = []
    (measured,) = run(tmp_path, "rnn", say=lines.append)
    assert {(m.flags, m.load) for m in measured.measurements} == {(("contended",), 0.9)}
    assert all(line.endswith("(contended)") for line in lines)


def test_an_architecture_that_fails_a_gate_is_not_timed(tmp_path: Path, quiet: None) -> None:
    gates = {"rnn": passed("rnn"), "gru": passed("gru", FAILED)}
    good, bad = run(tmp_path, "rnn", "gru", gates=gates)
    assert good.measurements and not good.refused
    assert bad.measurements == ()
    assert bad.refused == (
        "gru fails the gate 'causality' in the model 'embedding, every, causal': output 2 changes with input 5."
    )
    counted = count.count("gru", archs.defaults("gru"), TINY, gates["gru"], tmp_path, CPU, lambda text: None)
    assert (counted.measurements, counted.work, counted.predictions) == ((), (), ())
    assert counted.refused == bad.refused


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (clock.OverBudget("60 s were over"), "time_limit"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_running_out_is_a_result(
    error: Exception, status: str, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Bench.train

    def small_only(self: Bench, batch: int, length: int, *args: Any, **kwargs: Any) -> Work:
        if length > 4:
            raise error
        return train(self, batch, length, *args, **kwargs)

    monkeypatch.setattr(Bench, "train", small_only)
    (measured,) = run(tmp_path, "rnn")
    short, long = at(measured, "train")[4, 2], at(measured, "train")[8, 2]
    assert (short.status, long.status, long.value) == ("ok", status, None)
    assert long.reason
    assert at(measured, "infer")[8, 2].status == "ok"


def test_another_error_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Bench, *args: Any, **kwargs: Any) -> Work:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Bench, "infer", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(tmp_path, "rnn")


# ---------------------------------------------------------------- pace


def cell(arch: str) -> Setting:
    """A cell of the adding problem, sized to take no time."""
    task = {"length": 6, "train": 32, "valid": 8, "test": 8}
    return Setting(
        task="adding",
        task_settings=tasks.find("adding").Settings(**task).plain(),
        arch=arch,
        core=archs.defaults(arch),
        parameters=3000,
        train=TrainSettings(batch=8),
        tune=TuneSettings(),
    )


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    prepare("adding", cell("rnn").task_settings, tmp_path)
    return tmp_path


def paced(root: Path, *names: str, **changes: Gates) -> Pace:
    gates = {arch: passed(arch, kind="linear, values from the last, causal") for arch in names} | changes
    return pace.pace([cell(arch) for arch in names], TINY, gates, root, CPU, lambda text: None)


def test_the_pace_of_cells_is_that_of_training_and_evaluation(prepared: Path, quiet: None) -> None:
    found = paced(prepared, "rnn", "gru")
    assert (found.task, [one.arch for one in found.cells]) == ("adding-6", ["rnn", "gru"])
    for one in found.cells:
        assert one.step is not None and one.item is not None
        assert (one.step.median, one.step.repetitions) == (TICK, TINY.repetitions)
        assert one.item.median == TICK / 8
    again = paced(prepared, "rnn", "gru")
    assert again.cells == found.cells
    assert len(list(prepared.glob("measured/points/*/*.json"))) == 2


def test_pace_reads_no_test_split_and_leaves_no_run(
    prepared: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Splits, "read_test", lambda self: pytest.fail("the test split was read"))
    paced(prepared, "rnn")
    assert sorted(path.name for path in prepared.iterdir()) == ["measured", "prepared"]


def test_a_cell_that_fails_a_gate_has_no_pace(prepared: Path, quiet: None) -> None:
    kind = "linear, values from the last, causal"
    good, bad = paced(prepared, "rnn", "gru", gru=passed("gru", FAILED.model_copy(update={"model": kind}))).cells
    assert good.step is not None and not good.refused
    assert (bad.step, bad.item) == (None, None)
    assert bad.refused.startswith("gru fails the gate 'causality' in the model 'linear, values")


@pytest.mark.parametrize(
    ("error", "status"),
    [(torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"), (clock.OverBudget("over"), "time_limit")],
    ids=lambda value: str(value)[:8],
)
def test_a_cell_that_runs_out_says_so(
    error: Exception, status: str, prepared: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Job, *_: Any) -> Any:
        raise error

    monkeypatch.setattr(Job, "evaluate", fail)
    (one,) = paced(prepared, "rnn").cells
    assert (one.status, one.item) == (status, None)
    assert one.step is not None
    monkeypatch.setattr(Job, "step", fail)
    (one,) = paced(prepared, "gru").cells
    assert (one.status, one.step, one.item) == (status, None, None)


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

    assert memory.allocated(chain) == pytest.approx(4 * n * (k + 1 + 2), rel=0.02)


def test_memory_given_back_does_not_count() -> None:
    n = 100_000

    @torch.no_grad()
    def chain() -> None:
        y = torch.zeros(n)
        for _ in range(10):
            y = y.exp()  # the old and the new

    assert memory.allocated(chain) == pytest.approx(4 * n * 2, rel=0.02)


def test_memory_that_stays_between_calls_counts() -> None:
    n = 100_000

    def make() -> Work:
        stays = torch.ones(3 * n)
        return lambda: stays[:n] * 2.0

    assert memory.peak_memory(make, CPU) == pytest.approx(4 * n * (3 + 1), rel=0.02)


def counter(root: Path, arch: str, core: dict[str, Any] | None = None, **changes: Any) -> count.Counter:
    settings = TINY.model_copy(update=changes)
    return count.Counter(bench(arch, settings, **(core or {})), kept.Kept(root, settings, CPU))


def activations(found: list[Measurement], quantity: str = "train_memory") -> list[int]:
    return [m.parts["activations"] for m in found if m.quantity == quantity]


def test_memory_repeats_and_its_parts_sum_up(tmp_path: Path) -> None:
    of = counter(tmp_path / "one", "lstm")
    found = of.memory("")
    assert found == counter(tmp_path / "other", "lstm").memory("")
    own = sum(p.numel() for p in of.bench.net().parameters())
    for m in found:
        assert m.value is not None and m.value.median == sum(m.parts.values())
        assert m.parts["parameters"] == 4 * own
    train = [m for m in found if m.quantity == "train_memory"]
    assert [m.parts["optimizer"] for m in train] == [8 * own] * 4


def test_memory_grows_as_theory_says(tmp_path: Path) -> None:
    """Doubling the length: twice the activations of an LSTM and of efficient attention, towards four times of naive."""
    lengths = (128, 256, 512, 1024)

    def ratio(arch: str, form: str) -> float:
        *_, before, last = activations(counter(tmp_path, arch, memory_lengths=lengths, batch=4).memory(form))
        return last / before

    assert ratio("lstm", "") == pytest.approx(2.0, rel=0.05)
    assert ratio("transformer", "") == pytest.approx(2.0, rel=0.05)
    assert ratio("transformer", forms.NAIVE) == pytest.approx(4.0, rel=0.1)


def test_remedies_need_less(tmp_path: Path) -> None:
    def last(arch: str, form: str) -> int:
        layers = 4 if arch == "transformer" else 1
        of = counter(tmp_path, arch, {"layers": layers}, memory_lengths=(64, 128, 256), parameters=20_000)
        return activations(of.memory(form))[-1]

    assert last("transformer", forms.CHECKPOINTED) < 0.7 * last("transformer", "")
    assert last("gru", forms.CHECKPOINTED) < 0.7 * last("gru", "")
    assert last("gru", forms.TRUNCATED) < 0.5 * last("gru", "")


@pytest.mark.parametrize(("arch", "grows"), [("rnn", 1.0), ("lstm", 1.0), ("transformer", 4.0)])
def test_state_is_constant_or_grows_with_the_cache(arch: str, grows: float, tmp_path: Path) -> None:
    of = counter(tmp_path, arch, contexts=(2, 8), lengths=(4,))
    values = {m.length: m.value.median for m in of.states() if m.value}
    assert list(values) == [2, 4, 8]
    assert values[8] / values[2] == grows


def test_a_point_beyond_the_memory_is_out_of_memory(tmp_path: Path) -> None:
    of = counter(tmp_path, "transformer", memory_lengths=(8, 16, 2048), batch=8, memory=2**26)
    found = of.memory(forms.NAIVE)
    assert [m.status for m in found if m.quantity == "train_memory"] == ["ok", "ok", "out_of_memory"]
    assert (found[-1].value, found[-1].reason, found[-1].parts) == (None, "beyond 67108864 bytes", {})


RUNS_OUT = pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (clock.OverBudget("60 s were over"), "time_limit"),
    ],
    ids=lambda value: str(value)[:12],
)


@RUNS_OUT
def test_a_state_that_runs_out_is_a_result_and_those_before_stay(
    error: Exception, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, step = itertools.count(1), model.Model.step

    def fail(self: model.Model, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if next(calls) == 4:  # and no later one: what runs out is not gone on from
            raise error
        return step(self, x_t, state)

    monkeypatch.setattr(model.Model, "step", fail)
    found = counter(tmp_path, "rnn", contexts=(2, 3), lengths=(4, 8)).states()
    assert [(m.length, m.status, bool(m.value), bool(m.reason)) for m in found] == [
        (2, "ok", True, False),
        (3, "ok", True, False),
        (4, status, False, True),
        (8, status, False, True),
    ]


@RUNS_OUT
def test_gradients_that_run_out_are_a_result(
    error: Exception, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient = Bench.gradient

    def fail(self: Bench, seed: int, length: int) -> list[float]:
        if seed == 2:
            raise error
        return gradient(self, seed, length)

    monkeypatch.setattr(Bench, "gradient", fail)
    found = counter(tmp_path, "rnn").gradients()
    assert [(m.length, m.status, m.value, bool(m.reason)) for m in found] == [
        (lag, status, None, True) for lag in range(6)
    ]


@RUNS_OUT
def test_work_that_runs_out_is_left_out_and_said(
    error: Exception, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Bench, batch: int, length: int) -> Work:
        raise error

    monkeypatch.setattr(Bench, "infer", fail)
    lines: list[str] = []
    found = counter(tmp_path, "rnn").work(lines.append)
    assert [(w.phase, w.length) for w in found] == [("train", 4), ("train", 8), ("stream", 2), ("stream", 3)]
    (line,) = lines
    assert line.startswith(f"rnn: arithmetic of 'infer' is left out: {status}")


def test_counting_ends_with_its_seconds(tmp_path: Path) -> None:
    """A real clock: no state, gradient or count of so many steps is there in 10 ms."""
    of = counter(tmp_path, "lstm", budget=0.01, contexts=(10**5,), gradient_length=10**5)
    assert [m.status for m in of.states()][-1] == "time_limit"
    assert {m.status for m in of.gradients()} == {"time_limit"}
    assert "stream" not in {w.phase for w in of.work(lambda text: None)}


def test_another_error_of_counting_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Bench, *args: Any) -> Any:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Bench, "gradient", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        counter(tmp_path, "rnn").gradients()


@pytest.mark.parametrize(("arch", "form"), [("lstm", ""), ("transformer", ""), ("transformer", forms.NAIVE)])
def test_the_largest_length_is_predicted_within_a_tenth(arch: str, form: str, tmp_path: Path) -> None:
    lengths = (32, 64, 128, 256) if form else (64, 128, 256, 512)
    of = counter(tmp_path, arch, memory_lengths=lengths, fits=2**23)
    (length, *_) = of.predictions(of.memory(form), [form])
    assert length.found is not None and length.error is not None
    assert length.predicted > lengths[-1]  # beyond what was measured
    assert abs(length.error) < 0.1
    here, status = of.train_bytes(length.other, length.found, form)
    beyond, _ = of.train_bytes(length.other, round(length.found * 1.04), form)
    assert (status, here is not None and here <= 2**23) == ("ok", True)
    assert beyond is not None and beyond > 2**23


@pytest.mark.parametrize("true", [1, 7, 90, 100, 103, 140])
def test_the_largest_is_found_around_a_prediction(true: int) -> None:
    found = count.largest(lambda size: size <= true, 100)
    assert found is not None and true - 2 <= found <= true


def test_nothing_is_found_where_tries_take_too_long() -> None:
    assert count.largest(lambda size: None, 100) is None
    assert count.largest(lambda size: True, 100) is None


# ---------------------------------------------------------------- gradient


def test_gradient_is_that_of_each_sequence_alone() -> None:
    of = bench("lstm")
    net = of.net(7).double()
    x, y = of.data(TINY.batch, 6, 7)
    norms = []
    for item, label in zip(x, y, strict=True):
        steps = [h_t.detach().requires_grad_() for h_t in net.frontend(item[None])[0]]
        logits = net.head.linear(net.core(torch.stack(steps)[None])[0, -1])
        F.cross_entropy(logits, label[-1]).backward()  # type: ignore[no-untyped-call]
        norms.append([float(torch.linalg.vector_norm(h_t.grad)) for h_t in reversed(steps)])  # type: ignore[arg-type]
    means = [sum(of_lag) / len(norms) for of_lag in zip(*norms, strict=True)]
    assert of.gradient(7, 6) == pytest.approx(means, rel=1e-9)
    assert of.gradient(8, 6) != pytest.approx(means, rel=1e-3)


def test_gradient_below_float32_is_seen() -> None:
    settings = TINY.model_copy(update={"gradient_length": 1000})
    far = bench("rnn", settings).gradient(1, 1000)
    assert 0.0 < far[-1] < 1e-60  # the smallest float32 is 1e-45


def test_gradient_has_no_dropout_in_it() -> None:
    wet, dry = (bench("gru", layers=2, dropout=p).gradient(1, 6) for p in (0.5, 0.0))
    assert wet == dry


def test_lags() -> None:
    assert count.lags(1, 24) == [0]
    assert count.lags(2, 24) == [0, 1]
    found = count.lags(1000, 24)
    assert (found[:4], found[-1]) == ([0, 1, 2, 3], 999)
    assert 15 < len(found) <= 25
    assert found == sorted(set(found))


def counted_in(root: Path, arch: str) -> Counted:
    return count.count(arch, archs.defaults(arch), TINY, passed(arch), root, CPU, lambda text: None)


@pytest.mark.parametrize("arch", archs.names())
def test_all_that_is_counted(arch: str, tmp_path: Path) -> None:
    counted = counted_in(tmp_path, arch)
    assert (counted.core, counted.version) == (archs.defaults(arch), archs.version(arch))
    assert (counted.settings, counted.provenance.threads) == (TINY.plain(), 1)
    assert [m.length for m in counted.measurements if m.quantity == "gradient"] == [0, 1, 2, 3, 4, 5]
    assert {m.value.repetitions for m in counted.measurements if m.quantity == "gradient" and m.value} == {3}
    assert {m.form for m in counted.measurements} == {
        "",
        forms.CHECKPOINTED,
        forms.NAIVE if arch == "transformer" else forms.TRUNCATED,
    }
    assert {(w.phase, w.length) for w in counted.work} == {
        *itertools.product(("train", "infer"), (4, 8)),
        ("stream", 2),
        ("stream", 3),
    }
    assert {one.what for one in counted.predictions} == {"length", "batch"}
    assert Counted.from_data(counted.plain()) == counted


def test_a_killed_count_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    killed = [5, 18]
    peak, prediction = count.Counter._peak, count.Counter._prediction

    def note(name: str) -> None:
        if len(made) in killed:
            killed.remove(len(made))
            raise KeyboardInterrupt
        made.append(name)

    def spy_peak(self: count.Counter, *args: Any) -> Measurement:
        note(f"peak {args}")
        return peak(self, *args)

    def spy_prediction(self: count.Counter, what: str, *args: Any) -> Prediction:
        note(f"largest {what}")
        return prediction(self, what, *args)

    monkeypatch.setattr(count.Counter, "_peak", spy_peak)
    monkeypatch.setattr(count.Counter, "_prediction", spy_prediction)
    for there in (5, 18):
        with pytest.raises(KeyboardInterrupt):
            counted_in(tmp_path, "rnn")
        assert len(made) == len(list(tmp_path.glob("measured/points/rnn/*.json"))) == there
    first = counted_in(tmp_path, "rnn")
    # 4 lengths in 4 ways, 4 batches, 2 predictions: each once
    assert len(made) == len(set(made)) == len(list(tmp_path.glob("measured/points/rnn/*.json"))) == 22
    again = counted_in(tmp_path, "rnn")
    assert (len(made), again.measurements, again.predictions) == (22, first.measurements, first.predictions)


# ---------------------------------------------------------------- modes


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
def test_modes_come_back(fails: bool, strict: None) -> None:
    before = modes()
    with pytest.raises(KeyError) if fails else pytest.MonkeyPatch.context(), clock.measuring():
        torch.set_num_threads(1 + torch.get_num_threads())
        assert modes() == [False, False, False, False, True]
        if fails:
            raise KeyError
    assert before == modes() == [True, True, True, True, False]
