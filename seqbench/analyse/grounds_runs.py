"""Measures of claims that look at trained runs: scores, failures, time to a target, parameters. No torch."""

from __future__ import annotations

import math
from abc import abstractmethod
from statistics import fmean
from typing import ClassVar

import numpy as np
from scipy import stats

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Interval
from seqbench.analyse.findings import number, span
from seqbench.analyse.grounds import (
    INERT,
    Known,
    OnTasks,
    Seen,
    absent,
    cell,
    compared,
    ends,
    quotient,
    rescaled,
    said,
    same_runs,
    spoken,
    telling,
)
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.measurements import CellTime


class Pairwise(OnTasks):
    """Two labels."""

    a: str
    b: str

    def names(self) -> tuple[str, ...]:
        """Both labels."""
        return self.a, self.b

    def title(self, known: Known, task: TaskSummary) -> str:
        """How a ground begins."""
        return f"{task.id}, {said(known, task.id, self.a)} against {said(known, task.id, self.b)}"

    @property
    def place(self) -> str:
        """Start of the section of the page that has the numbers."""
        return "ablations" if "+" in self.a + self.b else "task"

    def anchor(self, task: TaskSummary) -> str:
        """The section of the page that has the numbers."""
        return f"task-{task.id}" if self.place == "task" else self.place


class ByTask(Pairwise):
    """Two labels on each task id."""

    def look(self, known: Known) -> list[Seen]:
        """One comparison for each task id."""
        return [self.on(known, task) for task in self.chosen(known)] or [self.nothing()]

    @abstractmethod
    def on(self, known: Known, task: TaskSummary) -> Seen:
        """The comparison on one task id."""


class ByCells(ByTask):
    """Two cells on each task id."""

    def on(self, known: Known, task: TaskSummary) -> Seen:
        """The comparison on one task id, where both cells are there and were ranked."""
        sides = [cell(known, task.id, label) for label in (self.a, self.b)]
        for side, label in zip(sides, (self.a, self.b), strict=True):
            if side is None:
                return absent(task.id, label)
            if side.refused:
                return Seen(f"{task.id}, {label}", trouble=f"{label} is not ranked: {side.refused}")
        a, b = (side for side in sides if side is not None)
        return self.compare(known, task, a, b)

    @abstractmethod
    def compare(self, known: Known, task: TaskSummary, a: Cell, b: Cell) -> Seen:
        """The comparison of two cells."""


class Score(ByCells):
    """Score of `a` less score of `b`, on a scale from the trivial control (0) to the ceiling (1), one value a seed."""

    NAME: ClassVar[str] = "score"
    EFFECT: ClassVar[str] = "difference of scores"
    UNIT: ClassVar[str] = "of the way from the trivial control to the ceiling"
    NEUTRAL: ClassVar[float | None] = 0.0

    against: str = ""
    """The task id that `b` is taken from; empty: the same. Both are put on the scale of the first."""
    metric: str = ""
    """A test metric to take as it is, larger being better; empty: the score that ranks, rescaled."""
    less: str = ""
    """A metric to take away from `metric`, run by run: how much more is gained in one than in the other."""

    def on(self, known: Known, task: TaskSummary) -> Seen:
        """As of any pair, but that `b` may be of another task id."""
        if not self.against:
            return super().on(known, task)
        a, b = cell(known, task.id, self.a), cell(known, self.against, self.b)
        if a is None or b is None:
            return absent(task.id, self.a) if a is None else absent(self.against, self.b)
        if a.refused or b.refused:
            return Seen(task.id, trouble=f"not ranked: {a.refused or b.refused}")
        return self.compare(known, task, a, b)

    def compare(self, known: Known, task: TaskSummary, a: Cell, b: Cell) -> Seen:
        """The difference of two cells' means over seeds."""
        place = f"{task.id} against {self.against}" if self.against else task.id
        sides = (said(known, of, label) for of, label in ((task.id, self.a), (self.against or task.id, self.b)))
        names = self.a if self.a == self.b else " less ".join(sides)
        scale = ends(known, task)
        if self.metric:
            seen = self._as_is(task, a, b, f"{place}, {names}:")
        elif scale is None:
            return Seen(place, trouble="nothing is better than the trivial control: there is no scale")
        else:
            seen = compared(rescaled(a, scale), rescaled(b, scale), f"{place}, {names}:", anchor=self.anchor(task))
        if self.parts_two and not seen.missing and same_runs(a, b):
            trouble = f"{INERT} in these runs, which are the same to the bit: runs in which it acts would decide"
            return seen._replace(trouble=trouble, aside=(f"{INERT} on", place))
        pair = next((p for p in known.pairs if p.task == task.id and {p.a, p.b} == {self.a, self.b}), None)
        if pair:
            seen = seen._replace(text=f"{seen.text} (among all pairs of the page: {pair.verdict})")
        return telling(self, seen, place, [fmean(rescaled(one, scale)) for one in (a, b)]) if scale else seen

    def _as_is(self, task: TaskSummary, a: Cell, b: Cell, text: str) -> Seen:
        values = [[self._value(run.test) for run in one.runs] for one in (a, b)]
        if any(value is None for side in values for value in side):
            what = f"{self.metric} and {self.less}" if self.less else self.metric
            return Seen(text, missing=f"not every run on {task.id} has the test metric {what}: the task must score it")
        left, right = ([value for value in side if value is not None] for side in values)
        what = f"{self.metric} less {self.less}" if self.less else self.metric
        return compared(left, right, f"{text} {what}", self.anchor(task))

    def _value(self, test: dict[str, float]) -> float | None:
        if self.metric not in test or (self.less and self.less not in test):
            return None
        return test[self.metric] - (test[self.less] if self.less else 0.0)


