"""Measures of claims that look at what was measured: growth, crossovers, ratios of speed and size, gradients by lag.

Nothing is decided on a measurement that was disturbed, nor between machines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from seqbench.analyse.conclusions import Interval
from seqbench.analyse.costs import GROWS, WORDS
from seqbench.analyse.findings import number, span, unquiet
from seqbench.analyse.grounds import Hypothesis, Known, OnTasks, Seen, quotient, said, spoken
from seqbench.analyse.grounds_runs import timed
from seqbench.analyse.summary import Curve, TaskSummary
from seqbench.files import canonical
from seqbench.measurements import Measurement, Quantity, Track

AGAIN = "measure again on a quiet machine"
Along = Literal["length", "length at constant tokens"]
FASTER: tuple[Quantity, ...] = ("train", "infer", "generate")
"""Quantities of which more is better."""


class OfCurve(Hypothesis):
    """A hypothesis about curves of cost over length."""

    quantity: Quantity
    track: Track = "best"
    threads: int = 1

    def curve(
        self, arch: str, form: str = "", along: Literal["length", "length at constant tokens"] = "length"
    ) -> Curve:
        """The curve of an architecture."""
        return Curve(arch=arch, quantity=self.quantity, along=along, threads=self.threads, track=self.track, form=form)

    def without(self, arch: str, form: str = "") -> Seen:
        """Nothing was measured: what to run."""
        stage = "measure" if self.quantity in (*FASTER, "first_token", "stream") else "count"
        what = f"{self.quantity} of {arch}{f' in the form {form}' if form else ''}"
        return Seen(what, missing=f"no {what} was measured: seqbench {stage} {arch}")


class Slope(OfCurve):
    """Cost grows with length to this power: the slope of the law fitted on log scales, with its 95 % t interval."""

    NAME: ClassVar[str] = "slope"
    EFFECT: ClassVar[str] = "power of the length"

    arch: str
    form: str = ""

    def names(self) -> tuple[str, ...]:
        """The architecture."""
        return (self.arch,)

    def look(self, known: Known) -> list[Seen]:
        """One law."""
        curve = self.curve(self.arch, self.form)
        law = next((law for law in known.laws if law.curve == curve), None)
        if law is None:
            return [self.without(self.arch, self.form)]
        form = f" ({self.form})" if self.form else ""
        text = (
            f"{self.arch}{form}: {GROWS[self.quantity]} grow as length to the power of {number(law.slope)}"
            f"{span(law.interval)}, R² {number(law.fit)}, from {law.low} to {law.high} steps"
        )
        trouble = f"{unquiet(law.flags)}: {AGAIN}" if law.flags else ""
        return [
            Seen(
                text,
                law.slope,
                law.interval,
                trouble=trouble,
                narrows="more and longer lengths would narrow it",
                anchor="cost",
            )
        ]


class Meets(OfCurve):
    """The length from which on `a` is the better one of two, up to the longest that was measured.

    Where it is so from the first length on, the effect is at most that length; where it is not at the longest, more
    than that one.
    """

    NAME: ClassVar[str] = "crossover"
    EFFECT: ClassVar[str] = "length from which on the first is better"
    UNIT: ClassVar[str] = "steps"

    a: str
    b: str
    along: Along = "length"

    def names(self) -> tuple[str, ...]:
        """Both architectures."""
        return self.a, self.b

    def look(self, known: Known) -> list[Seen]:
        """One crossover, with who is better at the longest length."""
        first, second = (self.curve(arch, along=self.along) for arch in (self.a, self.b))
        found = next(
            (
                one
                for one in known.crossovers
                if {one.a, one.b} == {self.a, self.b}
                and one.curve.model_copy(update={"arch": ""}) == first.model_copy(update={"arch": ""})
            ),
            None,
        )
        if found is None:
            return [self.without(next((c.arch for c in (first, second) if c not in known.curves), self.a))]
        if found.flags:
            return [Seen(found.text, trouble=f"{unquiet(found.flags)}: {AGAIN}", anchor="cost")]
        ratios = [
            _ratio(*points, self.quantity in FASTER) for points in _common(known.curves[first], known.curves[second])
        ]
        end = ratios[-1]
        interval: Interval | None
        if end[0] <= 1 <= end[2]:
            interval, effect = None, None
        elif end[2] < 1:
            interval, effect = (math.nextafter(found.high, math.inf), math.inf), float(found.high)
        elif found.length is not None:
            interval, effect = found.interval or (found.length, found.length), found.length
        else:
            clear = [low > 1 for low, _, _ in ratios]
            interval, effect = ((0.0, float(found.low)), float(found.low)) if all(clear) else (None, None)
        trouble = "" if interval else f"{found.text}: more repetitions, or longer lengths, would decide"
        return [
            Seen(found.text, effect, interval, trouble=trouble, narrows="lengths between would decide", anchor="cost")
        ]


class Ratio(OfCurve):
    """How many times the value of `b` that of `a` is, at one length; from the quartiles of both."""

    NAME: ClassVar[str] = "ratio"
    EFFECT: ClassVar[str] = "ratio"
    NEUTRAL: ClassVar[float | None] = 1.0

    a: str
    b: str
    forms: tuple[str, str] = ("", "")
    """Of both."""
    length: int = 0
    """Steps; 0: the longest that both were measured at."""

    def names(self) -> tuple[str, ...]:
        """Both architectures."""
        return self.a, self.b

    def look(self, known: Known) -> list[Seen]:
        """One ratio."""
        curves = [self.curve(arch, form) for arch, form in zip((self.a, self.b), self.forms, strict=True)]
        for curve in curves:
            if not known.curves.get(curve):
                return [self.without(curve.arch, curve.form)]
        pairs = [(m, n) for m, n in _common(*(known.curves[curve] for curve in curves)) if self.length in (0, m.length)]
        if not pairs:
            where = f"at {self.length} steps" if self.length else "at any length in common"
            return [
                Seen("", missing=f"{self.a} and {self.b} have no {self.quantity} {where}: add it to measure.lengths")
            ]
        m, n = pairs[-1]
        low, effect, high = _ratio(m, n)
        first, second = (_named(curve) for curve in curves)
        track = " (reference track)" if self.track == "reference" else ""
        text = (
            f"{WORDS[self.quantity][1]} at {m.length} steps{track}: "
            f"{first} has {number(effect)}{span((low, high))} times the {m.unit} of {second}"
        )
        flags = list(dict.fromkeys((*m.flags, *n.flags)))
        trouble = f"{unquiet(flags)}: {AGAIN}" if flags else ""
        if not _same_machine(known, self.quantity, (self.a, self.b)):
            trouble = f"measured on different machines or versions: {AGAIN}, both on one"
        return [
            Seen(text, effect, (low, high), trouble=trouble, narrows="more repetitions would decide", anchor="cost")
        ]


def _named(curve: Curve) -> str:
    return f"{curve.arch} ({curve.form})" if curve.form else curve.arch


def _common(a: Sequence[Measurement], b: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Measurements of both that have a value, at the same length, shortest first."""
    others = {m.length: m for m in b if m.value is not None}
    return [(m, others[m.length]) for m in a if m.value is not None and m.length in others]


