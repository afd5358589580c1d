"""Measuring: speed, memory and the reach of the gradient of one architecture against length.

One synthetic model, its width solved for the measuring budget, stands for the architecture.
Speed is measured in normal (not deterministic) mode, in float32 with TF32 off everywhere.
Running out of memory is a result, not a crash, and so is a machine that was not quiet.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile

from seqbench import model
from seqbench.config import MeasureSettings
from seqbench.device import Witness, out_of_memory
from seqbench.records import Measured, Measurement, Quantiles, Spec, Status, derive

FEATURES, CLASSES = 8, 10
CLIP, RATE = 1.0, 1e-3
WARM_UP, LEAST = 2, 3
"""Fewest repetitions before and while measuring."""
LAGS = 24
"""Points of the gradient's curve, about."""
NOISE = 0.15
"""Share of one core that other processes may take before a point counts as contended."""
SHUFFLE = 0
"""Seed of the order of the points: a fixed order would favour what comes first."""

Quantity = Literal["train", "infer", "stream", "train_memory", "gradient"]
Work = Callable[[], object]
T = TypeVar("T")


# ---------------------------------------------------------------- the measured work


class Bench:
    """The synthetic model of one architecture and the work that is measured on it.

    Inputs (batch, length, 8) of normal values, one of ten classes per sequence: every length works.
    """

    def __init__(self, arch: str, core: Mapping[str, Any], settings: MeasureSettings, device: torch.device) -> None:
        self.arch, self.core, self.settings, self.device = arch, core, settings, device
        self.spec = Spec(
            inputs="values",
            input_size=FEATURES,
            outputs="classes",
            output_size=CLASSES,
            length=max((*settings.lengths, settings.gradient_length)) + 1,  # a step follows the longest context
            metric="accuracy",
            direction="max",
        )
        self.width = model.solve_width(self.spec, arch, core, settings.parameters)

    def net(self, seed: int = 0) -> model.Model:
        """The model, initialised from `seed`, on the device."""
        made = model.build(self.spec, self.arch, self.core, self.width, derive(seed, "init"))
        assert isinstance(made, model.Model)
        return made.to(self.device)

    def data(self, batch: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """x (batch, length, 8) and labels (batch,) from `seed`, on the device."""
        generator = torch.Generator().manual_seed(derive(seed, "inputs"))
        x = torch.randn(batch, length, FEATURES, generator=generator)
        y = torch.randint(CLASSES, (batch,), generator=generator)
        return x.to(self.device), y.to(self.device)

    def train(self, length: int) -> Work:
        """A training step, in the order of the training loop: the last gradients live until the loss is there."""
        net, (x, y) = self.net().train(), self.data(self.settings.batch, length)
        parameters = list(net.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=RATE, fused=True)

        def step() -> None:
            loss = model.loss(net(x), y, self.spec)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()

        return step

    def infer(self, length: int) -> Work:
        """The outputs of a batch."""
        net, (x, _) = self.net().eval(), self.data(self.settings.batch, length)
        return torch.inference_mode()(lambda: net(x))

    def stream(self, length: int) -> Work:
        """One step of one sequence after `length` steps.

        Every repetition starts from the same state (a growing cache would not stay at `length`).
        """
        net, (x, _) = self.net().eval(), self.data(1, length + 1)
        state = None
        with torch.inference_mode():
            for x_t in x[:, :-1].unbind(1):
                _, state = net.step(x_t, state)
        return torch.inference_mode()(lambda: net.step(x[:, -1], state))

    def gradient(self, seed: int, length: int) -> list[float]:
        """Norm of d loss_T / d x_(T-lag) for lag 0 .. length-1, at initialisation, in float64.

        loss_T is the cross-entropy of one sequence at its last step; the norm is over features, and
        the mean over the sequences of a batch. (Pascanu et al. 2013, eq. 5: the same chain of
        Jacobians. In float32 it underflows to zero after some hundred steps.)
        """
        net = self.net(seed).double().train()  # cuDNN has no backward of recurrent layers in eval mode
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        x, y = self.data(self.settings.batch, length, seed)
        x = x.double().requires_grad_()
        (slope,) = torch.autograd.grad(model.loss(net(x), y, self.spec) * len(x), x)
        norms: list[float] = slope.norm(dim=2).mean(dim=0).flip(0).tolist()
        return norms


def lags(length: int) -> list[int]:
    """0 and about `LAGS` lags up to length - 1, evenly spread on a logarithmic scale."""
    spread = np.geomspace(1, max(length - 1, 1), LAGS).round().astype(int).tolist()
    return sorted({0, *(lag for lag in spread if lag < length)})


# ---------------------------------------------------------------- how it is measured


def now(device: torch.device) -> float:
    """Seconds on the wall clock, once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def repeat(work: Work, least: int, most: int, seconds: float, clock: Callable[[], float]) -> list[float]:
    """Seconds of each repetition: `most` of them, fewer where `seconds` are over, never less than `least`."""
    taken: list[float] = []
    while len(taken) < least or (len(taken) < most and sum(taken) < seconds):
        start = clock()
        work()
        taken.append(clock() - start)
    return taken


class Usage(NamedTuple):
    """Seconds since some moment: on the clock, of this process on all cores, of everyone on this job's cores."""

    wall: float
    own: float
    busy: float


def usage() -> Usage:
    """What the cores that this process may run on have done so far; time stolen by a hypervisor is busy."""
    times = psutil.cpu_times(percpu=True)
    idle = ("idle", "iowait", "guest", "guest_nice")  # guests are counted within user and nice already
    cores = [times[core]._asdict() for core in sorted(os.sched_getaffinity(0)) if core < len(times)]
    busy = sum(seconds for core in cores for kind, seconds in core.items() if kind not in idle)
    return Usage(time.perf_counter(), time.process_time(), busy)


def others(before: Usage, after: Usage) -> float:
    """Cores that other processes kept busy between two looks, on average.

    The kernel counts in ticks: what a tick at either look can explain is left out.
    """
    wall, own, busy = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, busy - own - 2 / os.sysconf("SC_CLK_TCK")) / wall


