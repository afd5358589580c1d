"""What many tasks, settings and measurements say together: records that analysis hands to the report."""

from __future__ import annotations

from typing import Literal

from seqbench.records import Record

Interval = tuple[float, float]


# ---------------------------------------------------------------- across tasks


class Aggregate(Record):
    """One architecture over all tasks that count, on scores rescaled: 0 is the trivial control, 1 the ceiling."""

    arch: str
    tasks: int
    mean: float
    mean_interval: Interval | None
    """95 %, stratified bootstrap: seeds are drawn within each task."""
    interquartile_mean: float
    interquartile_interval: Interval | None
    mean_rank: float
    best: float
    """Share of the bootstrap draws in which its mean is the highest of all."""


class Profile(Record):
    """Share of an architecture's runs with a rescaled score above each threshold (Agarwal et al. 2021, sec. 4.2)."""

    arch: str
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Pointwise 95 % band, stratified bootstrap."""


class RankPair(Record):
    """Two architectures over tasks: the task is the unit."""

    a: str
    b: str
    difference: float
    """Median over tasks of the difference of rescaled scores."""
    p: float
    p_holm: float
    verdict: str


class Ranking(Record):
    """Friedman's test over tasks, then pairs by Wilcoxon with Holm's correction."""

    tasks: int
    needed: int
    """Tasks below which no critical-difference diagram is drawn."""
    testable: bool
    text: str
    """As printed: what was found, or why nothing can be."""
    mean_ranks: dict[str, float] = {}
    friedman_p: float | None = None
    pairs: tuple[RankPair, ...] = ()
    cliques: tuple[tuple[str, ...], ...] = ()
    """Groups, by mean rank, within which no pair differs; drawn as bars."""


class Choice(Record):
    """One defensible way of making the ranking, and whom it names."""

    name: str
    winner: str | None
    """None: nobody can be named, with the reason in `note`."""
    note: str = ""


class Sensitivity(Record):
    """How often the winner changes over defensible choices."""

    usual: str | None
    """The winner by the choice that the page makes."""
    choices: tuple[Choice, ...]
    changed: float | None
    """Share of the choices that name another winner, of those that name one."""
    text: str


# ---------------------------------------------------------------- which one to use


Prices = tuple[float | None, float | None, float | None, int, int]
"""Milliseconds per streamed step, after the longest context that all architectures reached; peak of a training step at
the task's length, MB; seconds to train one run; bytes that one sequence carries on; parameters. The first three have
three significant digits; None: not measured."""


class Option(Record):
    """One architecture on one task, as whoever must choose sees it."""

    arch: str
    out: str = ""
    """Why it is no candidate, in a few words; empty: it is one."""
    rescaled: float
    """The mean over seeds, rescaled: 0 is the trivial control, 1 the ceiling; where nobody gets beyond the control, -1
    is the worst mean."""
    better_than: tuple[str, ...]
    """Candidates that it beats by the verdicts of pairs."""
    costs: Prices


class Options(Record):
    """Who may be chosen on one task, with what it costs and how probable it is that it is the best."""

    task: str
    """Task id."""
    name: str
    """Of the task, without its knob."""
    family: str
    length: int
    """Steps."""
    seeds: int
    context: int | None
    """Steps before the streamed step whose latency is given; None: none was timed."""
    options: tuple[Option, ...]
    """In the plan's order."""
    odds: tuple[tuple[int, ...], ...]
    """For every subset of the options, bit n of its place being option n, the probability of each member in turn that
    it is the best of the subset, per mille; empty where a member is no candidate. Of many options a single row: of all.
    Nothing with one seed."""


class Choosable(Record):
    """One architecture over the tasks asked about, within the limits given."""

    arch: str
    best: float | None
    """Probability that it is the best of those within the limits, per cent, mean over the tasks."""
    rescaled: float
    """Mean over the tasks."""
    costs: Prices
    """Of the costliest of the tasks."""
    out: str
    """Why it is left out; empty: it is on the front."""


class Advice(Record):
    """What is best for a family of tasks and a band of lengths."""

    family: str
    band: str
    tasks: tuple[str, ...]
    """Task ids that it rests on."""
    rows: tuple[Choosable, ...]
    """The front first, each part by its probability."""
    text: str


# ---------------------------------------------------------------- certificates of tasks


