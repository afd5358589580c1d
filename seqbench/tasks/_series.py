"""What the tasks of time series share: tables read row by row, windows over them, linear controls, csv written."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import numpy as np

from seqbench.errors import InputError, nearest
from seqbench.prepared import Array
from seqbench.tasks._common import bad_file, scratch

RIDGE = 1.0
"""Penalty that keeps the equations solvable and weighs nothing beside thousands of rows."""
PENALTIES = (1.0, 1e2, 1e4, 1e6)
BLOCK = 4096
"""Windows at a time, where all of them might not fit into memory."""


# ---------------------------------------------------------------- files


class BadRow(Exception):
    """What is wrong with a table, where in it (`line 3`), and how to mend it."""

    def __init__(self, what: str, place: str, fix: str = "mend it there, or leave that row out") -> None:
        super().__init__(what, place, fix)
        self.what, self.place, self.fix = what, place, fix


@contextmanager
def fetched(path: Path) -> Iterator[None]:
    """A bad row of a downloaded file is a DataError."""
    try:
        yield
    except BadRow as bad:
        raise bad_file(bad.what, path, bad.place) from None


@contextmanager
def given(item: str | Path) -> Iterator[None]:
    """A bad row of a person's file is an InputError."""
    try:
        yield
    except BadRow as bad:
        raise InputError(bad.what, f"{item}, {bad.place}", bad.fix) from None


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(place, fields of these columns) of each row of a csv file with a header, in UTF-8. Raises BadRow."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            check_columns(header, columns, "line 1")
            indices = [header.index(column) for column in columns]
            for fields in reader:
                place = f"line {reader.line_num}"
                if len(fields) != len(header):
                    raise BadRow(f"{len(fields)} fields, not {len(header)}", place)
                yield place, [fields[index] for index in indices]
        except csv.Error as error:
            raise BadRow(f"not csv ({error})", f"line {reader.line_num}", "write csv, in UTF-8") from None


def check_columns(header: Sequence[str], columns: Iterable[str], place: str) -> None:
    """That each of the columns is there once. Raises BadRow."""
    for column in columns:
        if column not in header:
            raise BadRow(f"no column '{column}'", place, nearest(column, header))
        if header.count(column) > 1:
            raise BadRow(f"two columns '{column}'", place, "give each a name of its own")


def time(text: str, place: str) -> datetime:
    """A day, or a day and time, in ISO 8601. Raises BadRow."""
    try:
        if text.strip()[4:5] != "-":  # Python also takes 20170701, and so some counts of seconds
            raise ValueError
        return datetime.fromisoformat(text.strip())
    except ValueError:
        what = f"not a time: '{text}'" if text.strip() else "no time"
        raise BadRow(what, place, "write it as 2017-07-01 or 2017-07-01 13:00") from None


def number(text: str, name: str, place: str) -> float:
    """A finite number. Raises BadRow."""
    if not text.strip():
        raise BadRow(f"no {name}", place)
    try:
        value = float(text)
    except ValueError:
        raise BadRow(f"{name} is not a number: '{text}'", place) from None
    if not np.isfinite(value):
        raise BadRow(f"{name} is not finite: {text}", place)
    return value


def check_order(before: date | None, now: date, place: str) -> None:
    """That a row's time (or day) is later than the one before. Raises BadRow."""
    try:
        if before is not None and now <= before:
            what = f"{now} stands twice" if now == before else f"{now} comes after {before}"
            raise BadRow(what, place, "sort the rows by time, and keep one of each")
    except TypeError:
        raise BadRow(f"of {before} and {now} only one has a time zone", place, "give all of them one") from None


def check_borders(valid_from: date | None, test_from: date) -> None:
    """That validation begins before the test. Raises ValueError, as a validator of settings does."""
    try:
        if valid_from is not None and test_from <= valid_from:
            raise ValueError(f"the test would begin before validation, which begins {valid_from}")
    except TypeError:
        raise ValueError(f"of this and valid_from = {valid_from} only one has a time zone") from None


