"""Records on disk -> statistics, verdicts and sentences: one `Summary`. No torch.

`evidence` reads and refuses, `statistics` computes, `verdicts` decides, `findings` words what was
decided, `quality` lists what is to be doubted, `tables` flattens. Nothing after `verdicts` decides anything again.
"""

from __future__ import annotations

from pathlib import Path

from seqbench.analyse import costs, evidence, findings, quality, reach, verdicts
from seqbench.analyse.summary import Summary
from seqbench.analyse.tables import curves, metrics, table
from seqbench.config import Plan

__all__ = ["Summary", "curves", "metrics", "summarise", "table"]


def summarise(plan: Plan, root: Path) -> Summary:
    """Everything the report says, from the records under `root`.

    Raises DataError where a record is missing, damaged, stale, or breaks the rules of evidence.
    """
    tasks = tuple(evidence.task(plan, task_id, root) for task_id in plan.task_ids)
    runs = [[evidence.cell(plan, task, arch, root) for arch in plan.architectures] for task in tasks]
    gates = {arch: evidence.gates(plan, arch, root) for arch in plan.architectures}
    cells = tuple(cell for task, own in zip(tasks, runs, strict=True) for cell in verdicts.cells(task, own, gates))
    design = verdicts.design(plan)
    pairs = verdicts.pairs(tasks, cells, design)
    measured = tuple(evidence.measured(plan, arch, root) for arch in plan.architectures)
    counted = tuple(evidence.counted(plan, arch, root) for arch in plan.architectures)
    paces = tuple(evidence.pace(plan, task_id, root) for task_id in plan.task_ids)
    reaches = tuple(
        one for task, own in zip(tasks, runs, strict=True) for one in evidence.reaches(plan, task.id, own, root)
    )
    curves = costs.curves(measured, counted, plan.measure)
    laws, crossovers = costs.laws(curves), costs.crossovers(curves, plan.architectures, measured, counted)
    held = reach.held(tasks, cells)
    said = findings.Costs(tuple(gates.values()), measured, counted, curves, laws, crossovers)
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
        laws=laws,
        crossovers=crossovers,
        fronts=costs.fronts(tasks, cells, paces),
        reaches=reaches,
        horizons=reach.horizons(reaches),
        stretches=reach.stretches(reaches),
        held=held,
        recalls=reach.recalls(reaches),
        findings=findings.findings(tasks, cells, pairs, design, said, held),
        concerns=quality.concerns(tasks, cells, said, paces),
    )
