"""The simple recurrent network (Elman 1990): h_t = tanh(W x_t + U h_{t-1} + b)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqbench.archs._recurrent import Recurrent, Weights

VERSION = 1
SETTINGS = {
    "layers": 1,
    "dropout": 0.0,
    "orthogonal": True,
    "recurrent_dropout": 0.0,
    "variational": False,
    "truncate": 0,
    "packing": "auto",
}


class Core(Recurrent):
    """Elman layers; see Recurrent for the settings."""

    LAYER = nn.RNN
    GATES = 1

    @staticmethod
    def cell(x_t: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        """(h_{t-1},) -> (h_t,)."""
        return (torch.rnn_tanh_cell(x_t, state[0], *weights),)
