"""Energy from the machine's own meters: RAPL of the CPU's packages, NVML of an NVIDIA GPU. Never an estimate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from seqbench.measure import nvml

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the RAPL counters, of Intel's and of AMD's CPUs."""


class Unavailable(NamedTuple):
    """No meter."""

    words: str
    """Why, in words."""


class Counter(NamedTuple):
    """A counter of energy."""

    look: Callable[[], float]
    """Joules since some moment."""
    wraps: float = 0.0
    """Joules at which it begins anew at 0; 0 = never."""


class Meter:
    """Joules of a device, all its counters together.

    A counter that begins anew is seen to do so if it is read before it comes round again: RAPL's takes
    some minutes at full power.
    """

    def __init__(
        self,
        words: str,
        counters: Sequence[Counter],
        wait: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.words = words
        """How energy is measured."""
        self._counters, self._wait, self._clock, self._sleep = counters, wait, clock, sleep
        self._last = [counter.look() for counter in counters]
        self._total = 0.0

    def now(self) -> float:
        """Seconds on the clock, once the device has done all it was given."""
        self._wait()
        return self._clock()

    def read(self) -> float:
        """Joules since the meter was made."""
        for index, counter in enumerate(self._counters):
            found = counter.look()
            passed = found - self._last[index]
            self._total += passed + counter.wraps if passed < 0 else passed
            self._last[index] = found
        return self._total

    def idle(self, seconds: float) -> float:
        """Watts of the device while this process sleeps for so long."""
        start, before = self.now(), self.read()
        self._sleep(seconds)
        return (self.read() - before) / (self.now() - start)


def joules_per_1000(
    meter: Meter, idle_watts: float, work: Callable[[], object], tokens_per_call: int, seconds: float
) -> float | None:
    """Joules above idle per 1,000 tokens of a work that is repeated for `seconds` at least.

    Counters tick every 1 to 100 ms: a second or more keeps the error within some percent. None where
    the meter saw no more than the device takes when idle, which says nothing of the work.
    """
    calls, before, start = 0, meter.read(), meter.now()
    end = start
    while not calls or end - start < seconds:
        work()
        calls, end = calls + 1, meter.now()
    joules = meter.read() - before - idle_watts * (end - start)
    return 1000 * joules / (calls * tokens_per_call) if joules > 0 else None


def meter(device: torch.device, root: Path = POWERCAP) -> Meter | Unavailable:
    """The meter of a device, or why there is none: of the CPU under `root`, of a GPU in its driver."""
    return _nvml(device) if device.type == "cuda" else _rapl(root)


# ---------------------------------------------------------------- CPU


def _number(path: Path) -> float:
    """Joules, of a file of microjoules."""
    return int(path.read_text(encoding="ascii")) / 1e6


def _rapl(root: Path) -> Meter | Unavailable:
    """All CPU packages, by their names: the parts of a package stand beside it, and so does the platform ("psys")."""
    try:
        domains = sorted(root.glob("intel-rapl:*"))
        packages = [path for path in domains if (path / "name").read_text(encoding="ascii").startswith("package")]
        if not packages:
            return Unavailable(f"not measured: no RAPL energy counter of a CPU under {root}")
        counters = [
            Counter(partial(_number, path / "energy_uj"), _number(path / "max_energy_range_uj")) for path in packages
        ]
        words = f"RAPL, {len(packages)} CPU package(s), without memory modules; other processes' energy is in it"
        return Meter(words, counters)
    except (OSError, ValueError) as error:
        return Unavailable(f"not measured: a RAPL energy counter cannot be read ({error})")


# ---------------------------------------------------------------- GPU


def _nvml(device: torch.device) -> Meter | Unavailable:
    try:
        library, handle = nvml.find(device)
        counter = Counter(lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)
        words = "NVML, total energy of the GPU with its memory; the CPU's energy is not in it"
        return Meter(words, [counter], wait=partial(torch.cuda.synchronize, device))
    except ImportError:
        return Unavailable("not measured: NVML needs the package nvidia-ml-py")
    except Exception as error:  # NVMLError, which only that package knows
        return Unavailable(f"not measured: NVML has no energy counter of this GPU ({error})")
