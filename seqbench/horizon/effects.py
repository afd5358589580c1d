"""What each input does to an answer some steps later: by the gradient, and by putting another in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seqbench import parts
from seqbench.model import Model
from seqbench.prepared import Array, Prepared
from seqbench.records import UNSCORED, Spec, derive

STEPS = 1 << 15
"""Steps of the items that are looked at side by side, at most."""

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


# ---------------------------------------------------------------- effects


def gradients(net: Model, seen: Items) -> list[float]:
    """Norm of d loss_t / d x_(t-lag) for every lag from 0, x being the core's input: mean over items.

    The chain of Jacobians of Pascanu et al. 2013, eq. 5; for a network in float64, as in float32 it underflows to
    zero after some hundred steps. loss_t is the cross-entropy (squared error) of the last scored step alone.
    """
    total = torch.zeros(seen.lags, dtype=torch.float64, device=seen.x.device)
    for _, part in seen.chunks():
        h = net.frontend(part.x, part.lengths).detach().requires_grad_()
        loss = losses(answers(net, h, part), part.y, net.spec).sum()
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
        _said(answers(net, net.frontend(part.x, part.lengths), part), part, net.spec) for _, part in seen.chunks()
    ]
    effects = []
    for lag in lags:
        places, total = seen.last - lag, 0.0
        other = _others(seen, places, net.spec, lag)
        # The same chunks as before, so that what is not touched comes out the same to the bit.
        for (rows, part), said in zip(seen.chunks(), before, strict=True):
            x = part.x.clone()
            x[torch.arange(len(x), device=x.device), places[rows]] = other[rows]
            changed = _said(answers(net, net.frontend(x, part.lengths), part), part, net.spec)
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


def answers(net: Model, h: Tensor, seen: Items) -> Tensor:
    """Outputs (items, output_size) of the step that is looked at, from the core's input h."""
    steps = net.steps(seen.lengths)
    out: Tensor = net.head(parts.read(net.core, net.arch, h, steps), steps, net.table)
    if net.spec.outputs in parts.PER_STEP:
        return out[torch.arange(len(out), device=out.device), seen.last]
    return out[:, -1] if net.spec.outputs == "steps" else out


def losses(out: Tensor, y: Tensor, spec: Spec) -> Tensor:
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
