"""Which one should I use? What every architecture scores and costs on each task, and who is best within limits.

The probability to be the best is that of a bootstrap over seeds; whether seeds can tell architectures apart is left to
the verdicts of pairs. The page's script answers as `choose` does, from the same rounded numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce
from operator import add, mul
from typing import NamedTuple

import numpy as np

from seqbench import scaling
from seqbench.analyse import across
from seqbench.analyse import certificates as of_tasks
from seqbench.analyse.conclusions import Advice, Certificate, Choosable, Option, Options, Prices
from seqbench.analyse.costs import Curves
from seqbench.analyse.findings import number, words
from seqbench.analyse.statistics import Array
from seqbench.analyse.summary import Cell, Curve, Front, Pair, TaskSummary
from seqbench.errors import DataError
from seqbench.files import canonical
from seqbench.measurements import Counted, Measured, Measurement, Quantity

DRAWS = 10_000
SUBSETS = 6
"""Up to so many architectures the probability is made anew for every subset that a limit may leave."""
ENDS = (64, 256, 1024)
BANDS = ("up to 64 steps", "65 to 256 steps", "257 to 1,024 steps", "over 1,024 steps")
UNITS = ("ms per step", "MB to train", "s to train", "bytes of state", "parameters")
"""Of `Choosable.costs`."""
MATCHED = 4
"""Costs before this place decide on the front. Parameters do not: they are matched within 5 %."""


class Costs(NamedTuple):
    """Where costs are looked up."""

    curves: Curves
    measured: Sequence[Measured]
    counted: Sequence[Counted]
    fronts: Sequence[Front]


class Streamed(NamedTuple):
    """Milliseconds per streamed step by architecture, after so many steps."""

    context: int | None
    ms: dict[str, float]


class Limits(NamedTuple):
    """The most that may be spent, in `UNITS`; None: any amount."""

    latency: float | None = None
    memory: float | None = None
    parameters: float | None = None


NO_LIMITS = Limits()


# ---------------------------------------------------------------- what there is to choose from


def options(
    tasks: Sequence[TaskSummary],
    cells: Sequence[Cell],
    pairs: Sequence[Pair],
    certificates: Sequence[Certificate],
    costs: Costs,
) -> tuple[Options, ...]:
    """For each task id every architecture; one that fails a gate, or never finished, is no candidate."""
    scales = {one.task: one for one in certificates}
    timed = streamed(costs)
    return tuple(
        _of_task(
            task,
            [cell for cell in cells if cell.task == task.id],
            [pair for pair in pairs if pair.task == task.id],
            scales[task.id],
            timed,
            costs,
        )
        for task in tasks
    )


def _of_task(
    task: TaskSummary,
    cells: Sequence[Cell],
    pairs: Sequence[Pair],
    scale: Certificate,
    timed: Streamed,
    costs: Costs,
) -> Options:
    values = of_tasks.rescaled(_scaled(task, scale, cells), cells)
    outs = [_out(cell) for cell in cells]
    candidates = [cell.arch for cell, out in zip(cells, outs, strict=True) if not out]
    seeds = len(cells[0].scores)
    odds = subsets([values[cell.arch] if not out else None for cell, out in zip(cells, outs, strict=True)])
    memory = _memory(task.spec.length, costs)
    seconds = {
        front.arch: _short(front.seconds)
        for front in costs.fronts
        if front.task == task.id and front.seconds is not None
    }
    return Options(
        task=task.id,
        name=task.name,
        family=task.family or "other",
        length=task.spec.length,
        seeds=seeds,
        context=timed.context,
        options=tuple(
            Option(
                arch=cell.arch,
                out=out,
                rescaled=round(float(np.mean(values[cell.arch])), 6) if cell.arch in values else 0.0,
                better_than=tuple(
                    other
                    for other in candidates
                    if any(pair.winner == cell.arch and other in (pair.a, pair.b) for pair in pairs)
                    and other != cell.arch
                ),
                costs=(
                    timed.ms.get(cell.arch),
                    memory.get(cell.arch),
                    seconds.get(cell.arch),
                    cell.runs[0].state_bytes,
                    sum(cell.runs[0].parameters.plain().values()),
                ),
            )
            for cell, out in zip(cells, outs, strict=True)
        ),
        odds=odds,
    )


def _out(cell: Cell) -> str:
    return "fails a gate" if cell.refused else "" if cell.finished else "no seed finished"


def _scaled(task: TaskSummary, scale: Certificate, cells: Sequence[Cell]) -> Certificate:
    """The scale of the task; where nobody gets beyond the trivial control, one on which the worst mean is -1."""
    if scale.ceiling is not None:
        return scale
    sign = 1.0 if task.spec.direction == "max" else -1.0
    worst = min((sign * cell.mean for cell in cells if cell.mean is not None), default=sign * scale.trivial - 1)
    below = sign * scale.trivial - worst
    return scale.model_copy(update={"ceiling": scale.trivial + sign * (below if below > 0 else 1.0)})


def _short(value: float) -> float:
    """Three significant digits: what is printed is what is compared."""
    return float(f"{value:.3g}")


# ---------------------------------------------------------------- costs


def _points(
    costs: Costs, sources: Sequence[Measured | Counted], quantity: Quantity
) -> dict[str, dict[int, Measurement]]:
    """By architecture and length, on the best track with one thread; none of machines that differ."""
    usual = {
        curve.arch: {m.length: m for m in points if m.value is not None}
        for curve, points in costs.curves.items()
        if curve == Curve(arch=curve.arch, quantity=quantity, along="length")
    }
    found = {arch: points for arch, points in usual.items() if points}
    on = {canonical(one.provenance.hardware.plain()) for one in sources if one.arch in found}
    return found if len(on) == 1 else {}


def streamed(costs: Costs) -> Streamed:
    """What a streamed step takes, after the longest context after which all were timed that were at all."""
    every = _points(costs, costs.measured, "stream")
    shared = set.intersection(*map(set, every.values())) if every else set()
    if not shared:
        return Streamed(None, {})
    at = max(shared)
    return Streamed(at, {arch: _short(m.value.median) for arch, of in every.items() if (m := of[at]).value})


def _memory(length: int, costs: Costs) -> dict[str, float]:
    """Peak of a training step at that length in MB, by architecture, from the curve through what was counted.

    A sequence shorter than all that were counted has the peak of the shortest, which is never too little.
    """
    found = {}
    for arch, points in _points(costs, costs.counted, "train_memory").items():
        peaks = {n: m.value.median for n, m in points.items() if m.value}
        at = max(length, min(peaks))
        try:
            peak = peaks[at] if at in peaks else scaling.Polynomial.fit(list(peaks), list(peaks.values())).at(at)
        except DataError:  # too few lengths for a curve
            continue
        found[arch] = _short(peak / 1e6)
    return found


# ---------------------------------------------------------------- probabilities


def chances(values: Array) -> list[float]:
    """(architectures, seeds), larger is better -> for each the share of draws in which its mean is the highest.

    Seeds are drawn anew within each architecture; as in `across.draws` the means lie as far from their estimate as so
    few seeds need, but within the range of the architecture's own seeds. Ties are split.
    """
    return [float(share) for share in _shares(_means(values))]


def _means(values: Array) -> Array:
    """(draws, architectures)."""
    archs, seeds = values.shape
    drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=(DRAWS, archs))
    means = values.mean(axis=1)
    moved = means + across.stretch(values[:, None]) * (np.einsum("das,as->da", drawn, values) / seeds - means)
    # a draw that leaves out the one seed that failed would else be stretched to beyond any score there can be
    return np.asarray(np.clip(moved, values.min(axis=1), values.max(axis=1)))


def _shares(means: Array) -> Array:
    highest = means >= means.max(axis=1, keepdims=True) - 1e-12
    return np.asarray((highest / highest.sum(axis=1, keepdims=True)).mean(axis=0))


def subsets(values: Sequence[Array | None]) -> tuple[tuple[int, ...], ...]:
    """`Options.odds` of the scores per seed of each option, larger being better; None: it is no candidate."""
    fit = [place for place, own in enumerate(values) if own is not None]
    if not fit or min(len(own) for own in values if own is not None) < 2:
        return ()
    means = _means(np.array([own for own in values if own is not None]))
    if len(values) > SUBSETS:
        whole = dict(zip(fit, _shares(means), strict=True))
        return (tuple(round(1000 * float(whole.get(place, 0.0))) for place in range(len(values))),)
    found = []
    for subset in range(2 ** len(values)):
        members = [place for place in range(len(values)) if subset >> place & 1]
        own = [fit.index(place) for place in members if place in fit]
        whole_subset = own and len(own) == len(members)
        found.append(tuple(round(1000 * float(p)) for p in _shares(means[:, own])) if whole_subset else ())
    return tuple(found)


def _odds(of: Options, left: Sequence[int]) -> list[float]:
    """Per mille, of those left on one task; of many options the probabilities among all, scaled up."""
    if len(of.odds) != 1:
        return [float(p) for p in of.odds[sum(1 << place for place in left)]]
    total = sum(of.odds[0][place] for place in left)
    return [1000 * of.odds[0][place] / total if total else 1000 / len(left) for place in left]


# ---------------------------------------------------------------- choosing


def band(length: int) -> str:
    """Which of `BANDS` a length lies in."""
    return BANDS[sum(length > end for end in ENDS)]


def advice(every: Sequence[Options]) -> tuple[Advice, ...]:
    """The answer without limits, for each family and band of lengths that has a task."""
    asked = sorted({(of.family, BANDS.index(band(of.length))) for of in every})
    return tuple(
        choose([of for of in every if (of.family, band(of.length)) == (family, BANDS[place])], family, BANDS[place])
        for family, place in asked
    )


def choose(own: Sequence[Options], family: str, within: str, limits: Limits = NO_LIMITS) -> Advice:
    """Who is on the front of these tasks: within the limits, and beaten by nobody left in score and all costs at once.

    Levels of one task are averaged first. A limit, and a cost, is that of the costliest of the tasks; one that was not
    measured exceeds every limit, and is never called higher or lower than another's.
    """
    weights = [1 / sum(other.name == of.name for other in own) for of in own]

    def mean(per_task: Sequence[float]) -> float:
        # summed one after the other, as the script does: `sum` would round otherwise
        return float(reduce(add, map(mul, weights, per_task)) / reduce(add, weights))

    archs = [option.arch for option in own[0].options]
    costs = [_costliest([of.options[place].costs for of in own]) for place in range(len(archs))]
    scores = [mean([of.options[place].rescaled for of in own]) for place in range(len(archs))]
    outs = [_barred(own, place) or _beyond(costs[place], limits) for place in range(len(archs))]
    left = [place for place, out in enumerate(outs) if not out]
    best: dict[int, float] = {}
    if left and all(of.odds for of in own):
        shares = [_odds(of, left) for of in own]
        best = {place: mean([share[n] for share in shares]) / 10 for n, place in enumerate(left)}

    spent = [(-scores[place], *costs[place][:MATCHED]) for place in range(len(archs))]
    front = [place for place in left if not any(_dominates(spent[other], spent[place]) for other in left)]
    for place in left:
        if place not in front:
            better = [archs[other] for other in front if _dominates(spent[other], spent[place])]
            outs[place] = f"behind {words(better)} in every mean"
    order = sorted(range(len(archs)), key=lambda place: (bool(outs[place]), -(best.get(place) or -1)))
    rows = tuple(
        Choosable(arch=archs[place], best=best.get(place), rescaled=scores[place], costs=costs[place], out=outs[place])
        for place in order
    )
    return Advice(
        family=family,
        band=within,
        tasks=tuple(of.task for of in own),
        rows=rows,
        text=" ".join([_front([row for row in rows if not row.out]), *_told(own, archs, left)]),
    )


def _dominates(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Whether `a` is as low as `b` everywhere, and lower somewhere; what one of the two lacks settles it: it is not."""
    known = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    alike = all((x is None) == (y is None) for x, y in zip(a, b, strict=True))
    return alike and all(x <= y for x, y in known) and any(x < y for x, y in known)


