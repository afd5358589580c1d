"""Tuning: the learning rate of a cell, chosen on validation with seeds that are never reported."""

from __future__ import annotations

from pathlib import Path

import torch

from seqbench import checkpoint, files, tasks, train
from seqbench.batches import Splits
from seqbench.errors import DataError
from seqbench.prepared import Prepared
from seqbench.records import Setting, Trial, Tuned, run_key
from seqbench.schedule import best_point


def tune(setting: Setting, root: Path, device: torch.device, say: train.Say) -> Tuned:
    """Try every learning rate with every tuning seed; keep the one with the best mean validation score.

    Writes `root/tuned/<task id>/<label>.json`. Finished trials are kept under their keys.
    """
    task_id = tasks.task_id(setting.task, setting.task_settings)
    data = Prepared(root / "prepared" / task_id)
    splits = Splits(data, device)
    # A schedule that depends on the number of steps (cosine) must see the trial's own number.
    shorter = setting.model_copy(update={"train": setting.train.model_copy(update={"steps": setting.tune.steps})})
    trials = tuple(
        trial(shorter, splits, rate, seed, root, lambda text, r=rate: say(f"learning rate {r:g}: {text}"))  # type: ignore[misc]
        for rate in setting.tune.learning_rates
        for seed in setting.tune.seeds
    )
    rate = select(trials, data.spec.watched[1])
    rates = sorted(setting.tune.learning_rates)
    tuned = Tuned(
        key=tuning_key(setting, data.manifest.digest),
        task=task_id,
        arch=setting.label,
        learning_rate=rate,
        border=len(rates) > 1 and rate in (rates[0], rates[-1]),
        trials=trials,
    )
    tuned.write(root / "tuned" / task_id / f"{setting.label}.json")
    say(f"chosen {rate:g}" + (" (on the border of the search space)" if tuned.border else ""))
    return tuned


def tuning_key(setting: Setting, data_digest: str) -> str:
    """The name of a tuning's outcome."""
    named = setting.model_copy(update={"variant": ""})
    decides = {"setting": named.plain(), "versions": train.versions(setting).plain(), "data": data_digest}
    return files.digest(decides)


def trial(setting: Setting, splits: Splits, rate: float, seed: int, root: Path, say: train.Say) -> Trial:
    """One training that sees only the training and validation splits."""
    data = splits.data
    key = run_key(setting, rate, seed, train.versions(setting), data.manifest.digest)
    task_id = tasks.task_id(setting.task, setting.task_settings)
    folder = root / "tuned" / task_id / setting.label / key[:16]
    with files.lock(folder / "lock", waiting=lambda: say("waiting: another process runs this trial")):
        try:
            return Trial.read(folder / "trial.json", "")
        except DataError:
            pass
        outcome = train.guarded(
            lambda: train.fit(train.Job(setting, splits, rate, seed, folder, say), setting.train.steps)
        )
        best = best_point(outcome.curve, data.spec.watched[1])
        found = Trial(learning_rate=rate, seed=seed, status=outcome.status, valid=best.valid if best else None)
        found.write(folder / "trial.json")
        checkpoint.clear(folder)
        (folder / "progress.json").unlink(missing_ok=True)
    say(f"{found.status}: best validation score {found.valid}")
    return found


def select(trials: tuple[Trial, ...], direction: str) -> float:
    """The rate with the best mean validation score; one with a failed trial comes after all others."""
    sign = 1.0 if direction == "min" else -1.0

    def rank(rate: float) -> tuple[int, float, float]:
        own = [t for t in trials if t.learning_rate == rate]
        failed = sum(t.status != "ok" or t.valid is None for t in own)
        scores = [t.valid for t in own if t.valid is not None]
        return failed, sign * sum(scores) / len(scores) if scores else 0.0, rate

    return min({t.learning_rate for t in trials}, key=rank)
