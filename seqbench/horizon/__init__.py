"""How far back the runs of a cell remember: horizons, scores on longer sequences, bits recalled.

Nothing here reads a run's test split: horizons are seen on items of validation, longer sequences are drawn anew.
`effects` says what inputs do to later answers; `contexts` scores models that see only the last steps; `longer` scores
longer sequences and counts bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from seqbench import apply, evaluate, model, tasks, train
from seqbench.apply import Run
from seqbench.config import MeasureSettings
from seqbench.device import Witness
from seqbench.errors import DataError
from seqbench.horizon.contexts import allowed
from seqbench.horizon.effects import gradients, interventions, items
from seqbench.horizon.longer import Say, bits, extrapolations
from seqbench.measurements import Reach, Reaches
from seqbench.model import Model
from seqbench.prepared import Prepared
from seqbench.records import Runs, Setting, run_key

STAGES = (False, True)
"""Untrained, trained."""


def reaches(
    setting: Setting, seeds: Sequence[int], root: Path, settings: MeasureSettings, device: torch.device, say: Say
) -> Reaches:
    """How far the runs of a cell remember: those of `seeds` that finished.

    Raises DataError where records, weights or data are missing or damaged, or belong to other settings or code.
    """
    witness = Witness(device, model.kernel(device))
    task_id = tasks.task_id(setting.task, setting.task_settings)
    data = Prepared(root / "prepared" / task_id)
    runs = _runs(setting, seeds, root, data)
    skipped = _skipped(data, runs)
    if skipped:
        say(f"skipped: {skipped}")
    return Reaches(
        task=task_id,
        arch=setting.label,
        keys={str(run.result.seed): run.result.key for run in runs},
        trained_length=data.spec.length if data.spec.outputs == "stream" else data.manifest.arrays["train.x"].shape[1],
        reaches=() if skipped else tuple(_horizons(runs, data, settings, device, say)),
        extrapolations=() if skipped else tuple(extrapolations(setting, runs, settings, device, say)),
        contexts=() if skipped else tuple(allowed(runs, data, settings, device, say)),
        bits={} if skipped else bits(setting, [run.result for run in runs]),
        state_bytes=runs[0].result.state_bytes if runs else 0,
        skipped=skipped,
        provenance=witness.provenance(),
    )


def _runs(setting: Setting, seeds: Sequence[int], root: Path, data: Prepared) -> list[Run]:
    """The runs of these seeds that finished."""
    task_id = tasks.task_id(setting.task, setting.task_settings)
    again = f"train the cell again: seqbench train {task_id} {setting.label}"
    path = root / "runs" / task_id / setting.label / "results.json"
    found = []
    for result in Runs.read(path, again).results:
        if result.seed not in seeds or result.status != "ok":
            continue
        now = train.versions(setting), data.manifest.digest
        if result.key != run_key(setting, result.learning_rate, result.seed, *now):
            raise DataError(f"the run of seed {result.seed} had other settings, data or code", str(path), again)
        folder = train.run_folder(root, task_id, setting.label, result.seed, result.key)
        found.append(Run(result, data, folder, 1))
    return found


def _skipped(data: Prepared, runs: Sequence[Run]) -> str:
    """Why nothing can be measured, in words; empty: it can."""
    spec = data.spec
    if not runs:
        return "no run finished"
    if spec.outputs in evaluate.WRITTEN:
        return "the answer is a written sequence: no step of it belongs to one step of the input"
    if spec.frontend != "linear":
        return f"the core does not see the input's steps, but what the frontend '{spec.frontend}' makes of them"
    if spec.inputs == "values" and data.manifest.sizes["valid"] < 2:
        return "there is no second item to take other values from"
    return ""


# ---------------------------------------------------------------- horizons


def horizon(lags: Sequence[int], effects: Sequence[float]) -> int | None:
    """The smallest lag from which on the effect stays below half of its largest; None: it never does.

    0 where no input has any effect.
    """
    half = max(effects) / 2
    reached = [place for place, effect in enumerate(effects) if effect >= half > 0]
    after = reached[-1] + 1 if reached else 0
    return lags[after] if after < len(lags) else None


def spread(count: int, points: int, curves: Sequence[Sequence[float]] = ()) -> list[int]:
    """The lags below `count`, or about `points` of them: 0, and from 1 as evenly as can be on a logarithmic scale.

    And those where one of the curves (over all lags) is largest, is last above half of that, and first below: a lag
    that matters alone (of the symbol to be recalled) would fall between the others.
    """
    even = list(range(min(count, 2)))
    for left in range(min(count, points) - 2, 0, -1):
        even.append(max(even[-1] + 1, round(even[-1] * ((count - 1) / even[-1]) ** (1 / left))))
    found = {*even, count - 1}
    for curve in curves:
        end = horizon(range(count), curve)
        found |= {int(np.argmax(curve)), *((max(end - 1, 0), end) if end is not None else ())}
    return sorted(found)


def _network(run: Run, trained: bool, device: torch.device) -> Model:
    """A run's model in float64, as it was before or after training, without dropout."""
    result = run.result
    if trained:
        net = apply.load(run, device).net
    else:
        net = model.build(
            result.setting.applied(run.data.spec), result.arch, result.setting.core, result.width, result.seeds["init"]
        )
        model.load_pretrained(net, run.data)
    assert isinstance(net, Model)
    net = net.to(device).double().eval()
    for module in net.modules():
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
            module.train()  # cuDNN has no backward in evaluation mode
    return net


def _horizons(
    runs: Sequence[Run], data: Prepared, settings: MeasureSettings, device: torch.device, say: Say
) -> Iterator[Reach]:
    """Both kinds for each run, untrained and trained, at the same lags for all."""
    seen = items(data, max(settings.reach_items, 2), device)  # two, so that there is another item
    both = list(itertools.product(runs, STAGES))
    curves = [gradients(_network(run, trained, device), seen) for run, trained in both]
    lags = spread(seen.lags, settings.reach_lags, curves)
    for (run, trained), curve in zip(both, curves, strict=True):
        moved = interventions(_network(run, trained, device), seen, lags)
        of: dict[Literal["gradient", "intervention"], list[float]]
        of = {"gradient": [curve[lag] for lag in lags], "intervention": moved}
        ends = {kind: horizon(lags, effects) for kind, effects in of.items()}
        words = ", ".join(f"{kind} {'beyond' if end is None else end}" for kind, end in ends.items())
        say(f"seed {run.result.seed}, {'trained' if trained else 'untrained'}: {words} (of {lags[-1]} lags)")
        for kind, effects in of.items():
            yield Reach(
                seed=run.result.seed,
                kind=kind,
                trained=trained,
                lags=tuple(lags),
                effects=tuple(effects),
                horizon=ends[kind],
            )