class Certificate(Record):
    """Whether a task can tell architectures apart, and whether it needs range."""

    task: str
    trivial: float
    strong: float | None
    ceiling: float | None
    """What 1 stands for in rescaled scores: the spec's, else the best seen of strong control and runs."""
    ceiling_of: str
    """Where the ceiling comes from, in words."""
    between: float
    """Standard deviation of the architectures' means, rescaled."""
    within: float
    """Standard deviation over seeds, pooled over architectures, rescaled."""
    discriminates: bool
    saturated: bool
    """All architectures within a hundredth of the ceiling."""
    contexts: tuple[int, ...] = ()
    """Steps that models were allowed to see, before the answer."""
    allowed: dict[str, tuple[float, ...]] = {}
    """By architecture, the mean score with so many steps."""
    needs: int | None = None
    """Smallest context at which the best architecture holds 95 % of its rescaled score; None: not measured."""
    grey: str = ""
    """Why the task leaves the aggregate; empty: it counts."""


# ---------------------------------------------------------------- tuning and matching


class Search(Record):
    """What tuning cost one cell, and what more of it would have brought."""

    task: str
    arch: str
    rates: tuple[float, ...]
    scores: tuple[float | None, ...]
    """Mean validation score of each rate, over tuning seeds; None: a trial failed."""
    steps: int
    """Optimiser steps that all trials were given; one that stops early takes fewer."""
    seconds: float | None
    """Of those, at the pace of the cell on the quiet machine."""
    expected: tuple[float | None, ...]
    """Expected best validation score after 1, 2, ... trials drawn at random, a trial being a rate with all its tuning
    seeds (Dodge et al. 2019, sec. 3.1)."""
    border: bool


Rule = Literal["parameters", "training time", "arithmetic", "state bytes"]


class Matched(Record):
    """Ranks on one task under one matching rule."""

    task: str
    rule: Rule
    scores: dict[str, float | None]
    """By architecture; on validation where the rule cuts training short."""
    ranks: dict[str, int]
    changed: tuple[str, ...]
    """Architectures whose rank differs from that at equal parameters by the same score."""
    budget: str
    """What all were given, in words."""
    note: str = ""
    """Why there are no ranks."""


# ---------------------------------------------------------------- ablations


class Ablated(Record):
    """A cell with one change of its settings beside the same cell without it."""

    name: str
    """Of the ablation."""
    task: str
    arch: str
    label: str
    """Of the changed cell."""
    base: str
    """Label of the cell without the change; empty: it was not run."""
    change: str
    """Settings that differ: before → after."""
    difference: float | None = None
    """Mean score with the change less that without; a failed run counts as the worst seen on the task."""
    interval: Interval | None = None
    """95 % interval of it."""
    improvement: float | None = None
    """Probability that a run with the change is better than one without."""
    p: float | None = None
    p_holm: float | None = None
    """Over all ablated cells."""
    reading: str


# ---------------------------------------------------------------- claims and published numbers


class Ground(Record):
    """One cell or measurement that a claim rests on."""

    text: str
    """What was compared, with its numbers."""
    effect: float | None
    interval: Interval | None
    p: float | None = None
    supports: Literal["supports", "refutes", "undecided", "missing"]
    anchor: str = ""
    """Section of the page that holds the numbers."""


class Claim(Record):
    """A piece of folklore, and what the runs say of it."""

    number: int
    title: str
    """As people say it."""
    part: str
    """Which statement of it is tested here; several parts make one claim."""
    measure: str
    margin: str
    """What was declared beforehand as the least that counts."""
    verdict: Literal["supported", "refuted", "undecided"]
    text: str
    """The verdict in a sentence; of an undecided claim, what would decide it."""
    effect: float | None = None
    interval: Interval | None = None
    unit: str = ""
    grounds: tuple[Ground, ...] = ()


class Reproduction(Record):
    """One published number, and what was found at its setting."""

    name: str
    source: str
    setting: str
    metric: str
    published: float
    margin: float
    """Largest distance that counts as equal, declared beforehand."""
    digits: int | None = None
    """Decimals that were published and must be equal; None: equal is what lies within the margin."""
    found: float | None
    interval: Interval | None
    """90 %, which an equivalence test at 5 % looks at (two one-sided tests)."""
    seeds: int
    verdict: Literal["reproduced", "not reproduced", "undecided", "not run here"]
    text: str
    """In words: with the cost where it was not run."""
    task: str = ""
    """Task id that it was made again on; empty: it was not run."""
    label: str = ""
    """Of the cell; empty: a control of the task."""
