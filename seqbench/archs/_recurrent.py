"""What the RNN, the LSTM and the GRU share: a stack of single layers, both directions, carried state, streaming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

State = tuple[tuple[Tensor, ...], ...]
"""Per layer its state tensors, each (batch, width)."""


class Recurrent(nn.Module):
    """A stack of recurrent layers with dropout between them.

    Single layers are stacked by hand because the dropout inside `nn.LSTM(num_layers=2)` draws, on
    CUDA, from a cuDNN state that reseeding does not reset.

    A core that is not causal reads both ways, each way with half the width (Schuster & Paliwal
    1997); an odd width is then a ValueError. `orthogonal` makes the recurrent matrix of every gate
    orthogonal (Saxe et al. 2014), so that the untrained state neither fades nor grows through it;
    all other weights keep torch's U(-1/sqrt(hidden), 1/sqrt(hidden)).
    """

    LAYER: ClassVar[type[nn.RNN | nn.LSTM | nn.GRU]]
    GATES: ClassVar[int]
    STATES: ClassVar[int] = 1
    """State tensors of a layer."""

    def __init__(self, width: int, *, length: int, causal: bool, layers: int, dropout: float, orthogonal: bool) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be 1 or more, not {layers}")
        if width % 2 and not causal:
            raise ValueError(f"reading both ways needs an even width, not {width}")
        self.causal = causal
        hidden = width if causal else width // 2
        self.layers = nn.ModuleList(
            self.LAYER(width, hidden, batch_first=True, bidirectional=not causal) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        if orthogonal:
            for gate in self.gates("weight_hh"):
                nn.init.orthogonal_(gate)

    def gates(self, kind: str) -> list[Tensor]:
        """Views of the parameters `kind` (`weight_hh`, `bias_ih`, ...) by layer, direction and gate."""
        named = (pair for layer in self.layers for pair in layer.named_parameters())
        with torch.no_grad():
            return [gate for name, values in named if name.startswith(kind) for gate in values.chunk(self.GATES)]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (batch, time, width) -> (batch, time, width); lengths (batch,), int64, on the CPU.

        Only reading both ways needs the lengths: the way back starts at each item's own end. A
        causal core cannot see what comes later.
        """
        if self.causal:
            return self.carry(x)[0]
        for index, layer in enumerate(self.layers):
            if index:
                x = self.dropout(x)
            x = _both_ways(cast(nn.RNNBase, layer), x, lengths)
        return x

    def carry(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A causal core on from the state that an earlier call or step left: x, state -> output, state.

        x and the output (batch, time, width). The first state is None.
        """
        after = []
        for index, layer in enumerate(self.layers):
            if index:
                x = self.dropout(x)
            before = tuple(part[None] for part in state[index]) if state else None
            x, last = layer(x, before if before is None or self.STATES > 1 else before[0])
            after.append(tuple(part[0] for part in (last if self.STATES > 1 else (last,))))
        return x, tuple(after)

    def plain(self, x: Tensor) -> Tensor:
        """What `forward` of a causal core gives, as a loop of the equations: x (batch, time, width) -> the same shape.

        One operator for each product and function, as a reader would write it: the fused layers of a library are
        tuned unevenly (on a CPU that of the LSTM is, those of the GRU and the RNN are not).
        """
        for index, layer in enumerate(self.layers):
            if index:
                x = self.dropout(x)
            weights = cast(nn.RNNBase, layer).all_weights[0]
            state, outputs = (torch.zeros_like(x[:, 0]),) * self.STATES, []
            for x_t in x.unbind(1):
                state = self.cell(x_t, state, weights)
                outputs.append(state[0])
            x = torch.stack(outputs, dim=1)
        return x

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One time step: x_t (batch, width), state -> (batch, width), state. The first state is None.

        Uses the layers' weights in the cell functions: `nn.LSTM` on length 1 is many times slower.
        """
        after = []
        for index, layer in enumerate(self.layers):
            if index:
                x_t = self.dropout(x_t)
            before = state[index] if state else (torch.zeros_like(x_t),) * self.STATES
            after.append(self.cell(x_t, before, cast(nn.RNNBase, layer).all_weights[0]))
            x_t = after[-1][0]
        return x_t, tuple(after)

    @staticmethod
    def cell(x_t: Tensor, state: tuple[Tensor, ...], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The layer's equation for one step; weights are (w_ih, w_hh, b_ih, b_hh). Returns (h_t, ...)."""
        raise NotImplementedError


def _both_ways(layer: nn.RNNBase, x: Tensor, lengths: Tensor | None) -> Tensor:
    """A bidirectional layer on a padded batch; what comes out beyond an item's length means nothing.

    Packed on CUDA, where cuDNN has kernels for it. ATen's packed loop on the CPU is two to six
    times slower than two plain passes, one of them over each item turned round within its length.
    """
    if lengths is None:
        both: Tensor = layer(x)[0]
        return both
    if x.device.type != "cpu":
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])[0]
    weights = layer.all_weights[0], layer.all_weights[1]
    forwards, backwards = _pass(layer, x, weights[0]), _pass(layer, turned(x, lengths), weights[1])
    return torch.cat((forwards, turned(backwards, lengths)), dim=2)


def _pass(layer: nn.RNNBase, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """One direction of a layer over x (batch, time, width), from a state of zeros."""
    run = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh}[layer.mode]
    zeros = x.new_zeros(1, len(x), layer.hidden_size)
    start = (zeros, zeros) if layer.mode == "LSTM" else zeros
    out: Tensor = run(x, start, list(weights), True, 1, 0.0, layer.training, False, True)[0]  # type: ignore[operator]
    return out


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Each item of x (batch, time, width) turned round within its length; the rest stays in place."""
    time = torch.arange(x.shape[1])
    back = lengths[:, None] - 1 - time
    index = torch.where(back < 0, time, back).to(x.device)
    return x.gather(1, index[:, :, None].expand_as(x))
