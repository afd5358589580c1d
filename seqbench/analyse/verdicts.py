"""Cells and pairs: statistics over seeds, and what they decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from seqbench.analyse import statistics
from seqbench.analyse.summary import Cell, Design, Evidence, Mean, Pair, TaskSummary
from seqbench.config import Plan
from seqbench.measurements import Gates

BEYOND = 0.01
"""Share of the way from the trivial control to what can be reached that an interval must lie beyond the control. All
seeds share one test split: on it a model that has learned nothing lies on one side of the control, with every seed."""


def cells(task: TaskSummary, runs: Sequence[Evidence], gates: Mapping[str, Gates]) -> tuple[Cell, ...]:
    """Statistics and ranks of the cells of one task, in the order given.

    A failed seed counts as the worst score seen on the task, of any run or trivial control. An architecture that
    fails a gate in the task's kind of model has no rank.
    """
    sign = 1.0 if task.spec.direction == "max" else -1.0
    seen = [score for run in runs for score in _scores(run) if score is not None]
    seen += [control.metrics[task.spec.metric] for control in task.controls if control.kind == "trivial"]
    worst = sign * min(sign * score for score in seen)
    unranked = [_cell(task, run, worst, gates[run.arch].refusal(task.spec.kind)) for run in runs]
    fit = [cell for cell in unranked if not cell.refused]
    order = sorted(fit, key=lambda c: math.inf if c.mean is None else -sign * c.mean)
    return tuple(cell if cell.refused else cell.model_copy(update={"rank": 1 + order.index(cell)}) for cell in unranked)


def _scores(run: Evidence) -> tuple[float | None, ...]:
    return tuple(result.score if result.status == "ok" else None for result in run.results)


def _cell(task: TaskSummary, run: Evidence, worst: float, refused: str) -> Cell:
    scores = _scores(run)
    finished = any(score is not None for score in scores)
    counted = tuple(worst if score is None else score for score in scores) if finished else ()
    least = 0.0 if task.spec.direction == "min" else -math.inf  # an error or a loss, which cannot be negative
    interval = statistics.interval(counted, at_least=least) if finished else None
    return Cell(
        evidence=run,
        scores=scores,
        counted=counted,
        failures=dict(sorted(Counter(r.status for r in run.results if r.status != "ok").items())),
        mean=float(np.mean(counted)) if finished else None,
        interquartile_mean=statistics.interquartile_mean(counted) if finished else None,
        interquartile_interval=statistics.interquartile_interval(counted) if finished else None,
        interval=interval,
        others=_others(task.spec.metric, run),
        against_control=_against(task, interval, finished),
        rank=0,
        refused=refused,
    )


def _others(ranking: str, run: Evidence) -> dict[str, Mean]:
    """The metrics beside the ranking one; a run that failed has none, and what it would count as is not known."""
    found: dict[str, list[float]] = {}
    for result in run.results:
        for name, value in result.test.items() if result.status == "ok" else ():
            found.setdefault(name, []).append(value)
    return {
        name: Mean(mean=float(np.mean(values)), interval=statistics.interval(values), seeds=len(values))
        for name, values in sorted(found.items())
        if name != ranking
    }


def _against(
    task: TaskSummary, interval: tuple[float, float] | None, finished: bool
) -> Literal["better", "no better", "undecided"]:
    if not finished:
        return "no better"
    if interval is None:
        return "undecided"
    control = task.trivial.metrics[task.spec.metric]
    least = control if task.reachable is None else control + BEYOND * (task.reachable - control)
    worse_end = interval[0] if task.sign > 0 else interval[1]
    return "better" if task.sign * (worse_end - least) > 0 else "no better"


def variants(tasks: Sequence[TaskSummary], runs: Sequence[Evidence], gates: Mapping[str, Gates]) -> tuple[Cell, ...]:
    """Statistics of cells beside the grid, in the order given; they have no rank."""
    of = {task.id: [run for run in runs if run.task == task.id] for task in tasks}
    found = {
        (cell.task, cell.evidence.setting.label): cell for task in tasks for cell in cells(task, of[task.id], gates)
    }
    return tuple(found[run.task, run.setting.label].model_copy(update={"rank": 0}) for run in runs)


def design(plan: Plan) -> Design:
    """What the plan can show at all: the smallest p of one pair, before and after Holm over all pairs."""
    comparisons = len(plan.task_ids) * math.comb(len(plan.architectures), 2)
    smallest = statistics.smallest_p(len(plan.seeds), len(plan.seeds))
    corrected = min(1.0, smallest * max(1, comparisons))
    return Design(
        seeds=len(plan.seeds),
        comparisons=comparisons,
        level=statistics.LEVEL,
        smallest_p=smallest,
        smallest_p_holm=corrected,
        seeds_needed=statistics.seeds_needed(comparisons),
        testable=comparisons > 0 and corrected <= statistics.LEVEL,
    )


def pairs(tasks: Sequence[TaskSummary], cells: Sequence[Cell], of: Design) -> tuple[Pair, ...]:
    """Every pair of ranked architectures on every task, with Holm's correction over all of them."""
    raw = [
        _pair(task, a, b)
        for task in tasks
        for a, b in combinations([cell for cell in cells if cell.task == task.id and not cell.refused], 2)
    ]
    adjusted = statistics.holm([pair.p for pair in raw])
    return tuple(_decide(pair, p, of) for pair, p in zip(raw, adjusted, strict=True))


def _pair(task: TaskSummary, a: Cell, b: Cell) -> Pair:
    left, right = a.signed, b.signed
    both = a.mean is not None and b.mean is not None
    return Pair(
        task=task.id,
        a=a.arch,
        b=b.arch,
        seeds=len(a.scores),
        difference=float(np.mean(a.counted) - np.mean(b.counted)) if both else None,
        interval=statistics.interval(a.counted, b.counted) if both else None,
        improvement=statistics.improvement(left, right),
        improvement_interval=statistics.improvement_interval(left, right),
        p=statistics.exact_p(left, right),
        p_holm=1.0,
        winner=None,
        verdict="",
    )


def _decide(pair: Pair, p_holm: float, of: Design) -> Pair:
    """The verdict: only where the design can reach the level at all, and the corrected p does."""
    winner = None
    verdict = "no clear difference"
    if not of.testable:
        verdict = f"not testable with {of.seeds} seed{'s' if of.seeds > 1 else ''}"
    elif p_holm <= of.level:
        winner, loser = (pair.a, pair.b) if pair.improvement > 0.5 else (pair.b, pair.a)
        verdict = f"{winner} better than {loser}"
    return pair.model_copy(update={"p_holm": p_holm, "winner": winner, "verdict": verdict})
