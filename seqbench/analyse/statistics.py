"""Intervals, exact tests and effect sizes over seeds. The seed is the unit of replication, never the batch.

Every function takes scores in which larger is better or says so; -inf stands for a failed run
where only ranks matter. Nothing here depends on the clock: the generator is seeded.
How often each interval holds the truth at 3 to 10 seeds: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

LEVEL = 0.05
CONFIDENCE = 0.95
METHOD = (
    "Student's t for a mean, Welch's t for a difference of means, the expanded percentile bootstrap for an "
    "interquartile mean, Newcombe's method 5 for a probability of improvement"
)
"""How the intervals are made, as printed."""
TRIM = 0.25
RESAMPLES = 9_999
EXACT = 200_000
"""Up to this many permutations are enumerated (10 + 10 seeds have 184,756)."""

Array = NDArray[np.float64]
Interval = tuple[float, float]


# ---------------------------------------------------------------- means


def interval(*samples: Sequence[float], confidence: float = CONFIDENCE, at_least: float = -math.inf) -> Interval | None:
    """Interval of a mean (Student 1908), or of the first sample's mean minus the second's (Welch 1947).

    Welch's degrees of freedom are, for one sample, Student's n - 1. `at_least` is the smallest value that the mean can
    have, where there is one. None with fewer than two values in a sample; a point where no sample varies.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if min(map(len, arrays)) < 2:
        return None
    means = [float(np.mean(array)) for array in arrays]
    centre = means[0] - sum(means[1:])
    # equal values: their mean may be rounded, which would leave a variance
    errors = np.array([np.var(array, ddof=1) / len(array) if np.ptp(array) else 0.0 for array in arrays])
    total = errors.sum()
    if total == 0:
        return centre, centre
    freedom = 1 / sum(share**2 / (len(array) - 1) for share, array in zip(errors / total, arrays, strict=True))
    half = float(special.stdtrit(freedom, (1 + confidence) / 2) * math.sqrt(total))
    return max(centre - half, at_least), centre + half


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean without the lowest and highest quarter (Agarwal et al. 2021, arXiv:2108.13264)."""
    return float(stats.trim_mean(values, TRIM))


def interquartile_interval(values: Sequence[float]) -> Interval | None:
    """95 % interval of the interquartile mean: expanded percentile bootstrap (Hesterberg 2015, arXiv:1411.5279).

    The percentiles lie further out than 2.5 % and 97.5 %, by as much as Student's t lies beyond the normal and the
    sample's spread below the population's. With fewer than four values none is trimmed, so the interval is the mean's.
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n < 4 or not np.ptp(array):
        return interval(array.tolist())
    tail = stats.norm.cdf(stats.t.ppf((1 - CONFIDENCE) / 2, n - 1) * math.sqrt(n / (n - 1)))
    found = stats.bootstrap(
        (array,),
        lambda sample, axis: stats.trim_mean(sample, TRIM, axis=axis),
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


class Equivalence(NamedTuple):
    """What an equivalence test found."""

    mean: float
    interval: Interval | None
    """90 %, which two one-sided tests at 5 % look at; None with one value."""
    equal: bool | None
    """True: it lies within the margin; False: wholly outside; None: neither, or no interval."""


def equivalence(sample: Sequence[float], value: float, margin: float, at_least: float = -math.inf) -> Equivalence:
    """Whether a mean equals `value` within `margin`: two one-sided t tests at 5 % (Schuirmann 1987).

    `at_least`: as in `interval`.
    """
    mean = float(np.mean(sample))
    found = interval(sample, confidence=1 - 2 * LEVEL, at_least=at_least)
    equal = None
    if found is not None:
        low, high = found[0] - value, found[1] - value
        if -margin <= low and high <= margin:
            equal = True
        elif high < -margin or low > margin:
            equal = False
    return Equivalence(mean, found, equal)


# ---------------------------------------------------------------- pairs


def improvement(a: Sequence[float], b: Sequence[float]) -> float:
    """Probability that a run of `a` scores higher than one of `b`; ties count half (U / nm)."""
    left, right = np.asarray(a)[:, None], np.asarray(b)[None, :]
    return float(np.mean((left > right) + 0.5 * (left == right)))


def improvement_interval(a: Sequence[float], b: Sequence[float]) -> Interval | None:
    """95 % interval of `improvement`: Newcombe (2006, Statistics in Medicine 25:559), method 5.

    Its ends are the probabilities from which the one seen lies 1.96 standard errors away, with the error that each of
    them would have; so it stays within 0 and 1 and has a width where the samples lie wholly apart. None with fewer than
    two values in a sample.
    """
    if min(len(a), len(b)) < 2:
        return None
    seen = improvement(a, b)
    low = 0.0 if seen == 0 else _reaching(seen, len(a), len(b))
    high = 1.0 if seen == 1 else 1 - _reaching(1 - seen, len(a), len(b))
    return low, high


def _reaching(seen: float, n: int, m: int) -> float:
    """The smallest probability within whose error `seen` (above 0) lies."""
    others = (n + m) / 2 - 1
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)

    def beyond(p: float) -> float:
        # (seen - p)^2 - z^2 V(p), over 1 - p so that the end is no root where seen = 1
        variance = p * (1 + others * ((1 - p) / (2 - p) + p / (1 + p))) / (n * m)
        distance = 1 - p if seen == 1 else (seen - p) ** 2 / (1 - p)
        return float(distance - z**2 * variance)

    return float(optimize.brentq(beyond, 0.0, seen))


