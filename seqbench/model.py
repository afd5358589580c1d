"""Model = Frontend(task) + Core(architecture) + Head(task), the core's width solved for a parameter budget.

A task of sequences has an encoder core and a decoder core.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench import archs, parts
from seqbench.errors import InputError
from seqbench.frontend import Frontend
from seqbench.parts import Head
from seqbench.prepared import Prepared
from seqbench.records import UNSCORED, Parameters, Spec
from seqbench.seq2seq import Seq2Seq

TOLERANCE = 0.05
"""Largest relative distance of a model's parameters from the budget."""
LARGEST_STEP = 64
"""Widths may come in multiples (heads, two directions) of up to this."""


class Model(nn.Module):
    """The three parts. Only the core differs between architectures."""

    def __init__(self, spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int) -> None:
        super().__init__()
        if spec.outputs == "stream" and not spec.causal:
            raise InputError("a task of a stream reads both ways", "spec.causal of the task", "read forwards only")
        self.spec = spec
        self.arch = arch
        self.frontend = Frontend(spec, width)
        length = spec.seen(spec.length)
        self.core = archs.find(arch)(width, length=length, causal=spec.causal, **core_settings)
        self.head = Head(spec, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Inputs as in Frontend, lengths (batch,), int64, on the CPU -> outputs as in Head.

        Raises InputError when the core does not keep the shape (batch, time, width).
        """
        steps = self.steps(lengths)
        h = parts.read(self.core, self.arch, self.frontend(x, lengths), steps)
        outputs: Tensor = self.head(h, steps, self.table)
        return outputs

    def steps(self, lengths: Tensor | None) -> Tensor | None:
        """Steps of the core, and so of outputs for each step, of items of these lengths (batch,)."""
        return None if lengths is None else self.spec.seen(lengths)

    def carry(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """A window of a stream, on from the state after the one before: x (batch, time), state.

        Returns (batch, time, output_size), and the state; None of a core that cannot carry one.
        """
        h, state = parts.carry(self.core, self.arch, self.frontend(x), state)
        return self.head.logits(h, self.table), state

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One streamed time step: x_t (batch,) or (batch, features) -> (batch, output_size), state.

        The head's linear map on this step alone (no mean over steps). The first state is None.
        Raises InputError for a task that reads both ways, which cannot be streamed.
        """
        h_t = self.frontend(x_t[:, None])[:, 0]
        out, state = self.core_step(h_t, state)
        return self.head.logits(out, self.table), state

    def core_step(self, h_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The core's `step`, checked: (batch, width), state -> (batch, width), state."""
        if not self.spec.causal:
            raise InputError("a model that reads both ways has no steps", f"architecture {self.arch}", "stream another")
        return parts.step(self.core, self.arch, h_t, state)

    @property
    def table(self) -> Tensor | None:
        """The embedding table, (input_size, embedding)."""
        return None if self.frontend.embedding is None else self.frontend.embedding.weight

    def groups(self) -> dict[str, list[nn.Module]]:
        """Modules by the part that their parameters count to."""
        return {"frontend": [self.frontend], "core": [self.core], "head": [self.head]}

    def state_bytes(self) -> int:
        """Bytes of the streaming state of one sequence after `spec.length` steps, found by streaming them.

        0 for a task that reads both ways: there is no streaming, hence no state.
        """
        if not self.spec.causal:
            return 0
        h_t, state = self.head.linear.weight.new_zeros(1, self.head.linear.in_features), None
        for _ in range(self.spec.seen(self.spec.length)):
            _, state = self.core_step(h_t, state)
        return parts.bytes_of(state)


Net = Model | Seq2Seq


def _assemble(spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int) -> Net:
    """A model on the current device. ValueError: the core refuses this width (or a setting)."""
    kind = Seq2Seq if spec.outputs == "sequence" else Model
    try:
        return kind(spec, arch, core_settings, width)
    except (InputError, ValueError):
        raise
    except Exception as error:  # whatever a person's own file may raise
        what = f"Core cannot be built at width {width}: {type(error).__name__}: {error}"
        raise parts.core_error(arch, what, "mend it: Core(width, *, length, causal, **SETTINGS)") from error


def build(spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int, seed: int) -> Net:
    """A model on the CPU, initialised from `seed` alone; torch's own generator is left as it was.

    Raises InputError when the core cannot be built.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        try:
            return _assemble(spec, arch, core_settings, width)
        except ValueError as error:
            raise parts.core_error(arch, f"Core refuses: {error}", "choose another width or setting") from error


def load_pretrained(model: Net, data: Prepared) -> None:
    """Put the prepared data's word vectors or image encoder, where it has some, into the model; they are trained on."""
    table, frames = model.frontend.embedding, model.frontend.frames
    encoder = [name for name in data.manifest.arrays if name.startswith("frontend.")]
    with torch.no_grad():
        if table is not None and "embedding.rows" in data.manifest.arrays:
            table.weight[_tensor(data, "embedding.rows")] = _tensor(data, "embedding.values")
        if frames is not None and encoder:
            frames.encoder.load_state_dict({name.removeprefix("frontend."): _tensor(data, name) for name in encoder})


def _tensor(data: Prepared, name: str) -> Tensor:
    return torch.from_numpy(np.array(data.array(name)))


def count(model: Net) -> Parameters:
    """Trainable parameters of a model, per part."""
    sizes = {part: sum(map(_numel, modules)) for part, modules in model.groups().items()}
    apart = {"embedding": model.frontend.embedding, "encoder": model.frontend.frames}
    outside = {part: 0 if module is None else _numel(module) for part, module in apart.items()}
    return Parameters(
        **outside,
        frontend=sizes["frontend"] - sum(outside.values()),
        core=sizes["core"],
        head=sizes["head"],
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
        raise parts.core_error(arch, f"Core refuses a width: {error}", f"accept every multiple of {unit}") from error
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
    raise parts.core_error(arch, f"Core refuses every width up to {LARGEST_STEP}: {refusal}", "check its settings")


def loss(outputs: Tensor, y: Tensor, spec: Spec, steps: Tensor | None = None) -> Tensor:
    """Mean loss, a scalar: cross-entropy in nats per scored label or step, or squared error per number.

    outputs as from the model's forward, of which `steps` (batch,) count; y (batch,), (batch, steps),
    (batch, steps, output_size) or (batch, output_size).
    """
    if spec.outputs == "values":
        return F.mse_loss(outputs, y.to(outputs.dtype).reshape(outputs.shape))
    if spec.outputs == "ctc":
        return alignment(outputs, y, steps).sum() / (y != UNSCORED).sum()
    if spec.outputs == "multilabel":
        scored = y[..., 0] != UNSCORED
        loss = F.binary_cross_entropy_with_logits(outputs, y.to(outputs.dtype), reduction="none").sum(-1)
        return loss.masked_fill(~scored, 0.0).sum() / scored.sum()
    return F.cross_entropy(outputs.reshape(-1, spec.output_size), y.reshape(-1).long(), ignore_index=UNSCORED)


def alignment(outputs: Tensor, y: Tensor, steps: Tensor | None) -> Tensor:
    """Minus the log probability, in nats, of labels y (batch, target) under CTC (Graves et al. 2006, eq. 3): (batch,).

    outputs (batch, time, output_size), of which `steps` (batch,) count; label 0 is the blank. Infinite
    where an item has fewer steps than its labels need. On the CPU also for a model on CUDA, where
    the gradient of this loss is not deterministic.
    """
    chances = torch.log_softmax(outputs, dim=2).transpose(0, 1).cpu()
    counts = torch.full((len(y),), outputs.shape[1]) if steps is None else steps
    targets = y.long().cpu()
    sizes = (targets != UNSCORED).sum(1)
    found: Tensor = F.ctc_loss(chances, targets.clamp(min=0), counts, sizes, blank=parts.BLANK, reduction="none")
    return found.to(outputs.device)


def many(outputs: Tensor, y: Tensor) -> Tensor:
    """Logits (..., labels) and yes-or-no labels (..., labels) -> (..., 4), summed over the labels.

    Binary cross-entropy in nats, how many labels were said (logit above 0), asked for, and both.
    Means nothing where the labels are UNSCORED.
    """
    wanted = y.to(outputs.dtype)
    loss = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
    said = (outputs > 0).to(outputs.dtype)
    return torch.stack((loss.sum(-1), said.sum(-1), wanted.sum(-1), (said * wanted).sum(-1)), dim=-1)


def labels(outputs: Tensor, y: Tensor) -> Tensor:
    """Logits (..., classes) and labels (...) -> (..., 2): negative log-likelihood in nats; 1 where likeliest, else 0.

    Means nothing where the label is UNSCORED.
    """
    wanted = y.long().clamp(min=0)[..., None]
    loss = torch.logsumexp(outputs, dim=-1) - outputs.gather(-1, wanted)[..., 0]
    return torch.stack((loss, (outputs.argmax(-1) == wanted[..., 0]).to(loss.dtype)), dim=-1)


@torch.no_grad()
def state_bytes(model: Net) -> int:
    """Bytes of the streaming state of one sequence of the task's length."""
    return copy.deepcopy(model).eval().state_bytes()  # eval: no dropout, so no random numbers are used up


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
    lstm = "oneDNN" if fused else "ATen"
    return f"nn.LSTM: {lstm}; nn.RNN, nn.GRU: ATen; attention: scaled_dot_product_attention, ATen flash kernel"
