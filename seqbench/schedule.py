"""What follows from the validation curve: the best point, the learning rate, when to stop.

All are functions of their arguments, so a resumed run needs nothing but the curve.
"""

from __future__ import annotations

import math

from seqbench.records import Point, TrainSettings


def better(a: float, b: float, direction: str) -> bool:
    """Whether score `a` is better than score `b`."""
    return a > b if direction == "max" else a < b


def best_point(curve: list[Point], direction: str) -> Point | None:
    """The first point with the best validation score."""
    best: Point | None = None
    for point in curve:
        if point.valid is not None and (best is None or better(point.valid, best.valid or 0.0, direction)):
            best = point
    return best


def learning_rate(base: float, step: int, curve: list[Point], settings: TrainSettings, direction: str) -> float:
    """The rate of a step: a function of the step and of the validation curve so far.

    "cosine": base (1 + cos(pi step / steps)) / 2 (Loshchilov and Hutter 2017, eq. 5, no restart).
    "plateau": halved whenever more than `plateau_patience` evaluations in a row were not better
    than the best (torch's ReduceLROnPlateau with factor 0.5 and threshold 0).
    Of the first `warmup` steps the n-th, from 1, has n / warmup of that.
    """
    return _scheduled(base, step, curve, settings, direction) * min((step + 1) / max(settings.warmup, 1), 1.0)


def _scheduled(base: float, step: int, curve: list[Point], settings: TrainSettings, direction: str) -> float:
    if settings.schedule == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    rate = base
    if settings.schedule == "plateau":
        best, bad = None, 0
        for point in curve:
            if point.valid is not None and (best is None or better(point.valid, best, direction)):
                best, bad = point.valid, 0
            else:
                bad += 1
            if bad > settings.plateau_patience:
                rate, bad = rate / 2, 0
    return rate


def stops_early(curve: list[Point], patience: int, direction: str) -> bool:
    """Whether `patience` evaluations have passed since the best one."""
    best = best_point(curve, direction)
    return bool(patience and best) and len(curve) - 1 - curve.index(best) >= patience  # type: ignore[arg-type]
