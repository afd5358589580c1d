"""The Transformer (Vaswani et al. 2017) with the norms first (Xiong et al. 2020) and a final norm."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VERSION = 1
SETTINGS = {"layers": 1, "dropout": 0.0, "heads": 2, "expansion": 4}

Cache = tuple[Tensor, ...]
"""Keys and values of a layer so far, each (batch, heads, steps, size); with a memory, also its keys
and values (batch, heads, memory steps, size) and which of its steps count (batch, 1, 1, memory steps)."""


class Core(nn.Module):
    """Layers of x + attention(norm(x)), x + feed_forward(norm(x)), then a norm.

    `heads` per layer; `expansion` times the width is the inside of the feed-forward part. A head
    has ceil(width / heads) columns, so that any width works. Positions are explicit sinusoids,
    computed, so that any length works. With `memory` each layer also attends to the outputs of an
    encoder, between the two (Vaswani et al. 2017, sec. 3.1).
    """

    MEMORY = True
    """Has a cross-attention of its own."""

    rates: Tensor
    phases: Tensor

    def __init__(
        self,
        width: int,
        *,
        length: int,
        causal: bool,
        layers: int,
        dropout: float,
        heads: int,
        expansion: int,
        memory: bool = False,
    ) -> None:
        super().__init__()
        if min(layers, heads, expansion) < 1:
            raise ValueError(f"layers, heads and expansion must be 1 or more, not {layers}, {heads}, {expansion}")
        self.causal = causal
        self.layers = nn.ModuleList(Layer(width, causal, dropout, heads, expansion, memory) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        column = torch.arange(width, dtype=torch.float64)
        # Not parameters and not saved. In float64: sin(4096 * rate) in float32 is off by 1e-4.
        self.register_buffer("rates", 10_000.0 ** -((column - column % 2) / width), persistent=False)
        self.register_buffer("phases", column % 2 * (math.pi / 2), persistent=False)

    def positions(self, start: int, stop: int) -> Tensor:
        """(stop - start, width): sin(p / 10000^(2i/width)) in column 2i, cos of the same in column 2i + 1.

        Vaswani et al. 2017, section 3.5; the cosine is a sine a quarter turn ahead.
        """
        position = torch.arange(start, stop, device=self.rates.device, dtype=self.rates.dtype)
        return torch.sin(position[:, None] * self.rates + self.phases)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        memory: Tensor | None = None,
        memory_lengths: Tensor | None = None,
    ) -> Tensor:
        """x (batch, time, width) -> (batch, time, width); lengths (batch,) of 1 or more.

        Only a core that reads both ways has to hide the padding: the causal mask does it otherwise.
        memory (batch, memory steps, width) with lengths of its own.
        """
        time = x.shape[1]
        mask = None if lengths is None or self.causal else _counts(time, lengths, x.device)
        caches = self.begin(memory, memory_lengths) if memory is not None else ((),) * len(self.layers)
        x = x + self.positions(0, time).to(x.dtype)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, mask, cache[2:])
        out: Tensor = self.norm(x)
        return out

    def begin(self, memory: Tensor, lengths: Tensor | None = None) -> tuple[Cache, ...]:
        """The first state of `step` with a memory (batch, memory steps, width)."""
        steps = torch.full((len(memory),), memory.shape[1]) if lengths is None else lengths
        mask = _counts(memory.shape[1], steps, memory.device)
        return tuple(cast(Layer, layer).begin(memory, mask) for layer in self.layers)

    def attention(self, x: Tensor, memory: Tensor) -> Tensor:
        """What the last layer looks at: x (batch, time, width), memory -> (batch, time, memory steps).

        Mean over the heads; each row sums to 1.
        """
        caches = self.begin(memory)
        x = x + self.positions(0, x.shape[1]).to(x.dtype)
        for layer, cache in zip(self.layers[:-1], caches, strict=False):
            x = layer(x, None, cache[2:])
        return cast(Layer, self.layers[-1]).weights(x, caches[-1][2])

    def step(self, x_t: Tensor, state: tuple[Cache, ...] | None = None) -> tuple[Tensor, tuple[Cache, ...]]:
        """One time step: x_t (batch, width), KV cache -> (batch, width), KV cache. The first cache is None."""
        steps = state[0][0].shape[2] if state else 0
        x = (x_t + self.positions(steps, steps + 1).to(x_t.dtype))[:, None]
        after = []
        for index, layer in enumerate(self.layers):
            x, cache = cast(Layer, layer).step(x, state[index] if state else None)
            after.append(cache)
        return self.norm(x)[:, 0], tuple(after)


def _counts(time: int, lengths: Tensor, device: torch.device) -> Tensor:
    """(batch, 1, 1, time), true where a step is within the item's length."""
    return (torch.arange(time) < lengths.cpu()[:, None]).to(device)[:, None, None, :]


