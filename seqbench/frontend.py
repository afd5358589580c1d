"""Frontends: what stands between a task's inputs and the core, the same for every architecture."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from seqbench import vision
from seqbench.errors import InputError
from seqbench.records import Spec

Steps = TypeVar("Steps", int, Tensor)


class Frontend(nn.Module):
    """Inputs to width: features of each step by what `Spec.frontend` says, a linear map of them, then dropout.

    The features are those of an embedding table (tokens), the values themselves, or what a
    `Spectrogram` or `Frames` makes of them.
    """

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.embedding: nn.Embedding | None = None
        self.convolutions: Spectrogram | None = None
        self.frames: Frames | None = None
        features = spec.input_size
        if spec.frontend != "linear" and spec.inputs != "values":
            what = f"the frontend '{spec.frontend}' reads values"
            raise InputError(what, "spec.frontend of the task", "inputs='values', or the frontend 'linear'")
        if spec.inputs == "tokens":
            if spec.embedding < 1:
                raise InputError("a task of tokens has no embedding", "spec.embedding of the task", "give 1 or more")
            self.embedding = nn.Embedding(spec.input_size, spec.embedding)
            features = spec.embedding
            if spec.tied:  # as the head's last map it must begin small
                nn.init.normal_(self.embedding.weight, std=features**-0.5)
        elif spec.frontend == "spectrogram":
            if spec.outputs in ("every", "steps", "multilabel", "stream"):
                what = f"a spectrogram leaves a quarter of the steps, and '{spec.outputs}' needs all"
                raise InputError(what, "spec.outputs of the task", "classes, values or ctc, or another frontend")
            if spec.causal:
                what = "the convolutions of a spectrogram see later steps, and the task allows none"
                raise InputError(what, "spec.causal and spec.frontend of the task", "causal=False, or another frontend")
            self.convolutions = Spectrogram(spec.input_size)
            features = self.convolutions.features
        elif spec.frontend == "frames":
            self.frames = Frames(spec)
            features = self.frames.features
        self.linear = nn.Linear(features, width)
        self.dropout = nn.Dropout(spec.dropout)

    def embed(self, x: Tensor) -> Tensor:
        """Tokens (batch, time) -> (batch, time, embedding), at about unit variance."""
        assert self.embedding is not None
        features: Tensor = self.embedding(x.long())
        return features * math.sqrt(self.spec.embedding) if self.spec.tied else features

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tokens (batch, time), or values (batch, time, ...) as the spec says -> (batch, steps, width).

        lengths (batch,), int64, on the CPU; what stands in x beyond an item's length changes nothing before it.
        """
        out: Tensor = self.dropout(self.linear(self._features(x, lengths)))
        return out

    def _features(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.embedding is not None:
            return self.embed(x)
        if self.frames is not None:
            features: Tensor = self.frames(x, lengths)
            return features
        values = (x.to(self.linear.weight.dtype) - self.spec.shift) / self.spec.scale
        values = values[..., None] if x.ndim == 2 else values
        return values if self.convolutions is None else self.convolutions(values, lengths)


class Spectrogram(nn.Module):
    """Two 3 x 3 convolutions of stride 2 over time and frequency, each followed by ReLU (Dong et al. 2018, sec. 3.2).

    A step of the result sees 7 steps, hence 85 ms of windows of 25 ms every 10 ms, and there is one every 40 ms.
    """

    CHANNELS = 32

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, self.CHANNELS, 3, stride=2, padding=1)
        self.second = nn.Conv2d(self.CHANNELS, self.CHANNELS, 3, stride=2, padding=1)
        self.features = self.CHANNELS * halved(halved(bins))

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, time, bins) -> (batch, a quarter of the time, features)."""
        h = torch.relu(self.first(within(x, lengths)[:, None]))
        if lengths is not None:
            h = within(h.transpose(1, 2), halved(lengths)).transpose(1, 2)
        h = torch.relu(self.second(h))
        return h.transpose(1, 2).flatten(2)


def halved(steps: Steps) -> Steps:
    """Steps after a convolution of stride 2 that pads both ends with one zero: half of them, rounded up."""
    return (steps + 1) // 2


def within(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x (batch, time, ...) with zeros beyond the lengths (batch,)."""
    if lengths is None:
        return x
    beyond = (torch.arange(x.shape[1]) >= lengths[:, None]).to(x.device, non_blocking=True)
    return x.masked_fill(beyond.view(*beyond.shape, *[1] * (x.ndim - 2)), 0.0)


class Frames(nn.Module):
    """An image encoder on each frame alone. Frames that are padding are not encoded: their features are zeros."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        if len(spec.frame) != 3 or math.prod(spec.frame) != spec.input_size:
            what = f"frames of {spec.frame} are not {spec.input_size} numbers a step"
            raise InputError(what, "spec.frame of the task", "give (channels, height, width)")
        self.spec = spec
        self.encoder = vision.encoder(spec.encoder, spec.frame[0])
        self.features = self.encoder.features

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, time, channels, height, width), of any type of number -> (batch, time, features)."""
        batch, time = x.shape[:2]
        images = x.flatten(0, 1)
        if lengths is None:
            encoded: Tensor = self.encoder(self._scaled(images))
            return encoded.view(batch, time, -1)
        real = (torch.arange(time) < lengths[:, None]).flatten().nonzero()[:, 0].to(x.device, non_blocking=True)
        encoded = self.encoder(self._scaled(images[real]))
        return encoded.new_zeros(batch * time, self.features).index_copy(0, real, encoded).view(batch, time, -1)

    def _scaled(self, images: Tensor) -> Tensor:
        dtype = next(self.encoder.parameters()).dtype
        return (images.to(dtype) - self.spec.shift) / self.spec.scale
