"""What the gates compare of a model, and how a comparison is judged."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seqbench import model, parts
from seqbench.gates.cases import SEED, Case
from seqbench.model import Net
from seqbench.seq2seq import Seq2Seq

ROUNDING = 1e-9
"""Of sums taken in another order, in float64, relative to the largest number (or to 1)."""


class Finding(NamedTuple):
    """One comparison of a gate."""

    what: str
    deviation: float
    tolerance: float
    meaning: str
    """What it means where the deviation is larger than the tolerance, or no number."""

    @property
    def passed(self) -> bool:
        """NaN does not pass."""
        return self.deviation <= self.tolerance


def outputs(net: Net, case: Case) -> Tensor:
    """As in training. A batch of full length is read without lengths where the model allows it."""
    lengths = case.lengths
    if isinstance(net, Seq2Seq):
        return cast(Tensor, net(case.x, lengths, case.y))
    return cast(Tensor, net(case.x, lengths if int(lengths.min()) < case.x.shape[1] else None))


def loss(net: Net, case: Case) -> Tensor:
    """As in training, of `outputs`."""
    steps = None if isinstance(net, Seq2Seq) else net.steps(case.lengths)
    return model.loss(outputs(net, case), case.y, net.spec, steps)


def each_step(net: Net, case: Case) -> Tensor:
    """Outputs for each step, (batch, time, output_size), also of a model that pools; of a batch of full length."""
    if isinstance(net, Seq2Seq):
        return outputs(net, case)
    h = parts.read(net.core, net.arch, net.frontend(case.x), None)
    return net.head.logits(h, net.table)


def cores(net: Net) -> dict[str, nn.Module]:
    """The cores of a model by the name of its part."""
    names = ("encoder", "decoder") if isinstance(net, Seq2Seq) else ("core",)
    return {name: getattr(net, name) for name in names}


def apart(found: Tensor, wanted: Tensor) -> float:
    """Largest distance, relative to the largest number wanted, or to 1 where that is more."""
    if found.shape != wanted.shape:
        raise ValueError(f"outputs of shape {tuple(found.shape)} instead of {tuple(wanted.shape)}")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def noise(*shape: int) -> Tensor:
    """Normal numbers in float64, the same at each call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
