"""How the scores of one cell differ between two result sets, and whether that is more than noise. No torch.

The interval and the p value are those of one t test: of the differences by seed where both sets have the same seeds and
the same data (paired), else Welch's. Holm's correction goes over all cells of a comparison that can be tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from seqbench.analyse import statistics
from seqbench.analyse.result_sets import Entry, counted, worst
from seqbench.records import Record

ROUNDING = 1e-12
"""Relative to the largest score: what varies by less does not vary."""

Verdict = Literal["equal", "within noise", "drift", "not testable", "not comparable", "no finished run"]


class Drift(Record):
    """One cell that both sets have."""

    task: str
    arch: str
    """Its label: the architecture, with the name of its variant."""
    metric: str
    direction: Literal["max", "min"]
    mean_a: float | None
    """Failed runs count as the worst score seen in either set; None where no run finished."""
    mean_b: float | None
    seeds_a: int
    seeds_b: int
    failed_a: int
    failed_b: int
    difference: float | None
    """B minus A, in the metric's unit."""
    interval: tuple[float, float] | None
    """95 %; None with one seed."""
    method: Literal["paired", "Welch", ""]
    borrowed: bool = False
    """The seeds of this cell do not vary: its spread is that of the task's other cells."""
    p: float | None = None
    p_holm: float | None = None
    toward: Literal["better", "worse", ""] = ""
    """What B is, as seen from A."""
    verdict: Verdict
    note: str = ""

    @property
    def differs(self) -> bool:
        """Whether the two differ by more than chance, or in a way that no test is needed for."""
        return self.verdict in ("drift", "not comparable", "no finished run")


class _Spread(NamedTuple):
    """What a t test rests on."""

    variances: tuple[float, ...]
    """Of each sample."""
    sizes: tuple[int, ...]

    def error(self, variances: Sequence[float]) -> float:
        """Standard error of the (difference of) means."""
        return math.sqrt(sum(v / n for v, n in zip(variances, self.sizes, strict=True)))


class _Compared(NamedTuple):
    a: Entry
    b: Entry
    left: Mapping[int, float]
    right: Mapping[int, float]
    paired: bool

    @property
    def samples(self) -> tuple[list[float], ...]:
        """The differences by seed, or the scores of B and of A."""
        if self.paired:
            return ([self.right[seed] - self.left[seed] for seed in self.left],)
        return list(self.right.values()), list(self.left.values())

    @property
    def centre(self) -> float:
        """Mean of B minus mean of A."""
        return float(np.mean(list(self.right.values())) - np.mean(list(self.left.values())))

    @property
    def same(self) -> bool:
        """Seed by seed the same score."""
        return self.paired and self.left == self.right

    @property
    def spread(self) -> _Spread | None:
        """None with fewer than two values in a sample."""
        if min(map(len, self.samples)) < 2:
            return None
        scale = ROUNDING * max(map(abs, (*self.left.values(), *self.right.values())))
        variances = [float(np.var(one, ddof=1)) if np.ptp(one) > scale else 0.0 for one in self.samples]
        return _Spread(tuple(variances), tuple(map(len, self.samples)))


def drifts(
    pairs: Sequence[tuple[Entry, Entry]], trivial: Mapping[tuple[str, str], Sequence[float]]
) -> tuple[Drift, ...]:
    """Every cell of A beside the same of B, in the order given.

    `trivial`: scores of trivial controls, by task id and metric.
    """
    found: list[Drift] = []
    for task in dict.fromkeys(a.task for a, _ in pairs):
        own = [(a, b) for a, b in pairs if a.task == task]
        found += _of_task(own, trivial)
    tested = [one for one in found if one.p is not None]
    adjusted = dict(
        zip(((one.task, one.arch) for one in tested), statistics.holm([one.p or 0.0 for one in tested]), strict=True)
    )
    decided = {(one.task, one.arch): _decide(one, adjusted.get((one.task, one.arch))) for one in found}
    return tuple(decided[a.name] for a, _ in pairs)


def _decide(drift: Drift, p_holm: float | None) -> Drift:
    if p_holm is None or drift.verdict == "equal":
        return drift.model_copy(update={"p_holm": p_holm})
    verdict: Verdict = "drift" if p_holm <= statistics.LEVEL else "within noise"
    return drift.model_copy(update={"p_holm": p_holm, "verdict": verdict})


