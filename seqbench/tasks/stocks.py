"""Stocks: the next day of 31 companies of the Dow Jones index, from 30 days of open, high, low, close and volume.

Source: szrlee/Stock-Time-Series-Analysis, daily rows from 2006-01-03 to 2017-12-29 (by its README from Google Finance;
no licence stated). Two targets: `close`, the next day's closing price, the classic task, on which any model looks
good because tomorrow's price is nearly today's; and `return`, the logarithm of that price over today's, where nothing
of that is left. No published score is known for this file and these splits: the controls are the measure.

Input: (30, 5). For `close` the four prices as they are; for `return` the logarithm of each over the close of the day
before, so that no price level is left. Volume as log(1 + v) in both: it varies by factors, and a few days of ten times
the usual volume would stand for most of its variance. Each column is standardised by mean and (population) deviation of
the ticker's days before `valid_from`, and so is the target; but a return is not centred, so that 0 is no change.

Split by date, alike for all tickers: days before `valid_from` are forecast in training, those from `test_from` on in
the test; a window may reach back over a border, what it forecasts never does. All windows of all tickers are scored.

Score: mean squared error in the ticker's own training deviations, and mean absolute error. For `return`, zero return
has 1.0 on the training part, but for the square of the mean, and less where days are calmer. `direction` is the share
of days whose sign was right, of those that moved; a forecast of 0 counts as half right.

Defects: 24 rows of 2017-07-31 lack open, high or low, and the low of HD on 2009-04-17 is 0: what is missing is filled
from the other prices of the day, so that it tells nothing new. The row of DIS on 2012-08-01 has no price of its own
and no volume: left out. In 151 rows low <= open, close <= high does not hold, mostly by cents, but BA opens at 200.00
on a day between 88.55 and 90.36: high and low are widened to hold the close, then the open is moved between them. On
days that a ticker lacks and others have, no window goes over the gap. Volumes of 2017-10-11 are a small part of the
usual for 24 tickers: kept. The companies were chosen in 2018, so none of them had failed (survivorship): nothing here
says what trading would have earned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from seqbench import files
from seqbench.errors import InputError, nearest
from seqbench.prepared import SPLITS, Array, Prepared, pack, unpack
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._series import (
    BadRow,
    as_csv,
    check_borders,
    check_length,
    check_order,
    corrected,
    fetched,
    given,
    number,
    rows,
    time,
    unbroken,
    windows,
)

COLUMNS = ("Open", "High", "Low", "Close", "Volume")
LOW, CLOSE, VOLUME = (COLUMNS.index(name) for name in ("Low", "Close", "Volume"))
NO_LOW = ("HD", date(2009, 4, 17))
"""Where the file has a low of 0."""


class Ticker(NamedTuple):
    """The rows of one company: days in order, and values (days, 5) float64."""

    days: list[date]
    values: Array


# ---------------------------------------------------------------- the file


def read(path: Path) -> tuple[dict[str, Ticker], Counter[str]]:
    """Tickers by name, sorted, and counts of what was mended. Raises BadRow for anything else that is wrong."""
    days: dict[str, list[date]] = {}
    values: dict[str, list[list[float]]] = {}
    counts: Counter[str] = Counter()
    for place, (text, *fields, name) in rows(path, ("Date", *COLUMNS, "Name")):
        day, known = time(text, place).date(), days.setdefault(name, [])
        check_order(known[-1] if known else None, day, place)
        if (name, day) == NO_LOW:
            fields[LOW] = ""
        row = _mended(fields, place, counts)
        if row:
            known.append(day)
            values.setdefault(name, []).append(row)
    if not values:
        raise BadRow("no rows", "after its header", "give a file that has some")
    return {name: Ticker(days[name], np.array(values[name])) for name in sorted(values)}, counts


def _mended(fields: list[str], place: str, counts: Counter[str]) -> list[float] | None:
    """The five numbers of a day; None where there was no trade."""
    volume = number(fields[VOLUME], "Volume", place)
    if volume < 0:
        raise BadRow(f"Volume is {volume:g}", place)
    if volume == 0 and not any(field.strip() for field in fields[:CLOSE]):
        counts["idle"] += 1
        return None
    close = _price(fields[CLOSE], "Close", place)
    prices = zip(fields[:CLOSE], COLUMNS[:CLOSE], strict=True)
    found = [_price(field, name, place) if field.strip() else None for field, name in prices]
    opened = found[0] or close
    high, low = max(found[1] or opened, close), min(found[2] or opened, close)
    mended = [min(max(opened, low), high), high, low]
    counts["filled"] += None in found
    counts["crossed"] += any(old not in (None, new) for old, new in zip(found, mended, strict=True))
    return [*mended, close, volume]


def _price(field: str, name: str, place: str) -> float:
    price = number(field, name, place)
    if price <= 0:
        raise BadRow(f"{name} is {price:g}", place)
    return price


# ---------------------------------------------------------------- the task


class Task(Base):
    """x (windows, look_back, 5) float32; y (windows, 1) float32. Ticker by ticker, day by day."""

    KNOB = "target"
    SOURCES = ("stocks",)
    TITLE = "Stocks, next day"
    FAMILY = "forecasting"

    class Settings(Record):
        """What is forecast, from how many days, and where the splits begin."""

        target: Literal["close", "return"] = "close"
        look_back: Count = 30
        valid_from: date = date(2015, 1, 1)
        test_from: Annotated[date, Field(validate_default=True)] = date(2016, 7, 1)

        @field_validator("test_from")
        @classmethod
        def _later(cls, test_from: date, info: ValidationInfo) -> date:
            check_borders(info.data.get("valid_from"), test_from)
            return test_from

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Five numbers a day in, one out."""
        return Spec(
            inputs="values",
            input_size=len(COLUMNS),
            outputs="values",
            output_size=1,
            length=self.settings.look_back,
            metric="mse",
            direction="min",
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Scale each ticker, then cut its windows.

        "tickers": their names. "scale.mean", "scale.deviation" (tickers, 5) of the inputs, "scale.center",
        "scale.spread" (tickers,) of the target.
        """
        with fetched(raw["stocks"]):
            tickers, counts = read(raw["stocks"])
        calendar = sorted({day for one in tickers.values() for day in one.days})
        parts: dict[str, list[Array]] = {f"{split}.{part}": [] for split in SPLITS for part in "xy"}
        scales = [self._cut(name, one, calendar, parts) for name, one in tickers.items()]
        arrays = {name: np.concatenate(found) for name, found in parts.items()}
        for split in SPLITS:
            if not len(arrays[f"{split}.x"]):
                raise InputError(f"no window for {split}", self._borders(), "take other days")
        arrays |= {f"scale.{part}": np.stack([scale[part] for scale in scales]) for part in scales[0]}
        arrays["tickers"] = pack(tickers)
        lost = sum(len(calendar) - len(one.days) for one in tickers.values())
        return arrays, (
            f"{counts['filled']} rows lack an open, high or low: filled from the other prices of the day",
            f"{counts['crossed']} rows break low <= open, close <= high: high and low widened to the close, open moved",
            f"{counts['idle']} rows without prices and volume are left out",
            f"{lost} days that other tickers have are missing: no window goes over them",
            "the companies were chosen in 2018, when none of them had failed (survivorship)",
        )

    def _borders(self) -> str:
        return f"valid_from = {self.settings.valid_from}, test_from = {self.settings.test_from}"

    def _cut(self, name: str, one: Ticker, calendar: list[date], parts: dict[str, list[Array]]) -> dict[str, Any]:
        """Add a ticker's windows to the parts; returns its scales."""
        values, target = self._features(one.values)
        days, borders = (
            np.array(found, "datetime64[D]")
            for found in (one.days, [self.settings.valid_from, self.settings.test_from])
        )
        before = len(days) - len(values)  # days of which only the close is needed
        known, look_back = days[before:] < borders[0], self.settings.look_back
        if known.sum() < look_back + 1:
            what = f"{known.sum()} days of {name} before valid_from, {look_back + 1} are needed"
            raise InputError(what, self._borders(), "begin validation later")
        mean, deviation, spread = values[known].mean(axis=0), values[known].std(axis=0), target[known].std()
        center = target[known].mean() if self.settings.target == "close" else 0.0
        scaled, asked = (values - mean) / deviation, ((target - center) / spread)[:, None]
        place = np.searchsorted(np.array(calendar, "datetime64[D]"), days)
        first = unbroken(np.concatenate([[False], np.diff(place) == 1]), before + look_back + 1)
        part = np.searchsorted(borders, days[before + first + look_back], side="right")  # of the day that is forecast
        for n, split in enumerate(SPLITS):
            own = first[part == n]
            parts[f"{split}.x"].append(windows(scaled, own, look_back))
            parts[f"{split}.y"].append(asked[own + look_back].astype(np.float32))
        return {"mean": mean, "deviation": deviation, "center": center, "spread": spread}

    def _features(self, values: Array) -> tuple[Array, Array]:
        """Inputs (days, 5) and target (days,), not yet scaled; for returns the first day is gone."""
        prices, volume = values[:, :VOLUME], np.log1p(values[:, VOLUME:])
        if self.settings.target == "close":
            return np.hstack([prices, volume]), prices[:, CLOSE]
        ratios = np.log(prices[1:] / prices[:-1, CLOSE:])
        return np.hstack([ratios, volume[1:]]), ratios[:, CLOSE]

    def score(self, outputs: Any, y: Any, spec: Spec) -> dict[str, float]:
        """mse and mae; for returns also `direction`, the share of signs that were right where the price moved."""
        metrics = super().score(outputs, y, spec)
        if self.settings.target == "return":
            moved = np.asarray(y) != 0
            agree = (np.sign(np.asarray(outputs)) * np.sign(np.asarray(y)))[moved]
            metrics["direction"] = float((1 + agree).mean() / 2) if len(agree) else 0.5
        return metrics

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The last value, or no change and the mean change; ridge regression of what the first leaves."""
        splits = {split: data.split(split) for split in SPLITS}
        x, y = splits["test"]["x"], splits["test"]["y"]
        trivial = {"last value": self._trivial(x)}
        if self.settings.target == "return":  # prices drift: a model that has learned no more is not better than that
            drift = np.full_like(y, splits["train"]["y"].mean())
            trivial = {"mean return": drift, "zero return": self._trivial(x)}
        scores = {name: self.score(outputs, y, data.spec) for name, outputs in trivial.items()}
        linear = self.score(corrected(self._trivial, splits), y, data.spec)
        return (
            *(Control(name=name, kind="trivial", metrics=metrics) for name, metrics in scores.items()),
            Control(name="linear", kind="strong", metrics=linear),
        )

    def _trivial(self, x: Array) -> Array:
        return x[:, -1, CLOSE, None] if self.settings.target == "close" else np.zeros((len(x), 1), np.float32)

    # ---------------------------------------------------------------- a person's file

    def encode(self, item: str, data: Prepared) -> Array:
        """The last days of a file with the same columns and rows of one of the tickers: (look_back, 5)."""
        ticker, which = self._given(item, data)
        values, _ = self._features(ticker.values)
        check_length(len(ticker.days), self.settings.look_back + len(ticker.days) - len(values), item)
        scaled = (values - data.array("scale.mean")[which]) / data.array("scale.deviation")[which]
        found: Array = scaled[-self.settings.look_back :].astype(np.float32)
        return found

    def forecast(self, outputs: Array, item: str, data: Prepared) -> str:
        """The close of the next day of trade, whose date is not known; for returns the change too."""
        ticker, which = self._given(item, data)
        value = float(outputs[0] * data.array("scale.spread")[which] + data.array("scale.center")[which])
        if self.settings.target == "close":
            return as_csv("days_ahead", [1], ["Close"], np.array([[value]]))
        close = ticker.values[-1, CLOSE] * np.exp(value)
        return as_csv("days_ahead", [1], ["Close", "log_return"], np.array([[close, value]]))

    @staticmethod
    def _given(item: str, data: Prepared) -> tuple[Ticker, int]:
        """The one ticker of a person's file, and which of the known ones that is."""
        with given(item):
            found, _ = read(files.existing(item))
        if len(found) != 1:
            raise InputError(f"{len(found)} tickers, not one", f"{item}, column Name", "give the rows of one")
        ((name, ticker),) = found.items()
        known = unpack(data.array("tickers"))
        if name not in known:
            raise InputError(f"no scale is known for '{name}'", f"{item}, column Name", nearest(name, known))
        return ticker, known.index(name)
