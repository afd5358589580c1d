"""Intervals and exact tests over seeds. The seed is the unit of replication, never the batch.

Every function takes scores in which larger is better or says so; -inf stands for a failed run
where only ranks matter. Nothing here depends on the clock: the generator is seeded.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05
CONFIDENCE = 0.95
RESAMPLES = 9_999
EXACT = 200_000
"""Up to this many permutations are enumerated (10 + 10 seeds have 184,756)."""

Array = NDArray[np.float64]


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean without the lowest and highest quarter (Agarwal et al. 2021, arXiv:2108.13264)."""
    return float(stats.trim_mean(values, 0.25))


def interval(*samples: Sequence[float]) -> tuple[float, float] | None:
    """95 % bootstrap interval of a mean, or of the first sample's mean minus the second's.

    BCa (Efron 1987); percentile where BCa is degenerate. None with fewer than two values in a sample.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if min(map(len, arrays)) < 2:
        return None
    if all(np.ptp(array) == 0 for array in arrays):
        point = float(_contrast(*arrays))
        return point, point
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a degenerate BCa says so in a warning, and in NaN
            found = stats.bootstrap(
                arrays,
                _contrast,
                n_resamples=RESAMPLES,
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(0),
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return float(found.low), float(found.high)


def _contrast(*samples: Array, axis: int = -1) -> Array:
    means = [np.mean(sample, axis=axis) for sample in samples]
    return np.asarray(means[0] if len(means) == 1 else means[0] - means[1])


def improvement(a: Sequence[float], b: Sequence[float]) -> float:
    """Probability that a run of `a` scores higher than one of `b`; ties count half (U / nm)."""
    left, right = np.asarray(a)[:, None], np.asarray(b)[None, :]
    return float(np.mean((left > right) + 0.5 * (left == right)))


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
        _contrast,
        permutation_type="independent",
        n_resamples=EXACT,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def smallest_p(a: int, b: int) -> float:
    """Smallest attainable exact two-sided p with `a` and `b` runs: both complete separations."""
    return min(1.0, 2 / comb(a + b, a))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values of Holm (1979), in the order given."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
