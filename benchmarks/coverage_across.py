"""How often the 95 % intervals of scores pooled over tasks hold the truth, on simulated benchmarks.

    OMP_NUM_THREADS=1 python benchmarks/coverage_across.py [--benchmarks N] [--seeds 5 7 8] [--runs normal ...]

Each benchmark has 5 to 15 tasks; each task has a mean and a spread of its own, and its runs are drawn from one of

- normal: means from 0 to 1, standard deviations log-normal around 0.05 (a factor of 2 either way);
- skewed: Beta, with a long tail downwards near the ceiling;
- failing: as normal, but a run fails and counts as 0 with a chance of 2 %, on every fourth task or so of 20 %.

The truth is the mean, or the interquartile mean, of infinitely many runs of each task. A simulation with a fixed seed,
not a test: the exit code is 0. Its standard error is 0.5 points with 2,000 benchmarks. What it printed (in brackets:
percentile intervals of the same draws, not stretched):

    runs     seeds    mean (percentile)   interquartile mean (percentile)
    normal       5   96.1%      (90.5%)                93.7%      (88.8%)
    normal       7   94.5%      (90.8%)                94.2%      (91.0%)
    normal       8   94.9%      (92.0%)                94.2%      (91.1%)
    skewed       5   94.7%      (90.3%)                95.2%      (90.5%)
    skewed       7   94.8%      (91.9%)                94.6%      (92.4%)
    skewed       8   95.0%      (92.2%)                94.1%      (91.6%)
    failing      5   90.8%      (85.4%)                92.0%      (86.5%)
    failing      7   92.8%      (88.9%)                93.5%      (89.0%)
    failing      8   93.5%      (91.2%)                93.4%      (90.5%)

Failures so rare that few seeds show none of them leave intervals too narrow, whatever is done with the seeds seen.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from seqbench.analyse import across
from seqbench.analyse.statistics import Array

KINDS = ("normal", "skewed", "failing")
FEWEST, MOST = 5, 15
QUANTILES = (np.arange(250) + 0.5) / 250
"""Of a task's runs, in place of infinitely many."""
TOGETHER = 20
"""Benchmarks with as many tasks, whose intervals are found in one call."""
ROW = "{:<8} {:>5} {:>10} {:>7} {:>13} {:>7} {:>13}"


def benchmark(kind: str, tasks: int, seeds: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Runs (tasks, seeds), and the quantiles of each task's runs (tasks, 250)."""
    of = generator.random((tasks, seeds))
    if kind == "skewed":
        mean, weight = generator.uniform(0.3, 0.98, (tasks, 1)), generator.uniform(5, 50, (tasks, 1))
        beta = stats.beta(mean * weight, (1 - mean) * weight)
        return beta.ppf(of), beta.ppf(QUANTILES[None])
    normal = stats.norm(generator.uniform(0, 1, (tasks, 1)), generator.lognormal(np.log(0.05), 0.7, (tasks, 1)))
    if kind == "normal":
        return normal.ppf(of), normal.ppf(QUANTILES[None])
    fails = np.where(generator.random((tasks, 1)) < 0.25, 0.2, 0.02)
    left, right = (
        np.where(at < fails, 0.0, normal.ppf(np.clip((at - fails) / (1 - fails), 1e-9, 1 - 1e-9)))
        for at in (of, QUANTILES[None])
    )
    return left, right


def covered(kind: str, tasks: int, seeds: int, count: int, generator: np.random.Generator) -> Array:
    """For each benchmark whether the intervals of mean and interquartile mean hold the truth: ours, then percentile."""
    drawn = [benchmark(kind, tasks, seeds, generator) for _ in range(count)]
    values, runs = np.stack([one for one, _ in drawn]), np.stack([one for _, one in drawn])
    truth = runs.mean(axis=(1, 2)), across.interquartile_means(runs)
    middle = values.mean(axis=(1, 2)), across.interquartile_means(values)
    found = []
    for aim, centre, draws in zip(truth, middle, across.draws(values), strict=True):
        plain = centre + (draws - centre) / across.stretch(values)
        for ends in (across.interval(values, draws), across.interval(values, plain)):
            found.append([low <= at <= high for at, (low, high) in zip(aim, filter(None, ends), strict=True)])
    return np.array(found, dtype=np.float64).T


def main() -> None:
    """Print a row per kind and number of seeds."""
    parser = argparse.ArgumentParser(description="Coverage of the intervals of scores pooled over tasks.")
    parser.add_argument("--benchmarks", type=int, default=2_000, help="simulated for each row (default 2000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 7, 8], help="runs of a task (default 5 7 8)")
    parser.add_argument("--runs", nargs="+", choices=KINDS, default=KINDS, help="how runs are drawn (default: all)")
    given = parser.parse_args()
    print("share of 95 % intervals that hold the truth; percentile: the same draws, not stretched")
    print(ROW.format("runs", "seeds", "benchmarks", "mean", "(percentile)", "IQM", "(percentile)"))
    for kind in given.runs:
        for seeds in given.seeds:
            generator = np.random.default_rng([seeds, KINDS.index(kind)])
            sizes = [min(TOGETHER, given.benchmarks - begun) for begun in range(0, given.benchmarks, TOGETHER)]
            found = [covered(kind, int(generator.integers(FEWEST, MOST + 1)), seeds, size, generator) for size in sizes]
            shares = [f"{share:.1%}" for share in np.concatenate(found).mean(axis=0)]
            print(ROW.format(kind, seeds, given.benchmarks, *shares), flush=True)


if __name__ == "__main__":
    main()
