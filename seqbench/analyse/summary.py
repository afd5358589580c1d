"""The records that analysis hands to the report."""

from __future__ import annotations

import math
from typing import Literal

from seqbench.analyse.conclusions import (
    Ablated,
    Advice,
    Aggregate,
    Certificate,
    Claim,
    Matched,
    Options,
    Profile,
    Ranking,
    Reproduction,
    Search,
    Sensitivity,
)
from seqbench.config import Plan
from seqbench.measurements import Counted, Gates, Measured, Pace, Quantity, Reaches, Track
from seqbench.records import Control, Provenance, Record, Result, Setting, Spec, Tuned


class DataSource(Record):
    """One entry of data/sources.toml, as the page cites it."""

    name: str
    url: str
    licence: str
    citation: str
    defects: tuple[str, ...]


class TaskSummary(Record):
    """One task id: what was asked, on which data, against which controls."""

    id: str
    name: str
    title: str
    family: str
    knob: str
    """The setting that makes several task ids of the task; empty: none."""
    level: float | None
    """The knob's value where it is a number."""
    memory: bool = True
    """A larger value asks to remember more, or for longer."""
    value: str
    """The knob's value as text; empty: no knob."""
    spec: Spec
    seconds: float = 0.0
    """How long a step lasts when it is played; 0: it is not music."""
    sizes: dict[str, int]
    defects: tuple[str, ...]
    data_digest: str
    sources: tuple[DataSource, ...]
    controls: tuple[Control, ...]
    differences: tuple[str, ...]
    """In which ways the task treats architectures differently, in sentences."""

    @property
    def trivial(self) -> Control:
        """The best of the trivial controls: what a model must beat."""
        best = self._best("trivial")
        assert best is not None  # every task has one
        return best

    @property
    def strong(self) -> Control | None:
        """The best of the strong controls: what needs no sequence model; None where the task has none."""
        return self._best("strong")

    @property
    def sign(self) -> float:
        """1 where a higher score is better, -1 where a lower one is."""
        return 1.0 if self.spec.direction == "max" else -1.0

    @property
    def reachable(self) -> float | None:
        """The task's ceiling, else the score of the best strong control; None where that is no better than trivial."""
        metric, best = self.spec.metric, self.spec.ceiling
        if best is None and self.strong is not None:
            best = self.strong.metrics[metric]
        return best if best is not None and self.sign * (best - self.trivial.metrics[metric]) > 0 else None

    def _best(self, kind: str) -> Control | None:
        own = [control for control in self.controls if control.kind == kind]
        better = max if self.spec.direction == "max" else min
        return better(own, key=lambda control: control.metrics[self.spec.metric], default=None)

    def outdone(self, cell: Cell) -> bool:
        """Whether the best strong control scores better than the mean of a cell, or the cell has none."""
        if self.strong is None:
            return False
        return cell.mean is None or self.sign * (cell.mean - self.strong.metrics[self.spec.metric]) < 0


class Evidence(Record):
    """The checked records of one cell; results in the plan's order of seeds."""

    task: str
    arch: str
    setting: Setting
    tuned: Tuned
    results: tuple[Result, ...]
    provenances: tuple[Provenance, ...]
    commands: tuple[str, ...]
    """What makes each run again."""
    sha256: str = ""
    """Of the file that holds the results, runs/TASK/CELL/results.json."""


class Mean(Record):
    """A metric over the seeds that finished."""

    mean: float
    interval: tuple[float, float] | None
    """95 % interval; None with one seed."""
    seeds: int


class Cell(Record):
    """A cell with its statistics over seeds. A failed seed counts as the worst score seen on the task."""

    evidence: Evidence
    scores: tuple[float | None, ...]
    """One per seed; None: the run failed."""
    counted: tuple[float, ...]
    """The scores with failed seeds at the worst score seen on the task; empty where none finished."""
    failures: dict[str, int]
    """How many runs ended with each status other than ok."""
    mean: float | None
    """None where no seed finished."""
    interquartile_mean: float | None
    interquartile_interval: tuple[float, float] | None
    """95 % interval of it; None with one seed."""
    interval: tuple[float, float] | None
    """95 % interval of the mean; None with one seed."""
    others: dict[str, Mean]
    """Every other test metric, over the seeds that finished."""
    against_control: Literal["better", "no better", "undecided"]
    """"undecided": one seed gives no interval."""
    rank: int
    """1 is best on the task, by mean; cells without a finished seed come last; 0: refused, hence none."""
    refused: str = ""
    """The gate that forbids ranking this architecture in the task's model, in words."""

    @property
    def task(self) -> str:
        """Task id."""
        return self.evidence.task

    @property
    def arch(self) -> str:
        """Architecture."""
        return self.evidence.arch

    @property
    def finished(self) -> int:
        """Seeds that finished."""
        return sum(score is not None for score in self.scores)

    @property
    def runs(self) -> tuple[Result, ...]:
        """One result per seed, in the plan's order."""
        return self.evidence.results

    @property
    def signed(self) -> list[float]:
        """The scores as the tests take them: larger is better, a failed run is below all."""
        sign = 1.0 if self.runs[0].direction == "max" else -1.0
        return [-math.inf if score is None else sign * score for score in self.scores]


