"""SVG for a page: one image with one name, no styles or scripts of its own, and no more bytes than it needs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from itertools import groupby, pairwise

from markupsafe import Markup

SVG = "http://www.w3.org/2000/svg"
ET.register_namespace("", SVG)
INHERITED = (
    *("fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray"),
    *("font-size", "font-weight", "text-anchor"),
)
"""Attributes that a group may carry for all that is in it."""
GEOMETRY = ("d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height")
STRAIGHT = re.compile(r"M[-\d.,]+(?:L[-\d.,]+){2,}Z?")
"""A path of straight lines from one place to the next."""
SHIFT = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")
PLACE = re.compile(r"([ML])(-?[\d.]+),(-?[\d.]+)")
"""A point of a path that is not given by its distance from the one before."""
LOOKS: dict[tuple[str, str, str], str] = {
    ("currentColor", "0.12", "1"): "grid",
    ("currentColor", "0.4", "1"): "ticks",
}
"""Stroke, its opacity and its width: the class that style.css has for them."""
DOUBLE = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\) translate\((-?[\d.]+),(-?[\d.]+)\)")
IDLE = (("opacity", "1"), ("transform", "translate(0,0)"), ("stroke-dasharray", "1,0"), ("stroke-dasharray", ""))
"""Attributes that change nothing."""
LONG = re.compile(r"-?\d+\.\d\d+(?:e-?\d+)?|-?\d+(?:\.\d)?e-\d+")
"""A number with more digits than can be seen."""


def tag(name: str) -> str:
    """An element's name in the namespace of SVG."""
    return f"{{{SVG}}}{name}"


def image(root: ET.Element, label: str, kind: str) -> Markup:
    """The picture as one image with a name; `kind` is its class."""
    for name in ("width", "height", "version") if kind == "chart" else ():  # as wide as the page lets it be
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": label, "class": kind}
    return Markup(ET.tostring(root, encoding="unicode"))


def clean(text: str, marks: Mapping[str, str] | None = None) -> ET.Element:
    """What Vega drew, for a page: tips as <title>, nothing inline but shapes.

    `marks`: colour of a point -> the id of what the page has drawn once, to be used in its place. What all charts
    have in common is in style.css under .chart: no fill, letters 11 px high in the colour of the text.
    """
    root = ET.fromstring(text)
    for element in root.iter():
        if element.get("aria-roledescription") == "point":
            ET.SubElement(element, tag("title")).text = element.get("aria-label")
            if marks and element.get("fill") in marks:
                element.tag = tag("use")
                mark = marks[element.get("fill", "")]
                element.attrib = {"href": f"#{mark}", "transform": element.get("transform", "")}
        for name in list(element.attrib):
            if name.startswith("aria-") or name in ("role", "class", "style", "pointer-events", "font-family"):
                del element.attrib[name]
    _slim(root)
    _frame(root)
    return root


def _frame(root: ET.Element) -> None:
    """The outermost group's shift goes into the view box, what it says of all charts into the style sheet."""
    if len(root) != 1 or root[0].tag != tag("g"):
        return
    group = root[0]
    shift, box = SHIFT.fullmatch(group.get("transform", "")), root.get("viewBox", "").split()
    if shift and len(box) == 4:
        x, y = (f"{float(start) - float(by):g}" for start, by in zip(box, shift.groups(), strict=False))
        root.set("viewBox", " ".join([x, y, *box[2:]]))
        del group.attrib["transform"]
    for name, value in (("fill", "none"), ("stroke-miterlimit", "10")):
        if group.get(name) == value:
            del group.attrib[name]
    if not group.attrib:
        root[:] = list(group)


def _slim(parent: ET.Element) -> None:
    """Take out what is not seen, from the leaves up."""
    kept: list[ET.Element] = []
    for child in list(parent):
        _slim(child)
        for name in GEOMETRY:
            if name in child.attrib:
                child.set(name, LONG.sub(_short, child.attrib[name]))
        for name, value in IDLE:
            if child.get(name) == value:
                del child.attrib[name]
        _settle(child)
        if child.tag == tag("text"):
            for name, value in (("fill", "currentColor"), ("font-size", "11px"), ("text-anchor", "start")):
                if child.get(name) == value:
                    del child.attrib[name]
        if child.tag == tag("g") and not child.attrib:
            kept += list(child)
        elif not _unseen(child):
            kept.append(child)
        if STRAIGHT.fullmatch(child.get("d", "")):
            child.set("d", _relative(child.attrib["d"], 1 if child.get("opacity") else 10))
    parent[:] = kept
    if parent.tag == tag("g") and len(kept) > 1:
        for name in INHERITED:
            shared = {child.get(name) for child in kept}
            if name not in parent.attrib and len(shared) == 1 and None not in shared:
                parent.set(name, str(shared.pop()))
                for child in kept:
                    del child.attrib[name]
    if len({_look(child) for child in parent}) > 1 and all(_look(child) for child in parent):
        parent[:] = sorted(parent, key=lambda child: str(_look(child)))  # of nothing but lines the order says nothing
    parent[:] = [one for alike, many in groupby(parent, _look) for one in _joined(alike, list(many))]
    look = LOOKS.get((parent.get("stroke", ""), parent.get("stroke-opacity", ""), parent.get("stroke-width", "")))
    if parent.tag == tag("g") and look:
        for name in ("stroke", "stroke-opacity", "stroke-width"):
            del parent.attrib[name]
        parent.set("class", look)


