"""Time series: windows, scales and controls by hand, what is refused, and the real files."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SMALL, Raw, Real, control, series_lines, small, write

from seqbench import prepare, tasks
from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.tasks._series import PENALTIES, BadRow, as_csv, corrected, ridge, rows, unbroken, windows, with_one


def put(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def three_lines(error: InputError | DataError, *parts: str) -> None:
    """That the error has its three parts, in words of which these are some."""
    text = str(error)
    assert len(text.splitlines()) == 3 and all(line.split(": ", 1)[1].strip() for line in text.splitlines())
    for part in parts:
        assert part in text


# ---------------------------------------------------------------- what they share


@pytest.mark.parametrize(
    ("follows", "steps", "first"),
    [
        ([0, 1, 1, 1], 2, [0, 1, 2]),
        ([0, 1, 0, 1, 1], 2, [0, 2, 3]),
        ([0, 1, 0, 1, 1], 3, [2]),
        ([0, 1, 0, 1, 1], 1, [0, 1, 2, 3, 4]),
        ([0, 1, 0, 1, 1], 4, []),
        ([0, 1], 3, []),
        ([], 1, []),
    ],
)
def test_unbroken_by_hand(follows: list[int], steps: int, first: list[int]) -> None:
    assert unbroken(np.array(follows, bool), steps).tolist() == first


def test_windows_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqbench.tasks._series.BLOCK", 2)
    values = np.arange(10).reshape(5, 2)
    found = windows(values, np.array([0, 1, 3]), 2)
    assert found.dtype == np.float32
    assert found.tolist() == [[[0, 1], [2, 3]], [[2, 3], [4, 5]], [[6, 7], [8, 9]]]
    assert windows(values, np.array([], int), 2).shape == (0, 2, 2)


def test_ridge_by_hand() -> None:
    """x = 1, 2, 3 and y = 2 x + 1: with next to no penalty the line; with a large one nothing."""
    x, y = np.array([[1.0], [2.0], [3.0]]), np.array([[3.0], [5.0], [7.0]])
    np.testing.assert_allclose(ridge([(x, y)], 1e-9), [[2], [1]], rtol=1e-6)
    np.testing.assert_allclose(ridge([(x[:1], y[:1]), (x[1:], y[1:])], 1e-9), [[2], [1]], rtol=1e-6)
    # (X'X + I) w = X'y with X'X = [[14, 6], [6, 3]] and X'y = [34, 15]
    np.testing.assert_allclose(ridge([(x, y)]), np.linalg.solve([[15, 6], [6, 4]], [[34], [15]]))
    assert with_one(x).tolist() == [[1, 1], [2, 1], [3, 1]]


def of(x: Array, y: Array) -> dict[str, Array]:
    return {"x": x[..., None], "y": y}


def test_the_correction_finds_what_is_linear_and_else_stays_with_the_trivial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqbench.tasks._series.BLOCK", 37)
    random = np.random.default_rng(1)
    x = {split: random.standard_normal((500, 4)) for split in SPLITS}

    def last(x: Array) -> Array:
        found: Array = x[:, -1]
        return found

    linear = {split: of(x[split], x[split][:, 3:] + 0.5 * x[split][:, :1] + 2) for split in SPLITS}
    np.testing.assert_allclose(corrected(last, linear), linear["test"]["y"], atol=0.02)
    assert np.abs(corrected(last, linear, steps=2) - linear["test"]["y"]).mean() > 0.2  # does not see the first
    noise = {split: of(x[split], x[split][:, 3:] + random.standard_normal((500, 1))) for split in SPLITS}
    assert np.abs(corrected(last, noise) - x["test"][:, 3:]).max() < 0.02
    for steps in (None, 3):
        left = {split: noise[split]["y"] - x[split][:, 3:] for split in SPLITS}
        seen = {split: x[split] if steps is None else x[split][:, -steps:] for split in SPLITS}
        weights = [ridge([(seen["train"], left["train"])], penalty) for penalty in PENALTIES]
        errors = [np.mean((with_one(seen["valid"]) @ some - left["valid"]) ** 2) for some in weights]
        best = weights[int(np.argmin(errors))]
        np.testing.assert_allclose(corrected(last, noise, steps), x["test"][:, 3:] + with_one(seen["test"]) @ best)


def test_csv_is_read_by_name_and_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffnote, b ,a\r\n"x, ""y""",2,1\r\n"two\nlines",4,3\r\n'.encode())
    assert list(rows(path, ("a", "b"))) == [("line 2", ["1", "2"]), ("line 4", ["3", "4"])]


