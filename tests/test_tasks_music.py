"""The tasks of music: piano rolls, what is asked of them, their controls, their files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from small import Pieces, Raw, Real, chorales, control, mat, small, write

from seqbench import music
from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import UNSCORED
from seqbench.tasks import jsb
from seqbench.tasks._music import KEYS, pitches, roll, scored

NAMES = ("jsb", "nottingham")
TINY: Pieces = {
    "train": [[[21], [60, 64], [60, 108]], [[60], []]],
    "valid": [[[60], [62], [64]]],
    "test": [[[60], [60, 64], [], [64]]],
}


def files(pieces: Pieces, folder: Path) -> Raw:
    """Both raw files of these pieces."""
    paths = {"jsb-quarter": folder / "quarter.json", "nottingham": folder / "Nottingham.mat"}
    paths["jsb-quarter"].write_text(json.dumps(pieces))
    paths["nottingham"].write_bytes(mat(pieces))
    return paths


def prepared(name: str, pieces: Pieces, folder: Path) -> Prepared:
    return write(name, {}, files(pieces, folder), folder)


# ---------------------------------------------------------------- arrays


def test_a_roll_by_hand() -> None:
    keys = roll([[21, 60], [], [108]])
    assert keys.shape == (3, 88) and keys.dtype == np.uint8
    assert [np.flatnonzero(row).tolist() for row in keys] == [[0, 39], [], [87]]
    assert pitches(keys) == [[21, 60], [], [108]]


@pytest.mark.parametrize("name", NAMES)
def test_each_step_is_asked_for_the_notes_of_the_next(name: str, tmp_path: Path) -> None:
    arrays, _ = small(name).arrays(files(TINY, tmp_path))
    x, y, lengths = (arrays[f"train.{part}"] for part in ("x", "y", "lengths"))
    assert x.shape == y.shape == (2, 2, 88)
    assert (x.dtype, y.dtype, lengths.tolist()) == (np.uint8, np.int8, [2, 1])
    assert [np.flatnonzero(row).tolist() for row in x.reshape(4, 88)] == [[0], [39, 43], [39], []]
    assert [np.flatnonzero(row == 1).tolist() for row in y.reshape(4, 88)] == [[39, 43], [39, 87], [], []]
    assert (y[:, 0] >= 0).all() and (y[0, 1] >= 0).all() and (y[1, 1] == UNSCORED).all()
    assert small(name).spec(arrays).length == 3  # of test


@pytest.mark.parametrize("name", NAMES)
def test_arrays_keep_the_contract_of_many_labels(name: str, raw: Raw) -> None:
    arrays, _ = small(name).arrays(raw)
    for split, pieces in chorales().items():
        x, y, lengths = (arrays[f"{split}.{part}"] for part in ("x", "y", "lengths"))
        assert lengths.tolist() == [len(steps) - 1 for steps in pieces]
        asked = np.arange(x.shape[1]) < lengths[:, None]
        np.testing.assert_array_equal(y != UNSCORED, np.repeat(asked[..., None], 88, axis=2))
        assert not x[~asked].any() and set(np.unique(y)) == {-1, 0, 1}
        np.testing.assert_array_equal(x[:, 1:][asked[:, 1:]], y[:, :-1][asked[:, 1:]])


def test_both_formats_hold_the_same(raw: Raw) -> None:
    first, second = (small(name).arrays(raw)[0] for name in NAMES)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("name", NAMES)
def test_repeats_and_silence_are_kept_and_counted(name: str, tmp_path: Path) -> None:
    one, two = TINY["train"]
    pieces = {"train": [one, two, one, one], "valid": [two, [[60], [61]]], "test": [one, two, [[], []]]}
    arrays, notes = small(name).arrays(files(pieces, tmp_path))
    assert [len(arrays[f"{split}.x"]) for split in SPLITS] == [4, 2, 3]
    assert notes[0].startswith("5 steps without a note: kept")
    assert notes[1].startswith("2 repeats in train; 1 pieces of valid and 2 of test are also in train: kept")


# ---------------------------------------------------------------- scores and controls


def test_scores_by_hand(tmp_path: Path) -> None:
    data = prepared("jsb", TINY, tmp_path)
    y = data.split("test")["y"]  # keys 39 and 43, none, 43
    logits = np.full(y.shape, -1000.0)
    logits[0, :, 39] = math.log(3)  # said with 3/4 in all three steps
    logits[0, :, 43] = -math.log(3)  # 1/4
    found = small("jsb").score(scored(logits, y), y, data.spec)
    quarter, rest = -math.log(1 / 4), -math.log(3 / 4)
    steps = (rest + quarter, quarter + rest, quarter + quarter)
    assert found["nll"] == pytest.approx(sum(steps) / 3)
    # Said three times, asked for three times, both once.
    assert found["f1"] == pytest.approx(2 * 1 / (3 + 3))
    assert found["accuracy"] == pytest.approx(1 / 5)


def test_padding_is_not_scored(tmp_path: Path) -> None:
    alone = prepared("jsb", TINY, tmp_path)
    longer: Pieces = {**TINY, "test": [*TINY["test"], [[60], [61]]]}
    (tmp_path / "more").mkdir()
    beside = prepared("jsb", longer, tmp_path / "more")
    y, more = (data.split("test")["y"] for data in (alone, beside))
    logits = np.linspace(-3, 2, 88)
    scores = [scored(np.broadcast_to(logits, part.shape), part) for part in (y, more)]
    first = small("jsb").score(scores[0], y, alone.spec)["nll"]
    both = small("jsb").score(scores[1], more, beside.spec)["nll"]
    last = scores[1][1, 0, 0]
    assert both == pytest.approx((3 * first + last) / 4)


def test_the_trivial_control_by_hand(tmp_path: Path) -> None:
    found = control("jsb", prepared("jsb", TINY, tmp_path))["trivial"]
    # Train asks for keys 39 and 43, 39 and 87, none: chances (1 + times) / (2 + 3). Test asks for 39 and 43, none, 43.
    chances = {39: 3 / 5, 43: 2 / 5, 87: 2 / 5}
    rest = 85 * -math.log(1 - 1 / 5) - math.log(1 - chances[87])
    off = {key: -math.log(1 - chances[key]) for key in (39, 43)}
    on = {key: -math.log(chances[key]) for key in (39, 43)}
    expected = [on[39] + on[43], off[39] + off[43], off[39] + on[43]]
    assert found["nll"] == pytest.approx(np.mean(expected) + rest)
    assert found["f1"] == pytest.approx(2 * 1 / (3 + 3))  # 39 is said in each step


def test_the_strong_control_is_a_logistic_regression_of_each_key(raw: Raw, tmp_path: Path) -> None:
    data = write("jsb", {}, raw, tmp_path)
    train, test = data.split("train"), data.split("test")
    x, y = (train[part][train["y"][..., 0] != UNSCORED] for part in "xy")
    logits = np.empty(test["y"].shape)
    for key in range(KEYS):
        often = (1 + y[:, key].sum()) / (2 + len(y))
        logits[..., key] = math.log(often / (1 - often))
        if y[:, key].any():
            model = LogisticRegression(tol=1e-6, max_iter=10_000).fit(x, y[:, key])
            logits[..., key] = test["x"] @ model.coef_[0] + model.intercept_[0]
    expected = small("jsb").score(scored(logits, test["y"]), test["y"], data.spec)
    found = control("jsb", data)
    assert found["strong"]["nll"] == pytest.approx(expected["nll"], rel=1e-3)
    assert found["strong"]["nll"] < 0.9 * found["trivial"]["nll"]  # the next root is near


# ---------------------------------------------------------------- files


def damaged(change: Any) -> Any:
    pieces: Any = json.loads(json.dumps(TINY))
    change(pieces)
    return pieces


def put(step: Any) -> Any:
    return damaged(lambda pieces: pieces["valid"][0].__setitem__(2, step))


@pytest.mark.parametrize(
    ("content", "message", "place"),
    [
        (json.dumps(TINY, indent=0)[:-20], "not JSON", ", line "),
        (b"\xff{}", "not JSON", ""),
        ([], "lists train, valid, test", ""),
        ({"train": [], "valid": []}, "lists train, valid, test", ""),
        ({**TINY, "test": {}}, "lists train, valid, test", ""),
        ({**TINY, "test": []}, "no pieces", ", test"),
        ({**TINY, "valid": [TINY["valid"][0], [[60]]]}, "two steps", ", valid, piece 1"),
        ({**TINY, "valid": [60, 64]}, "two steps", ", valid, piece 0"),
        (put(60), "not a list of pitches: 60", ", valid, piece 0, step 2"),
        (put([60, 20]), "not a pitch of a piano: 20", ", valid, piece 0, step 2"),
        (put([109]), "not a pitch of a piano: 109", ", valid, piece 0, step 2"),
        (put([-1]), "not a pitch of a piano: -1", ", valid, piece 0, step 2"),
        (put([60.0]), r"not a pitch of a piano: 60\.0", ", valid, piece 0, step 2"),
        (put(["C4"]), "not a pitch of a piano: 'C4'", ", valid, piece 0, step 2"),
        (put([None]), "not a pitch of a piano: None", ", valid, piece 0, step 2"),
        (put([True]), "not a pitch of a piano: True", ", valid, piece 0, step 2"),
    ],
)
def test_a_bad_chorale_is_named(content: Any, message: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "quarter.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=message) as error:
        jsb.Task(jsb.Task.Settings()).arrays({"jsb-quarter": path})
    assert error.value.where.startswith(f"{path}{place}")
    assert "seqbench fetch" in error.value.fix


def rolls_with(piece: Any) -> dict[str, Array]:
    """What stands in the file: good rolls, and `piece` as the second of validation."""
    good = roll([[60], [62]])
    cells = {}
    for name in ("traindata", "validdata", "testdata"):
        cells[name] = np.empty((1, 2), object)
        cells[name][0, 0] = cells[name][0, 1] = good
    cells["validdata"][0, 1] = piece
    return cells


@pytest.mark.parametrize(
    "piece", [np.zeros((3, 87)), np.zeros((1, 88)), np.full((3, 88), 2), np.full((3, 88), 0.5), np.zeros(0), "abc"]
)
def test_a_bad_tune_is_named(piece: Any, tmp_path: Path) -> None:
    path = tmp_path / "Nottingham.mat"
    savemat(path, rolls_with(piece))
    with pytest.raises(DataError, match="88 zeros and ones") as error:
        small("nottingham").arrays({"nottingham": path})
    assert error.value.where == f"{path}, validdata, piece 1"
    assert "seqbench fetch" in error.value.fix


def test_a_file_without_tunes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Nottingham.mat"
    cells = rolls_with(roll([[60], [62]]))
    del cells["testdata"]
    for content in (cells, {**cells, "testdata": np.empty((1, 0), object)}):
        savemat(path, content)
        with pytest.raises(DataError, match="no pieces") as error:
            small("nottingham").arrays({"nottingham": path})
        assert error.value.where == f"{path}, testdata"


@pytest.mark.filterwarnings("ignore::UserWarning")  # scipy's, of a variable that stands twice
def test_what_is_no_whole_matlab_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Nottingham.mat"
    whole = mat(chorales())
    for content in (b"", b"<html>" * 100, whole[:-100], whole[:200], whole[:150] + bytes(50) + whole[200:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not a whole MATLAB file \(.+\)|no pieces") as error:
            small("nottingham").arrays({"nottingham": path})
        assert error.value.where.startswith(str(path))


# ---------------------------------------------------------------- what people give and get


@pytest.mark.parametrize(("name", "raised"), [("jsb", 12), ("nottingham", 0)])
def test_a_midi_file_is_read_as_the_data_are(name: str, raised: int, tmp_path: Path) -> None:
    task, data = small(name), prepared(name, TINY, tmp_path)
    steps = [[48, 60, 64, 67], [48, 60, 64, 67], [], [47, 62, 65, 67]]
    path = tmp_path / "a.mid"
    path.write_bytes(music.midi(steps, task.SECONDS))
    keys = task.encode(str(path), data)
    assert keys.dtype == np.uint8 and keys.shape == (4, KEYS)
    assert pitches(keys) == [[pitch + raised for pitch in step] for step in steps]
    assert music.from_text(task.decode(keys, data)) == steps


def test_steps_are_quarters_or_eighths(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(music.midi([[60], [62]], 0.5))  # two quarter notes
    data = prepared("jsb", TINY, tmp_path)
    assert [len(small(name).encode(str(path), data)) for name in NAMES] == [2, 4]


def test_notes_that_the_data_cannot_hold_are_input_errors(tmp_path: Path) -> None:
    data, path = prepared("jsb", TINY, tmp_path), tmp_path / "a.mid"
    path.write_bytes(music.midi([[96], [97]], 0.5))
    with pytest.raises(InputError, match=r"pitch 97 is not among .*, 9 to 96") as error:
        small("jsb").encode(str(path), data)
    assert error.value.where == f"{path}, quarter note 2.00"
    assert len(small("nottingham").encode(str(path), data)) == 4
    with pytest.raises(InputError, match="missing"):
        small("jsb").encode(str(tmp_path / "no.mid"), data)


def test_any_drawn_roll_can_be_said(tmp_path: Path) -> None:
    data = prepared("jsb", TINY, tmp_path)
    keys = np.ones((2, KEYS), np.uint8)
    steps = music.from_text(small("jsb").decode(keys, data))
    assert steps == [list(range(9, 97))] * 2
    assert music.midi(steps, 0.5) and music.sound(steps, 0.5)


# ---------------------------------------------------------------- the real files


@pytest.mark.mirror
def test_real_chorales(real: Real, tmp_path: Path) -> None:
    data = write("jsb", {}, real("jsb"), tmp_path)
    assert data.manifest.sizes == {"train": 229, "valid": 76, "test": 77}
    assert [int(data.split(split)["lengths"].sum()) for split in SPLITS] == [13_578, 4_526, 4_648]
    keys = np.concatenate([data.split(split)["x"].any(axis=(0, 1))[None] for split in SPLITS]).any(axis=0)
    assert (np.flatnonzero(keys)[[0, -1]] + 21).tolist() == [43, 96]
    assert data.manifest.defects[0].startswith("64 steps without a note")
    assert data.manifest.defects[1].startswith("0 repeats in train; 0 pieces of valid and 0 of test")
    found = control("jsb", data)
    assert found["trivial"]["nll"] == pytest.approx(11.092, abs=1e-3)
    assert found["strong"]["nll"] == pytest.approx(9.034, abs=0.01)


@pytest.mark.mirror
def test_real_tunes(real: Real, tmp_path: Path) -> None:
    data = write("nottingham", {}, real("nottingham"), tmp_path)
    assert data.manifest.sizes == {"train": 694, "valid": 173, "test": 170}
    assert [int(data.split(split)["lengths"].sum()) for split in SPLITS] == [175_867, 45_340, 44_293]
    assert data.spec.length == 1792
    assert data.manifest.defects[0].startswith("557 steps without a note")
    assert data.manifest.defects[1].startswith("1 repeats in train; 1 pieces of valid and 1 of test")
    found = control("nottingham", data)
    assert found["trivial"]["nll"] == pytest.approx(10.261, abs=1e-3)
    assert found["strong"]["nll"] == pytest.approx(4.558, abs=0.01)
