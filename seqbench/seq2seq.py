"""Sequence to sequence: encoder core, connection, decoder core (Sutskever et al. 2014; Cho et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench import archs, parts
from seqbench.errors import InputError
from seqbench.frontend import Frontend
from seqbench.parts import Additive, Head
from seqbench.records import BEGIN, PAD, Spec


class Memory(NamedTuple):
    """What an encoder leaves to the decoder, batch first."""

    outputs: Tensor
    """(batch, steps, width)"""
    lengths: Tensor
    """(batch,) on the CPU"""
    counts: Tensor
    """(batch, steps), true where a step counts"""
    context: Tensor | None
    """(batch, width): the final state, mapped"""
    keys: Tensor | None
    """(batch, steps, width), for additive attention"""


def _before(y: Tensor) -> Tensor:
    """What the decoder reads to write y (batch, target): BEGIN, then all but the last; unscored places as PAD."""
    return F.pad(y[:, :-1], (1, 0), value=BEGIN).clamp(min=PAD)


def _check(spec: Spec) -> None:
    """What the decoder writes it also reads."""
    if spec.inputs != "tokens" or spec.output_size > spec.input_size:
        what = "a task of sequences must read tokens, among them all that it writes"
        raise InputError(what, "spec.inputs, input_size and output_size of the task", "give both one vocabulary")
    if spec.target_length < 1:
        raise InputError("a task of sequences has no longest target", "spec.target_length of the task", "give it")


class Seq2Seq(nn.Module):
    """An encoder that reads both ways, a decoder, and between them what `spec.connection` says.

    Both cores are of one architecture, width and settings; source and target share one embedding
    table. But for a core's own cross-attention, the decoder sees the encoder's final state (both
    directions, "ends") at each step (Cho et al. 2014, sec. 2.2).
    """

    def __init__(self, spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int) -> None:
        super().__init__()
        _check(spec)
        self.spec, self.arch = spec, arch
        kind = archs.find(arch)
        self.own = spec.connection == "attention" and getattr(kind, "MEMORY", False)
        self.frontend = Frontend(spec, width)
        self.target = nn.Linear(spec.embedding, width)
        self.target_dropout = nn.Dropout(spec.dropout)
        self.encoder = kind(width, length=spec.length, causal=False, **core_settings)
        memory = {"memory": True} if self.own else {}
        self.decoder = kind(width, length=spec.target_length, causal=True, **core_settings, **memory)
        self.context = None if self.own else nn.Linear(width, width)
        self.additive = None if self.own or spec.connection == "none" else Additive(width)
        self.head = Head(spec, width)

    def forward(self, x: Tensor, lengths: Tensor, y: Tensor) -> Tensor:
        """Logits of each target token after those before it (teacher forcing).

        x (batch, steps), lengths (batch,) on the CPU, y (batch, target) -> (batch, target, output_size).
        """
        memory = self.encode(x, lengths)
        seen = {"memory": memory.outputs, "memory_lengths": lengths} if self.own else {}
        h = parts.read(self.decoder, self.arch, self._start(_before(y), memory), **seen)
        return self._outputs(h, memory)

    def encode(self, x: Tensor, lengths: Tensor) -> Memory:
        """What the decoder may look at."""
        outputs = parts.read(self.encoder, self.arch, self.frontend(x), lengths)
        counts = (torch.arange(x.shape[1]) < lengths[:, None]).to(x.device)
        context = None if self.context is None else self.context(parts.pool(outputs, lengths, "ends"))
        keys = None if self.additive is None else self.additive.keys(outputs)
        return Memory(outputs, lengths, counts, context, keys)

    def begin(self, memory: Memory) -> Any:
        """The decoder's first state."""
        return self.decoder.begin(memory.outputs, memory.lengths) if self.own else None

    def step(self, y_t: Tensor, memory: Memory, state: Any) -> tuple[Tensor, Any]:
        """The decoder's next step: tokens (batch,) -> logits (batch, output_size), state."""
        out, state = parts.step(self.decoder, self.arch, self._start(y_t[:, None], memory)[:, 0], state)
        return self._outputs(out[:, None], memory)[:, 0], state

    def attention(self, y: Tensor, memory: Memory) -> Tensor | None:
        """What each step looks at when it writes y: tokens (1, target) of one sentence -> (target, steps).

        None without attention.
        """
        h = self._start(_before(y), memory)
        if self.own:
            weights: Tensor = self.decoder.attention(h, memory.outputs)[0]
            return weights
        if self.additive is None or memory.keys is None:
            return None
        return self.additive.weights(parts.read(self.decoder, self.arch, h), memory.keys, memory.counts)[0]

    def _start(self, tokens: Tensor, memory: Memory) -> Tensor:
        h: Tensor = self.target_dropout(self.target(self.frontend.embed(tokens)))
        return h if memory.context is None else h + memory.context[:, None]

    def _outputs(self, h: Tensor, memory: Memory) -> Tensor:
        if self.additive is not None and memory.keys is not None:
            h = self.additive(h, memory.outputs, memory.keys, memory.counts)
        assert self.frontend.embedding is not None
        return self.head.logits(h, self.frontend.embedding.weight)

    def groups(self) -> dict[str, list[nn.Module]]:
        """Modules by the part that their parameters count to."""
        joint = [part for part in (self.context, self.additive) if part is not None]
        return {
            "frontend": [self.frontend, self.target],
            "core": [self.encoder, self.decoder, *joint],
            "head": [self.head],
        }

    def state_bytes(self) -> int:
        """Bytes of what one sentence needs after `target_length` steps: decoder's state, and the encoder's outputs."""
        device = self.target.weight.device
        longest = torch.full((1, self.spec.length), PAD, device=device)
        memory = self.encode(longest, torch.tensor([self.spec.length]))
        state, token = self.begin(memory), torch.full((1,), BEGIN, device=device)
        for _ in range(self.spec.target_length):
            _, state = self.step(token, memory, state)
        looked_at = (memory.outputs, memory.keys) if self.additive is not None else ()
        return parts.bytes_of((state, memory.context, looked_at))
