"""The ledger of published numbers: what was found at their settings, and whether the two are equal. No torch.

A number is reproduced only by an equivalence test against a margin declared beforehand (Schuirmann 1987): that no
difference is seen is no reproduction. A control has no noise: it must have the published digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from seqbench import archs, tasks, variants
from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Reproduction
from seqbench.analyse.findings import number, span
from seqbench.analyse.grounds import Known, learned
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.errors import InputError
from seqbench.presets import read as read_yaml
from seqbench.presets import typed
from seqbench.records import NonNegative, Positive, Record, Setting, TrainSettings, TuneSettings
from seqbench.variants import PublishedControl, Remake, TaskData

Verdict = Literal["reproduced", "not reproduced", "undecided", "not run here"]


class Published(Record):
    """One row of the file."""

    source: str
    """Citation with the year, and where in it the number stands."""
    setting: str
    """At which setting it was published, and what differs here."""
    metric: str
    """A test metric of the task, or one of a control."""
    value: float
    """In the published unit."""
    factor: Positive = 1.0
    """What the metric is multiplied by to be in that unit."""
    unit: str = ""
    margin: NonNegative | None = None
    """Largest distance that counts as equal; of a run."""
    digits: Annotated[int, Field(ge=0, le=12)] | None = None
    """Decimals that were published and must be equal; of a control."""
    cost: str
    """What making it again takes, in words."""
    run: Remake | None = None
    control: PublishedControl | None = None


class Row(NamedTuple):
    """A published number, checked, with the data that it is made again on."""

    name: str
    published: Published
    data: TaskData


# ---------------------------------------------------------------- reading


def read() -> tuple[Row, ...]:
    """The rows of `variants.ROWS`. InputError, naming the nearest, for an unknown key, task or setting."""
    path = variants.ROWS
    made = variants.rows()  # first: it names the nearest key inside `run` and `control`
    rows = {name: typed(Published, row, f"{path}, {name}") for name, row in read_yaml(path).items()}
    for name, row in rows.items():
        _check(row, f"{path}, {name}")
    return tuple(Row(name, row, _data(made[name], f"{path}, {name}")) for name, row in rows.items())


def _check(row: Published, where: str) -> None:
    """InputError: a row says neither or both how it is made again, or not when it counts as equal."""
    if (row.run is None) == (row.control is None):
        raise InputError("a row needs one of 'run' and 'control'", where, "say how the number is made again")
    if row.run is not None and not row.margin:
        raise InputError(
            "a run needs a margin above 0", f"{where}, margin", "declare what counts as equal: margin: 0.01"
        )
    if row.control is not None and row.digits is None:
        raise InputError("a control needs its published decimals", f"{where}, digits", "say how many: digits: 3")


def _data(row: Remake | PublishedControl, where: str) -> TaskData:
    kind = tasks.find(row.task)
    return TaskData(task=row.task, settings=typed(kind.Settings, row.data, f"{where}, data").plain())


# ---------------------------------------------------------------- checking


def check(rows: Sequence[Row], known: Known) -> tuple[Reproduction, ...]:
    """What was found of each published number, in the order of the file."""
    return tuple(_run(row, row.published.run, known) if row.published.run else _control(row, known) for row in rows)


def _run(row: Row, wanted: Remake, known: Known) -> Reproduction:
    """A number over seeds: equal where its 90 % interval lies within the margin, unequal where it lies outside."""
    published = row.published
    cells = (*known.variants, *known.cells)
    found = next((cell for cell in cells if _same(cell.evidence.setting, wanted, row.data)), None)
    if found is None:
        return _row(row, "not run here", f"Not run here: it takes {published.cost}")
    values = [run.test[published.metric] * published.factor for run in found.runs if published.metric in run.test]
    if not values or len(values) < len(found.runs):
        return _row(row, "undecided", _unfinished(found, published.metric, len(values)), seeds=len(values), of=found)
    margin = published.margin or 0.0
    task = next((one for one in known.tasks if one.id == found.task), None)
    least = 0.0 if _direction(published.metric, task) == "min" else -math.inf  # an error or a loss
    mean, interval, equal = statistics.equivalence(values, published.value, margin, at_least=least)
    said = f"{number(mean)}{span(interval)} over {len(values)} seed{'s' * (len(values) != 1)}"
    against = f"published {published.value:g}, margin {margin:g}"
    if equal is None:
        why = "the interval spans the margin: more seeds would tell" if interval else "one seed gives no interval"
        each = f" ({', '.join(map(number, sorted(values)))})" if len(values) > 1 else ""
        return _row(row, "undecided", f"Undecided: {said}{each}, {against}; {why}", mean, interval, len(values), found)
    if equal:
        chance = "" if learned(known, found) else ", both at chance"  # what is equal to chance is at chance too
        return _row(row, "reproduced", f"Reproduced{chance}: {said}, {against}", mean, interval, len(values), found)
    text = f"Not reproduced: {_off(mean, published, task)}; {said}, {against}"
    return _row(row, "not reproduced", text, mean, interval, len(values), found)


def _off(value: float, published: Published, task: TaskSummary | None) -> str:
    """By how much, and to which side, a number is off the published one, in the published unit."""
    distance = value - published.value
    direction = _direction(published.metric, task)
    side = "off" if direction is None else "better" if (distance > 0) == (direction == "max") else "worse"
    return f"{side} by {number(abs(distance))}"


def _direction(metric: str, task: TaskSummary | None) -> Literal["max", "min"] | None:
    """Which way a metric is better: as the one that ranks, of which it may be a kind, or a loss."""
    if metric == "cross_entropy":
        return "min"
    return task.spec.direction if task and metric.startswith(task.spec.metric) else None


def _same(setting: Setting, wanted: Remake, data: TaskData) -> bool:
    """Whether a cell is that of a row, whatever it is called. What a row leaves out is the code's default."""
    if (setting.task, setting.arch, setting.parameters) != (wanted.task, wanted.architecture, wanted.parameters):
        return False
    return (
        not setting.spec
        and setting.task_settings == data.settings
        and setting.core == archs.defaults(setting.arch) | wanted.core
        and setting.train == typed(TrainSettings, wanted.train, f"{variants.ROWS}, run.train")
        and setting.tune == typed(TuneSettings, wanted.tune, f"{variants.ROWS}, run.tune")
    )


