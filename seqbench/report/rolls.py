"""Music that models wrote: a piano roll to look at and a sound to listen to."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from markupsafe import Markup

from seqbench import music
from seqbench.report import svg

WIDE, HIGH = 8, 4
"""Pixels of a step and of a semitone."""


def picture(opening: music.Steps, steps: music.Steps, label: str) -> Markup:
    """Notes as bars, time from left to right, pitch upwards, an octave's C as a line; the opening is fainter."""
    piece = [*opening, *steps]
    pitches = sorted({pitch for step in piece for pitch in step}) or [60]
    low, high = pitches[0] - 1, pitches[-1] + 1
    width, height = WIDE * max(len(piece), 1), HIGH * (high - low + 1)
    size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
    root = ET.Element(svg.tag("svg"), size)
    lines = "".join(f"M0,{HIGH * (high - c + 1)}h{width}" for c in range(low, high + 1) if c % 12 == 0)
    ET.SubElement(root, svg.tag("path"), {"d": lines, "stroke": "currentColor", "stroke-opacity": "0.25"})
    for part, first, opacity in ((opening, 0, "0.45"), (steps, len(opening), "1")):
        bars = "".join(
            _bar(WIDE * (first + start), HIGH * (high - pitch), WIDE * (stop - start) - 1)
            for pitch, start, stop in music.notes(part)
        )
        ET.SubElement(root, svg.tag("path"), {"d": bars, "fill": "currentColor", "fill-opacity": opacity})
    border = f"M{WIDE * len(opening)},0v{height}"
    ET.SubElement(root, svg.tag("path"), {"d": border, "stroke": "currentColor", "stroke-dasharray": "2 2"})
    return svg.image(root, f"{label}: {_in_words(piece)}", "map")


def _bar(x: int, y: int, length: int) -> str:
    return f"M{x},{y}h{length}v{HIGH}h-{length}z"


def _in_words(piece: Sequence[Sequence[int]]) -> str:
    heard = [pitch for step in piece for pitch in step]
    if not heard:
        return f"{len(piece)} steps of silence"
    low, high = (music.as_text([[pitch]]) for pitch in (min(heard), max(heard)))
    return f"{len(piece)} steps, {len(list(music.notes(piece)))} notes from {low} to {high}"


def sound(opening: music.Steps, steps: music.Steps, seconds: float) -> str:
    """The address of a sound that is within the page."""
    content = base64.b64encode(music.sound([*opening, *steps], seconds)).decode()
    return f"data:audio/mpeg;base64,{content}"