class Layer(nn.Module):
    """Attention, attention to a memory where there is one, feed-forward: residual branches that start with a norm."""

    def __init__(self, width: int, causal: bool, dropout: float, heads: int, expansion: int, memory: bool) -> None:
        super().__init__()
        self.causal = causal
        self.heads = heads
        self.size = -(-width // heads)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * self.size)
        self.merge = nn.Linear(heads * self.size, width)
        if memory:
            self.cross_norm = nn.LayerNorm(width)
            self.cross_query = nn.Linear(width, heads * self.size)
            self.cross_memory = nn.Linear(width, 2 * heads * self.size)
            self.cross_merge = nn.Linear(heads * self.size, width)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor | None, memory: Cache = ()) -> Tensor:
        """x (batch, time, width); mask (batch, 1, 1, time), true where a key counts; memory as `begin` gives it."""
        mixed = self._attend(*self._split(x), mask, self.causal)
        return self._residual(x, mixed, memory)

    def step(self, x: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """x (batch, 1, width) attends to the cache and to itself."""
        q, k, v = self._split(x)
        if cache:
            k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        memory = cache[2:] if cache else ()
        return self._residual(x, F.scaled_dot_product_attention(q, k, v), memory), (k, v, *memory)

    def begin(self, memory: Tensor, mask: Tensor) -> Cache:
        """No keys and values yet, then those of the memory (batch, memory steps, width) and its mask."""
        k, v = self.cross_memory(memory).unflatten(2, (2, self.heads, self.size)).permute(2, 0, 3, 1, 4)
        return k[:, :, :0], v[:, :, :0], k, v, mask

    def weights(self, x: Tensor, keys: Tensor) -> Tensor:
        """Softmax weights on a memory without padding, mean over heads: (batch, time, memory steps)."""
        mixed = self._attend(*self._split(x), None, self.causal)
        x = x + self.dropout(self.merge(mixed.transpose(1, 2).flatten(2)))
        scores = self._query(x) @ keys.transpose(2, 3) * self.size**-0.5
        return torch.softmax(scores, dim=3).mean(dim=1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        # On CUDA the memory-efficient kernel (the one that is deterministic in deterministic mode)
        # takes heads of 4, 8, 12, ... columns only; columns of zeros change no product.
        q, k, v = (F.pad(part, (0, -self.size % 4)) if self.size % 4 else part for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=self.size**-0.5)
        return mixed[..., : self.size]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, heads, time, size)."""
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, self.heads, self.size)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _query(self, x: Tensor) -> Tensor:
        """Queries to the memory, (batch, heads, time, size)."""
        query: Tensor = self.cross_query(self.cross_norm(x)).unflatten(2, (self.heads, self.size)).transpose(1, 2)
        return query

    def _residual(self, x: Tensor, mixed: Tensor, memory: Cache) -> Tensor:
        """Add attention (batch, heads, time, size), attention to the memory, then feed-forward, to x."""
        x = x + self.dropout(self.merge(mixed.transpose(1, 2).flatten(2)))
        if memory:
            keys, values, mask = memory
            seen = self._attend(self._query(x), keys, values, mask, causal=False)
            x = x + self.dropout(self.cross_merge(seen.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.feed_forward(x)
        return out
