"""A person's own series: a csv or parquet file, forecast as `params.yaml` says, without a line of code.

    tasks: [series]
    overrides:
      tasks:
        series:
          data:
            - {name: power, file: my/power.csv, time: date, target: [load], inputs: [load, temperature],
               look_back: 96, horizon: 24, valid_from: 2017-07-01, test_from: 2017-11-01}

Each entry of `data` is a task, here `series-power`. Rows before `valid_from` train, those from `test_from` on test;
a window may reach back over a border, what it forecasts never does. All windows of valid and test are scored.

Every column is standardised by mean and deviation of the rows before `valid_from`. A target that does not change there
is an error; an input that does not change is read as 0 there, with a note.

The file is read strictly: times in order and none twice, each number there and finite; else the line (of parquet the
row, from 1) is named. A gap, a step of another length than most, is an error unless `gaps` says what to do.

Score: mean squared error on standardised values, and mean absolute error. Controls: the last value again (the training
mean of a target that is no input); the same, corrected by ridge regression on the look-back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from seqbench import files
from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._series import (
    BadRow,
    as_csv,
    check_borders,
    check_columns,
    check_length,
    check_order,
    corrected,
    given,
    number,
    rows,
    time,
    unbroken,
    windows,
)

FEATURES = 4096
"""Of the linear control, at most: of more, those of the steps nearest to the forecast."""
MICROSECOND = timedelta(microseconds=1)


def _word(value: Any) -> Any:
    """Names may be numbers, as those of the columns of some public sets are; YAML makes them numbers."""
    return str(value) if type(value) is int else value


def _moment(value: Any) -> datetime:
    if not isinstance(value, str) or value[4:5] != "-":
        raise ValueError("not a day or time: write it as 2017-07-01 or 2017-07-01 13:00")
    return datetime.fromisoformat(value)


Word = Annotated[str, BeforeValidator(_word), Field(min_length=1)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class Table(NamedTuple):
    """A series: its times in order, of each the place in the file (`line 3`), and values (rows, columns) float64."""

    times: list[datetime]
    places: list[str]
    values: Array


class Task(Base):
    """x (windows, look_back, inputs) float32; y (windows, horizon * targets) float32, step by step."""

    KNOB = "name"
    TITLE = "Own series"
    FAMILY = "forecasting"

    class Settings(Record):
        """One file, and what to make of it."""

        name: Annotated[Word, Field(pattern=r"^[A-Za-z0-9.]+$")]
        """The task id is `series-NAME`."""
        file: Annotated[str, Field(min_length=1)]
        """A csv file with a header, or one of parquet (.parquet, .pq); from the folder of the clone."""
        time: Word
        """The column of times, in ISO 8601."""
        target: Annotated[tuple[Word, ...], Field(min_length=1)]
        """Columns that are forecast."""
        inputs: tuple[Word, ...] = ()
        """Columns that are read; none: the targets."""
        look_back: Count
        """Rows that are read, and with `horizon` how many are forecast."""
        horizon: Count = 1
        stride: Count = 1
        """Rows between the starts of two training windows; valid and test take every row."""
        valid_from: Moment
        test_from: Moment
        """In the time zone of the file, where they name none."""
        gaps: Literal["error", "split", "ignore"] = "error"
        """A step of another length than most is an error; or a border that no window goes over; or a step as others."""

        @field_validator("target", "inputs")
        @classmethod
        def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"'{twice[0]}' stands twice")
            return names

        @field_validator("test_from")
        @classmethod
        def _later(cls, test_from: datetime, info: ValidationInfo) -> datetime:
            check_borders(info.data.get("valid_from"), test_from)
            return test_from

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(self.settings.inputs or self.settings.target)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns but the times, inputs first."""
        return tuple(dict.fromkeys([*self.inputs, *self.settings.target]))

    def own_files(self) -> tuple[Path, ...]:
        """The series."""
        return (Path(self.settings.file),)

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """The inputs in, `horizon` steps of the targets out."""
        return Spec(
            inputs="values",
            input_size=len(self.inputs),
            outputs="values",
            output_size=self.settings.horizon * len(self.settings.target),
            length=self.settings.look_back,
            metric="mse",
            direction="min",
        )

    # ---------------------------------------------------------------- preparing

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Standardise, then cut the windows of each split."""
        (path,) = self.own_files()
        with given(path):
            table = read(raw[str(path)], self.settings.time, self.columns)
            step, follows, notes = self._steps(table)
        borders = [_border(table, name, getattr(self.settings, name)) for name in ("valid_from", "test_from")]
        known = table.values[: borders[0]]
        if len(known) < self.settings.look_back + self.settings.horizon:
            raise self._too_few("train", len(known), self.settings.look_back + self.settings.horizon)
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        still = [self.columns[n] for n in np.flatnonzero(known.min(axis=0) == known.max(axis=0))]
        if set(still) & set(self.settings.target):
            name = next(name for name in still if name in self.settings.target)
            raise self._refused(f"'{name}' does not change before valid_from", "take another target, or a later day")
        deviation[[self.columns.index(name) for name in still]] = 1.0
        scaled = ((table.values - mean) / deviation).astype(np.float32)
        arrays = self._windows(scaled, follows, [0, *borders, len(scaled)])
        arrays |= {"scale.mean": mean, "scale.deviation": deviation, "step": np.array([step])}
        return arrays, (*notes, *(f"'{name}' does not change before valid_from: it tells nothing" for name in still))

    def _steps(self, table: Table) -> tuple[int, Array, tuple[str, ...]]:
        """The usual step in microseconds (0: not asked for); which rows follow on the one before; notes."""
        follows = np.arange(len(table.times)) > 0
        if self.settings.gaps == "ignore" or len(follows) < 2:
            return 0, follows, ()
        steps = _intervals(table.times)
        lengths, counts = np.unique(steps, return_counts=True)
        usual = int(lengths[counts.argmax()])
        gaps = np.flatnonzero(steps != usual) + 1
        if len(gaps) and self.settings.gaps == "error":
            raise _gap(table, int(gaps[0]), usual)
        follows[gaps] = False
        said = f"{len(gaps)} steps are not the usual one of {usual * MICROSECOND}: no window goes over them"
        return usual, follows, (said,) if len(gaps) else ()

    def _windows(self, scaled: Array, follows: Array, limits: Sequence[int]) -> dict[str, Array]:
        """x and y of each split, whose forecasts lie in rows [limit, next limit)."""
        look_back, horizon = self.settings.look_back, self.settings.horizon
        targets = [self.columns.index(name) for name in self.settings.target]
        asked = unbroken(follows, look_back + horizon) + look_back  # the first row that is forecast
        arrays = {}
        for split, low, high in zip(SPLITS, limits[:-1], limits[1:], strict=True):
            if high - low < horizon:
                raise self._too_few(split, high - low, horizon)
            own = asked[(asked >= low) & (asked + horizon <= high)]
            if not len(own):
                what = f"no {look_back + horizon} rows without a gap for {split}"
                raise self._refused(what, "take other days, or a smaller look_back or horizon")
            own = own[:: self.settings.stride] if split == "train" else own
            arrays[f"{split}.x"] = windows(scaled[:, : len(self.inputs)], own - look_back, look_back)
            arrays[f"{split}.y"] = windows(scaled[:, targets], own, horizon).reshape(len(own), -1)
        return arrays

    def _refused(self, what: str, fix: str) -> InputError:
        days = ", ".join(f"{name} = {getattr(self.settings, name)}" for name in ("valid_from", "test_from"))
        return InputError(what, f"{self.settings.file}, {days}", fix)

    def _too_few(self, split: str, count: int, needed: int) -> InputError:
        what = f"{count} rows for {split}, {needed} are needed for one window"
        return self._refused(what, "take other days, or a smaller look_back or horizon")

    # ---------------------------------------------------------------- controls and use

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The last value again; the same, corrected by ridge regression."""
        splits = {split: data.split(split) for split in SPLITS}
        linear = corrected(self._last, splits, max(FEATURES // len(self.inputs), 1))
        x, y = splits["test"]["x"], splits["test"]["y"]
        read = set(self.settings.target) & set(self.inputs)
        name = "repeat last value" if read else "training mean"
        return (
            Control(name=name, kind="trivial", metrics=self.score(self._last(x), y, data.spec)),
            Control(name="linear", kind="strong", metrics=self.score(linear, y, data.spec)),
        )

    def _last(self, x: Array) -> Array:
        """(windows, horizon * targets): the last value of each target; the mean, 0, of one that is no input."""
        blank = np.zeros(len(x), np.float32)
        last = [x[:, -1, self.inputs.index(one)] if one in self.inputs else blank for one in self.settings.target]
        return np.tile(np.stack(last, axis=1), self.settings.horizon)

    def encode(self, item: str, data: Prepared) -> Array:
        """The last rows of a file with the same columns: (look_back, inputs)."""
        look_back, step = self.settings.look_back, int(data.array("step")[0])
        with given(item):
            table = read(files.existing(item), self.settings.time, self.inputs)
            check_length(len(table.times), look_back, item)
            gaps = np.flatnonzero(_intervals(table.times[-look_back:]) != step)
            if step and len(gaps):
                raise _gap(table, len(table.times) - look_back + 1 + int(gaps[0]), step)
        mean, deviation = (data.array(f"scale.{part}")[: len(self.inputs)] for part in ("mean", "deviation"))
        found: Array = ((table.values[-look_back:] - mean) / deviation).astype(np.float32)
        return found

    def forecast(self, outputs: Array, item: str, data: Prepared) -> str:
        """The steps after a file's end, as csv in its units; without times where gaps are ignored."""
        targets = [self.columns.index(name) for name in self.settings.target]
        mean, deviation = (np.asarray(data.array(f"scale.{part}"))[targets] for part in ("mean", "deviation"))
        values = outputs.reshape(-1, len(targets)) * deviation + mean
        ahead, step = range(1, len(values) + 1), int(data.array("step")[0])
        if not step:
            return as_csv("steps_ahead", ahead, self.settings.target, values)
        with given(item):
            last = read(files.existing(item), self.settings.time, self.inputs).times[-1]
        times = [last + step * n * MICROSECOND for n in ahead]
        return as_csv(self.settings.time, times, self.settings.target, values)


def _gap(table: Table, row: int, usual: int) -> BadRow:
    before, now = table.times[row - 1 : row + 1]
    return BadRow(
        f"a gap: {now} comes {now - before} after the row before, not {usual * MICROSECOND}",
        table.places[row],
        "fill it, or set gaps: split (no window goes over one), or gaps: ignore (rows are the steps)",
    )


def _intervals(times: Sequence[datetime]) -> Array:
    """Microseconds (rows - 1,) from each time to the next."""
    return np.diff(np.array([(moment - times[0]) // MICROSECOND for moment in times], np.int64))


def _border(table: Table, name: str, moment: datetime) -> int:
    """How many rows come before a moment, which is in the time zone of the file where it names none."""
    zone = table.times[0].tzinfo
    if zone is None and moment.tzinfo is not None:
        fix = "leave its time zone out"
        raise InputError("the times of the file have no time zone, and this has", f"{name} = {moment}", fix)
    return bisect_left(table.times, moment if moment.tzinfo else moment.replace(tzinfo=zone))


# ---------------------------------------------------------------- files


def read(path: Path, time_column: str, columns: Sequence[str]) -> Table:
    """A csv or parquet file. Raises BadRow for the first thing that is wrong."""
    parquet = path.suffix.lower() in (".parquet", ".pq")
    found = (_of_parquet if parquet else _of_csv)(path, time_column, columns)
    if not found.times:
        raise BadRow("no rows", "after its header", "give a file that has some")
    for before, now, place in zip(found.times, found.times[1:], found.places[1:], strict=False):
        check_order(before, now, place)
    return found


def _of_csv(path: Path, time_column: str, columns: Sequence[str]) -> Table:
    times, places, values = list[datetime](), list[str](), list[Array]()
    for place, (text, *fields) in rows(path, (time_column, *columns)):
        times.append(time(text, place))
        places.append(place)
        values.append(np.array([number(field, name, place) for field, name in zip(fields, columns, strict=True)]))
    return Table(times, places, np.array(values))


def _of_parquet(path: Path, time_column: str, columns: Sequence[str]) -> Table:
    import pyarrow.lib  # here: it takes the better part of a second, and few have such files
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, (time_column, *columns), "its schema")
            table = file.read(columns=list(dict.fromkeys([time_column, *columns])))
    except (pyarrow.lib.ArrowException, OSError) as error:
        what = f"not a parquet file ({' '.join(str(error).split())})"
        raise BadRow(what, "its whole", "write it again, or name a csv file .csv") from None
    places = [f"row {n}" for n in range(1, table.num_rows + 1)]
    found = zip(table[time_column].to_pylist(), places, strict=True)
    times = [time("" if moment is None else str(moment), place) for moment, place in found]
    return Table(times, places, np.column_stack([_numbers(table[name], name) for name in columns]))


def _numbers(column: Any, name: str) -> Array:
    """The numbers (rows,) float64 of a column of parquet. Raises BadRow."""
    import pyarrow.types

    kind = column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind)):
        raise BadRow(f"'{name}' holds {kind}, not numbers", "its schema", "convert it, or name another column")
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        raise BadRow(f"no {name}", f"row {missing[0] + 1}")
    found: Array = column.cast("float64", safe=False).to_numpy()
    infinite = np.flatnonzero(~np.isfinite(found))
    if len(infinite):
        raise BadRow(f"{name} is not finite: {found[infinite[0]]}", f"row {infinite[0] + 1}")
    return found
