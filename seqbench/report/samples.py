"""What trained models said, side by side, and what they looked at while they said it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seqbench import music
from seqbench.analyse.summary import Cell, Summary, TaskSummary
from seqbench.records import Sample
from seqbench.report import rolls, svg
from seqbench.report.figures import Figure

CELLS = 1_600
"""Weights in a map, at most: larger ones would make the page heavy."""
SIDE, LETTER, LONGEST = 16, 8, 14
"""Pixels of a cell's side and of a letter; letters of a label."""
UNSEEN = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
"""Control characters, which a page cannot hold, as the pictures that Unicode has of them."""


@dataclass(frozen=True)
class Said:
    """What one architecture made of a source."""

    arch: str
    seed: int
    output: str
    roll: Markup | None = None
    """Of music: a picture of its notes, the opening before them."""
    sound: str = ""
    """Of music: the address of a sound within the page."""


@dataclass(frozen=True)
class Source:
    """A source, what was to come of it, and what came."""

    source: str
    reference: str
    said: list[Said]
    roll: Markup | None = None
    """Of music: a picture of how the piece goes on."""
    sound: str = ""


@dataclass(frozen=True)
class Samples:
    """The samples of a task id, of each architecture's first finished seed."""

    task: TaskSummary
    sources: list[Source]
    maps: list[Figure]
    large: list[str]
    """Architectures whose map is left out."""


def samples(summary: Summary) -> list[Samples]:
    """For each task id whose runs have samples, in the order of the plan."""
    found = []
    for task in summary.tasks:
        cells = [summary.cell(task.id, arch) for arch in summary.plan.architectures]
        own = [(cell, seed, said) for cell in cells for seed, said in [_first(cell)] if said]
        if own:
            looked = [(cell.arch, said[0]) for cell, _, said in own if said[0].attention]
            small = [(arch, sample) for arch, sample in looked if _size(sample) <= CELLS]
            maps = [attention(arch, task.id, sample) for arch, sample in small]
            large = [arch for arch, sample in looked if _size(sample) > CELLS]
            sources = _played(own, task) if task.seconds else _by_source(own)
            found.append(Samples(task, sources, maps, large))
    return found


def _first(cell: Cell) -> tuple[int, tuple[Sample, ...]]:
    """The first seed of the plan that finished, and its samples."""
    return next(((run.seed, run.samples) for run in cell.runs if run.status == "ok"), (0, ()))


def _by_source(own: Sequence[tuple[Cell, int, tuple[Sample, ...]]]) -> list[Source]:
    found: dict[tuple[int, str, str], Source] = {}
    for cell, seed, said in own:
        for place, sample in enumerate(said):  # two items may be alike, as two recordings of the same words
            key = (place, sample.source, sample.reference)
            of = found.setdefault(key, Source(shown(sample.source), shown(sample.reference), []))
            of.said.append(Said(cell.arch, seed, shown(sample.output)))
    return list(found.values())


def _played(own: Sequence[tuple[Cell, int, tuple[Sample, ...]]], task: TaskSummary) -> list[Source]:
    """Pieces, with a picture and a sound of each."""
    found = []
    for source in _by_source(own):
        opening = music.from_text(source.source)

        def seen(text: str, name: str, opening: music.Steps = opening) -> tuple[Markup, str]:
            steps = music.from_text(text)
            return rolls.picture(opening, steps, f"Piano roll, {name}"), rolls.sound(opening, steps, task.seconds)

        said = [Said(one.arch, one.seed, one.output, *seen(one.output, one.arch)) for one in source.said]
        found.append(Source(source.source, source.reference, said, *seen(source.reference, "how the piece goes on")))
    return found


def shown(text: str) -> str:
    """The text with pictures for characters that a page cannot hold; line ends and tabs stay."""
    return text.translate(UNSEEN)


def _size(sample: Sample) -> int:
    return len(sample.source_tokens) * len(sample.output_tokens)


# ---------------------------------------------------------------- attention


def attention(arch: str, task: str, sample: Sample) -> Figure:
    """A map of weights, one row for each piece that was written; exact weights in its table."""
    columns, rows = (list(map(shown, pieces)) for pieces in (sample.source_tokens, sample.output_tokens))
    label = f"Attention of {arch} on {task}: a map of weights; the table below has them as numbers"
    table = [[row, *(f"{weight:.2f}" for weight in seen)] for row, seen in zip(rows, sample.attention, strict=True)]
    picture = svg.image(_map(rows, columns, sample.attention), label, "map")
    return Figure(arch, shown(sample.output) or "(nothing)", picture, ["written", *columns], table)


def _map(rows: Sequence[str], columns: Sequence[str], weights: Sequence[Sequence[float]]) -> ET.Element:
    """Labels left and on top, cells as squares of the text's colour; a row names its largest weights."""
    left, top = (LETTER * max(map(len, map(_cut, names)), default=0) + 6 for names in (rows, columns))
    width, height = SIDE * len(columns), SIDE * len(rows)
    size = {"width": str(left + width + 1), "height": str(top + height + 1)}
    root = ET.Element(svg.tag("svg"), size | {"viewBox": f"0 0 {size['width']} {size['height']}"})
    text = ET.SubElement(root, svg.tag("g"), {"fill": "currentColor", "font-size": "11px"})
    for place, name in enumerate(columns):
        turned = f"translate({left + SIDE * place + 12},{top - 4}) rotate(-90)"
        ET.SubElement(text, svg.tag("text"), {"transform": turned}).text = _cut(name)
    for place, (name, seen) in enumerate(zip(rows, weights, strict=True)):
        y = top + SIDE * place
        at = {"x": str(left - 4), "y": str(y + 12), "text-anchor": "end"}
        ET.SubElement(text, svg.tag("text"), at).text = _cut(name)
        root.append(_row(name, columns, seen, left, y))
    frame = {"x": str(left), "y": str(top), "width": str(width), "height": str(height)}
    ET.SubElement(root, svg.tag("rect"), frame | {"fill": "none", "stroke": "currentColor", "stroke-opacity": "0.4"})
    return root


def _row(name: str, columns: Sequence[str], seen: Sequence[float], left: int, y: int) -> ET.Element:
    """Cells of one row; those of equal weight are one path."""
    group = ET.Element(svg.tag("g"), {"fill": "currentColor"})
    places: dict[float, list[int]] = {}
    for place, (_, weight) in enumerate(zip(columns, seen, strict=True)):
        places.setdefault(weight, []).append(place)
    most = sorted(range(len(columns)), key=lambda place: -seen[place])[:3]
    named = ", ".join(f"{columns[place]} {seen[place]:.2f}" for place in most)
    ET.SubElement(group, svg.tag("title")).text = f"{name}: {named}"
    for weight, among in places.items():
        if weight > 0:
            squares = "".join(f"M{left + SIDE * place + 1},{y + 1}h14v14h-14z" for place in among)
            ET.SubElement(group, svg.tag("path"), {"d": squares, "fill-opacity": f"{weight:g}"})
    return group


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
