"""What two result sets measured on the same machine: times and bytes, as ratios of cost. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from seqbench.analyse.summary import Summary
from seqbench.files import canonical
from seqbench.measurements import CellTime, Counted, Measured, Measurement, Quantiles
from seqbench.records import Hardware, Record


class CostRatio(Record):
    """One quantity that both measured on the same machine."""

    arch: str
    quantity: str
    """train, infer, ..., train_memory, state; "training step" and "item" of the models on their tasks."""
    variety: str
    """What else than usual: 2 threads, the reference track, a form."""
    place: str
    """Length and batch, or the task."""
    unit: str
    a: float
    b: float
    ratio: float
    """Cost of B over cost of A, whatever the unit: above 1, B takes longer or more."""
    band: tuple[float, float]
    """What the ratio may be within the spread of both: quartiles, and how far visits drifted apart."""
    outside: bool
    """1 is outside of the band."""
    exact: bool
    """Counted, not timed: it has no spread."""
    flags: tuple[str, ...]
    """What disturbed either."""


class _Point(NamedTuple):
    value: Quantiles
    drift: float
    flags: tuple[str, ...]


Key = tuple[str, str, str, str, str]
"""Architecture, quantity, variety, place, unit."""


def cost_ratios(a: Summary, b: Summary) -> tuple[tuple[CostRatio, ...], tuple[str, ...]]:
    """What both measured on one machine, in A's order; and what both measured on different ones, in words."""
    found: list[CostRatio] = []
    apart: list[str] = []
    for left, right in _matched(a, b):
        if machine(left.hardware) != machine(right.hardware):
            apart.append(left.name)
            continue
        found += _ratios(left, right)
    return tuple(found), tuple(dict.fromkeys(apart))


def machine(of: Hardware) -> str:
    """What must be the same for times and bytes to be comparable: all but driver, system and libraries."""
    return canonical([of.device, of.name, of.cores, of.memory_bytes])


class _Source(NamedTuple):
    """Points of one record, made on one machine."""

    name: str
    hardware: Hardware
    points: Mapping[Key, _Point]
    exact: bool


def _matched(a: Summary, b: Summary) -> Iterator[tuple[_Source, _Source]]:
    others = {one.name: one for one in _sources(b)}
    for one in _sources(a):
        if one.name in others:
            yield one, others[one.name]


def _sources(of: Summary) -> Iterator[_Source]:
    for one in of.measured:
        yield _Source(f"times of {one.arch}", one.provenance.hardware, _points(one), False)
    for counted in of.counted:
        yield _Source(f"bytes of {counted.arch}", counted.provenance.hardware, _points(counted), True)
    for pace in of.paces:
        points = {key: point for time in (*pace.cells, *pace.variants) for key, point in _paced(pace.task, time)}
        yield _Source(f"pace on {pace.task}", pace.provenance.hardware, points, False)


def _points(of: Measured | Counted) -> dict[Key, _Point]:
    """Gradients are no cost."""
    return {
        (of.arch, m.quantity, _variety(m), f"length {m.length}, batch {m.batch}", m.unit): _Point(
            m.value, m.drift or 0.0, m.flags
        )
        for m in of.measurements
        if m.value is not None and m.quantity != "gradient"
    }


def _variety(m: Measurement) -> str:
    threads = [f"{m.threads} threads"] if m.threads > 1 else []
    track = ["reference track"] if m.track == "reference" else []
    return ", ".join([*threads, *track, *([m.form] if m.form else [])])


def _paced(task: str, time: CellTime) -> Iterator[tuple[Key, _Point]]:
    for quantity, value in (("training step", time.step), ("item", time.item)):
        if value is not None:
            yield (time.arch, quantity, "", task, "s"), _Point(value, 0.0, time.flags)


def _ratios(a: _Source, b: _Source) -> Iterator[CostRatio]:
    for key, left in a.points.items():
        right = b.points.get(key)
        if right is None:
            continue
        arch, quantity, variety, place, unit = key
        cheap, dear = (left, right) if not unit.endswith("/s") else (right, left)  # of rates more is cheaper
        low, high = _band(cheap)
        lowest, highest = _band(dear)
        if low <= 0 or lowest <= 0:
            continue  # what may be nothing has no ratio
        band = (lowest / high, highest / low)
        yield CostRatio(
            arch=arch,
            quantity=quantity,
            variety=variety,
            place=place,
            unit=unit,
            a=left.value.median,
            b=right.value.median,
            ratio=dear.value.median / cheap.value.median,
            band=band,
            outside=not band[0] <= 1 <= band[1],
            exact=a.exact,
            flags=tuple(dict.fromkeys((*left.flags, *right.flags))),
        )


def _band(point: _Point) -> tuple[float, float]:
    """Where the median may lie: between the quartiles, or as far as its visits did."""
    value = point.value
    return min(value.q25, value.median * (1 - point.drift)), max(value.q75, value.median * (1 + point.drift))


class Costs(Record):
    """The points of one architecture, quantity and variety."""

    arch: str
    quantity: str
    variety: str
    points: int
    low: float
    middle: float
    """Median of the ratios."""
    high: float
    outside: int
    flagged: int


def gathered(ratios: Sequence[CostRatio]) -> list[Costs]:
    """One row per architecture, quantity and variety, in the order given."""
    groups: dict[tuple[str, str, str], list[CostRatio]] = {}
    for one in ratios:
        groups.setdefault((one.arch, one.quantity, one.variety), []).append(one)
    return [_gathered(key, own) for key, own in groups.items()]


def _gathered(key: tuple[str, str, str], own: Sequence[CostRatio]) -> Costs:
    found = sorted(one.ratio for one in own)
    half = len(found) // 2
    return Costs(
        arch=key[0],
        quantity=key[1],
        variety=key[2],
        points=len(own),
        low=found[0],
        middle=found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2,
        high=found[-1],
        outside=sum(one.outside for one in own),
        flagged=sum(bool(one.flags) for one in own),
    )