def _costliest(every: Sequence[Prices]) -> Prices:
    """What the costliest of the tasks takes."""
    latency, memory, seconds, state, parameters = zip(*every, strict=True)
    return _most(latency), _most(memory), _most(seconds), max(state), max(parameters)


def _most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _barred(own: Sequence[Options], place: int) -> str:
    barred = [(of.task, of.options[place].out) for of in own if of.options[place].out]
    return f"{barred[0][1]} on {words([task for task, out in barred if out == barred[0][1]])}" if barred else ""


def _beyond(costs: Prices, limits: Limits) -> str:
    """Which limits are exceeded, or cannot be shown to be kept."""
    found = []
    for place, limit in ((0, limits.latency), (1, limits.memory), (4, limits.parameters)):
        cost, unit = costs[place], UNITS[place]
        if limit is not None and (cost is None or cost > limit):
            found.append(f"{amount(cost)} {unit}: {'not measured' if cost is None else 'over the limit'}")
    return "; ".join(found)


# ---------------------------------------------------------------- in words


def amount(cost: float | None) -> str:
    """Whole numbers in full, as the script prints them."""
    if cost is None:
        return "–"
    return f"{cost:,.0f}" if cost == int(cost) else number(cost)


def share(best: float | None) -> str:
    """A probability in per cent; a bootstrap is never sure."""
    if best is None:
        return "–"
    return "under 1 %" if best < 0.5 else "over 99 %" if best >= 99.5 else f"{fixed(best, 0)} %"


