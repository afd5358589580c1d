"""Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gate (Gers et al. 2000).

i, f, o = s(W x_t + U h_{t-1} + b) of each gate,  g = tanh(W_g x_t + U_g h_{t-1} + b_g),
c_t = f * c_{t-1} + i * g,  h_t = o * tanh(c_t).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqbench.archs._recurrent import Recurrent, Weights

VERSION = 1
SETTINGS = {
    "layers": 1,
    "dropout": 0.0,
    "orthogonal": True,
    "forget_bias": 1.0,
    "recurrent_dropout": 0.0,
    "variational": False,
    "truncate": 0,
    "packing": "auto",
}


class Core(Recurrent):
    """LSTM layers; `forget_bias` is the initial bias of the forget gate (Jozefowicz et al. 2015: 1)."""

    LAYER = nn.LSTM
    GATES = 4
    STATES = 2

    def __init__(self, width: int, *, forget_bias: float, **shared: Any) -> None:
        super().__init__(width, **shared)
        for kind, value in (("bias_ih", forget_bias), ("bias_hh", 0.0)):  # torch adds the two: put it once
            for gate in self.gates(kind)[1 :: self.GATES]:
                nn.init.constant_(gate, value)

    @staticmethod
    def cell(x_t: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        """(h_{t-1}, c_{t-1}) -> (h_t, c_t)."""
        return torch.lstm_cell(x_t, state, *weights)
