"""Ways in which one model can be run: the same numbers at other costs.

Tracks: "best", the fastest correct path of the architecture; "reference", plain PyTorch, one operator for each product
and function of the equations. Paths of the best track: "eager", as the core's `forward` is written; "plain", the
reference's; "compiled", by torch.compile (with CUDA graphs on a GPU). Forms, measured for what they cost: attention
that keeps every weight; activations computed again in the backward pass (checkpointing); gradients cut every so many
steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from seqbench import model
from seqbench.measure.clock import Work
from seqbench.measurements import Track

NAIVE, CHECKPOINTED, TRUNCATED = "naive attention", "checkpointed", "truncated"
PATHS = ("eager", "plain", "compiled")


def change(net: model.Model, track: Track, form: str, path: str, window: int) -> None:
    """Make the model run that way; its answers stay the same but for rounding (and the cut gradients)."""
    if (track == "reference" or path == "plain") and hasattr(net.core, "plain"):
        net.core.forward = partial(_plain, net.core)
    if path == "compiled":
        # Anew for each model: beyond some compilations of one function torch falls back to eager and says nothing.
        # As one graph, or not at all: a core with breaks in it would be timed in parts that are eager.
        torch.compiler.reset()
        mode = "reduce-overhead" if next(net.parameters()).is_cuda else "default"
        net.core.forward = torch.compile(net.core.forward, mode=mode, fullgraph=True)
    if form == CHECKPOINTED:
        _keep_less(net.core, window)


def under(track: Track, form: str, work: Work) -> Work:
    """The work where attention is written out: in the reference track and in the naive form."""
    if track == "best" and form != NAIVE:
        return work

    def written_out() -> None:
        with sdpa_kernel(SDPBackend.MATH):
            work()

    return written_out


def _plain(core: Any, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    out: Tensor = core.plain(x)
    return out


def _again(forward: Callable[..., Any], *args: Any) -> Any:
    """A call that keeps its arguments only, and is made again in the backward pass (Chen et al. 2016)."""
    return checkpoint(forward, *args, use_reentrant=False)


def _keep_less(core: Any, window: int) -> None:
    """Checkpoint a core that carries a state at every `window` steps, another at each layer, else as a whole."""
    if hasattr(core, "carry"):

        def forward(x: Tensor, lengths: Tensor | None = None) -> Tensor:
            state, outputs = None, []
            for part in torch.split(x, window, dim=1):
                out, state = _again(core.carry, part, state)
                outputs.append(out)
            return torch.cat(outputs, dim=1)

        core.forward = forward
    elif isinstance(getattr(core, "layers", None), nn.ModuleList):
        for layer in core.layers:
            layer.forward = partial(_again, layer.forward)
    else:
        core.forward = partial(_again, core.forward)


def truncated(net: model.Model, x: Tensor, y: Tensor, window: int) -> None:
    """Gradients of the mean loss over x, y (batch, time), cut every `window` steps (Williams & Peng 1990)."""
    state: Any = None
    for x_w, y_w in zip(torch.split(x, window, dim=1), torch.split(y, window, dim=1), strict=True):
        outputs, state = net.carry(x_w, state)
        share = y_w.shape[1] / y.shape[1]
        (model.loss(outputs, y_w, net.spec) * share).backward()  # type: ignore[no-untyped-call]
        state = _detached(state)


def _detached(state: Any) -> Any:
    return state.detach() if isinstance(state, Tensor) else tuple(map(_detached, state))


def attends(net: model.Model, x: Tensor) -> bool:
    """Whether the model's forward pass on x calls torch's attention, so that it has a naive form."""
    seen: list[Any] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        net(x)
    return F.scaled_dot_product_attention in seen
