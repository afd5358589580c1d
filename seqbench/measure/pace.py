"""The pace of the plan's cells: their models, timed on their own tasks with the batches that they are trained on."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from seqbench import model, tasks
from seqbench.batches import Splits
from seqbench.config import MeasureSettings
from seqbench.device import Witness, out_of_memory
from seqbench.measure import clock
from seqbench.measure.kept import SHUFFLE, Kept
from seqbench.measurements import CellTime, Gates, Pace
from seqbench.prepared import Prepared
from seqbench.records import Setting
from seqbench.train import Job

LEAST = 5
"""Fewest steps: batches of uneven sequences differ."""


def time_cell(
    setting: Setting, root: Path, settings: MeasureSettings, device: torch.device, frequency: clock.Frequency
) -> CellTime:
    """Seconds of a training step, and of an item of the validation split, scoring included; test stays unread."""
    task_id = tasks.task_id(setting.task, setting.task_settings)
    tick = partial(clock.now, device)
    rate = setting.tune.learning_rates[0]  # which one takes no more or less time
    try:
        with clock.seconds_at_most(settings.budget), clock.bytes_at_most(settings.memory, device):
            splits = Splits(Prepared(root / "prepared" / task_id), device)
            job = Job(setting, splits, rate, setting.tune.seeds[0], root, lambda text: None)
            job.model.train()
            numbers = itertools.count()

            def step() -> object:
                return job.step(next(numbers))

            def evaluate() -> object:
                return job.evaluate(splits.valid)

            seen = []
            for work, most in ((step, settings.repetitions), (evaluate, clock.GROUP)):
                clock.warm_up(work, settings.seconds / 4, tick)
                least = LEAST if work is step else 1
                timed = partial(clock.repeat, work, least, most, settings.seconds, tick)
                seen.append(clock.quietly(timed, clock.usage, frequency))
    except clock.OverBudget:
        return CellTime(arch=setting.arch, step=None, item=None, status="time_limit")
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return CellTime(arch=setting.arch, step=None, item=None, status="out_of_memory")
    steps, passes = seen
    return CellTime(
        arch=setting.arch,
        step=clock.quantiles(steps.result),
        item=clock.quantiles(seconds / len(splits.valid) for seconds in passes.result),
        flags=tuple(dict.fromkeys([*steps.flags, *passes.flags])),
    )


def pace(
    cells: Sequence[Setting],
    settings: MeasureSettings,
    gates: Mapping[str, Gates],
    root: Path,
    device: torch.device,
    say: Callable[[str], None],
) -> Pace:
    """How long the models of these cells, all of one task, take on it; not those that fail a gate."""
    witness = Witness(device, model.kernel(device))
    times: dict[str, CellTime] = {}
    with clock.measuring():
        torch.set_num_threads(1)
        frequency = clock.Frequency(device)
        kept = Kept(root, settings, device)
        for cell in random.Random(SHUFFLE).sample(cells, len(cells)):
            task_id = tasks.task_id(cell.task, cell.task_settings)
            what = cell.plain() | {"tune": None, "data": Prepared(root / "prepared" / task_id).manifest.digest}
            if refused := gates[cell.arch].refusal(Prepared(root / "prepared" / task_id).spec.kind):
                times[cell.arch] = CellTime(arch=cell.arch, step=None, item=None, refused=refused)
                continue
            make = partial(time_cell, cell, root, settings, device, frequency)
            time = times[cell.arch] = kept.get(cell.arch, cell.core, what, CellTime, make)
            say(clock.line(cell.arch, time.step, 1e3, "ms a step", time.status, time.flags))
    ordered = tuple(times[cell.arch] for cell in cells)
    return Pace(task=task_id, cells=ordered, provenance=witness.provenance())
