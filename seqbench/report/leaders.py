"""The table of leaders: every cell of the grid with its rank, and how sure its place is."""

from __future__ import annotations

from typing import NamedTuple

from seqbench.analyse.summary import Cell, Pair, Summary, TaskSummary


class Row(NamedTuple):
    """One cell of the grid."""

    task: TaskSummary
    cell: Cell
    pair: Pair | None
    """As seen from the cell: the leader against the next, all others against the leader. None: nothing to compare."""

    @property
    def leads(self) -> bool:
        """It has the best mean of its task."""
        return self.cell.rank == 1 and self.cell.mean is not None


def rows(summary: Summary) -> list[Row]:
    """The cells in the plan's order of tasks, best first within each; those without a rank last."""
    found = []
    for task in summary.tasks:
        cells = summary.of_task(task.id)
        ranked = [cell for cell in cells if not cell.refused]
        for cell in cells:
            others = [] if cell.refused else [one for one in ranked[:2] if one is not cell]
            pair = summary.pair(task.id, cell.arch, others[0].arch) if others else None
            found.append(Row(task, cell, pair))
    return found
