"""Charts that Vega-Lite has no form for: ranks over tasks with bars of equals, and ranks under several rules."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from seqbench.analyse.findings import number, words
from seqbench.report import svg
from seqbench.report.charts import Style

WIDTH = 400
"""Of a picture, in its own units; as in the other charts a letter is 11 high."""
ROW = 20
"""From one line of text to the next."""
SIDE = 118
"""Room for a name on either side."""
LONGEST = 16
"""Letters of a name that fit there."""


def critical_difference(
    mean_ranks: Mapping[str, float], cliques: Sequence[Sequence[str]], looks: Mapping[str, Style]
) -> Markup:
    """Mean ranks on a line, the best on the left; a bar joins those that no test tells apart (Demsar 2006, fig. 1)."""
    order = sorted(mean_ranks, key=lambda arch: (mean_ranks[arch], arch))
    bars = [clique for clique in cliques if len(clique) > 1]
    last, half = max(2, len(order)), -(-len(order) // 2)
    line, base = 26, 26 + 8 * len(bars) + 22

    def place(rank: float) -> float:
        return SIDE + (rank - 1) / (last - 1) * (WIDTH - 2 * SIDE)

    root = _root(base + ROW * (half - 1) + 12)
    ticks = "".join(f"M{place(rank):.1f},{line}v-5" for rank in range(1, last + 1))
    _path(root, f"M{place(1):.1f},{line}H{place(last):.1f}{ticks}", "currentColor")
    for rank in range(1, last + 1):
        _text(root, place(rank), line - 9, str(rank), "middle")
    for n, arch in enumerate(order):
        left = n < half
        y = base + ROW * (n if left else len(order) - 1 - n)
        x, end = place(mean_ranks[arch]), SIDE - 4 if left else WIDTH - SIDE + 4
        leader = _path(root, f"M{x:.1f},{line}V{y}H{end}", looks[arch].colour)
        _tip(leader, f"{arch}: mean rank {number(mean_ranks[arch])}")
        _symbol(root, looks[arch], x, line)
        _text(root, end + (-5 if left else 5), y + 4, _rank(arch, mean_ranks[arch], left), "end" if left else "start")
    for n, clique in enumerate(bars):
        ranks = [mean_ranks[arch] for arch in clique]
        bar = f"M{place(min(ranks)) - 5:.1f},{line + 12 + 8 * n}H{place(max(ranks)) + 5:.1f}"
        _tip(_path(root, bar, "currentColor", 4), f"no difference found within {words(list(clique))}")
    label = "Mean ranks over tasks, best first: " + ", ".join(f"{a} {number(mean_ranks[a])}" for a in order)
    label += ". No difference found within: " + ("; ".join(words(list(clique)) for clique in bars) or "no group")
    return svg.image(root, label, "chart")


def _rank(arch: str, rank: float, left: bool) -> str:
    """A name with its rank on the inner side."""
    return f"{_cut(arch)} {number(rank)}" if left else f"{number(rank)} {_cut(arch)}"


def rank_lines(
    columns: Sequence[str],
    ranks: Mapping[str, Sequence[int | None]],
    moved: Mapping[str, Sequence[bool]],
    looks: Mapping[str, Style],
    label: str,
) -> Markup:
    """One line per architecture through its rank in each column, 1 on top; thick where it `moved` there.

    A line is broken where an architecture has no rank.
    """
    last = max((rank for of in ranks.values() for rank in of if rank is not None), default=1)
    top, step = 42, 26
    width = WIDTH - SIDE - 55

    def at(column: int, rank: int) -> tuple[float, float]:
        return 40 + column * width / max(1, len(columns) - 1), top + step * (rank - 1)

    root = _root(top + step * (last - 1) + 16)
    for n, column in enumerate(columns):
        first, *rest = column.split(" ", 1)
        for row, part in enumerate([first, *rest]):
            _text(root, at(n, 1)[0], 12 + 12 * row, _cut(part), "middle")
    for rank in range(1, last + 1):
        _text(root, 12, at(0, rank)[1] + 4, str(rank), "middle")
    ends: dict[int, list[str]] = {}
    for arch, of in ranks.items():
        seen = [(n, rank) for n, rank in enumerate(of) if rank is not None]
        for (n, rank), (m, after) in pairwise(seen):
            if m == n + 1:
                (x, y), (right, below) = at(n, rank), at(m, after)
                line = f"M{x:.1f},{y}L{right:.1f},{below}"
                _path(root, line, looks[arch].colour, 4 if moved[arch][m] else 1.5, looks[arch].dash)
        for n, rank in seen:
            x, y = at(n, rank)
            _tip(_symbol(root, looks[arch], x, y), f"{arch}, {columns[n]}: rank {rank}")
        if seen and seen[-1][0] == len(columns) - 1:
            ends.setdefault(seen[-1][1], []).append(arch)
    for rank, archs in ends.items():
        x, y = at(len(columns) - 1, rank)
        _text(root, x + 12, y + 4, ", ".join(map(_cut, archs)), "start")
    return svg.image(root, label, "chart")


# ---------------------------------------------------------------- shapes


def _root(height: float) -> ET.Element:
    return ET.Element(svg.tag("svg"), {"viewBox": f"0 0 {WIDTH} {height:g}", "fill": "none", "font-size": "11"})


def _path(parent: ET.Element, d: str, colour: str, width: float = 1.5, dash: Sequence[int] = ()) -> ET.Element:
    dashes = {"stroke-dasharray": ",".join(map(str, dash))} if dash and dash[1] else {}
    return ET.SubElement(parent, svg.tag("path"), {"d": d, "stroke": colour, "stroke-width": f"{width:g}"} | dashes)


def _symbol(parent: ET.Element, look: Style, x: float, y: float) -> ET.Element:
    put = {"transform": f"translate({x:.1f},{y:g})scale(4.2)", "d": look.shape, "fill": look.colour}
    return ET.SubElement(parent, svg.tag("path"), put)


def _text(parent: ET.Element, x: float, y: float, text: str, anchor: str) -> None:
    put = {"x": f"{x:.1f}", "y": f"{y:g}", "text-anchor": anchor, "fill": "currentColor"}
    ET.SubElement(parent, svg.tag("text"), put).text = text


def _tip(element: ET.Element, text: str) -> None:
    ET.SubElement(element, svg.tag("title")).text = text


def _cut(name: str) -> str:
    """As much of a name as there is room for."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
