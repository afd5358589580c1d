"""What claims rest on: all that is known, what one comparison saw, where its effect must lie. No torch.

A *label* names a cell on its task: an architecture (`lstm`), or one with an ablation (`lstm+no_clipping`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
from pydantic import model_validator

from seqbench.analyse import statistics
from seqbench.analyse.certificates import SATURATED
from seqbench.analyse.conclusions import Interval
from seqbench.analyse.findings import number, span, words
from seqbench.analyse.summary import (
    Cell,
    Crossover,
    Curve,
    Front,
    Held,
    Horizon,
    Law,
    Pair,
    Stretch,
    TaskSummary,
)
from seqbench.measurements import Counted, Measured, Measurement, Pace
from seqbench.presets import flat
from seqbench.records import Record
from seqbench.variants import PUBLISHED

INERT = "the setting never took effect"
"""Said of an ablation all of whose runs are those of its base to the bit: no seed would tell more."""
LEARNED = 0.05
"""Of the way from the trivial control to the ceiling: a mean that goes less has not learned the task.

Beyond the control is not enough: what learns nothing of a sequence may still know the mean a little better.
"""


class Known(NamedTuple):
    """What analysis has: fields as in Summary, and a few that it makes on the way."""

    tasks: Sequence[TaskSummary]
    """The grid's, and those of ablations and published rows (`evidence.beside`)."""
    cells: Sequence[Cell]
    """The grid."""
    variants: Sequence[Cell] = ()
    """Cells of ablations, with their bases, and of published rows."""
    laws: Sequence[Law] = ()
    crossovers: Sequence[Crossover] = ()
    curves: Mapping[Curve, Sequence[Measurement]] = {}
    """`costs.curves`."""
    measured: Sequence[Measured] = ()
    counted: Sequence[Counted] = ()
    horizons: Sequence[Horizon] = ()
    held: Sequence[Held] = ()
    fronts: Sequence[Front] = ()
    stretches: Sequence[Stretch] = ()
    pairs: Sequence[Pair] = ()
    paces: Sequence[Pace] = ()


class Seen(NamedTuple):
    """One comparison: an effect with its interval, or why there is none."""

    text: str
    """What was compared, with its numbers."""
    effect: float | None = None
    interval: Interval | None = None
    test: Callable[[float], float] | None = None
    """Exact two-sided p of the hypothesis that the effect is this number; None: no test over seeds."""
    smallest: float = 0.0
    """The smallest p that such a test can give with so many seeds."""
    zero: bool = False
    """The test is against no effect, whatever number it is asked for."""
    seeds: int = 0
    """A side."""
    trouble: str = ""
    """Why nothing may be decided on it."""
    missing: str = ""
    """What has to be run first; then there is no effect."""
    narrows: str = "more seeds would narrow it"
    """What makes the interval smaller."""
    anchor: str = ""
    aside: tuple[str, str] | None = None
    """Why it could not tell two apart, and where, in a few words: other comparisons decide. Then there is `trouble`."""


