"""How far back the runs of a cell remember: horizons, scores on longer sequences, bits recalled.

Nothing here reads a run's test split: horizons are seen on items of validation, longer sequences are drawn anew.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench import apply, evaluate, model, parts, tasks, train
from seqbench.apply import Run
from seqbench.batches import OnDevice
from seqbench.config import MeasureSettings
from seqbench.device import Witness
from seqbench.errors import DataError
from seqbench.measurements import Extrapolation, Reach, Reaches
from seqbench.model import Model
from seqbench.prepare import prepare
from seqbench.prepared import Array, Prepared
from seqbench.records import UNSCORED, Result, Runs, Setting, Spec, derive, run_key
from seqbench.tasks.copy_memory import RECALL, SYMBOLS

STEPS = 1 << 15
"""Steps of the items that are looked at side by side, at most."""
LONGER_ITEMS = 512
"""Fresh sequences of each greater length."""
STAGES = (False, True)
"""Untrained, trained."""

Say = Callable[[str], None]


# ---------------------------------------------------------------- what a task must say of itself


def longer(task: str, settings: dict[str, Any], factor: int) -> dict[str, Any] | None:
    """Settings of the same task on sequences `factor` times as long; None: it cannot be made longer."""
    knob = {"adding": "length", "copy_memory": "delay", "recall": "length", "selective_copy": "length"}
    if task == "parity":  # its test sequences may be longer than those of training
        return settings | {"test_length": factor * settings["length"]}
    return settings | {knob[task]: factor * settings[knob[task]]} if task in knob else None


def asked(task: str, settings: dict[str, Any]) -> tuple[int, float] | None:
    """How many labels a sequence asks for that only memory can tell, and how many bits they hold in all.

    None: the answers do not recall symbols. Of parity one label: the same state is asked for at every step.
    """
    if task == "copy_memory":
        return RECALL, RECALL * math.log2(SYMBOLS)
    if task == "selective_copy":
        return settings["symbols"], settings["symbols"] * math.log2(settings["classes"])
    if task == "recall":  # values are different within a sequence
        values = settings["vocabulary"] - settings["vocabulary"] // 2
        return settings["pairs"], math.log2(math.perm(values, settings["pairs"]))
    return (1, math.log2(settings["modulus"])) if task == "parity" else None


# ---------------------------------------------------------------- a cell


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
        arch=setting.arch,
        trained_length=data.spec.length if data.spec.outputs == "stream" else data.manifest.arrays["train.x"].shape[1],
        reaches=() if skipped else tuple(_horizons(runs, data, settings, device, say)),
        extrapolations=() if skipped else tuple(_extrapolations(setting, runs, settings, device, say)),
        bits={} if skipped else bits(setting, [run.result for run in runs]),
        state_bytes=runs[0].result.state_bytes if runs else 0,
        skipped=skipped,
        provenance=witness.provenance(),
    )


def _runs(setting: Setting, seeds: Sequence[int], root: Path, data: Prepared) -> list[Run]:
    """The runs of these seeds that finished."""
    task_id = tasks.task_id(setting.task, setting.task_settings)
    again = f"train the cell again: seqbench train {task_id} {setting.arch}"
    path = root / "runs" / task_id / setting.arch / "results.json"
    found = []
    for result in Runs.read(path, again).results:
        if result.seed not in seeds or result.status != "ok":
            continue
        now = train.versions(setting), data.manifest.digest
        if result.key != run_key(setting, result.learning_rate, result.seed, *now):
            raise DataError(f"the run of seed {result.seed} had other settings, data or code", str(path), again)
        folder = train.run_folder(root, task_id, setting.arch, result.seed, result.key)
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


# ---------------------------------------------------------------- the items that are looked at


class Items(NamedTuple):
    """Items of validation, each with the step whose answer is looked at."""

    x: Tensor
    """(items, time) or (items, time, features)"""
    y: Tensor
    """The label, labels or numbers of that step alone."""
    last: Tensor
    """(items,): that step."""
    lengths: Tensor | None
    """(items,) int64, on the CPU"""

    @property
    def lags(self) -> int:
        """How many lags, from 0, all of them have."""
        return int(self.last.min()) + 1

    def chunks(self) -> Iterator[tuple[slice, Items]]:
        """Parts of up to `STEPS` steps, with their places."""
        size = max(STEPS // self.x.shape[1], 1)
        for start in range(0, len(self.x), size):
            part = slice(start, start + size)
            lengths = None if self.lengths is None else self.lengths[part]
            yield part, self._replace(x=self.x[part], y=self.y[part], last=self.last[part], lengths=lengths)


def items(data: Prepared, count: int, device: torch.device) -> Items:
    """Up to `count` items of validation, spread over it: of those whose last scored step comes latest.

    Of a stream, windows of the trained length. So all of them have the same lags, and many.
    """
    split, spec = data.split("valid"), data.spec
    x, y, lengths = split["x"], split["y"], split.get("lengths")
    if spec.outputs == "stream":
        length = min(spec.length, len(x))
        starts = np.unique(np.linspace(0, len(x) - length, count).round().astype(int))
        rows = starts[:, None] + np.arange(length)
        x, y, last = x[rows], y[rows[:, -1]], np.full(len(rows), length - 1)
    else:
        last = _last_scored(y, spec, np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths))
        rows = _latest(last, count)
        x, last, lengths = x[rows], last[rows], None if lengths is None else np.array(lengths[rows], np.int64)
        y = y[rows, last] if spec.outputs in parts.PER_STEP else y[rows, -1] if spec.outputs == "steps" else y[rows]
    inputs, labels, steps = (torch.from_numpy(np.array(of)).to(device) for of in (x, y, last))
    return Items(inputs, labels, steps, None if lengths is None else torch.from_numpy(lengths))


def _last_scored(y: Array, spec: Spec, lengths: Array) -> Array:
    """(items,): the last step that is scored; -1: none is."""
    if spec.outputs not in parts.PER_STEP:
        return lengths - 1
    scored = (y[..., 0] if spec.outputs == "multilabel" else y) != UNSCORED
    steps: Array = np.where(scored, np.arange(scored.shape[1]), -1).max(axis=1)
    return steps


def _latest(last: Array, count: int) -> Array:
    """Rows of `count` items, evenly spread over those with the latest last step."""
    count = min(count, len(last))
    rows = np.flatnonzero(last >= np.sort(last)[-count])
    return rows[np.arange(count) * len(rows) // count]


# ---------------------------------------------------------------- horizons


def gradients(net: Model, seen: Items) -> list[float]:
    """Norm of d loss_t / d x_(t-lag) for every lag from 0, x being the core's input: mean over items.

    The chain of Jacobians of Pascanu et al. 2013, eq. 5; for a network in float64, as in float32 it underflows to
    zero after some hundred steps. loss_t is the cross-entropy (squared error) of the last scored step alone.
    """
    total = torch.zeros(seen.lags, dtype=torch.float64, device=seen.x.device)
    for _, part in seen.chunks():
        h = net.frontend(part.x, part.lengths).detach().requires_grad_()
        loss = _losses(_answers(net, h, part), part.y, net.spec).sum()
        (slope,) = torch.autograd.grad(loss, h, materialize_grads=True)  # zeros of a core that looks at nothing
        back = part.last[:, None] - torch.arange(seen.lags, device=h.device)
        total += slope.norm(dim=2).gather(1, back).sum(dim=0)
    norms: list[float] = (total / len(seen.x)).tolist()
    return norms


@torch.no_grad()
def interventions(net: Model, seen: Items, lags: Sequence[int]) -> list[float]:
    """How far the answer moves when the input `lag` steps back is another one, for each lag: mean over items.

    Of the right label the logit, less the mean of the others; the predicted numbers, or a logit per yes-or-no label:
    mean absolute change. Tokens become another one of those that occur; values, those of another item at that lag.
    """
    before = [
        _said(_answers(net, net.frontend(part.x, part.lengths), part), part, net.spec) for _, part in seen.chunks()
    ]
    effects = []
    for lag in lags:
        places, total = seen.last - lag, 0.0
        other = _others(seen, places, net.spec, lag)
        # The same chunks as before, so that what is not touched comes out the same to the bit.
        for (rows, part), said in zip(seen.chunks(), before, strict=True):
            x = part.x.clone()
            x[torch.arange(len(x), device=x.device), places[rows]] = other[rows]
            changed = _said(_answers(net, net.frontend(x, part.lengths), part), part, net.spec)
            total += float((changed - said).abs().mean(dim=1).sum())
        effects.append(total / len(seen.x))
    return effects


def _others(seen: Items, places: Tensor, spec: Spec, lag: int) -> Tensor:
    """Another input for that place of each item: the same one for every model."""
    random = np.random.Generator(np.random.Philox(derive(0, "intervention", lag)))
    here = seen.x[torch.arange(len(places), device=places.device), places]
    if spec.inputs == "values":
        return here.roll(int(random.integers(1, len(here))), dims=0)
    within = torch.arange(seen.x.shape[1], device=places.device) <= seen.last[:, None]
    kinds = torch.unique(seen.x[within])
    ahead = torch.from_numpy(random.integers(1, max(len(kinds), 2), size=len(here))).to(places.device)
    other: Tensor = kinds[(torch.searchsorted(kinds, here) + ahead) % len(kinds)]
    return other


def _answers(net: Model, h: Tensor, seen: Items) -> Tensor:
    """Outputs (items, output_size) of the step that is looked at, from the core's input h."""
    steps = net.steps(seen.lengths)
    out: Tensor = net.head(parts.read(net.core, net.arch, h, steps), steps, net.table)
    if net.spec.outputs in parts.PER_STEP:
        return out[torch.arange(len(out), device=out.device), seen.last]
    return out[:, -1] if net.spec.outputs == "steps" else out


