"""The gated recurrent unit (Cho et al. 2014), in cuDNN's variant: the reset gate acts after the product.

r = s(W_r x_t + U_r h_{t-1} + b_r),  z = s(W_z x_t + U_z h_{t-1} + b_z),
n = tanh(W_n x_t + b_n + r * (U_n h_{t-1} + c_n)),  h_t = (1 - z) * n + z * h_{t-1}.
"""

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
    """GRU layers; see Recurrent for the settings."""

    LAYER = nn.GRU
    GATES = 3

    @staticmethod
    def cell(x_t: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        """(h_{t-1},) -> (h_t,)."""
        return (torch.gru_cell(x_t, state[0], *weights),)