def quietly(work: Callable[[], T], look: Callable[[], Usage]) -> tuple[T, bool]:
    """The work's result, and whether it is contended: others took more than `NOISE` of a core, twice.

    Work that was disturbed is done once more, and the quieter result is kept.
    """
    tries: list[tuple[float, T]] = []
    while not tries or (len(tries) < 2 and tries[0][0] > NOISE):
        before = look()
        result = work()
        tries.append((others(before, look()), result))
    share, result = min(tries, key=lambda one: one[0])
    return result, share > NOISE


def allocated(work: Work) -> int:
    """Peak of the bytes that torch's CPU allocator gave out and had not yet got back during `work`.

    From the profiler's record of every allocation, so it repeats exactly. What libraries allocate
    for themselves (oneDNN's scratch space) is not in it.
    """
    with profile(profile_memory=True) as record:
        work()
    events = [event for event in record.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum([0, *sizes]).max())


def peak_memory(make: Callable[[], Work], device: torch.device) -> int:
    """Peak bytes of the second call of the work that `make` sets up, with all that stays between calls.

    On CUDA all memory torch has allocated counts, cuBLAS workspaces too. On the CPU the peak is taken
    over set-up and both calls, so that each byte is counted from its allocation.
    """
    if device.type == "cuda":
        work = make()
        work()
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)

    def twice() -> None:
        work = make()
        work()
        work()

    return allocated(twice)


@contextlib.contextmanager
def measuring() -> Iterator[None]:
    """The modes in which speed is measured; those before come back.

    Algorithms as torch chooses them, TF32 off for cuDNN and products alike. The garbage collector
    leaves alone what was there before: a full collection takes a fifth of a second.
    """
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tf32 = cudnn.allow_tf32, products.allow_tf32
    gc.freeze()
    try:
        torch.use_deterministic_algorithms(False)
        cudnn.allow_tf32 = products.allow_tf32 = False
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        cudnn.allow_tf32, products.allow_tf32 = tf32
        gc.unfreeze()


# ---------------------------------------------------------------- points


