"""The report: one summary in, one self-contained HTML file out. No clock: the same summary, the same bytes."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from seqbench.analyse.findings import arrow, number, span, words
from seqbench.analyse.statistics import METHOD
from seqbench.analyse.summary import Cell, Summary, TaskSummary
from seqbench.files import canonical
from seqbench.records import Hardware
from seqbench.report import (
    across,
    certificates,
    charts,
    chooser,
    claims,
    compact,
    costs,
    figures,
    fronts,
    gates,
    headline,
    leaders,
    limits,
    machine,
    reach,
    samples,
    settings,
    tuning,
)

FOLDER = Path(__file__).parent
TITLES = {
    "missing": "Not measured",
    "failed": "Failed runs",
    "range": "Numbers that cannot be",
    "border": "Learning rates on the border of the search",
    "control": "Controls not beaten",
    "contended": "Unsteady or contended measurements",
    "measurement": "Failed measurements",
    "hardware": "Mixed hardware",
    "dirty": "Local changes",
    "gate": "Gates that an architecture fails",
}


def render(summary: Summary) -> str:
    """The page, as text of one HTML file that loads nothing and works without JavaScript."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"slug": slug, "num": number, "span": span, "arrow": arrow, "json": pretty, "exact": repr}
    environment.filters["text"] = inner
    environment.filters["words"] = lambda many: words([str(one) for one in many])
    style, *scripts = ((FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "page.js", "chooser.js"))
    script = "".join(scripts)
    looks = charts.styles(summary.plan.architectures)
    page = environment.get_template("template.html").render(
        s=summary,
        looks=looks,
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        method=METHOD,
        figures={
            "level": figures.by_level(summary, looks),
            "curves": figures.curves(summary, looks),
            "cost": costs.figures(summary, looks),
            "front": fronts.figures(summary, looks),
            "horizon": reach.horizons(summary, looks),
            "stretch": reach.stretches(summary, looks),
            "gradient": reach.gradient(summary, looks),
        },
        gates=gates,
        headline=headline,
        costs=costs,
        machine=machine,
        fronts=fronts,
        reach=reach,
        across=across,
        certificates=certificates,
        chooser=chooser,
        claims=claims,
        tuning=tuning,
        samples=samples.samples(summary),
        leaders=leaders.rows(summary),
        data=data(summary),
        machines=machines(summary),
        titles=TITLES,
        rates=rates,
        settings=settings,
        limits=limits.limits(summary),
    )
    return compact.compact(page)


def policy(style: str, script: str) -> str:
    """A Content-Security-Policy that lets in this style, this script and sounds within the page, and nothing else."""

    def allow(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {allow(style)}; script-src {allow(script)}; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def slug(text: str) -> str:
    """Text as an element's id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)


def pretty(value: dict[str, Any]) -> Markup:
    """JSON for people, a line for each key, as the text of an element."""
    found = {key: json.dumps(value[key], sort_keys=True, ensure_ascii=False) for key in sorted(value)}
    lines = [f" {json.dumps(key)}: {text}" for key, text in found.items()]
    return inner("{\n" + ",\n".join(lines) + "\n}")


def inner(text: str) -> Markup:
    """The text of an element: there a quote is no danger."""
    return Markup(html.escape(text, quote=False))


def data(summary: Summary) -> list[tuple[TaskSummary, list[str], list[str]]]:
    """For each task: its first task id, all its ids, and the defects of its data, each once."""
    found = []
    for name in dict.fromkeys(task.name for task in summary.tasks):
        family = [task for task in summary.tasks if task.name == name]
        known = [defect for source in family[0].sources for defect in source.defects]
        handled = [defect for task in family for defect in task.defects]
        found.append((family[0], [task.id for task in family], list(dict.fromkeys([*known, *handled]))))
    return found


def machines(summary: Summary) -> list[tuple[Hardware, list[str]]]:
    """Each distinct machine, with what was made on it."""
    made: dict[str, tuple[Hardware, list[str]]] = {}
    for cell in summary.cells:
        for provenance in cell.evidence.provenances:
            _note(made, provenance.hardware, "training")
    for what, provenances in summary.measuring.items():
        for provenance in provenances:
            _note(made, provenance.hardware, what)
    return list(made.values())


def _note(made: dict[str, tuple[Hardware, list[str]]], hardware: Hardware, what: str) -> None:
    uses = made.setdefault(canonical(hardware.plain()), (hardware, []))[1]
    if what not in uses:
        uses.append(what)


def rates(cells: Sequence[Cell]) -> list[float]:
    """The learning rates that were tried, smallest first."""
    return sorted({trial.learning_rate for cell in cells for trial in cell.evidence.tuned.trials})
