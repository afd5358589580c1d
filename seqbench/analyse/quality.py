"""The list of quality control: what a careful reader would ask about. Nothing is decided here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from seqbench.analyse.findings import Costs, number, words
from seqbench.analyse.summary import Cell, Concern, TaskSummary
from seqbench.files import canonical
from seqbench.measurements import Counted, Gates, Measured, Pace, Reaches

POSSIBLE = {
    **dict.fromkeys(("accuracy", "f1"), (0.0, 1.0)),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
    **dict.fromkeys(("mse", "mae", "nll", "cross_entropy", "bits_per_character", "wer"), (0.0, math.inf)),
    "perplexity": (1.0, math.inf),
}
"""Between which values a metric can lie."""
ROUNDING = 1e-6
"""How far beyond them a mean of float32 numbers may come to lie."""


def concerns(
    tasks: Sequence[TaskSummary],
    cells: Sequence[Cell],
    variants: Sequence[Cell],
    costs: Costs,
    paces: Sequence[Pace],
    reaches: Sequence[Reaches],
) -> tuple[Concern, ...]:
    """What a careful reader would ask about: what is missing, failed, impossible, on a border, noisy, mixed.

    Of variants only what befell their runs: what they score is the business of their ablation or published row.
    """
    names = {task.id: task.trivial.name for task in tasks}
    found = list(_missing(costs.measured, reaches))
    found += [concern for cell in cells for concern in _of_cell(cell, names[cell.task])]
    for cell in variants:
        label = f"{cell.evidence.setting.label} on {cell.task}"
        found += [
            Concern(kind=one.kind, text=f"{label}: {one.text}") for one in _of_cell(cell, "") if one.kind != "control"
        ]
    for gates in costs.gates:
        found += _of_gates(gates)
    sources: list[Measured | Counted] = [*costs.measured, *costs.counted]
    for one in sources:
        found += _of_measured(one)
    for pace in paces:
        found += _of_pace(pace)
    found += _earlier(sources, paces)
    found += _hardware("training runs", [p.hardware.plain() for c in cells for p in c.evidence.provenances])
    notes = [*(one.provenance for one in sources), *(pace.provenance for pace in paces)]
    found += _hardware("measurements", [note.hardware.plain() for note in notes])
    return tuple(found)


def _missing(measured: Sequence[Measured], reaches: Sequence[Reaches]) -> Iterator[Concern]:
    """What the plan asks for and this machine or these tasks do not give, each once."""
    for text in dict.fromkeys(one.energy for one in measured if one.energy.startswith("not measured")):
        yield Concern(kind="missing", text=f"energy {text}")
    why = {one.task: one.skipped for one in reaches if one.skipped}
    for task, reason in why.items():
        yield Concern(kind="missing", text=f"{task}: no horizons and no longer sequences: {reason}")


def _of_cell(cell: Cell, control: str) -> Iterator[Concern]:
    place = {"task": cell.task, "arch": cell.arch}
    for result in cell.runs:
        if result.status != "ok":
            reason = f": {result.reason}" if result.reason else ""
            yield Concern(kind="failed", text=f"seed {result.seed} ended as {result.status}{reason}", **place)
        for metric, value in result.test.items():
            low, high = POSSIBLE.get(metric, (-math.inf, math.inf))
            if not low - ROUNDING <= value <= high + ROUNDING:
                yield Concern(kind="range", text=f"seed {result.seed}: {metric} {number(value)} on test", **place)
    if cell.evidence.tuned.border:
        rate = number(cell.evidence.tuned.learning_rate)
        yield Concern(kind="border", text=f"the best learning rate, {rate}, is on the edge of the search", **place)
    if cell.against_control == "no better":
        yield Concern(kind="control", text=f"no better than the control {control}", **place)
    if any(provenance.dirty for provenance in cell.evidence.provenances):
        yield Concern(kind="dirty", text="made from a commit with local changes", **place)


def _of_gates(gates: Gates) -> Iterator[Concern]:
    for gate in dict.fromkeys(check.gate for check in gates.failed):
        failed = [check for check in gates.failed if check.gate == gate]
        more = f" (and in {len(failed) - 1} models more)" if len(failed) > 1 else ""
        yield Concern(kind="gate", text=f"{gate} in '{failed[0].model}'{more}: {failed[0].note}", arch=gates.arch)


def _of_measured(one: Measured | Counted) -> Iterator[Concern]:
    """Per quantity how many of its points were disturbed, or ended otherwise than ok; each stands in the tables."""
    for quantity in dict.fromkeys(m.quantity for m in one.measurements):
        own = [m for m in one.measurements if m.quantity == quantity]
        for flag in dict.fromkeys(flag for m in own for flag in m.flags):
            count = sum(flag in m.flags for m in own)
            text = f"{quantity}: {count} of {len(own)} points were {flag}"
            yield Concern(kind="contended", text=text, arch=one.arch)
        for status in dict.fromkeys(m.status for m in own if m.status != "ok"):
            failed = [m for m in own if m.status == status]
            places = words([f"length {m.length}, batch {m.batch}{f', {m.form}' if m.form else ''}" for m in failed])
            yield Concern(kind="measurement", text=f"{quantity}: {status} at {places}", arch=one.arch)
    if one.provenance.dirty:
        yield Concern(kind="dirty", text="measured from a commit with local changes", arch=one.arch)


def _of_pace(pace: Pace) -> Iterator[Concern]:
    for one in pace.cells:
        if one.flags:
            yield Concern(kind="contended", text=f"pace: {words(one.flags)}", task=pace.task, arch=one.arch)
        if one.status != "ok":
            yield Concern(kind="measurement", text=f"pace: {one.status}", task=pace.task, arch=one.arch)


def _earlier(sources: Sequence[Measured | Counted], paces: Sequence[Pace]) -> Iterator[Concern]:
    """Per architecture how many of its points were kept from a call of another commit than that of their record."""
    kept: dict[str, list[bool]] = {}
    for one in sources:
        old = [m.commit not in ("", one.provenance.commit) for m in one.measurements]
        kept.setdefault(one.arch, []).extend(old)
    for pace in paces:
        for time in pace.cells:
            kept.setdefault(time.arch, []).append(time.commit not in ("", pace.provenance.commit))
    for arch, old in kept.items():
        if any(old):
            text = f"{sum(old)} of {len(old)} points were measured by an earlier commit"
            yield Concern(kind="measurement", text=text, arch=arch)


def _hardware(what: str, fingerprints: Sequence[dict[str, object]]) -> Iterator[Concern]:
    kinds = {canonical(fingerprint) for fingerprint in fingerprints}
    if len(kinds) > 1:
        yield Concern(kind="hardware", text=f"{what} come from {len(kinds)} different machines or library versions")
