"""Measures of claims about range: levels held, horizons, longer sequences, gradients by lag. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from scipy import stats

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Interval
from seqbench.analyse.findings import number, span, unquiet, words
from seqbench.analyse.grounds import (
    LEARNED,
    Known,
    OnTasks,
    Seen,
    absent,
    cell,
    ends,
    quotient,
    rescaled,
    spoken,
    telling,
)
from seqbench.analyse.grounds_costs import AGAIN
from seqbench.analyse.grounds_runs import ByTask, Pairwise
from seqbench.analyse.reach import SHARE
from seqbench.analyse.summary import Cell, Horizon, TaskSummary


class Level(Pairwise):
    """How many times as long (or as large a value of the knob) `a` still holds a task as `b` does.

    A cell holds a level where its interval lies beyond 90 % of the way to the ceiling, and does not where it lies
    short of it; so the limit of each lies between two levels, and the interval is that of the ratio of both.
    """

    NAME: ClassVar[str] = "level"
    EFFECT: ClassVar[str] = "ratio of the longest levels held"
    NEUTRAL: ClassVar[float | None] = 1.0

    def look(self, known: Known) -> list[Seen]:
        """One comparison for each task that has levels, more of which ask for a longer memory."""
        chosen = [task for task in self.chosen(known) if task.level is not None and task.memory]
        names = list(dict.fromkeys(task.name for task in chosen))
        return [self._of(known, [t for t in chosen if t.name == name]) for name in names] or [self.nothing()]

    def _of(self, known: Known, tasks: Sequence[TaskSummary]) -> Seen:
        levels = sorted(tasks, key=lambda task: task.level or 0.0)
        limits, open_ends = [], []
        for label in (self.a, self.b):
            cells = [cell(known, task.id, label) for task in levels]
            for task, one in zip(levels, cells, strict=True):
                if one is None:
                    return absent(task.id, label)
                if one.refused:
                    return Seen(task.id, trouble=f"{label} is not ranked: {one.refused}")
            limits.append(_limit(known, levels, [one for one in cells if one is not None]))
            open_ends.append((_open(limits[-1], levels), label))
        said = {held.arch: held.text for held in known.held if held.task == levels[0].name}
        texts = [
            said.get(label, f"{label} holds {_within(limit)}")
            for label, limit in zip((self.a, self.b), limits, strict=True)
        ]
        narrows = "levels between, or beyond, those that were run would decide, or more seeds"
        return _of_ratio(f"{levels[0].name}: {'; '.join(texts)}", limits, open_ends, narrows, "levels")


def _open(limit: Interval, levels: Sequence[TaskSummary]) -> str:
    """Why it is not known between which levels a cell stops holding the task, up to its label; empty: it is."""
    low, high = limit
    if high < math.inf:
        return "" if low else "none that was run is shown to be held by"
    if low == levels[-1].level:
        return "the longest that was run is held by"
    return f"seeds lie on both sides of {100 * SHARE:g} %{f' beyond {low:g}' if low else ''} for"


def _of_ratio(
    text: str, limits: Sequence[Interval], open_ends: Sequence[tuple[str, str]], narrows: str, anchor: str
) -> Seen:
    """The ratio of two numbers of which only limits are known; `open_ends`: why a limit is missing, and of which."""
    low, high = quotient(*limits)
    if low == 0 and high == math.inf:
        reasons = {why: [label for other, label in open_ends if other == why] for why, _ in open_ends if why}
        why = words([f"{why} {words(labels)}" for why, labels in reasons.items()])
        return Seen(text, trouble=f"nothing is known of the ratio, since {why}: {narrows}", anchor=anchor)
    middle = max(low, 0.0) if high == math.inf else high if low == 0 else math.sqrt(low * high)
    return Seen(f"{text}; ratio {_within((low, high))}", middle, (low, high), narrows=narrows, anchor=anchor)


def _limit(known: Known, levels: Sequence[TaskSummary], cells: Sequence[Cell]) -> Interval:
    """Between which values of the knob a cell stops holding the task; levels from the smallest up."""
    low, high = 0.0, math.inf
    for task, one in zip(levels, cells, strict=True):
        scale, value = ends(known, task), task.level or 0.0
        if one.finished == 0:
            inside: Interval | None = (0.0, 0.0)
        elif scale is None or one.interval is None:
            inside = None
        else:
            first, last = sorted((end - scale[0]) / (scale[1] - scale[0]) for end in one.interval)
            inside = first, last
        if inside and inside[0] >= SHARE:
            low, high = value, math.inf
        elif inside is None or inside[1] >= SHARE:
            high = math.inf
        elif high == math.inf:
            high = math.nextafter(value, 0.0)
    return low, high


def _within(limit: Interval) -> str:
    """An open interval in words."""
    low, high = limit
    if high == math.inf:
        more = f"more than {number(low)}" if low > float(f"{low:.3g}") else f"{number(low)} or more"
        return more if low else "not known"
    if number(low) == number(high):
        return number(low)
    return f"below {number(high)}" if not low else f"from {number(low)} to below {number(high)}"


class Reach(ByTask):
    """Horizon of `a` over that of `b`, in steps; from the ends of both intervals over seeds."""

    NAME: ClassVar[str] = "horizon"
    EFFECT: ClassVar[str] = "ratio of horizons"
    NEUTRAL: ClassVar[float | None] = 1.0

    kind: Literal["gradient", "intervention"] = "intervention"
    trained: bool = True

    def on(self, known: Known, task: TaskSummary) -> Seen:
        """The ratio on one task id."""
        limits: list[Interval] = []
        texts, open_ends, longest = [], [], 0
        title = self.title(known, task)
        for label in (self.a, self.b):
            h = self._horizon(known, task, label)
            if h is None or h.horizon is None:
                what = f"no horizon of {spoken(label)} on {task.id}"
                return Seen(title, missing=f"{what}: reach must look at its runs")
            if h.interval is None:
                return Seen(title, trouble="one seed gives no interval: more seeds would decide")
            longest = max(longest, h.lags[-1])
            texts.append(f"{number(h.horizon)}{span(h.interval)}{' or more' if h.beyond else ''}")
            limits.append((max(0.0, h.interval[0]), math.inf if h.beyond else max(0.0, h.interval[1])))
            missing = "" if limits[-1][0] else "it may be 0 for"
            open_ends.append(("it lies beyond the sequence for seeds of" if h.beyond else missing, label))
        text = f"{title}: {' and '.join(texts)} steps ({self.kind})"
        seen = _of_ratio(text, limits, open_ends, "more seeds, or longer sequences, would decide", "reach")
        if self.above is not None and longest <= self.above * limits[1][0]:
            why, text = "there is no room for such a ratio", f"on {task.id}, of {longest} lags"
            return seen._replace(trouble=f"{why} {text}: longer sequences would decide", aside=(why, f"on {task.id}"))
        return self._of_trained(known, task, seen) if self.trained else seen

    def _of_trained(self, known: Known, task: TaskSummary, seen: Seen) -> Seen:
        """Set aside where neither learned the task, or both solve it: then it is the task that sets the horizon."""
        scale = ends(known, task)
        sides = [one for label in (self.a, self.b) if (one := cell(known, task.id, label)) is not None]
        if scale is None or len(sides) < 2:
            return seen
        return telling(self, seen, task.id, [float(np.mean(rescaled(one, scale))) for one in sides])

    def _horizon(self, known: Known, task: TaskSummary, label: str) -> Horizon | None:
        found = {h.arch: h for h in known.horizons if (h.task, h.kind, h.trained) == (task.id, self.kind, self.trained)}
        one = cell(known, task.id, label)
        return found.get(one.evidence.setting.label if one else label)


class Longer(ByTask):
    """Score of `a` less that of `b` on sequences `times` as long as trained, from the ends of both intervals."""

    NAME: ClassVar[str] = "stretch"
    EFFECT: ClassVar[str] = "difference of scores"
    UNIT: ClassVar[str] = "of the way from the trivial control to the ceiling"
    NEUTRAL: ClassVar[float | None] = 0.0

    times: int = 4

    def on(self, known: Known, task: TaskSummary) -> Seen:
        """The difference on one task id."""
        scale = ends(known, task)
        means, limits = [], []
        title = self.title(known, task)
        for label in (self.a, self.b):
            found = [
                one
                for one in known.stretches
                if (one.task, one.arch) == (task.id, label) and one.length == self.times * one.trained_length
            ]
            if not found or found[0].mean is None:
                return Seen(title, missing=f"{label} has no score at {self.times} times the length of {task.id}")
            if scale is None or found[0].interval is None:
                why = "one seed gives no interval" if scale else "nothing is better than the trivial control"
                return Seen(title, trouble=why)
            low, high = sorted((end - scale[0]) / (scale[1] - scale[0]) for end in found[0].interval)
            limits.append((low, high))
            means.append((found[0].mean - scale[0]) / (scale[1] - scale[0]))
        bounds = limits[0][0] - limits[1][1], limits[0][1] - limits[1][0]
        effect = means[0] - means[1]
        longer = f"at {self.times} times the length"
        seen = Seen(f"{title}: {longer} {number(effect)}{span(bounds)}", effect=effect, interval=bounds, anchor="reach")
        return telling(self, seen, f"{task.id} {longer}", means, f"neither goes {100 * LEARNED:g} % of the way on")


class Decay(OnTasks):
    """Decades that the norm of the gradient loses in 100 steps of lag: the slope of log10 norm by lag.

    Without tasks, of the untrained model; with them, of trained runs. The interval holds the 95 % t intervals of the
    median over seeds and of its two bounds (quartiles, or smallest and largest). It is an exponential where R² is at
    least `fit`; where it is less, and a power of the lag has that, it is none.
    """

    NAME: ClassVar[str] = "decay"
    EFFECT: ClassVar[str] = "decades of the gradient lost in 100 steps"

    tasks: tuple[str, ...] = ()
    arch: str
    fit: float = 0.9

    def names(self) -> tuple[str, ...]:
        """The label."""
        return (self.arch,)

    def look(self, known: Known) -> list[Seen]:
        """One fit of the untrained model, or one for each task id."""
        if self.tasks:
            return [self._trained(known, task) for task in self.chosen(known)] or [self.nothing()]
        points = [
            m
            for one in known.counted
            if one.arch == self.arch
            for m in one.measurements
            if m.quantity == "gradient" and m.value is not None
        ]
        if not points:
            return [Seen("", missing=f"no gradient of {self.arch} was measured: seqbench count {self.arch}")]
        values = [(m.length, m.value) for m in points if m.value is not None]
        flags = [flag for m in points for flag in m.flags]
        trouble = f"{unquiet(list(dict.fromkeys(flags)))}: {AGAIN}" if flags else ""
        curves = [[getattr(value, which) for _, value in values] for which in ("median", "q25", "q75")]
        return [self._fit(f"{self.arch}, untrained:", [lag for lag, _ in values], curves, "gradient", trouble)]

    def _trained(self, known: Known, task: TaskSummary) -> Seen:
        for h in known.horizons:
            if (h.task, h.arch, h.kind, h.trained) == (task.id, self.arch, "gradient", True):
                return self._fit(f"{self.arch}, trained on {task.id}:", h.lags, [h.effects, h.low, h.high], "reach")
        return Seen("", missing=f"no gradient of trained {self.arch} on {task.id}: seqbench reach {task.id}")

    def _fit(
        self, text: str, lags: Sequence[int], curves: Sequence[Sequence[float]], anchor: str, trouble: str = ""
    ) -> Seen:
        lines = [line for curve in curves if (line := _line(lags, curve)) is not None]
        if not lines:
            return Seen(text, trouble="fewer than four lags with a gradient: measure longer sequences")
        first, power = lines[0], _line([math.log(lag + 1) for lag in lags], curves[0])
        interval: Interval = min(line.low for line in lines), max(line.high for line in lines)
        said = f"{text} {number(first.rate)}{span(interval)} decades in 100 steps, R² {number(first.fit)}"
        if first.fit < self.fit and interval[0] > 0:
            if power is not None and power.fit >= self.fit:
                said += f"; a power of the lag fits (R² {number(power.fit)}): no exponential"
                return Seen(said, 0.0, (0.0, 0.0), trouble=trouble, anchor=anchor)
            trouble = trouble or f"it falls, but R² is below {self.fit:g}, as of a power: more lags would tell how"
        narrows = "more lags or seeds would narrow it"
        return Seen(said, first.rate, interval, trouble=trouble, narrows=narrows, anchor=anchor)


class Line(NamedTuple):
    """Decades lost in 100 units, with their 95 % t interval, and R squared."""

    rate: float
    low: float
    high: float
    fit: float


def _line(x: Sequence[float], norms: Sequence[float]) -> Line | None:
    """Least squares of log10 norm on x; norms of 0 (underflow) are left out. None with fewer than four."""
    kept = [(place, math.log10(norm)) for place, norm in zip(x, norms, strict=True) if norm > 0]
    if len(kept) < 4:
        return None
    found = stats.linregress(*zip(*kept, strict=True))
    half = float(stats.t.ppf((1 + statistics.CONFIDENCE) / 2, len(kept) - 2)) * float(found.stderr)
    rate = -100 * float(found.slope)
    return Line(rate, rate - 100 * half, rate + 100 * half, float(found.rvalue) ** 2)
