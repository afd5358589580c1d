"""Across tasks: scores rescaled and pooled, profiles, ranks, and how much hangs on how the ranking is made."""

from __future__ import annotations

from collections.abc import Sequence

from seqbench.analyse import chooser
from seqbench.analyse.conclusions import Aggregate, Certificate, Profile, Ranking, Sensitivity
from seqbench.analyse.findings import number, span, words
from seqbench.report.charts import Axis, Dot, Style, draw
from seqbench.report.evidence_charts import critical_difference
from seqbench.report.figures import Entry, Figure, Row, Table

SEEN = "best seen: "
"""How the origin of a ceiling begins that no task gives."""
LISTED = 10
"""Thresholds, about, in the table of a profile."""


def table(aggregates: Sequence[Aggregate]) -> Table:
    """One row per architecture, the highest mean first."""
    order = sorted(aggregates, key=lambda one: -one.mean)
    means = max((one.mean for one in order), default=0.0)
    middles = max((one.interquartile_mean for one in order), default=0.0)
    rows: list[Row] = [
        [
            Entry(one.arch, f"{one.tasks} task{'s' if one.tasks != 1 else ''}"),
            _score(one.mean, one.mean_interval, means),
            _score(one.interquartile_mean, one.interquartile_interval, middles),
            number(one.mean_rank),
            chooser.share(100 * one.best),
        ]
        for one in order
    ]
    head = ["Architecture", "Mean", "Interquartile mean", "Mean rank", "Highest mean in redraws of seeds"]
    return Table("Rescaled scores over all tasks that count: 0 is the trivial control, 1 the ceiling", head, rows)


def ceilings(certificates: Sequence[Certificate]) -> str:
    """Which tasks have a ceiling that is only the best seen here, and what it is; empty: none of those that count."""
    seen = [one for one in certificates if one.ceiling is not None and one.ceiling_of.startswith(SEEN) and not one.grey]
    if not seen:
        return ""
    every = [f"on {one.task} {one.ceiling_of.removeprefix(SEEN)} ({number(one.ceiling or 0.0)})" for one in seen]
    found = "The ceiling is the best possible or known score of the task; where it has none, the best seen here: "
    found += f"{words(every)}."
    if any("the mean of" in one.ceiling_of for one in seen):
        found += " An architecture whose own mean is the ceiling scores 1 there by construction."
    return found


def _score(value: float, interval: tuple[float, float] | None, best: float) -> Entry:
    return Entry(number(value), span(interval).strip() or "no interval", best=value == best)


def profiles(of: Sequence[Profile], looks: dict[str, Style]) -> list[Figure]:
    """One chart: the share of runs above each rescaled score (Agarwal et al. 2021, sec. 4.2); none without runs."""
    dots = [
        Dot(one.arch, threshold, above, low, high, "")
        for one in of
        for threshold, above, low, high in zip(one.thresholds, one.shares, one.low, one.high, strict=True)
    ]
    if not dots:
        return []
    svg = draw(
        dots,
        looks,
        Axis("rescaled score"),
        Axis("share of runs above", format=".0%"),
        label="Share of runs with a rescaled score above each threshold, one line per architecture",
        spread="band",
        points=False,
    )
    said = {(dot.arch, dot.x): f"{number(dot.y)}{span((dot.low, dot.high))}" for dot in dots}
    every = sorted({float(dot.x) for dot in dots})
    step = -(-len(every) // LISTED)
    listed = list(dict.fromkeys([*every[::step], every[-1]]))
    rows: list[Row] = [[number(at), *(said.get((one.arch, at), "–") for one in of)] for at in listed]
    caption = (
        "Share of all runs with a rescaled score above what stands below; a line that lies higher throughout is better "
        "at every level. Bands: 95 %, point by point, seeds drawn within each task."
    )
    if len(listed) < len(every):
        caption += f" The table lists {len(listed)} of {len(every)} thresholds."
    return [Figure("Performance profile", caption, svg, ["above", *(one.arch for one in of)], rows)]


# ---------------------------------------------------------------- ranking


def diagram(of: Ranking, looks: dict[str, Style]) -> list[Figure]:
    """The critical-difference diagram; none where the tasks are too few, or no group was looked for."""
    if not (of.testable and of.cliques):
        return []
    joined = sum(len(clique) > 1 for clique in of.cliques)
    caption = f"Mean rank over {of.tasks} tasks; 1 is best. "
    caption += "A bar joins those between which no difference was found." if joined else "Every pair differs: no bars."
    svg = critical_difference(of.mean_ranks, of.cliques, looks)
    return [Figure("Critical-difference diagram", caption, svg, (), ())]


def ranks(of: Ranking) -> list[tuple[str, str]]:
    """Architectures and their mean ranks, the best first."""
    order = sorted(of.mean_ranks, key=lambda arch: (of.mean_ranks[arch], arch))
    return [(arch, number(of.mean_ranks[arch])) for arch in order]


def pairs(of: Ranking) -> Table:
    """One row per pair of architectures over tasks."""
    rows: list[Row] = [
        [f"{one.a}, {one.b}", number(one.difference), number(one.p), number(one.p_holm), one.verdict]
        for one in of.pairs
    ]
    head = ["A, B", "Median difference (A − B)", "p", "p, Holm", "Verdict"]
    return Table(f"Pairs over {of.tasks} tasks: Wilcoxon's signed-rank test, the task is the unit", head, rows)


# ---------------------------------------------------------------- sensitivity


def share(of: Sensitivity) -> str:
    """How many of the choices name another winner, in a sentence."""
    named = [one for one in of.choices if one.winner is not None]
    if of.usual is None or of.changed is None or not named:
        return "No winner can be named, so that none can change."
    others = sum(one.winner != of.usual for one in named)
    silent = len(of.choices) - len(named)
    found = (
        f"This page's own choice names {of.usual}. Another winner is named by {others} of the {len(named)} choices "
        f"that name one ({100 * of.changed:.0f} %)"
    )
    return found + (f"; {silent} name{'s' if silent == 1 else ''} none." if silent else ".")


def choices(of: Sensitivity) -> Table:
    """One row per way of making the ranking."""
    rows: list[Row] = [
        [one.name, one.winner or "none", Entry(one.note, warn="another winner" * (one.winner not in (None, of.usual)))]
        for one in of.choices
    ]
    return Table("Defensible ways of making the ranking, and whom each names", ["Choice", "Winner", "Note"], rows)
