"""Model = Frontend(task) + Core(architecture) + Head(task), the core's width solved for a parameter budget."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench import archs
from seqbench.errors import InputError
from seqbench.records import Parameters, Spec

TOLERANCE = 0.05
"""Largest relative distance of a model's parameters from the budget."""
LARGEST_STEP = 64
"""Widths may come in multiples (heads, two directions) of up to this."""


class Frontend(nn.Module):
    """Inputs to width: tokens by an embedding table and a linear map, values scaled by a linear map."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.embedding: nn.Embedding | None = None
        features = spec.input_size
        if spec.inputs == "tokens":
            if spec.embedding < 1:
                raise InputError("a task of tokens has no embedding", "spec.embedding of the task", "give 1 or more")
            self.embedding = nn.Embedding(spec.input_size, spec.embedding)
            features = spec.embedding
        self.linear = nn.Linear(features, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, time), or values (batch, time) or (batch, time, features) -> (batch, time, width)."""
        if self.embedding is not None:
            features = self.embedding(x.long())
        else:
            features = (x.to(self.linear.weight.dtype) - self.spec.shift) / self.spec.scale
            features = features[..., None] if x.ndim == 2 else features
        out: Tensor = self.linear(features)
        return out


class Head(nn.Module):
    """Width to outputs: one linear map, after pooling where there is one output per sequence."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        if spec.outputs == "steps" and spec.window < 1:
            raise InputError("a task of steps scores no step", "spec.window of the task", "give 1 or more")
        self.spec = spec
        self.linear = nn.Linear(width, spec.output_size)

    def forward(self, h: Tensor, lengths: Tensor | None = None) -> Tensor:
        """h (batch, time, width) -> (batch, output_size), or (batch, window, output_size) for "steps".

        The last steps, and the mean, are those of the first `lengths` steps (at least `window`).
        """
        if self.spec.outputs == "steps":
            pooled = last(h, lengths, self.spec.window)
        elif self.spec.pooling == "last":
            pooled = last(h, lengths, 1)[:, 0]
        elif lengths is None:
            pooled = h.mean(dim=1)
        else:
            lengths = lengths.to(h.device)[:, None]
            beyond = torch.arange(h.shape[1], device=h.device) >= lengths
            pooled = h.masked_fill(beyond[..., None], 0.0).sum(dim=1) / lengths
        out: Tensor = self.linear(pooled)
        return out


def last(h: Tensor, lengths: Tensor | None, window: int) -> Tensor:
    """The last `window` valid steps of h (batch, time, width): (batch, window, width)."""
    if lengths is None:
        return h[:, -window:]
    steps = lengths[:, None] - window + torch.arange(window)
    return h[torch.arange(len(h), device=h.device)[:, None], steps.to(h.device)]


class Model(nn.Module):
    """The three parts. Only the core differs between architectures."""

    def __init__(self, spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.spec = spec
        self.arch = arch
        self.frontend = Frontend(spec, width)
        self.core = archs.find(arch)(width, length=spec.length, causal=spec.causal, **core_settings)
        self.head = Head(spec, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Inputs as in Frontend, lengths (batch,), int64, on the CPU -> outputs as in Head.

        Raises InputError when the core does not keep the shape (batch, time, width).
        """
        h = self.frontend(x)
        out = self.core(h, lengths)
        self._keep(h, out, "forward")
        outputs: Tensor = self.head(out, lengths)
        return outputs

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One streamed time step: x_t (batch,) or (batch, features) -> (batch, output_size), state.

        The head's linear map on this step alone (no mean over steps). The first state is None.
        Raises InputError for a task that reads both ways, which cannot be streamed.
        """
        h_t = self.frontend(x_t[:, None])[:, 0]
        out, state = self.core_step(h_t, state)
        return self.head.linear(out), state

    def core_step(self, h_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The core's `step`, checked: (batch, width), state -> (batch, width), state."""
        if not self.spec.causal:
            raise InputError("a model that reads both ways has no steps", f"architecture {self.arch}", "stream another")
        try:
            out, state = self.core.step(h_t, state)
        except (AttributeError, NotImplementedError) as error:
            raise _core_error(self.arch, f"Core.step failed: {error}", "define step(x_t, state)") from error
        self._keep(h_t, out, "step")
        return out, state

    def _keep(self, before: Tensor, after: Any, method: str) -> None:
        if getattr(after, "shape", None) != before.shape:
            got = f"shape {tuple(after.shape)}" if isinstance(after, Tensor) else f"a {type(after).__name__}"
            wanted = tuple(before.shape)
            raise _core_error(self.arch, f"Core.{method} returned {got}", f"return a tensor of shape {wanted}")


def _core_error(arch: str, what: str, fix: str) -> InputError:
    return InputError(what, str(archs.FOLDER / f"{arch}.py"), fix)


