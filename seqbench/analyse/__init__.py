"""Records on disk -> statistics, verdicts and sentences: one `Summary`. No torch.

`evidence` reads and refuses, `statistics` computes, `verdicts` decides, `findings` words what was
decided, `quality` lists what is to be doubted, `tables` flattens. Nothing after `verdicts` decides anything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqbench.analyse import (
    ablations,
    across,
    certificates,
    chooser,
    claims,
    costs,
    evidence,
    findings,
    ledger,
    matching,
    quality,
    reach,
    sensitivity,
    tuning,
    verdicts,
)
from seqbench.analyse.grounds import Known
from seqbench.analyse.summary import Evidence, Summary
from seqbench.analyse.tables import curves, metrics, table
from seqbench.config import Plan

__all__ = ["Summary", "curves", "metrics", "summarise", "table"]


def summarise(plan: Plan, root: Path) -> Summary:
    """Everything the report says, from the records under `root` and the two registers in workflow/.

    Raises DataError where a record is missing, damaged, stale, or breaks the rules of evidence; InputError where a
    register cannot be read.
    """
    tasks = tuple(evidence.task(plan, task_id, root) for task_id in plan.task_ids)
    runs = [[evidence.cell(plan, task, arch, root) for arch in plan.architectures] for task in tasks]
    gates = {arch: evidence.gates(plan, arch, root) for arch in plan.architectures}
    cells = tuple(cell for task, own in zip(tasks, runs, strict=True) for cell in verdicts.cells(task, own, gates))
    design = verdicts.design(plan)
    pairs = verdicts.pairs(tasks, cells, design)
    every = (*tasks, *evidence.beside(plan, root))
    beside = evidence.variants(plan, root)
    variants = verdicts.variants(every, beside, gates)
    measured = tuple(evidence.measured(plan, arch, root) for arch in plan.architectures)
    counted = tuple(evidence.counted(plan, arch, root) for arch in plan.architectures)
    paces = tuple(evidence.pace(plan, task_id, root) for task_id in plan.task_ids)
    reaches = tuple(
        one for task, own in zip(tasks, runs, strict=True) for one in evidence.reaches(plan, task.id, own, root)
    )
    curves = costs.curves(measured, counted, plan.measure)
    beyond = tuple(
        one
        for task_id in plan.task_ids
        for one in evidence.reaches(plan, task_id, _measured(plan, beside, task_id), root)
    )
    horizons = reach.horizons(reaches)
    known = Known(
        tasks=every,
        cells=cells,
        variants=variants,
        laws=costs.laws(curves),
        crossovers=costs.crossovers(curves, plan.architectures, measured, counted),
        curves=curves,
        measured=measured,
        counted=counted,
        horizons=(*horizons, *reach.horizons(beyond)),
        held=reach.held(tasks, cells),
        fronts=costs.fronts(tasks, cells, paces),
        stretches=reach.stretches(reaches),
        pairs=pairs,
        paces=paces,
    )
    said = findings.Costs(tuple(gates.values()), measured, counted, curves, known.laws, known.crossovers)
    certified = certificates.certificates(tasks, cells, certificates.contexts(tasks, reaches))
    matched = matching.matched(tasks, cells, paces, variants)
    prices = chooser.Costs(curves, measured, counted, known.fronts)
    options = chooser.options(tasks, cells, pairs, certified, prices)
    return Summary(
        plan=plan.model_copy(update={"mirror": None}),  # where the files came from this time is no result
        tasks=tasks,
        cells=cells,
        pairs=pairs,
        design=design,
        gates=tuple(gates.values()),
        measured=measured,
        counted=counted,
        paces=paces,
        laws=tuple(known.laws),
        crossovers=tuple(known.crossovers),
        fronts=tuple(known.fronts),
        reaches=reaches,
        horizons=horizons,
        stretches=tuple(known.stretches),
        held=tuple(known.held),
        recalls=reach.recalls(reaches),
        variants=variants,
        ablated=ablations.compare(variants, cells),
        certificates=certified,
        aggregates=across.aggregates(certified, cells),
        profiles=across.profiles(certified, cells),
        ranking=across.ranking(certified, cells),
        sensitivity=sensitivity.sensitivity(certified, cells, matched),
        searches=tuning.searches(tasks, cells, paces),
        matched=matched,
        claims=claims.decide(claims.read(), known),
        ledger=ledger.check(ledger.read(), known),
        options=options,
        advice=chooser.advice(options),
        findings=findings.findings(tasks, cells, pairs, design, said, known.held, matched),
        concerns=quality.concerns(tasks, cells, variants, said, paces, reaches),
    )


def _measured(plan: Plan, variants: Sequence[Evidence], task_id: str) -> list[Evidence]:
    """Of the variants those on the task whose pace and reach are measured."""
    labels = {cell.label for cell in plan.measured_on(task_id)}
    return [one for one in variants if one.task == task_id and one.setting.label in labels]
