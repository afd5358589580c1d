"""Tuning: what was searched and what it cost, what more of it would bring, and ranks under other matching rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from seqbench.analyse.conclusions import Matched, Rule, Search
from seqbench.analyse.findings import arrow, number, words
from seqbench.analyse.summary import TaskSummary
from seqbench.report.charts import Axis, Dot, Style, draw
from seqbench.report.evidence_charts import rank_lines
from seqbench.report.figures import Charts, Entry, Figure, Row, Table, first, scored

RULES: dict[Rule, str] = {
    "parameters": "equal parameters",
    "training time": "equal training time",
    "arithmetic": "equal arithmetic",
    "state bytes": "equal state",
}


def spaces(searches: Sequence[Search]) -> list[str]:
    """Which learning rates were tried, one sentence for each distinct space."""
    found: dict[tuple[float, ...], list[str]] = {}
    for one in searches:
        found.setdefault(one.rates, []).append(one.task)
    many = len(found) > 1
    return [
        f"Learning rates tried: {words([number(rate) for rate in rates])}"
        + (f", on {words(list(dict.fromkeys(tasks)))}." if many else ", the same for every cell.")
        for rates, tasks in found.items()
    ]


def cost(searches: Sequence[Search]) -> str:
    """What all trials took, in a sentence."""
    steps, known = sum(one.steps for one in searches), [one.seconds for one in searches if one.seconds is not None]
    text = f"All trials of {len(searches)} cell{'s' if len(searches) != 1 else ''} took {steps:,} optimiser steps"
    if not known:
        return f"{text}; in seconds this is not known."
    some = "" if len(known) == len(searches) else f" in the {len(known)} cells where it is known"
    return f"{text}: {_duration(sum(known))}{some}, at their pace on the quiet machine."


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds)} seconds"


def _inside(of: Search) -> str | Entry:
    """Whether the rate was chosen at all: in a short search all may score alike."""
    told = {number(score) for score in of.scores if score is not None}
    return Entry(warn="all rates alike: none is told apart") if len(of.scores) > 1 and len(told) == 1 else "inside"


def borders(searches: Sequence[Search]) -> list[str]:
    """Cells whose best rate lies on the border of the search."""
    return [f"{one.arch} on {one.task}" for one in searches if one.border]


def table(searches: Sequence[Search], tasks: Sequence[TaskSummary]) -> Table:
    """One row per cell: what each rate gave, what that cost, and what one trial alone would have given."""
    rows: list[Row] = [
        [
            Entry(one.arch, one.task),
            Entry(_rates(one), _watched(tasks, one.task)),
            str(len(one.expected)),
            f"{one.steps:,}",
            "–" if one.seconds is None else number(one.seconds),
            _expected(one),
            Entry(warn="on the border of the search") if one.border else _inside(one),
        ]
        for one in searches
    ]
    head = ["Cell", "Rate: score", "Trials", "Steps", "Seconds", "Expected best, 1 trial to all", "Best rate"]
    return Table("Every search: mean validation score of each learning rate, and what the trials took", head, rows)


def _rates(of: Search) -> str:
    found = zip(of.rates, of.scores, strict=True)
    return ", ".join(f"{number(rate)}: {'failed' if score is None else number(score)}" for rate, score in found)


def _expected(of: Search) -> str:
    known = [value for value in of.expected if value is not None]
    return f"{number(known[0])} to {number(known[-1])}" if known else "no trial finished"


def _watched(tasks: Sequence[TaskSummary], task_id: str) -> str:
    """The validation score that rates are chosen by, with its direction."""
    name, direction = next(task.spec.watched for task in tasks if task.id == task_id)
    return f"{name} {arrow(direction)}"


def figures(searches: Sequence[Search], tasks: Sequence[TaskSummary], looks: dict[str, Style]) -> Charts:
    """Expected best score against random trials, for the first tasks with two trials or more."""
    several = [one for one in searches if len(one.expected) > 1]
    by_task = [(task, [one for one in several if one.task == task.id]) for task in tasks]
    known = [(task, own) for task, own in by_task if any(value is not None for one in own for value in one.expected)]
    return first(known, lambda one: _figure(*one, looks))


def _figure(task: TaskSummary, own: Sequence[Search], looks: dict[str, Style]) -> Figure:
    watched = _watched([task], task.id)
    dots = [
        Dot(one.arch, float(n), value, value, value, f"{one.arch}, {n} trial{'s' * (n > 1)}: {number(value)}")
        for one in own
        for n, value in enumerate(one.expected, 1)
        if value is not None
    ]
    up = scored(f"best validation {watched}", [dot.y for dot in dots])
    svg = draw(
        dots,
        looks,
        Axis("random trials", ticks=tuple(sorted({float(dot.x) for dot in dots})), format="d"),
        up,
        label=f"Expected best validation score on {task.id} after so many random trials, one line per architecture",
    )
    caption = f"Expected best validation {watched} after so many of the trials, drawn at random."
    caption += " Log scale." if up.log else ""
    return Figure(task.id, caption, svg, (), ())


# ---------------------------------------------------------------- matching rules


def moved(matched: Sequence[Matched]) -> list[str]:
    """For each rule other than equal parameters: on how many tasks ranks change, and whose; in sentences."""
    found = []
    for rule in get_args(Rule)[1:]:
        ranked = [one for one in matched if one.rule == rule and one.ranks]
        changed = [one for one in ranked if one.changed]
        if ranked:
            tasks = f"{len(ranked)} task{'s' if len(ranked) != 1 else ''}"
            text = f"At {RULES[rule]}, ranks change on {len(changed)} of {tasks}"
            text += f": {'; '.join(f'{one.task} ({words(list(one.changed))})' for one in changed)}" if changed else ""
            found.append(f"{text}.")
        found += _unranked([one for one in matched if one.rule == rule])
    return found


def _unranked(of: Sequence[Matched]) -> list[str]:
    """Why a rule gives no ranks, and on which tasks, where not on all."""
    notes: dict[str, list[Matched]] = {}
    for one in of:
        if not one.ranks and one.note:
            notes.setdefault(one.note.rstrip("."), []).append(one)
    return [
        f"At {RULES[many[0].rule]} there are no ranks"
        + ("" if len(many) == len(of) else f" on {words([one.task for one in many])}")
        + f": {note}."
        for note, many in notes.items()
    ]


def rank_figures(matched: Sequence[Matched], looks: dict[str, Style]) -> Charts:
    """Ranks under each rule, for the first tasks on which a rule changes them."""
    by_task: dict[str, list[Matched]] = {}
    for one in matched:
        if one.ranks:
            by_task.setdefault(one.task, []).append(one)
    drawn = [own for own in by_task.values() if len(own) > 1 and any(one.changed for one in own)]
    return first(drawn, lambda own: _ranks(own, looks))


def _ranks(own: Sequence[Matched], looks: dict[str, Style]) -> Figure:
    order = list(get_args(Rule))
    own = sorted(own, key=lambda one: order.index(one.rule))
    archs = [arch for arch in looks if any(arch in one.ranks for one in own)]
    said = "; ".join(f"at {RULES[one.rule]} {_order(one)}" for one in own)
    svg = rank_lines(
        [RULES[one.rule] for one in own],
        {arch: [one.ranks.get(arch) for one in own] for arch in archs},
        {arch: [arch in one.changed for one in own] for arch in archs},
        looks,
        f"Ranks on {own[0].task} under {len(own)} matching rules, best first: {said}",
    )
    changed = [f"{words(list(one.changed))} at {RULES[one.rule]}" for one in own if one.changed]
    caption = f"Rank of each architecture, 1 is best. Thick, where it changes: {'; '.join(changed)}."
    return Figure(own[0].task, caption, svg, (), ())


def _order(of: Matched) -> str:
    return ", ".join(f"{arch} {of.ranks[arch]}" for arch in sorted(of.ranks, key=lambda arch: (of.ranks[arch], arch)))


def matched_table(matched: Sequence[Matched], archs: Sequence[str]) -> Table:
    """One row per task and rule that gives scores: rank, and below it the score, of each architecture."""
    rows: list[Row] = [
        [Entry(f"{one.task}, {RULES[one.rule]}", "; ".join(filter(None, (one.budget, one.note))))]
        + [_place(one, arch) for arch in archs]
        for one in matched
        if one.ranks or one.scores
    ]
    return Table("Rank, and below it the score, under each matching rule", ["Task and rule", *archs], rows)


def _place(of: Matched, arch: str) -> Entry:
    rank, score = of.ranks.get(arch), of.scores.get(arch)
    text = "" if score is None else number(score)
    return Entry("–" if rank is None else str(rank), text, "changed" if arch in of.changed else "")
