"""What a model does beyond the length it was trained on, and how many bits of a sequence it recalls."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from seqbench import apply, evaluate, tasks
from seqbench.apply import Run
from seqbench.batches import OnDevice
from seqbench.config import MeasureSettings
from seqbench.measurements import Extrapolation
from seqbench.prepare import prepare
from seqbench.prepared import Prepared
from seqbench.records import Result, Setting, derive

LONGER_ITEMS = 512
"""Fresh sequences of each greater length."""

Say = Callable[[str], None]


def extrapolations(
    setting: Setting, runs: Sequence[Run], settings: MeasureSettings, device: torch.device, say: Say
) -> Iterator[Extrapolation]:
    """Scores on fresh sequences, which are drawn once for all runs."""
    task = tasks.build(setting.task, setting.task_settings)
    for factor in settings.stretch:
        changed = task.longer(factor)
        if changed is None:
            return
        # Of a seed of their own: otherwise those of parity begin as the run's test split does.
        changed |= {"data_seed": derive(changed["data_seed"], "longer", factor)}
        changed |= {"train": 1, "valid": 1, "test": LONGER_ITEMS}
        with tempfile.TemporaryDirectory() as folder:
            prepare(setting.task, changed, Path(folder))
            data = Prepared(Path(folder) / "prepared" / tasks.task_id(setting.task, changed))
            fresh = OnDevice(data.split("test"), device, data.spec)
            for run in runs:
                score = _score(run, data, fresh, device, say)
                yield Extrapolation(seed=run.result.seed, length=fresh.x.shape[1], score=score)


def _score(run: Run, data: Prepared, fresh: OnDevice, device: torch.device, say: Say) -> float | None:
    """By the task's metric; None where the model cannot read so many steps, or its score is not finite."""
    task = tasks.build(data.manifest.task, data.manifest.settings)
    words = f"seed {run.result.seed}, {fresh.x.shape[1]} steps: "
    try:
        longer_run = Run(run.result, data, run.folder, 1)  # built for the greater length
        score = evaluate.evaluate(apply.load(longer_run, device).net, task, fresh, data)[data.spec.metric]
    except Exception as error:  # whatever a person's own core may raise
        say(f"{words}not read ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})")
        return None
    say(f"{words}{data.spec.metric} {score:.4g}")
    return score if math.isfinite(score) else None


def bits(setting: Setting, results: Sequence[Result]) -> dict[str, float]:
    """By seed, the bits of a sequence that its answers recall, at least; empty where none are asked for.

    What the labels hold less their cross-entropy on validation (in bits, all labels of a sequence): a lower bound of
    the mutual information between the labels and what the model knows of them; 0 where it is negative.
    """
    of = tasks.build(setting.task, setting.task_settings).asked()
    if of is None:
        return {}
    labels, held = of
    missing = {str(result.seed): labels * result.valid["cross_entropy"] / math.log(2) for result in results}
    return {seed: max(held - lost, 0.0) for seed, lost in missing.items()}
