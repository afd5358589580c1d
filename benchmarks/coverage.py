"""How often intervals over few seeds hold the truth, and how often the tests find a difference that is not there.

    python benchmarks/coverage.py [--benchmarks N] [--resamples N] [--seeds N ...] [--part mean ...]

Draws many benchmarks from populations whose truth is known, and prints Markdown tables in percent: of the intervals
of each method, those that hold the truth; of families of comparisons without any difference, those in which the exact
test with Holm's correction names a winner. What seqbench uses is called from `seqbench.analyse.statistics` itself, but
for the bootstraps, which are vectorised here. A simulation, not a test: the exit code is 0.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from seqbench.analyse import statistics

Array = NDArray[np.float64]
Quantile = Callable[[Array], Array]
BLOCK = 250
"""Benchmarks resampled at once."""
FINE = (np.arange(1_000_000) + 0.5) / 1_000_000
COARSE = (np.arange(2_000) + 0.5) / 2_000
TAIL = (1 - statistics.CONFIDENCE) / 2


def failing(share: float) -> Quantile:
    """Seeds that learn score about 0.9, a share of them about 0.2."""
    bad, good = stats.norm(0.2, 0.03), stats.norm(0.9, 0.02)

    def quantile(u: Array) -> Array:
        learnt = good.ppf(np.clip((u - share) / (1 - share), 0, 1))
        return np.where(u < share, bad.ppf(np.clip(u / share, 0, 1)), learnt)

    return quantile


POPULATIONS: dict[str, Quantile] = {
    "normal": stats.norm.ppf,
    "uniform": stats.uniform.ppf,
    "heavy tails: t, 5 degrees": stats.t(5).ppf,
    "accuracy about 0.90: beta(45, 5)": stats.beta(45, 5).ppf,
    "skewed: gamma(4)": stats.gamma(4).ppf,
    "accuracy about 0.95: beta(19, 1)": stats.beta(19, 1).ppf,
    "very skewed: exponential": stats.expon.ppf,
    "1 of 5 seeds fails": failing(1 / 5),
    "1 of 3 seeds fails": failing(1 / 3),
    "1 of 2 seeds fails": failing(1 / 2),
}
PAIRS = [
    *((name, name) for name in POPULATIONS),
    ("normal", "uniform"),
    ("normal", "skewed: gamma(4)"),
    ("normal", "very skewed: exponential"),
    ("accuracy about 0.90: beta(45, 5)", "accuracy about 0.95: beta(19, 1)"),
    ("accuracy about 0.90: beta(45, 5)", "1 of 5 seeds fails"),
]


# ---------------------------------------------------------------- means and interquartile means


class Statistic(NamedTuple):
    """What is estimated, along the last axis."""

    value: Callable[[Array], Array]
    error: Callable[[Array], Array]
    """Its squared standard error."""


def _kept(x: Array) -> slice:
    cut = int(statistics.TRIM * x.shape[-1])
    return slice(cut, x.shape[-1] - cut)


def _middle(x: Array) -> Array:
    return np.sort(x, axis=-1)[..., _kept(x)].mean(axis=-1)


def _winsorised(x: Array) -> Array:
    """Squared standard error of a trimmed mean."""
    kept = np.sort(x, axis=-1)[..., _kept(x)]
    n, h = x.shape[-1], kept.shape[-1]
    pulled = np.clip(x, kept[..., :1], kept[..., -1:])
    return pulled.var(axis=-1, ddof=1) * (n - 1) / (h * (h - 1))


MEAN = Statistic(lambda x: x.mean(axis=-1), lambda x: x.var(axis=-1, ddof=1) / x.shape[-1])
MIDDLE = Statistic(_middle, _winsorised)


def contrast(values: Sequence[Array]) -> Array:
    return values[0] if len(values) == 1 else values[0] - values[1]


def trimmed(sample: Array) -> tuple[Array, Array]:
    """Student's t of a trimmed mean (Tukey & McLaughlin 1963; Yuen 1974)."""
    kept = sample[..., _kept(sample)].shape[-1]
    half = stats.t.ppf(1 - TAIL, kept - 1) * np.sqrt(MIDDLE.error(sample))
    return MIDDLE.value(sample) - half, MIDDLE.value(sample) + half