@pytest.mark.parametrize(
    ("content", "what", "place", "fix"),
    [
        (b"", "no column 'a'", "line 1", "known: "),
        (b"A,b\n1,2\n", "no column 'a'", "line 1", "known: A, b"),
        (b"a,b,a\n1,2,3\n", "two columns 'a'", "line 1", "name"),
        (b"a,b\n1,2\n1,2,3\n", "3 fields, not 2", "line 3", "mend"),
        (b"a,b\n1,2\n\n1,2\n", "0 fields, not 2", "line 3", "mend"),
        (b'a,b\n1,"2\n', "not csv", "line 2", "csv"),
        ("a,b\n1,2\n".encode("utf-16"), "no column 'a'", "line 1", "known"),
    ],
)
def test_a_bad_csv_is_named(content: bytes, what: str, place: str, fix: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(BadRow, match=what) as caught:
        list(rows(path, ("a", "b")))
    assert caught.value.place == place and fix in caught.value.fix


def test_csv_is_written_by_hand() -> None:
    values = np.array([[1.25, 1e9], [-1 / 3, 0]])
    assert as_csv("at", [1, "x"], ["a", "b, c"], values) == 'at,a,"b, c"\n1,1.25,1e+09\nx,-0.3333333,0\n'


# ---------------------------------------------------------------- ETTh1


def table(path: Path) -> Array:
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8))


