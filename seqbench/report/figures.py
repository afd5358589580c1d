"""Which charts the page has, and the tables that go with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeVar

from markupsafe import Markup

from seqbench.analyse.findings import arrow, number, span
from seqbench.analyse.summary import Cell, Summary, TaskSummary
from seqbench.report.charts import Axis, Dot, Style, decades, draw, draw_categories


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table: a value, what belongs to it, and what to be wary of."""

    text: str = ""
    sub: str = ""
    warn: str = ""
    best: bool = False
    full: str = ""
    """The value with all its digits, to be seen when it is pointed at."""


Row = Sequence[str | Entry]
Notes = Sequence[tuple[str, Sequence[str]]]
"""Lists of sentences, each with what it is of."""


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column names them."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    notes: Notes = ()


@dataclass(frozen=True)
class Figure:
    """A chart with its title, caption and data; no rows: they stand in a table of the section."""

    title: str
    caption: str
    svg: Markup
    head: Sequence[str]
    rows: Sequence[Row]
    notes: Notes = ()
    more: Notes = ()
    """Shown with the data."""


DRAWN = 8
"""Tasks that have a chart of a kind: more would make the page heavy."""
T = TypeVar("T")


class Charts(list[Figure]):
    """The charts of a kind."""

    left: int = 0
    """Tasks that could have one too, and stand in the table below them alone."""


def first(of: Sequence[T], draw: Callable[[T], Figure]) -> Charts:
    """Charts of the first `DRAWN`."""
    found = Charts(map(draw, of[:DRAWN]))
    found.left = max(0, len(of) - DRAWN)
    return found


def by_level(summary: Summary, looks: dict[str, Style]) -> list[Figure]:
    """Score against the knob, for each task that has several task ids; side by side where it is no number."""
    found = []
    for name in dict.fromkeys(task.name for task in summary.tasks):
        family = [task for task in summary.tasks if task.name == name]
        if len(family) > 1:
            numbers = all(task.level is not None for task in family)
            ordered = sorted(family, key=lambda task: task.level or 0.0) if numbers else family
            found.append(_by_level(summary, ordered, looks, numbers))
    return found


def _by_level(summary: Summary, family: Sequence[TaskSummary], looks: dict[str, Style], numbers: bool) -> Figure:
    first = family[0]
    dots, rows, reference = [], [], []
    for task in family:
        place: float | str = task.level if numbers and task.level is not None else task.value
        cells = [summary.cell(task.id, arch) for arch in looks]
        dots += [_dot(cell, place, f"{first.knob} {task.value}") for cell in cells if cell.mean is not None]
        control = task.trivial.metrics[first.spec.metric]
        reference.append((place, control))
        rows.append([task.value, *map(score_words, cells), number(control)])
    metric = first.spec.metric
    title = f"{metric} {arrow(first.spec.direction)} on test" + (f" ({first.spec.unit})" if first.spec.unit else "")
    label = f"{metric} of {first.name} against {first.knob}, "
    if numbers:
        ticks = tuple(float(place) for place, _ in reference)
        along = Axis(first.knob, ticks=ticks, format="~r")
        label += "one line per architecture"
        up = scored(title, [*(dot.y for dot in dots), *(y for _, y in reference)])
        dotted = [(float(x), y) for x, y in reference]
        svg = draw(above(dots, up), looks, along, up, label=label, reference=dotted)
        scale = f" {log_scale(dots)}" if up.log else ""
    else:
        label += "architectures side by side"
        named, scale = [(str(x), y) for x, y in reference], ""
        svg = draw_categories(dots, looks, first.knob, Axis(title), label=label, reference=named)
    better = "Higher" if first.spec.direction == "max" else "Lower"
    line = "dotted" if numbers else "line across"
    caption = f"Mean over seeds with 95 % interval; {line}: the trivial control. {better} is better.{scale}"
    head = [first.knob, *looks, f"control {first.trivial.name}"]
    return Figure(first.title or first.name, caption, svg, head, rows)


