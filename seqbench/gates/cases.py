"""Small models of every kind, away from their first weights, and small batches for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqbench import model, parts
from seqbench.errors import InputError
from seqbench.model import Net
from seqbench.records import END, UNSCORED, Spec

WIDTH = 8
"""Of the models, or the next one up that the core takes."""
STEPS, LONG = 6, 70
"""Steps that the core sees; LONG where one map of values stands before outputs for every step, so that a core that
reads in blocks (of 64, say) is caught at their borders."""
SHORTER = (3, 4)
"""Steps of the other items of a batch that are padded."""
FRONTENDS: dict[str, dict[str, Any]] = {
    "embedding": {"inputs": "tokens", "input_size": 11, "embedding": 5},
    "linear": {"inputs": "values", "input_size": 3},
    "spectrogram": {"inputs": "values", "input_size": 5, "frontend": "spectrogram"},
    "frames": {"inputs": "values", "input_size": 64, "frontend": "frames", "frame": (1, 8, 8)},
}
HEADS: tuple[dict[str, Any], ...] = (
    *({"outputs": outputs, "pooling": how} for outputs in ("classes", "values") for how in ("last", "mean", "ends")),
    {"outputs": "steps", "window": 2},
    *({"outputs": outputs} for outputs in ("every", "stream", "multilabel")),
    {"outputs": "ctc", "target_length": 2},
    *({"outputs": "sequence", "target_length": 5, "connection": how} for how in ("none", "additive", "attention")),
)
SIZE = 4
"""Numbers per output; with an embedding that is also the head's last map as many as tokens."""
SHIFT = 0.02
"""Standard deviation of what is added to the first weights."""
SEED = 1

Build = Callable[[int], Net]
"""Seed -> a float32 model."""


# ---------------------------------------------------------------- models


def specs() -> list[Spec]:
    """A tiny spec of every kind of model that can be built (`Spec.kind`), each kind once."""
    found = []
    for (name, frontend), head, causal in itertools.product(FRONTENDS.items(), HEADS, (True, False)):
        outputs = head["outputs"]
        quarter = name == "spectrogram" and (causal or outputs not in ("classes", "values", "ctc"))
        if quarter or (outputs == "stream" and not causal):
            continue
        if outputs == "sequence" and (causal or name != "embedding"):
            continue
        tied = name == "embedding" and outputs in ("stream", "sequence")
        size = frontend["input_size"] if tied else SIZE
        steps = LONG if name == "linear" and outputs == "every" else STEPS
        shared: dict[str, Any] = {"output_size": size, "length": _length(name, steps), "tied": tied}
        found.append(Spec(causal=causal, metric="loss", direction="min", **frontend, **head, **shared))
    return found


def _length(frontend: str, steps: int) -> int:
    """Inputs of which the core sees so many steps."""
    return 4 * steps - 2 if frontend == "spectrogram" else steps


def narrowest(spec: Spec, arch: str, core_settings: Mapping[str, Any]) -> int:
    """The least width from WIDTH on that the core takes. InputError: it takes none."""
    refusals = []
    for width in range(WIDTH, WIDTH + model.LARGEST_STEP):
        try:
            model.build(spec, arch, core_settings, width, SEED)
        except InputError as error:
            refusals.append(error)
        else:
            return width
    raise refusals[0]


def without_dropout(spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int, seed: int) -> Net:
    """A model whose layers of dropout do nothing."""
    net = model.build(spec, arch, core_settings, width, seed)
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    return net


def moved(build: Build) -> Net:
    """A float32 model, its weights moved a little at random."""
    net, random = build(SEED), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in net.parameters():
            weights.add_(torch.randn(weights.shape, generator=random), alpha=SHIFT)
    return net


# ---------------------------------------------------------------- batches


class Case(NamedTuple):
    """A small batch."""

    x: Tensor
    """(batch, time, ...)"""
    y: Tensor
    """As the loss takes it."""
    lengths: Tensor
    """(batch,)"""

    def one(self, item: int) -> Case:
        """An item alone, without padding."""
        rows, steps = slice(item, item + 1), int(self.lengths[item])
        return Case(self.x[rows, :steps], self.y[rows], self.lengths[rows])


def case(spec: Spec, uneven: bool = False) -> Case:
    """A batch of full length, or (but of a stream) with SHORTER items; y is not scored beyond their ends."""
    random, batch, longest = torch.Generator().manual_seed(SEED), 1 + len(SHORTER), spec.seen(spec.length)
    shorter = SHORTER if uneven and spec.outputs != "stream" else [longest] * len(SHORTER)
    steps = torch.tensor([longest, *shorter])
    lengths = torch.tensor([_length(spec.frontend, count) for count in steps.tolist()])
    shape = batch, spec.length
    if spec.inputs == "tokens":
        x = torch.randint(END + 1, spec.input_size, shape, generator=random)
    else:
        x = torch.randn(*shape, *(spec.frame or (spec.input_size,)), generator=random, dtype=torch.float64)
    beyond = torch.arange(longest) >= steps[:, None]
    sizes: dict[str, tuple[int, ...]] = {
        "classes": (batch,),
        "values": (batch, spec.output_size),
        "steps": (batch, spec.window),
        "multilabel": (*beyond.shape, spec.output_size),
        "ctc": (batch, spec.target_length),
        "sequence": (batch, spec.target_length),
    }
    labels = 2 if spec.outputs == "multilabel" else spec.output_size
    least = {"ctc": parts.BLANK + 1, "sequence": END}.get(spec.outputs, 0)
    y = torch.randint(least, labels, sizes.get(spec.outputs, tuple(beyond.shape)), generator=random)
    if spec.outputs in ("ctc", "sequence"):
        y[1, -1] = UNSCORED
    elif spec.outputs in ("every", "stream", "multilabel"):
        y[beyond] = UNSCORED
    return Case(x, y, lengths)


def garbage(spec: Spec, x: Tensor) -> Tensor:
    """Other tokens, or far larger values, in each place of x."""
    if spec.inputs == "tokens":
        return END + 1 + (x - END) % (spec.input_size - END - 1)
    return 1000.0 + 100.0 * x
