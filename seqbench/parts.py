"""What stands behind a core: head, attention to an encoder; and the checks of a core's answers."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench import archs
from seqbench.errors import InputError
from seqbench.records import Spec

BLANK = 0
"""The label of "ctc" that says nothing."""
AHEAD = 5.0
"""The blank begins so far, in nats, ahead of the other labels, about where an alignment has it. From level terms the
first steps are spent on getting there, at rates at which recurrent cores then learned nothing for 1,500 steps."""
PER_STEP = ("every", "stream", "sequence", "ctc", "multilabel")
"""Kinds of outputs with logits for each step."""


class Head(nn.Module):
    """Width to outputs: one linear map, after pooling where there is one output per sequence.

    A tied head maps to the embedding's columns; its products with the embedding table are the logits.
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        if spec.outputs == "steps" and spec.window < 1:
            raise InputError("a task of steps scores no step", "spec.window of the task", "give 1 or more")
        if spec.tied and spec.input_size != spec.output_size:
            raise InputError("tied, and reads other tokens than it writes", "spec.tied of the task", "do not tie")
        self.spec = spec
        self.linear = nn.Linear(width, spec.embedding if spec.tied else spec.output_size)
        self.dropout = nn.Dropout(spec.dropout)
        if spec.outputs == "ctc":
            with torch.no_grad():
                self.linear.bias[BLANK] += AHEAD

    def forward(self, h: Tensor, lengths: Tensor | None, table: Tensor | None) -> Tensor:
        """h (batch, time, width) -> (batch, output_size), or (batch, steps, output_size) with labels for steps.

        The last steps, and the mean, are those of the first `lengths` steps (at least `window`).
        `table` (output_size, embedding) is the embedding table of a tied head.
        """
        return self.logits(self.pool(h, lengths), table)

    def logits(self, h: Tensor, table: Tensor | None) -> Tensor:
        """h (..., width) -> (..., output_size)."""
        out: Tensor = self.linear(self.dropout(h))
        return F.linear(out, table) if self.spec.tied and table is not None else out

    def pool(self, h: Tensor, lengths: Tensor | None) -> Tensor:
        """h (batch, time, width) -> what the linear map is given."""
        if self.spec.outputs == "steps":
            return last(h, lengths, self.spec.window)
        if self.spec.outputs in PER_STEP:
            return h
        return pool(h, lengths, self.spec.pooling)


def pool(h: Tensor, lengths: Tensor | None, pooling: str) -> Tensor:
    """(batch, time, width) -> (batch, width), over each item's own steps; `pooling` as in Spec."""
    if pooling == "last":
        return last(h, lengths, 1)[:, 0]
    if pooling == "ends":
        half = h.shape[2] // 2
        return torch.cat((last(h, lengths, 1)[:, 0, :half], h[:, 0, half:]), dim=1)
    if lengths is None:
        return h.mean(dim=1)
    lengths = lengths.to(h.device, non_blocking=True)[:, None]
    beyond = torch.arange(h.shape[1], device=h.device) >= lengths
    return h.masked_fill(beyond[..., None], 0.0).sum(dim=1) / lengths


def last(h: Tensor, lengths: Tensor | None, window: int) -> Tensor:
    """The last `window` valid steps of h (batch, time, width): (batch, window, width)."""
    if lengths is None:
        return h[:, -window:]
    steps = lengths[:, None] - window + torch.arange(window)
    return h[torch.arange(len(h), device=h.device)[:, None], steps.to(h.device, non_blocking=True)]


class Additive(nn.Module):
    """Additive attention (Bahdanau et al. 2015, appendix A.1.2), after the decoder's core (Luong et al. 2015, fig. 2).

    a_ij = softmax_j(v . tanh(W h_i + U m_j)), c_i = sum_j a_ij m_j, out_i = tanh(C [h_i; c_i]).
    After the core, not before: so the core reads a whole sequence at once, whatever it is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.keys = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)
        self.merge = nn.Linear(2 * width, width)

    def weights(self, h: Tensor, keys: Tensor, counts: Tensor) -> Tensor:
        """a: h (batch, time, width), keys (batch, steps, width) as `keys` makes them -> (batch, time, steps)."""
        scores = self.score(torch.tanh(self.query(h)[:, :, None] + keys[:, None]))[..., 0]
        return torch.softmax(scores.masked_fill(~counts[:, None], -math.inf), dim=2)

    def forward(self, h: Tensor, memory: Tensor, keys: Tensor, counts: Tensor) -> Tensor:
        """h (batch, time, width) and the memory (batch, steps, width), of which `counts` (batch, steps) count."""
        context = self.weights(h, keys, counts) @ memory
        return torch.tanh(self.merge(torch.cat((h, context), dim=2)))


# ---------------------------------------------------------------- a core's answers, checked


def read(core: Any, arch: str, h: Tensor, *args: Any, **memory: Any) -> Tensor:
    """The core's `forward`, checked: (batch, time, width) -> (batch, time, width)."""
    out = core(h, *args, **memory)
    _keep(arch, h, out, "forward")
    return out  # type: ignore[no-any-return]


def carry(core: Any, arch: str, h: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The core's `carry`, checked; a core without one begins anew and leaves no state."""
    if not hasattr(core, "carry"):
        return read(core, arch, h), None
    out, state = core.carry(h, state)
    _keep(arch, h, out, "carry")
    if not _of_tensors(state):
        raise core_error(arch, "Core.carry left a state that cannot be kept", "return a nested tuple of tensors")
    return out, state


def step(core: Any, arch: str, h_t: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The core's `step`, checked: (batch, width), state -> (batch, width), state."""
    try:
        out, state = core.step(h_t, state)
    except (AttributeError, NotImplementedError) as error:
        raise core_error(arch, f"Core.step failed: {error}", "define step(x_t, state)") from error
    _keep(arch, h_t, out, "step")
    return out, state


def _of_tensors(state: Any) -> bool:
    return isinstance(state, Tensor) or (isinstance(state, tuple) and all(map(_of_tensors, state)))


def _keep(arch: str, before: Tensor, after: Any, method: str) -> None:
    if getattr(after, "shape", None) != before.shape:
        got = f"shape {tuple(after.shape)}" if isinstance(after, Tensor) else f"a {type(after).__name__}"
        raise core_error(arch, f"Core.{method} returned {got}", f"return a tensor of shape {tuple(before.shape)}")


def core_error(arch: str, what: str, fix: str) -> InputError:
    """What a person's own architecture file did wrong."""
    return InputError(what, str(archs.FOLDER / f"{arch}.py"), fix)


def bytes_of(state: Any) -> int:
    """Bytes of the tensors in a nested tuple."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return sum(map(bytes_of, state)) if isinstance(state, list | tuple) else 0
