"""What the tasks can tell: whether each tells architectures apart, whether it needs range, and why one is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seqbench.analyse.conclusions import Certificate
from seqbench.analyse.findings import arrow, number
from seqbench.analyse.summary import TaskSummary
from seqbench.report.charts import Axis, Dot, Style, draw
from seqbench.report.figures import Charts, Entry, Figure, Row, Table, first, scored

HEAD = ("Task", "Control to ceiling", "Between", "Within", "Any difference", "Saturated", "Needs", "Counts")


@dataclass(frozen=True)
class Line:
    """One task of the table; `grey`: why it is left out, empty where it counts."""

    task: str
    entries: Sequence[Entry]
    grey: str


def lines(certificates: Sequence[Certificate]) -> list[Line]:
    """A line per task, in the order given, with the columns of `HEAD` after the first."""
    return [Line(one.task, _entries(one), one.grey) for one in certificates]


def _entries(of: Certificate) -> list[Entry]:
    ceiling = "?" if of.ceiling is None else number(of.ceiling)
    strong = f"; strong control {number(of.strong)}" if of.strong is not None else ""
    return [
        Entry(f"{number(of.trivial)} to {ceiling}", f"{of.ceiling_of}{strong}"),
        *(Entry("–" if of.ceiling is None else number(spread)) for spread in (of.between, of.within)),
        Entry("yes") if of.discriminates else Entry("no clear difference"),
        Entry("yes", "all near the ceiling") if of.saturated else Entry("no"),
        _needs(of),
        Entry(warn=f"left out: {of.grey}") if of.grey else Entry("yes"),
    ]


def _needs(of: Certificate) -> Entry:
    """How many steps the best architecture needs, of how many it was shown."""
    if of.needs is None:
        return Entry("not known" if of.contexts else "not measured")
    return Entry(f"{of.needs:,} step{'s' if of.needs != 1 else ''}", f"of up to {max(of.contexts):,} looked at")


def counted(certificates: Sequence[Certificate]) -> str:
    """How many tasks count, in a sentence."""
    kept = sum(not one.grey for one in certificates)
    return f"{kept} of {len(certificates)} task{'s' if len(certificates) != 1 else ''} count{'s' * (kept == 1)}."


# ---------------------------------------------------------------- allowed context


def _seen(certificates: Sequence[Certificate]) -> list[Certificate]:
    return [one for one in certificates if one.contexts and one.allowed]


def figures(certificates: Sequence[Certificate], tasks: Sequence[TaskSummary], looks: dict[str, Style]) -> Charts:
    """Score against the steps that a model may see, for the first tasks where that was measured at several."""
    metrics = {task.id: f"{task.spec.metric} {arrow(task.spec.direction)}" for task in tasks}
    drawn = [one for one in _seen(certificates) if len(one.contexts) > 1]
    return first(drawn, lambda one: _figure(one, metrics[one.task], looks))


def _figure(of: Certificate, metric: str, looks: dict[str, Style]) -> Figure:
    dots = [
        Dot(arch, steps, score, score, score, f"{arch}, {steps} steps: {number(score)}")
        for arch, scores in of.allowed.items()
        for steps, score in zip(of.contexts, scores, strict=True)
    ]
    scores = [dot.y for dot in dots]
    longest = of.contexts[-1]
    ticks = tuple(float(steps) for steps in of.contexts if steps == longest or 1.5 * steps <= longest)  # apart
    up = scored(f"{metric} of the last answer", scores)
    svg = draw(
        dots,
        looks,
        Axis("steps that may be seen", log=True, ticks=ticks, format="~s"),
        up,
        label=f"{metric} of the last answer on {of.task} against the steps that may be seen, one line per architecture",
    )
    more = f" The best one needs {of.needs:,} for 95 % of its rescaled score." if of.needs is not None else ""
    caption = f"Last answer of each sequence alone, mean over seeds on validation.{more}"
    caption += " Log scales." if up.log else ""
    return Figure(of.task, caption, svg, (), ())


def allowed_table(certificates: Sequence[Certificate], archs: Sequence[str]) -> Table:
    """One row per task and number of steps, one column per architecture."""
    rows: list[Row] = [
        [
            Entry(f"{steps:,} step{'s' if steps != 1 else ''}", one.task),
            *(number(one.allowed[arch][n]) if arch in one.allowed else "–" for arch in archs),
        ]
        for one in _seen(certificates)
        for n, steps in enumerate(one.contexts)
    ]
    caption = "Mean validation score of the last answer, by the task's metric, with so many steps before it"
    return Table(caption, ["May see", *archs], rows)