def bootstraps(
    samples: list[Array], of: Statistic, resamples: int, rng: np.random.Generator
) -> dict[str, tuple[Array, Array]]:
    """Limits by each bootstrap, from the same resamples."""
    n = samples[0].shape[-1]
    drawn = [np.take_along_axis(x[:, None], rng.integers(0, n, (len(x), resamples, n)), axis=-1) for x in samples]
    seen = contrast([of.value(x) for x in samples])
    found = np.sort(contrast([of.value(x) for x in drawn]), axis=1)
    spread = [np.sqrt(x.var(axis=-1, ddof=1) / n)[:, None, None] for x in samples]
    moved = [x + e * rng.normal(size=x.shape) for x, e in zip(drawn, spread, strict=True)]
    smooth = np.sort(contrast([of.value(x) for x in moved]), axis=1)
    even = np.full(len(seen), TAIL)
    wide = np.full(len(seen), special.ndtr(stats.t.ppf(TAIL, len(samples) * (n - 1)) * np.sqrt(n / (n - 1))))
    return {
        "percentile": (at(found, even), at(found, 1 - even)),
        "BCa": corrected(samples, of, seen, found),
        "smoothed": (at(smooth, even), at(smooth, 1 - even)),
        "bootstrap-t": studentised(samples, drawn, of, seen),
        "expanded percentile": (at(found, wide), at(found, 1 - wide)),
    }


def at(found: Array, share: Array) -> Array:
    """The quantile of each row of sorted values."""
    place = share * (found.shape[1] - 1)
    low = np.clip(place.astype(int), 0, found.shape[1] - 2)[:, None]
    below, above = (np.take_along_axis(found, low + step, axis=1)[:, 0] for step in (0, 1))
    return below + (place - low[:, 0]) * (above - below)


def corrected(samples: list[Array], of: Statistic, seen: Array, found: Array) -> tuple[Array, Array]:
    """BCa (Efron 1987), with the acceleration of all samples' jackknife values; percentile where it is degenerate."""
    cube, square = np.zeros(len(seen)), np.zeros(len(seen))
    for x in samples[:1] + [-x for x in samples[1:]]:
        n = x.shape[-1]
        left = np.stack([of.value(np.delete(x, i, axis=-1)) for i in range(n)], axis=-1)
        pull = (left.mean(axis=-1, keepdims=True) - left) * (n - 1) / n
        cube, square = cube + (pull**3).sum(axis=-1), square + (pull**2).sum(axis=-1)
    lift = cube / (6 * np.where(square > 0, square, 1) ** 1.5)
    below = (found < seen[:, None]).mean(axis=1) + (found == seen[:, None]).mean(axis=1) / 2
    bias = special.ndtri(np.clip(below, 1e-9, 1 - 1e-9))
    ends = (bias + special.ndtri(end) for end in (TAIL, 1 - TAIL))
    low, high = (at(found, special.ndtr(bias + end / (1 - lift * end))) for end in ends)
    return low, high


def studentised(samples: list[Array], drawn: list[Array], of: Statistic, seen: Array) -> tuple[Array, Array]:
    """Bootstrap-t (Hall 1988); infinite where too many resamples do not vary."""
    error = np.sqrt(sum(of.error(x) for x in drawn))
    moved = contrast([of.value(x) for x in drawn]) - seen[:, None]
    error[error < 1e-12], moved[np.abs(moved) < 1e-12] = 0, 0  # rounding, of values that are equal
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.sort(np.where(moved == 0, 0, moved / error), axis=1)
        own = np.sqrt(sum(of.error(x) for x in samples))
        low, high = (seen - t[:, round(end * (t.shape[1] - 1))] * own for end in (1 - TAIL, TAIL))
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def used(samples: list[Array]) -> tuple[Array, Array]:
    """`statistics.interval` of each benchmark."""
    ends = np.array([statistics.interval(*rows) for rows in zip(*samples, strict=True)])
    return ends[:, 0], ends[:, 1]


