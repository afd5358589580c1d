"""Architectures over tasks: scores pooled, profiles, ranks. The task is the unit; its levels are averaged first.

Scores are rescaled (`certificates.rescaled`), of tasks that count alone. Intervals are of a stratified bootstrap
(Agarwal et al. 2021, arXiv:2108.13264, sec. 4.1): seeds are drawn within each task. With few seeds such percentile
intervals are too narrow, so that their ends are moved away from the estimate (`stretch`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from seqbench.analyse import certificates as of_tasks
from seqbench.analyse import rank_tests, statistics
from seqbench.analyse.conclusions import Aggregate, Certificate, Profile, Ranking, RankPair
from seqbench.analyse.findings import number, words
from seqbench.analyse.statistics import CONFIDENCE, LEVEL, Array
from seqbench.analyse.summary import Cell

DRAWS = 2_000
THRESHOLDS = np.linspace(0.0, 1.0, 51)
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


class Scores(NamedTuple):
    """Rescaled scores per run of the task ids that count, of architectures that are ranked on all of them."""

    archs: tuple[str, ...]
    ids: tuple[str, ...]
    names: tuple[str, ...]
    """For each task id the name of its task."""
    runs: Array
    """(architectures, task ids, seeds)."""
    refused: tuple[str, ...] = ()
    """Architectures left out, since a gate forbids to rank them on a task that counts."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of tasks, each once."""
        return tuple(dict.fromkeys(self.names))

    @property
    def levels(self) -> Array:
        """(tasks, task ids): the weights that average the levels of a task."""
        same = np.array([[name == task for name in self.names] for task in self.tasks], dtype=np.float64)
        return np.asarray(same / same.sum(axis=1, keepdims=True))

    @property
    def values(self) -> Array:
        """(architectures, tasks, seeds): seed by seed the mean over the levels of a task."""
        return np.asarray(np.einsum("ti,ais->ats", self.levels, self.runs))

    def without(self, task: str) -> Scores:
        """All but one task, by name; nothing where it is the only one."""
        kept = [place for place, name in enumerate(self.names) if name != task]
        if not kept:
            return EMPTY
        ids, names = ([of[place] for place in kept] for of in (self.ids, self.names))
        return Scores(self.archs, tuple(ids), tuple(names), self.runs[:, kept], self.refused)


EMPTY = Scores((), (), (), np.zeros((0, 0, 0)))


def scores(certificates: Sequence[Certificate], cells: Sequence[Cell]) -> Scores:
    """What counts: task ids whose certificate is not grey. Every cell has as many seeds."""
    counting = [certificate for certificate in certificates if not certificate.grey]
    of = {one.task: [cell for cell in cells if cell.task == one.task] for one in counting}
    found = {one.task: of_tasks.rescaled(one, of[one.task]) for one in counting}
    every = list(dict.fromkeys(cell.arch for own in of.values() for cell in own))
    archs = [arch for arch in every if all(arch in values for values in found.values())]
    refused = tuple(arch for arch in every if arch not in archs)
    if not archs:
        return EMPTY._replace(refused=refused)
    names = tuple(of[task][0].evidence.setting.task for task in found)
    runs = np.array([[values[arch] for values in found.values()] for arch in archs])
    return Scores(tuple(archs), tuple(found), names, runs, refused)


# ---------------------------------------------------------------- pooled scores


def aggregates(certificates: Sequence[Certificate], cells: Sequence[Cell]) -> tuple[Aggregate, ...]:
    """One for each architecture that is ranked on all tasks that count; none where no task counts.

    Intervals and shares of draws need two seeds: with one there is no interval, and the point estimate alone is drawn.
    """
    found = scores(certificates, cells)
    if not found.archs:
        return ()
    values = found.values
    means, middles = draws(values)
    spans = [interval(values, drawn) for drawn in (means, middles)]
    highest = means >= means.max(axis=1, keepdims=True) - 1e-12
    best = (highest / highest.sum(axis=1, keepdims=True)).mean(axis=0)
    middle, rank = interquartile_means(values), ranks(values).mean(axis=0)
    return tuple(
        Aggregate(
            arch=arch,
            tasks=len(found.tasks),
            mean=float(values[place].mean()),
            mean_interval=spans[0][place],
            interquartile_mean=float(middle[place]),
            interquartile_interval=spans[1][place],
            mean_rank=float(rank[place]),
            best=float(best[place]),
        )
        for place, arch in enumerate(found.archs)
    )