@pytest.mark.parametrize("settings", [{}, {"horizon": 24}, {"look_back": 336, "horizon": 192, "stride": 1}])
def test_etth1_windows_by_hand(settings: dict[str, Any], raw: Raw) -> None:
    job = small("etth1", **settings)
    arrays, notes = job.arrays(raw)
    back, ahead, stride = job.settings.look_back, job.settings.horizon, job.settings.stride
    values = table(raw["etth1"])
    scaled = (values - values[:8640].mean(axis=0)) / values[:8640].std(axis=0)
    for split, first, last, step in (
        ("train", back, 8640, stride),
        ("valid", 8640, 11520, 1),
        ("test", 11520, 14400, 1),
    ):
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        starts = range(first, last - ahead + 1, step)  # the first row forecast
        assert len(x) == len(starts)
        for window in (0, 1, len(starts) // 2, len(starts) - 1):
            start = starts[window]
            np.testing.assert_allclose(x[window], scaled[start - back : start], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(y[window].reshape(ahead, 7), scaled[start : start + ahead], rtol=1e-5, atol=1e-6)
    assert len(arrays["test.x"]) == 2880 - ahead + 1
    assert "20 rows are not used" in notes[1]


def test_etth1_knows_nothing_of_later_rows(raw: Raw, tmp_path: Path) -> None:
    lines = raw["etth1"].read_text().splitlines()
    tail = [line.rsplit(",", 1)[0] + ",1e6" for line in lines[8641:]]
    (tmp_path / "other").write_text("\n".join([*lines[:8641], *tail]))
    (before, _), (after, _) = (small("etth1").arrays({"etth1": path}) for path in (raw["etth1"], tmp_path / "other"))
    for name in ("train.x", "train.y", "scale.mean", "scale.deviation"):
        np.testing.assert_array_equal(before[name], after[name])
    np.testing.assert_array_equal(before["valid.x"][0], after["valid.x"][0])
    assert (after["valid.y"][:, 6] > 1e4).all()


def test_etth1_controls(raw: Raw, tmp_path: Path) -> None:
    data = write("etth1", SMALL["etth1"], raw, tmp_path)
    found = control("etth1", data)
    x, y = (data.split("test")[part].astype(np.float64) for part in "xy")
    error = x[:, -1:] - y.reshape(len(y), -1, 7)
    assert found["trivial"]["mse"] == pytest.approx(np.mean(error**2), rel=1e-6)
    assert found["trivial"]["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-6)
    assert found["trivial"]["mse"] == pytest.approx(2, rel=0.01)  # mean of (sin a - sin b)^2, deviation 1
    assert found["strong"]["mse"] < 1e-3  # a daily wave is a linear function of the day before


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,TO", "no column 'OT'"),
        (5, "2016-07-01 03:00:00,1,2,3,,5,6,7", "no MULL"),
        (6, "2016-07-01 04:00:00,1,2,3,nan,5,6,7", "not finite"),
        (7, "2016-07-01 05:00:00,1,2,3,4,5,6,warm", "OT is not a number: 'warm'"),
        (8, "2016-07-01 06:00:00,1,2,3,4,5,6", "7 fields"),
        (9, "2016-07-01 06:00:00,1,2,3,4,5,6,7", "does not follow"),
        (9, "2016-07-01 08:00:00,1,2,3,4,5,6,7", "does not follow"),
        (10, "first of July,1,2,3,4,5,6,7", "not a time"),
        (13999, None, "ends after 13998 rows"),
        (2, "", "0 fields"),
    ],
)
def test_a_bad_line_of_etth1_is_named(line: int, text: str | None, message: str, raw: Raw, tmp_path: Path) -> None:
    lines = raw["etth1"].read_text().splitlines()
    lines = lines[:line] if text is None else [*lines[: line - 1], text, *lines[line:]]
    path = put(tmp_path / "bad.csv", *lines)
    with pytest.raises(DataError, match=message) as error:
        small("etth1").arrays({"etth1": path})
    assert error.value.where == f"{path}, line {line}"
    three_lines(error.value, "fetch it again")


def test_an_etth1_file_goes_in_as_it_was_prepared_and_comes_out_in_its_units(raw: Raw, tmp_path: Path) -> None:
    data = write("etth1", SMALL["etth1"] | {"horizon": 48}, raw, tmp_path)
    job, test = tasks.build("etth1", data.manifest.settings), data.split("test")
    lines = raw["etth1"].read_text().splitlines()
    item = str(put(tmp_path / "mine.csv", *lines[: 1 + 11520 + 100]))
    x = job.encode(item, data)
    assert x.shape == (24, 7) and x.dtype == np.float32
    np.testing.assert_allclose(x, test["x"][100], rtol=1e-5, atol=1e-6)
    header, *said = job.forecast(test["y"][100], item, data).splitlines()
    assert header == lines[0] and len(said) == 48
    for ours, theirs in zip(said, lines[1 + 11520 + 100 :], strict=False):
        assert ours.split(",")[0] == theirs.split(",")[0]
        np.testing.assert_allclose(
            [float(n) for n in ours.split(",")[1:]], [float(n) for n in theirs.split(",")[1:]], rtol=1e-4
        )


def test_an_etth1_file_that_cannot_be_read_is_an_input_error(raw: Raw, tmp_path: Path) -> None:
    data = write("etth1", SMALL["etth1"], raw, tmp_path)
    lines = raw["etth1"].read_text().splitlines()
    cases = {
        "short.csv": (lines[:24], "23 rows, 24 are needed"),
        "gap.csv": ([*lines[:30], *lines[31:60]], "line 31"),
        "empty.csv": (lines[:1], "no rows"),
    }
    for name, (content, says) in cases.items():
        item = str(put(tmp_path / name, *content))
        with pytest.raises(InputError) as error:
            small("etth1").encode(item, data)
        three_lines(error.value, item, says)
    with pytest.raises(InputError, match="missing"):
        small("etth1").encode(str(tmp_path / "none.csv"), data)


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("horizon", "published", "ours", "linear"),
    [
        (24, None, 1.222, 0.309),
        (48, None, 1.267, 0.341),
        (96, (1.295, 0.713), 1.294, 0.382),
        (168, None, 1.325, 0.421),
        (192, (1.325, 0.733), 1.325, 0.432),
        (336, (1.323, 0.744), 1.330, 0.475),
        (720, (1.339, 0.756), 1.335, 0.500),
    ],
)
def test_real_etth1_repeats_as_published(
    horizon: int, published: tuple[float, float] | None, ours: float, linear: float, real: Real, tmp_path: Path
) -> None:
    """Zeng et al. 2023, Table 2, "Repeat": without the windows of the last incomplete batch of 32."""
    job = tasks.build("etth1", {"horizon": horizon})
    data = write("etth1", {"horizon": horizon}, real("etth1"), tmp_path)
    x, y = (data.split("test")[part] for part in "xy")
    whole = len(x) // 32 * 32
    repeat = job.score(np.tile(x[:whole, -1], horizon), y[:whole], data.spec)
    if published:
        assert (round(repeat["mse"], 3), round(repeat["mae"], 3)) == published
    found = control("etth1", data)
    assert found["trivial"]["mse"] == pytest.approx(ours, abs=6e-4)
    assert found["strong"]["mse"] == pytest.approx(linear, abs=6e-4)


