"""The pace of the plan's cells: their models, timed on their own tasks with the batches that they are trained on.

The arithmetic of their training steps is counted there too, since only there are the model and its batches.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from seqbench import model, tasks, train
from seqbench.batches import Splits
from seqbench.config import MeasureSettings
from seqbench.device import Witness, out_of_memory
from seqbench.measure import clock, work
from seqbench.measure.kept import SHUFFLE, Kept
from seqbench.measurements import CellTime, Gates, Pace
from seqbench.prepared import Prepared
from seqbench.records import Setting, Status
from seqbench.train import Job

LEAST = 5
"""Fewest steps: batches of uneven sequences differ."""


def time_cell(
    setting: Setting, root: Path, settings: MeasureSettings, device: torch.device, frequency: clock.Frequency
) -> CellTime:
    """Seconds of a training step, and of an item of the validation split, scoring included; test stays unread.

    And operations of a training step, none where they cannot be counted within the budget.
    """
    task_id = tasks.task_id(setting.task, setting.task_settings)
    tick = partial(clock.now, device)
    rate = setting.tune.learning_rates[0]  # which one takes no more or less time
    found: dict[str, clock.Seen[list[float]]] = {}
    flops: float | None = None
    status: Status = "ok"
    items = 1
    try:
        with clock.seconds_at_most(settings.budget), clock.bytes_at_most(settings.memory, device):
            splits = Splits(Prepared(root / "prepared" / task_id), device)
            job = Job(setting, splits, rate, setting.tune.seeds[0], root, lambda text: None)
            job.model.train()
            numbers = itertools.count()
            items = len(splits.valid)
            works: dict[str, tuple[clock.Work, int, int]] = {
                "step": (lambda: job.step(next(numbers)), LEAST, settings.repetitions),
                "item": (lambda: job.evaluate(splits.valid), 1, clock.GROUP),
            }
            for name, (once, least, most) in works.items():
                clock.warm_up(once, settings.seconds / 4, tick)
                timed = partial(clock.repeat, once, least, max(least, most), settings.seconds, tick)
                found[name] = clock.quietly(timed, clock.usage, frequency)
        flops = _flops(job, settings)
    except clock.OverBudget:
        status = "time_limit"
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        status = "out_of_memory"
    per = {"step": 1, "item": items}
    values = {name: clock.quantiles(seconds / per[name] for seconds in seen.result) for name, seen in found.items()}
    return CellTime(
        arch=setting.label,
        step=values.get("step"),
        item=values.get("item"),
        flops=flops,
        status=status,
        flags=tuple(dict.fromkeys(flag for seen in found.values() for flag in seen.flags)),
    )


def _flops(job: Job, settings: MeasureSettings) -> float | None:
    """Operations of products in a training step; of uneven sequences the mean over batches, the same for all models."""
    numbers = itertools.count()
    calls = 1 if job.splits.train.lengths is None else LEAST
    with contextlib.suppress(clock.OverBudget), clock.seconds_at_most(settings.budget):
        return work.count(lambda: job.step(next(numbers)), calls)[0]
    return None


def pace(
    cells: Sequence[Setting],
    settings: MeasureSettings,
    gates: Mapping[str, Gates],
    root: Path,
    device: torch.device,
    say: Callable[[str], None],
) -> Pace:
    """How long the models of these cells, all of one task, take on it; not those that fail a gate."""
    times: dict[str, CellTime] = {}
    with clock.measuring():
        torch.set_num_threads(1)
        witness = Witness(device, model.kernel(device))
        frequency = clock.Frequency(device)
        kept = Kept(root, settings, device)
        for cell in random.Random(SHUFFLE).sample(cells, len(cells)):
            task_id = tasks.task_id(cell.task, cell.task_settings)
            data = Prepared(root / "prepared" / task_id)
            versions = train.versions(cell).plain()
            what = {"cell": cell.plain() | {"tune": None}, "data": data.manifest.digest, "versions": versions}
            if refused := gates[cell.arch].refusal(data.spec.kind):
                times[cell.label] = CellTime(arch=cell.label, step=None, item=None, refused=refused)
                continue
            make = partial(time_cell, cell, root, settings, device, frequency)
            time = times[cell.label] = kept.get(cell.arch, cell.core, what, CellTime, make)
            say(clock.line(cell.label, time.step, 1e3, "ms a step", time.status, time.flags))
        provenance = witness.provenance()
    grid, variants = (tuple(times[c.label] for c in cells if bool(c.variant) is beside) for beside in (False, True))
    return Pace(task=task_id, cells=grid, variants=variants, settings=settings.plain(), provenance=provenance)