def _settle(element: ET.Element) -> None:
    """A plain shift becomes the place of what is shifted, as far as that has one."""
    shift = SHIFT.fullmatch(element.get("transform", ""))
    if not shift:
        return
    x, y = map(float, shift.groups())
    if element.tag in (tag("text"), tag("use")) and not {"x", "y"} & set(element.attrib):
        element.attrib |= {"x": f"{x:g}", "y": f"{y:g}"}
    elif element.tag == tag("g") and set(element.attrib) == {"transform"} and all(map(_movable, element)):
        for child in element:
            _move(child, x, y)
    else:
        return
    del element.attrib["transform"]


def _movable(element: ET.Element) -> bool:
    """Whether a shift can go into the numbers of an element and of all that is in it."""
    if element.tag == tag("g"):
        return "transform" not in element.attrib and all(map(_movable, element))
    if element.tag == tag("path"):
        return "transform" not in element.attrib and not set(element.get("d", "")) & set("HVCSQTA")
    return element.tag == tag("text")


def _move(element: ET.Element, x: float, y: float) -> None:
    if element.tag == tag("g"):
        for child in element:
            _move(child, x, y)
    elif element.tag == tag("path"):
        moved = PLACE.sub(lambda at: f"{at[1]}{float(at[2]) + x:g},{float(at[3]) + y:g}", element.get("d", ""))
        element.set("d", moved)
    elif "transform" in element.attrib:
        element.set("transform", f"translate({x:g},{y:g}) {element.get('transform')}")
        if both := DOUBLE.match(element.get("transform", "")):
            a, b, c, d = map(float, both.groups())
            element.set("transform", f"translate({a + c:.4g},{b + d:.4g}){element.get('transform', '')[both.end() :]}")
    else:
        element.attrib |= {name: f"{float(element.get(name, 0)) + by:.5g}" for name, by in (("x", x), ("y", y))}


def _look(element: ET.Element) -> tuple[tuple[str, str], ...] | None:
    """Of a line all but its place; None: no line, or one that is put in another way than by a shift."""
    if element.tag != tag("line") or not SHIFT.fullmatch(element.get("transform", "translate(0,0)")):
        return None
    return tuple((name, value) for name, value in element.items() if name not in ("transform", "x2", "y2"))


def _joined(look: tuple[tuple[str, str], ...] | None, many: list[ET.Element]) -> list[ET.Element]:
    """Lines that look alike as one path; other elements as they are."""
    if look is None:
        return many
    return [ET.Element(tag("path"), {**dict(look), "d": "".join(map(_stroke, many))})]


def _unseen(element: ET.Element) -> bool:
    if element.get("opacity") == "0" or element.get("d") in ("", "M0,0h0v0h0Z"):
        return True
    if element.tag == tag("line") and {element.get("x2", "0"), element.get("y2", "0")} == {"0"}:
        return True
    if element.tag == tag("path"):
        return not {"fill", "stroke"} & set(element.attrib)
    return element.tag == tag("g") and not len(element)


def _stroke(line: ET.Element) -> str:
    """A line from where it is put, as part of a path."""
    shift = SHIFT.fullmatch(line.get("transform", ""))
    x, y = shift.groups() if shift else ("0", "0")
    right, down = line.get("x2", "0"), line.get("y2", "0")
    return f"M{x},{y}" + (f"v{down}" if right == "0" else f"h{right}" if down == "0" else f"l{right},{down}")


def _relative(path: str, parts: int) -> str:
    """The same straight lines in steps from point to point, which are shorter numbers; exact to one of `parts`."""
    points = [
        tuple(10 // parts * round(parts * float(part)) for part in point.split(","))
        for point in re.split("[ML]", path.strip("Z"))[1:]
    ]
    # A point that nothing but its number tells from the one before, or that lies midway on a level line, is not seen.
    points = [
        point
        for n, point in enumerate(points)
        if n in (0, len(points) - 1) or not points[n - 1][1] == point[1] == points[n + 1][1]
    ]
    steps = "".join(
        f"{' ' if n else ''}{_tenths(x - before_x)},{_tenths(y - before_y)}"
        for n, ((before_x, before_y), (x, y)) in enumerate(pairwise(points))
    )
    start = ",".join(_tenths(part) for part in points[0])
    return f"M{start}l{re.sub('[ ,](?=-)', '', steps)}{'Z' if path.endswith('Z') else ''}"


def _tenths(count: int) -> str:
    """As a number, without the 0 before its point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{count / 10:g}")


def _short(number: re.Match[str]) -> str:
    return f"{round(float(number[0]), 1):g}"