def _losses(out: Tensor, y: Tensor, spec: Spec) -> Tensor:
    """(items,): cross-entropy in nats, summed over yes-or-no labels; mean squared error."""
    if spec.outputs == "values":
        return F.mse_loss(out, y.to(out.dtype).reshape(out.shape), reduction="none").mean(dim=1)
    if spec.outputs == "multilabel":
        return F.binary_cross_entropy_with_logits(out, y.to(out.dtype), reduction="none").sum(dim=1)
    return F.cross_entropy(out, y.long(), reduction="none")


def _said(out: Tensor, seen: Items, spec: Spec) -> Tensor:
    """(items, numbers): what `interventions` compares."""
    if spec.outputs in ("values", "multilabel"):
        return out
    right = out.gather(1, seen.y.long()[:, None])
    return right - (out.sum(dim=1, keepdim=True) - right) / max(out.shape[1] - 1, 1)


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
        net = model.build(run.data.spec, result.arch, result.setting.core, result.width, result.seeds["init"])
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


# ---------------------------------------------------------------- longer sequences, bits


def _extrapolations(
    setting: Setting, runs: Sequence[Run], settings: MeasureSettings, device: torch.device, say: Say
) -> Iterator[Extrapolation]:
    """Scores on fresh sequences, which are drawn once for all runs."""
    for factor in settings.stretch:
        changed = longer(setting.task, setting.task_settings, factor)
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
    of = asked(setting.task, setting.task_settings)
    if of is None:
        return {}
    labels, held = of
    missing = {str(result.seed): labels * result.valid["cross_entropy"] / math.log(2) for result in results}
    return {seed: max(held - lost, 0.0) for seed, lost in missing.items()}
