"""How far the pipeline is: done, running, left, and when it may end."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import time
from pathlib import Path

from rich.table import Table

from seqbench import tasks
from seqbench.config import Plan, identity
from seqbench.errors import DataError
from seqbench.records import Provenance, Result, Setting


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell: runs finished, runs in work as (name, share done), all runs, seconds of finished ones."""

    task: str
    label: str
    done: int
    running: tuple[tuple[str, float], ...]
    total: int
    seconds: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Look:
    """The state of the whole plan."""

    cells: tuple[Cell, ...]

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return all(cell.done >= cell.total for cell in self.cells)

    @property
    def eta(self) -> float | None:
        """Seconds to go, were the remaining runs to take as long as the cell's, task's or all runs so far."""
        known = [second for cell in self.cells for second in cell.seconds]
        if not known:
            return None
        left = 0.0
        for cell in self.cells:
            same_task = [s for other in self.cells if other.task == cell.task for s in other.seconds]
            typical = cell.seconds or tuple(same_task) or tuple(known)
            open_runs = cell.total - cell.done - sum(share for _, share in cell.running)
            left += max(open_runs, 0.0) * sum(typical) / len(typical)
        return left / max(1, sum(len(cell.running) for cell in self.cells))


def look(plan: Plan, root: Path) -> Look:
    """Read the run folders of a plan: of the grid, then of what runs beside it."""
    return Look(tuple(_cell(plan, setting, root) for setting in (*plan.cells, *plan.variants)))


def _cell(plan: Plan, wanted: Setting, root: Path) -> Cell:
    task_id, label = identity(wanted), wanted.label
    seeds = plan.seeds_of(task_id, label)
    version = tasks.find(wanted.task).VERSION
    done, seconds, running = 0, [], []
    for seed in seeds:
        for folder in sorted((root / "runs" / task_id / label / f"seed-{seed}").glob("*/")):
            try:
                result = Result.read(folder / "result.json", "")
                note = Provenance.read(folder / "provenance.json", "")
            except DataError:
                if _held(folder / "lock"):
                    running.append((f"seed {seed}", _share(folder)))
                continue
            if result.setting.model_copy(update={"tune": wanted.tune}) == wanted and result.versions.task == version:
                done += 1
                seconds.append(note.seconds)
                break
    for folder in sorted((root / "tuned" / task_id / label).glob("*/")):
        if _held(folder / "lock"):
            running.append(("tuning", 0.0))
    return Cell(task_id, label, done, tuple(running), len(seeds), tuple(seconds))


def _held(path: Path) -> bool:
    """Whether a living process holds this lock."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _share(folder: Path) -> float:
    try:
        record = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        return float(record["step"]) / float(record["steps"])
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return 0.0


def table(state: Look) -> Table:
    """The state as a table with totals and the time to go."""
    done, total = sum(c.done for c in state.cells), sum(c.total for c in state.cells)
    eta = state.eta
    end = "" if eta is None or state.complete else f", about {_minutes(eta)} to go (at {_clock(eta)})"
    rows = Table(title=f"{done} of {total} runs done{end}", title_justify="left")
    for name in ("task", "architecture", "done", "running", "left"):
        rows.add_column(name, justify="left" if name in ("task", "architecture", "running") else "right")
    for cell in state.cells:
        doing = ", ".join(f"{name} {share:.0%}" if share else name for name, share in cell.running)
        left = cell.total - cell.done - sum(name != "tuning" for name, _ in cell.running)
        rows.add_row(cell.task, cell.label, str(cell.done), doing, str(left))
    return rows


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _clock(seconds: float) -> str:
    return time.strftime("%a %H:%M", time.localtime(time.time() + seconds))
