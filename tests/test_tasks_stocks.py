"""Stocks: windows, scales, mended rows and gaps, by hand and against pandas, on small files and on the real one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import SMALL, Raw, Real, control, write

from seqbench import tasks
from seqbench.errors import DataError, InputError, SeqbenchError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.tasks import Base

HEADER = "Date,Open,High,Low,Close,Volume,Name"
DAYS = [f"2015-01-{day:02}" for day in (1, 2, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16)]
BORDERS = {"valid_from": DAYS[8], "test_from": DAYS[10]}
SETTINGS = {"look_back": 2} | BORDERS
CLOSES = {  # of the eight training days of ONE the mean is 12 and the deviation 1.5; TWO lacks the fifth
    "ONE": (10, 12, 11, 13, 14, 10, 12, 14, 15, 18, 21, 9),
    "TWO": (1, 5, 1, 5, None, 1, 5, 3, 3, 7, 5, 1),
}
TARGETS = ("close", "return")


def table(closes: dict[str, tuple[int | None, ...]] = CLOSES) -> list[str]:
    """A header, then the days of ticker after ticker."""
    return [HEADER] + [
        f"{day},{close + 1},{close + 2},{close - 0.5},{close},{1000 + 100 * n * n},{name}"
        for name, values in closes.items()
        for n, (day, close) in enumerate(zip(DAYS, values, strict=True))
        if close is not None
    ]


def saved(lines: list[str], folder: Path, name: str = "stocks.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([*lines, ""]))
    return path


def job(target: str, **changes: Any) -> Base:
    return tasks.build("stocks", SETTINGS | {"target": target} | changes)


def made(lines: list[str], target: str, folder: Path, **changes: Any) -> tuple[dict[str, Array], tuple[str, ...]]:
    return job(target, **changes).arrays({"stocks": saved(lines, folder)})


def in_pandas(path: Path) -> pd.DataFrame:
    """The file with its known defects mended, as the task says."""
    frame = pd.read_csv(path, parse_dates=["Date"])
    frame = frame[(frame.Volume > 0) | frame.Open.notna() | frame.High.notna() | frame.Low.notna()]
    low = frame.Low.where(frame.Low > 0)
    opened = frame.Open.fillna(frame.Close)
    high = frame.High.fillna(opened).clip(lower=frame.Close)
    low = low.fillna(opened).clip(upper=frame.Close)
    return frame.assign(Open=opened.clip(low, high), High=high, Low=low)


def expected(frame: pd.DataFrame, target: str, look_back: int, borders: list[str]) -> dict[str, Array]:
    """The arrays another way: each ticker on the days of all; what is missing there is NaN and spoils its windows."""
    calendar = pd.DatetimeIndex(frame.Date.unique()).sort_values()
    split_of = np.searchsorted(pd.DatetimeIndex(borders), calendar, side="right")
    found: dict[str, list[Array]] = {f"{split}.{part}": [] for split in SPLITS for part in "xy"}
    for _, of_one in frame.groupby("Name"):
        one = of_one.set_index("Date")
        known = features(one, target)[one.index < borders[0]]
        known = known[np.isfinite(known).all(axis=1)]
        inputs = features(one.reindex(calendar), target)
        x = (inputs - known.mean(axis=0)) / known.std(axis=0)
        y = x[:, 3] if target == "close" else inputs[:, 3] / known[:, 3].std()
        for day in range(look_back, len(calendar)):
            if np.isfinite(x[day - look_back : day]).all() and np.isfinite(y[day]):
                found[f"{SPLITS[split_of[day]]}.x"].append(x[day - look_back : day])
                found[f"{SPLITS[split_of[day]]}.y"].append(y[day, None])
    return {name: np.array(windows) for name, windows in found.items()}


def features(one: pd.DataFrame, target: str) -> Array:
    """(days, 5) of one ticker; NaN where the day before is missing and needed."""
    prices = one[["Open", "High", "Low", "Close"]]
    if target == "return":
        prices = np.log(prices.div(one.Close.shift(1), axis=0))
    return prices.assign(Volume=np.log1p(one.Volume)).to_numpy()


# ---------------------------------------------------------------- windows and scales


def test_closing_prices_by_hand(tmp_path: Path) -> None:
    arrays, _ = made(table({"ONE": CLOSES["ONE"]}), "close", tmp_path)
    y = {split: arrays[f"{split}.y"][:, 0].tolist() for split in SPLITS}
    assert y["train"] == pytest.approx([-2 / 3, 2 / 3, 4 / 3, -4 / 3, 0, 4 / 3])
    assert y["valid"] == pytest.approx([2, 4])
    assert y["test"] == pytest.approx([6, -2])
    closes = arrays["test.x"][:, :, 3].tolist()  # the look-back reaches over the border
    assert closes[0] == pytest.approx([2, 4]) and closes[1] == pytest.approx([4, 6])
    np.testing.assert_allclose(arrays["test.x"][0, :, 0], [2, 4], rtol=1e-6)  # open: always one more


def test_returns_by_hand(tmp_path: Path) -> None:
    closes = (8, 16, 8, 16, 16, 32, 32, 16, 64, 64, 32, 128)
    arrays, _ = made(table({"ONE": closes}), "return", tmp_path)
    steps = np.array([1, -1, 1, 0, 1, 0, -1])  # of training, in doublings
    asked = {"train": steps[2:], "valid": [2, 0], "test": [-1, 2]}
    for split in SPLITS:
        np.testing.assert_allclose(arrays[f"{split}.y"][:, 0], np.array(asked[split]) / steps.std(), rtol=1e-6)
    x = (np.array([[2, 0], [0, -1]]) - steps.mean()) / steps.std()
    np.testing.assert_allclose(arrays["test.x"][:, :, 3], x, rtol=1e-6)
    opened = np.log(65 / 16)  # of the ninth day, over the close of the eighth
    train = np.log(np.array([17, 9, 17, 17, 33, 33, 17]) / np.array([8, 16, 8, 16, 16, 32, 32]))
    assert arrays["test.x"][0, 0, 0] == pytest.approx((opened - train.mean()) / train.std(), rel=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_arrays_are_those_of_pandas(target: str, tmp_path: Path) -> None:
    arrays, _ = made(table(), target, tmp_path)
    others = expected(in_pandas(tmp_path / "stocks.csv"), target, 2, list(BORDERS.values()))
    for name, other in others.items():
        assert arrays[name].dtype == np.float32
        np.testing.assert_allclose(arrays[name], other, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("target", "counts"), [("close", [9, 4, 4]), ("return", [6, 4, 4])])
def test_no_window_goes_over_a_day_that_others_have(target: str, counts: list[int], tmp_path: Path) -> None:
    """By hand: TWO lacks the fifth day. A return right after it would be one over two days, as an input too."""
    arrays, notes = made(table(), target, tmp_path)
    assert [len(arrays[f"{split}.y"]) for split in SPLITS] == counts
    assert any(note.startswith("1 ") and "missing" in note for note in notes)


def test_a_day_that_nobody_has_is_no_gap(tmp_path: Path) -> None:
    holiday = [line for line in table() if not line.startswith(DAYS[4])]
    arrays, _ = made(holiday, "close", tmp_path)
    assert [len(arrays[f"{split}.y"]) for split in SPLITS] == [10, 4, 4]


@pytest.mark.parametrize("target", TARGETS)
def test_the_order_of_tickers_in_the_file_is_nothing(target: str, tmp_path: Path) -> None:
    lines = table()
    by_day = [lines[0], *sorted(lines[1:])]
    assert by_day != lines
    first, second = (made(some, target, tmp_path)[0] for some in (lines, by_day))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_known_of_later_days(target: str, tmp_path: Path) -> None:
    lines = table()
    later = [line.replace(",1", ",7") if line >= BORDERS["valid_from"] else line for line in lines[1:]]
    first, second = (made([HEADER, *rows], target, tmp_path)[0] for rows in (lines[1:], later))
    assert not np.array_equal(first["test.y"], second["test.y"])
    for name in first:
        if not name.startswith(("valid.", "test.")):
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


# ---------------------------------------------------------------- defects


def with_row(number: int, **fields: str) -> list[str]:
    """The table with fields of line `number` (from 1, the header) replaced."""
    lines = table()
    old = dict(zip(HEADER.split(","), lines[number - 1].split(","), strict=True))
    lines[number - 1] = ",".join((old | fields).values())
    return lines


@pytest.mark.parametrize(
    ("fields", "mended", "note"),
    [
        ({"Open": ""}, {"Open": "13"}, "lack"),  # the close
        ({"High": ""}, {"High": "14"}, "lack"),  # the open, which is the higher of what is there
        ({"Low": ""}, {"Low": "13"}, "lack"),
        ({"Open": "", "High": "", "Low": ""}, {"Open": "13", "High": "13", "Low": "13"}, "lack"),
        ({"High": "12.75"}, {"High": "13", "Open": "13"}, "low <= open"),
        ({"Low": "13.25"}, {"Low": "13"}, "low <= open"),
        ({"Open": "200"}, {"Open": "15"}, "low <= open"),
        ({"Open": "12"}, {"Open": "12.5"}, "low <= open"),
    ],
)
def test_prices_of_a_day_are_mended(fields: dict[str, str], mended: dict[str, str], note: str, tmp_path: Path) -> None:
    """Line 5 has open 14, high 15, low 12.5 and close 13."""
    assert table()[4].split(",")[1:5] == ["14", "15", "12.5", "13"]
    found, notes = made(with_row(5, **fields), "close", tmp_path)
    other, none = made(with_row(5, **mended), "close", tmp_path)
    for name in other:
        np.testing.assert_array_equal(found[name], other[name], err_msg=name)
    assert [text.split()[0] for text in notes if note in text] == ["1"]
    assert [text.split()[0] for text in none if note in text] == ["0"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_day_without_trade_is_as_a_missing_one(target: str, tmp_path: Path) -> None:
    """Line 5 is a day that TWO has."""
    idle = with_row(5, Open="", High="", Low="", Volume="0")
    found, notes = made(idle, target, tmp_path)
    other, _ = made([line for line in idle if line != idle[4]], target, tmp_path)
    for name in other:
        np.testing.assert_array_equal(found[name], other[name], err_msg=name)
    assert any(note.startswith("1 rows without prices and volume") for note in notes)
    assert any(note.startswith("2 days that other tickers have") for note in notes)


def test_the_one_low_of_zero_is_mended_and_no_other(tmp_path: Path) -> None:
    lines = [line.replace("ONE", "HD").replace(DAYS[3], "2009-04-17") for line in table({"ONE": CLOSES["ONE"]})[4:]]
    first = "2009-04-16,1,1,1,1,1000,HD"
    settings = {"look_back": 1}
    _, notes = made([HEADER, first, lines[0].replace(",12.5,", ",0.0,"), *lines[1:]], "close", tmp_path, **settings)
    assert [text.split()[0] for text in notes if "lack" in text] == ["1"]
    with pytest.raises(DataError, match="Low is 0"):
        made([HEADER, first, lines[0], lines[1].replace(",13.5,", ",0.0,"), *lines[2:]], "close", tmp_path, **settings)


@pytest.mark.parametrize(
    ("number", "fields", "message"),
    [
        (5, {"Close": "0"}, "Close is 0"),
        (6, {"Close": ""}, "no Close"),
        (7, {"Close": "-3"}, "Close is -3"),
        (8, {"Open": "-0.5"}, "Open is -0.5"),
        (9, {"Volume": "-1"}, "Volume is -1"),
        (10, {"Volume": ""}, "no Volume"),
        (11, {"High": "high"}, "High is not a number: 'high'"),
        (12, {"Low": "nan"}, "Low is not finite"),
        (13, {"Close": "inf"}, "Close is not finite"),
        (14, {"Date": "Monday"}, "not a time: 'Monday'"),
        (15, {"Date": "20150102"}, "not a time: '20150102'"),
        (16, {"Date": DAYS[1]}, "stands twice"),
        (17, {"Date": DAYS[0]}, "comes after"),
        (18, {"Name": "TWO,"}, "8 fields, not 7"),
    ],
)
def test_a_bad_row_is_named(number: int, fields: dict[str, str], message: str, tmp_path: Path) -> None:
    where = f"{tmp_path / 'stocks.csv'}, line {number}"
    three_lines(DataError, message, where, "fetch", lambda: made(with_row(number, **fields), "close", tmp_path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace("Volume", "volume"), *table()[1:]], "column 'Volume'"),
        ([HEADER.replace("High", "Low"), *table()[1:]], "column 'High'"),
        ([HEADER], "no rows"),
        ([""], "column 'Date'"),
    ],
)
def test_a_file_without_columns_or_rows_is_named(lines: list[str], message: str, tmp_path: Path) -> None:
    three_lines(DataError, message, str(tmp_path / "stocks.csv"), "fetch", lambda: made(lines, "close", tmp_path))


def three_lines(kind: type[SeqbenchError], what: str, where: str, fix: str, call: Callable[[], Any]) -> None:
    """That a call raises this error, with its three parts."""
    with pytest.raises(kind) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 3
    assert what in caught.value.what
    assert caught.value.where.startswith(where)
    assert fix in caught.value.fix


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("test_from", [DAYS[8], DAYS[3]])
def test_the_test_split_comes_last(test_from: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, ValueError), match="begin"):
        made(table(), "close", tmp_path, test_from=test_from)


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_from": DAYS[1]},  # two days to train on
        {"look_back": 8},
        {"valid_from": "2014-01-01"},
        {"valid_from": "2030-01-01", "test_from": "2030-02-01"},
        {"test_from": "2030-02-01"},
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_too_few_days_are_said(target: str, changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        made(table(), target, tmp_path, **changes)
    assert "valid_from" in caught.value.where and len(str(caught.value).splitlines()) == 3


# ---------------------------------------------------------------- scores and controls


def data_of(target: str, folder: Path, **changes: Any) -> Prepared:
    path = saved(table(), folder)
    return write("stocks", SETTINGS | {"target": target} | changes, {"stocks": path}, folder / "prepared")


def test_the_last_value_by_hand(tmp_path: Path) -> None:
    found = control("stocks", data_of("close", tmp_path))
    errors = np.array([21 - 18, 9 - 21]) / 1.5, np.array([5 - 7, 1 - 5]) / np.std([1, 5, 1, 5, 1, 5, 3])
    both = np.concatenate(errors)
    assert found["trivial"]["mse"] == pytest.approx(np.mean(both**2))
    assert found["trivial"]["mae"] == pytest.approx(np.mean(np.abs(both)))
    assert set(found["trivial"]) == {"mse", "mae"}


def test_no_change_by_hand(tmp_path: Path) -> None:
    data = data_of("return", tmp_path)
    found = control("stocks", data)
    y = data.split("test")["y"]
    assert found["trivial"]["mse"] == pytest.approx(np.mean(np.square(y, dtype=np.float64)))
    assert found["trivial"]["direction"] == 0.5


def test_direction_by_hand(tmp_path: Path) -> None:
    """Of four days that moved two are right, and one is not said: half."""
    task, spec = job("return"), job("return").spec({})
    outputs, y = np.array([[0.2], [-3.0], [1.0], [0.0], [0.5]]), np.array([[1.0], [-0.1], [-1.0], [2.0], [0.0]])
    assert task.score(outputs, y, spec)["direction"] == 2.5 / 4
    assert task.score(outputs, y, spec)["mse"] == pytest.approx((0.64 + 2.9**2 + 4 + 4 + 0.25) / 5)


def test_linear_finds_what_is_there(tmp_path: Path) -> None:
    """The return is the opposite of the last one, and a hundredth of noise."""
    random = np.random.default_rng(3)
    days = pd.bdate_range("2010-01-01", periods=400)
    returns = 0.02 * np.resize([1, -1], 400) + 0.0002 * random.standard_normal(400)
    lines = [HEADER]
    for day, close in zip(days, 100 * np.exp(returns.cumsum()), strict=True):
        lines.append(f"{day:%Y-%m-%d},{close},{close},{close},{close},{random.integers(900, 1100)},ONE")
    path = saved(lines, tmp_path)
    settings = {"target": "return", "look_back": 5, "valid_from": "2011-01-01", "test_from": "2011-04-01"}
    found = control("stocks", write("stocks", settings, {"stocks": path}, tmp_path / "prepared"))
    assert found["trivial"]["mse"] == pytest.approx(1, rel=0.1)
    assert found["strong"]["mse"] < 0.01
    assert found["strong"]["direction"] == 1


# ---------------------------------------------------------------- new files


@pytest.mark.parametrize("target", TARGETS)
def test_a_window_is_read_as_in_training(target: str, tmp_path: Path) -> None:
    """The days of TWO before the last one, from a file of their own, are its last window of the test split."""
    data = data_of(target, tmp_path)
    lines = [line for line in table() if line.endswith(("Name", ",TWO"))]
    item = saved(lines[:-1], tmp_path, "two.csv")
    task = job(target)
    np.testing.assert_array_equal(task.encode(str(item), data), data.split("test")["x"][-1])


@pytest.mark.parametrize("target", TARGETS)
def test_a_forecast_is_in_dollars(target: str, tmp_path: Path) -> None:
    """What is asked for, taken for a model's output, is the close of the day after."""
    data = data_of(target, tmp_path)
    lines = [line for line in table() if line.endswith(("Name", ",TWO"))]
    item = saved(lines[:-1], tmp_path, "two.csv")
    said = job(target).forecast(data.split("test")["y"][-1], str(item), data)
    frame = pd.read_csv(io.StringIO(said))
    assert len(frame) == 1 and frame.iloc[0, 0] == 1
    assert frame["Close"][0] == pytest.approx(1, rel=1e-5)
    if target == "return":
        assert frame["log_return"][0] == pytest.approx(np.log(1 / 5), rel=1e-5)


