"""Handwritten digits, pixel by pixel: 8 x 8 images of the UCI set as 64 steps of one value.

Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", the 1797 images
that scikit-learn carries (`load_digits`; no download). It is the small sibling of sequential
MNIST (Le et al. 2015) and no published benchmark of sequence models.

Split: 60 / 20 / 20 %, stratified by class, by seed. The set does not say who wrote what, so writers
are in all splits. Repeated images are looked for and would be dropped.

Score: accuracy. Orientation: a linear model on the 64 pixels reaches 0.95 to 0.98, a support vector
machine 0.99.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seqbench.prepared import Array, Prepared
from seqbench.records import Control, Record, Spec, derive
from seqbench.tasks import Base
from seqbench.tasks._common import logistic, majority


class Task(Base):
    """x (items, 64, 1) uint8, 0 to 16, rows from the top left. y (items,) int64."""

    TITLE = "Digits 8x8 by pixel"
    FAMILY = "pixels"

    class Settings(Record):
        """The seed of the split."""

        data_seed: int = 0

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """One pixel a step, standardised by mean and deviation of the training split."""
        return Spec(
            inputs="values",
            input_size=1,
            outputs="classes",
            output_size=10,
            length=64,
            metric="accuracy",
            direction="max",
            shift=float(arrays["train.x"].mean()),
            scale=float(arrays["train.x"].std()),
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Split the images by seed; of equal images only the first is kept."""
        from sklearn.datasets import load_digits  # here: the better part of a second, and training has no use for it
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        first = np.sort(np.unique(images, axis=0, return_index=True)[1])
        repeats = len(images) - len(first)
        x, y = images[first].astype(np.uint8)[:, :, None], labels[first].astype(np.int64)
        seeds = [derive(self.settings.data_seed, "digits", split) % 2**32 for split in ("test", "valid")]
        rest, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=seeds[0])
        train, valid = train_test_split(rest, test_size=0.25, stratify=y[rest], random_state=seeds[1])
        arrays = {}
        for split, rows in {"train": train, "valid": valid, "test": test}.items():
            arrays[f"{split}.x"], arrays[f"{split}.y"] = x[rows], y[rows]
        return arrays, (
            f"{repeats} repeated images dropped before the split",
            "writers are not named in the source: train and test share them",
        )

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class; logistic regression on the 64 pixels."""
        train, test = data.split("train"), data.split("test")
        known, asked = ((part["x"][:, :, 0] / 16, part["y"]) for part in (train, test))
        return (
            majority(self, train["y"], test["y"], data.spec),
            logistic("logistic regression on pixels", self, known, asked, data.spec, penalty=0.1),
        )