def interquartile_means(values: Array) -> Array:
    """(architectures, tasks, seeds) -> (architectures,): over all runs together (Agarwal et al. 2021, sec. 4.3)."""
    return np.asarray([statistics.interquartile_mean(own.ravel().tolist()) for own in values])


def ranks(values: Array) -> Array:
    """(architectures, tasks, seeds) -> (tasks, architectures): 1 is the highest mean over seeds, ties share."""
    return np.asarray(stats.rankdata(-np.round(values.mean(axis=2).T, 12), axis=1))


def draws(values: Array) -> tuple[Array, Array]:
    """Means and interquartile means (draws, architectures) of seeds drawn anew within each task, seeded.

    As far from the estimate as a sample of so few seeds needs: `stretch`.
    """
    count = _counts(values)
    archs, tasks, seeds = values.shape
    runs = tasks * seeds
    cut = int(0.25 * runs)  # as in scipy.stats.trim_mean
    means, middles = np.empty((2, DRAWS, archs))
    for place, own in enumerate(values):
        order = np.argsort(own, axis=None)
        weights = count[:, place].reshape(DRAWS, runs)[:, order]
        last = np.cumsum(weights, axis=1)
        kept = np.clip(np.minimum(last, runs - cut) - np.maximum(last - weights, cut), 0, None)
        means[:, place] = weights @ own.ravel()[order] / runs
        middles[:, place] = kept @ own.ravel()[order] / (runs - 2 * cut)
    factor = stretch(values)
    mean, middle = values.mean(axis=(1, 2)), interquartile_means(values)
    return mean + factor * (means - mean), middle + factor * (middles - middle)


def _counts(values: Array) -> Array:
    """(draws, architectures, tasks, seeds): how often each run is drawn."""
    seeds = values.shape[2]
    drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=(DRAWS, *values.shape[:2]))
    return drawn.astype(np.float64)


def stretch(values: Array) -> Array:
    """(architectures, tasks, seeds) -> (architectures,): by how much the bootstrap's deviations are too small.

    n drawn from n spread by (n - 1) / n of the variance; and the variance is itself estimated, with the degrees of
    freedom of Welch (1947) and Satterthwaite (1946) over tasks. Over 2,000 simulated benchmarks of 5 to 15 tasks each,
    intervals held the truth in 94 to 96 % with 5, 7 or 8 seeds, without it in 89 to 92 %; with rare failures, which 5
    seeds may not show, in 91 to 94 % (benchmarks/coverage_across.py).
    """
    seeds = values.shape[2]
    if seeds < 2:
        return np.ones(len(values))
    parts = values.var(axis=2, ddof=1)
    largest = parts.max(axis=1, keepdims=True)
    parts = np.divide(parts, largest, out=np.ones_like(parts), where=largest > 0)
    freedom = parts.sum(axis=1) ** 2 / (parts**2 / (seeds - 1)).sum(axis=1)
    student = stats.t.ppf(TAILS[1], freedom) / stats.norm.ppf(TAILS[1])
    return np.asarray(math.sqrt(seeds / (seeds - 1)) * student)


def interval(values: Array, drawn: Array) -> list[tuple[float, float] | None]:
    """For each architecture the middle 95 % of the draws; None with one seed."""
    if values.shape[2] < 2:
        return [None] * len(values)
    return [(float(low), float(high)) for low, high in np.quantile(drawn, TAILS, axis=0).T]


def profiles(certificates: Sequence[Certificate], cells: Sequence[Cell]) -> tuple[Profile, ...]:
    """For each architecture the share of runs above thresholds from 0 to 1; every task counts the same.

    With one seed nothing is known of the band: it goes from 0 to 1.
    """
    found = scores(certificates, cells)
    if not found.archs:
        return ()
    weights = found.levels.mean(axis=0)[:, None, None] / found.runs.shape[2]
    above = (found.runs[..., None] > THRESHOLDS) * weights  # (architectures, task ids, seeds, thresholds)
    count = _counts(found.runs)
    return tuple(_profile(arch, above[place], count[:, place]) for place, arch in enumerate(found.archs))


def _profile(arch: str, above: Array, count: Array) -> Profile:
    """`above` (task ids, seeds, thresholds): what each run adds to the share; `count` (draws, task ids, seeds)."""
    seeds, shares = above.shape[1], above.sum(axis=(0, 1))
    low, high = np.zeros_like(shares), np.ones_like(shares)
    if seeds > 1:
        ends = np.quantile(count.reshape(len(count), -1) @ above.reshape(-1, above.shape[2]), TAILS, axis=0)
        low, high = np.clip(shares + math.sqrt(seeds / (seeds - 1)) * (ends - shares), 0, 1)
    curves = {"shares": shares, "low": low, "high": high}
    return Profile(
        arch=arch,
        thresholds=tuple(THRESHOLDS.tolist()),
        **{name: tuple(np.clip(curve, 0, 1).tolist()) for name, curve in curves.items()},
    )


