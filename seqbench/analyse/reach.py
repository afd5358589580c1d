"""How far architectures remember, over seeds: horizons, longer sequences, levels held, bits recalled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from seqbench.analyse import statistics
from seqbench.analyse.summary import Cell, Held, Horizon, Recall, Stretch, TaskSummary
from seqbench.measurements import Reach, Reaches

SHARE = 0.9
"""Of the way from the trivial control to the ceiling: the score that counts as holding a task."""
IN_STEPS = ("length", "delay")
"""Knobs whose value is a number of steps."""


def horizons(reaches: Sequence[Reaches]) -> tuple[Horizon, ...]:
    """For each cell both kinds, untrained and trained; none where nothing was measured."""
    kinds: tuple[Literal["gradient", "intervention"], ...] = ("gradient", "intervention")
    found = []
    for cell, kind, trained in product(reaches, kinds, (False, True)):
        seeds = [reach for reach in cell.reaches if (reach.kind, reach.trained) == (kind, trained)]
        if seeds:
            found.append(_horizon(cell, seeds))
    return tuple(found)


def _horizon(cell: Reaches, seeds: Sequence[Reach]) -> Horizon:
    """Of the seeds of one kind and stage, which were looked at at the same lags."""
    effects = np.array([reach.effects for reach in seeds])
    largest = effects.max(axis=1, keepdims=True)
    relative = np.divide(effects, largest, out=np.zeros_like(effects), where=largest > 0)
    lags = [float(reach.lags[-1] if reach.horizon is None else reach.horizon) for reach in seeds]
    # a seed's horizon lies beyond the lag before the one that it was read off, and not beyond that one
    least = [
        1.0 + max((n for n in reach.lags if n < lag), default=lag - 1) for reach, lag in zip(seeds, lags, strict=True)
    ]
    low, high = (statistics.interval(ends, at_least=0.0) for ends in (least, lags))
    return Horizon(
        task=cell.task,
        arch=cell.arch,
        kind=seeds[0].kind,
        trained=seeds[0].trained,
        lags=seeds[0].lags,
        effects=tuple(np.median(relative, axis=0).tolist()),
        low=tuple(relative.min(axis=0).tolist()),
        high=tuple(relative.max(axis=0).tolist()),
        horizon=float(np.mean(lags)),
        interval=(low[0], high[1]) if low and high else None,
        seeds=len(seeds),
        beyond=sum(reach.horizon is None for reach in seeds),
    )


def stretches(reaches: Sequence[Reaches]) -> tuple[Stretch, ...]:
    """For each cell one per length that its runs were not trained on, shortest first."""
    found = []
    for cell in reaches:
        for length in sorted({one.length for one in cell.extrapolations}):
            scores = [one.score for one in cell.extrapolations if one.length == length and one.score is not None]
            found.append(
                Stretch(
                    task=cell.task,
                    arch=cell.arch,
                    trained_length=cell.trained_length,
                    length=length,
                    mean=float(np.mean(scores)) if scores else None,
                    interval=statistics.interval(scores) if scores else None,
                    seeds=len(scores),
                )
            )
    return tuple(found)


def recalls(reaches: Sequence[Reaches]) -> tuple[Recall, ...]:
    """One for each cell whose task asks for symbols and whose core has a state to keep them in."""
    return tuple(
        Recall(
            task=cell.task,
            arch=cell.arch,
            bits=(mean := float(np.mean(list(cell.bits.values())))),
            interval=statistics.interval(list(cell.bits.values()), at_least=0.0),
            state_bytes=cell.state_bytes,
            per_byte=mean / cell.state_bytes,
            seeds=len(cell.bits),
        )
        for cell in reaches
        if cell.bits and cell.state_bytes
    )


# ---------------------------------------------------------------- levels held


def held(tasks: Sequence[TaskSummary], cells: Sequence[Cell]) -> tuple[Held, ...]:
    """For each task with a numeric knob and each architecture, the largest value at which it holds the task.

    Left out are tasks whose knob asks for no memory (`Base.MEMORY`): how far ahead is forecast, say.
    Each level has controls of its own, hence a reference of its own; that of the level held is given, or of the
    smallest where none is. Levels without a ceiling or a strong control that is better than the trivial one are
    left out.
    """
    found: list[Held] = []
    for name in dict.fromkeys(task.name for task in tasks):
        own = [task for task in tasks if task.name == name and task.level is not None and task.memory]
        rated = [(task, _reference(task)) for task in own]
        levels = sorted(
            ((task, score) for task, score in rated if score is not None), key=lambda level: level[0].level or 0.0
        )
        ids = {task.id for task, _ in levels}
        for arch in dict.fromkeys(cell.arch for cell in cells if cell.task in ids):
            found.append(_held(arch, levels, [cell for cell in cells if cell.arch == arch]))
    return tuple(found)


def _reference(task: TaskSummary) -> float | None:
    """The score that counts as holding this task id; None where nothing says what can be reached."""
    trivial = task.trivial.metrics[task.spec.metric]
    return None if task.reachable is None else trivial + SHARE * (task.reachable - trivial)


def _held(arch: str, levels: Sequence[tuple[TaskSummary, float]], cells: Sequence[Cell]) -> Held:
    """Of one architecture; levels from the smallest up, each with its reference."""
    of = {cell.task: cell for cell in cells}
    holds = [_standing(task, of.get(task.id), score) for task, score in levels]
    last = max((place for place, one in enumerate(holds) if one.holds), default=None)
    task, reference = levels[last or 0]
    values = tuple(task.level for task, _ in levels if task.level is not None)
    return Held(
        task=task.name,
        arch=arch,
        reference=reference,
        level=None if last is None else values[last],
        levels=values,
        text=f"{arch} {''.join(_words(task.knob, values, holds, last))}",
    )


class Standing(NamedTuple):
    """How a cell stands at one level."""

    holds: bool
    """Its mean is as good as the reference."""
    seeds: str
    """Where its interval holds the reference: how many seeds reach it, in words. Else empty."""


def _standing(task: TaskSummary, cell: Cell | None, reference: float) -> Standing:
    """Of a mean alone nothing is known for sure where the seeds lie on both sides."""
    if cell is None:
        return Standing(holds=False, seeds="")
    holds = _beyond(task, cell.mean, reference)
    ends = {_beyond(task, end, reference) for end in cell.interval or ()}
    reach = sum(_beyond(task, score, reference) for score in cell.scores)
    return Standing(holds, f"{reach} of {len(cell.scores)} seeds reach it" if len(ends) > 1 else "")


def _beyond(task: TaskSummary, score: float | None, reference: float) -> bool:
    """Whether a score is as good as the reference; where there is none, since a run failed, it is not."""
    if score is None:
        return False
    better = score >= reference if task.spec.direction == "max" else score <= reference
    return better or math.isclose(score, reference)  # 0.2 + 0.9 * 0.8 is above 0.92


def _words(knob: str, values: Sequence[float], holds: Sequence[Standing], last: int | None) -> Iterator[str]:
    """Up to where, and what is said against it; a level that seeds lie on both sides of is not shown either way."""
    steps = knob in IN_STEPS
    share = f"{100 * SHARE:g} %"
    if last is None:
        first = _value(knob, values[0])
        if holds[0].seeds:
            yield f"is not shown to hold {share}, not even at {first} ({holds[0].seeds})"
        else:
            yield f"does not hold {share}, not even at {first}"
        return
    yield f"holds {share} up to {_value(knob, values[last])}{f' ({holds[last].seeds})' if holds[last].seeds else ''}"
    end = last + 1 == len(values)
    if end:
        yield f", the {'longest' if steps else 'largest'} that was run"
    against = [
        (f"{value:g}", one.seeds) for value, one in list(zip(values, holds, strict=True))[: last + 2] if not one.holds
    ]
    said = [f"not at {' and '.join(clear)}"] if (clear := [value for value, seeds in against if not seeds]) else []
    said += [f"not shown at {value} ({seeds})" for value, seeds in against if seeds]
    if said:
        yield f", {'but ' if end else ''}{' and '.join(said)}"


def _value(knob: str, value: float) -> str:
    return f"{value:g} step{'' if value == 1 else 's'}" if knob in IN_STEPS else f"{knob} {value:g}"