# ---------------------------------------------------------------- a person's own series


def days(first: str, count: int) -> list[str]:
    return [str((datetime.fromisoformat(first) + timedelta(n)).date()) for n in range(count)]


PLAIN = {"name": "p", "time": "t", "target": ["a"], "look_back": 2, "horizon": 2}
PLAIN |= {"valid_from": "2020-01-06", "test_from": "2020-01-09"}


def own(path: Path, **changes: Any) -> tasks.Base:
    return tasks.build("series", PLAIN | {"file": str(path)} | changes)


def arrays_of(job: tasks.Base) -> tuple[dict[str, Array], tuple[str, ...]]:
    (path,) = job.own_files()
    return job.arrays({str(path): path})


def ten_days(path: Path) -> Path:
    """a = 0, 1, 4, 9, ...; b = 1, 2, 4, ...; c is always 7."""
    lines = [f"{day},{n * n},{2**n},7" for n, day in enumerate(days("2020-01-01", 11))]
    return put(path, "t,a,b,c", *lines)


def test_series_by_hand(tmp_path: Path) -> None:
    job = own(ten_days(tmp_path / "a.csv"), inputs=["b", "a"])
    arrays, notes = arrays_of(job)
    a, b = np.arange(11.0) ** 2, 2 ** np.arange(11.0)
    a, b = (a - a[:5].mean()) / a[:5].std(), (b - b[:5].mean()) / b[:5].std()
    for split, starts in (("train", [2, 3]), ("valid", [5, 6]), ("test", [8, 9])):  # the first row forecast
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_allclose(x, [np.stack([b[n - 2 : n], a[n - 2 : n]], axis=1) for n in starts], rtol=1e-6)
        np.testing.assert_allclose(y, [a[n : n + 2] for n in starts], rtol=1e-6)
    assert notes == () and arrays["step"].tolist() == [86400 * 10**6]
    spec = job.spec(arrays)
    assert (spec.input_size, spec.output_size, spec.length) == (2, 2, 2)


def test_series_reads_its_targets_where_no_inputs_are_named(tmp_path: Path) -> None:
    path = ten_days(tmp_path / "a.csv")
    plain, _ = arrays_of(own(path, target=["b", "a"]))
    named, _ = arrays_of(own(path, target=["b", "a"], inputs=["b", "a"]))
    for name, array in named.items():
        np.testing.assert_array_equal(plain[name], array)
    assert plain["train.x"].shape == (2, 2, 2) and plain["train.y"].shape == (2, 4)
    np.testing.assert_array_equal(plain["valid.y"].reshape(2, 2, 2)[0, 0], plain["valid.x"][1, -1])


def test_stride_thins_training_windows_only(tmp_path: Path) -> None:
    path = ten_days(tmp_path / "a.csv")
    (every, _), (some, _) = (arrays_of(own(path, horizon=1, stride=stride)) for stride in (1, 2))
    np.testing.assert_array_equal(some["train.x"], every["train.x"][::2])
    np.testing.assert_array_equal(some["train.y"], every["train.y"][::2])
    assert len(every["train.x"]) == 3
    np.testing.assert_array_equal(some["test.x"], every["test.x"])


def test_series_knows_nothing_of_later_rows(tmp_path: Path) -> None:
    before = ten_days(tmp_path / "a.csv")
    lines = before.read_text().splitlines()
    after = put(tmp_path / "b.csv", *lines[:6], *(f"{line[:11]}1e6,1e6,7" for line in lines[6:]))
    (first, _), (second, _) = arrays_of(own(before)), arrays_of(own(after))
    for name in ("train.x", "train.y", "scale.mean", "scale.deviation"):
        np.testing.assert_array_equal(first[name], second[name])
    assert not np.array_equal(first["valid.y"], second["valid.y"])


def hourly(path: Path, *without: int, zone: str = "") -> Path:
    start = datetime(2020, 3, 29)
    lines = [f"{start + timedelta(hours=n)}{zone},{n},{n % 3}" for n in range(30) if n not in without]
    return put(path, "t,a,b", *lines)


