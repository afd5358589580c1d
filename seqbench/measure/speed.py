"""What the clock says of all architectures: throughput, latency, energy, over length, batch, phase, threads and track.

Points of all architectures are visited in shuffled orders, one order after the other, so that a machine that warms up
or slows down favours nobody. Each visit is kept under its key as soon as it is there: a sweep that was killed goes on,
a new architecture costs its own points only. Speed is measured in normal (not deterministic) mode, in float32 with TF32
off everywhere. Running out of memory or time is a result, not a crash, and so is a machine that was not quiet.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqbench import archs, model
from seqbench.config import MeasureSettings
from seqbench.device import Witness, out_of_memory
from seqbench.measure import clock, forms, peaks, visits
from seqbench.measure.bench import Bench
from seqbench.measure.clock import Work
from seqbench.measure.energy import Meter, joules_per_1000, meter
from seqbench.measure.kept import SHUFFLE, Kept
from seqbench.measure.visits import Visit
from seqbench.measurements import Gates, Measured, Measurement, Peak, Quantity, Track
from seqbench.records import Record, Status

LEAST = 3
"""Fewest repetitions of a point."""
STREAMED = 200
"""Repetitions of a streamed step: its 99th percentile is reported."""
METERED = 1.0
"""Fewest seconds of work, and of rest, of which energy is read: counters tick every 1 to 100 ms."""
PROFILED = 0.5
"""Seconds of a work beyond which its kernels are not listed: the profiler keeps every event."""

TIMED = "float32, TF32 off; inputs on the device; median over the repetitions of all visits, each after a warm-up"
METHODS: dict[str, str] = {
    "train": f"forward, loss, backward, clipping, AdamW (fused); {TIMED}",
    "infer": f"forward in inference mode; {TIMED}",
    "generate": f"the likeliest token fed back, step by step, after `length` steps; {TIMED}",
    "first_token": f"forward over a prompt of `length` tokens of one sequence, to the likeliest next token; {TIMED}",
    "stream": f"one step of one sequence from the state after `length` steps; {TIMED}",
}
UNITS: dict[str, str] = dict.fromkeys(("train", "infer", "generate"), "tokens/s") | dict.fromkeys(
    ("first_token", "stream"), "ms"
)


class Place(NamedTuple):
    """Where a point lies: what is measured, and how."""

    quantity: Quantity
    length: int
    batch: int
    threads: int = 1
    track: Track = "best"
    form: str = ""

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        how = "".join(f", {word}" for word in (self.form, "reference" if self.track == "reference" else "") if word)
        return f"{self.quantity} at length {self.length}, batch {self.batch}{threads}{how}"


def threads(settings: MeasureSettings, device: torch.device) -> int:
    """The most threads that are measured."""
    return len(os.sched_getaffinity(0)) if device.type == "cpu" and settings.all_threads else 1


def places(bench: Bench) -> list[Place]:
    """All points of an architecture, each once. Gradients can be cut where its core carries a state."""
    settings, many = bench.settings, threads(bench.settings, bench.device)
    found: list[Place] = []
    phases: tuple[Quantity, ...] = ("train", "infer", "generate")
    for phase in phases:
        found += [Place(phase, n, settings.batch) for n in settings.lengths]
        found += [Place(phase, n, max(1, settings.tokens // n)) for n in settings.lengths]
        found += [Place(phase, settings.length, batch) for batch in settings.batches]
        found += [Place(phase, n, settings.batch, many) for n in settings.lengths]
        if settings.reference and phase != "generate":
            found += [Place(phase, n, settings.batch, track="reference") for n in settings.lengths]
    for some in (1, many):
        found += [Place("first_token", n, 1, some) for n in settings.lengths]
        found += [Place("stream", n, 1, some) for n in settings.contexts]
    remedies = (forms.CHECKPOINTED, *((forms.TRUNCATED,) if bench.carries else ()))
    found += [Place("train", settings.lengths[-1], settings.batch, form=form) for form in remedies]
    return list(dict.fromkeys(found))


# ---------------------------------------------------------------- one point


class Chosen(Record):
    """The fastest way of running a phase."""

    path: str
    flags: tuple[str, ...] = ()


class Sweep:
    """What the points of one machine share: settings, device, meter, clock frequency, the paths chosen so far."""

    def __init__(self, settings: MeasureSettings, root: Path, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.kept = Kept(root, settings, device)
        self.tick = partial(clock.now, device)
        self.frequency = clock.Frequency(device)
        self.meter = meter(device)
        self.idle = self.meter.idle(METERED) if isinstance(self.meter, Meter) else 0.0
        self._paths: dict[tuple[str, Quantity, int], str] = {}

    def path(self, bench: Bench, place: Place) -> str:
        """The fastest of the ways in which this architecture does this phase, tried at `settings.length`.

        Only ways whose answers equal those of `forward` are taken. The choice is kept, as points are.
        """
        if place.track == "reference" or place.form or place.quantity not in ("train", "infer"):
            return "plain" if place.track == "reference" and bench.has("plain") else "eager"
        key = (bench.arch, place.quantity, place.threads)
        if key not in self._paths:
            what = ["path", place.quantity, place.threads, bench.identity]
            chosen = self.kept.get(bench.arch, bench.core, what, Chosen, partial(self._choose, bench, place.quantity))
            self._paths[key] = chosen.path
        return self._paths[key]

    def _choose(self, bench: Bench, quantity: Quantity) -> Chosen:
        wanted = [path for path in forms.PATHS if path != "compiled" or self.settings.compile]
        tried = {path: self._try(bench, quantity, path) for path in wanted if bench.has(path)}
        flags = {flag for _, own in tried.values() for flag in own}
        return Chosen(path=min(tried, key=lambda path: tried[path][0]), flags=tuple(sorted(flags)))

    def _try(self, bench: Bench, quantity: Quantity, path: str) -> tuple[float, tuple[str, ...]]:
        """Seconds of a repetition, and flags; infinite for a way that gives other answers, fails, or needs too much."""
        make = {"train": bench.train, "infer": bench.infer}[quantity]
        settings = self.settings
        try:
            with clock.seconds_at_most(settings.budget), clock.bytes_at_most(settings.memory, self.device):
                if not bench.correct(path):
                    return math.inf, ()
                work = make(settings.batch, settings.length, path=path)
                clock.warm_up(work, settings.seconds / 4, self.tick)
                timed = partial(clock.repeat, work, LEAST, LEAST, 0.0, self.tick)
                seen = clock.quietly(timed, clock.usage, self.frequency)
                return min(seen.result), seen.flags
        except (clock.OverBudget, RuntimeError) as error:  # a compiler may fail in many ways, all of them RuntimeErrors
            if path == "eager" and not isinstance(error, clock.OverBudget) and not out_of_memory(error):
                raise
            return math.inf, ()

    def work(self, bench: Bench, place: Place, path: str) -> Work:
        """What is repeated."""
        if place.quantity == "stream":
            return bench.stream(place.length)
        if place.quantity == "first_token":
            return bench.first_token(place.length)
        if place.quantity == "generate":
            return bench.generate(place.batch, place.length)
        make = {"train": bench.train, "infer": bench.infer}[place.quantity]
        return make(place.batch, place.length, place.track, place.form, path)

    def visit(self, bench: Bench, place: Place, earlier: Sequence[Visit]) -> Visit | None:
        """The next visit of a point: the one that is kept, or else made now and kept; None: no time is left for it."""
        budget = visits.left(self.settings.budget, earlier)
        if not budget:
            return None
        torch.set_num_threads(place.threads)
        path = self.path(bench, place)
        what = [str(place), path, bench.identity, len(earlier)]
        make = partial(self.look, bench, place, path, budget, first=not earlier)
        return self.kept.get(bench.arch, bench.core, what, Visit, make)

    def look(self, bench: Bench, place: Place, path: str, budget: float, first: bool = True) -> Visit:
        """One visit. Memory or time that runs out is a status, unless the repetitions were there before."""
        clock.clear(self.device)
        torch.set_num_threads(place.threads)
        memory, reason = self.settings.memory, ""
        status: Status = "ok"
        found: dict[str, Any] = {"path": path}
        start = time.perf_counter()
        try:
            with clock.seconds_at_most(budget) as alarm, clock.bytes_at_most(memory, self.device):
                self._time(bench, place, found, alarm, first)
        except clock.OverBudget as error:
            status, reason = "time_limit", str(error)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            status = "out_of_memory"
            reason = f"beyond {memory} bytes, or what was free" if self.device.type == "cpu" else ""
        if "seconds" in found:
            status, reason = "ok", ""
        return Visit(status=status, reason=reason, took=time.perf_counter() - start, **found)

    def _time(self, bench: Bench, place: Place, found: dict[str, Any], alarm: clock.Alarm, first: bool) -> None:
        """Fill `found`, the repetitions first; the first visit of a point also sees its kernels and its energy."""
        settings = self.settings
        seconds = settings.seconds / settings.visits
        work = self.work(bench, place, found["path"])
        if found["path"] == "compiled" and not _runs(work, alarm):
            found["path"], work = "eager", self.work(bench, place, "eager")
        clock.warm_up(work, seconds / 4, self.tick)
        most = STREAMED if place.quantity == "stream" else settings.repetitions
        least, most = (math.ceil(count / settings.visits) for count in (LEAST, most))
        timed = partial(clock.repeat, work, least, most, seconds, self.tick)
        seen = clock.quietly(timed, clock.usage, self.frequency)
        found |= {
            "seconds": tuple(seen.result),
            "flags": seen.flags,
            "load": round(seen.load, 3),
            "megahertz": seen.megahertz and round(seen.megahertz),
        }
        if alarm.over or not first:
            return
        usual = place.length in (settings.length, settings.contexts[0]) and place.batch in (1, settings.batch)
        if usual and place.threads == 1 and min(seen.result) < PROFILED:
            found["kernels"] = peaks.kernels(work, self.device)
        if isinstance(self.meter, Meter) and _rates(place) and not place.form:
            found["joules"] = joules_per_1000(
                self.meter, self.idle, work, self.tokens(place), max(settings.seconds, METERED)
            )

    def tokens(self, place: Place) -> int:
        """Of one repetition."""
        return place.batch * (self.settings.generate if place.quantity == "generate" else place.length)

    def together(self, place: Place, seen: Sequence[Visit]) -> Measurement:
        """The point that its visits make."""
        tokens = self.tokens(place)
        value = (lambda seconds: tokens / seconds) if _rates(place) else (lambda seconds: 1e3 * seconds)
        return Measurement(**place._asdict(), unit=UNITS[place.quantity], **visits.together(seen, value))


def _rates(place: Place) -> bool:
    return UNITS[place.quantity] == "tokens/s"


def _runs(work: Work, alarm: clock.Alarm) -> bool:
    """Whether compiled work can be compiled for this length and batch too."""
    try:
        work()
    except RuntimeError as error:
        if alarm.over or out_of_memory(error):
            raise
        return False
    return True


# ---------------------------------------------------------------- all of them


def measure(
    cores: Mapping[str, Mapping[str, Any]],
    settings: MeasureSettings,
    gates: Mapping[str, Gates],
    root: Path,
    device: torch.device,
    say: Callable[[str], None],
) -> tuple[Measured, ...]:
    """All that is timed of these architectures, by name with the settings of their cores, in the order given.

    An architecture that fails a gate in the model that stands for it is not timed. Raises InputError where no width
    fits the budget or the core cannot be built or streamed.
    """
    with clock.measuring():
        witness = Witness(device, model.kernel(device))
        sweep = Sweep(settings, root, device)
        benches = {arch: Bench(arch, core, settings, device) for arch, core in cores.items()}
        refused = {arch: gates[arch].refusal(bench.spec.kind) for arch, bench in benches.items()}
        points = [(arch, place) for arch in cores if not refused[arch] for place in places(benches[arch])]
        seen: dict[tuple[str, Place], list[Visit]] = {point: [] for point in points}
        order = random.Random(SHUFFLE)
        for arch, place in (point for _ in range(settings.visits) for point in order.sample(points, len(points))):
            earlier = seen[arch, place]
            if visit := sweep.visit(benches[arch], place, earlier):
                earlier.append(visit)
                now = sweep.together(place, earlier)
                say(clock.line(f"{arch}: {place}", now.value, 1.0, now.unit, now.status, now.flags))
        found = {(arch, place): sweep.together(place, every) for (arch, place), every in seen.items()}
        best = tuple(
            sweep.kept.get("device", {}, n, Peak, partial(peaks.peaks, device, n, settings.seconds))
            for n in sorted({1, threads(settings, device)})
        )
        torch.set_num_threads(1)
        provenance = witness.provenance()
    return tuple(
        Measured(
            arch=arch,
            core=dict(bench.core),
            version=archs.version(arch),
            settings=settings.plain(),
            width=bench.width,
            parameters=model.count(bench.net()).matched,
            measurements=tuple(found[one] for one in points if one[0] == arch),
            peaks=best,
            energy=sweep.meter.words,
            methods=METHODS,
            refused=refused[arch],
            provenance=provenance,
        )
        for arch, bench in benches.items()
    )
