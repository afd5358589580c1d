"""Sentences, made from verdicts alone: nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from seqbench.analyse.summary import (
    Cell,
    Crossover,
    Curve,
    Design,
    Finding,
    Held,
    Law,
    Pair,
    TaskSummary,
)
from seqbench.files import canonical
from seqbench.measurements import Counted, Gates, Measured, Measurement, Quantiles, Quantity

NAIVE = "naive attention"
Points = dict[int, Measurement]
Curves = Mapping[Curve, Sequence[Measurement]]


class Costs(NamedTuple):
    """What was measured and fitted, as far as it is put in words."""

    gates: Sequence[Gates]
    measured: Sequence[Measured]
    counted: Sequence[Counted]
    curves: Curves
    laws: Sequence[Law]
    crossovers: Sequence[Crossover]


def findings(
    tasks: Sequence[TaskSummary],
    cells: Sequence[Cell],
    pairs: Sequence[Pair],
    design: Design,
    costs: Costs,
    held: Sequence[Held],
) -> tuple[Finding, ...]:
    """What the page says in words, in its order: what was tested, gates, accuracy, controls, cost, reach."""
    sentences = [*_design(design), *_gates(costs.gates)]
    for task in tasks:
        own = [cell for cell in cells if cell.task == task.id and not cell.refused]
        if design.testable and own:
            sentences.append(_accuracy(task, own, [pair for pair in pairs if pair.task == task.id]))
        sentences += _controls(task, own)
    sentences += _speed(costs.curves, costs.measured)
    return (
        *sentences,
        *_crossings(costs.crossovers),
        *_streaming(costs.curves, costs.measured),
        *_growth(costs.laws),
        *_held(held),
    )


def words(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def number(value: float) -> str:
    """Three significant digits; powers of ten where they would take more than nine places."""
    return f"{float(f'{value:.3g}'):,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.3g}"


def arrow(direction: str) -> str:
    """Which way is better: up or down."""
    return "↑" if direction == "max" else "↓"


def span(interval: tuple[float, float] | None) -> str:
    """An interval in brackets; nothing where there is none."""
    return f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""


def unquiet(flags: Sequence[str]) -> str:
    """What disturbed the points that a sentence rests on."""
    return f"{words(flags)}: the machine was not quiet"


def _shaky(points: Iterable[Measurement]) -> str:
    """The end of a sentence on these points; nothing where none was disturbed."""
    flags = list(dict.fromkeys(flag for m in points for flag in m.flags))
    return f"; {unquiet(flags)}" if flags else ""


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


# ---------------------------------------------------------------- accuracy


def _design(design: Design) -> Iterator[Finding]:
    if design.comparisons and not design.testable:
        yield Finding(
            kind="design",
            text=f"Not testable with {_seeds(design.seeds)}: no pair of architectures can be called different; "
            f"{design.seeds_needed} would do",
            detail=f"With {_seeds(design.seeds)} a side an exact test reaches p = {number(design.smallest_p)} at best, "
            f"after Holm's correction over {design.comparisons} comparisons {number(design.smallest_p_holm)}",
            anchor="pairs",
        )


def _accuracy(task: TaskSummary, cells: Sequence[Cell], pairs: Sequence[Pair]) -> Finding:
    """One sentence on a task: the best winner and whom it beats, by how much; or that nobody clearly wins."""
    anchor = f"task-{task.id}"
    ranks = {cell.arch: cell.rank for cell in cells}
    best = min((pair.winner for pair in pairs if pair.winner), key=lambda arch: ranks[arch], default=None)
    seeds = f"{_seeds(len(cells[0].scores))} each"
    if best is None:
        means = ", ".join(f"{cell.arch} {_mean(cell)}" for cell in sorted(cells, key=lambda cell: cell.rank))
        text = f"{task.id}: no clear difference between any two architectures"
        return Finding(kind="accuracy", text=text, detail=f"{task.spec.metric} {means}; {seeds}", anchor=anchor)
    own = [pair if pair.a == best else pair.turned for pair in pairs if best in (pair.a, pair.b)]
    own.sort(key=lambda pair: ranks[pair.b])
    beaten = [pair for pair in own if pair.winner == best]
    level = [pair.b for pair in own if pair.winner is None]
    mean = _mean(next(cell for cell in cells if cell.arch == best))
    text = f"{task.id}: {best} is better than {words([pair.b for pair in beaten])}"
    if level:
        text += f"; no clear difference from {words(level)}"
    detail = (
        f"{task.spec.metric} {mean}; difference from {', '.join(map(_margin, beaten))}; "
        f"{seeds}; p ≤ {number(max(pair.p_holm for pair in beaten))}"
    )
    return Finding(kind="accuracy", text=text, detail=detail, anchor=anchor)


def _mean(cell: Cell) -> str:
    return "no finished seed" if cell.mean is None else f"{number(cell.mean)}{span(cell.interval)}"


def _margin(pair: Pair) -> str:
    if pair.difference is None:
        return f"{pair.b} unknown (no seed of it finished)"
    return f"{pair.b} {number(pair.difference)}{span(pair.interval)}"


def _controls(task: TaskSummary, cells: Sequence[Cell]) -> Iterator[Finding]:
    losers = [cell for cell in cells if cell.against_control == "no better"]
    if losers:
        verb = "is" if len(losers) == 1 else "are"
        score = number(task.trivial.metrics[task.spec.metric])
        yield Finding(
            kind="control",
            text=f"{task.id}: {words([cell.arch for cell in losers])} {verb} no better than {task.trivial.name}",
            detail=f"{task.spec.metric} {', '.join(f'{cell.arch} {_mean(cell)}' for cell in losers)}; "
            f"the control {score}; {_seeds(len(cells[0].scores))} each",
            anchor=f"task-{task.id}",
        )


# ---------------------------------------------------------------- gates


def _gates(gates: Iterable[Gates]) -> Iterator[Finding]:
    """Who is neither timed nor ranked, and why."""
    for one in gates:
        if sentence := one.refusal():
            text = f"{one.arch} fails gates: it is neither ranked nor timed in the models where it does"
            yield Finding(kind="gate", text=text, detail=sentence.rstrip("."), anchor="gates")


# ---------------------------------------------------------------- cost


def _usual(curves: Curves, quantity: Quantity, form: str = "") -> dict[str, dict[int, Measurement]]:
    """Points with a value along length, on the best track with one thread, by architecture and length."""
    return {
        curve.arch: {m.length: m for m in points if m.value is not None}
        for curve, points in curves.items()
        if curve == Curve(arch=curve.arch, quantity=quantity, along="length", form=form)
    }


def _common(curves: Curves, measured: Sequence[Measured | Counted], quantity: Quantity) -> dict[str, Points]:
    """Points of each architecture at the lengths all of them reached; empty on mixed hardware."""
    series = _usual(curves, quantity)
    on = {canonical(one.provenance.hardware.plain()) for one in measured if one.arch in series}
    if len(on) != 1:
        return {}
    shared = set.intersection(*(set(of) for of in series.values()))
    return {arch: {n: of[n] for n in sorted(shared)} for arch, of in series.items()} if shared else {}


def _speed(curves: Curves, measured: Sequence[Measured]) -> Iterator[Finding]:
    """The fastest architecture in training at the longest common length, against each of the others."""
    common = _common(curves, measured, "train")
    if len(common) < 2:
        return
    at = {arch: of[max(of)] for arch, of in common.items()}
    first, *others = sorted(at, key=lambda arch: -_quantiles(at[arch]).median)
    top = _quantiles(at[first])
    ratios = [
        f"{number(top.median / low.median)} times {arch}{span((top.q25 / low.q75, top.q75 / low.q25))}"
        for arch, low in ((arch, _quantiles(at[arch])) for arch in others)
    ]
    yield Finding(
        kind="cost",
        text=f"At length {at[first].length}, {first} had the highest median training throughput",
        detail=f"{number(top.median)} tokens/s as measured on {measured[0].provenance.hardware.name}: "
        f"{', '.join(ratios)}; brackets: the ratio from the outer quartiles{_shaky(at.values())}",
        anchor="cost",
    )


def _quantiles(measurement: Measurement) -> Quantiles:
    assert measurement.value is not None  # `_usual` leaves the others out
    return measurement.value


def _crossings(crossovers: Sequence[Crossover]) -> Iterator[Finding]:
    """From which length on one architecture trains or streams faster, or needs less memory in training."""
    for quantity in ("train", "stream", "train_memory"):
        own = [one for one in crossovers if one.curve == Curve(arch=one.a, quantity=quantity, along="length")]
        met = [one.text for one in own if one.length is not None]
        if met:
            yield Finding(kind="cost", text=met[0], detail="; ".join(met[1:]), anchor="cost")


def _growth(laws: Sequence[Law]) -> Iterator[Finding]:
    """How the activations of a training step grow with length, with attention written out too."""
    own = [one for one in laws if one.curve.quantity == "train_memory" and one.curve.form in ("", NAIVE)]
    if own:
        slopes = [
            f"{one.curve.arch}{f' ({one.curve.form})' if one.curve.form else ''} {one.slope:.2f}"
            f"{span(one.interval)} from {one.low} to {one.high} steps"
            for one in own
        ]
        text = f"Activations of a training step grow with length to the power of {_ends([one.slope for one in own])}"
        yield Finding(kind="cost", text=text, detail=", ".join(slopes), anchor="cost")


def _streaming(curves: Curves, measured: Sequence[Measured]) -> Iterator[Finding]:
    """What a streamed step takes after the longest context, against the shortest."""
    common = _common(curves, measured, "stream")
    contexts = sorted({n for of in common.values() for n in of})
    if len(contexts) < 2:
        return
    short, long = contexts[0], contexts[-1]
    grown = {arch: _quantiles(of[long]).median / _quantiles(of[short]).median for arch, of in common.items()}
    yield Finding(
        kind="cost",
        text=f"After {long} steps a streamed step takes {_ends([*grown.values()])} times what it takes after {short}",
        detail=", ".join(
            f"{arch} {ratio:.2f} times, {number(_quantiles(common[arch][long]).median)} ms"
            for arch, ratio in grown.items()
        )
        + _shaky(of[n] for of in common.values() for n in (short, long)),
        anchor="cost",
    )


def _ends(values: Sequence[float]) -> str:
    """The smallest and the largest, or the one that all are."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"between {low} and {high}"


# ---------------------------------------------------------------- reach


def _held(held: Sequence[Held]) -> Iterator[Finding]:
    """Up to which length each architecture holds a reference score."""
    for task in dict.fromkeys(one.task for one in held):
        texts = [one.text for one in held if one.task == task]
        yield Finding(kind="reach", text=f"{task}: {texts[0]}", detail="; ".join(texts[1:]), anchor="reach")