HOURS = {"look_back": 3, "horizon": 1, "valid_from": "2020-03-29 12:00", "test_from": "2020-03-29 20:00"}


def test_a_gap_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    path = hourly(tmp_path / "a.csv", 5, 16)
    with pytest.raises(InputError) as error:
        arrays_of(own(path, **HOURS))
    three_lines(error.value, f"{path}, line 7", "06:00:00 comes 2:00:00 after", "not 1:00:00", "gaps: split")


def test_no_window_goes_over_a_gap_where_they_split(tmp_path: Path) -> None:
    arrays, notes = arrays_of(own(hourly(tmp_path / "a.csv", 5, 16), **HOURS, gaps="split"))
    mean, deviation = arrays["scale.mean"][0], arrays["scale.deviation"][0]
    hours = {
        split: np.round(
            np.concatenate([arrays[f"{split}.x"][:, :, 0], arrays[f"{split}.y"]], axis=1) * deviation + mean
        )
        for split in SPLITS
    }
    firsts = {split: found[:, 0].tolist() for split, found in hours.items()}
    assert firsts == {"train": [0, 1, 6, 7, 8], "valid": [9, 10, 11, 12], "test": [17, 18, *range(19, 27)]}
    assert all((np.diff(found, axis=1) == 1).all() for found in hours.values())
    assert notes == ("2 steps are not the usual one of 1:00:00: no window goes over them",)


def test_rows_are_steps_where_gaps_are_ignored(tmp_path: Path) -> None:
    arrays, notes = arrays_of(own(hourly(tmp_path / "a.csv", 5, 16), **HOURS, gaps="ignore"))
    assert [len(arrays[f"{split}.x"]) for split in SPLITS] == [11 - 3, 7, 10]
    assert notes == () and arrays["step"].tolist() == [0]


def test_a_clock_that_is_put_forward_is_no_gap_in_times_without_a_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the night to 2020-03-29 it was in Europe: the machine's own zone must not matter."""
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        arrays, _ = arrays_of(own(hourly(tmp_path / "a.csv"), **HOURS))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert len(arrays["train.x"]) == 9


def test_times_may_have_a_zone(tmp_path: Path) -> None:
    """A border without one is in that of the file; one with its own is the same moment."""
    zoned = hourly(tmp_path / "a.csv", zone="+02:00")
    plain, _ = arrays_of(own(hourly(tmp_path / "b.csv"), **HOURS))
    for borders in ({}, {"valid_from": "2020-03-29T10:00:00Z", "test_from": "2020-03-29T18:00:00+00:00"}):
        found, _ = arrays_of(own(zoned, **HOURS | borders))
        for name, array in plain.items():
            np.testing.assert_array_equal(found[name], array)
    with pytest.raises(InputError) as error:
        arrays_of(
            own(tmp_path / "b.csv", **HOURS | {"valid_from": "2020-03-29T10:00Z", "test_from": "2020-03-29T18:00Z"})
        )
    three_lines(error.value, "no time zone", "valid_from = 2020-03-29 10:00:00+00:00")


