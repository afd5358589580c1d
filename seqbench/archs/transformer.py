"""The Transformer (Vaswani et al. 2017) with the norms first (Xiong et al. 2020) and a final norm."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VERSION = 1
SETTINGS = {"layers": 1, "dropout": 0.0, "heads": 2, "expansion": 4}

Cache = tuple[Tensor, Tensor]
"""Keys and values of a layer so far, each (batch, heads, steps, size)."""


class Core(nn.Module):
    """Layers of x + attention(norm(x)), x + feed_forward(norm(x)), then a norm.

    `heads` per layer; `expansion` times the width is the inside of the feed-forward part. A head
    has ceil(width / heads) columns, so that any width works. Positions are explicit sinusoids,
    computed, so that any length works.
    """

    rates: Tensor
    phases: Tensor

    def __init__(
        self, width: int, *, length: int, causal: bool, layers: int, dropout: float, heads: int, expansion: int
    ) -> None:
        super().__init__()
        if min(layers, heads, expansion) < 1:
            raise ValueError(f"layers, heads and expansion must be 1 or more, not {layers}, {heads}, {expansion}")
        self.causal = causal
        self.layers = nn.ModuleList(Layer(width, causal, dropout, heads, expansion) for _ in range(layers))
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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (batch, time, width) -> (batch, time, width); lengths (batch,) of 1 or more.

        Only a core that reads both ways has to hide the padding: the causal mask does it otherwise.
        """
        time = x.shape[1]
        mask = None
        if lengths is not None and not self.causal:
            mask = (torch.arange(time) < lengths[:, None]).to(x.device)[:, None, None, :]
        x = x + self.positions(0, time).to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        out: Tensor = self.norm(x)
        return out

    def step(self, x_t: Tensor, state: tuple[Cache, ...] | None = None) -> tuple[Tensor, tuple[Cache, ...]]:
        """One time step: x_t (batch, width), KV cache -> (batch, width), KV cache. The first cache is None."""
        steps = state[0][0].shape[2] if state else 0
        x = (x_t + self.positions(steps, steps + 1).to(x_t.dtype))[:, None]
        after = []
        for index, layer in enumerate(self.layers):
            x, cache = cast(Layer, layer).step(x, state[index] if state else None)
            after.append(cache)
        return self.norm(x)[:, 0], tuple(after)


class Layer(nn.Module):
    """Attention and feed-forward, each on a residual branch that starts with a norm."""

    def __init__(self, width: int, causal: bool, dropout: float, heads: int, expansion: int) -> None:
        super().__init__()
        self.causal = causal
        self.heads = heads
        self.size = -(-width // heads)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * self.size)
        self.merge = nn.Linear(heads * self.size, width)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (batch, time, width); mask (batch, 1, 1, time), true where a key may be seen."""
        # On CUDA the memory-efficient kernel (the one that is deterministic in deterministic mode)
        # takes heads of 4, 8, 12, ... columns only; columns of zeros change no product.
        q, k, v = (F.pad(part, (0, -self.size % 4)) if self.size % 4 else part for part in self._split(x))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal, scale=self.size**-0.5)
        return self._residual(x, mixed[..., : self.size])

    def step(self, x: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """x (batch, 1, width) attends to the cache and to itself."""
        q, k, v = self._split(x)
        if cache:
            k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        return self._residual(x, F.scaled_dot_product_attention(q, k, v)), (k, v)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, heads, time, size)."""
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, self.heads, self.size)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _residual(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add attention (batch, heads, time, size), then feed-forward, to x (batch, time, width)."""
        x = x + self.dropout(self.merge(mixed.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.feed_forward(x)
        return out