UNITS: dict[Quantity, str] = {
    "train": "tokens/s",
    "infer": "tokens/s",
    "stream": "ms",
    "train_memory": "bytes",
    "gradient": "norm",
}
TIMED = "float32, TF32 off; inputs on the device; median over single repetitions after a warm-up"
METHODS: dict[Quantity, str] = {
    "train": f"forward, loss, backward, clipping, AdamW (fused); {TIMED}",
    "infer": f"forward in inference mode; {TIMED}",
    "stream": f"one step of one sequence from the state after `length` steps; {TIMED}",
    "train_memory": "largest sum of live bytes during a training step, parameters, optimiser and inputs included; ",
    "gradient": "d loss_T / d x_(T-lag), norm over features, mean over a batch, at initialisation, in float64; "
    "one repetition per seed",
}
ALLOCATOR = {
    "cpu": "torch's CPU allocations, from the profiler's records",
    "cuda": "torch's CUDA allocator: max_memory_allocated, its counters reset just before",
}


def quantiles(values: Iterable[float]) -> Quantiles:
    """Of repeated measurements."""
    values = np.asarray(list(values), dtype=np.float64)
    median, q25, q75, p99 = np.quantile(values, (0.5, 0.25, 0.75, 0.99)).tolist()
    return Quantiles(median=median, q25=q25, q75=q75, p99=p99, repetitions=len(values))


def _values(bench: Bench, quantity: Quantity, length: int) -> tuple[dict[int, list[float]], bool]:
    """Repeated values by length (or lag), and whether the machine was not quiet."""
    settings, device = bench.settings, bench.device
    if quantity == "gradient":
        norms = [bench.gradient(seed, length) for seed in settings.gradient_seeds]
        return {lag: [of[lag] for of in norms] for lag in lags(length)}, False
    if quantity == "train_memory":
        return {length: [peak_memory(partial(bench.train, length), device)]}, False
    work = {"train": bench.train, "infer": bench.infer, "stream": bench.stream}[quantity](length)
    clock = partial(now, device)
    repeat(work, WARM_UP, settings.repetitions, settings.seconds / 10, clock)
    taken, contended = quietly(lambda: repeat(work, LEAST, settings.repetitions, settings.seconds, clock), usage)
    if quantity == "stream":
        return {length: [1e3 * seconds for seconds in taken]}, contended
    return {length: [settings.batch * length / seconds for seconds in taken]}, contended


def point(bench: Bench, quantity: Quantity, length: int) -> list[Measurement]:
    """One quantity at one length (the gradient: at all its lags). Memory that runs out is a status."""
    gc.collect()  # what an earlier point left must not count in this one
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
    status: Status = "ok"
    try:
        values, contended = _values(bench, quantity, length)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        values, contended, status = {}, False, "out_of_memory"
    return [
        Measurement(
            quantity=quantity,
            length=place,
            batch=1 if quantity == "stream" else bench.settings.batch,
            unit=UNITS[quantity],
            value=quantiles(values[place]) if values else None,
            status=status,
            method=METHODS[quantity] + (ALLOCATOR[bench.device.type] if quantity == "train_memory" else ""),
            flags=("contended",) if contended else (),
        )
        for place in (lags(length) if quantity == "gradient" else [length])
    ]


def measure(
    arch: str, core: Mapping[str, Any], settings: MeasureSettings, device: torch.device, say: Callable[[str], None]
) -> Measured:
    """All measurements of one architecture on this device, with the threads this process was given.

    Points are measured in a shuffled order, always the same, and recorded by quantity and length.
    Raises InputError where no width fits the budget or the core cannot be built or streamed.
    """
    with measuring():
        bench = Bench(arch, core, settings, device)
        witness = Witness(device, model.kernel(device))
        swept: tuple[Quantity, ...] = ("train", "infer", "stream", "train_memory")
        points: list[tuple[Quantity, int]] = [(name, length) for name in swept for length in settings.lengths]
        points.append(("gradient", settings.gradient_length))
        found: dict[tuple[Quantity, int], list[Measurement]] = {}
        for one in random.Random(SHUFFLE).sample(points, len(points)):
            found[one] = point(bench, *one)
            say(_line(*one, found[one][-1]))
        return Measured(
            arch=arch,
            width=bench.width,
            parameters=model.count(bench.net()).matched,
            measurements=tuple(m for one in points for m in found[one]),
            provenance=witness.provenance(),
        )


def _line(quantity: Quantity, length: int, last: Measurement) -> str:
    """A point in words; of the gradient's curve, its far end."""
    flags = f" ({', '.join(last.flags)})" if last.flags else ""
    value = f"{last.value.median:.4g} {last.unit}, n = {last.value.repetitions}" if last.value else last.status
    return f"{quantity} at length {length}: {value}{flags}"