class Hypothesis(Record):
    """One testable part of a claim: a measure, and where its effect must lie. One of the three bounds is given."""

    NAME: ClassVar[str]
    """The word after `measure:`."""
    EFFECT: ClassVar[str]
    """What the effect is, in words."""
    UNIT: ClassVar[str] = ""
    NEUTRAL: ClassVar[float | None] = None
    """The effect of two that are alike; None: no two are compared."""

    part: str
    """The statement, in a sentence."""
    above: float | None = None
    below: float | None = None
    between: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(bound is not None for bound in (self.above, self.below, self.between)) != 1:
            raise ValueError("give one of above, below, between")
        if self.between and self.between[0] >= self.between[1]:
            raise ValueError("between: the smaller number first")
        return self

    @property
    def region(self) -> Interval:
        """Where the effect lies if the part is true."""
        if self.between:
            return self.between
        return (-math.inf, self.below) if self.below is not None else (float(self.above or 0.0), math.inf)

    def holds(self, end: float) -> bool:
        """Whether one end of an interval lies in the region; an end at infinity does where the region has none."""
        low, high = self.region
        return low < end < high or (end in (low, high) and math.isinf(end))

    @property
    def parts_two(self) -> bool:
        """Whether it says that two differ: that they are alike, it says where no difference lies in its region."""
        return self.NEUTRAL is not None and not self.holds(self.NEUTRAL)

    def too_little(self, effect: float, interval: Interval) -> str:
        """What an effect on the claimed side lacks, in words; empty: its interval lies elsewhere."""
        low, high = self.region
        if self.NEUTRAL is None or self.between:
            return ""
        if low == -math.inf:
            short, bound = high <= interval[0] and interval[1] < self.NEUTRAL, high
        else:
            short, bound = interval[0] > self.NEUTRAL and interval[1] <= low, low
        if not short:
            return ""
        if self.NEUTRAL:
            return f"on the claimed side, but {number(effect)} times is short of the {bound:g} that counts"
        return f"on the claimed side, but by {number(abs(effect))}, less than the {abs(bound):g} that counts"

    @property
    def margin(self) -> str:
        """The region in words."""
        low, high = self.region
        where = f"above {low:g}" if high == math.inf else f"below {high:g}"
        return f"{self.EFFECT} {f'between {low:g} and {high:g}' if self.between else where}"

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The labels that it speaks of."""

    @abstractmethod
    def look(self, known: Known) -> list[Seen]:
        """Every comparison that the part rests on; one with `missing` where there is none."""

    def absent(self, known: Known) -> tuple[str, ...]:
        """Tasks named that were not run."""
        return ()

    def p(self, seen: Seen) -> float:
        """Exact p against the bound that the effect is tested on: both of them where it lies between."""
        low, high = self.region
        effect = seen.effect
        if seen.test is None or effect is None:
            return 1.0
        bounds = [high] if effect > high else [low] if effect < low else [low, high]
        return max(seen.test(bound) for bound in bounds if math.isfinite(bound))


class OnTasks(Hypothesis):
    """A hypothesis about runs: on each task id that is meant by a name or id, within limits of its length."""

    tasks: tuple[str, ...]
    shortest: int = 1
    longest: int = 0
    """Limits of the steps in a sequence; 0: none."""

    def chosen(self, known: Known) -> list[TaskSummary]:
        """The task ids meant: of the grid; where an ablation is spoken of, those that it was run on."""
        ablations = self.ablations
        beside = {cell.task for cell in known.variants if cell.evidence.setting.variant in ablations}
        ran = beside if ablations else {cell.task for cell in known.cells}
        return [task for task in self._meant(known) if task.id in ran]

    @property
    def ablations(self) -> tuple[str, ...]:
        """The ablations that its labels name."""
        return tuple(sorted({name.partition("+")[2].removesuffix("_base") for name in self.names()} - {""}))

    def _meant(self, known: Known) -> list[TaskSummary]:
        longest = self.longest or math.inf
        return [
            task
            for task in known.tasks
            if {task.id, task.name} & set(self.tasks) and self.shortest <= task.spec.length <= longest
        ]

    def absent(self, known: Known) -> tuple[str, ...]:
        """Tasks named of which no task id is meant, or ran with the ablation."""
        there = {name for task in self.chosen(known) for name in (task.id, task.name)}
        return tuple(word for word in self.tasks if word not in there)

    def nothing(self) -> Seen:
        """No task was run that the part speaks of: what to run."""
        steps = f" of {self.shortest} steps or more" if self.shortest > 1 else ""
        steps += f"{' and' if steps else ' of'} {self.longest} steps at most" if self.longest else ""
        ablations = self.ablations
        tasks = f"task{'s' if len(self.tasks) > 1 else ''} {words(self.tasks)}{steps}"
        if ablations:
            return Seen("", missing=f"run the ablation{'s' * (len(ablations) > 1)} {words(ablations)} on the {tasks}")
        of = "one or more of " if len(self.tasks) > 1 else ""
        return Seen("", missing=f"run {of}the {tasks}, with {words(list(dict.fromkeys(self.names())))}")


# ---------------------------------------------------------------- cells and scores


def cell(known: Known, task: str, label: str) -> Cell | None:
    """The cell of a task id and a label; where an ablation has no base of its own, its base is the plain cell."""
    for one in (*known.cells, *known.variants):
        if (one.task, one.evidence.setting.label) == (task, label):
            return one
    return cell(known, task, label.split("+")[0]) if label.endswith("_base") else None


def spoken(label: str) -> str:
    """A label without its cell: the base of an ablation is the architecture as it is."""
    return label.partition("+")[0] if label.endswith("_base") else label


def said(known: Known, task: str, label: str) -> str:
    """A label as it is said on a task: the base of an ablation by what it has otherwise than the grid.

    `lstm` where the base is the cell of the grid, else `lstm (layers 2, dropout 0.2)`.
    """
    one, arch = cell(known, task, label), spoken(label)
    if one is None or not label.endswith("_base") or not one.evidence.setting.variant:
        return arch
    plain = cell(known, task, arch)
    if plain is None:
        return label
    own, usual = (dict(flat(of.evidence.setting.plain())) for of in (one, plain))
    names = [name for name in own if name != "variant" and own[name] != usual.get(name)]
    other = [f"{name.rpartition('.')[2]} {own[name]}" for name in names]
    return f"{arch} ({', '.join(other)})"


def absent(task: str, label: str) -> Seen:
    """A cell that was not run."""
    arch, _, variant = label.partition("+")
    how = f"run the ablation {variant.removesuffix('_base')}" if variant else f"add {arch} to the architectures"
    return Seen(f"{label} on {task}", missing=f"no cell {label} on {task}: {how}")


def ends(known: Known, task: TaskSummary) -> tuple[float, float] | None:
    """The scores that become 0 and 1: trivial control, and ceiling, else the best of strong control and grid.

    Where the task is not in the grid, its ablations and their bases stand for it.

    None where nothing is better than the trivial control.
    """
    sign, metric = 1.0 if task.spec.direction == "max" else -1.0, task.spec.metric
    trivial = task.trivial.metrics[metric]
    best = [control.metrics[metric] for control in task.controls if control.kind == "strong"]
    grid = [one for one in known.cells if one.task == task.id]
    # a published row has a size of its own: what the others are measured by must not hang on whether it was run
    beside = [one for one in known.variants if one.task == task.id and one.evidence.setting.variant != PUBLISHED]
    best += [one.mean for one in grid or beside if one.mean is not None]
    ceiling = task.spec.ceiling if task.spec.ceiling is not None else max(best, key=lambda s: sign * s, default=trivial)
    return (trivial, ceiling) if sign * (ceiling - trivial) > 0 else None


def rescaled(of: Cell, scale: tuple[float, float]) -> list[float]:
    """Scores of a cell's seeds, 0 at the trivial control and 1 at the ceiling.

    A failed seed counts as the worst score seen on the task; where all failed, as the trivial control.
    """
    values = of.counted or (scale[0],) * len(of.scores)
    return [(value - scale[0]) / (scale[1] - scale[0]) for value in values]


def learned(known: Known, of: Cell) -> bool | None:
    """Whether a cell goes `LEARNED` of the way on its task; None where nothing is better than the trivial control."""
    task = next((one for one in known.tasks if one.id == of.task), None)
    scale = ends(known, task) if task else None
    return float(np.mean(rescaled(of, scale))) >= LEARNED if scale else None


def telling(
    part: Hypothesis, seen: Seen, place: str, shares: Sequence[float], neither: str = "neither learned"
) -> Seen:
    """The comparison, set aside where two that are not alike could hardly differ.

    `shares`: how far both go of the way from the trivial control to the ceiling. A part that says that two are alike
    is left as it is.
    """
    if seen.missing or not part.parts_two:
        return seen
    if max(shares) < LEARNED:
        why, what = neither, "a task or a training with which one of them does would decide"
    elif min(shares) >= SATURATED:
        why, what = "both solve", "a harder task would decide"
    else:
        return seen
    ways = f"{' and '.join(map(number, shares))} of the way from the trivial control to the ceiling"
    return seen._replace(trouble=f"{why} {place} ({ways}): {what}", aside=(why, place))


def same_runs(a: Cell, b: Cell) -> bool:
    """Whether every run of one has the weights and scores of the other's run with its seed, to the bit."""
    own, other = ({run.seed: (run.weights_sha256, run.test) for run in one.runs} for one in (a, b))
    finished = all(weights and test for weights, test in own.values())
    return bool(own) and finished and own == other


def quotient(a: Interval, b: Interval) -> Interval:
    """Where a ratio may lie: from the ends of both intervals, which are not negative. Wider than a joint one."""
    return (a[0] / b[1] if b[1] else math.inf), (a[1] / b[0] if b[0] else math.inf)


def compared(a: Sequence[float], b: Sequence[float], text: str, anchor: str) -> Seen:
    """Mean of `a` less mean of `b`, one value per seed, larger being better."""
    effect = float(np.mean(a) - np.mean(b))
    interval = statistics.interval(a, b)
    seeds = f"{len(a)} + {len(b)} seeds" if len(a) != len(b) else f"{len(a)} seeds each"
    better = statistics.improvement(a, b)
    return Seen(
        text=f"{text} {number(effect)}{span(interval)}, {seeds}, P(better) {number(better)}",
        effect=effect,
        interval=interval,
        test=lambda bound: statistics.exact_p([value - bound for value in a], b),
        smallest=statistics.smallest_p(len(a), len(b)),
        seeds=min(len(a), len(b)),
        anchor=anchor,
    )
