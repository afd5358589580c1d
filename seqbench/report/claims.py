"""Claims and what the runs say of them, published numbers beside what was found, and ablations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Claim, Ground, Reproduction
from seqbench.analyse.findings import arrow, number, span, words
from seqbench.analyse.summary import Cell
from seqbench.report.figures import Entry, score_words
from seqbench.report.settings import commands

MARKS = {
    **dict.fromkeys(("supported", "supports", "reproduced"), "yes"),
    **dict.fromkeys(("refuted", "refutes", "not reproduced"), "no"),
    **dict.fromkeys(("undecided",), "open"),
    **dict.fromkeys(("missing", "not run here"), "none"),
}
"""The class in style.css that gives a verdict its sign and its frame."""


def grouped(claims: Sequence[Claim]) -> list[tuple[int, str, list[Claim]]]:
    """Claims by number: number, title, parts in the order given."""
    found: dict[int, list[Claim]] = {}
    for one in claims:
        found.setdefault(one.number, []).append(one)
    return [(n, parts[0].title, parts) for n, parts in sorted(found.items())]


def tally(verdicts: Sequence[str]) -> str:
    """How many there are of each verdict, in words."""
    counts = Counter(verdicts)
    return words([f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict]])


def effect(of: Claim | Ground) -> str:
    """The effect with its interval and unit; empty: there is none."""
    if of.effect is None:
        return ""
    unit = f" {of.unit}" if isinstance(of, Claim) and of.unit else ""
    return f"{number(of.effect)}{span(of.interval)}{unit}"


def found(of: Reproduction) -> str:
    """What was found, with its 90 % interval."""
    return "–" if of.found is None else f"{number(of.found)}{span(of.interval)}"


# ---------------------------------------------------------------- ablations


@dataclass(frozen=True)
class Ablated:
    """One cell with a change of settings beside the cell without it."""

    task: str
    arch: str
    change: str
    """Settings that differ: before → after."""
    metric: str
    before: Entry
    after: Entry
    difference: Entry
    """Changed minus base, and in words the probability that a run with the change is better."""
    p: str
    reading: str
    anchor: str
    """Cell of the page that holds the base's runs; empty: they stand here."""


@dataclass(frozen=True)
class Ablation:
    """All cells of one ablation, and what makes their runs again."""

    name: str
    rows: Sequence[Ablated]
    commands: Sequence[str]


def ablations(variants: Sequence[Cell], cells: Sequence[Cell]) -> list[Ablation]:
    """Every ablation, with the base of each cell: its own one among the variants, else that of the grid.

    Exact Mann-Whitney tests over seeds, corrected by Holm over all cells that are compared here.
    """
    known = {(cell.task, _plain(cell), cell.evidence.setting.variant): cell for cell in (*cells, *variants)}
    grid = {id(cell) for cell in cells}
    pairs: dict[str, list[tuple[Cell, Cell | None]]] = {}
    for cell in variants:
        name = cell.evidence.setting.variant
        if name and not name.endswith("_base") and not name.startswith("published"):
            own = known.get((cell.task, _plain(cell), f"{name}_base"))
            pairs.setdefault(name, []).append((cell, own or known.get((cell.task, _plain(cell), ""))))
    compared = [(cell, base) for many in pairs.values() for cell, base in many if base]
    adjusted = statistics.holm([_p(cell, base) for cell, base in compared])
    p_holm = {id(cell): p for (cell, _), p in zip(compared, adjusted, strict=True)}
    return [
        Ablation(
            name,
            [_row(cell, base, p_holm.get(id(cell), 1.0), len(compared), id(base) in grid) for cell, base in many],
            list(dict.fromkeys(line for pair in many for cell in _unseen(pair, grid) for line in commands(cell))),
        )
        for name, many in pairs.items()
    ]


def _plain(cell: Cell) -> str:
    """The architecture without the name of a variant."""
    return cell.evidence.setting.arch


def _unseen(pair: Sequence[Cell | None], grid: set[int]) -> list[Cell]:
    """Those whose commands stand nowhere else on the page."""
    return [cell for cell in pair if cell and id(cell) not in grid]


def _row(cell: Cell, base: Cell | None, p: float, compared: int, in_grid: bool) -> Ablated:
    run = cell.runs[0]
    both = base is not None and bool(cell.counted and base.counted)
    return Ablated(
        task=cell.task,
        arch=_plain(cell),
        change="–" if base is None else _change(base, cell),
        metric=f"{run.metric} {arrow(run.direction)}",
        before=Entry(warn="not run") if base is None else _score(base),
        after=_score(cell),
        difference=_difference(cell, base) if base and both else Entry("–"),
        p=number(p) if base else "–",
        reading=_reading(cell, base, p, compared) if base else "nothing to compare",
        anchor=f"cell-{cell.task}--{_plain(cell)}" if in_grid else "",
    )


def _change(base: Cell, cell: Cell) -> str:
    """Settings that differ: before → after; one that the base lacks is left to the task there."""
    before, after = (_flat(one.evidence.setting.plain()) for one in (base, cell))
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    own = "the task's"
    changes = [f"{_last(name)} {before.get(name, own)} → {after.get(name, own)}" for name in names if name != "variant"]
    return ", ".join(changes) or "nothing but the name"


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings without their sections."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _score(cell: Cell) -> Entry:
    failed = [f"{count} of {len(cell.scores)} {word.replace('_', ' ')}" for word, count in cell.failures.items()]
    return Entry(score_words(cell), f"{cell.finished}/{len(cell.scores)} seeds", ", ".join(failed))


def _difference(cell: Cell, base: Cell) -> Entry:
    difference = float(np.mean(cell.counted) - np.mean(base.counted))
    better = statistics.improvement(*_signed(cell, base))
    text = f"{number(difference)}{span(statistics.interval(cell.counted, base.counted))}"
    return Entry(text, f"P(better) {number(better)}")


def _signed(*cells: Cell) -> list[list[float]]:
    """Scores of which larger is better; a failed run is below all."""
    return [
        [
            -math.inf if score is None else score * (1 if cell.runs[0].direction == "max" else -1)
            for score in cell.scores
        ]
        for cell in cells
    ]


def _p(cell: Cell, base: Cell) -> float:
    return statistics.exact_p(*_signed(cell, base))


def _reading(cell: Cell, base: Cell, p: float, compared: int) -> str:
    seeds = len(cell.scores), len(base.scores)
    if statistics.smallest_p(*seeds) * compared > statistics.LEVEL:
        return f"not testable with {min(seeds)} seed{'s' if min(seeds) != 1 else ''}"
    if p > statistics.LEVEL:
        return "no clear difference"
    return "better with the change" if statistics.improvement(*_signed(cell, base)) > 0.5 else "worse with the change"