def _assemble(spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int) -> Model:
    """A Model on the current device. ValueError: the core refuses this width (or a setting)."""
    try:
        return Model(spec, arch, core_settings, width)
    except (InputError, ValueError):
        raise
    except Exception as error:  # whatever a person's own file may raise
        what = f"Core cannot be built at width {width}: {type(error).__name__}: {error}"
        raise _core_error(arch, what, "mend it: Core(width, *, length, causal, **SETTINGS)") from error


def build(spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int, seed: int) -> Model:
    """A model on the CPU, initialised from `seed` alone; torch's own generator is left as it was.

    Raises InputError when the core cannot be built.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        try:
            return _assemble(spec, arch, core_settings, width)
        except ValueError as error:
            raise _core_error(arch, f"Core refuses: {error}", "choose another width or setting") from error


def count(model: Model) -> Parameters:
    """Trainable parameters of a Model, per part."""
    embedding = _numel(model.frontend.embedding) if model.frontend.embedding is not None else 0
    return Parameters(
        embedding=embedding,
        frontend=_numel(model.frontend) - embedding,
        core=_numel(model.core),
        head=_numel(model.head),
    )


def _numel(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def solve_width(spec: Spec, arch: str, core_settings: Mapping[str, Any], budget: int) -> int:
    """The width whose parameters outside embedding tables (Kaplan et al. 2020) are nearest to `budget`.

    Models are built on the meta device: no memory, no random numbers. Widths go in multiples of
    the smallest that the core takes. Raises InputError when the nearest is over 5 % away.
    """
    unit = _smallest_width(spec, arch, core_settings)

    @cache
    def parameters(multiple: int) -> int:
        with torch.device("meta"):
            return count(_assemble(spec, arch, core_settings, multiple * unit)).matched

    where = f"architecture {arch}, parameters = {budget}"
    try:
        high = 1
        while parameters(high) < budget:
            high *= 2
        above = 1 + bisect_left(range(1, high + 1), budget, key=parameters)
    except ValueError as error:
        raise _core_error(arch, f"Core refuses a width: {error}", f"accept every multiple of {unit}") from error
    nearest = min((n for n in (above - 1, above) if n), key=lambda n: abs(parameters(n) - budget))
    if abs(parameters(nearest) - budget) > TOLERANCE * budget:
        raise InputError(
            f"no width comes within 5 % of the budget: the nearest, {nearest * unit}, has {parameters(nearest)}",
            where,
            f"raise parameters (few of them leave few widths to choose from), or set {parameters(nearest)}",
        )
    return nearest * unit


def _smallest_width(spec: Spec, arch: str, core_settings: Mapping[str, Any]) -> int:
    for width in range(1, LARGEST_STEP + 1):
        try:
            with torch.device("meta"):
                _assemble(spec, arch, core_settings, width)
        except ValueError as error:
            refusal = error
        else:
            return width
    raise _core_error(arch, f"Core refuses every width up to {LARGEST_STEP}: {refusal}", "check its settings")


def loss(outputs: Tensor, y: Tensor, spec: Spec) -> Tensor:
    """Mean loss, a scalar: cross-entropy in nats per label, or squared error per number.

    outputs as from Model.forward; y (batch,), (batch, window), or (batch, output_size).
    """
    if spec.outputs == "values":
        return F.mse_loss(outputs, y.to(outputs.dtype).reshape(outputs.shape))
    return F.cross_entropy(outputs.reshape(-1, spec.output_size), y.reshape(-1).long())


@torch.no_grad()
def state_bytes(model: Model, spec: Spec) -> int:
    """Bytes of the streaming state of one sequence after `spec.length` steps, found by streaming them.

    0 for a task that reads both ways: there is no streaming, hence no state.
    """
    if not spec.causal:
        return 0
    streamed = copy.deepcopy(model).eval()  # eval: no dropout, so no random numbers are used up
    h_t, state = model.head.linear.weight.new_zeros(1, model.head.linear.in_features), None
    for _ in range(spec.length):
        _, state = streamed.core_step(h_t, state)
    return _bytes(state)


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0


def kernel(device: torch.device | str) -> str:
    """The kernel paths that float32 models take on a device, in words (on the CPU held by a test)."""
    if torch.device(device).type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        rnn = torch.backends.cudnn.rnn.fp32_precision  # type: ignore[attr-defined]
        matmul = torch.backends.cuda.matmul.fp32_precision
        return (
            f"nn.RNN, nn.LSTM, nn.GRU: cuDNN {cudnn} (float32 as {rnn}); products: cuBLAS (float32 as {matmul}); "
            "attention: scaled_dot_product_attention, memory-efficient kernel (math kernel in a streamed step "
            "where a head's columns are no multiple of 4)"
        )
    fused = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    lstm = "oneDNN (ATen where packed)" if fused else "ATen"
    return f"nn.LSTM: {lstm}; nn.RNN, nn.GRU: ATen; attention: scaled_dot_product_attention, ATen flash kernel"