def fixed(value: float, places: int) -> str:
    """So many places; a tie is rounded away from 0, as the script does."""
    return str(Decimal(value).quantize(Decimal(10) ** -places, ROUND_HALF_UP))


def counted(of: Options) -> str:
    """The seeds of a task, in words."""
    return f"these {of.seeds} seeds" if of.seeds > 1 else "one seed"


def _front(rows: Sequence[Choosable]) -> str:
    if not rows:
        return "No architecture is left."
    return f"On the front, with P(best): {', '.join(f'{r.arch} {share(r.best)}' for r in rows)}."


def _told(own: Sequence[Options], archs: Sequence[str], left: Sequence[int]) -> list[str]:
    """Whether the verdicts of pairs tell the best of those left apart, with the tasks on which they say the same."""
    found: dict[str, list[str]] = {}
    for of in own if left else ():
        top = max(left, key=lambda place: of.options[place].rescaled)
        beaten = of.options[top].better_than
        peers = [archs[place] for place in left if place == top or archs[place] not in beaten]
        if len(left) == 1:
            said = f"only {archs[top]} is left"
        elif len(peers) == 1:
            said = f"{archs[top]} is better than the rest"
        else:
            said = f"{counted(of)} cannot tell {words(peers)} apart"
        found.setdefault(said, []).append(of.task)
    return [f"On {words(tasks)}, {said}." for said, tasks in found.items()]
