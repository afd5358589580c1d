"""Ranks when architectures are given equal training time, arithmetic or state, beside those at equal parameters.

Nothing is trained again for the first two: each run's looks at the validation split say how far it was when the budget
was spent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from statistics import fmean
from typing import NamedTuple

from scipy import stats

from seqbench.analyse.conclusions import Matched, Rule
from seqbench.analyse.findings import number, unquiet, words
from seqbench.analyse.grounds import Known, learned
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.measurements import CellTime, Pace
from seqbench.records import Result

STATE = "equal_state"
"""The variant whose widths give all cells of a task a state of the same size."""
ALIKE = 1.1
"""Largest state over smallest, at most: parameters, too, may lie 5 % to both sides of their budget."""

WITHIN = 1.05
"""Times the budget up to which a look counts: else what costs 1 % more would lose all since the look before."""

Scores = dict[str, float | None]
"""By architecture; None: no run of it counts, so it comes last."""


class Price(NamedTuple):
    """What a training step of each architecture costs; None: not known."""

    rule: Rule
    of: dict[str, float | None]
    noun: str
    """What is not known, in words."""
    unit: str
    size: float
    """Of the unit, in that of `of`."""
    doubt: str = ""
    """What was wrong when it was measured, in words."""


def matched(
    tasks: Sequence[TaskSummary], cells: Sequence[Cell], paces: Sequence[Pace], variants: Sequence[Cell] = ()
) -> tuple[Matched, ...]:
    """Every rule on every task; of `variants` those of equal state are used, where there are any.

    An architecture that fails a gate is left out; no rank counts as changed of one that did not learn the task
    (`grounds.LEARNED`): it has none to lose. A failed run counts as the worst score seen on the task, of any run
    under the same rule or the trivial control. Equal scores share the better rank.
    """
    times = {(pace.task, time.arch): time for pace in paces for time in pace.cells}
    known = Known(tasks=tasks, cells=cells, variants=variants)
    found: list[Matched] = []
    for task in tasks:
        own = [cell for cell in cells if cell.task == task.id and not cell.refused]
        by_arch = {cell.arch: times.get((task.id, cell.arch)) for cell in own}
        equal = [one for one in variants if one.task == task.id and one.evidence.setting.variant == STATE]
        chance = {cell.arch for cell in own if learned(known, cell) is False}
        ranked = _parameters(task, own), *(_cut(task, own, price) for price in _prices(by_arch))
        state = _state(task, own, [one for one in equal if not one.refused])
        found += [_among_learners(one, chance) for one in (*ranked, state)]
    return tuple(found)


def _among_learners(of: Matched, chance: AbstractSet[str]) -> Matched:
    return of.model_copy(update={"changed": tuple(arch for arch in of.changed if arch not in chance)})


def _ranks(scores: Scores, direction: str) -> dict[str, int]:
    """1 is best; what has no score comes last."""
    sign = 1.0 if direction == "max" else -1.0
    ranks = stats.rankdata([math.inf if s is None else -sign * s for s in scores.values()], method="min")
    return dict(zip(scores, map(int, ranks), strict=True))


def _matched(
    task: TaskSummary, rule: Rule, scores: Scores, usual: Scores, direction: str, budget: str, note: str = ""
) -> Matched:
    """With the ranks that differ from those by `usual`, scores of the same kind at equal parameters."""
    ranks, before = (_ranks(of, direction) for of in (scores, usual))
    changed = tuple(arch for arch, rank in ranks.items() if rank != before[arch])
    return Matched(task=task.id, rule=rule, scores=scores, ranks=ranks, changed=changed, budget=budget, note=note)


def _none(task: TaskSummary, rule: Rule, budget: str, note: str) -> Matched:
    return Matched(task=task.id, rule=rule, scores={}, ranks={}, changed=(), budget=budget, note=note)


# ---------------------------------------------------------------- parameters


def _parameters(task: TaskSummary, cells: Sequence[Cell]) -> Matched:
    """The grid itself, by its scores on test."""
    scores: Scores = {cell.arch: cell.mean for cell in cells}
    sizes = sorted({cell.evidence.setting.parameters for cell in cells})
    budget = f"{words([f'{size:,}' for size in sizes])} parameters, within 5 %; mean score on test" if sizes else ""
    note = "" if cells else "no architecture passes the gates"
    return _matched(task, "parameters", scores, scores, task.spec.direction, budget, note)


# ---------------------------------------------------------------- training time and arithmetic


def _prices(times: Mapping[str, CellTime | None]) -> tuple[Price, Price]:
    """Seconds, and operations, of a step of each architecture."""
    seconds = {arch: time.step.median if time and time.step else None for arch, time in times.items()}
    flops = {arch: time.flops if time else None for arch, time in times.items()}
    flags = list(dict.fromkeys(flag for time in times.values() if time for flag in time.flags))
    return (
        Price("training time", seconds, "pace", "s", 1.0, unquiet(flags) if flags else ""),
        Price("arithmetic", flops, "arithmetic of a training step", "GFLOP", 1e9),
    )


def _cut(task: TaskSummary, cells: Sequence[Cell], price: Price) -> Matched:
    """Everyone is given what the cheapest whole training takes: the best look at validation until then counts."""
    known = {arch: cost for arch, cost in price.of.items() if cost}
    if unknown := [cell.arch for cell in cells if cell.arch not in known]:
        return _none(task, price.rule, "", f"the {price.noun} of {words(unknown)} is not known")
    whole = {cell.arch: max((run.steps for run in cell.runs if run.status == "ok"), default=0) for cell in cells}
    totals = {arch: steps * known[arch] for arch, steps in whole.items() if steps}
    if not totals:
        return _none(task, price.rule, "", "no run finished" if cells else "no architecture passes the gates")
    first = min(totals, key=lambda arch: totals[arch])
    steps = {arch: WITHIN * totals[first] / cost for arch, cost in known.items()}
    scores, usual = _validation(task, cells, steps), _validation(task, cells, dict.fromkeys(steps, math.inf))
    late = [arch for arch, score in scores.items() if score is None and usual[arch] is not None]
    budget = (
        f"{number(totals[first] / price.size)} {price.unit} of training within 5 %, all that {first} takes for its "
    )
    budget += f"{whole[first]:,} steps; best look at validation until then, with the schedule of a whole training"
    if late:
        budget += f"; {words(late)} had none by then and {'comes' if len(late) == 1 else 'come'} last"
    budget += f"; {price.doubt}" if price.doubt else ""
    return _matched(task, price.rule, scores, usual, task.spec.watched[1], budget)


def _validation(task: TaskSummary, cells: Sequence[Cell], steps: Mapping[str, float]) -> Scores:
    """Mean over seeds of the best look within so many steps; a run without one counts as the worst seen."""
    watched, direction = task.spec.watched
    sign = 1.0 if direction == "max" else -1.0
    looks = {cell.arch: [_best(run, steps[cell.arch], sign) for run in cell.runs] for cell in cells}
    seen = [score for scores in looks.values() for score in scores if score is not None]
    trivial = task.trivial.metrics.get(watched)
    last = min(seen + ([] if trivial is None else [trivial]), key=lambda score: sign * score, default=0.0)
    return {
        arch: fmean(last if score is None else score for score in scores)
        if any(score is not None for score in scores)
        else None
        for arch, scores in looks.items()
    }


def _best(run: Result, steps: float, sign: float) -> float | None:
    """The best look within so many steps; None where there was none, and of a run that failed."""
    seen = [point.valid for point in run.curve if point.valid is not None and point.step <= steps]
    return max(seen, key=lambda score: sign * score, default=None) if run.status == "ok" else None


# ---------------------------------------------------------------- state


def _state(task: TaskSummary, cells: Sequence[Cell], variants: Sequence[Cell]) -> Matched:
    """By scores on test, where the states of all are alike: of a variant, or as they are."""
    of = {cell.arch: cell for cell in cells} | {cell.arch: cell for cell in variants}
    sizes = {arch: max((run.state_bytes for run in cell.runs), default=0) for arch, cell in of.items()}
    if not sizes:
        return _none(task, "state bytes", "", "no architecture passes the gates")
    low, high = min(sizes.values()), max(sizes.values())
    if not low or high > ALIKE * low:
        budget = f"states of one sequence from {low:,} ({_named(sizes, low)}) to {high:,} bytes ({_named(sizes, high)})"
        note = "widths are solved for equal parameters, so states differ; other widths would have to be trained"
        return _none(task, "state bytes", budget, note)
    size = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    budget = f"{size} bytes of state of one sequence; mean score on test"
    scores: Scores = {arch: cell.mean for arch, cell in of.items()}
    usual: Scores = {cell.arch: cell.mean for cell in cells}
    return _matched(task, "state bytes", scores, usual, task.spec.direction, budget)


def _named(sizes: Mapping[str, int], size: int) -> str:
    return words([arch for arch, own in sizes.items() if own == size])
