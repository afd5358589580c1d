"""What architectures cost: curves, laws of growth, crossovers, and what quality costs to train. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal

from seqbench import scaling
from seqbench.analyse import statistics
from seqbench.analyse.findings import number, span, unquiet, words
from seqbench.analyse.summary import Cell, Crossover, Curve, Front, Law, TaskSummary
from seqbench.config import MeasureSettings
from seqbench.files import canonical
from seqbench.measurements import CellTime, Counted, Measured, Measurement, Pace, Quantity
from seqbench.records import Result

THROUGHPUTS: tuple[Quantity, ...] = ("train", "infer", "generate")
MEMORIES: tuple[Quantity, ...] = ("train_memory", "infer_memory")
SINGLE: tuple[Quantity, ...] = ("stream", "first_token", "state")
"""Of one sequence: no batch to keep constant."""
AFTER: tuple[Quantity, ...] = ("generate", "stream")
"""Of which the length is that of the context: the steps before."""

Along = Literal["length", "length at constant tokens", "batch"]
Curves = Mapping[Curve, Sequence[Measurement]]


# ---------------------------------------------------------------- curves


def curves(
    measured: Sequence[Measured], counted: Sequence[Counted], settings: MeasureSettings
) -> dict[Curve, list[Measurement]]:
    """Which measurements belong on one curve, in the order of the axis; one may be on several.

    Training, evaluation and generation are swept over lengths (at a constant batch, at constant tokens) and over
    batches, all else over lengths alone. Points without a value stay, with their status. One point at a constant number
    of tokens, or of one batch, is a point of another sweep: no curve. Gradients are no cost.
    """
    found: dict[Curve, list[Measurement]] = {}
    sources: list[Measured | Counted] = [*measured, *counted]
    for one in sources:
        for m in one.measurements:
            for along in _along(m, settings):
                curve = Curve(
                    arch=one.arch, quantity=m.quantity, along=along, threads=m.threads, track=m.track, form=m.form
                )
                found.setdefault(curve, []).append(m)
    return {
        curve: sorted(points, key=lambda m: place(curve, m))
        for curve, points in found.items()
        if curve.along == "length" or len(points) > 1
    }


def _along(m: Measurement, settings: MeasureSettings) -> Iterator[Along]:
    if m.quantity in SINGLE or (m.quantity in (*MEMORIES, *THROUGHPUTS) and m.batch == settings.batch):
        yield "length"
    if m.quantity in THROUGHPUTS and m.batch == max(1, settings.tokens // m.length):
        yield "length at constant tokens"
    if m.quantity in THROUGHPUTS and m.length == settings.length:
        yield "batch"


def place(curve: Curve, m: Measurement) -> int:
    """Where a measurement stands on the axis of its curve: its batch or its length."""
    return m.batch if curve.along == "batch" else m.length


# ---------------------------------------------------------------- laws


def laws(curves: Curves) -> tuple[Law, ...]:
    """How cost grows with length, for each curve along it (at a constant batch) that has three points or more.

    Rates become seconds: of a batch of sequences, of a step of generation. Of memory, only activations grow.
    """
    found = []
    for curve, points in curves.items():
        costs = [(m.length, cost) for m in points if (cost := _growing(m)) > 0] if curve.along == "length" else []
        if len(costs) >= 3:
            law = scaling.power_law(*zip(*costs, strict=True))
            found.append(
                Law(
                    curve=curve,
                    slope=law.slope,
                    interval=law.interval,
                    fit=law.fit,
                    low=int(law.low),
                    high=int(law.high),
                    points=law.points,
                    of=GROWS[curve.quantity],
                    flags=_flags(m for m in points if law.low <= m.length <= law.high and _growing(m) > 0),
                )
            )
    return tuple(found)


GROWS: dict[Quantity, str] = {
    "train": "seconds per batch",
    "infer": "seconds per batch",
    "generate": "seconds per step",
    "first_token": "ms to the first output",
    "stream": "ms per step",
    "train_memory": "bytes of activations",
    "infer_memory": "bytes of activations",
    "state": "bytes of state",
}


def _flags(points: Iterable[Measurement]) -> tuple[str, ...]:
    """What disturbed any of the points, each once."""
    return tuple(dict.fromkeys(flag for m in points for flag in m.flags))


def _growing(m: Measurement) -> float:
    """The cost of which a law is said, in the unit of `GROWS`; 0 where there is none."""
    if m.value is None:
        return 0.0
    return float(m.parts.get("activations", 0)) if m.quantity in MEMORIES else _cost(m, m.value.median)


def _cost(m: Measurement, value: float) -> float:
    """What is the lower the better: a rate as the seconds of a batch (or of a step of generation), else the value."""
    if m.unit != "tokens/s":
        return value
    return m.batch * (1 if m.quantity == "generate" else m.length) / value


# ---------------------------------------------------------------- crossovers


WORDS: dict[Quantity, tuple[str, str]] = {
    "train": ("trains faster", "speed of training"),
    "infer": ("evaluates faster", "speed of evaluation"),
    "generate": ("generates faster", "speed of generation"),
    "first_token": ("gives its first output sooner", "time to the first output"),
    "stream": ("streams faster", "speed of streaming"),
    "train_memory": ("needs less memory in training", "memory in training"),
    "infer_memory": ("needs less memory in evaluation", "memory in evaluation"),
    "state": ("carries a smaller state", "size of the state"),
}
"""What the better one of two does, and in what they may be alike."""


def crossovers(
    curves: Curves, architectures: Sequence[str], measured: Sequence[Measured], counted: Sequence[Counted]
) -> tuple[Crossover, ...]:
    """Where the curves of each two architectures meet that differ in nothing else (and have no special form).

    `measured` and `counted` are what the curves were made of: what comes from different machines, or versions of
    libraries, is not compared. Neither are curves with fewer than two places in common.
    """
    sources: list[Measured | Counted] = [*measured, *counted]
    machines = {
        (one.arch, m.quantity): canonical(one.provenance.hardware.plain()) for one in sources for m in one.measurements
    }
    found = []
    for kind in dict.fromkeys(curve.model_copy(update={"arch": ""}) for curve in curves if not curve.form):
        for a, b in combinations(architectures, 2):
            left, right = (kind.model_copy(update={"arch": arch}) for arch in (a, b))
            if left not in curves or right not in curves:
                continue
            if machines[a, kind.quantity] != machines[b, kind.quantity]:
                continue
            crossing = scaling.crossover(_bands(left, curves[left]), _bands(right, curves[right]))
            if crossing is not None:
                both = [m for curve in (left, right) for m in curves[curve] if place(curve, m) in crossing.lengths]
                found.append(_crossover(left, b, crossing, _flags(both)))
    return tuple(found)


def _bands(curve: Curve, points: Sequence[Measurement]) -> list[scaling.Band]:
    """Costs with their quartiles; the order of a rate's quartiles turns round."""
    return [
        scaling.Band(place(curve, m), *sorted(_cost(m, value) for value in (m.value.q25, m.value.median, m.value.q75)))
        for m in points
        if m.value is not None and m.value.q25 > 0
    ]


