"""Cost and quality: what a score costs to train, and which architectures nobody beats in both."""

from __future__ import annotations

from seqbench.analyse.findings import arrow, number, span, words
from seqbench.analyse.summary import Front, Summary, TaskSummary
from seqbench.measurements import CellTime
from seqbench.report.charts import Axis, Dot, Style, decades, draw_front
from seqbench.report.figures import (
    Charts,
    Entry,
    Figure,
    Row,
    Table,
    above,
    apart,
    first,
    log_scale,
    score_words,
    scored,
)
from seqbench.report.gates import unranked


def figures(summary: Summary, looks: dict[str, Style]) -> Charts:
    """Score against seconds to train, for the first tasks that have both for two architectures or more."""
    known = [f for f in summary.fronts if f.score is not None and f.seconds]
    by_task = [(task, [f for f in known if f.task == task.id]) for task in summary.tasks]
    return first([(task, own) for task, own in by_task if len(own) > 1], lambda one: _figure(summary, *one, looks))


def _figure(summary: Summary, task: TaskSummary, fronts: list[Front], looks: dict[str, Style]) -> Figure:
    dots = [dot for front in fronts if (dot := _dot(summary, front))]
    best = [front.arch for front in fronts if _best(summary, front)]
    edges = [edge for dot in dots for edge in (dot.left, dot.right) if edge is not None]
    metric = f"{task.spec.metric} {arrow(task.spec.direction)} on test"
    up = scored(metric, [dot.y for dot in dots])
    svg = draw_front(
        above(dots, up),
        looks,
        Axis("seconds to train", log=True, ticks=decades(edges), format=",~r"),
        up,
        label=f"{task.spec.metric} on {task.id} against seconds to train, one dot per architecture",
        named=best,
    )
    caption = "Mean over seeds with 95 % intervals; seconds on a log scale. "
    caption += f"Score: {log_scale(dots).lower()} " if up.log else ""
    caption += f"No other is both better and cheaper: {words(best)}." if best else "None of them is ranked."
    return Figure(task.id, caption, svg, (), ())


def _best(summary: Summary, front: Front) -> bool:
    return front.best and not summary.cell(front.task, front.arch).refused


def _dot(summary: Summary, front: Front) -> Dot | None:
    if front.score is None or front.seconds is None:
        return None
    low, high = summary.cell(front.task, front.arch).interval or (front.score, front.score)
    left, right = front.interval or (front.seconds, front.seconds)
    tip = f"{front.arch}: {number(front.score)}{span((low, high))}, {number(front.seconds)} s{apart(front.interval)}"
    return Dot(front.arch, front.seconds, front.score, low, high, tip, left, right)


def table(summary: Summary) -> Table:
    """One row per cell."""
    times = {(pace.task, time.arch): time for pace in summary.paces for time in pace.cells}
    rows: list[Row] = [_row(summary, front, times.get((front.task, front.arch))) for front in summary.fronts]
    head = ["Cell", "Score", "Seconds to train", "Seconds to the target", "ms per item", "Front"]
    return Table("Score, seconds to train one run, seconds to the target on validation, ms per item", head, rows)


def _row(summary: Summary, front: Front, time: CellTime | None) -> Row:
    cell = summary.cell(front.task, front.arch)
    reached = f"{front.reached} of {len(cell.scores)} seeds reach it"
    target = "no target" if front.target is None else f"{number(front.target)}: {reached}"
    return [
        Entry(front.arch, front.task),
        score_words(cell),
        _seconds(front, time),
        Entry("–" if front.to_target is None else number(front.to_target), target),
        "–" if front.item_ms is None else number(front.item_ms),
        Entry("best", best=True) if _best(summary, front) else Entry(warn=unranked(summary, cell)),
    ]


def _seconds(front: Front, time: CellTime | None) -> Entry:
    """Seconds to train, with the step that they are made of, and what the reader should know of its measurement."""
    text = "–" if front.seconds is None else f"{number(front.seconds)}{apart(front.interval)}"
    if time is None:
        return Entry(text)
    step = time.step
    sub = (
        f"{number(1e3 * step.median)} ms a step, n {step.repetitions}, varies {100 * step.variation:.0f} %"
        if step
        else ""
    )
    status = [time.status.replace("_", " ")] if time.status != "ok" else []
    return Entry(text, sub, ", ".join([*status, *time.flags]))