@pytest.mark.parametrize(
    ("lines", "what", "where", "fix"),
    [
        (table(), "ticker", ", column Name", "one"),
        ([line.replace("ONE", "TEN") for line in table()[:6]], "'TEN'", ", column Name", "ONE, TWO"),
        ([*table()[:3], "2015-01-05,x,1,1,1,1,ONE"], "Open is not a number", ", line 4", ""),
        ([*table()[:3], "2015-01-02,1,1,1,1,1,ONE"], "stands twice", ", line 4", "one"),
        (["Date,Open,High,Low,Close,Name"], "column 'Volume'", ", line 1", "Name"),
        ([HEADER], "no rows", "", "some"),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_a_bad_file_of_a_person_is_named(
    target: str, lines: list[str], what: str, where: str, fix: str, tmp_path: Path
) -> None:
    data, item = data_of(target, tmp_path), saved(lines, tmp_path, "mine.csv")
    three_lines(InputError, what, f"{item}{where}", fix, lambda: job(target).encode(str(item), data))
    zero = np.zeros(1, np.float32)
    three_lines(InputError, what, f"{item}{where}", fix, lambda: job(target).forecast(zero, str(item), data))


@pytest.mark.parametrize(("target", "enough"), [("close", 2), ("return", 3)])
def test_a_file_that_is_too_short_is_said(target: str, enough: int, tmp_path: Path) -> None:
    """A return needs the day before, too."""
    data = data_of(target, tmp_path)
    item = saved(table()[: 1 + enough], tmp_path, "mine.csv")
    assert job(target).encode(str(item), data).shape == (2, 5)
    saved(table()[:enough], tmp_path, "mine.csv")
    what = f"{enough - 1} rows, {enough} are needed"
    three_lines(InputError, what, str(item), "longer", lambda: job(target).encode(str(item), data))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = data_of("close", tmp_path)
    three_lines(InputError, "missing", "no.csv", "path", lambda: job("close").encode("no.csv", data))


# ---------------------------------------------------------------- the real file


@pytest.mark.mirror
@pytest.mark.parametrize("target", TARGETS)
def test_real_stocks(target: str, real: Real, downloads: Path, tmp_path: Path) -> None:
    """Of 93612 rows one is no day of trade; 31 tickers lose their first 30 days, nine of them 30 more around a gap.

    A window of returns needs one more day.
    """
    raw: Raw = real("stocks")
    data = write("stocks", {"target": target}, raw, tmp_path)
    lost = 1 + (31 + 9) * (30 if target == "close" else 31)
    assert sum(data.manifest.sizes.values()) == 93_612 - lost
    assert data.manifest.sizes["test"] == 31 * 378
    assert [note.split()[0] for note in data.manifest.defects][:4] == ["25", "151", "1", "9"]
    arrays = expected(in_pandas(raw["stocks"]), target, 30, ["2015-01-01", "2016-07-01"])
    for split in SPLITS:
        ours = data.split(split)
        for part in "xy":
            np.testing.assert_allclose(ours[part], arrays[f"{split}.{part}"], rtol=1e-4, atol=1e-4)


@pytest.mark.mirror
def test_real_controls(real: Real, tmp_path: Path) -> None:
    """What no model has to be proud of: nothing is better than the last value, or than no change."""
    raw: Raw = real("stocks")
    close = control("stocks", write("stocks", {"target": "close"}, raw, tmp_path))
    assert close["trivial"]["mse"] == pytest.approx(0.00533, abs=1e-5)
    change = control("stocks", write("stocks", {"target": "return"}, raw, tmp_path))
    assert change["trivial"]["mse"] == pytest.approx(0.340, abs=1e-3)
    for found in (close, change):
        assert found["strong"]["mse"] == pytest.approx(found["trivial"]["mse"], rel=0.05)
    assert 0.45 < change["strong"]["direction"] < 0.55


def test_the_mean_return_is_that_of_training(raw: Raw, tmp_path: Path) -> None:
    data = write("stocks", SMALL["stocks"] | {"target": "return"}, raw, tmp_path)
    controls = {one.name: one for one in tasks.build("stocks", data.manifest.settings).controls(data)}
    assert {name: one.kind for name, one in controls.items()} == {
        "mean return": "trivial",
        "zero return": "trivial",
        "linear": "strong",
    }
    mean = float(data.split("train")["y"].mean())
    y = data.split("test")["y"].astype(np.float64)
    assert mean != 0
    assert controls["mean return"].metrics["mse"] == pytest.approx(np.mean((y - mean) ** 2))
    assert controls["mean return"].metrics["direction"] == pytest.approx(np.mean((y > 0) == (mean > 0)))
