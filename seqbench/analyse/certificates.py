"""Certificates of tasks: what 0 and 1 stand for, whether architectures are told apart, how many steps are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from scipy import stats

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Certificate
from seqbench.analyse.findings import number, words
from seqbench.analyse.statistics import LEVEL, Array
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.measurements import Reaches

SATURATED = 0.99
"""Rescaled score from which on an architecture lies within a hundredth of the ceiling."""
HELD = 0.95
"""Share of the rescaled score that counts as held with fewer steps."""
PERMUTATIONS = 9_999
Contexts = Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]
"""Task id -> architecture -> steps that may be seen -> score of each seed, by the task's metric."""
FROM_LOSS = {"bits_per_character": lambda nats: nats / math.log(2), "perplexity": math.exp}
"""Metrics that are functions of the mean cross-entropy in nats."""


def certificates(tasks: Sequence[TaskSummary], cells: Sequence[Cell], contexts: Contexts) -> tuple[Certificate, ...]:
    """One for each task id, in the order given; `contexts` need not have every task."""
    return tuple(
        _certificate(task, [cell for cell in cells if cell.task == task.id], contexts.get(task.id, {}))
        for task in tasks
    )


def contexts(tasks: Sequence[TaskSummary], reaches: Sequence[Reaches]) -> Contexts:
    """Scores with so many steps, by the task's metric or turned into it from the cross-entropy; others are left out."""
    metrics = {task.id: task.spec.metric for task in tasks}
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for cell in reaches:
        metric = metrics.get(cell.task, "")
        for one in cell.contexts:
            if one.score is None or one.metric != ("cross_entropy" if metric in FROM_LOSS else metric):
                continue
            score = FROM_LOSS[metric](one.score) if metric in FROM_LOSS else one.score
            found.setdefault(cell.task, {}).setdefault(cell.arch, {}).setdefault(one.steps, []).append(score)
    return found


def rescaled(of: Certificate, cells: Sequence[Cell]) -> dict[str, Array]:
    """Scores per seed of every ranked architecture on one task: 0 is the trivial control, 1 the ceiling.

    A failed seed counts as the worst score seen on the task, all seeds of a cell without a finished one too. Scores
    below 0 and above 1 stay as they are. Empty where the task has no ceiling.
    """
    if of.ceiling is None:
        return {}
    width = of.ceiling - of.trivial
    counted = {cell.arch: (np.asarray(cell.counted) - of.trivial) / width for cell in cells}
    worst = min([0.0, *(float(scores.min()) for scores in counted.values() if scores.size)])
    return {
        cell.arch: counted[cell.arch] if cell.counted else np.full(len(cell.scores), worst)
        for cell in cells
        if not cell.refused
    }


def _certificate(
    task: TaskSummary, cells: Sequence[Cell], seen: Mapping[str, Mapping[int, Sequence[float]]]
) -> Certificate:
    metric, sign = task.spec.metric, 1.0 if task.spec.direction == "max" else -1.0
    trivial = task.trivial.metrics[metric]
    ceiling, source = _ceiling(task, cells)
    scale = ceiling is not None and sign * (ceiling - trivial) > 0
    bare = Certificate(
        task=task.id,
        trivial=trivial,
        strong=None if task.strong is None else task.strong.metrics[metric],
        ceiling=ceiling if scale else None,
        ceiling_of=source,
        between=0.0,
        within=0.0,
        discriminates=False,
        saturated=False,
    )
    scores = rescaled(bare, cells)
    p, smallest = discrimination(list(scores.values()))
    ranked = [cell for cell in cells if not cell.refused]
    steps, allowed = _allowed(seen, [cell.arch for cell in ranked])
    means = [float(values.mean()) for values in scores.values()]
    of = bare.model_copy(
        update={
            "between": float(np.std(means, ddof=1)) if len(means) > 1 else 0.0,
            "within": _pooled(list(scores.values())),
            "discriminates": p <= LEVEL,
            "saturated": bool(means) and min(means) >= SATURATED,
            "contexts": steps,
            "allowed": allowed,
            "needs": _needs(bare, steps, allowed, scores),
        }
    )
    return of.model_copy(update={"grey": "; ".join(_grey(task, of, cells, means, p, smallest))})


def _ceiling(task: TaskSummary, cells: Sequence[Cell]) -> tuple[float | None, str]:
    """What 1 stands for, and where it comes from: the spec, else the best seen of strong controls and of means."""
    if task.spec.ceiling is not None:
        return task.spec.ceiling, "the task: best known or possible score"
    sign = 1.0 if task.spec.direction == "max" else -1.0
    seen = [
        (control.metrics[task.spec.metric], f"best seen: the strong control {control.name}")
        for control in task.controls
        if control.kind == "strong"
    ]
    seen += [(c.mean, f"best seen: the mean of {c.arch}") for c in cells if c.mean is not None and not c.refused]
    return max(seen, key=lambda one: sign * one[0], default=(None, "nothing seen"))


def _pooled(groups: Sequence[Array]) -> float:
    """Standard deviation over seeds, pooled over architectures; 0 with one seed each."""
    freedom = sum(len(group) - 1 for group in groups)
    return math.sqrt(sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom) if freedom else 0.0