def _crossover(curve: Curve, b: str, crossing: scaling.Crossing, flags: Sequence[str]) -> Crossover:
    return Crossover(
        curve=curve,
        a=curve.arch,
        b=b,
        length=crossing.length,
        interval=crossing.interval,
        low=crossing.lengths[0],
        high=crossing.lengths[-1],
        flags=tuple(flags),
        text=_text(curve, {"a": curve.arch, "b": b}, crossing) + (f" ({unquiet(flags)})" if flags else ""),
    )


def _text(curve: Curve, names: Mapping[str, str], crossing: scaling.Crossing) -> str:
    """Who costs less where, in one sentence."""
    verb, noun = WORDS[curve.quantity]
    steps = ("context", "contexts") if curve.quantity in AFTER else ("length", "lengths")
    axis, axes = ("batch", "batches") if curve.along == "batch" else steps
    everywhere = f"{axis} from {crossing.lengths[0]} to {crossing.lengths[-1]}"
    if crossing.above is None or crossing.below is None:
        return f"no clear difference between {names['a']} and {names['b']} in {noun} at any {everywhere}"
    winner = names[crossing.above]
    loser = names["b" if crossing.above == "a" else "a"]
    if crossing.length is not None:
        exact = crossing.interval is None or len({number(end) for end in crossing.interval}) == 1
        place = f"about {number(crossing.length)}"
        place = f"batches of {place} sequences" if curve.along == "batch" else f"{place} steps"
        where = f"from {place} on{'' if exact else span(crossing.interval)}"
        last = f" (the curves cross {crossing.times} times; this is the last)" if crossing.times > 1 else ""
        return f"{winner} {verb} than {loser} {where}; below, {loser} does{last}"
    unclear = [length for length in crossing.lengths if length not in crossing.clear]
    if not unclear:
        return f"{winner} {verb} than {loser} at every {everywhere}"

    def at(places: Sequence[int]) -> str:
        return f"at {axes if len(places) > 1 else axis} {words([str(n) for n in places])}"

    return f"{winner} {verb} than {loser} {at(crossing.clear)}; no clear difference {at(unclear)}"


