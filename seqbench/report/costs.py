"""What architectures cost: charts of the main curves, and tables of all that was timed or counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from seqbench.analyse.costs import AFTER, curves, place
from seqbench.analyse.findings import number, span, unquiet, words
from seqbench.analyse.summary import Crossover, Curve, Law, Summary
from seqbench.measurements import Counted, Measured, Measurement, Quantity
from seqbench.report.charts import Axis, Dot, Style, decades, draw
from seqbench.report.figures import Entry, Figure, Notes, Row, Table

NAMES: dict[Quantity, str] = {
    "train": "Training throughput",
    "infer": "Evaluation throughput",
    "generate": "Throughput of generation",
    "first_token": "Time to the first output",
    "stream": "Streaming latency",
    "train_memory": "Peak memory of a training step",
    "infer_memory": "Peak memory of evaluation",
    "state": "Streaming state",
}
DRAWN: dict[Quantity, tuple[str, str]] = {
    "train": ("Higher is better.", "~s"),
    "infer": ("Higher is better.", "~s"),
    "stream": ("One step of one sequence, after so many. Lower is better.", "~r"),
    "train_memory": ("Bytes beyond parameters, gradients and optimizer. Lower is better.", "~s"),
    "state": ("Bytes that one sequence carries on. Lower is better.", "~s"),
}
"""Quantities that have a chart along length, of one thread, the best track and the usual form."""
NAIVE = "naive attention"
"""The form that has a line of its own beside the usual one."""
POOR = 0.9
"""R² below which a slope whose interval holds 0 is not given as one."""
DELAYS: tuple[Quantity, ...] = ("first_token", "stream")
"""Quantities of which the slowest repetitions matter as well."""


@dataclass(frozen=True)
class Family:
    """Curves that differ in the architecture alone, with their measurements by place on the axis."""

    kind: Curve
    """Of no architecture."""
    batch: int
    series: dict[str, dict[int, Measurement]]

    @property
    def unit(self) -> str:
        """Of all its measurements."""
        return next(m.unit for of in self.series.values() for m in of.values())

    @property
    def title(self) -> str:
        """What was measured, and how."""
        kind, every = self.kind, [m for of in self.series.values() for m in of.values()]
        after = kind.quantity in AFTER
        tokens = f"about {max(m.batch * m.length for m in every):,} tokens"
        at = {
            "length": f"batch {self.batch}",
            "length at constant tokens": f"{tokens} {'in the contexts of a batch' if after else 'per batch'}",
            "batch": f"after {every[0].length} steps" if after else f"length {every[0].length}",
        }[kind.along]
        threads = f"{kind.threads} threads" if kind.threads > 1 else ""
        track = "reference track" if kind.track == "reference" else ""
        return ", ".join(word for word in (NAMES[kind.quantity], at, threads, track, kind.form) if word)


def families(summary: Summary) -> list[Family]:
    """All curves of cost, in the order in which they were measured."""
    found: dict[Curve, dict[str, dict[int, Measurement]]] = {}
    for curve, points in curves(summary.measured, summary.counted, summary.plan.measure).items():
        if curve.quantity in NAMES:
            by_place = {place(curve, m): m for m in points}
            found.setdefault(curve.model_copy(update={"arch": ""}), {})[curve.arch] = by_place
    return [
        Family(kind, max(m.batch for of in series.values() for m in of.values()), series)
        for kind, series in found.items()
    ]


def refusals(summary: Summary) -> list[str]:
    """Why an architecture has no numbers here, in sentences."""
    measured: list[Measured | Counted] = [*summary.measured, *summary.counted]
    return list(dict.fromkeys(f"No numbers of {one.arch}: {one.refused}" for one in measured if one.refused))


# ---------------------------------------------------------------- charts


def figures(summary: Summary, looks: dict[str, Style]) -> list[Figure]:
    """The main curves against length, as far as they have points."""
    found = []
    every = {family.kind: family for family in families(summary)}
    for quantity in DRAWN:
        usual = Curve(arch="", quantity=quantity, along="length")
        family = every.get(usual)
        naive = every.get(usual.model_copy(update={"form": NAIVE}))
        if family and any(_height(m) > 0 for of in family.series.values() for m in of.values()):
            found.append(_figure(summary, family, naive, looks))
    return found


def _figure(summary: Summary, family: Family, naive: Family | None, looks: dict[str, Style]) -> Figure:
    quantity = family.kind.quantity
    which, form = DRAWN[quantity]
    dots = [dot for arch, of in family.series.items() for dot in _dots(arch, of)]
    if naive:
        for arch, of in naive.series.items():
            name = f"{arch}, {NAIVE}"
            dots += _dots(name, of)
            looks = looks | {name: replace(looks[arch], name=name, dash=[1, 3])}
        which += f" Finely dotted: {words(list(naive.series))} with {NAIVE}."
    places = sorted({float(dot.x) for dot in dots})
    title = "Activations of a training step" if quantity == "train_memory" else NAMES[quantity]
    svg = draw(
        dots,
        looks,
        Axis(
            "steps before" if quantity in AFTER else "length (steps)",
            log=True,
            ticks=tuple(places),
            format="~s" if places[-1] > 9999 else "d",
        ),
        Axis(family.unit, log=True, ticks=decades([edge for dot in dots for edge in (dot.low, dot.high)]), format=form),
        label=f"{title} against length, one line per architecture",
    )
    spread = "Log scales." if family.unit == "bytes" else "Median with quartiles, log scales."
    at = "" if quantity in ("stream", "state") else f" Batch {family.batch}."
    kinds = [family.kind, naive.kind] if naive else [family.kind]
    met = [one.text for one in _crossovers(summary, family.kind) if one.length is not None]
    notes = [*(note for kind in kinds for note in _growth(summary, kind)), *([("Crossovers", met)] if met else [])]
    data = table(summary, family)
    unit = "" if family.unit == "bytes" else f" ({family.unit})"
    head = [data.head[0], *(f"{arch}{unit}" for arch in data.head[1:])]
    return Figure(title, f"{spread}{at} {which}", svg, head, data.rows, notes, _compared(summary, family.kind))


def _height(m: Measurement) -> float:
    """What is drawn: of memory the activations."""
    return 0.0 if m.value is None else float(m.parts.get("activations", m.value.median))


def _dots(arch: str, of: Mapping[int, Measurement]) -> Iterator[Dot]:
    for at, m in of.items():
        height = _height(m)
        if m.value is not None and height > 0:
            spread = not m.parts and m.value.q25 > 0
            low, high = (m.value.q25, m.value.q75) if spread else (height, height)
            unit = "" if m.unit == "bytes" else f" {m.unit}{span((low, high))}"
            yield Dot(arch, at, height, low, high, f"{arch}, {at}: {amount(height, m.unit)}{unit}")


# ---------------------------------------------------------------- tables


def tables(summary: Summary) -> list[tuple[str, list[Table]]]:
    """All curves but those of the charts, by quantity: title, tables."""
    found: dict[str, list[Table]] = {}
    for family in families(summary):
        kind = family.kind
        drawn = kind.quantity in DRAWN and kind == Curve(arch="", quantity=kind.quantity, along="length")
        if not drawn:
            found.setdefault(NAMES[kind.quantity], []).append(table(summary, family))
    return list(found.items())


def table(summary: Summary, family: Family) -> Table:
    """A row for each length (or batch), a column for each architecture, with all that is known of each point."""
    measured: list[Measured | Counted] = [*summary.measured, *summary.counted]
    refused = {one.arch for one in measured if one.refused and not family.kind.form}
    archs = [arch for arch in summary.plan.architectures if arch in family.series or arch in refused]
    places = sorted({at for of in family.series.values() for at in of})
    rows: list[Row] = [
        [f"{at:,}", *(_entry(family.series.get(arch, {}).get(at), arch in refused) for arch in archs)] for at in places
    ]
    notes = [*_growth(summary, family.kind), *_compared(summary, family.kind)]
    steps = "Steps before" if family.kind.quantity in AFTER else "Steps"
    axis = "Batch" if family.kind.along == "batch" else steps
    unit = "" if family.unit == "bytes" else f" ({family.unit})"
    return Table(f"{family.title}{unit}", [axis, *archs], rows, notes)


def _entry(m: Measurement | None, refused: bool) -> Entry:
    if m is None:
        return Entry(warn="not measured") if refused else Entry("–")
    if m.value is None:
        return Entry(warn=" ".join([m.status.replace("_", " "), *m.flags]), sub=m.reason)
    value, several = m.value, m.value.repetitions > 1
    known = [
        span((value.q25, value.q75)).strip() if several else "",
        f"p99 {number(value.p99)}" if m.quantity in DELAYS else "",
        f"n {value.repetitions}, varies {100 * value.variation:.0f} %" if several else "",
        "" if m.drift is None else f"{m.visits} visits within {100 * m.drift:.1f} %",
        m.path,
        "" if m.load is None else f"load {number(m.load)}",
        f"activations {amount(m.parts['activations'], 'bytes')}" if "activations" in m.parts else "",
    ]
    return Entry(amount(value.median, m.unit), ", ".join(word for word in known if word), ", ".join(m.flags))


def amount(value: float, unit: str) -> str:
    """Three digits; bytes with a unit that leaves few of them."""
    if unit != "bytes":
        return number(value)
    for factor, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{number(value / factor)} {name}"
    return f"{number(value)} B"


def _growth(summary: Summary, kind: Curve) -> Notes:
    """Slopes of a family, in words."""
    laws = [law for law in summary.laws if law.curve.model_copy(update={"arch": ""}) == kind]
    form = f", {kind.form}" if kind.form else ""
    what = "the steps before" if kind.quantity in AFTER else "length"
    return [(f"Growth with {what}, {laws[0].of}{form}", [slope(law) for law in laws])] if laws else []


def _crossovers(summary: Summary, kind: Curve) -> list[Crossover]:
    return [one for one in summary.crossovers if one.curve.model_copy(update={"arch": ""}) == kind]


def _compared(summary: Summary, kind: Curve) -> Notes:
    """Who of each two costs less, in words."""
    texts = [one.text for one in _crossovers(summary, kind)]
    return [("Who costs less", texts)] if texts else []


def slope(law: Law) -> str:
    """A law in words: how the cost of an architecture grows, from where to where, how well that fits."""
    low, high = law.interval or (law.slope, law.slope)
    where = f"from {law.low:,} to {law.high:,} steps"
    if law.interval and low < 0 < high and law.fit < POOR:
        text = (
            f"{law.curve.arch}: no trend to be seen {where} ({law.points} points, slope within [{low:.2f}, {high:.2f}])"
        )
    else:
        interval = f" [{low:.2f}, {high:.2f}]" if law.interval else ""
        text = f"{law.curve.arch}: slope {law.slope:.2f}{interval} {where}, R² {law.fit:.3f}"
    text = text.replace("-0.00", "0.00")
    return f"{text} ({unquiet(law.flags)})" if law.flags else text
