"""Charts: Vega-Lite specifications drawn to SVG while the page is built.

Colours are CSS variables and `currentColor`, so that light, dark and print are the page's
business. Every chart also comes as a table. An architecture keeps its colour, dash and shape
by its place in the plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert
from markupsafe import Markup

from seqbench.report import svg

COLOURS = 8
"""--arch-0 ... --arch-7 in style.css; the first four are Paul Tol's high-contrast set."""
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [5, 2], [3, 5], [12, 3], [1, 4])
SHAPES = (
    "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.1L1.1,.9H-1.1Z",
    "M0,-1.3L1.1,0L0,1.3L-1.1,0Z",
    "M-.4,-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "M0,1.1L1.1,-.9H-1.1Z",
    "M1.1,0L-.9,1.1V-1.1Z",
    "M-1.1,0L.9,1.1V-1.1Z",
)
"""Vega symbols within a square of side 2."""


@dataclass(frozen=True)
class Style:
    """How an architecture is drawn."""

    name: str
    colour: str
    dash: list[int]
    shape: str

    place: int

    @property
    def symbol(self) -> Markup:
        """A line and a symbol, as in the charts: drawn once on the page."""
        dash = ",".join(map(str, self.dash))
        return Markup(
            f'<symbol id="look-{self.place}" viewBox="-14 -6 28 12">'
            f'<path d="M-14,0H14" stroke="{self.colour}" stroke-dasharray="{dash}" stroke-width="2"/>'
            f'<path id="mark-{self.place}" d="{self.shape}" transform="scale(3.8)" fill="{self.colour}"/></symbol>'
        )

    @property
    def swatch(self) -> Markup:
        """The symbol where it is wanted."""
        return Markup(f'<svg class="swatch" aria-hidden="true"><use href="#look-{self.place}"/></svg>')


