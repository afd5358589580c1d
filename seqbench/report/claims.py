"""Claims and what the runs say of them, published numbers beside what was found, and ablations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seqbench.analyse.conclusions import Ablated, Claim, Ground, Reproduction
from seqbench.analyse.findings import arrow, number, span, words
from seqbench.analyse.summary import Cell, Summary
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
    """What was found, with its 90 % interval; of a control to the published digits."""
    if of.found is None:
        return "–"
    return f"{number(of.found)}{span(of.interval)}" if of.digits is None else f"{of.found:.{of.digits}f}"


def ledger(summary: Summary) -> list[Reproduction]:
    """The published numbers, those that were looked at here first."""
    return sorted(summary.ledger, key=lambda one: MARKS[one.verdict] == "none")


def again(summary: Summary) -> list[str]:
    """The commands that make the published numbers again that were looked at here, each once."""
    known = {(cell.task, cell.evidence.setting.label): cell for cell in (*summary.cells, *summary.variants)}
    lines: list[str] = []
    for one in summary.ledger:
        if one.label:
            lines += commands(known[one.task, one.label])
        elif one.task:
            lines.append(f"seqbench control {one.task} --preset {summary.plan.preset}")
    return list(dict.fromkeys(lines))


# ---------------------------------------------------------------- ablations


@dataclass(frozen=True)
class Row:
    """One cell with a change of settings beside the cell without it."""

    of: Ablated
    metric: str
    before: Entry
    after: Entry
    difference: Entry
    """Changed minus base, and in words the probability that a run with the change is better."""
    anchor: str
    """Cell of the page that holds the base's runs; empty: they stand here."""


@dataclass(frozen=True)
class Ablation:
    """All cells of one ablation, and what makes their runs again."""

    name: str
    rows: Sequence[Row]
    commands: Sequence[str]


def ablations(summary: Summary) -> list[Ablation]:
    """Every ablation, with scores and commands of its cells."""
    known = {(cell.task, cell.evidence.setting.label): cell for cell in (*summary.cells, *summary.variants)}
    found: dict[str, list[Ablated]] = {}
    for one in summary.ablated:
        found.setdefault(one.name, []).append(one)
    return [
        Ablation(
            name,
            [_row(one, known) for one in many],
            list(
                dict.fromkeys(
                    line
                    for one in many
                    for label in (one.label, one.base)
                    if "+" in label  # those of the grid stand with their cells
                    for line in commands(known[one.task, label])
                )
            ),
        )
        for name, many in found.items()
    ]


def _row(of: Ablated, known: Mapping[tuple[str, str], Cell]) -> Row:
    cell, base = known[of.task, of.label], known.get((of.task, of.base))
    run = cell.runs[0]
    return Row(
        of=of,
        metric=f"{run.metric} {arrow(run.direction)}",
        before=Entry(warn="not run") if base is None else _score(base),
        after=_score(cell),
        difference=_difference(of),
        anchor="" if base is None or "+" in of.base else f"cell-{of.task}--{of.base}",
    )


def _score(cell: Cell) -> Entry:
    failed = [f"{count} of {len(cell.scores)} {word.replace('_', ' ')}" for word, count in cell.failures.items()]
    return Entry(score_words(cell), f"{cell.finished}/{len(cell.scores)} seeds", ", ".join(failed))


def _difference(of: Ablated) -> Entry:
    if of.difference is None or of.improvement is None:
        return Entry("–")
    return Entry(f"{number(of.difference)}{span(of.interval)}", f"P(better) {number(of.improvement)}")
