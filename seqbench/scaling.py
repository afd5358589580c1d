"""How cost grows with length: a power law, where two curves meet, and a polynomial that says what fits a memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from seqbench.errors import DataError

CONFIDENCE = 0.95
FEWEST = 4
"""Points that a power law rests on, where there are so many: three leave a slope's interval nearly without meaning."""
STRAIGHT, CROOKED = 0.02, 0.10
"""Largest deviation from the line, as a share of the cost: up to the first a run is a line whatever the noise, beyond
the second it is none whatever the noise."""

EXACT = 0.002
"""Share of its bytes that a point may be off a curve of memory: allocators round up, and else counts are exact."""
DUST = 1e-9
"""Share of the bytes of the longest sequence below which a term is the rounding of the fit."""

Array = NDArray[np.float64]


# ---------------------------------------------------------------- power laws


@dataclass(frozen=True)
class PowerLaw:
    """cost ~ length^slope, and the lengths at which it was seen to hold."""

    slope: float
    interval: tuple[float, float] | None
    """95 % t interval of the slope; None with two points."""
    fit: float
    """R squared on log scales; 1 where all costs are equal."""
    low: float
    high: float
    """Smallest and largest length of the run that was fitted."""
    points: int
    """Lengths in that run."""


def power_law(lengths: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Least squares of log cost on log length, over the longest run of the largest lengths that is a straight line.

    Short sequences are ruled by overhead that does not grow, and a quadratic term may show only in long ones: the
    slope over all lengths is then none that the cost has anywhere. So the shortest lengths are left out one by one
    until the rest is straight, down to four points (or all of them, where there are fewer). A run is straight if no
    point is off its line by more than 10 %, and, where one is off by more than 2 %, a quadratic term is not significant
    (two-sided t test at 5 %): both overhead and a second term bend the curve, noise does not. The quadratic term of
    exact counts is always significant; 2 % of curvature are let pass.

    Costs in any unit. Raises DataError for fewer than two lengths, repeated ones, or numbers that are not positive.
    """
    x, y = _logs(lengths, costs)
    fewest = min(FEWEST, len(x))
    start = next(n for n in range(len(x)) if len(x) - n == fewest or _straight(x[n:], y[n:]))
    x, y = x[start:], y[start:]
    slope, residuals = _line(x, y)
    unexplained, spread = float(residuals @ residuals), float(np.square(y - y.mean()).sum())
    interval = None
    if len(x) > 2:
        error = math.sqrt(unexplained / (len(x) - 2) / float(np.square(x - x.mean()).sum()))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2)) * error
        interval = slope - half, slope + half
    kept = sorted(lengths)[start:]
    fit = 1.0 if np.ptp(y) == 0 else 1 - unexplained / spread
    return PowerLaw(slope, interval, fit, kept[0], kept[-1], len(kept))


def _logs(lengths: Sequence[float], costs: Sequence[float]) -> tuple[Array, Array]:
    """Logarithms, by length."""
    x, y = np.asarray(lengths, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if x.shape != y.shape or not len(set(lengths)) == len(lengths) >= 2 or not _positive(x, y):
        raise DataError(
            "no power law can be fitted",
            f"lengths {list(lengths)}, costs {list(costs)}",
            "give two or more lengths, each once, with a positive cost for each",
        )
    order = np.argsort(x)
    return np.log(x[order]), np.log(y[order])


def _positive(*arrays: Array) -> bool:
    return all(bool(np.isfinite(array).all() and (array > 0).all()) for array in arrays)


def _line(x: Array, y: Array) -> tuple[float, Array]:
    """Slope and residuals of the least-squares line."""
    across, up = x - x.mean(), y - y.mean()
    slope = 0.0 if np.ptp(y) == 0 else float(across @ up / (across @ across))
    return slope, up - slope * across


def _straight(x: Array, y: Array) -> bool:
    """Whether a line describes the points; more than three of them."""
    _, residuals = _line(x, y)
    worst = float(np.expm1(np.abs(residuals).max()))
    if not STRAIGHT < worst <= CROOKED:
        return worst <= STRAIGHT
    bend = _line(x, np.square(x - x.mean()))[1]  # what a line does not explain of a square
    size = float(bend @ bend)
    curvature = float(bend @ residuals) / size
    left = max(float(residuals @ residuals) - curvature**2 * size, 0.0)
    error = math.sqrt(left / (len(x) - 3) / size)
    return abs(curvature) <= float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 3)) * error


# ---------------------------------------------------------------- where two curves meet


class Band(NamedTuple):
    """A cost at one length, with its spread."""

    length: int
    low: float
    median: float
    high: float


Side = Literal["a", "b"]


@dataclass(frozen=True)
class Crossing:
    """Where two curves of cost meet, and which is the cheaper one on either side."""

    length: float | None
    """Of the last crossing; None: they do not cross where both were measured."""
    interval: tuple[float, float] | None
    """The earliest and the latest length at which their bands allow them to meet there."""
    below: Side | None
    above: Side | None
    """The cheaper one right below and above the crossing; without one, at all `clear` lengths. None: neither."""
    times: int
    """How often they cross."""
    lengths: tuple[int, ...]
    """At which both were measured."""
    clear: tuple[int, ...]
    """Those of `lengths` at which the bands do not overlap."""


def crossover(a: Sequence[Band], b: Sequence[Band]) -> Crossing | None:
    """Where the curves `a` and `b` meet, within the lengths that both have; None where these are fewer than two.

    Costs are positive; between common lengths they are interpolated linearly on log scales. Curves have crossed only
    where one is cheaper at some length, the other at a longer one, and the bands (low to high) overlap at neither: what
    the spread may explain is no crossing. The crossing is where the medians meet between these two lengths. Of several
    crossings the last one counts, since it says what holds for long sequences.
    """
    left, right = ({band.length: band for band in curve} for curve in (a, b))
    lengths = tuple(sorted(left.keys() & right.keys()))
    if len(lengths) < 2:
        return None
    x = np.log(lengths)
    # log a - log b at its smallest, in the middle, and at its largest
    low = np.array([math.log(left[n].low / right[n].high) for n in lengths])
    middle = np.array([math.log(left[n].median / right[n].median) for n in lengths])
    high = np.array([math.log(left[n].high / right[n].low) for n in lengths])
    sides: dict[int, Side] = {n: "a" if high[n] < 0 else "b" for n in range(len(x)) if high[n] < 0 or low[n] > 0}
    clear = tuple(lengths[n] for n in sides)
    changes = [(n, m) for n, m in pairwise(sides) if sides[n] != sides[m]]
    if not changes:
        winner = next(iter(sides.values()), None)
        return Crossing(None, None, winner, winner, 0, lengths, clear)
    first, last = changes[-1]
    span = slice(first, last + 1)
    early, late = (high, low) if sides[first] == "a" else (low, high)
    interval = _zeros(x[span], early[span])[0], _zeros(x[span], late[span])[-1]
    length = _zeros(x[span], middle[span])[-1]
    return Crossing(length, interval, sides[first], sides[last], len(changes), lengths, clear)


def _zeros(x: Array, y: Array) -> list[float]:
    """exp(x) wherever the line through the points is zero; it is of one sign at one end, of the other at the other."""
    found = []
    for (left, right), (up, down) in zip(pairwise(x), pairwise(y), strict=True):
        if up != down and up * down <= 0:
            found.append(left + (right - left) * up / (up - down))
    return [float(np.exp(place)) for place in found]


# ---------------------------------------------------------------- what fits a memory


@dataclass(frozen=True)
class Polynomial:
    """bytes = constant + linear L + quadratic L^2: the form of peak memory against length (or batch).

    Parameters stay, activations grow with length, and scores of attention, where they are kept, with its square.
    """

    constant: float
    linear: float
    quadratic: float

    @classmethod
    def fit(cls, lengths: Sequence[int], counts: Sequence[float]) -> Polynomial:
        """Least squares of the relative error with coefficients that are not negative (Lawson & Hanson 1974, ch. 23).

        The peak of short sequences may fall into another phase (the optimiser's step) than that of long ones, which
        are what is asked about: the shortest are left out one by one, down to three, until no point is off by more
        than 0.2 %. Raises DataError for fewer than three different lengths, or numbers that are not positive.
        """
        x, y = np.asarray(lengths, dtype=np.float64), np.asarray(counts, dtype=np.float64)
        if x.shape != y.shape or len(set(lengths)) < 3 or not _positive(x, y):
            raise DataError(
                "no curve of memory can be fitted",
                f"lengths {list(lengths)}, bytes {list(counts)}",
                "give three or more different lengths, with a positive number of bytes for each",
            )
        order = np.argsort(x)
        x, y = x[order], y[order]
        while True:
            columns = np.stack([np.ones_like(x), x, x**2], axis=1) / y[:, None]
            scale = np.linalg.norm(columns, axis=0)  # lengths squared are far from 1, where rounding would decide
            found = optimize.nnls(columns / scale, np.ones_like(y))[0] / scale
            if len(set(x[1:])) < 3 or np.abs(columns @ found - 1).max() <= EXACT:
                found[columns[-1] * found < DUST] = 0.0
                return cls(*found.tolist())
            x, y = x[1:], y[1:]

    def at(self, length: float) -> float:
        """Bytes predicted for a length."""
        return self.constant + (self.linear + self.quadratic * length) * length

    def largest(self, limit: float) -> int:
        """The largest length whose predicted bytes are at most `limit`; 0 where none is.

        Raises DataError for a curve that does not grow: any length is within it, or none.
        """
        if self.linear == self.quadratic == 0:
            raise DataError(
                "no largest length can be predicted",
                f"bytes stay at {self.constant:g}",
                "measure longer lengths: where memory did not grow, they do not say how it does",
            )
        left = limit - self.constant
        if left <= 0:
            return 0
        # the root of the quadratic in the form that does not cancel, and holds without a quadratic term too
        root = 2 * left / (self.linear + math.sqrt(self.linear**2 + 4 * self.quadratic * left))
        length = math.floor(root)
        return length + 1 if self.at(length + 1) <= limit else length
