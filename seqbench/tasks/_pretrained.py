"""Weights that an image encoder begins with, from a person's file: a ResNet-18 under torchvision's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqbench import files
from seqbench.errors import InputError
from seqbench.prepared import Array


def shapes(channels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a ResNet-18 without its classifier (He et al. 2016, table 1)."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        found[f"{convolution}.weight"] = shape
        found.update({f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")})

    layer("conv1", "bn1", (64, channels, 7, 7))
    before = 64
    for stage, after in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            layer(f"{name}.conv1", f"{name}.bn1", (after, before, 3, 3))
            layer(f"{name}.conv2", f"{name}.bn2", (after, after, 3, 3))
            if before != after:
                layer(f"{name}.downsample.0", f"{name}.downsample.1", (after, before, 1, 1))
            before = after
    return found


def resnet18(path: Path, channels: int) -> dict[str, Array]:
    """Weights of a ResNet-18 from a file, as prepared arrays. InputError names the first that is missing or odd."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(files.existing(path).read_bytes())
    except (SafetensorError, ValueError, KeyError, TypeError) as error:  # the last two: a type that NumPy lacks
        what = f"not a safetensors file of plain numbers ({' '.join(str(error).split())})"
        raise InputError(what, str(path), "convert it: pickles are not read") from None
    wanted = shapes(channels)
    for name, shape in wanted.items():
        if name not in found:
            raise InputError(f"no '{name}' in it", str(path), "give the weights of a ResNet-18, named as usual")
        if found[name].shape != shape:
            what = f"'{name}' is {found[name].shape}, not {shape}"
            raise InputError(what, str(path), "give a ResNet-18, and colour: true if it was trained on colours")
        if not np.isfinite(found[name]).all():
            raise InputError(f"a number in '{name}' is not finite", str(path), "save the weights again")
    return {f"frontend.{name}": found[name].astype(np.float32) for name in wanted}