# ---------------------------------------------------------------- cost and quality


def fronts(tasks: Sequence[TaskSummary], cells: Sequence[Cell], paces: Sequence[Pace]) -> tuple[Front, ...]:
    """What each cell's quality costs to train, by task, and which cells nobody beats in both.

    An architecture that fails a gate beats nobody, and its scores set no target.
    """
    times = {(pace.task, time.arch): time for pace in paces for time in pace.cells}
    found: list[Front] = []
    for task in tasks:
        own = [cell for cell in cells if cell.task == task.id]
        target = _target(task, [run for cell in own if not cell.refused for run in cell.runs])
        fronts = [_front(task, cell, times.get((task.id, cell.arch)), target) for cell in own]
        ranked = [front for cell, front in zip(own, fronts, strict=True) if not cell.refused]
        sign = 1 if task.spec.direction == "max" else -1
        found += [front.model_copy(update={"best": front in ranked and _best(front, ranked, sign)}) for front in fronts]
    return tuple(found)


def _front(task: TaskSummary, cell: Cell, time: CellTime | None, target: float | None) -> Front:
    """One cell; the time of a run that failed is none of training, so only seeds that finished count in `seconds`."""
    step = time.step.median if time and time.step else None
    taken = [run.steps * step for run in cell.runs if run.status == "ok"] if step is not None else []
    reached = [at for run in cell.runs if (at := _reached(task, run, target)) is not None]
    return Front(
        task=cell.task,
        arch=cell.arch,
        score=cell.mean,
        seconds=fmean(taken) if taken else None,
        interval=statistics.interval(taken, at_least=0.0) if taken else None,
        to_target=fmean(reached) * step if reached and step is not None else None,
        reached=len(reached),
        target=target,
        item_ms=1e3 * time.item.median if time and time.item else None,
        best=False,
    )


def _target(task: TaskSummary, runs: Sequence[Result]) -> float | None:
    """Halfway from the trivial control to the best score that any run had on validation.

    None where the control has no such score, or no run was better.
    """
    watched, direction = task.spec.watched
    start = task.trivial.metrics.get(watched)
    seen = [point.valid for run in runs for point in run.curve if point.valid is not None]
    if start is None or not seen:
        return None
    best = max(seen) if direction == "max" else min(seen)
    better = best > start if direction == "max" else best < start
    return (start + best) / 2 if better else None


def _reached(task: TaskSummary, run: Result, target: float | None) -> int | None:
    """Steps until a run was first seen at the target or beyond; None: never."""
    if target is None:
        return None
    sign = 1 if task.spec.watched[1] == "max" else -1
    seen = (point.step for point in run.curve if point.valid is not None and sign * point.valid >= sign * target)
    return next(seen, None)


def _best(front: Front, others: Sequence[Front], sign: int) -> bool:
    """Whether no other is at least as good and as cheap, and one of both more so."""
    if front.score is None or front.seconds is None:
        return False
    own = (-sign * front.score, front.seconds)
    rest = [(-sign * o.score, o.seconds) for o in others if o.score is not None and o.seconds is not None]
    return not any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in rest)