def _grey(
    task: TaskSummary, of: Certificate, cells: Sequence[Cell], means: Sequence[float], p: float, smallest: float
) -> Iterator[str]:
    """Why the task leaves the aggregate; with one architecture there is nothing to tell apart, hence no reason."""
    control = f"the trivial control {task.trivial.name}"
    ranked = [cell for cell in cells if not cell.refused]
    if not ranked:
        yield "no architecture is ranked on it"
    elif not any(cell.finished for cell in ranked):
        yield "no run finished"
    elif of.ceiling is None:
        what = (
            f"the ceiling is not beyond {control}" if task.spec.ceiling is not None else f"nothing seen beats {control}"
        )
        yield f"{what}: there is no scale"
    elif len(ranked) == 1 and len(cells) > 1:
        yield f"only {ranked[0].arch} is ranked on it"
    else:
        if max(means) <= 0:
            yield f"no architecture's mean is better than {control}"
        if of.saturated:
            yield f"saturated: {words([c.arch for c in ranked])} lie within a hundredth of the ceiling"
        if len(ranked) > 1 and smallest > LEVEL:
            seeds = len(ranked[0].scores)
            yield (
                f"not testable with {seeds} seed{'s' if seeds != 1 else ''}: the smallest attainable p of a difference "
                f"between {len(ranked)} architectures is {number(smallest)}"
            )
        elif len(ranked) > 1 and not of.discriminates:
            yield (
                f"no clear difference between architectures: their means spread by {number(of.between)}, seeds by "
                f"{number(of.within)} (Kruskal-Wallis over seeds, by permutation: p = {number(p)})"
            )


# ---------------------------------------------------------------- between architectures against between seeds


def discrimination(groups: Sequence[Array]) -> tuple[float, float]:
    """p that architectures score alike, and the smallest attainable: Kruskal & Wallis (1952) over seeds.

    By permutation of the ranks, so that it holds for few seeds and with ties: exact for two architectures, 9,999
    seeded draws for more (p at least 1e-4). Both 1 with fewer than two architectures.
    """
    if len(groups) < 2:
        return 1.0, 1.0
    sizes = [len(group) for group in groups]
    orders = math.factorial(sum(sizes)) // math.prod(math.factorial(size) for size in sizes)
    smallest = math.factorial(len(sizes)) / orders  # groups of one size, each a block of neighbouring ranks
    if len(groups) == 2:
        return statistics.exact_p(groups[0].tolist(), groups[1].tolist()), smallest
    ranks = stats.rankdata(np.round(np.concatenate(groups), 12))
    drawn = _null(tuple(sorted(ranks)), tuple(sizes))
    seen = _between(ranks[None], sizes)[0]
    return float(1 + np.sum(drawn >= seen - 1e-9)) / (1 + len(drawn)), smallest


def _between(ranks: Array, sizes: Sequence[int]) -> Array:
    """Of each row of ranks, the sum over groups of (sum of ranks)^2 / size, in which Kruskal's H is linear."""
    starts = np.cumsum([0, *sizes[:-1]])
    return np.asarray((np.add.reduceat(ranks, starts, axis=1) ** 2 / np.asarray(sizes)).sum(axis=1))


@lru_cache(maxsize=64)
def _null(ranks: tuple[float, ...], sizes: tuple[int, ...]) -> Array:
    """The statistic of ranks dealt out at random; the same for all tasks without ties."""
    dealt = np.tile(np.asarray(ranks), (PERMUTATIONS, 1))
    return _between(np.random.default_rng(0).permuted(dealt, axis=1), sizes)


# ---------------------------------------------------------------- range


def _allowed(
    seen: Mapping[str, Mapping[int, Sequence[float]]], archs: Sequence[str]
) -> tuple[tuple[int, ...], dict[str, tuple[float, ...]]]:
    """Numbers of steps at which every architecture has scores, and their means over seeds."""
    means = {a: {n: float(np.mean(v)) for n, v in seen[a].items() if len(v)} for a in archs if a in seen}
    means = {arch: of for arch, of in means.items() if of}
    steps = sorted(set.intersection(*(set(of) for of in means.values()))) if means else []
    return tuple(steps), {arch: tuple(of[n] for n in steps) for arch, of in means.items()} if steps else {}


def _needs(
    of: Certificate, steps: Sequence[int], allowed: Mapping[str, Sequence[float]], scores: Mapping[str, Array]
) -> int | None:
    """Fewest steps from which on the best architecture holds 95 % of its rescaled score with the most steps.

    That score rather than the cell's: it is of the same items. None where it is no better than the trivial control.
    """
    known = [arch for arch in allowed if arch in scores]
    if not known or of.ceiling is None:
        return None
    best = max(known, key=lambda arch: float(scores[arch].mean()))
    shares = (np.asarray(allowed[best]) - of.trivial) / (of.ceiling - of.trivial)
    if shares[-1] <= 0:
        return None
    short = np.flatnonzero(shares < HELD * shares[-1])
    return steps[int(short[-1]) + 1 if len(short) else 0]
