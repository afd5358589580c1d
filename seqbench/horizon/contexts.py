"""Scores of trained models that may see only the last steps before an answer: does the task need range at all?

As an intervention, but on all earlier inputs at once: those of another item stand in their place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from seqbench import apply
from seqbench.apply import Run
from seqbench.config import MeasureSettings
from seqbench.horizon.effects import Items, answers, items, losses
from seqbench.horizon.longer import Say
from seqbench.measurements import Allowed
from seqbench.model import Model
from seqbench.prepared import Prepared
from seqbench.records import Spec

TIMES = 4
"""Times as many items as a horizon is averaged over: scores are coarser than effects, and float32 is cheaper."""
LOSSES = {"values": "mse", "multilabel": "nll"}
"""What the loss of one answer is called as a metric, by `Spec.outputs`; of labels it is the cross-entropy."""


def allowed(
    runs: Sequence[Run], data: Prepared, settings: MeasureSettings, device: torch.device, say: Say
) -> Iterator[Allowed]:
    """For each run its score on the same items of validation, with 1, 2, 4, ... steps and with all of them.

    It may be worse than a guess: then the model answers for the other item. Nothing where there is no other item.
    """
    seen = _asked(items(data, settings.reach_items * TIMES, device))
    if len(seen.x) < 2:
        return
    replaced = others(seen)
    for run in runs:
        net = apply.load(run, device).net
        assert isinstance(net, Model)
        metric = metric_of(net.spec)
        for steps in sizes(int(seen.last.max()) + 1):
            score = _score(net, only(seen, replaced, steps), metric)
            finite = math.isfinite(score)
            yield Allowed(seed=run.result.seed, steps=steps, metric=metric, score=score if finite else None)
        say(f"seed {run.result.seed}, all of {steps} steps: {metric} {score:.4g} of the answers looked at")


def sizes(length: int) -> list[int]:
    """Powers of two below the length, and the length itself."""
    return [*(1 << power for power in range((length - 1).bit_length())), length]


def metric_of(spec: Spec) -> str:
    """The task's metric where one answer has it, else its loss; under the name that `Base.score` has for it."""
    if spec.metric == "accuracy" and spec.outputs not in LOSSES:
        return "accuracy"
    return LOSSES.get(spec.outputs, "cross_entropy")


def _asked(seen: Items) -> Items:
    """Without items that have no answer to look at."""
    there = seen.last >= 0
    lengths = None if seen.lengths is None else seen.lengths[there.cpu()]
    return Items(seen.x[there], seen.y[there], seen.last[there], lengths)


def others(seen: Items) -> Tensor:
    """Inputs as `seen.x`, each item's those of another one, step by step; one that ends too early begins again.

    Another: half of all items away, since windows of a stream overlap with the next.
    """
    donor = torch.arange(len(seen.x), device=seen.x.device).roll(len(seen.x) // 2)
    steps = torch.arange(seen.x.shape[1], device=seen.x.device)
    found: Tensor = seen.x[donor[:, None], steps % (seen.last[donor, None] + 1)]
    return found


def only(seen: Items, replaced: Tensor, steps: int) -> Items:
    """The items with all inputs replaced but the last `steps` up to the answer (and padding after it)."""
    early = torch.arange(seen.x.shape[1], device=seen.x.device) <= seen.last[:, None] - steps
    return seen._replace(x=torch.where(early.reshape(*early.shape, *[1] * (seen.x.ndim - 2)), replaced, seen.x))


@torch.no_grad()
def _score(net: Model, seen: Items, metric: str) -> float:
    """Mean over items, of the answers that are looked at alone."""
    total = 0.0
    for _, part in seen.chunks():
        out = answers(net, net.frontend(part.x, part.lengths), part)
        of = (out.argmax(dim=1) == part.y).double() if metric == "accuracy" else losses(out, part.y, net.spec)
        total += float(of.double().sum())
    return total / len(seen.x)
