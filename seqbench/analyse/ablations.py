"""Ablations: cells with one setting changed beside the same cells without the change. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Ablated
from seqbench.analyse.grounds import INERT, same_runs
from seqbench.analyse.summary import Cell
from seqbench.presets import flat
from seqbench.variants import BASE, PUBLISHED


def compare(variants: Sequence[Cell], cells: Sequence[Cell]) -> tuple[Ablated, ...]:
    """Every changed cell against its base: its own one among the variants, else that of the grid.

    Exact two-sided Mann-Whitney tests over seeds, a failed run below all others, corrected by Holm over all cells that
    are compared here; the 95 % interval of the difference is Welch's.
    """
    known = {(cell.task, cell.evidence.setting.label): cell for cell in (*cells, *variants)}
    pairs: list[tuple[Cell, Cell | None]] = []
    for cell in variants:
        setting = cell.evidence.setting
        if not setting.variant.endswith(BASE) and not setting.variant.startswith(PUBLISHED):
            own = known.get((cell.task, f"{setting.label}{BASE}"))
            pairs.append((cell, own or known.get((cell.task, setting.arch))))
    compared = [(cell, base) for cell, base in pairs if base]
    raw = [statistics.exact_p(cell.signed, base.signed) for cell, base in compared]
    p = {id(cell): both for (cell, _), both in zip(compared, zip(raw, statistics.holm(raw), strict=True), strict=True)}
    return tuple(_ablated(cell, base, p.get(id(cell)), len(compared)) for cell, base in pairs)


def _ablated(cell: Cell, base: Cell | None, p: tuple[float, float] | None, compared: int) -> Ablated:
    setting = cell.evidence.setting
    found = Ablated(
        name=setting.variant,
        task=cell.task,
        arch=setting.arch,
        label=setting.label,
        base=base.evidence.setting.label if base else "",
        change=_change(base, cell) if base else "",
        reading="nothing to compare",
    )
    if base is None or p is None:
        return found
    numbers: dict[str, Any] = {}
    if cell.counted and base.counted:
        numbers = {
            "difference": float(np.mean(cell.counted) - np.mean(base.counted)),
            "interval": statistics.interval(cell.counted, base.counted),
        }
    improvement = statistics.improvement(cell.signed, base.signed)
    reading = _reading(min(len(cell.scores), len(base.scores)), p[1], improvement, compared)
    if same_runs(cell, base):
        reading = f"{INERT} in these runs"
    return found.model_copy(
        update={**numbers, "improvement": improvement, "p": p[0], "p_holm": p[1], "reading": reading}
    )


def _reading(seeds: int, p: float, improvement: float, compared: int) -> str:
    if statistics.smallest_p(seeds, seeds) * compared > statistics.LEVEL:
        return f"not testable with {seeds} seed{'s' if seeds != 1 else ''}"
    if p > statistics.LEVEL:
        return "no clear difference"
    return "better with the change" if improvement > 0.5 else "worse with the change"


def _change(base: Cell, cell: Cell) -> str:
    """Settings that differ: before → after; one that the base lacks is left to the task there."""
    before, after = (dict(flat(one.evidence.setting.plain())) for one in (base, cell))
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    own = "the task's"
    changes = [
        f"{name.rsplit('.', 1)[-1]} {before.get(name, own)} → {after.get(name, own)}"
        for name in names
        if name != "variant"
    ]
    return ", ".join(changes) or "nothing but the name"