def covered(names: Sequence[str], of: Statistic, n: int, given: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """By method: percent of the intervals that hold the truth, and their median width."""
    rng = np.random.default_rng([n, *map(ord, "".join(names))])
    quantiles = [POPULATIONS[name] for name in names]
    truth = contrast([_truth(quantile, of) for quantile in quantiles])
    found: dict[str, list[tuple[Array, Array]]] = {}
    for _ in range(given.benchmarks // BLOCK):
        samples = [quantile(rng.random((BLOCK, n))) for quantile in quantiles]
        limits = bootstraps(samples, of, given.resamples, rng)
        if of is MEAN:
            limits["Student, Welch"] = used(samples)
        else:
            limits["Tukey-McLaughlin, Yuen"] = trimmed(samples[0])
        for method, ends in limits.items():
            found.setdefault(method, []).append(ends)
    return {method: _share(np.concatenate(ends, axis=1), truth) for method, ends in found.items()}


def _truth(quantile: Quantile, of: Statistic) -> Array:
    return of.value(quantile(FINE))


def _share(ends: Array, truth: Array) -> tuple[float, float]:
    held = (ends[0] - 1e-9 <= truth) & (truth <= ends[1] + 1e-9)
    return 100 * float(held.mean()), float(np.median(ends[1] - ends[0]))


def table(cells: Sequence[Sequence[str]], of: Statistic, usual: str, given: argparse.Namespace) -> None:
    """Percent covered, and in brackets the median width over that of the method in use."""
    for row, (n, names) in enumerate(itertools.product(given.seeds, cells)):
        found = covered(names, of, n, given)
        if not row:
            heading("seeds", "population", *found)
        width = found[usual][1]
        what = " against ".join(dict.fromkeys(names))
        line(str(n), what, *(f"{share:.1f} ({other / width:.2f})" for share, other in found.values()))


# ---------------------------------------------------------------- probability of improvement


def munzel(wins: Array) -> tuple[Array, Array, Array, Array]:
    """Limits by Brunner and Munzel (2000) and by the same on the logit scale, which has none where samples lie apart.

    From who wins each pair: (benchmarks, n, m).
    """
    n, m = wins.shape[1:]
    errors = np.stack([wins.mean(axis=2).var(axis=1, ddof=1) / n, wins.mean(axis=1).var(axis=1, ddof=1) / m])
    seen, total = wins.mean(axis=(1, 2)), errors.sum(axis=0)
    shares = errors / np.where(total > 0, total, 1)
    freedom = 1 / np.maximum(shares[0] ** 2 / (n - 1) + shares[1] ** 2 / (m - 1), 1e-9)
    half = special.stdtrit(freedom, 1 - TAIL) * np.sqrt(total)
    inside = np.where((seen > 0) & (seen < 1), seen, 0.5)
    low, high = (special.expit(special.logit(inside) + end * half / (inside * (1 - inside))) for end in (-1, 1))
    apart = (seen == 0) | (seen == 1)
    return seen - half, seen + half, np.where(apart, seen, low), np.where(apart, seen, high)


@cache
def newcombe(wins: float, n: int) -> tuple[float, float]:
    """`statistics.improvement_interval` of two samples of n values whose pairs are won so many times."""
    full, rest = divmod(int(wins), n)
    below = [full + (i < rest) for i in range(n)]  # how many of b = 0.5, 1.5, ... each value of a lies above
    found = statistics.improvement_interval([float(place) for place in below], [i + 0.5 for i in range(n)])
    assert found is not None
    return found


SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0)
"""Of `a`, in standard deviations."""
SHAPES = {
    "normal": (stats.norm.ppf, stats.norm.ppf),
    "normal, 3 times the spread": (stats.norm.ppf, stats.norm(0, 3).ppf),
    "heavy tails: t, 5 degrees": (stats.t(5).ppf, stats.t(5).ppf),
    "very skewed: exponential": (stats.expon.ppf, stats.expon.ppf),
}


def improvements(given: argparse.Namespace) -> None:
    """Percent of the intervals of the probability of improvement that hold the truth."""
    heading("seeds", "population", "probability", "Newcombe, method 5", "Brunner-Munzel t", "Brunner-Munzel logit t")
    for n, (name, (first, second)), shift in itertools.product(given.seeds, SHAPES.items(), SHIFTS):
        rng = np.random.default_rng([n, int(10 * shift), *map(ord, name)])
        truth = float((first(COARSE)[:, None] + shift > second(COARSE)).mean())
        a, b = first(rng.random((given.benchmarks, n, 1))) + shift, second(rng.random((given.benchmarks, 1, n)))
        wins = (a > b).astype(float)
        own = np.array([newcombe(total, n) for total in wins.sum(axis=(1, 2))])
        straight_low, straight_high, low, high = munzel(wins)
        ends = ((own[:, 0], own[:, 1]), (straight_low, straight_high), (low, high))
        shares = [100 * float(np.mean((low <= truth) & (truth <= high))) for low, high in ends]
        line(str(n), name, f"{truth:.3f}", *(f"{share:.1f}" for share in shares))


# ---------------------------------------------------------------- false positives


def false_positives(given: argparse.Namespace) -> None:
    """Percent of families of comparisons, none of them with a difference, in which a winner is named."""
    heading("seeds", "tasks", "comparisons", "population", "any winner, with Holm", "one pair, without")
    names = ["normal", "very skewed: exponential", "1 of 5 seeds fails"]
    for n, tasks, name in itertools.product(given.seeds, (1, 5, 30), names):
        rng = np.random.default_rng([n, tasks, *map(ord, name)])
        family, single = [], []
        for _ in range(given.benchmarks):
            scores = POPULATIONS[name](rng.random((tasks, 4, n)))
            pairs = [pair for task in scores for pair in itertools.combinations(task, 2)]
            p = [_p(float((a[:, None] > b).sum()), n) for a, b in pairs]
            family.append(min(statistics.holm(p)) <= statistics.LEVEL)
            single.append(np.mean(np.array(p) <= statistics.LEVEL))
        line(str(n), str(tasks), str(6 * tasks), name, f"{100 * np.mean(family):.1f}", f"{100 * np.mean(single):.1f}")


@cache
def _p(wins: float, n: int) -> float:
    """`statistics.exact_p` of two samples of n values, no two alike, whose pairs are won so many times."""
    full, rest = divmod(int(wins), n)
    below = [full + (i < rest) for i in range(n)]
    return statistics.exact_p([place + i / (2 * n) for i, place in enumerate(below)], [i + 0.6 for i in range(n)])


def heading(*names: str) -> None:
    line(*names)
    line(*("---" for _ in names))


def line(*words: str) -> None:
    print("|", " | ".join(words), "|", flush=True)


PARTS = {
    "mean": lambda given: table([(name,) for name in POPULATIONS], MEAN, "Student, Welch", given),
    "difference": lambda given: table(PAIRS, MEAN, "Student, Welch", given),
    "interquartile": lambda given: table([(name,) for name in POPULATIONS], MIDDLE, "expanded percentile", given),
    "improvement": improvements,
    "exact": false_positives,
}


def main() -> None:
    """Print a table for each part."""
    parser = argparse.ArgumentParser(description="Coverage of intervals and false positives of tests over few seeds.")
    parser.add_argument("--benchmarks", type=int, default=2000, help="simulated per cell (default 2000)")
    parser.add_argument("--resamples", type=int, default=999, help="of each bootstrap (default 999)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 7, 8, 10])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    given = parser.parse_args()
    for part in given.part:
        print(f"\n{part}: {given.benchmarks} benchmarks a cell, {given.resamples} resamples\n")
        PARTS[part](given)


if __name__ == "__main__":
    main()
