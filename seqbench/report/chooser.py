"""Which one should I use? The answers without limits as a table, and what the script needs to answer with them."""

from __future__ import annotations

import html
import json

from markupsafe import Markup

from seqbench.analyse.chooser import BANDS, SUBSETS, UNITS, amount, band, counted, fixed, share
from seqbench.analyse.conclusions import Choosable, Options
from seqbench.analyse.findings import words
from seqbench.analyse.summary import Summary

HEAD = ("Architecture", "P(best)", "Score", *UNITS, "Verdict")


def cells(row: Choosable) -> list[str]:
    """What stands in the row of an architecture, without its name."""
    return [share(row.best), fixed(row.rescaled, 3), *map(amount, row.costs), row.out or "on the front"]


def note(summary: Summary) -> str:
    """What the costs are of."""
    measure, contexts = summary.plan.measure, {of.context for of in summary.options if of.context}
    after = f" after {max(contexts):,} steps" if contexts else ""
    scaled = (
        f" With more than {SUBSETS} architectures the probabilities are those among all, scaled up to those that a "
        "limit leaves."
    )
    return (
        f"ms per step: one streamed step{after}; MB to train: peak of a training step at the task's length, batch "
        f"{measure.batch}; both of causal models of {measure.parameters:,} parameters on the machine that measured"
        f"{_unsteady(summary)}. Seconds, state and parameters (embedding table included): of the task's own model. Of "
        f"several tasks, the costliest.{_both_ways(summary)}"
        f"{scaled if len(summary.plan.architectures) > SUBSETS else ''}"
    )


def _unsteady(summary: Summary) -> str:
    """Whose time of a streamed step is flagged."""
    contexts = {of.context for of in summary.options}
    flagged = [
        one.arch
        for one in summary.measured
        if any(m.quantity == "stream" and m.flags and m.length in contexts for m in one.measurements)
    ]
    return f" (the time of a step was unsteady, or the machine busy, for {words(flagged)})" if flagged else ""


def _both_ways(summary: Summary) -> str:
    """Tasks of which nothing can be streamed."""
    tasks = [task.id for task in summary.tasks if not task.spec.causal]
    return f" Models of {words(tasks)} read both ways: they cannot be streamed, and keep no state." if tasks else ""


def data(summary: Summary) -> Markup:
    """What the script reads, as the value of an attribute in single quotes: JSON in which nothing ends it."""
    archs = list(summary.plan.architectures)
    families = sorted({of.family for of in summary.options})
    found = {
        "archs": archs,
        "families": families,
        "bands": BANDS,
        "units": UNITS,
        "tasks": [_task(of, archs) for of in summary.options],
    }
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return Markup(html.escape(text, quote=False).replace("'", "&#39;"))


def _task(of: Options, archs: list[str]) -> dict[str, object]:
    """By architecture, in the plan's order: score, costs, whom it beats, why it is out."""
    every = of.options
    return {
        "id": of.task,
        "name": of.name,
        "family": of.family,
        "band": BANDS.index(band(of.length)),
        "seeds": counted(of),
        "score": [one.rescaled for one in every],
        "costs": [one.costs for one in every],
        "beats": [[archs.index(other) for other in one.better_than] for one in every],
        "outs": [one.out for one in every],
        "odds": of.odds,
    }