def check_length(rows: int, needed: int, item: str) -> None:
    """That a person's file is long enough for one input. Raises InputError."""
    if rows < needed:
        raise InputError(f"{rows} rows, {needed} are needed", item, "give a longer file")


def as_csv(name: str, steps: Sequence[object], columns: Sequence[str], values: Array) -> str:
    """A table as csv text: a column of times (or of steps ahead), then values (rows, columns)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([name, *columns])
    writer.writerows([step, *(f"{value:.7g}" for value in row)] for step, row in zip(steps, values, strict=True))
    return buffer.getvalue()


# ---------------------------------------------------------------- windows


def unbroken(follows: Array, steps: int) -> Array:
    """Where `steps` rows begin of which each but the first follows (rows,) on the one before without a gap."""
    breaks = np.concatenate([[0], np.cumsum(~follows)])
    first = np.arange(max(len(follows) - steps + 1, 0))
    found: Array = first[breaks[first + steps] == breaks[first + 1]]
    return found


def windows(values: Array, first: Array, steps: int) -> Array:
    """(windows, steps, columns) float32, on disk: of values (rows, columns) the rows first, first + 1, ..."""
    if not len(first):
        return np.zeros((0, steps, values.shape[1]), np.float32)
    found = scratch((len(first), steps, values.shape[1]), np.float32)
    for low in range(0, len(first), BLOCK):
        found[low : low + BLOCK] = values[first[low : low + BLOCK, None] + np.arange(steps)]
    return found


# ---------------------------------------------------------------- linear controls


def ridge(known: Iterable[tuple[Array, Array]], penalty: float = RIDGE) -> Array:
    """Weights (features + 1, outputs) of ridge regression, in closed form, from x (items, features) and y in blocks."""
    return _solved(*_products(known), penalty)


def with_one(x: Array) -> Array:
    """(items, features + 1) float64: a column of ones for the constant."""
    return np.column_stack([x.astype(np.float64), np.ones(len(x))])


def corrected(
    trivial: Callable[[Array], Array], splits: Mapping[str, Mapping[str, Array]], steps: int | None = None
) -> Array:
    """A trivial forecast of the test split, corrected by ridge regression: (items, outputs).

    The regression is of what the trivial forecast leaves of train, on the last `steps` of x (None: all); its penalty is
    the best of PENALTIES on valid, so that where it finds nothing it says nearly nothing.
    """

    def blocks(split: str) -> Iterator[tuple[Array, Array]]:
        x, y = (splits[split][part] for part in "xy")
        for low in range(0, len(x), BLOCK):
            some = x[low : low + BLOCK]
            yield _flat(some, steps), y[low : low + BLOCK] - trivial(some)

    products = _products(blocks("train"))
    candidates = [_solved(*products, penalty) for penalty in PENALTIES]
    errors = [sum(float(((with_one(x) @ w - rest) ** 2).sum()) for x, rest in blocks("valid")) for w in candidates]
    weights = candidates[int(np.argmin(errors))]
    x = splits["test"]["x"]
    parts = [x[low : low + BLOCK] for low in range(0, len(x), BLOCK)]
    return np.concatenate([trivial(part) + with_one(_flat(part, steps)) @ weights for part in parts])


def _flat(x: Array, steps: int | None) -> Array:
    """(items, features) of the last steps of x (items, time, features)."""
    return (x if steps is None else x[:, -steps:]).reshape(len(x), -1)


def _products(known: Iterable[tuple[Array, Array]]) -> tuple[Array, Array]:
    """x'x and x'y, with a constant, summed over blocks."""
    gram: Array | float = 0.0
    moment: Array | float = 0.0
    for x, y in known:
        wide = with_one(x)
        gram, moment = gram + wide.T @ wide, moment + wide.T @ y
    return np.asarray(gram), np.asarray(moment)


def _solved(gram: Array, moment: Array, penalty: float) -> Array:
    found: Array = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
    return found
