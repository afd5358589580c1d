"""Tests over tasks: Friedman, then pairs by Wilcoxon's signed ranks with Holm (Demšar 2006, JMLR 7, 1-30)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import RankPair
from seqbench.analyse.statistics import LEVEL, Array

NEEDED, NEEDED_FEW, FEW = 10, 8, 4
"""Tasks below which nothing is ranked; with up to `FEW` architectures, `NEEDED_FEW` (Demšar 2006, sec. 3.2.2)."""
BETTER = " better than "


def smallest_p(archs: int, tasks: int) -> tuple[float, float]:
    """Smallest attainable two-sided p of Wilcoxon's test over so many tasks, and after Holm over all pairs."""
    p = min(1.0, 2.0 ** (1 - tasks))
    return p, min(1.0, p * max(1, math.comb(archs, 2)))


def needed(archs: int) -> int:
    """Tasks from which on a critical-difference diagram is drawn; enough for a pair to reach the level after Holm."""
    enough = NEEDED_FEW if archs <= FEW else NEEDED
    while smallest_p(archs, enough)[1] > LEVEL:
        enough += 1
    return enough


def friedman(placed: Array) -> float:
    """p of Friedman's test by the F of Iman & Davenport (1980), from ranks (tasks, architectures), three at least.

    Where all tasks rank alike, F is infinite; p is then that of all tasks having one order by chance.
    """
    tasks, archs = placed.shape
    if np.all(placed == placed[:, :1]):
        return 1.0
    f = iman_davenport(float(stats.friedmanchisquare(*placed.T).statistic), archs, tasks)
    least = math.pow(math.factorial(archs), 1 - tasks)
    return max(least, float(stats.f.sf(f, archs - 1, (archs - 1) * (tasks - 1))))


def iman_davenport(statistic: float, archs: int, tasks: int) -> float:
    """F with k - 1 and (k - 1)(N - 1) degrees of freedom from Friedman's chi-squared (Demšar 2006, sec. 3.2.2)."""
    rest = tasks * (archs - 1) - statistic
    return (tasks - 1) * statistic / rest if rest > 1e-9 else math.inf


def critical_difference(archs: int, tasks: int) -> float:
    """Difference of mean ranks that Nemenyi's test asks for at 5 % (Demšar 2006, sec. 3.2.2)."""
    q = float(stats.studentized_range.ppf(1 - LEVEL, archs, np.inf)) / math.sqrt(2)
    return q * math.sqrt(archs * (archs + 1) / (6 * tasks))


def signed_ranks(differences: Array) -> tuple[float, float]:
    """Two-sided exact p of Wilcoxon's signed-rank test, and the sum of positive minus that of negative ranks.

    Over all signs of the ranks as they are, so that it holds with ties. Zeros keep their rank and favour neither side
    (Demšar 2006, sec. 3.1.3). `scipy.stats.wilcoxon` is exact in reasonable time without ties and zeros only.
    """
    rounded = np.round(differences, 12)
    doubled = np.rint(2 * stats.rankdata(np.abs(rounded))).astype(int)[rounded != 0]
    side = float(np.sign(rounded[rounded != 0]) @ doubled) / 2
    chances = np.ones(1)  # of each sum of positive ranks, doubled
    for rank in doubled:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    sums = np.arange(len(chances)) - (len(chances) - 1) / 2
    return min(1.0, float(chances[np.abs(sums) >= abs(side) - 1e-9].sum())), side


def pairs(archs: Sequence[str], means: Array, verdict: str, differ: bool) -> tuple[RankPair, ...]:
    """All pairs from mean scores (tasks, architectures); `differ`: a p at the level names the better one."""
    places = list(combinations(range(len(archs)), 2))
    apart = [means[:, a] - means[:, b] for a, b in places]
    found = [signed_ranks(one) for one in apart]
    adjusted = statistics.holm([p for p, _ in found])
    compared = []
    for (a, b), one, (p, side), p_holm in zip(places, apart, found, adjusted, strict=True):
        said = verdict or "no clear difference"
        if differ and p_holm <= LEVEL:
            better, worse = (a, b) if side > 0 else (b, a)
            said = f"{archs[better]}{BETTER}{archs[worse]}"
        compared.append(
            RankPair(a=archs[a], b=archs[b], difference=float(np.median(one)), p=p, p_holm=p_holm, verdict=said)
        )
    return tuple(compared)


def beaten(of: Sequence[RankPair]) -> dict[str, list[str]]:
    """By architecture, whom it is better than."""
    found: dict[str, list[str]] = {}
    for pair in of:
        winner, named, loser = pair.verdict.partition(BETTER)
        if named:
            found.setdefault(winner, []).append(loser)
    return found


def cliques(mean_ranks: Mapping[str, float], of: Sequence[RankPair]) -> tuple[tuple[str, ...], ...]:
    """The longest runs of neighbours by mean rank within which no pair differs; an architecture alone is one too."""
    order = sorted(mean_ranks, key=lambda arch: mean_ranks[arch])
    differ = {frozenset((winner, loser)) for winner, losers in beaten(of).items() for loser in losers}
    found: list[tuple[str, ...]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and all({one, order[end]} not in differ for one in order[start:end]):
            end += 1
        group = tuple(order[start:end])
        if not any(set(group) <= set(earlier) for earlier in found):
            found.append(group)
    return tuple(found)