def _unfinished(found: Cell, metric: str, finished: int) -> str:
    failed = sum(found.failures.values())
    if failed:
        reasons = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in found.failures.items())
        return f"Undecided: {failed} of {len(found.runs)} runs did not finish ({reasons}); the rest are no repetition"
    return f"Undecided: {len(found.runs) - finished} of {len(found.runs)} runs have no test metric {metric}"


def _control(row: Row, known: Known) -> Reproduction:
    """A number without noise: equal to the published digits, or not."""
    published = row.published
    asked, digits = published.control, published.digits
    assert asked is not None and digits is not None
    task = next((one for one in known.tasks if one.id == row.data.id), None)
    control = next((one for one in task.controls if one.name == asked.name), None) if task else None
    if control is None:
        what = f"{row.data.id} has no control '{asked.name}'" if task else f"it takes {published.cost}"
        return _row(row, "not run here", f"Not run here: {what}")
    if published.metric not in control.metrics:
        what = f"the control '{asked.name}' of {row.data.id} has no metric {published.metric}"
        return _row(row, "not run here", f"Not run here: {what}")
    value = control.metrics[published.metric] * published.factor
    equal = f"{value:.{digits}f}" == f"{published.value:.{digits}f}"
    said = f"{value:.{digits}f}, published {published.value:.{digits}f}"
    if equal:
        return _row(row, "reproduced", f"Reproduced to the digit: {said}", value, of=task)
    return _row(row, "not reproduced", f"Not reproduced: {_off(value, published, task)}; {said}", value, of=task)


def _row(
    row: Row,
    verdict: Verdict,
    text: str,
    found: float | None = None,
    interval: tuple[float, float] | None = None,
    seeds: int = 0,
    of: Cell | TaskSummary | None = None,
) -> Reproduction:
    published = row.published
    digits = published.digits
    return Reproduction(
        name=row.name,
        source=published.source,
        setting=published.setting,
        metric=f"{published.metric}{f' ({published.unit})' if published.unit else ''}",
        published=published.value,
        margin=(published.margin or 0.0) if digits is None else 0.5 * 10.0**-digits,
        digits=digits,
        found=found,
        interval=interval,
        seeds=seeds,
        verdict=verdict,
        text=f"{text}.",
        task="" if of is None else of.task if isinstance(of, Cell) else of.id,
        label=of.evidence.setting.label if isinstance(of, Cell) else "",
    )
