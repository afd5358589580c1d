"""What the RNN, the LSTM and the GRU share: a stack of single layers, both directions, carried state, streaming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

State = tuple[tuple[Tensor, ...], ...]
"""Per layer its state tensors, each (batch, width)."""
Weights = Sequence[Tensor]
"""Of one direction of a layer: w_ih, w_hh, b_ih, b_hh."""
RUN: dict[str, Any] = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh}
"""What runs a layer with given weights."""
PACKING = ("auto", "always", "never")


class Recurrent(nn.Module):
    """A stack of recurrent layers with dropout between them.

    Single layers are stacked by hand because the dropout inside `nn.LSTM(num_layers=2)` draws, on
    CUDA, from a cuDNN state that reseeding does not reset.

    A core that is not causal reads both ways, each way with half the width (Schuster & Paliwal
    1997); an odd width is then a ValueError. `orthogonal` makes the recurrent matrix of every gate
    orthogonal (Saxe et al. 2014), so that the untrained state neither fades nor grows through it;
    all other weights keep torch's U(-1/sqrt(hidden), 1/sqrt(hidden)).

    In training only:

    - `dropout` drops what one layer gives to the next (Zaremba et al. 2014), hence nothing where
      there is one layer; anew at each step, or, if `variational`, the same columns of an item at
      all steps of a call (Gal & Ghahramani 2016, sec. 4). `variational` with one layer is a ValueError.
    - `recurrent_dropout` drops entries of the recurrent matrices, the same at all steps of a call
      and for all its items (DropConnect; Merity et al. 2018, sec. 2).
    - `truncate` cuts the gradient by the state after every so many steps, counted from the first
      of a call (truncated back-propagation through time, Williams & Peng 1990); 0: nowhere.
      Outputs stay the same. A loss at the last step alone then trains on the steps since the last
      cut, 1 to `truncate` of them. Of a core that reads both ways it is a ValueError.

    `packing` says whether layers run over packed sequences where lengths are given, which skips the padding (outputs
    within an item's length stay the same): "always", "never", or "auto", where it is fast: reading both ways on CUDA.

    Kept values are scaled by 1 / (1 - p). A call is one of `forward`, `carry`, `plain` or `step`.
    """

    LAYER: ClassVar[type[nn.RNN | nn.LSTM | nn.GRU]]
    GATES: ClassVar[int]
    STATES: ClassVar[int] = 1
    """State tensors of a layer."""

    def __init__(
        self,
        width: int,
        *,
        length: int,
        causal: bool,
        layers: int,
        dropout: float,
        orthogonal: bool,
        recurrent_dropout: float = 0.0,
        variational: bool = False,
        truncate: int = 0,
        packing: str = "auto",
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be 1 or more, not {layers}")
        if width % 2 and not causal:
            raise ValueError(f"reading both ways needs an even width, not {width}")
        if variational and layers == 1:
            raise ValueError("variational dropout is between layers, and there is one: set layers to 2 or more")
        if truncate < 0:
            raise ValueError(f"truncate must be 0 or more, not {truncate}")
        if truncate and not causal:
            raise ValueError("truncate cuts gradients of a core that reads forwards, and this one reads both ways")
        if packing not in PACKING:
            raise ValueError(f"packing must be one of {', '.join(PACKING)}, not {packing}")
        if truncate and packing == "always":
            raise ValueError("truncate cuts windows of padded batches, and packing is 'always': leave one of them out")
        self.causal = causal
        hidden = width if causal else width // 2
        self.layers = nn.ModuleList(
            self.LAYER(width, hidden, batch_first=True, bidirectional=not causal) for _ in range(layers)
        )
        self.dropout = _OneMask(dropout) if variational else nn.Dropout(dropout)
        self.recurrent_dropout = nn.Dropout(recurrent_dropout)
        self.truncate = truncate
        self.packing = packing
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

        But for packing, only reading both ways needs the lengths: the way back starts at each item's own end. A
        causal core cannot see what comes later.
        """
        suits = not self.causal and x.device.type != "cpu"
        pack = lengths is not None and (self.packing == "always" or (self.packing == "auto" and suits))
        if self.causal and not pack:
            return self.carry(x)[0]
        for index, layer in enumerate(self.layers):
            if index:
                x = self.dropout(x)
            drawn = self._drawn(layer)
            x = packed(drawn, x, lengths) if pack and lengths is not None else _both_ways(drawn, x, lengths)
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
            x, last = self._forwards(self._drawn(layer), x, before if before is None or self.STATES > 1 else before[0])
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
            weights = self._drawn(layer).all_weights[0]
            state, outputs = (torch.zeros_like(x[:, 0]),) * self.STATES, []
            for step, x_t in enumerate(x.unbind(1)):
                if self.training and self.truncate and step % self.truncate == 0:
                    state = tuple(part.detach() for part in state)
                state = self.cell(x_t, state, weights)
                outputs.append(state[0])
            x = torch.stack(outputs, dim=1)
        return x

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One time step: x_t (batch, width), state -> (batch, width), state. The first state is None.

        Uses the layers' weights in the cell functions: `nn.LSTM` on length 1 is many times slower.
        In training each step is a call, with draws of its own and no cut: that is for whoever holds the state.
        """
        after = []
        for index, layer in enumerate(self.layers):
            if index:
                x_t = self.dropout(x_t)
            before = state[index] if state else (torch.zeros_like(x_t),) * self.STATES
            after.append(self.cell(x_t, before, self._drawn(layer).all_weights[0]))
            x_t = after[-1][0]
        return x_t, tuple(after)

    def _drawn(self, layer: nn.Module) -> nn.RNNBase | _Dropped:
        """The layer, or what stands for it while entries of its recurrent matrices are dropped."""
        whole = cast(nn.RNNBase, layer)
        dropping = self.training and self.recurrent_dropout.p > 0
        return _Dropped(whole, self.recurrent_dropout) if dropping else whole

    def _forwards(self, layer: nn.RNNBase | _Dropped, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """A causal layer over x (batch, time, width), on from its state; in training with cut gradients."""
        if not (self.training and 0 < self.truncate < x.shape[1]):
            return layer(x, state)
        outputs: list[Tensor] = []
        for window in torch.split(x, self.truncate, dim=1):
            if outputs:
                state = tuple(part.detach() for part in state) if self.STATES > 1 else state.detach()
            out, state = layer(window, state)
            outputs.append(out)
        return torch.cat(outputs, dim=1), state

    @staticmethod
    def cell(x_t: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        """The layer's equation for one step; weights are (w_ih, w_hh, b_ih, b_hh). Returns (h_t, ...)."""
        raise NotImplementedError


class _OneMask(nn.Dropout1d):
    """Dropout of x (batch, time, width), or of one step (batch, width): a column of an item at all steps or none."""

    def forward(self, x: Tensor) -> Tensor:
        steps = x if x.ndim == 3 else x[:, None]
        return super().forward(steps.transpose(1, 2)).transpose(1, 2).reshape(x.shape)


class _Dropped:
    """A layer for one call, entries of its recurrent matrices dropped; called as the layer itself is.

    Through torch's functions of weights: an `nn.LSTM` whose weights are replaced warns.
    """

    def __init__(self, layer: nn.RNNBase, dropout: nn.Dropout) -> None:
        self.layer = layer
        self.all_weights = [[w_ih, dropout(w_hh), b_ih, b_hh] for w_ih, w_hh, b_ih, b_hh in layer.all_weights]
        if torch.backends.cudnn.is_acceptable(layer.all_weights[0][0]):  # type: ignore[no-untyped-call]
            self._compact()

    def _compact(self) -> None:
        """Put copies of all weights into one block of memory, as the layer's own are: without, cuDNN warns."""
        self.all_weights = [
            [w_ih.clone(), w_hh, b_ih.clone(), b_hh.clone()] for w_ih, w_hh, b_ih, b_hh in self.all_weights
        ]
        mode = torch.backends.cudnn.rnn.get_cudnn_mode(self.layer.mode)  # type: ignore[no-untyped-call]
        sizes = self.layer.input_size, mode, self.layer.hidden_size, 0, 1
        flat = self._flat()
        with torch.no_grad(), torch.cuda.device_of(flat[0]):  # type: ignore[no-untyped-call]
            torch._cudnn_rnn_flatten_weight(flat, 4, *sizes, True, self.layer.bidirectional)

    def _flat(self) -> list[Tensor]:
        return [weight for weights in self.all_weights for weight in weights]

    def __call__(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """x (batch, time, width) or packed, and a state or None -> outputs in the form of x, and the last state."""
        layer, packed = self.layer, isinstance(x, PackedSequence)
        values, batch = (x.data, int(x.batch_sizes[0])) if packed else (x, len(x))
        if state is None:
            state = _zeros(layer, values, batch, 1 + layer.bidirectional)
        before, after = ((x.batch_sizes,), ()) if packed else ((), (True,))
        found = RUN[layer.mode](
            values, *before, state, self._flat(), True, 1, 0.0, layer.training, layer.bidirectional, *after
        )
        out = PackedSequence(found[0], *x[1:]) if packed else found[0]
        return out, found[1:] if len(found) > 2 else found[1]


def _both_ways(layer: nn.RNNBase | _Dropped, x: Tensor, lengths: Tensor | None) -> Tensor:
    """A bidirectional layer on a padded batch; what comes out beyond an item's length means nothing.

    For the CPU (on CUDA cuDNN has kernels for packed sequences): ATen's packed loop there is two to six times
    slower than two plain passes, one of them over each item turned round within its length.
    """
    if lengths is None:
        both: Tensor = layer(x)[0]
        return both
    whole = layer.layer if isinstance(layer, _Dropped) else layer
    weights = layer.all_weights[0], layer.all_weights[1]
    forwards, backwards = _pass(whole, x, weights[0]), _pass(whole, turned(x, lengths), weights[1])
    return torch.cat((forwards, turned(backwards, lengths)), dim=2)


def packed(layer: nn.RNNBase | _Dropped, x: Tensor, lengths: Tensor) -> Tensor:
    """A layer over packed sequences: x (batch, time, width), lengths (batch,) -> (batch, time, width)."""
    there = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(there)[0], batch_first=True, total_length=x.shape[1])[0]


def _pass(layer: nn.RNNBase, x: Tensor, weights: Weights) -> Tensor:
    """One direction of a layer over x (batch, time, width), from a state of zeros."""
    start = _zeros(layer, x, len(x), 1)
    out: Tensor = RUN[layer.mode](x, start, list(weights), True, 1, 0.0, layer.training, False, True)[0]
    return out


def _zeros(layer: nn.RNNBase, like: Tensor, batch: int, ways: int) -> Any:
    """The first state of a layer, as it takes it."""
    zeros = like.new_zeros(ways, batch, layer.hidden_size)
    return (zeros, zeros) if layer.mode == "LSTM" else zeros


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Each item of x (batch, time, width) turned round within its length; the rest stays in place."""
    time = torch.arange(x.shape[1])
    back = lengths[:, None] - 1 - time
    index = torch.where(back < 0, time, back).to(x.device)
    return x.gather(1, index[:, :, None].expand_as(x))