def styles(architectures: Sequence[str]) -> dict[str, Style]:
    """A style for each architecture, by its place; after eight the colours repeat with other dashes."""
    return {
        name: Style(
            name,
            f"var(--arch-{place % COLOURS})",
            DASHES[(place + place // COLOURS) % len(DASHES)],
            SHAPES[(place + place // COLOURS) % len(SHAPES)],
            place,
        )
        for place, name in enumerate(architectures)
    }


@dataclass(frozen=True)
class Dot:
    """One mark: its place, its spread and what it says when pointed at."""

    arch: str
    x: float | str
    """A number; or a name, for `draw_categories`."""
    y: float
    low: float
    high: float
    tip: str
    left: float | None = None
    """Spread along x, for `draw_front`."""
    right: float | None = None


@dataclass(frozen=True)
class Axis:
    """Title, scale and labels of an axis."""

    title: str
    log: bool = False
    ticks: tuple[float, ...] = ()
    format: str = ""
    zero: bool = False
    """A log axis that has room for 0: linear up to 1."""

    def encoding(self, field: str, padding: int = 0) -> dict[str, Any]:
        """The Vega-Lite channel; `padding`: pixels that stay free at either end, so that no mark is cut by the edge."""
        axis: dict[str, Any] = {"title": self.title}
        # Not `format`: with SI prefixes it gives all ticks the same one, also 0.
        axis |= {"labelExpr": f"format(datum.value, '{self.format}')"} if self.format else {}
        axis |= {"values": list(self.ticks)} if self.ticks else {"tickCount": 5}
        scale: dict[str, Any] = {"type": "linear", "zero": False}
        if self.log:
            scale = {"type": "symlog" if self.zero else "log", "nice": False}
        # Not `nice` as well: it would leave room for a tick at an accuracy of 1.2.
        scale |= {"padding": padding, "nice": False} if padding else {}
        return {"field": field, "type": "quantitative", "axis": axis, "scale": scale}


def decades(values: Sequence[float]) -> tuple[float, ...]:
    """Round ticks of a log axis: powers of ten, some six of them; 1, 2, 5 over a narrow range, else equal steps."""
    if not values:
        return ()
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    within = [m * 10.0**k for k in range(low, high + 1) for m in (1, 2, 5) if min(values) <= m * 10.0**k <= max(values)]
    step = max(1, round((high - low) / 6))
    if len(within) >= 6:
        return tuple(10.0**k for k in range(high, low - 1, -step))
    return tuple(within) if len(within) > 1 else _steps(min(values), max(values)) or tuple(within)


def _steps(low: float, high: float) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high, at most five; none where both are the same."""
    if high <= low:
        return ()
    power = math.floor(math.log10(high - low)) - 1
    for size in (m * 10.0**k for k in range(power, power + 3) for m in (1, 2, 5)):
        count = math.floor(high / size) - math.ceil(low / size) + 1
        if count <= 5:
            return tuple(float(f"{size * n:.6g}") for n in range(math.ceil(low / size), math.floor(high / size) + 1))
    return ()


def draw(
    dots: Sequence[Dot],
    looks: dict[str, Style],
    x: Axis,
    y: Axis,
    *,
    label: str,
    spread: str = "bars",
    points: bool = True,
    reference: Sequence[tuple[float, float]] = (),
) -> Markup:
    """One line per architecture; spread as "bars" or a "band"; `reference`: a dotted line."""
    by, free = _scales(dots, looks), FREE if points else 0
    mark: dict[str, Any] = {"type": "area", "opacity": 0.16} if spread == "band" else RULE
    along, up = x.encoding("x", free), y.encoding("y", free)
    layers: list[dict[str, Any]] = [
        {"mark": mark, "encoding": {"y": y.encoding("low", free), "y2": {"field": "high"}}},
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": up, "strokeDash": by["dash"]}},
    ]
    if points:
        layers.append({"mark": POINT, "encoding": {"y": up, "shape": by["shape"], "description": {"field": "tip"}}})
    for layer in layers:
        layer["encoding"] |= {"x": along, "color": by["colour"]}
    if reference:
        dotted = {"type": "line", "stroke": "currentColor", "strokeDash": [1, 4], "strokeWidth": 1.5}
        values = [{"x": place, "y": level} for place, level in reference]
        layers.append({"mark": dotted, "data": {"values": values}, "encoding": {"x": along, "y": up}})
    return _drawn(dots, layers, label, looks)


def draw_categories(
    dots: Sequence[Dot],
    looks: dict[str, Style],
    x: str,
    y: Axis,
    *,
    label: str,
    reference: Sequence[tuple[str, float]] = (),
) -> Markup:
    """Architectures side by side within each category, in the order given; `reference`: a line across each."""
    by = _scales(dots, looks)
    names = list(dict.fromkeys([dot.x for dot in dots] + [place for place, _ in reference]))
    place = {"field": "x", "type": "nominal", "sort": names, "axis": {"title": x, "labelAngle": 0, "grid": False}}
    beside = {"field": "arch", "type": "nominal", "scale": {"domain": by["colour"]["scale"]["domain"]}}
    level = {"field": "y", "type": "quantitative"}
    own = {"x": place, "xOffset": beside, "color": by["colour"]}
    tip = {"field": "tip"}
    layers: list[dict[str, Any]] = [
        {"mark": RULE, "encoding": {**own, "y": y.encoding("low", FREE), "y2": {"field": "high"}}},
        {"mark": POINT, "encoding": {**own, "y": y.encoding("y", FREE), "shape": by["shape"], "description": tip}},
        {
            "mark": {"type": "tick", "color": "currentColor", "thickness": 1.5, "size": 240 / max(len(names), 1)},
            "data": {"values": [{"x": name, "y": value} for name, value in reference]},
            "encoding": {"x": place, "y": level},
        },
    ]
    return _drawn(dots, layers, label, looks)


def draw_front(
    dots: Sequence[Dot], looks: dict[str, Style], x: Axis, y: Axis, *, label: str, named: Sequence[str]
) -> Markup:
    """One dot per architecture with its spread in both directions, and the names of some."""
    by = _scales(dots, looks)
    place = {"x": x.encoding("x", FREE), "y": y.encoding("y", FREE)}
    tip = {"field": "tip"}
    layers: list[dict[str, Any]] = [
        {"mark": RULE, "encoding": {**place, "y": y.encoding("low", FREE), "y2": {"field": "high"}}},
        {"mark": RULE, "encoding": {**place, "x": x.encoding("left", FREE), "x2": {"field": "right"}}},
        {"mark": POINT, "encoding": {**place, "shape": by["shape"], "description": tip}},
    ]
    for layer in layers:
        layer["encoding"]["color"] = by["colour"]
    layers.append(
        {
            "mark": {"type": "text", "align": "left", "dx": 8, "dy": -8, "fontSize": 11, "fill": "currentColor"},
            "data": {"values": [vars(dot) for dot in dots if dot.arch in named]},
            "encoding": {**place, "text": {"field": "arch", "type": "nominal"}},
        }
    )
    return _drawn(dots, layers, label, looks)


RULE = {"type": "rule", "strokeWidth": 1.5}
POINT = {"type": "point", "filled": True, "opacity": 1, "size": 55}
FREE = 7
"""Pixels between a point and the edge: a little more than half of a point."""


def _scales(dots: Sequence[Dot], looks: dict[str, Style]) -> dict[str, dict[str, Any]]:
    """Colour, dash and shape of the architectures that have a dot."""
    names = [name for name in looks if any(dot.arch == name for dot in dots)]

    def by(values: list[Any]) -> dict[str, Any]:
        return {"field": "arch", "type": "nominal", "legend": None, "scale": {"domain": names, "range": values}}

    return {
        "colour": by([looks[name].colour for name in names]),
        "dash": by([looks[name].dash for name in names]),
        "shape": by([looks[name].shape for name in names]),
    }


def _drawn(dots: Sequence[Dot], layers: list[dict[str, Any]], label: str, looks: dict[str, Style]) -> Markup:
    # Points use the mark that the page has drawn once, unless two looks have one colour.
    marks = {look.colour: f"mark-{look.place}" for look in looks.values()} if len(looks) <= COLOURS else {}
    quiet = {"gridColor": "currentColor", "gridOpacity": 0.12, "domain": False, "tickColor": "currentColor"}
    text = {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": 500}
    spec = {
        "width": 320,
        "height": 190,
        "background": None,
        "data": {"values": [vars(dot) for dot in dots]},
        "layer": layers,
        "config": {
            "axis": quiet
            | text
            | {"labelFontSize": 11, "titleFontSize": 11, "titlePadding": 10, "tickOpacity": 0.4, "labelOverlap": True},
            "view": {"stroke": None},
        },
    }
    return svg.image(svg.clean(vl_convert.vegalite_to_svg(spec), marks), label, "chart")