class Pair(Record):
    """Two architectures on one task id."""

    task: str
    a: str
    b: str
    seeds: int
    difference: float | None
    """Mean of a minus mean of b, in the metric's unit; None where a side has no finished seed."""
    interval: tuple[float, float] | None
    improvement: float
    """Probability that a run of a beats a run of b; ties count half."""
    improvement_interval: tuple[float, float] | None
    """95 %; None with one seed."""
    p: float
    p_holm: float
    winner: str | None
    verdict: str
    """As printed."""

    @property
    def turned(self) -> Pair:
        """The same comparison as seen from b."""
        return self.model_copy(
            update={
                "a": self.b,
                "b": self.a,
                "difference": None if self.difference is None else -self.difference,
                "interval": self.interval and (-self.interval[1], -self.interval[0]),
                "improvement": 1 - self.improvement,
                "improvement_interval": self.improvement_interval
                and (1 - self.improvement_interval[1], 1 - self.improvement_interval[0]),
            }
        )


class Design(Record):
    """What the number of seeds and of comparisons can show at all."""

    seeds: int
    comparisons: int
    """Pairs printed: the family of Holm's correction."""
    level: float
    smallest_p: float
    """Smallest attainable exact two-sided p of one pair."""
    smallest_p_holm: float
    seeds_needed: int
    """Seeds a side with which the smallest p, corrected, reaches the level."""
    testable: bool


# ---------------------------------------------------------------- laws of cost


class Curve(Record):
    """What makes measurements of one architecture comparable along an axis: all but the length (or the batch)."""

    arch: str
    quantity: Quantity
    along: Literal["length", "length at constant tokens", "batch"]
    """What grows: the length at a constant batch, the length at a constant number of tokens per batch, the batch."""
    threads: int = 1
    track: Track = "best"
    form: str = ""


class Law(Record):
    """cost ~ length^slope, fitted on log scales to one curve."""

    curve: Curve
    slope: float
    interval: tuple[float, float] | None
    """95 %, of the slope; None with two points."""
    fit: float
    """R squared."""
    low: int
    high: int
    """The law was seen to hold from this length to that one."""
    points: int
    of: str
    """What grows as said: "seconds per batch", "bytes of activations", "ms per step"."""
    flags: tuple[str, ...] = ()
    """Of the points that it was fitted to: what disturbed them."""


class Crossover(Record):
    """From which length on one architecture costs less than another."""

    curve: Curve
    """Of `a`."""
    a: str
    b: str
    length: float | None
    """None: the curves do not meet where they were measured."""
    interval: tuple[float, float] | None
    """Where they may meet, with the spread of the repetitions."""
    low: int
    high: int
    """Lengths that both were measured at."""
    flags: tuple[str, ...] = ()
    """Of the points of both that it rests on: what disturbed them."""
    text: str
    """In words, with the better one on each side, and with its flags."""


class Front(Record):
    """Cost and quality of one cell."""

    task: str
    arch: str
    score: float | None
    seconds: float | None
    """To train one run: steps times seconds per step on a quiet machine, mean over seeds."""
    interval: tuple[float, float] | None
    to_target: float | None
    """Seconds to the target on validation, mean over the seeds that reach it."""
    reached: int
    """Seeds that reach the target."""
    target: float | None
    """The score on validation: halfway from the trivial control to the best score that any run of the task had."""
    item_ms: float | None
    """Milliseconds per item, once trained."""
    best: bool
    """No other architecture is both better and cheaper to train."""


# ---------------------------------------------------------------- reach


class Horizon(Record):
    """How far back one cell's answers depend on the input: a curve, and the lag where the effect has halved."""

    task: str
    arch: str
    kind: Literal["gradient", "intervention"]
    trained: bool
    lags: tuple[int, ...]
    effects: tuple[float, ...]
    """Median over seeds, relative to each seed's largest effect."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Smallest and largest over seeds."""
    horizon: float | None
    """Mean over seeds of the lag from which on the effect stays below half of its largest; a seed whose effect never
    does counts with the longest lag. None: nothing was measured."""
    interval: tuple[float, float] | None
    """95 % over seeds, from the lowest to the highest horizons that the gaps between the lags allow."""
    seeds: int
    beyond: int
    """Seeds whose effect is still above half at the longest lag: their horizon lies beyond it."""


