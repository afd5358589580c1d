"""The gates: which checks every architecture passed, and why one that did not has no rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from seqbench.analyse.findings import number, words
from seqbench.analyse.summary import Cell, Summary
from seqbench.measurements import Check, Gate
from seqbench.report.figures import Entry, Table

MEANINGS: dict[Gate, str] = {
    "causality": "no output depends on a later input",
    "streaming": "step by step gives what all at once gives",
    "padding": "padding does not change an item",
    "batch": "the others of a batch do not change an item",
    "state": "nothing is left over from one call to the next",
    "seed": "the seed, and nothing else, decides the first weights",
    "clipping": "the clipped gradient has the norm that was asked for",
    "gradient": "gradients are finite, complete, and those of differences in float64",
}


def table(summary: Summary) -> Table:
    """One row per gate, one column per architecture."""
    rows = [
        [Entry(gate, MEANINGS[gate]), *(_entry([c for c in one.checks if c.gate == gate]) for one in summary.gates)]
        for gate in get_args(Gate)
    ]
    head = ["Gate", *(one.arch for one in summary.gates)]
    return Table("Gates: kinds of models in which each architecture passed, of all that were checked", head, rows)


def _entry(checks: Sequence[Check]) -> Entry:
    if not checks:
        return Entry("–")
    failed = [check for check in checks if not check.passed]
    if failed:
        return Entry(warn=f"FAILED {len(failed)} of {len(checks)}")
    return Entry(f"passed {len(checks)} of {len(checks)}")


def failures(summary: Summary) -> list[tuple[str, str]]:
    """Architecture and, in words, the gate that it failed, the model in which it did, and what that means."""
    return [(one.arch, _words(check)) for one in summary.gates for check in one.failed]


def _words(check: Check) -> str:
    deviation = "" if check.deviation is None else f"; deviation {number(check.deviation)}"
    return f"{check.gate}, in the model '{check.model}': {check.note}{deviation}, tolerance {number(check.tolerance)}"


def unranked(summary: Summary, cell: Cell) -> str:
    """Why a cell has no rank, in a few words; empty: it has one."""
    if not cell.refused:
        return ""
    kind = next(task.spec.kind for task in summary.tasks if task.id == cell.task)
    failed = [
        check.gate for one in summary.gates if one.arch == cell.arch for check in one.failed if check.model == kind
    ]
    gates = list(dict.fromkeys(failed))
    if not gates:
        return f"not ranked: {cell.refused}"
    return f"not ranked: fails the gate{'s' if len(gates) > 1 else ''} of {words(gates)}"