def test_a_column_that_does_not_change_in_training(tmp_path: Path) -> None:
    path = ten_days(tmp_path / "a.csv")
    arrays, notes = arrays_of(own(path, inputs=["a", "c"]))
    assert (arrays["train.x"][:, :, 1] == 0).all() and (arrays["test.x"][:, :, 1] == 0).all()
    assert notes == ("'c' does not change before valid_from: it tells nothing",)
    with pytest.raises(InputError) as error:
        arrays_of(own(path, target=["c"]))
    three_lines(error.value, "'c' does not change before valid_from", str(path))
    same = put(tmp_path / "b.csv", "t,a,b", *(f"{day},{n},0.11" for n, day in enumerate(days("2020-01-01", 11))))
    arrays, _ = arrays_of(own(same, inputs=["a", "b"]))  # whose deviation, as computed, is not 0
    assert np.abs(arrays["train.x"][:, :, 1]).max() < 1e-9


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"valid_from": "2019-01-01"}, "0 rows for train, 4 are needed for one window"),
        ({"valid_from": "2020-01-04"}, "3 rows for train, 4 are needed for one window"),
        ({"test_from": "2020-01-07"}, "1 rows for valid, 2 are needed for one window"),
        ({"test_from": "2020-01-11"}, "1 rows for test, 2 are needed for one window"),
        ({"test_from": "2021-01-01"}, "0 rows for test, 2 are needed for one window"),
        ({"horizon": 30}, "5 rows for train, 32 are needed for one window"),
    ],
)
def test_too_few_rows_are_counted(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = ten_days(tmp_path / "a.csv")
    with pytest.raises(InputError) as error:
        arrays_of(own(path, **changes))
    three_lines(error.value, says, f"{path}, valid_from = ", "test_from = ", "look_back")


def test_gaps_may_leave_no_window(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no 4 rows without a gap for valid") as error:
        arrays_of(own(hourly(tmp_path / "a.csv", 11, 13, 15, 17, 19), **HOURS, gaps="split"))
    three_lines(error.value, "smaller look_back")


GOOD = ["t,load,warmth", *(f"{day},{n},{n}.5" for n, day in enumerate(days("2020-01-01", 11)))]


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [
        (1, "t,laod,warmth", ["no column 'load'", "did you mean 'laod'?"]),
        (1, "time,load,warmth", ["no column 't'", "known: load, time, warmth"]),
        (1, "t,load,load", ["two columns 'load'"]),
        (3, "2020-01-02,,1.5", ["no load"]),
        (3, "2020-01-02,NA,1.5", ["load is not a number: 'NA'"]),
        (3, "2020-01-02,inf,1.5", ["load is not finite"]),
        (3, "2020-01-02,1,5,1.5", ["4 fields, not 3"]),
        (4, "02.01.2020,1,1.5", ["not a time: '02.01.2020'", "write it as 2017-07-01"]),
        (4, "1577923200,1,1.5", ["not a time: '1577923200'"]),
        (4, ",1,1.5", ["no time"]),
        (4, "2020-01-02,1,1.5", ["2020-01-02 00:00:00 stands twice", "sort the rows"]),
        (4, "2020-01-01,1,1.5", ["2020-01-01 00:00:00 comes after 2020-01-02 00:00:00"]),
        (4, "2020-01-03 00:00+00:00,1,1.5", ["only one has a time zone"]),
        (4, "2020-01-03 12:00,1,1.5", ["a gap"]),
    ],
)
def test_a_bad_line_of_a_series_is_named(line: int, text: str, says: list[str], tmp_path: Path) -> None:
    path = put(tmp_path / "bad.csv", *GOOD[: line - 1], text, *GOOD[line:])
    with pytest.raises(InputError) as error:
        arrays_of(own(path, target=["load"], inputs=["load", "warmth"]))
    three_lines(error.value, f"{path}, line {line}", *says)


def test_a_series_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows") as error:
        arrays_of(own(put(tmp_path / "a.csv", GOOD[0]), target=["load"]))
    three_lines(error.value, str(tmp_path / "a.csv"))


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def moments(count: int = 11) -> list[datetime]:
    return [datetime(2020, 1, 1) + timedelta(n) for n in range(count)]


def test_parquet_is_read_as_csv(tmp_path: Path) -> None:
    import pyarrow

    n = np.arange(11)
    plain, _ = arrays_of(own(ten_days(tmp_path / "a.csv"), inputs=["a", "b"]))
    kinds = {
        "times": {"t": moments(), "a": n * n, "b": 2.0**n},
        "days": {"t": [at.date() for at in moments()], "a": (n * n).astype(np.float32), "b": (2**n).astype(np.int16)},
        "texts": {"t": days("2020-01-01", 11), "a": [Decimal(k * k) for k in range(11)], "b": 2**n},
        "nanoseconds": {"t": pyarrow.array(moments(), "timestamp[ns]"), "a": n * n, "b": 2**n, "more": ["x"] * 11},
    }
    for name, columns in kinds.items():
        found, _ = arrays_of(own(parquet(tmp_path / f"{name}.parquet", columns), inputs=["a", "b"]))
        for key, array in plain.items():
            np.testing.assert_array_equal(found[key], array, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        ({"a": [0, 1, None, *range(8)]}, "row 3", "no a"),
        ({"a": [0, 1.0, float("nan"), *range(8)]}, "row 3", "a is not finite: nan"),
        ({"a": [str(n) for n in range(11)]}, "its schema", "'a' holds string, not numbers"),
        ({"a": [True] * 11}, "its schema", "'a' holds bool, not numbers"),
        ({"t": [*moments(10), None]}, "row 11", "no time"),
        ({"t": [*moments(10), moments(10)[9]]}, "row 11", "stands twice"),
        ({"t": [*moments(10), datetime(2020, 1, 20)]}, "row 11", "a gap"),
        ({"t": list(range(11))}, "row 1", "not a time"),
        ({"t": None, "tt": moments()}, "its schema", "did you mean 'tt'"),
    ],
)
def test_a_bad_row_of_parquet_is_named(changes: dict[str, Any], place: str, says: str, tmp_path: Path) -> None:
    columns = {"t": moments(), "a": list(range(11))} | changes
    path = parquet(tmp_path / "bad.parquet", {name: column for name, column in columns.items() if column is not None})
    with pytest.raises(InputError) as error:
        arrays_of(own(path))
    three_lines(error.value, f"{path}, {place}", says)


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "a.parquet", {"t": moments(), "a": list(range(11))}).read_bytes()
    for name, content in (("csv", b"t,a\n"), ("empty", b""), ("cut", whole[:-20]), ("torn", whole[:4] + whole[60:])):
        path = tmp_path / f"{name}.pq"
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            arrays_of(own(path))
        three_lines(error.value, str(path), "parquet")


