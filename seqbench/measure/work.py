"""Arithmetic and traffic, counted operator by operator.

Nothing here reads a formula of an architecture: the work itself is run once and every operator that torch dispatches is
looked at, so a core that a person wrote is counted as well.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

SAMPLE, CHECK = (24, 70, 130), 512
"""Lengths that a curve goes through, and where it is held against a count. Not multiples of one number: a core that
fills up its last block of steps is then found out."""
CLOSE = 1e-3
"""Largest relative distance of a count from a line. oneDNN's LSTM notes what its backward pass needs in whole pages."""
METHOD = (
    "every operator that torch dispatches in one call, the second. Operations: of products (matrices, convolutions, "
    "attention, also inside fused kernels), a multiplication and an addition being two; in the backward pass each "
    "product has two, or one where its input needs no gradient. Causal attention counts all pairs of steps. What a "
    "fused kernel computes again in its backward pass is left out, what checkpointing computes again is counted. "
    "Elementwise functions, norms, sums and kernels from outside torch are not. Bytes: each operator's inputs and "
    "outputs, whole and once a call; views are free. Caches are not in them, nor what a kernel reads again: a fused "
    "recurrent kernel's weights count once a call, although each step uses them. A length above "
    f"{CHECK} is not run where the totals of a call at {', '.join(map(str, (*SAMPLE, CHECK)))} lie on a parabola, "
    f"exactly, or on a line within {CLOSE:.1%}; it is then taken from that"
)

aten = torch.ops.aten

# ---------------------------------------------------------------- operations of one operator


def _recurrent(x: Tensor, weights: Sequence[Tensor]) -> int:
    """A fused recurrent layer, or a stack: each weight matrix meets each step of each sequence once."""
    steps = x.shape[:-1].numel()
    return 2 * steps * sum(weight.numel() for weight in weights if weight.dim() == 2)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> int:
    """q k^T and its product with v: (batch, heads, steps, size) each, of k and v fewer heads where they are shared."""
    return 2 * q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])


def _convolution(x: Tensor, weight: Tensor, outputs: Tensor, transposed: bool) -> int:
    """Each output meets the weights of its group (transposed: each input); weight (channels, those of a group, ...)."""
    places: int = (x if transposed else outputs).numel()
    return 2 * places * weight[0].numel()


def _convolution_backward(args: tuple[Any, ...]) -> int:
    outputs, x, weight, transposed, (for_x, for_weight, _) = *args[:3], args[7], args[10]
    products = int(for_x) + int(for_weight)
    return products * _convolution(x, weight, outputs, transposed)


def _cudnn_backward(args: tuple[Any, ...]) -> int:
    """By the inputs always, since the way back through time needs it, and by the weights where asked for."""
    products = 1 + int(args[21][3])
    return products * _recurrent(args[0], args[1])


Formula = Callable[[tuple[Any, ...]], int]
"""Operations of an operator by its arguments."""
FORMULAS: dict[Any, Formula] = {
    aten.mv: lambda args: 2 * args[0].numel(),
    aten.addmv: lambda args: 2 * args[1].numel(),
    aten.dot: lambda args: 2 * args[0].numel(),
    aten.addbmm: lambda args: 2 * args[1].numel() * args[2].shape[-1],
    aten._addmm_activation: lambda args: 2 * args[1].numel() * args[2].shape[-1],
    aten.convolution_backward: _convolution_backward,
    aten.mkldnn_rnn_layer: lambda args: _recurrent(args[0], args[1:3]),
    aten.mkldnn_rnn_layer_backward: lambda args: 2 * _recurrent(args[0], args[1:3]),
    aten._cudnn_rnn: lambda args: _recurrent(args[0], args[1]),
    aten._cudnn_rnn_backward: _cudnn_backward,
    aten._scaled_dot_product_flash_attention_for_cpu: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda args: 2 * _attention(*args[1:4]),
    aten._scaled_dot_product_efficient_attention_backward: lambda args: 2 * _attention(*args[1:4]),
    aten._scaled_dot_product_flash_attention_backward: lambda args: 2 * _attention(*args[1:4]),
    aten._scaled_dot_product_cudnn_attention_backward: lambda args: 2 * _attention(*args[1:4]),
}
"""What torch's own table lacks, or counts otherwise: it adds the scores that a fused attention computes again, and
takes the groups of a convolution for one in the backward pass."""
UNWRITTEN = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}
"""Give memory without touching it."""


