"""What the search for learning rates tried and cost, and what more of it would bring."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Search
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.measurements import Pace
from seqbench.records import Trial


def searches(tasks: Sequence[TaskSummary], cells: Sequence[Cell], paces: Sequence[Pace]) -> tuple[Search, ...]:
    """One for each cell, in the order given.

    A random trial is a rate with all its tuning seeds, as rates are chosen by their mean. Steps are those that trials
    were given: one that stops early takes fewer.
    """
    watched = {task.id: task.spec.watched[1] for task in tasks}
    steps = {(pace.task, time.arch): time.step for pace in paces for time in pace.cells}
    found = []
    for cell in cells:
        tuned = cell.evidence.tuned
        rates = tuple(sorted({trial.learning_rate for trial in tuned.trials}))
        scores = tuple(_score([trial for trial in tuned.trials if trial.learning_rate == rate]) for rate in rates)
        taken = len(tuned.trials) * cell.evidence.setting.tune.steps
        step = steps.get((cell.task, cell.arch))
        found.append(
            Search(
                task=cell.task,
                arch=cell.arch,
                rates=rates,
                scores=scores,
                steps=taken,
                seconds=taken * step.median if step else None,
                expected=statistics.expected_best(scores, watched[cell.task]),
                border=tuned.border,
            )
        )
    return tuple(found)


def _score(trials: Sequence[Trial]) -> float | None:
    """Mean over the tuning seeds of a rate; None where one of them failed, as its choice has it."""
    scores = [trial.valid for trial in trials if trial.status == "ok" and trial.valid is not None]
    return fmean(scores) if len(scores) == len(trials) else None
