"""The models of the plan's cells, timed on their own tasks with the batches that they are trained on."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import torch

from seqbench import tasks
from seqbench.batches import Splits
from seqbench.config import MeasureSettings
from seqbench.device import out_of_memory
from seqbench.measure import clock
from seqbench.measurements import CellTime
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