class Share(OnTasks):
    """How much of the way from the trivial control (0) to the ceiling (1) a label goes, over its seeds."""

    NAME: ClassVar[str] = "share"
    EFFECT: ClassVar[str] = "score"
    UNIT: ClassVar[str] = "of the way from the trivial control to the ceiling"

    a: str

    def names(self) -> tuple[str, ...]:
        """The label."""
        return (self.a,)

    def look(self, known: Known) -> list[Seen]:
        """One score for each task id."""
        return [self._on(known, task) for task in self.chosen(known)] or [self.nothing()]

    def _on(self, known: Known, task: TaskSummary) -> Seen:
        one, scale = cell(known, task.id, self.a), ends(known, task)
        if one is None:
            return absent(task.id, self.a)
        if one.refused or scale is None:
            return Seen(task.id, trouble=one.refused or "nothing is better than the trivial control: there is no scale")
        values = rescaled(one, scale)
        effect, interval = fmean(values), statistics.interval(values)
        text = f"{task.id}, {self.a}: {number(effect)}{span(interval)} of the way, {len(values)} seeds"
        return Seen(text, effect, interval, seeds=len(values), anchor=f"task-{task.id}")


class Diverged(Pairwise):
    """Share of runs of `a` that diverged less that of `b`, runs of all task ids together.

    Interval: Newcombe 1998 (method 10); test: Fisher's exact one, of no difference.
    """

    NAME: ClassVar[str] = "diverged"
    EFFECT: ClassVar[str] = "difference of the shares of runs that diverged"
    NEUTRAL: ClassVar[float | None] = 0.0

    def look(self, known: Known) -> list[Seen]:
        """One comparison over all task ids that have both cells."""
        chosen = self.chosen(known)
        sides = [[cell(known, task.id, label) for task in chosen] for label in (self.a, self.b)]
        for label, side in zip((self.a, self.b), sides, strict=True):
            for task, one in zip(chosen, side, strict=True):
                if one is None:
                    return [absent(task.id, label)]
        if not chosen:
            return [self.nothing()]
        failed, runs = (
            [sum(count(one) for one in side if one is not None) for side in sides] for count in (_diverged, _runs)
        )
        (x, y), (n, m) = failed, runs
        effect = x / n - y / m
        interval = _newcombe(x, n, y, m)
        p = float(stats.fisher_exact([[x, n - x], [y, m - y]]).pvalue)
        names = [said(known, chosen[0].id, label) for label in (self.a, self.b)]
        return [
            Seen(
                text=f"{names[0]} diverged in {x} of {n} runs, {names[1]} in {y} of {m}: "
                f"difference {number(effect)}{span(interval)}",
                effect=effect,
                interval=interval,
                test=lambda _: p,
                smallest=statistics.smallest_p(n, m),
                zero=True,
                seeds=min(n, m),
                anchor=self.place if self.place == "ablations" else "quality",
            )
        ]


def _diverged(one: Cell) -> int:
    return one.failures.get("diverged", 0)


