"""What the page comes to, in a few lines: counted from verdicts, nothing is decided here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from seqbench.analyse.findings import number, words
from seqbench.analyse.summary import Finding, Summary
from seqbench.report.claims import tally

SHOWN = 6
"""Sentences of a kind that are seen at once; the others are folded."""
KINDS = {
    "design": "What can be tested",
    "gate": "Gates not passed",
    "accuracy": "Accuracy",
    "control": "Controls not beaten",
    "cost": "Cost",
    "reach": "Long dependencies",
}


class Line(NamedTuple):
    """One line: what it is of, what it says, and where its numbers are."""

    term: str
    text: str
    anchor: str


def count(summary: Summary) -> str:
    """How many tasks there are, and how many task ids where one is run at several levels."""
    names, ids = len({task.name for task in summary.tasks}), len(summary.tasks)
    said = f"{names} task{'s' if names != 1 else ''}"
    return said if names == ids else f"{said} ({ids} with their levels)"


def lines(summary: Summary) -> list[Line]:
    """The answer in short, doubts first where nothing could be decided."""
    found = [_accuracy(summary), *_controls(summary), Line("Over tasks", _over(summary), "ranking")]
    first = {kind: next((one for one in summary.findings if one.kind == kind), None) for kind in KINDS}
    for kind, term in (("cost", "Cost"), ("reach", "Long dependencies")):
        one = first[kind]
        if one:
            more = f"; {one.detail}" if kind == "reach" and one.detail else ""
            found.append(Line(term, f"{one.text}{more}.", one.anchor))
    if summary.claims:
        verdicts = tally([one.verdict for one in summary.claims])
        found.append(Line("Claims", f"Of {len(summary.claims)} statements that people make: {verdicts}.", "claims"))
    doubts = len(summary.concerns)
    if doubts:
        many = f"{doubts} remark{'s' if doubts != 1 else ''}"
        found.append(Line("Doubts", f"Quality control has {many}.", "quality"))
    return found


def _accuracy(summary: Summary) -> Line:
    design = summary.design
    if not design.testable:
        text = (
            f"Nothing can be decided about accuracy: with {design.seeds} seed{'s' if design.seeds != 1 else ''} a side "
            f"no difference can pass the test ({design.seeds_needed} would do). Scores are there, winners are not."
        )
        return Line("Accuracy", text, "pairs")
    wins: Counter[str] = Counter()
    some = 0
    for task in summary.tasks:
        winners = {pair.winner for pair in summary.pairs if pair.task == task.id} - {None}
        ranked = [cell for cell in summary.of_task(task.id) if not cell.refused]
        beaten = Counter(pair.winner for pair in summary.pairs if pair.task == task.id and pair.winner)
        first = next((arch for arch, many in beaten.items() if many == len(ranked) - 1), None)
        if first:
            wins[first] += 1
        elif winners:
            some += 1
    none = len(summary.tasks) - wins.total() - some
    parts = []
    if wins:
        whom = words([f"{arch} {many}" for arch, many in wins.most_common()])
        parts.append(f"on {wins.total()} one is better than every other ({whom})")
    if some:
        parts.append(f"on {some} some differ and none beats all others")
    if none:
        parts.append(f"on {none} no two differ clearly")
    many = count(summary)
    text = (
        f"Of {many}, {'; '.join(parts)}. Exact tests over {design.seeds} seeds, "
        f"Holm-corrected over {design.comparisons} comparisons at {number(design.level)}."
    )
    return Line("Accuracy", text, "leaders")


def _over(summary: Summary) -> str:
    """Who is ahead over all tasks, and whether that can be tested at all."""
    ranking, changed = summary.ranking, summary.sensitivity.changed
    order = sorted(summary.aggregates, key=lambda one: -one.mean)
    if ranking.testable or len(order) < 2:
        return ranking.text
    first, second, *_ = order
    text = (
        f"No overall winner can be shown with {ranking.tasks} task{'s' if ranking.tasks != 1 else ''}: "
        f"{ranking.needed} would do. The highest mean of rescaled scores is that of {first.arch} "
        f"({number(first.mean)}), then {second.arch} ({number(second.mean)})"
    )
    others = "" if changed is None else f"; {100 * changed:.0f} % of the other ways to pool the tasks name another"
    return f"{text}{others}."


def _controls(summary: Summary) -> Iterator[Line]:
    """Where no architecture was worth training: something simpler scores better."""
    if summary.outdone:
        which = words([f"{task.id} ({task.strong.name})" for task in summary.outdone if task.strong])
        yield Line("Controls", f"A strong control scores better than every architecture on {which}.", "scores")


def kinds(summary: Summary) -> list[tuple[str, list[Finding], list[Finding]]]:
    """Title, the first sentences and the others of each kind of finding that there is."""
    found = []
    for kind, title in KINDS.items():
        own = [one for one in summary.findings if one.kind == kind]
        if own:
            found.append((title, own[:SHOWN], own[SHOWN:]))
    return found