def exact_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided exact p of the Mann-Whitney test; with ties, by permutation of the ranks.

    Beyond `EXACT` permutations, the latter is a seeded Monte Carlo estimate.
    """
    ranks = stats.rankdata([*a, *b])
    left, right = ranks[: len(a)], ranks[len(a) :]
    if len(set(ranks)) == len(ranks):
        return float(stats.mannwhitneyu(left, right, method="exact").pvalue)
    found = stats.permutation_test(
        (left, right),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="independent",
        n_resamples=EXACT,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


@cache
def fewest_wins(n: int, m: int, p: float) -> int | None:
    """The fewest of the n m pairs of runs that one side may win (none tied) for the exact p to be `p` or less.

    None where even all of them are too few.
    """
    found = None
    for wins in range(n * m, n * m // 2, -1):
        full, rest = divmod(wins, n)  # the runs of b lie at 0.5, 1.5, ...: how many of them each run of a lies above
        above = [full + (i < rest) for i in range(n)]
        if stats.mannwhitneyu(above, np.arange(m) + 0.5, method="exact").pvalue > p * (1 + 1e-9):
            break
        found = wins
    return found


def smallest_p(a: int, b: int) -> float:
    """Smallest attainable exact two-sided p with `a` and `b` runs: both complete separations."""
    return min(1.0, 2 / math.comb(a + b, a))


def seeds_needed(comparisons: int, level: float = LEVEL) -> int:
    """Seeds per side with which the smallest attainable p of so many comparisons reaches `level` after Holm."""
    return next(n for n in count(1) if smallest_p(n, n) * max(1, comparisons) <= level)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values of Holm (1979), in the order given."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


# ---------------------------------------------------------------- searches


def expected_best(scores: Sequence[float | None], direction: Literal["max", "min"]) -> tuple[float | None, ...]:
    """Expected best score after 1, 2, ... n of the trials seen (Dodge et al. 2019, arXiv:1909.03004, sec. 3.1).

    Trials are drawn with replacement. A failed one (None) counts as the worst of those that finished; None throughout
    where none did.
    """
    sign = 1.0 if direction == "max" else -1.0
    finished = [sign * score for score in scores if score is not None]
    if not finished:
        return (None,) * len(scores)
    values = np.sort([min(finished) if score is None else sign * score for score in scores])
    trials = np.arange(len(values) + 1)
    below = (trials / len(values)) ** trials[1:, None]  # (trials, values + 1): all of so many lie below
    return tuple((sign * np.diff(below, axis=1) @ values).tolist())
