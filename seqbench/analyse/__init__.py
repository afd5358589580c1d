"""Records on disk -> statistics, verdicts and sentences: one `Summary`. No torch.

`evidence` reads and refuses, `statistics` computes, `verdicts` decides, `findings` words what was
decided, `tables` flattens. Nothing after `verdicts` decides anything again.
"""

from __future__ import annotations

from pathlib import Path

from seqbench.analyse import evidence, findings, verdicts
from seqbench.analyse.summary import Summary
from seqbench.analyse.tables import curves, metrics, table
from seqbench.config import Plan

__all__ = ["Summary", "curves", "metrics", "summarise", "table"]


def summarise(plan: Plan, root: Path) -> Summary:
    """Everything the report says, from the records under `root`.

    Raises DataError where a record is missing, damaged, stale, or breaks the rules of evidence.
    """
    tasks = tuple(evidence.task(plan, task_id, root) for task_id in plan.task_ids)
    cells = tuple(
        cell
        for task in tasks
        for cell in verdicts.cells(task, [evidence.cell(plan, task, arch, root) for arch in plan.architectures])
    )
    design = verdicts.design(plan)
    pairs = verdicts.pairs(tasks, cells, design)
    measured = tuple(evidence.measured(arch, root) for arch in plan.architectures)
    return Summary(
        plan=plan.model_copy(update={"mirror": None}),  # where the files came from this time is no result
        tasks=tasks,
        cells=cells,
        pairs=pairs,
        design=design,
        measured=measured,
        findings=findings.findings(tasks, cells, pairs, design, measured),
        concerns=findings.concerns(tasks, cells, measured),
    )
