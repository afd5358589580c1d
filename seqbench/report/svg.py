"""SVG for a page: one image with one name, no styles or scripts of its own, and no more bytes than it needs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from markupsafe import Markup

SVG = "http://www.w3.org/2000/svg"
ET.register_namespace("", SVG)
INHERITED = (
    *("fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray"),
    *("font-size", "font-weight", "text-anchor"),
)
"""Attributes that a group may carry for all that is in it."""
GEOMETRY = ("d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height")
LONG = re.compile(r"-?\d+\.\d\d+(?:e-?\d+)?|-?\d+e-\d+")
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
    parent[:] = kept
    if parent.tag == tag("g") and len(kept) > 1:
        for name in INHERITED:
            shared = {child.get(name) for child in kept}
            if name not in parent.attrib and len(shared) == 1 and None not in shared:
                parent.set(name, str(shared.pop()))
                for child in kept:
                    del child.attrib[name]


def _unseen(element: ET.Element) -> bool:
    if element.get("opacity") == "0" or element.get("d") in ("", "M0,0h0v0h0Z"):
        return True
    if element.tag == tag("path"):
        return not {"fill", "stroke"} & set(element.attrib)
    return element.tag == tag("g") and not len(element)


def _short(number: re.Match[str]) -> str:
    return f"{round(float(number[0]), 1):g}"