# ---------------------------------------------------------------- ranks


def ranking(certificates: Sequence[Certificate], cells: Sequence[Cell]) -> Ranking:
    """Friedman's test over tasks; where it finds a difference, every pair by Wilcoxon's signed ranks with Holm.

    Nothing is tested below `needed` tasks: of pairs there are differences, but no p that says anything.
    """
    found = scores(certificates, cells)
    tasks, archs = len(found.tasks), found.archs
    enough = rank_tests.needed(len(archs))
    if len(archs) < 2:
        return Ranking(tasks=tasks, needed=enough, testable=False, text=" ".join(_nothing(found)))
    means = found.values.mean(axis=2).T
    placed = ranks(found.values)
    testable = tasks >= enough
    p = rank_tests.friedman(placed) if testable and len(archs) > 2 else None
    differ = testable and (p is None or p <= LEVEL)
    pairs = rank_tests.pairs(archs, means, f"not testable with {_tasks(tasks)}" if not testable else "", differ)
    mean_ranks = dict(zip(archs, placed.mean(axis=0).tolist(), strict=True))
    sentences = [*_design(len(archs), tasks, enough), *(_words(mean_ranks, pairs, p, tasks) if testable else ())]
    return Ranking(
        tasks=tasks,
        needed=enough,
        testable=testable,
        text=" ".join([*sentences, *_aside(found)]),
        mean_ranks=mean_ranks,
        friedman_p=p,
        pairs=pairs,
        cliques=rank_tests.cliques(mean_ranks, pairs) if testable else (),
    )


# ---------------------------------------------------------------- in words


def _tasks(count: int) -> str:
    return f"{count} task{'s' if count != 1 else ''}"


def _nothing(found: Scores) -> Iterator[str]:
    if found.archs:
        yield f"Nothing to rank: {found.archs[0]} is alone."
    elif found.refused:
        yield "Nothing to rank: no architecture is ranked on every task that counts."
    else:
        yield "Nothing to rank: no task counts."
    yield from _aside(found)


def _design(archs: int, tasks: int, enough: int) -> Iterator[str]:
    """What so many tasks can show at all."""
    p, corrected = rank_tests.smallest_p(archs, tasks)
    pairs = math.comb(archs, 2)
    after = f", {number(corrected)} after Holm's correction over {pairs} pairs" if pairs > 1 else ""
    yield f"With {_tasks(tasks)} the smallest attainable p of a pair is {number(p)}{after}."
    if tasks < enough:
        yield f"Not testable with {_tasks(tasks)}: {enough} would do."


def _words(ranking: Mapping[str, float], pairs: Sequence[RankPair], p: float | None, tasks: int) -> Iterator[str]:
    """What was found; the best by mean rank first."""
    if p is not None:
        finds = "a difference" if p <= LEVEL else "no difference between architectures"
        yield f"Friedman's test finds {finds} (p = {number(p)})."
    order = sorted(ranking, key=lambda arch: ranking[arch])
    better = rank_tests.beaten(pairs)
    if better:
        said = "; ".join(
            f"{arch} is better than {words([low for low in order if low in better[arch]])}"
            for arch in order
            if arch in better
        )
        worst = number(max(pair.p_holm for pair in pairs if rank_tests.BETTER in pair.verdict))
        yield f"By Wilcoxon's test over tasks {said} (p ≤ {worst} after Holm)."
    elif p is None or p <= LEVEL:
        yield "No pair differs by Wilcoxon's test over tasks."
    if len(order) > 2:
        distance = rank_tests.critical_difference(len(order), tasks)
        yield f"Nemenyi's critical difference would be {number(distance)} ranks."


def _aside(found: Scores) -> Iterator[str]:
    """What was averaged, and who was left out."""
    if len(found.ids) > len(found.tasks):
        yield (
            f"The task is the unit: {len(found.ids)} task ids are {_tasks(len(found.tasks))}, since levels of one task "
            "are not independent and are averaged first."
        )
    if found.refused:
        verb = "is" if len(found.refused) == 1 else "are"
        yield f"Left out: {words(found.refused)}, which {verb} not ranked on every task that counts."