def _operations(packet: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: object) -> int:
    if packet in FORMULAS:
        return FORMULAS[packet](args)
    return int(flop_registry[packet](*args, **kwargs, out_val=out)) if packet in flop_registry else 0


# ---------------------------------------------------------------- bytes of one operator


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _size(tensor: Tensor) -> int:
    """Bytes that it takes to read it: what is repeated by a stride of 0 counts once."""
    if tensor.layout is not torch.strided:
        return tensor.numel() * tensor.element_size()
    shown = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not size)
    return math.prod(shown) * tensor.element_size()


def _memory(tensor: Tensor) -> int:
    """The same number for two tensors in the same memory."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _traffic(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: object) -> int:
    """Bytes of the inputs, of new outputs, and of what is written in place; 0 for a view, and for empty memory."""
    inputs, outputs = _tensors((args, kwargs)), _tensors(out)
    known = {_memory(tensor) for tensor in inputs}
    made = [tensor for tensor in outputs if _memory(tensor) not in known]
    named = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | dict(kwargs)
    changed = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    written = _tensors([named.get(name) for name in changed])
    if (outputs and not made and not written) or func.overloadpacket in UNWRITTEN:
        return 0
    return sum(map(_size, [*inputs, *made, *written]))


# ---------------------------------------------------------------- a whole work


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what every operator does that is no composition of others."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # in inference mode linear, matmul, lstm, ... arrive whole
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        out = func(*args, **kwargs)
        self.flops += _operations(func.overloadpacket, args, kwargs, out)
        self.bytes += _traffic(func, args, kwargs, out)
        return out


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """nn.TransformerEncoderLayer as its own code says, not as one operator for everything."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def count(step: Callable[[], object], calls: int = 1) -> tuple[float, float]:
    """Floating-point operations of products, and bytes read and written, of one call; see `METHOD`.

    The step is called once before any counts: an optimizer makes its moments then. With several `calls`, their mean.
    """
    with _no_fast_path():
        step()
        with _Counter() as counter:
            for _ in range(calls):
                step()
    return counter.flops / calls, counter.bytes / calls


def _through(points: Mapping[int, float], length: int) -> float:
    """The polynomial through the points (Lagrange's form), in exact arithmetic."""
    total = Fraction(0)
    for place, value in points.items():
        others = [other for other in points if other != place]
        total += Fraction(value) * math.prod(Fraction(length - other, place - other) for other in others)
    return float(total)


def _curve(counts: Mapping[int, float]) -> Callable[[int], float] | None:
    """Counts by length, the last to check with -> a parabola or line that says them all; None where neither does."""
    *sample, check = counts
    parabola = {length: counts[length] for length in sample}
    if _through(parabola, check) == counts[check]:
        return partial(_through, parabola)
    line = {length: counts[length] for length in (sample[0], check)}
    if all(abs(_through(line, length) - count) <= CLOSE * count for length, count in counts.items()):
        return partial(_through, line)
    return None


def along(
    make: Callable[[int], Callable[[], object]], lengths: Sequence[int], tokens_per_step: Callable[[int], int]
) -> dict[int, tuple[float, float]]:
    """Operations and bytes per token, by length: `make(length)` gives the step, which reads `tokens_per_step(length)`.

    A recurrence does the same at each step and attention looks at all pairs of steps, so the totals of a
    call lie on a parabola over the length. (Per token they do not: what is done once a sequence has a
    share of 1 / length.) Lengths above `CHECK` are taken from it, or run where the counts up to
    `CHECK` lie on none.
    """
    counted = {length: count(make(length)) for length in lengths if length <= CHECK}
    if longer := [length for length in lengths if length > CHECK]:
        known = {length: counted.get(length) or count(make(length)) for length in (*SAMPLE, CHECK)}
        flops, traffic = (_curve({length: of[i] for length, of in known.items()}) for i in (0, 1))
        for length in longer:
            counted[length] = (flops(length), traffic(length)) if flops and traffic else count(make(length))
    return {n: (counted[n][0] / tokens_per_step(n), counted[n][1] / tokens_per_step(n)) for n in lengths}
