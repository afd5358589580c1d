"""Time: warm-up until stable, repetitions, what others did meanwhile, how fast the clock ran, and budgets.

Working under a budget of seconds or bytes ends in an exception that is recorded as a result.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import resource
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import psutil
import torch

from seqbench.errors import MachineError
from seqbench.measure import nvml
from seqbench.measurements import Quantiles

Work = Callable[[], object]
T = TypeVar("T")

NOISE = 0.15
"""Share of one core that other processes may take before a point counts as contended."""
SLOWER = 0.9
"""Share of the highest clock frequency seen, below which a point counts as throttled."""
GROUP, ALIKE = 3, 0.05
"""Warm-up ends when the medians of two such groups of repetitions differ by no more than this share."""


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


def warm_up(work: Work, seconds: float, clock: Callable[[], float]) -> int:
    """Repeat the work until it takes as long as before, or `seconds` are over; how often that was, 3 at least.

    Autotuning, compilation and cold caches make the first calls slow; the very first, which may compile, is outside
    the seconds.
    """
    work()
    taken: list[float] = []
    while True:
        taken += repeat(work, 1, 1, 0.0, clock)
        if len(taken) >= 2 * GROUP:
            before, after = (statistics.median(group) for group in (taken[-2 * GROUP : -GROUP], taken[-GROUP:]))
            if abs(after - before) <= ALIKE * before:
                break
        if len(taken) >= 2 and sum(taken) >= seconds:
            break
    return 1 + len(taken)


def quantiles(values: Iterable[float]) -> Quantiles:
    """Of repeated measurements."""
    values = np.asarray(list(values), dtype=np.float64)
    median, q25, q75, p99 = np.quantile(values, (0.5, 0.25, 0.75, 0.99)).tolist()
    mean = float(values.mean())
    variation = float(values.std(ddof=1)) / mean if len(values) > 1 and mean > 0 else 0.0
    return Quantiles(median=median, q25=q25, q75=q75, p99=p99, repetitions=len(values), variation=variation)


def line(what: str, value: Quantiles | None, times: float, unit: str, status: str, flags: Sequence[str]) -> str:
    """A point in words."""
    said = f"{times * value.median:.4g} {unit}, n = {value.repetitions}" if value else status
    return " ".join([f"{what}: {said}", *(f"({flag})" for flag in flags)])


# ---------------------------------------------------------------- a quiet machine


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

    The kernel counts in ticks, for each core apart: what a tick at either look can explain is left out, of several
    cores as much as independent roundings come to.
    """
    wall, own, busy = (b - a for a, b in zip(before, after, strict=True))
    rounding = 2 * math.sqrt(len(os.sched_getaffinity(0))) / os.sysconf("SC_CLK_TCK")
    return max(0.0, busy - own - rounding) / wall


class Frequency:
    """The clock of the CPU's cores or of the GPU, and whether it has been slowed down."""

    def __init__(self, device: torch.device, place: Path = Path("/proc/cpuinfo")) -> None:
        self.device, self.place = device, place
        self.highest: dict[int, float] = {}
        """Of a CPU, by the number of threads: one core alone runs faster than all together."""

    def read(self, threads: int) -> float | None:
        """Megahertz: of a CPU the mean of as many of this process's cores as threads, the fastest; None: unreadable."""
        if self.device.type == "cuda":
            try:
                return float(torch.cuda.clock_rate(self.device))
            except Exception:  # no NVML, or a GPU that does not say
                return None
        try:
            lines = self.place.read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        every = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
        found = sorted(every[core] for core in os.sched_getaffinity(0) if core < len(every))[-threads:]
        return sum(found) / len(found) if found else None

    def look(self) -> tuple[float | None, bool]:
        """Megahertz now, and whether that is well below the highest seen, or the GPU says that it slows down."""
        if self.device.type == "cuda":
            return self.read(1), nvml.slowed(self.device)
        threads = torch.get_num_threads()
        found = self.read(threads)
        if found is None:
            return None, False
        highest = self.highest[threads] = max(self.highest.get(threads, 0.0), found)
        return found, found < SLOWER * highest


class Seen(NamedTuple, Generic[T]):
    """What a piece of work gave, and how quiet the machine was meanwhile."""

    result: T
    load: float
    """Cores that others kept busy."""
    megahertz: float | None
    flags: tuple[str, ...]


def quietly(work: Callable[[], T], look: Callable[[], Usage], frequency: Frequency) -> Seen[T]:
    """The work's result; work that was disturbed or slowed down is done once more, and the quieter result kept.

    Flagged "contended" where others took more than `NOISE` of a core both times, "throttled" where the
    clock ran below `SLOWER` of its highest. The first result stays where there is no time for a second.
    """
    tries: list[Seen[T]] = []
    while not tries or (len(tries) < 2 and tries[0].flags):
        before = look()
        try:
            result = work()
        except OverBudget:
            if not tries:
                raise
            break
        load = others(before, look())
        megahertz, slow = frequency.look()
        flags = (*(("contended",) if load > NOISE else ()), *(("throttled",) if slow else ()))
        tries.append(Seen(result, load, megahertz, flags))
    return min(tries, key=lambda one: (len(one.flags), one.load))


# ---------------------------------------------------------------- modes and budgets


@contextlib.contextmanager
def measuring() -> Iterator[None]:
    """The modes in which speed is measured; those before come back.

    Algorithms as torch chooses them, TF32 off for cuDNN and products alike. The garbage collector
    leaves alone what was there before: a full collection takes a fifth of a second.
    """
    cudnn, products, threads = torch.backends.cudnn, torch.backends.cuda.matmul, torch.get_num_threads()
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
        torch.set_num_threads(threads)
        gc.unfreeze()


def clear(device: torch.device) -> None:
    """Free what an earlier point left, so that it does not count in the next.

    What is still there is then left alone by later collections: modules that torch imported meanwhile.
    """
    gc.collect()
    gc.freeze()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class OverBudget(Exception):
    """The seconds of a point are over."""


class Alarm:
    """Whether the seconds are over."""

    over = False


@contextlib.contextmanager
def seconds_at_most(seconds: float) -> Iterator[Alarm]:
    """Raises OverBudget in this (main) thread once so much time is over, as soon as the operator in work returns.

    Also where a library caught it and raised an error of its own.
    """
    alarm = Alarm()
    words = f"{seconds:g} s were over"

    def stop(*_: object) -> None:
        alarm.over = True
        raise OverBudget(words)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield alarm
    except Exception as error:
        if alarm.over and not isinstance(error, OverBudget):
            raise OverBudget(words) from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def bytes_at_most(count: int, device: torch.device) -> Iterator[None]:
    """On a CPU the kernel refuses this process more than so many bytes beyond what it has, or than are free; torch then
    says that memory ran out. A GPU has its own limit.

    Raises MachineError where memory ran out and torch does not work any more: oneDNN was seen to keep the error.
    """
    if device.type == "cuda":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + min(count, psutil.virtual_memory().available)
    ceilings = [limit, *(value for value in (soft, hard) if value != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(ceilings), hard))
    try:
        yield
    except (RuntimeError, MemoryError):
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        _probe()
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _probe() -> None:
    """Raises MachineError where a product of matrices fails."""
    try:
        torch.nn.functional.linear(torch.ones(33, 17), torch.ones(65, 17), torch.ones(65))
    except RuntimeError as error:
        raise MachineError(
            f"torch does not work any more after memory ran out ({str(error).splitlines()[0]})",
            "measuring on the CPU",
            "run the same command again: points that were measured are kept",
        ) from error
