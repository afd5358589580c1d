"""A point is visited several times, spread over the whole sweep: what a machine does differently from one minute to the
next falls on all points alike, and how far a point's visits lie apart tells how well its time repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seqbench.measure.clock import quantiles
from seqbench.records import Record, Status

UNSTEADY = 0.1
"""Distance of a visit's median from that of all, relative to it, beyond which the point counts as unsteady."""


class Visit(Record):
    """What one visit saw."""

    seconds: tuple[float, ...] = ()
    """Of each repetition; empty where memory or time ran out before there was one."""
    took: float
    """Seconds of the whole visit: building the model, warming up, repeating."""
    status: Status = "ok"
    reason: str = ""
    flags: tuple[str, ...] = ()
    load: float | None = None
    megahertz: float | None = None
    path: str
    kernels: tuple[str, ...] = ()
    joules: float | None = None
    commit: str = ""


def left(budget: float, earlier: Sequence[Visit]) -> float:
    """Seconds of a point's budget that are left for one more visit; 0: not enough for one like the longest."""
    rest = budget - sum(one.took for one in earlier)
    return rest if all(one.seconds and one.took < rest for one in earlier) else 0.0


def together(visits: Sequence[Visit], value: Callable[[float], float]) -> dict[str, Any]:
    """Fields of the measurement that these visits make; `value` turns the seconds of a repetition into its unit.

    The repetitions of all visits are one sample. Where most visits were undisturbed, the flagged ones are left out.
    A point whose visits differ by more than `UNSTEADY` is flagged: something slowed it down that neither load nor
    clock show, as a neighbour on the same hardware does to a virtual machine.
    """
    timed = [one for one in visits if one.seconds]
    if not timed:
        first = visits[0]
        return {
            "value": None,
            "status": first.status,
            "reason": first.reason,
            "path": first.path,
            "commit": first.commit,
        }
    quiet = [one for one in timed if not one.flags]
    used = quiet if 2 * len(quiet) > len(timed) else timed
    whole = quantiles(value(seconds) for one in used for seconds in one.seconds)
    medians = [float(np.median([value(seconds) for seconds in one.seconds])) for one in used]
    drift = max(abs(one / whole.median - 1) for one in medians) if len(used) > 1 else None
    flags = [flag for one in used for flag in one.flags] + ["unsteady"] * ((drift or 0.0) > UNSTEADY)
    loads = [one.load for one in used if one.load is not None]
    clocks = [one.megahertz for one in used if one.megahertz is not None]
    return {
        "value": whole,
        "visits": len(used),
        "drift": drift,
        "flags": tuple(dict.fromkeys(flags)),
        "load": max(loads, default=None),
        "megahertz": round(sum(clocks) / len(clocks)) if clocks else None,
        "path": used[0].path,
        "kernels": next((one.kernels for one in visits if one.kernels), ()),
        "joules": next((one.joules for one in visits if one.joules is not None), None),
        "commit": ", ".join(dict.fromkeys(one.commit for one in used)),
    }
