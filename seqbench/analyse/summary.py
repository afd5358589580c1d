"""The records that analysis hands to the report."""

from __future__ import annotations

from typing import Literal

from seqbench.config import Plan
from seqbench.records import Control, Measured, Provenance, Record, Result, Setting, Spec, Tuned


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
        trivial = [control for control in self.controls if control.kind == "trivial"]
        return (max if self.spec.direction == "max" else min)(trivial, key=lambda c: c.metrics[self.spec.metric])


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


class Mean(Record):
    """A metric over the seeds that finished."""

    mean: float
    interval: tuple[float, float] | None
    """95 % bootstrap interval; None with one seed."""
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
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the mean; None with one seed."""
    others: dict[str, Mean]
    """Every other test metric, over the seeds that finished."""
    against_control: Literal["better", "no better", "undecided"]
    """"undecided": one seed gives no interval."""
    rank: int
    """1 is best on the task, by mean; cells without a finished seed come last."""

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
    testable: bool


class Finding(Record):
    """One sentence of the page, made from verdicts, with the section that holds its numbers."""

    kind: Literal["design", "accuracy", "control", "cost"]
    text: str
    detail: str
    """Effect sizes, intervals, number of seeds."""
    anchor: str


class Concern(Record):
    """One line of quality control."""

    kind: Literal["failed", "border", "control", "contended", "hardware", "dirty", "measurement"]
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
    measured: tuple[Measured, ...]
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

    def of_task(self, task: str) -> list[Cell]:
        """The cells of a task id, best first."""
        return sorted((cell for cell in self.cells if cell.task == task), key=lambda cell: cell.rank)