class Stretch(Record):
    """Scores of one cell at a length that it was not trained on."""

    task: str
    arch: str
    trained_length: int
    length: int
    mean: float | None
    interval: tuple[float, float] | None
    seeds: int
    """Seeds that could read so many steps."""


class Held(Record):
    """The longest length (or delay) of a task at which an architecture still holds a reference score."""

    task: str
    """Name of the task, without its knob."""
    arch: str
    reference: float
    """Score: a share of the way from the trivial control to the ceiling."""
    level: float | None
    """Value of the knob; None: not even at the smallest."""
    levels: tuple[float, ...]
    """All values that were run."""
    text: str


class Recall(Record):
    """Bits that the answers recall of the sequence, against the state that carries them."""

    task: str
    arch: str
    bits: float
    interval: tuple[float, float] | None
    state_bytes: int
    per_byte: float
    seeds: int


class Finding(Record):
    """One sentence of the page, made from verdicts, with the section that holds its numbers."""

    kind: Literal["design", "gate", "accuracy", "control", "cost", "reach"]
    text: str
    detail: str
    """Effect sizes, intervals, number of seeds."""
    anchor: str
    overturn: str = ""
    """What would overturn it, with the numbers of the test that decided it."""


class Concern(Record):
    """One line of quality control."""

    kind: Literal[
        "missing", "failed", "range", "border", "control", "contended", "hardware", "dirty", "measurement", "gate"
    ]
    text: str
    task: str | None = None
    arch: str | None = None


class Summary(Record):
    """Everything the report says."""

    plan: Plan
    tasks: tuple[TaskSummary, ...]
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]
    design: Design
    gates: tuple[Gates, ...]
    measured: tuple[Measured, ...]
    counted: tuple[Counted, ...]
    paces: tuple[Pace, ...]
    laws: tuple[Law, ...]
    crossovers: tuple[Crossover, ...]
    fronts: tuple[Front, ...]
    reaches: tuple[Reaches, ...]
    horizons: tuple[Horizon, ...]
    stretches: tuple[Stretch, ...]
    held: tuple[Held, ...]
    recalls: tuple[Recall, ...]
    variants: tuple[Cell, ...]
    """Cells beside the grid: ablations with their bases, and published rows that were run."""
    ablated: tuple[Ablated, ...] = ()
    """Each cell of an ablation against its base."""
    certificates: tuple[Certificate, ...]
    aggregates: tuple[Aggregate, ...]
    profiles: tuple[Profile, ...]
    ranking: Ranking
    sensitivity: Sensitivity
    searches: tuple[Search, ...]
    matched: tuple[Matched, ...]
    claims: tuple[Claim, ...]
    ledger: tuple[Reproduction, ...]
    options: tuple[Options, ...]
    advice: tuple[Advice, ...]
    findings: tuple[Finding, ...]
    concerns: tuple[Concern, ...]

    def cell(self, task: str, arch: str) -> Cell:
        """The cell of a task id and an architecture."""
        return next(cell for cell in self.cells if (cell.task, cell.arch) == (task, arch))

    def pair(self, task: str, a: str, b: str) -> Pair:
        """The comparison of two architectures on a task id, as seen from `a`."""
        for pair in self.pairs:
            if (pair.task, pair.a, pair.b) == (task, a, b):
                return pair
        return self.pair(task, b, a).turned

    @property
    def measuring(self) -> dict[str, list[Provenance]]:
        """Where all measurements were made, by their kind."""
        return {
            "gates": [one.provenance for one in self.gates],
            "measurements": [one.provenance for one in self.measured],
            "counts": [one.provenance for one in self.counted],
            "times on tasks": [one.provenance for one in self.paces],
            "horizons": [one.provenance for one in self.reaches],
        }

    @property
    def outdone(self) -> list[TaskSummary]:
        """The tasks on which a strong control scores better than every ranked architecture."""
        ranked = {task.id: [cell for cell in self.of_task(task.id) if not cell.refused] for task in self.tasks}
        return [task for task in self.tasks if ranked[task.id] and all(map(task.outdone, ranked[task.id]))]

    def of_task(self, task: str) -> list[Cell]:
        """The cells of a task id, best first; refused ones last."""
        return sorted((cell for cell in self.cells if cell.task == task), key=lambda cell: cell.rank or len(self.cells))
