"""Image encoders: what a frame is to the core, the same for every architecture. Each frame is encoded alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench.errors import InputError

STAGES = (64, 128, 256, 512)
"""Channels of the four stages of a ResNet-18."""


def encoder(kind: str, channels: int) -> Small | ResNet18:
    """The encoder "small" or "resnet18" for images of so many channels."""
    kinds: dict[str, type[Small] | type[ResNet18]] = {"small": Small, "resnet18": ResNet18}
    if kind not in kinds:
        raise InputError(f"no image encoder '{kind}'", "spec.encoder of the task", f"one of: {', '.join(kinds)}")
    return kinds[kind](channels)


class Small(nn.Module):
    """Four 3 x 3 convolutions of stride 2 with group norm (Wu & He 2018) and ReLU; then the mean over places.

    Group norm, not batch norm: a frame must not depend on the other frames of its batch.
    """

    CHANNELS = (16, 32, 64, 64)
    GROUPS = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *self.CHANNELS[:-1]), self.CHANNELS, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(self.GROUPS, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.features = self.CHANNELS[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(frames, channels, height, width) -> (frames, features)."""
        out: Tensor = self.layers(x).mean(dim=(2, 3))
        return out


class Norm(nn.Module):
    """Batch norm whose statistics stay as they were loaded (0 and 1 where none were); scale and shift are trained.

    So a frame's features depend on that frame alone, in training too (He et al. 2017, "Mask R-CNN", fine-tunes
    pretrained encoders so). Names as of `nn.BatchNorm2d`.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(frames, channels, height, width), shape kept."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class Block(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x)))))) (He et al. 2016, fig. 2); x is mapped where shapes differ."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = Norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = Norm(after)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), Norm(after))

    def forward(self, x: Tensor) -> Tensor:
        """(frames, before, height, width) -> (frames, after, height / stride, width / stride)."""
        h = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016, table 1) without its classifier, and with the usual parameter names.

    Convolutions begin as He et al. 2015, and the second norm of each block with a scale of 0, so that an untrained
    network with fixed statistics begins as its shortcuts and does not grow from block to block.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STAGES[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = Norm(STAGES[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = STAGES[0]
        for number, after in enumerate(STAGES, start=1):
            stride = 1 if number == 1 else 2
            setattr(self, f"layer{number}", nn.Sequential(Block(before, after, stride), Block(after, after, 1)))
            before = after
        self.features = STAGES[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Block):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(frames, channels, height, width) -> (frames, 512)."""
        h = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for number in range(1, len(STAGES) + 1):
            h = getattr(self, f"layer{number}")(h)
        # Not nn.AdaptiveAvgPool2d: its gradient on CUDA is not deterministic.
        out: Tensor = h.mean(dim=(2, 3))
        return out
