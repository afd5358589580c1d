"""Batches: splits that live on the device, and what training takes of them at each step."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqbench.errors import InputError
from seqbench.prepared import Array, Prepared
from seqbench.records import UNSCORED, Spec, derive

POOL = 50
"""Batches among which items of like length are gathered."""


class Batch(NamedTuple):
    """What a step trains on."""

    x: Tensor
    y: Tensor
    lengths: Tensor | None
    """(batch,) int64, on the CPU"""
    fresh: bool = True
    """False: a window that goes on where the step before ended."""


class OnDevice:
    """A split that lives on the device; batches are rows of it."""

    def __init__(self, split: dict[str, Array], device: torch.device, spec: Spec) -> None:
        self.arrays, self.spec = split, spec
        self.x = torch.from_numpy(np.array(split["x"])).to(device)
        self.y = torch.from_numpy(np.array(split["y"])).to(device)
        # Lengths stay on the CPU: packing needs them there, and the longest is known without waiting.
        self.lengths = torch.from_numpy(np.array(split["lengths"], np.int64)) if "lengths" in split else None
        self.targets: Tensor | None = None
        if spec.outputs == "sequence":
            self.targets = torch.from_numpy((split["y"] != UNSCORED).sum(1))
            if self.lengths is None:  # all sources are of one length
                self.lengths = torch.full((len(self.x),), self.x.shape[1])

    def __len__(self) -> int:
        return len(self.x)

    @functools.cached_property
    def sizes(self) -> Tensor | None:
        """What an item costs, where items differ: its steps (items,)."""
        if self.lengths is None or self.targets is None:
            return self.lengths
        # The longer of the two first, then the shorter: of the orders tried, this one leaves the least padding.
        longer = torch.maximum(self.targets, self.lengths)
        return longer * (int(longer.max()) + 1) + torch.minimum(self.targets, self.lengths)

    def rows(self, index: Tensor) -> Batch:
        """These items (index on the CPU), cut at the longest of them."""
        there = index.to(self.x.device, non_blocking=True)
        if self.lengths is None:
            return Batch(self.x[there], self.y[there], None)
        lengths = self.lengths[index]
        x, y = self.x[there, : int(lengths.max())], self.y[there]
        if self.targets is not None:
            y = y[:, : int(self.targets[index].max())]
        elif self.spec.outputs in ("every", "multilabel"):
            y = y[:, : x.shape[1]]
        return Batch(x, y, lengths)


class Order:
    """Which items make up a training step: a new permutation for each epoch, no item left out."""

    def __init__(self, items: int, batch: int, seed: int) -> None:
        self.items, self.batch, self.seed = items, min(batch, items), seed
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            permutation = _generator(self.seed, epoch).permutation(self.items)
            self._epoch, self._permutation = epoch, torch.from_numpy(permutation)
        return self._permutation

    def __call__(self, step: int) -> Tensor:
        """Indices (batch,) of step `step`: a function of its argument."""
        epoch, first = divmod(step * self.batch, self.items)
        index = self._of_epoch(epoch)[first : first + self.batch]
        missing = self.batch - len(index)
        return torch.cat([index, self._of_epoch(epoch + 1)[:missing]]) if missing else index

    def examples(self, steps: int) -> int:
        """Items in the first `steps` batches."""
        return steps * self.batch


class AlikeOrder:
    """An order for items that differ in size: those of a batch are alike, no item is left out of an epoch.

    Each epoch's permutation is sorted by size within pools of `POOL` batches, cut into batches whose
    numbers of items differ by one at most, and those are shuffled.
    """

    def __init__(self, sizes: Tensor, batch: int, seed: int) -> None:
        self.sizes, self.seed = sizes.numpy(), seed
        self.count = -(-len(sizes) // batch)
        """Batches of an epoch."""
        self._epoch, self._batches = -1, list[Tensor]()

    def _of_epoch(self, epoch: int) -> list[Tensor]:
        if epoch != self._epoch:
            generator = _generator(self.seed, epoch)
            pools = np.array_split(generator.permutation(len(self.sizes)), -(-self.count // POOL))
            pools = [pool[np.argsort(self.sizes[pool], kind="stable")] for pool in pools]
            # Every other pool downwards: items are alike too in a batch that takes from two pools.
            alike = np.concatenate([pool[:: -1 if i % 2 else 1] for i, pool in enumerate(pools)])
            batches = np.array_split(alike, self.count)
            self._epoch = epoch
            self._batches = [torch.from_numpy(batches[i]) for i in generator.permutation(self.count)]
        return self._batches

    def __call__(self, step: int) -> Tensor:
        """Indices (batch,) of step `step`: a function of its argument."""
        epoch, number = divmod(step, self.count)
        return self._of_epoch(epoch)[number]

    def examples(self, steps: int) -> int:
        """Items in the first `steps` batches."""
        epochs, rest = divmod(steps, self.count)
        return epochs * len(self.sizes) + sum(map(len, self._of_epoch(epochs)[:rest]))


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(derive(seed, "epoch", epoch)))


class Items:
    """Training on items, in an order of their own seed."""

    def __init__(self, data: OnDevice, batch: int, seed: int) -> None:
        self.data, sizes = data, data.sizes
        self.order = Order(len(data), batch, seed) if sizes is None else AlikeOrder(sizes, batch, seed)

    def __call__(self, step: int) -> Batch:
        """The batch of a step: a function of its argument."""
        return self.data.rows(self.order(step))

    def examples(self, steps: int) -> int:
        """Items in the first `steps` batches."""
        return self.order.examples(steps)


class Windows:
    """Training on a stream, cut into `rows` side by side, read in windows of `length` steps.

    Each epoch begins at an offset below `length` of its own, so that windows do not always end at
    the same places; what does not fill a window is left out of that epoch.
    """

    def __init__(self, data: OnDevice, rows: int, seed: int) -> None:
        self.x, self.y, self.length = data.x, data.y, data.spec.length
        self.rows, self.seed = rows, seed
        self.count = (len(data) - self.length + 1) // (rows * self.length)
        """Windows of an epoch."""
        if self.count < 1:
            raise InputError(
                f"a stream of {len(data)} steps has no window of {self.length} steps for each of {rows} rows",
                f"train.batch = {rows}, length = {self.length}",
                "take a smaller batch, a smaller length, or more data",
            )

    def __call__(self, step: int) -> Batch:
        """The windows (rows, length) of a step: a function of its argument."""
        epoch, window = divmod(step, self.count)
        offset = derive(self.seed, "epoch", epoch) % self.length
        row = (len(self.x) - offset) // self.rows
        starts = offset + window * self.length + row * torch.arange(self.rows)
        index = (starts[:, None] + torch.arange(self.length)).to(self.x.device, non_blocking=True)
        return Batch(self.x[index], self.y[index], None, fresh=window == 0)

    def examples(self, steps: int) -> int:
        """Labels in the first `steps` batches."""
        return steps * self.rows * self.length


def training(data: OnDevice, batch: int, seed: int) -> Items | Windows:
    """The batches that training takes."""
    return (Windows if data.spec.outputs == "stream" else Items)(data, batch, seed)


class Splits:
    """The splits of a prepared data set on a device, each loaded once, when first asked for."""

    def __init__(self, data: Prepared, device: torch.device) -> None:
        self.data, self.device = data, device

    @functools.cached_property
    def train(self) -> OnDevice:
        """The training split."""
        return OnDevice(self.data.split("train"), self.device, self.data.spec)

    @functools.cached_property
    def valid(self) -> OnDevice:
        """The validation split."""
        return OnDevice(self.data.split("valid"), self.device, self.data.spec)

    def read_test(self) -> OnDevice:
        """The test split; every call is a read that `Prepared` counts."""
        return OnDevice(self.data.split("test"), self.device, self.data.spec)