def _dot(cell: Cell, place: float | str, level: str) -> Dot:
    assert cell.mean is not None
    low, high = cell.interval or (cell.mean, cell.mean)
    return Dot(cell.arch, place, cell.mean, low, high, f"{cell.arch}, {level}: {score_words(cell)}")


def score_words(cell: Cell) -> str:
    """Mean and interval."""
    return "no seed finished" if cell.mean is None else number(cell.mean) + span(cell.interval)


def apart(interval: tuple[float, float] | None) -> str:
    """An interval of what does not come from training; nothing where both ends are written alike."""
    return "" if interval is None or number(interval[0]) == number(interval[1]) else span(interval)


def curves(summary: Summary, looks: dict[str, Style]) -> list[Figure]:
    """Validation score against step, for each task id."""
    return [_curve(summary, task, looks) for task in summary.tasks]


def _curve(summary: Summary, task: TaskSummary, looks: dict[str, Style]) -> Figure:
    dots: list[Dot] = []
    for arch in looks:
        at: dict[int, list[float]] = {}
        for run in summary.cell(task.id, arch).runs:
            for point in run.curve:
                if point.valid is not None:
                    at.setdefault(point.step, []).append(point.valid)
        dots += [Dot(arch, step, fmean(seen), min(seen), max(seen), "") for step, seen in sorted(at.items())]
    cells = {(dot.x, dot.arch): number(dot.y) for dot in dots}
    steps = sorted({float(dot.x) for dot in dots})
    name, direction = task.spec.watched
    edges = [edge for dot in dots for edge in (dot.low, dot.high)]
    title = f"validation {name} {arrow(direction)}"
    y = scored(title, edges)
    svg = draw(
        dots,
        looks,
        Axis("optimiser steps", format="~s"),
        y,
        label=f"validation {name} on {task.id} against steps, one line per architecture",
        spread="band",
        points=False,
    )
    caption = "Mean over the seeds still training; the band spans the seeds."
    if y.log:
        caption += " Log scale."
    if name != task.spec.metric:
        caption += (
            f" Epochs and learning rates are chosen by this score; the ranking is by "
            f"{task.spec.metric} {arrow(task.spec.direction)} on test."
        )
    if len(steps) > LISTED:
        caption += f" The table lists about {LISTED} of the {len(steps)} looks."
        steps = [*steps[: -1 : -(-len(steps) // LISTED)], steps[-1]]
    rows = [[f"{step:g}", *(cells.get((step, arch), "–") for arch in looks)] for step in steps]
    return Figure(task.id, caption, svg, [f"step: {title}", *looks], rows)


LISTED = 16
"""Looks at validation in the table of a curve; all of them are in curves.csv."""
WIDE = 50.0
"""A largest score over a smallest one from which a linear axis would show but one of them."""


def wide(values: Sequence[float]) -> bool:
    """Whether a linear axis would hide most of them."""
    return bool(values) and min(values) > 0 and max(values) > WIDE * min(values)


def scored(title: str, values: Sequence[float]) -> Axis:
    """An axis of scores: a log one, in plain numbers, where they span decades."""
    return Axis(title, log=True, ticks=decades(values), format=",~r") if wide(values) else Axis(title)


def above(dots: Sequence[Dot], axis: Axis) -> list[Dot]:
    """The dots; on a log axis an interval that reaches 0 ends at the lowest place that any of them has."""
    if not axis.log:
        return list(dots)
    lowest = min(edge for dot in dots for edge in (dot.low, dot.y) if edge > 0)
    return [dot if dot.low > 0 else replace(dot, low=lowest) for dot in dots]


def log_scale(dots: Sequence[Dot]) -> str:
    """What a caption says of a log axis of scores."""
    cut = any(dot.low <= 0 for dot in dots)
    return "Log scale" + ("; an interval that reaches 0 is drawn as far as the scale goes." if cut else ".")