def test_series_controls(raw: Raw, tmp_path: Path) -> None:
    data = write("series", SMALL["series"], raw, tmp_path)
    found = control("series", data)
    x, y = (data.split("test")[part].astype(np.float64) for part in "xy")
    assert found["trivial"]["mse"] == pytest.approx(np.mean((x[:, -1, :1] - y) ** 2))
    assert found["strong"]["mse"] < 0.01 * found["trivial"]["mse"]
    names = [one.name for one in small("series").controls(data)]
    assert names == ["repeat last value", "linear"]


def test_the_control_of_a_target_that_is_no_input_is_its_mean(raw: Raw, tmp_path: Path) -> None:
    data = write("series", SMALL["series"] | {"inputs": ["warmth"]}, raw, tmp_path)
    job = tasks.build("series", data.manifest.settings)
    trivial, linear = job.controls(data)
    y = data.split("test")["y"].astype(np.float64)
    assert trivial.name == "training mean" and trivial.metrics["mse"] == pytest.approx(np.mean(y**2))
    assert linear.metrics["mse"] < 0.01 * trivial.metrics["mse"]  # warmth is the load an hour later


def test_a_series_goes_in_as_it_was_prepared_and_comes_out_in_its_units(raw: Raw, tmp_path: Path) -> None:
    data = write("series", SMALL["series"], raw, tmp_path)
    job, test, lines = tasks.build("series", data.manifest.settings), data.split("test"), series_lines()
    first = 24 * 13 + 10  # of the rows that window 10 of test forecasts
    item = str(put(tmp_path / "mine.csv", *lines[: 1 + first]))
    np.testing.assert_array_equal(job.encode(item, data), test["x"][10])
    header, *said = job.forecast(test["y"][10], item, data).splitlines()
    assert header == "date,load"
    assert [line.split(",")[0] for line in said] == [line.split(",")[0] for line in lines[1 + first : 7 + first]]
    loads = [[float(line.split(",")[1]) for line in some] for some in (said, lines[1 + first : 7 + first])]
    np.testing.assert_allclose(loads[0], loads[1], rtol=1e-5)


def test_an_input_for_a_series_may_lack_what_is_only_forecast(raw: Raw, tmp_path: Path) -> None:
    data = write("series", SMALL["series"] | {"inputs": ["warmth"]}, raw, tmp_path)
    job = tasks.build("series", data.manifest.settings)
    lines = [line.split(",") for line in series_lines()]
    item = str(put(tmp_path / "mine.csv", *(f"{at},{warmth}" for at, _, warmth in lines[: 1 + 24 * 13])))
    np.testing.assert_array_equal(job.encode(item, data), data.split("test")["x"][0])
    assert job.forecast(np.zeros(6), item, data).startswith("date,load\n2017-01-14 00:00:00,")