def _runs(one: Cell) -> int:
    return len(one.scores)


def _newcombe(x: int, n: int, y: int, m: int) -> Interval:
    """95 % of x/n - y/m, from the Wilson intervals of both (Newcombe 1998, method 10)."""
    first, second = (
        stats.binomtest(count, of).proportion_ci(statistics.CONFIDENCE, "wilson") for count, of in ((x, n), (y, m))
    )
    p, q = x / n, y / m
    low = p - q - math.hypot(p - first.low, second.high - q)
    return float(low), float(p - q + math.hypot(first.high - p, q - second.low))


class TimeToTarget(ByCells):
    """Training time of `a` to the task's target on validation, over that of `b`; one time for each seed.

    Steps until the target was first seen, times the seconds of a step on the quiet machine with its quartiles.
    """

    NAME: ClassVar[str] = "time_to_target"
    EFFECT: ClassVar[str] = "ratio of times to the target"
    NEUTRAL: ClassVar[float | None] = 1.0

    def compare(self, known: Known, task: TaskSummary, a: Cell, b: Cell) -> Seen:
        """Ratio of geometric means over seeds."""
        title = self.title(known, task)
        target = next((f.target for f in known.fronts if f.task == task.id and f.target is not None), None)
        if target is None:
            return Seen(title, trouble="no target: no run was better than the trivial control on validation")
        logs, spreads = [], []
        for one in (a, b):
            label = one.evidence.setting.label
            pace = timed(known, task.id, label)
            if pace is None or pace.step is None:
                return Seen(title, missing=f"no pace of {spoken(label)} on {task.id}: pace must time it")
            if pace.flags:
                return Seen(title, trouble=f"the pace of {label} is {', '.join(pace.flags)}: measure it again")
            steps = _steps(task, one, target)
            if len(steps) < len(one.runs):
                text = f"{len(one.runs) - len(steps)} of {len(one.runs)} runs of {label} never reach the target"
                return Seen(title, trouble=f"{text}: train longer")
            logs.append([math.log(n * pace.step.median) for n in steps])
            spreads.append((pace.step.q25 / pace.step.median, pace.step.q75 / pace.step.median))
        effect = math.exp(fmean(logs[0]) - fmean(logs[1]))
        found = statistics.interval(*logs)
        low, high = quotient(*spreads)
        interval = None if found is None else (math.exp(found[0]) * low, math.exp(found[1]) * high)
        return Seen(
            text=f"{title}: {number(effect)} times the time to the target{span(interval)}",
            effect=effect,
            interval=interval,
            test=lambda bound: statistics.exact_p([value - math.log(bound) for value in logs[0]], logs[1]),
            smallest=statistics.smallest_p(*map(len, logs)),
            seeds=min(map(len, logs)),
            anchor="front",
        )


def timed(known: Known, task: str, label: str) -> CellTime | None:
    """The pace of a cell."""
    found = {time.arch: time for pace in known.paces if pace.task == task for time in (*pace.cells, *pace.variants)}
    one = cell(known, task, label)
    return found.get(one.evidence.setting.label if one else label)


def _steps(task: TaskSummary, one: Cell, target: float) -> list[int]:
    """Steps until each run was first seen at the target; runs that never were are left out."""
    sign = 1.0 if task.spec.watched[1] == "max" else -1.0
    return [
        min(hits)
        for run in one.runs
        if (hits := [p.step for p in run.curve if p.valid is not None and sign * p.valid >= sign * target])
    ]


class Parameters(ByCells):
    """Parameters of the core of `a` over those of `b` at equal width: both grow as the square of the width.

    From the counts and widths of trained models, per square of the width; exact but for biases.
    """

    NAME: ClassVar[str] = "parameters"
    EFFECT: ClassVar[str] = "ratio of parameters at equal width"

    def compare(self, known: Known, task: TaskSummary, a: Cell, b: Cell) -> Seen:
        """A number without noise: the interval is a point."""
        per = [[run.parameters.core / run.width**2 for run in one.runs] for one in (a, b)]
        ratio = float(np.mean(per[0]) / np.mean(per[1]))
        widths = f"widths {a.runs[0].width} and {b.runs[0].width}"
        text = f"{self.title(known, task)}: {number(ratio)} times the parameters per square of the width ({widths})"
        return Seen(text, effect=ratio, interval=(ratio, ratio), anchor=self.anchor(task))
