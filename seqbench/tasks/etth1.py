"""ETTh1: forecast seven channels of an electricity transformer, hour by hour (Zhou et al. 2021, Informer).

Source: ETDataset, July 2016 to June 2018, licence CC BY-ND 4.0. Six loads (HUFL, HULL, MUFL, MULL, LUFL, LULL) and the
oil temperature OT; all seven are read and forecast. Split by time as published: 12 / 4 / 4 months of 30 days, 8640 /
2880 / 2880 rows; the look-back of the first windows of valid and test reaches into the part before, no forecast does.
Standardised by mean and (population) deviation of the training rows. Every window is scored: 2880 - horizon + 1 in
valid and test. Horizons: 24, 48, 168, 336 and 720 of Zhou et al. 2021; 96, 192, 336 and 720 of later work.

Score: mean squared error on standardised values, and mean absolute error. Published at horizons 96, 192, 336 and 720
(Zeng et al. 2023, Table 2): Repeat, the last value again, 1.295, 1.325, 1.323 and 1.339; at 96 and 336 also DLinear,
with a look-back of 336, 0.375 and 0.439, Informer 0.865 and 1.107, FEDformer 0.376 and 0.459. Those are without the
windows of the last incomplete batch of 32. Over all windows, as scored here, the controls have at horizons 24, 48, 96,
168, 192, 336 and 720: last value 1.222, 1.267, 1.294, 1.325, 1.325, 1.330 and 1.335; linear, with a look-back of 96,
0.309, 0.341, 0.382, 0.421, 0.432, 0.475 and 0.500.

Defects: 331 rows repeat the row before, single channels stand still for up to 141 hours: kept, as published, with a
count in the notes. The last 3020 rows are not used, as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from seqbench import files
from seqbench.prepared import Array, Prepared
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._series import (
    BadRow,
    as_csv,
    check_length,
    fetched,
    given,
    number,
    ridge,
    rows,
    time,
    with_one,
)

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
MONTH = 30 * 24
HOUR = timedelta(hours=1)
PUBLISHED_BATCH = 32
"""Published scores leave out the windows of the last incomplete batch of so many."""
PARTS = {"train": (0, 12 * MONTH), "valid": (12 * MONTH, 16 * MONTH), "test": (16 * MONTH, 20 * MONTH)}
"""Rows [from, to) that are forecast."""


def read(path: Path) -> tuple[Array, datetime]:
    """The table (rows, 7) float64 and its last time. Raises BadRow."""
    found: list[list[float]] = []
    before: datetime | None = None
    for place, (text, *fields) in rows(path, ("date", *CHANNELS)):
        now = time(text, place)
        if before is not None and now != before + HOUR:
            raise BadRow(f"{now} does not follow {before} by one hour", place)
        before = now
        found.append([number(field, name, place) for field, name in zip(fields, CHANNELS, strict=True)])
    if before is None:
        raise BadRow("no rows", "line 2")
    return np.array(found), before


class Task(Base):
    """x (windows, look_back, 7) float32. y (windows, horizon * 7) float32, hour by hour."""

    VERSION = 2
    KNOB = "horizon"
    MEMORY = False
    SOURCES = ("etth1",)
    TITLE = "ETTh1"
    FAMILY = "forecasting"

    class Settings(Record):
        """Hours read, hours forecast."""

        look_back: Annotated[int, Field(ge=1, le=4 * MONTH)] = 96
        horizon: Literal[24, 48, 96, 168, 192, 336, 720] = 96
        stride: Count = 1
        """Hours between the starts of two training windows; valid and test take every hour."""

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Seven channels in, `horizon` hours of them out."""
        return Spec(
            inputs="values",
            input_size=len(CHANNELS),
            outputs="values",
            output_size=self.settings.horizon * len(CHANNELS),
            length=self.settings.look_back,
            metric="mse",
            direction="min",
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Standardise, then cut the windows of each part. "scale.mean", "scale.deviation" (7,)."""
        with fetched(raw["etth1"]):
            table, _ = read(raw["etth1"])
            if len(table) < PARTS["test"][1]:
                raise BadRow(f"ends after {len(table)} rows, {PARTS['test'][1]} are needed", f"line {len(table) + 1}")
        still = int((table[1:] == table[:-1]).all(axis=1).sum())
        known = table[slice(*PARTS["train"])]
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        scaled = ((table - mean) / deviation).astype(np.float32)
        look_back, horizon = self.settings.look_back, self.settings.horizon
        arrays = {"scale.mean": mean, "scale.deviation": deviation}
        for split, (start, stop) in PARTS.items():
            part = scaled[max(start - look_back, 0) : stop]
            windows = sliding_window_view(part, look_back + horizon, axis=0).swapaxes(1, 2)
            windows = windows[:: self.settings.stride if split == "train" else 1]
            arrays[f"{split}.x"] = np.ascontiguousarray(windows[:, :look_back])
            arrays[f"{split}.y"] = windows[:, look_back:].reshape(len(windows), -1)
        return arrays, (
            f"{still} rows repeat the row before, and single channels stand still longer: kept, as published",
            f"the last {len(table) - PARTS['test'][1]} rows are not used, as published",
        )

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The last value again; a linear map of the look-back, the same for all channels."""
        train, test = data.split("train"), data.split("test")
        repeat = np.tile(test["x"][:, -1], self.settings.horizon)
        linear = self._linear(train, test["x"])
        said = self.score(repeat, test["y"], data.spec)
        if whole := len(repeat) // PUBLISHED_BATCH * PUBLISHED_BATCH:
            said["mse_whole_batches"] = self.score(repeat[:whole], test["y"][:whole], data.spec)["mse"]
        return (
            Control(name="repeat last value", kind="trivial", metrics=said),
            Control(name="linear", kind="strong", metrics=self.score(linear, test["y"], data.spec)),
        )

    def _linear(self, train: Mapping[str, Array], x: Array) -> Array:
        """Ridge regression from look-back to horizon ("Linear" of Zeng et al. 2023)."""
        channels = range(len(CHANNELS))
        weights = ridge((train["x"][:, :, n], train["y"][:, n :: len(CHANNELS)]) for n in channels)
        outputs = [with_one(x[:, :, n]) @ weights for n in channels]
        return np.stack(outputs, axis=2).reshape(len(x), -1)

    def encode(self, item: str, data: Prepared) -> Array:
        """The last hours of a person's file with the same columns: (look_back, 7)."""
        with given(item):
            table, _ = read(files.existing(item))
        check_length(len(table), self.settings.look_back, item)
        last = table[-self.settings.look_back :]
        found: Array = ((last - data.array("scale.mean")) / data.array("scale.deviation")).astype(np.float32)
        return found

    def forecast(self, outputs: Array, item: str, data: Prepared) -> str:
        """The hours after a person's file, as csv in its units."""
        with given(item):
            _, last = read(files.existing(item))
        values = outputs.reshape(-1, len(CHANNELS)) * data.array("scale.deviation") + data.array("scale.mean")
        return as_csv("date", [last + HOUR * (n + 1) for n in range(len(values))], CHANNELS, values)