def _of_task(pairs: Sequence[tuple[Entry, Entry]], trivial: Mapping[tuple[str, str], Sequence[float]]) -> list[Drift]:
    compared = []
    for a, b in pairs:
        alike = [one for pair in pairs for one in pair if one.scored == a.scored]
        failed = worst(alike, trivial.get((a.task, a.metric), ())) if a.scored == b.scored else None
        paired = set(a.runs) == set(b.runs) and all(a.runs[seed].data == b.runs[seed].data for seed in a.runs)
        compared.append(_Compared(a, b, counted(a, failed), counted(b, failed), paired))
    spreads = [one.spread if one.left and one.right else None for one in compared]
    return [_drift(one, spread, _pooled(spread, spreads)) for one, spread in zip(compared, spreads, strict=True)]


def _pooled(own: _Spread | None, others: Sequence[_Spread | None]) -> tuple[float, int]:
    """Variance of those samples of the task that vary, and its degrees of freedom; of the same kind of test."""
    if own is None:
        return 0.0, 0
    varied = [
        (variance, size - 1)
        for one in others
        if one is not None and len(one.sizes) == len(own.sizes)
        for variance, size in zip(one.variances, one.sizes, strict=True)
        if variance
    ]
    freedom = sum(n for _, n in varied)
    return (sum(v * n for v, n in varied) / freedom, freedom) if varied else (0.0, 0)


def _drift(one: _Compared, spread: _Spread | None, pooled: tuple[float, int]) -> Drift:
    a, b = one.a, one.b
    if a.scored != b.scored:
        note = f"A is ranked by {a.metric} ({a.direction}), B by {b.metric} ({b.direction})"
        return _plain(a, b, "not comparable", note)
    if not (one.left and one.right):
        if not (one.left or one.right):
            return _plain(a, b, "equal", "no run finished in either")
        name, mean = ("B", one.left) if one.left else ("A", one.right)
        values = {"mean_a" if one.left else "mean_b": float(np.mean(list(mean.values())))}
        return _plain(a, b, "no finished run", f"in {name}").model_copy(update=values)
    centre = 0.0 if one.same else one.centre
    good = centre > 0 if a.direction == "max" else centre < 0
    found = _plain(a, b, "equal" if one.same else "not testable", "" if spread or one.same else "one seed").model_copy(
        update={
            "mean_a": float(np.mean(list(one.left.values()))),
            "mean_b": float(np.mean(list(one.right.values()))),
            "difference": centre,
            "method": "paired" if one.paired else "Welch",
            "toward": "" if centre == 0 else "better" if good else "worse",
        }
    )
    if spread is None:
        return found
    interval, p, borrowed = _test(one, centre, spread, pooled)
    return found.model_copy(update={"interval": interval, "p": p, "borrowed": borrowed})


def _test(
    one: _Compared, centre: float, spread: _Spread, pooled: tuple[float, int]
) -> tuple[tuple[float, float] | None, float, bool]:
    """95 % interval of the difference, two-sided p of no difference, and whether the spread is that of other cells.

    Where no seed differs from another there is no spread to test against. Were it taken for 0, a single item of the
    test split more or less in each of three seeds would be called certain: so it is that of the task's other cells.
    """
    if any(spread.variances):
        # from moments: scipy warns of samples whose values are equal, and one of two may be
        moments = [(float(np.mean(x)), v**0.5, len(x)) for x, v in zip(one.samples, spread.variances, strict=True)]
        if len(moments) == 1:
            moments.append((0.0, 0.0, 2))  # no difference, known exactly: Welch's test is then Student's
        p = stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue
        return statistics.interval(*one.samples), float(p), False
    variance, freedom = pooled
    if centre == 0 or not variance:
        return (centre, centre), 1.0 if centre == 0 else 0.0, False
    error = spread.error([variance] * len(spread.sizes))
    pooled_t = stats.t(freedom, centre, error)
    low, high = pooled_t.interval(statistics.CONFIDENCE)
    return (float(low), float(high)), float(2 * min(pooled_t.cdf(0.0), pooled_t.sf(0.0))), True


def _plain(a: Entry, b: Entry, verdict: Verdict, note: str) -> Drift:
    """What stands there without a test."""
    return Drift(
        task=a.task,
        arch=a.label,
        metric=a.metric,
        direction=a.direction,
        mean_a=None,
        mean_b=None,
        seeds_a=len(a.runs),
        seeds_b=len(b.runs),
        failed_a=len(a.runs) - len(a.finished),
        failed_b=len(b.runs) - len(b.finished),
        difference=None,
        interval=None,
        method="",
        verdict=verdict,
        note=note,
    )