def _ratio(m: Measurement, n: Measurement, larger: bool = True) -> tuple[float, float, float]:
    """Lower end, median, upper end of m / n by their quartiles; of n / m where smaller is better."""
    first, second = (m.value, n.value) if larger else (n.value, m.value)
    assert first is not None and second is not None  # those without were left out
    low, high = quotient((first.q25, first.q75), (second.q25, second.q75))
    return low, first.median / second.median, high


def _same_machine(known: Known, quantity: Quantity, archs: Iterable[str]) -> bool:
    """Whether the architectures' measurements of a quantity come from one machine with one set of versions."""
    sources = [
        one for one in (*known.measured, *known.counted) if any(m.quantity == quantity for m in one.measurements)
    ]
    return len({canonical(one.provenance.hardware.plain()) for one in sources if one.arch in set(archs)}) <= 1


class Pace(OnTasks):
    """Seconds per training step (or per item) of `a` over those of `b`, in the tasks' own models; from quartiles."""

    NAME: ClassVar[str] = "pace"
    EFFECT: ClassVar[str] = "ratio of times"
    NEUTRAL: ClassVar[float | None] = 1.0

    a: str
    b: str
    of: Literal["step", "item"] = "step"

    def names(self) -> tuple[str, ...]:
        """Both labels."""
        return self.a, self.b

    def look(self, known: Known) -> list[Seen]:
        """One ratio for each task id."""
        return [self._on(known, task) for task in self.chosen(known)] or [self.nothing()]

    def _on(self, known: Known, task: TaskSummary) -> Seen:
        values = []
        for label in (self.a, self.b):
            time = timed(known, task.id, label)
            value = getattr(time, self.of, None)
            if time is None or value is None:
                return Seen(task.id, missing=f"no pace of {spoken(label)} on {task.id}: pace must time it")
            if time.flags:
                return Seen(task.id, trouble=f"{label}: {unquiet(time.flags)}: {AGAIN}")
            values.append(value)
        first, second = values
        low, high = quotient((first.q25, first.q75), (second.q25, second.q75))
        effect = first.median / second.median
        what = {"step": "seconds per training step", "item": "seconds per item"}[self.of]
        names = [said(known, task.id, label) for label in (self.a, self.b)]
        text = f"{task.id}: {names[0]} takes {number(effect)}{span((low, high))} times the {what} of {names[1]}"
        return Seen(text, effect, (low, high), narrows="more repetitions would decide", anchor="front")