def test_steps_are_counted_where_gaps_are_ignored(tmp_path: Path) -> None:
    path = ten_days(tmp_path / "a.csv")
    settings = PLAIN | {"file": str(path), "gaps": "ignore"}
    data = write("series", settings, {str(path): path}, tmp_path)
    job = tasks.build("series", data.manifest.settings)
    loose = str(put(tmp_path / "b.csv", "t,a", "2020-05-01,1", "2020-05-09,4"))
    mean, deviation = np.mean([0, 1, 4, 9, 16]), np.std([0, 1, 4, 9, 16])
    np.testing.assert_allclose(job.encode(loose, data), [[(1 - mean) / deviation], [(4 - mean) / deviation]], rtol=1e-6)
    assert job.forecast(np.array([0, 1]), loose, data) == f"steps_ahead,a\n1,{mean:.7g}\n2,{mean + deviation:.7g}\n"


def test_an_input_for_a_series_that_cannot_be_read_is_refused(raw: Raw, tmp_path: Path) -> None:
    data = write("series", SMALL["series"], raw, tmp_path)
    job, lines = tasks.build("series", data.manifest.settings), series_lines()
    cases = {
        "short.csv": (lines[:24], "23 rows, 24 are needed"),
        "gap.csv": ([lines[0], *lines[10:30], *lines[31:50]], "line 22"),
        "step.csv": ([lines[0], *lines[1:99:2]], "comes 2:00:00 after"),
        "column.csv": (["date,load,cold", *lines[1:50]], "no column 'warmth'"),
    }
    for name, (content, says) in cases.items():
        item = str(put(tmp_path / name, *content))
        with pytest.raises(InputError) as error:
            job.encode(item, data)
        three_lines(error.value, item, says)
    long_ago = str(put(tmp_path / "ago.csv", lines[0], *lines[1:10], *lines[20:60]))  # a gap before the look-back
    assert job.encode(long_ago, data).shape == (24, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "my-power"}, "match pattern"),
        ({"name": ""}, "at least 1"),
        ({"target": []}, "at least 1"),
        ({"target": ["a", "a"]}, "'a' stands twice"),
        ({"inputs": ["b", "a", "b"]}, "'b' stands twice"),
        ({"valid_from": 2017}, "not a day or time"),
        ({"valid_from": "20170701"}, "not a day or time"),
        ({"valid_from": "2017-13-01"}, "month must be in"),
        ({"test_from": "2020-01-06"}, "the test would begin before validation"),
        ({"test_from": "2020-01-09T00:00Z"}, "only one has a time zone"),
        ({"gaps": "fill"}, "'error', 'split' or 'ignore'"),
        ({"look_back": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_of_a_series_that_make_no_sense_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        own(Path("a.csv"), **changes)


def test_validation_comes_before_the_test(raw: Raw) -> None:
    for name, settings in (("stocks", {"valid_from": "2017-01-01"}), ("series", {"test_from": "2017-01-11"})):
        whole = SMALL["series"] if name == "series" else {}
        with pytest.raises(ValueError, match="the test would begin before validation"):
            tasks.build(name, whole | settings)


def test_names_of_columns_may_be_numbers() -> None:
    job = own(Path("a.csv"), target=[0, "OT"], inputs=[320], time=1, name=7)
    assert (job.settings.target, job.settings.inputs, job.settings.time, job.settings.name) == (
        ("0", "OT"),
        ("320",),
        "1",
        "7",
    )


def test_settings_of_a_series_survive_json() -> None:
    job = own(Path("a.csv"), valid_from="2020-01-06 12:00+02:00", test_from="2020-01-09T00:00:00Z")
    assert tasks.build("series", job.settings.plain()).settings == job.settings


def test_a_changed_file_is_prepared_again_and_a_missing_one_named(tmp_path: Path) -> None:
    path = ten_days(tmp_path / "a.csv")
    settings = own(path).settings.plain()
    first = prepare.prepare("series", settings, tmp_path / "data")
    folder = tmp_path / "data" / "prepared" / "series-p"
    assert first.sources.keys() == {str(path)} and Prepared(folder).manifest == first
    assert prepare.prepare("series", settings, tmp_path / "data") == first
    put(path, *(line.replace(",49,", ",50,") for line in path.read_text().splitlines()))
    assert prepare.prepare("series", settings, tmp_path / "data").digest != first.digest
    path.unlink()
    with pytest.raises(InputError) as error:
        prepare.prepare("series", settings, tmp_path / "data")
    three_lines(error.value, "the file is missing", str(path))
