"""SVG for a page: one image with one name, no styles or scripts of its own, and no more bytes than it needs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
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


def clean(text: str) -> ET.Element:
    """What Vega drew, for a page: tips as <title>, nothing inline but shapes."""
    root = ET.fromstring(text)
    for element in root.iter():
        if element.get("aria-roledescription") == "point":
            ET.SubElement(element, tag("title")).text = element.get("aria-label")
        for name in list(element.attrib):
            if name.startswith("aria-") or name in ("role", "class", "style", "pointer-events", "font-family"):
                del element.attrib[name]
    _slim(root)
    return root


def _slim(parent: ET.Element) -> None:
    """Take out what is not seen, from the leaves up."""
    kept: list[ET.Element] = []
    for child in list(parent):
        _slim(child)
        for name in GEOMETRY:
            if name in child.attrib:
                child.set(name, LONG.sub(_short, child.attrib[name]))
        for name, value in (("opacity", "1"), ("transform", "translate(0,0)")):
            if child.get(name) == value:
                del child.attrib[name]
        if child.tag == tag("g") and not child.attrib:
            kept += list(child)
        elif not _unseen(child):
            kept.append(child)
        if STRAIGHT.fullmatch(child.get("d", "")):
            child.set("d", _relative(child.attrib["d"]))
    parent[:] = kept
    if parent.tag == tag("g") and len(kept) > 1:
        for name in INHERITED:
            shared = {child.get(name) for child in kept}
            if name not in parent.attrib and len(shared) == 1 and None not in shared:
                parent.set(name, str(shared.pop()))
                for child in kept:
                    del child.attrib[name]
    parent[:] = [one for alike, many in groupby(parent, _look) for one in _joined(alike, list(many))]


def _look(element: ET.Element) -> tuple[tuple[str, str], ...] | None:
    """Of a line all but its place; None: no line, or one that is put in another way than by a shift."""
    if element.tag != tag("line") or not SHIFT.fullmatch(element.get("transform", "translate(0,0)")):
        return None
    return tuple((name, value) for name, value in element.items() if name not in ("transform", "x2", "y2"))


def _joined(look: tuple[tuple[str, str], ...] | None, many: list[ET.Element]) -> list[ET.Element]:
    """Lines that look alike as one path; other elements as they are."""
    if look is None or len(many) < 2:
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
    return f"M{x},{y}l{line.get('x2', '0')},{line.get('y2', '0')}"


def _relative(path: str) -> str:
    """The same straight lines in steps from point to point, which are shorter numbers; exact to a tenth."""
    points = [
        tuple(round(10 * float(part)) for part in point.split(",")) for point in re.split("[ML]", path.strip("Z"))[1:]
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
