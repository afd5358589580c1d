"""Arithmetic and traffic, counted operator by operator; and what the device can do at best.

Nothing here reads a formula of an architecture: the work itself is run once and every operator that torch dispatches is
looked at, so a core that a person wrote is counted as well.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from seqbench.measurements import Peak, Quantiles

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
SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Rows and columns of the matrices of `peaks`."""
BUFFER = {"cpu": 2**28, "cuda": 2**30}
"""Bytes that are copied: many times the caches; less where memory is small."""
LEAST = 3
"""Fewest repetitions."""
LONGEST = 120
"""Letters of a kernel's name: templates of C++ write novels."""

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


def count(step: Callable[[], object]) -> tuple[float, float]:
    """Floating-point operations of products, and bytes read and written, of one call; see `METHOD`.

    The step is called twice and the second call counted: an optimizer makes its moments in the first.
    """
    with _no_fast_path():
        step()
        with _Counter() as counter:
            step()
    return float(counter.flops), float(counter.bytes)


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


# ---------------------------------------------------------------- what the device can do


def _quantiles(values: Sequence[float]) -> Quantiles:
    median, q25, q75, p99 = np.quantile(values, (0.5, 0.25, 0.75, 0.99)).tolist()
    variation = float(np.std(values, ddof=1) / np.mean(values))
    return Quantiles(median=median, q25=q25, q75=q75, p99=p99, repetitions=len(values), variation=variation)


def _rates(work: Callable[[], object], amount: float, seconds: float, device: torch.device) -> list[float]:
    """Amount per second of each repetition, after one that is not timed, for so many seconds."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    work()
    taken: list[float] = []
    while len(taken) < LEAST or sum(taken) < seconds:
        start = now()
        work()
        taken.append(now() - start)
    return [amount / one for one in taken]


def _products(device: torch.device, seconds: float) -> list[float]:
    """Operations per second of the size of matrices that does best, tried first and then timed anew."""

    def rates(size: int, limit: float) -> list[float]:
        a, b = torch.rand(2, size, size, device=device)
        out = torch.empty(size, size, device=device)
        return _rates(lambda: torch.mm(a, b, out=out), 2.0 * size**3, limit, device)

    best = max(SIZES[device.type], key=lambda size: np.median(rates(size, 0.0)))
    return rates(best, seconds)


def _copies(device: torch.device, seconds: float) -> list[float]:
    """Bytes per second, read and written."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    source = torch.ones(min(BUFFER[device.type], free // 8) // 4, device=device)
    target = torch.empty_like(source)
    return _rates(lambda: target.copy_(source), 2.0 * source.numel() * 4, seconds, device)


def peaks(device: torch.device, threads: int, seconds: float) -> Peak:
    """What the device does at best with so many threads: float32 products, and copying; about `seconds` each.

    The roof of a roofline (Williams et al. 2009). TF32 is as the caller set it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            flops, traffic = _quantiles(_products(device, seconds)), _quantiles(_copies(device, seconds))
    finally:
        torch.set_num_threads(before)
    return Peak(threads=threads, flops=flops, traffic=traffic)


# ---------------------------------------------------------------- where the time goes


def kernels(work: Callable[[], object], device: torch.device, most: int = 5) -> tuple[str, ...]:
    """The costliest kernels of one call, costliest first, with their share: "aten::mkldnn_rnn_layer 61 %".

    On CUDA the kernels' own names, on a CPU the operators by their time without that of others they call;
    shares are of all kernels, or operators. One call before is not recorded.
    """
    cuda = device.type == "cuda"
    work()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as record:
        work()
        if cuda:
            torch.cuda.synchronize(device)
    taken: dict[str, float] = {}
    for event in record.key_averages():
        if cuda and event.device_type.name == "CUDA" and not event.is_user_annotation:
            taken[event.key] = taken.get(event.key, 0.0) + event.self_device_time_total
        elif not cuda and event.key.count("::") == 1:
            taken[event.key] = taken.get(event.key, 0.0) + event.self_cpu_time_total
    total = sum(taken.values())
    costliest = sorted(taken, key=lambda name: -taken[name])[:most]
    return tuple(f"{name[:LONGEST]} {100 * taken[name] / total:.0f} %" for name in costliest if taken[name] > 0)
