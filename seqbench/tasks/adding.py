"""The adding problem: add two marked numbers of a long sequence (Hochreiter & Schmidhuber 1997, sec. 5.4).

In the form of Arjovsky et al. 2016: each step holds a number, uniform in [0, 1), and a mark, which
is 1 at one step of the first half and one of the second, else 0 (in Bai et al. 2018, at any two).
The target is the sum of the two marked numbers. Splits are drawn from seeds of their own.

Score: mean squared error; 0 can be reached. Predicting 1, the mean, has an expected error of
2 * 1/12 = 1/6 (0.167), the plateau on which a model stays that does not remember. Published at 600
steps: LSTM 0.164, GRU 5.3e-5, plain RNN 0.177 (Bai et al. 2018, Table 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import Control, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import generator
from seqbench.tasks._probes import DrawnSettings


class Task(Base):
    """x (items, length, 2) float32: number, mark. y (items, 1) float32: the sum."""

    KNOB = "length"
    TITLE = "Adding problem"
    FAMILY = "probe"

    class Settings(DrawnSettings):
        """Length of the sequences, and those of `DrawnSettings`."""

        length: Annotated[int, Field(ge=2)] = 200

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Two numbers a step, one number out."""
        return Spec(
            inputs="values",
            input_size=2,
            outputs="values",
            output_size=1,
            length=self.settings.length,
            metric="mse",
            direction="min",
            ceiling=0.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Draw the three splits."""
        arrays = {}
        for split in SPLITS:
            arrays[f"{split}.x"], arrays[f"{split}.y"] = self._draw(split)
        return arrays, ()

    def _draw(self, split: str) -> tuple[Array, Array]:
        length, items = self.settings.length, getattr(self.settings, split)
        random = generator(self.settings.data_seed, "adding", length, split)
        half, rows = length // 2, np.arange(items)
        marks = random.integers(half, size=items), random.integers(half, length, size=items)
        x = np.zeros((items, length, 2), np.float32)
        x[:, :, 0] = random.random((items, length), dtype=np.float32)
        for mark in marks:
            x[rows, mark, 1] = 1
        return x, (x[rows, marks[0], 0] + x[rows, marks[1], 0])[:, None]

    def longer(self, factor: int) -> dict[str, Any]:
        """So many times the steps, two marks as before."""
        return {**self.settings.plain(), "length": factor * self.settings.length}

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Always 1, the mean of the sum."""
        y = data.split("test")["y"]
        return (Control(name="always 1", kind="trivial", metrics=self.score(np.ones(y.shape), y, data.spec)),)
