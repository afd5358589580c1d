"""ETTh1: forecast seven channels of an electricity transformer, hour by hour (Zhou et al. 2021, Informer).

Source: ETDataset, July 2016 to June 2018. Six loads (HUFL, HULL, MUFL, MULL, LUFL, LULL) and the oil
temperature OT; all seven are read and forecast. Split by time as published: 12 / 4 / 4 months of 30
days, 8640 / 2880 / 2880 rows; the look-back of the first windows of valid and test reaches into the
part before, no forecast does. Standardised by mean and (population) deviation of the training rows.
Every window is scored: 2880 - horizon + 1 in valid and test.

Score: mean squared error on standardised values, and mean absolute error. Published at horizons 96 and
336 (Zeng et al. 2023, Table 2): Repeat, the last value again, 1.295 and 1.323; DLinear, with a
look-back of 336, 0.375 and 0.439; Informer 0.865 and 1.107; FEDformer 0.376 and 0.459. Those are without
the windows of the last incomplete batch of 32; over all windows Repeat scores 1.294 and 1.330.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from seqbench.prepared import Array, Prepared
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import bad_line

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
MONTH = 30 * 24
PARTS = {"train": (0, 12 * MONTH), "valid": (12 * MONTH, 16 * MONTH), "test": (16 * MONTH, 20 * MONTH)}
"""Rows [from, to) that are forecast."""
RIDGE = 1.0
"""Penalty of the linear control: keeps its equations solvable, weighs nothing beside 59000 rows."""


def read(path: Path) -> Array:
    """The table (rows, 7) float64; DataError names the first bad line."""
    rows: list[list[float]] = []
    before: datetime | None = None
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip("\n").split(",")
            if number == 1:
                if fields != ["date", *CHANNELS]:
                    raise bad_line(f"the columns are not date,{','.join(CHANNELS)}", path, number)
                continue
            time, values = _row(fields, path, number)
            if before and time != before + timedelta(hours=1):
                raise bad_line(f"{time} does not follow {before} by one hour", path, number)
            before = time
            rows.append(values)
    if len(rows) < PARTS["test"][1]:
        raise bad_line(f"ends after {len(rows)} rows, {PARTS['test'][1]} are needed", path, len(rows) + 1)
    return np.array(rows)


def _row(fields: list[str], path: Path, number: int) -> tuple[datetime, list[float]]:
    if len(fields) != len(CHANNELS) + 1:
        raise bad_line(f"{len(fields)} fields, not {len(CHANNELS) + 1}", path, number)
    try:
        time, values = datetime.fromisoformat(fields[0]), [float(field) for field in fields[1:]]
    except ValueError as error:
        raise bad_line(str(error), path, number) from None
    if not np.isfinite(values).all():
        raise bad_line("a value is not finite", path, number)
    return time, values


class Task(Base):
    """x (windows, look_back, 7) float32. y (windows, horizon * 7) float32, hour by hour."""

    KNOB = "horizon"
    SOURCES = ("etth1",)
    TITLE = "ETTh1"
    FAMILY = "forecasting"

    class Settings(Record):
        """Hours read, hours forecast."""

        look_back: Annotated[int, Field(ge=1, le=4 * MONTH)] = 96
        horizon: Literal[96, 192, 336, 720] = 96
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
        """Standardise, then cut the windows of each part."""
        table = read(raw["etth1"])
        still = int((table[1:] == table[:-1]).all(axis=1).sum())
        known = table[slice(*PARTS["train"])]
        scaled = ((table - known.mean(axis=0)) / known.std(axis=0)).astype(np.float32)
        look_back, horizon = self.settings.look_back, self.settings.horizon
        arrays = {}
        for split, (start, stop) in PARTS.items():
            rows = scaled[max(start - look_back, 0) : stop]
            windows = sliding_window_view(rows, look_back + horizon, axis=0).swapaxes(1, 2)
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
        return (
            Control(name="repeat last value", kind="trivial", metrics=self.score(repeat, test["y"], data.spec)),
            Control(name="linear", kind="strong", metrics=self.score(linear, test["y"], data.spec)),
        )

    def _linear(self, train: Mapping[str, Array], x: Array) -> Array:
        """Ridge regression from look-back to horizon, in closed form ("Linear" of Zeng et al. 2023)."""
        look_back, horizon = self.settings.look_back, self.settings.horizon
        gram, moment = RIDGE * np.eye(look_back + 1), np.zeros((look_back + 1, horizon))
        for channel in range(len(CHANNELS)):
            known = _with_one(train["x"][:, :, channel])
            gram += known.T @ known
            moment += known.T @ train["y"][:, channel :: len(CHANNELS)]
        weights = np.linalg.solve(gram, moment)
        outputs = [_with_one(x[:, :, channel]) @ weights for channel in range(len(CHANNELS))]
        return np.stack(outputs, axis=2).reshape(len(x), -1)


def _with_one(x: Array) -> Array:
    """(windows, look_back) float64 with a column of ones for the constant."""
    return np.column_stack([x.astype(np.float64), np.ones(len(x))])
