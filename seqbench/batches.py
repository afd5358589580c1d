"""Batches: splits that live on the device, and the order in which training takes their items."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from seqbench.prepared import Array, Prepared
from seqbench.records import derive


class OnDevice:
    """A split that lives on the device; batches are rows of it."""

    def __init__(self, split: dict[str, Array], device: torch.device) -> None:
        self.x = torch.from_numpy(np.array(split["x"])).to(device)
        self.y = torch.from_numpy(np.array(split["y"])).to(device)
        # Lengths stay on the CPU: packing needs them there, and the longest is known without waiting.
        self.lengths = torch.from_numpy(np.array(split["lengths"], np.int64)) if "lengths" in split else None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """x, y, lengths of these items (index on the CPU), cut at the longest of them."""
        there = index.to(self.x.device, non_blocking=True)
        if self.lengths is None:
            return self.x[there], self.y[there], None
        lengths = self.lengths[index]
        return self.x[there, : int(lengths.max())], self.y[there], lengths


class Order:
    """Which items make up a training step: a new permutation for each epoch, no item left out."""

    def __init__(self, items: int, batch: int, seed: int) -> None:
        self.items, self.batch, self.seed = items, min(batch, items), seed
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = np.random.Generator(np.random.Philox(derive(self.seed, "epoch", epoch)))
            self._epoch, self._permutation = epoch, torch.from_numpy(generator.permutation(self.items))
        return self._permutation

    def __call__(self, step: int) -> Tensor:
        """Indices (batch,) of step `step`: a function of its argument."""
        epoch, first = divmod(step * self.batch, self.items)
        index = self._of_epoch(epoch)[first : first + self.batch]
        missing = self.batch - len(index)
        return torch.cat([index, self._of_epoch(epoch + 1)[:missing]]) if missing else index


class Splits:
    """The splits of a prepared data set on a device, each loaded once, when first asked for."""

    def __init__(self, data: Prepared, device: torch.device) -> None:
        self.data, self.device = data, device

    @functools.cached_property
    def train(self) -> OnDevice:
        """The training split."""
        return OnDevice(self.data.split("train"), self.device)

    @functools.cached_property
    def valid(self) -> OnDevice:
        """The validation split."""
        return OnDevice(self.data.split("valid"), self.device)

    def read_test(self) -> OnDevice:
        """The test split; every call is a read that `Prepared` counts."""
        return OnDevice(self.data.split("test"), self.device)
