"""How much hangs on the way a ranking is made: whom other defensible choices name (Steegen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from scipy import stats

from seqbench.analyse import across
from seqbench.analyse.across import Scores
from seqbench.analyse.conclusions import Certificate, Choice, Matched, Rule, Sensitivity
from seqbench.analyse.findings import words
from seqbench.analyse.statistics import Array
from seqbench.analyse.summary import Cell

USUAL = "mean"
LISTED = 3
"""Choices that are named in the text for each winner."""
POOLED: Mapping[str, Callable[[Array], Array]] = {
    USUAL: lambda values: values.mean(axis=(1, 2)),
    "interquartile mean": across.interquartile_means,
    "mean rank": lambda values: -across.ranks(values).mean(axis=0),
}
"""From rescaled scores (architectures, tasks, seeds) to one number for each architecture; the highest wins."""


def sensitivity(certificates: Sequence[Certificate], cells: Sequence[Cell], matched: Sequence[Matched]) -> Sensitivity:
    """The usual winner (highest mean over all tasks that count) against every other choice, point estimates alone.

    Each way of pooling with all tasks and without each of them; and each matching rule, by mean rank. The usual choice
    is not among those counted.
    """
    found = across.scores(certificates, cells)
    if not found.archs:
        return Sensitivity(usual=None, choices=(), changed=None, text="No task counts: nobody can be named.")
    if len(found.archs) == 1:
        text = f"{found.archs[0]} is alone: no choice can change the winner."
        return Sensitivity(usual=found.archs[0], choices=(), changed=None, text=text)
    usual = _choice(USUAL, found, POOLED[USUAL](found.values))
    choices = (*list(_pooled(found))[1:], *_rules(found, matched))
    named = [choice for choice in choices if choice.winner is not None]
    others = [choice for choice in named if choice.winner != usual.winner]
    changed = len(others) / len(named) if usual.winner is not None and named else None
    text = " ".join(_words(usual, named, others))
    return Sensitivity(usual=usual.winner, choices=choices, changed=changed, text=text)


def _choice(name: str, found: Scores, pooled: Array, note: str = "") -> Choice:
    """The architecture with the highest number; none where several have it."""
    first = [arch for arch, value in zip(found.archs, pooled, strict=True) if np.isclose(value, pooled.max(), 0, 1e-9)]
    if len(first) > 1:
        return Choice(name=name, winner=None, note="; ".join(filter(None, [f"{words(first)} are level", note])))
    return Choice(name=name, winner=first[0], note=note)


def _pooled(found: Scores) -> Iterator[Choice]:
    """Every way of pooling, first with all tasks, then without each; the usual one first."""
    yield from (_choice(way, found, pool(found.values)) for way, pool in POOLED.items())
    for task in found.tasks:
        rest = found.without(task)
        for way, pool in POOLED.items():
            name = f"{way} without {task}"
            if rest.archs:
                yield _choice(name, rest, pool(rest.values))
            else:
                yield Choice(name=name, winner=None, note="no task is left")


def _rules(found: Scores, matched: Sequence[Matched]) -> Iterator[Choice]:
    """Mean rank with the ranks of each matching rule on the task ids where it was tried, the usual ones elsewhere."""
    for rule in dict.fromkeys(one.rule for one in matched if one.rule != "parameters"):  # that is the usual mean rank
        yield _rule(found, rule, {one.task: one for one in matched if one.rule == rule})


def _rule(found: Scores, rule: Rule, by_task: Mapping[str, Matched]) -> Choice:
    name = f"mean rank at equal {rule}"
    tried = [task for task in found.ids if task in by_task and by_task[task].ranks]
    if not tried:
        reasons = dict.fromkeys(one.note for one in by_task.values() if one.note)
        return Choice(name=name, winner=None, note="; ".join(reasons) or "no task that counts was matched so")
    usual = across.ranks(found.runs)
    placed = np.array(
        [
            stats.rankdata([by_task[task].ranks.get(arch, np.inf) for arch in found.archs]) if task in tried else own
            for task, own in zip(found.ids, usual, strict=True)
        ]
    )
    note = f"on {len(tried)} of {len(found.ids)} task ids, at equal parameters on the others"
    return _choice(name, found, -(found.levels @ placed).mean(axis=0), note if len(tried) < len(found.ids) else "")


def _words(usual: Choice, named: Sequence[Choice], others: Sequence[Choice]) -> Iterator[str]:
    if usual.winner is None:
        yield f"Nobody has the highest mean rescaled score alone: {usual.note}."
        return
    yield f"{usual.winner} has the highest mean rescaled score."
    if not named:
        yield "No other choice names anybody."
    elif not others:
        yield (
            f"All {len(named)} other choices that name a winner name it too."
            if len(named) > 1
            else ("The one other choice that names a winner names it too.")
        )
    else:
        whom = dict.fromkeys(one.winner for one in others if one.winner)
        said = "; ".join(f"{arch} by {_some([one.name for one in others if one.winner == arch])}" for arch in whom)
        yield f"{len(others)} of {len(named)} other choices that name a winner name another: {said}."
    yield "Point estimates alone are compared here: a winner within the noise of seeds is still a winner."


def _some(names: Sequence[str]) -> str:
    """The first of them, and how many there are."""
    more = len(names) - LISTED
    return words([*names[:LISTED], *([f"{more} more"] if more > 0 else [])])
