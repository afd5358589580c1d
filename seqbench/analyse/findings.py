"""Sentences, made from verdicts alone: nothing is decided here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Matched
from seqbench.analyse.reach import SHARE
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
    matched: Sequence[Matched] = (),
) -> tuple[Finding, ...]:
    """What the page says in words, in its order: what was tested, gates, accuracy, controls, cost, reach.

    `matched`: ranks of the same runs under other rules, which may overturn what is said of accuracy.
    """
    sentences = [*_design(design), *_gates(costs.gates)]
    for task in tasks:
        own = [cell for cell in cells if cell.task == task.id and not cell.refused]
        if design.testable and own:
            rules = [one for one in matched if one.task == task.id]
            sentences.append(_accuracy(task, own, [pair for pair in pairs if pair.task == task.id], rules))
        sentences += _controls(task, own)
    sentences += _speed(costs.curves, costs.measured)
    return (
        *sentences,
        *_crossings(costs.crossovers),
        *_streaming(costs.curves, costs.measured),
        *_growth(costs.laws),
        *_held(tasks, held),
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
    loud = [flag for flag in flags if flag != "unsteady"]
    found = [f"{words(loud)}: the machine was not quiet"] if loud else []
    found += ["unsteady: repeated visits differ by more than 10 %"] if "unsteady" in flags else []
    return "; ".join(found)


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
            overturn=f"{_seeds(design.seeds_needed)} a side: their least p, corrected, is below {number(design.level)}",
        )


def _accuracy(task: TaskSummary, cells: Sequence[Cell], pairs: Sequence[Pair], rules: Sequence[Matched]) -> Finding:
    """One sentence on a task: the best winner and whom it beats, by how much; or that nobody clearly wins."""
    anchor = f"task-{task.id}"
    ranks = {cell.arch: cell.rank for cell in cells}
    best = min((pair.winner for pair in pairs if pair.winner), key=lambda arch: ranks[arch], default=None)
    seeds = f"{_seeds(len(cells[0].scores))} each"
    if best is None:
        means = ", ".join(f"{cell.arch} {_mean(cell)}" for cell in sorted(cells, key=lambda cell: cell.rank))
        text = f"{task.id}: no clear difference between any two architectures"
        return Finding(
            kind="accuracy",
            text=text,
            detail=f"{task.spec.metric} {means}; {seeds}",
            anchor=anchor,
            overturn=_undecided(pairs),
        )
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
    nearest = max(beaten, key=lambda pair: (pair.p_holm, -_gap(pair)))
    losers = [cell for cell in cells if cell.arch != best]
    doubts = [*_margins(nearest), *_other_rules(best, rules), *_borders(losers)]
    return Finding(kind="accuracy", text=text, detail=detail, anchor=anchor, overturn="; ".join(doubts))


def _undecided(pairs: Sequence[Pair]) -> str:
    """What would make a difference of none: more seeds, foremost for the pair that came closest."""
    if not pairs:
        return "A second architecture that passes the gates"
    near = min(pairs, key=lambda pair: (pair.p_holm, pair.p))
    return f"More seeds, foremost of {near.a} and {near.b}, which come closest with p = {number(near.p_holm)}"


def _gap(pair: Pair) -> float:
    """How far the interval of the difference lies from 0; negative where it holds 0."""
    return -math.inf if pair.interval is None else max(pair.interval[0], -pair.interval[1])


def _margins(pair: Pair) -> Iterator[str]:
    """How many pairs of runs the weakest of the verdicts could lose: it is one of ranks."""
    if pair.difference is None or pair.interval is None:
        yield f"A seed of {pair.b} that finishes"
        return
    runs = pair.seeds**2
    least = statistics.fewest_wins(pair.seeds, pair.seeds, statistics.LEVEL * pair.p / pair.p_holm)
    won = f"Other seeds: {number(pair.improvement * runs)} of {runs} pairs of runs with {pair.b} were won"
    enough = "" if least is None else f", and {least} would have to be"
    ranks = "; the interval of the difference holds 0, the test is one of ranks" if _gap(pair) <= 0 else ""
    yield f"{won}{enough}{ranks}"


def _other_rules(best: str, rules: Sequence[Matched]) -> Iterator[str]:
    """Rules of matching under which another one is first."""
    for one in rules:
        if one.rule != "parameters" and one.ranks.get(best, 1) > 1:
            first = min(one.ranks, key=lambda arch: one.ranks[arch])
            yield f"at equal {one.rule} {first} ranks first, {best} {one.ranks[best]}"


def _borders(cells: Sequence[Cell]) -> Iterator[str]:
    """Whose learning rate may be better beyond the search."""
    names = [cell.arch for cell in cells if cell.evidence.tuned.border]
    if names:
        yield f"a better learning rate of {words(names)} beyond the border of the search"


def _mean(cell: Cell) -> str:
    return "no finished seed" if cell.mean is None else f"{number(cell.mean)}{span(cell.interval)}"


def _margin(pair: Pair) -> str:
    if pair.difference is None:
        return f"{pair.b} unknown (no seed of it finished)"
    return f"{pair.b} {number(pair.difference)}{span(pair.interval)}"


def _controls(task: TaskSummary, cells: Sequence[Cell]) -> Iterator[Finding]:
    if task.strong is not None and cells and all(map(task.outdone, cells)):
        score = number(task.strong.metrics[task.spec.metric])
        best = min(cells, key=lambda cell: cell.rank)
        text = f"no architecture reaches the strong control, {task.strong.name}"
        said = f"{score} of the control; the best mean is that of {best.arch}, {_mean(best)}"
        yield _control(task, cells, text, said, f"Longer training or larger models, with a mean beyond {score}")
    losers = [cell for cell in cells if cell.against_control == "no better"]
    if losers:
        verb = "is" if len(losers) == 1 else "are"
        score = number(task.trivial.metrics[task.spec.metric])
        text = f"{words([cell.arch for cell in losers])} {verb} no better than {task.trivial.name}"
        said = f"{', '.join(f'{cell.arch} {_mean(cell)}' for cell in losers)}; the control {score}"
        yield _control(task, losers, text, said, f"Seeds or training that bring the interval beyond {score}")


def _control(task: TaskSummary, cells: Sequence[Cell], text: str, said: str, doubt: str) -> Finding:
    return Finding(
        kind="control",
        text=f"{task.id}: {text}",
        detail=f"{task.spec.metric} {said}; {_seeds(len(cells[0].scores))} each",
        anchor=f"task-{task.id}",
        overturn="; ".join([doubt, *_borders(cells)]),
    )


# ---------------------------------------------------------------- gates


def _gates(gates: Iterable[Gates]) -> Iterator[Finding]:
    """Who is neither timed nor ranked, and why."""
    for one in gates:
        if sentence := one.refusal():
            text = f"{one.arch} fails gates: it is neither ranked nor timed in the models where it does"
            again = f"A change of its code after which all gates pass: {one.provenance.command}"
            yield Finding(kind="gate", text=text, detail=sentence.rstrip("."), anchor="gates", overturn=again)


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
        f"{', '.join(ratios)}; brackets: the ratio from the outer quartiles{_shaky(at.values())}; speed is that of the "
        f"kernels too ({'; '.join(dict.fromkeys(one.provenance.kernel for one in measured))})",
        anchor="cost",
        overturn="; ".join(_elsewhere(first, common, measured)),
    )


def _elsewhere(first: str, common: Mapping[str, Points], measured: Sequence[Measured]) -> Iterator[str]:
    """Where another one is faster, or may be."""
    lengths = sorted(next(iter(common.values())))
    fastest = {n: max(common, key=lambda arch: _quantiles(common[arch][n]).median) for n in lengths}
    others: dict[str, list[str]] = {}
    for n, arch in fastest.items():
        if arch != first:
            others.setdefault(arch, []).append(str(n))
    if others:
        yield "Another length: " + ", ".join(f"{arch} is the fastest at {words(n)}" for arch, n in others.items())
    else:
        yield f"A length beside the {len(lengths)} measured, at all of which it is the fastest"
    at = {arch: of[lengths[-1]] for arch, of in common.items()}
    near = max((arch for arch in at if arch != first), key=lambda arch: _quantiles(at[arch]).median)
    batch, ratio = at[first].batch, _quantiles(at[first]).q25 / _quantiles(at[near]).q75
    machine = f"a machine, thread count or batch other than {measured[0].provenance.hardware.name}, one thread, {batch}"
    yield f"{machine}; here the quartiles of {near} {'overlap' if ratio < 1 else f'stay {number(ratio)} times apart'}"


def _quantiles(measurement: Measurement) -> Quantiles:
    assert measurement.value is not None  # `_usual` leaves the others out
    return measurement.value


def _crossings(crossovers: Sequence[Crossover]) -> Iterator[Finding]:
    """From which length on one architecture trains or streams faster, or needs less memory in training."""
    for quantity in ("train", "stream", "train_memory"):
        own = [one for one in crossovers if one.curve == Curve(arch=one.a, quantity=quantity, along="length")]
        met = [one for one in own if one.length is not None]
        if met:
            said = "; ".join(one.text for one in met[1:])
            yield Finding(kind="cost", text=met[0].text, detail=said, anchor="cost", overturn=_uncrossed(met[0]))


def _uncrossed(of: Crossover) -> str:
    """Where the curves may meet instead."""
    within = f"Measured from {of.low} to {of.high} steps on this machine alone"
    if of.interval is None:
        return f"{within}, and with no spread that bounds where they meet"
    low, high = of.interval
    return f"{within}; with the spread of the repetitions the curves may meet from {number(low)} to {number(high)}"


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
        low, high = max(one.low for one in own), min(one.high for one in own)
        worst = min(own, key=lambda one: one.fit)
        doubt = f"Lengths outside of {low} to {high} steps; the worst fit has R² {worst.fit:.3f} ({worst.curve.arch})"
        yield Finding(kind="cost", text=text, detail=", ".join(slopes), anchor="cost", overturn=doubt)


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
        overturn=f"Contexts beyond {long} steps; a machine other than {measured[0].provenance.hardware.name}, where "
        "what a step loads from memory costs otherwise",
    )


def _ends(values: Sequence[float]) -> str:
    """The smallest and the largest, or the one that all are."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"between {low} and {high}"


# ---------------------------------------------------------------- reach


def _held(tasks: Sequence[TaskSummary], held: Sequence[Held]) -> Iterator[Finding]:
    """Up to which length each architecture holds a reference score."""
    metrics = {task.name: task.spec.metric for task in tasks}
    for task in dict.fromkeys(one.task for one in held):
        own = [one for one in held if one.task == task]
        said = "; ".join(one.text for one in own[1:])
        levels = words([number(level) for level in own[0].levels])
        score = f"{metrics[task]} {number(own[0].reference)} ({100 * SHARE:g} % of the way from control to ceiling)"
        doubt = f"Longer training, a threshold other than {score}, or a level beside {levels}"
        yield Finding(kind="reach", text=f"{task}: {own[0].text}", detail=said, anchor="reach", overturn=doubt)
