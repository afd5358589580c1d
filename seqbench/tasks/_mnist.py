"""MNIST as a sequence of pixels: what `smnist` and `psmnist` share."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from seqbench.prepared import Array, Prepared
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import bad_file, cut_official, generator, logistic, majority

SIDE = 28
MEAN, DEVIATION = 0.1307 * 255, 0.3081 * 255
"""Of the training pixels; the usual constants, kept for pooled images too."""
LINEAR_ITEMS = 10_000
"""Training items that the linear control sees, for its time."""


def read_idx(path: Path, dimensions: int) -> Array:
    """An array of bytes from a gzipped IDX file (LeCun et al. 1998); DataError where it is none."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise bad_file(f"not a whole gzip file ({error})", path) from None
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise bad_file(f"not an IDX file of bytes in {dimensions} dimensions", path)
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    values = np.frombuffer(content[start:], np.uint8)
    if len(values) != math.prod(shape):
        raise bad_file(f"the header says {shape}, the file holds {len(values)} bytes", path)
    return values.reshape(shape)


def average_pool(images: Array, factor: int) -> Array:
    """(items, 28, 28) -> (items, 28 / factor, 28 / factor), rounded to uint8 (halves up)."""
    if factor == 1:
        return images
    side, area = SIDE // factor, factor * factor
    sums = images.reshape(-1, side, factor, side, factor).sum(axis=(2, 4), dtype=np.uint16)
    return np.asarray((sums + area // 2) // area, np.uint8)


class Mnist(Base):
    """x (items, steps, 1) uint8, 784 steps (196 or 49 when pooled). y (items,) int64."""

    SOURCES = ("mnist-train-images", "mnist-train-labels", "mnist-test-images", "mnist-test-labels")
    FAMILY = "pixels"

    class Settings(Record):
        """Items in each split (null: all there are) and the pooling factor."""

        train: Count | None = None
        valid: Count = 5_000
        """Cut from the official training part by seed."""
        test: Count | None = None
        pool: Literal[1, 2, 4] = 1
        """Average-pool by this factor. Not 1: cheaper, and not the published benchmark."""
        data_seed: int = 0

    def order(self, steps: int) -> tuple[Array, str]:
        """The order in which the pixels come, (steps,), and a note on it."""
        return np.arange(steps), "pixels row by row from the top left"

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """One pixel a step, ten classes."""
        return Spec(
            inputs="values",
            input_size=1,
            outputs="classes",
            output_size=10,
            length=(SIDE // self.settings.pool) ** 2,
            metric="accuracy",
            direction="max",
            shift=MEAN,
            scale=DEVIATION,
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Read both official parts and cut the validation split from the training one."""
        parts = {part: self._read(raw, part) for part in ("train", "test")}
        rows = cut_official(self.settings, "mnist", "images", len(parts["train"][1]), len(parts["test"][1]))
        order, note = self.order((SIDE // self.settings.pool) ** 2)
        arrays = {}
        for split, index in rows.items():
            images, labels = parts["test" if split == "test" else "train"]
            pixels = average_pool(images[index], self.settings.pool).reshape(len(index), -1)
            arrays[f"{split}.x"] = pixels[:, order, None]
            arrays[f"{split}.y"] = labels[index].astype(np.int64)
        notes = [note, "the source has no repeated image, within or between its parts"]
        if self.settings.pool > 1:
            notes.append(f"images average-pooled by {self.settings.pool}: not the published benchmark")
        return arrays, tuple(notes)

    def _read(self, raw: Mapping[str, Path], part: str) -> tuple[Array, Array]:
        images, labels = read_idx(raw[f"mnist-{part}-images"], 3), read_idx(raw[f"mnist-{part}-labels"], 1)
        if images.shape[1:] != (SIDE, SIDE):
            raise bad_file(f"images are {images.shape[1:]}, not (28, 28)", raw[f"mnist-{part}-images"])
        if len(images) != len(labels) or not labels.size or labels.max() > 9:
            what = f"{len(labels)} labels up to {labels.max(initial=0)} for {len(images)} images of digits"
            raise bad_file(what, raw[f"mnist-{part}-labels"])
        return images, labels

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class; logistic regression on the pixels of at most 10000 training items."""
        train, test = data.split("train"), data.split("test")
        chosen = np.sort(
            generator(self.settings.data_seed, "mnist", "linear").permutation(len(train["y"]))[:LINEAR_ITEMS]
        )
        known = train["x"][chosen, :, 0] / 255, train["y"][chosen]
        asked = test["x"][:, :, 0] / 255, test["y"]
        return (
            majority(self, train["y"], test["y"], data.spec),
            logistic("logistic regression on pixels", self, known, asked, data.spec, penalty=10.0),
        )
