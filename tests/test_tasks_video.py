"""SCFD and UCF101: clips brought to one form, splits that keep groups whole, weights of a ResNet-18."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file
from small import SMALL, Raw, action_clips, action_lists, control, fight_clips, film, packed, small, tone, write

from seqbench import tasks
from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, unpack
from seqbench.tasks import _pretrained as pretrained
from seqbench.tasks import _video as video
from seqbench.tasks import scfd, ucf101
from seqbench.tasks._common import scratch


def grey(level: float, height: int = 48, width: int = 64) -> Array:
    return np.full((height, width, 3), round(level), np.uint8)


def decoded(content: bytes, **settings: Any) -> Array:
    wanted = {"size": 16, "colour": False} | settings
    return video.decode(io.BytesIO(content), video.VideoSettings.from_data(wanted)).frames


# ---------------------------------------------------------------- one clip


@pytest.mark.parametrize("rate", [10, 12, 15, 20, 25, 30])
@pytest.mark.parametrize("kind", ["mp4", "avi"])
def test_clips_of_any_rate_come_out_alike(rate: int, kind: str) -> None:
    """Grey level 100 a second, for 2 s: the middle 1.5 s at 8 a second begin at the tick after 0.25 s."""
    found = decoded(film([grey(20 + 100 * n / rate) for n in range(2 * rate)], rate, kind))
    assert found.shape == (12, 1, 16, 16) and found.dtype == np.uint8
    late = np.arange(2, 14) / 8 - (found.mean(axis=(1, 2, 3)) - 20) / 100
    assert late.min() > -0.04 and late.max() < 1 / rate + 0.04  # 0.04 s are four levels: the codec


def test_the_frame_on_the_screen_is_taken_by_hand() -> None:
    """10 frames a second seen at 4: ticks at 0, 0.25, ... 1.75 s."""
    found = decoded(film([grey(20 + 10 * n) for n in range(20)], 10), rate=4.0, seconds=9.0)
    numbers = (found.mean(axis=(1, 2, 3)) - 20) / 10
    assert numbers.round().tolist() == [0, 2, 5, 7, 10, 12, 15, 17]


def test_a_short_clip_has_fewer_frames() -> None:
    assert len(decoded(film([grey(9)] * 25, 25))) == 8
    assert len(decoded(film([grey(9)] * 25, 25), seconds=0.5)) == 4


@pytest.mark.parametrize(("height", "width"), [(48, 64), (90, 160), (64, 48)])
def test_the_whole_frame_is_squeezed(height: int, width: int) -> None:
    picture = grey(0, height, width)
    picture[: height // 2, width // 2 :] = 255  # right above
    found = decoded(film([picture] * 50, 25))[5, 0].astype(int)
    assert (found[1:7, 9:15] > 240).all()
    for rows, columns in ((slice(9, 15), slice(1, 15)), (slice(1, 7), slice(1, 7))):
        assert (found[rows, columns] < 15).all()


def test_colours_in_their_order() -> None:
    red = np.broadcast_to(np.array([250, 40, 10], np.uint8), (48, 64, 3))
    found = decoded(film([red] * 50, 25), colour=True)
    assert found.shape == (12, 3, 16, 16)
    np.testing.assert_allclose(found.mean(axis=(0, 2, 3)), [250, 40, 10], atol=6)


def test_the_same_bytes_again() -> None:
    content = fight_clips()["fight/fi003.mp4"]
    np.testing.assert_array_equal(decoded(content), decoded(content))


def test_the_background_removed_by_hand() -> None:
    frames = np.array([10, 10, 40], np.uint8).reshape(3, 1, 1, 1)
    assert video.apart(frames).ravel().tolist() == [123, 123, 138]  # mean 20: 128 - 5, 128 + 10
    assert video.apart(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)).ravel().tolist() == [64, 192]  # 191.75 up
    random = np.random.default_rng(1).integers(256, size=(12, 3, 9, 9)).astype(np.uint8)
    expected = 128 + (random - random.mean(axis=0)) / 2
    assert np.abs(video.apart(random) - expected).max() <= 0.5 + 1e-9


def test_a_place_without_motion_is_plain_grey() -> None:
    picture = np.random.default_rng(1).integers(256, size=(48, 64, 3)).astype(np.uint8)
    found = decoded(film([picture] * 50, 25), background="removed")
    assert np.abs(found.astype(int) - 128).max() <= 6
    assert decoded(film([picture] * 50, 25)).std() > 10


def sound() -> bytes:
    return tone(0, 1.0, 8000, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be decoded"),
        (b"<html>not found</html>", "cannot be decoded"),
        (film([grey(n) for n in range(50)], 25)[:-300], "cannot be decoded"),
        (sound(), "no video in it"),
        (film([grey(9)] * 3, 25), "1 frames at 8 a second, 2 are needed"),
    ],
)
def test_what_is_no_clip_is_said(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoded(content)


def test_a_film_is_refused_before_it_fills_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "LONGEST", 1)
    with pytest.raises(ValueError, match="over 1 seconds"):
        decoded(film([grey(9)] * 50, 25))


def noise(frames: int) -> bytes:
    random = np.random.default_rng(2)
    return film([random.integers(256, size=(48, 64, 3)).astype(np.uint8) for _ in range(frames)], 25, "avi")


def cut(content: bytes) -> bytes:
    """Three quarters of a clip: the last frame of it is there in part."""
    return content[: len(content) * 3 // 4]


def test_damaged_frames_are_counted() -> None:
    settings = video.VideoSettings.from_data({"size": 16})
    whole = noise(50)
    assert video.decode(io.BytesIO(whole), settings).damaged == 0
    assert video.decode(io.BytesIO(cut(whole)), settings).damaged == 1


# ---------------------------------------------------------------- SCFD


def row(scene: int, label: int, number: int = 1) -> scfd.Row:
    return scfd.Row(Path("a.zip"), f"{label}/{number}", label, number, str(scene), (50.0, 25.0, 64.0, 48.0))


def drawn(seed: int) -> list[scfd.Row]:
    """Scene groups of 1 to 7 clips, one in ten with both classes."""
    random, rows = np.random.default_rng(seed), list[scfd.Row]()
    for scene in range(120):
        label, both = int(random.integers(2)), random.random() < 0.1
        rows += [
            row(scene, int(random.integers(2)) if both else label) for _ in range(random.choice([1, 1, 1, 1, 2, 7]))
        ]
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_no_scene_is_in_two_splits(seed: int) -> None:
    rows = drawn(seed)
    where = scfd.split(rows, seed)
    scenes = [{one.scene for one, here in zip(rows, where, strict=True) if here == part} for part in SPLITS]
    assert not (scenes[0] & scenes[1] or scenes[0] & scenes[2] or scenes[1] & scenes[2])
    assert sum(map(len, scenes)) == len({one.scene for one in rows})
    for label in (0, 1):
        counts = Counter(here for one, here in zip(rows, where, strict=True) if one.label == label)
        shares = [counts[part] / sum(counts.values()) for part in SPLITS]
        np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.06)


def test_the_split_by_hand() -> None:
    """Largest groups first, each to the split that lacks most clips of its kind: 6, 2 and 2 of these ten."""
    rows = [row(0, 0)] * 5 + [row(1, 0)] * 2 + [row(2, 0)] * 2 + [row(3, 0)]
    assert scfd.split(rows, 0)[0] == "train"
    assert sorted([scfd.split(rows, 0)[5], scfd.split(rows, 0)[7]]) == ["test", "valid"]
    assert scfd.split(rows, 0)[9] == "train"
    assert {scfd.split(rows, seed)[5] for seed in range(9)} == {"test", "valid"}


def test_scfd_reads_what_the_table_says(raw: Raw) -> None:
    arrays, notes = small("scfd").arrays(raw)
    rows = scfd.table(raw["scfd"])
    assert len(rows) == 16 and sum(one.label for one in rows) == 8
    assert rows[0].form == (43.0, 25.0, 64.0, 48.0)  # 1.7 s
    where = scfd.split(rows, 0)
    with zipfile.ZipFile(raw["scfd"]) as archive:
        for part in SPLITS:
            own = [one for one, here in zip(rows, where, strict=True) if here == part]
            assert arrays[f"{part}.y"].tolist() == [int(one.path.startswith("fight/")) for one in own]
            np.testing.assert_array_equal(arrays[f"{part}.form"], [one.form for one in own])
            for x, one in zip(arrays[f"{part}.x"], own, strict=True):
                np.testing.assert_array_equal(x, decoded(archive.read(one.path), background="removed"))
    assert "16 clips of 14 scene groups" in notes[1]
    counts = [sum(int(word) for word in note.split(": ")[1].split() if word.isdigit()) for note in notes[2:5]]
    assert sum(counts) == 16 + 14
    assert "0 clips have fewer than 12 frames" in notes[5]


def test_lengths_are_there_only_where_they_differ(raw: Raw) -> None:
    assert "train.lengths" not in small("scfd").arrays(raw)[0]
    arrays, notes = small("scfd", seconds=1.75).arrays(raw)
    lengths = np.concatenate([arrays[f"{part}.lengths"] for part in SPLITS])
    assert sorted(set(lengths)) == [13, 14] and f"{(lengths < 14).sum()} clips have fewer" in notes[5]
    assert all((x[length:] == 0).all() for x, length in zip(arrays["train.x"], arrays["train.lengths"], strict=True))


def test_fewer_clips_are_the_first_of_each_class(raw: Raw) -> None:
    arrays, _ = small("scfd", clips=5).arrays(raw)
    assert sum(len(arrays[f"{part}.y"]) for part in SPLITS) == 10
    assert tasks.build("scfd", {"clips": 130}).sources() == ("scfd",)
    assert tasks.build("scfd", {"clips": 131}).sources() == ("scfd", "scfd-rest")


def test_scfd_pixels_are_scaled_by_train_alone(raw: Raw) -> None:
    job = small("scfd", seconds=1.75)
    arrays, _ = job.arrays(raw)
    spec = job.spec(arrays)
    real = np.concatenate([x[:n].ravel() for x, n in zip(arrays["train.x"], arrays["train.lengths"], strict=True)])
    assert spec.shift == pytest.approx(real.mean()) and spec.scale == pytest.approx(real.std())
    assert (spec.length, spec.frame, spec.input_size) == (14, (1, 16, 16), 256)


def test_scfd_controls(raw: Raw, tmp_path: Path) -> None:
    data = write("scfd", SMALL["scfd"] | {"background": "kept"}, raw, tmp_path)
    job = tasks.build("scfd", data.manifest.settings)
    found = {one.name: one.metrics["accuracy"] for one in job.controls(data)}
    linear = "logistic regression on the"
    names = ["motion", "mean picture", "form of the file"]
    assert [*found] == ["majority class", *(f"{linear} {name}" for name in names)]
    assert found["majority class"] <= 0.75
    assert found[f"{linear} motion"] == 1  # fights move twenty times as fast
    assert found[f"{linear} form of the file"] == 1  # and their files give them away
    removed = write("scfd", SMALL["scfd"], raw, tmp_path / "removed")
    names = [one.name for one in tasks.build("scfd", removed.manifest.settings).controls(removed)]
    assert f"{linear} mean picture" not in names
    assert control("scfd", removed)["strong"]["accuracy"] == 1


def test_motion_and_picture_by_hand() -> None:
    clip = np.zeros((1, 3, 1, 8, 8), np.uint8)
    clip[0, 1, 0, :4], clip[0, 2] = 255, 255  # half of it turns white, then all
    split = {"x": clip}
    np.testing.assert_allclose(video._motion(split, 0), [0.5, 0.5, 0.0, 0.0, 0.5])
    picture = video._picture(split, 0).reshape(8, 8)
    np.testing.assert_allclose(picture, np.repeat([[2 / 3]] * 4 + [[1 / 3]] * 4, 8, axis=1))


@pytest.mark.parametrize("size", [16, 21, 32])
def test_cells_of_a_picture_are_means(size: int) -> None:
    clip = np.random.default_rng(3).integers(256, size=(1, 4, 2, size, size)).astype(np.uint8)
    edges = [np.flatnonzero(np.arange(size) * 8 // size == cell) for cell in range(8)]
    expected = [clip[0, :, c][:, a][:, :, b].mean() / 255 for c in range(2) for a in edges for b in edges]
    np.testing.assert_allclose(video._picture({"x": clip}, 0), expected)


def test_a_persons_clip_is_read_as_the_data_were(raw: Raw, tmp_path: Path) -> None:
    data = write("scfd", SMALL["scfd"], raw, tmp_path)
    job, rows = small("scfd"), scfd.table(raw["scfd"])
    of_test = [one for one, here in zip(rows, scfd.split(rows, 0), strict=True) if here == "test"]
    path = tmp_path / "own.mp4"
    path.write_bytes(zipfile.ZipFile(raw["scfd"]).read(of_test[1].path))
    np.testing.assert_array_equal(job.encode(str(path), data), data.split("test")["x"][1])
    assert job.labels(data) == ("no fight", "fight")
    path.write_bytes(cut(noise(50)))
    with pytest.raises(InputError, match="1 frames are damaged") as error:
        job.encode(str(path), data)
    assert error.value.where == str(path) and error.value.fix
    for name, message in (("nothing.mp4", "missing"), ("own.txt", "cannot be decoded")):
        (tmp_path / "own.txt").write_text("not a clip")
        with pytest.raises(InputError, match=message) as error:
            job.encode(str(tmp_path / name), data)
        assert error.value.where == str(tmp_path / name) and error.value.fix


def without(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.pop(name)


def table_with(line: str) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.update({"members.csv": files["members.csv"] + line.encode()})


@pytest.mark.parametrize(
    ("damage", "message", "place"),
    [
        (without("members.csv"), "table of members is missing", "members.csv"),
        (without("fight/fi004.mp4"), "missing", "members.csv, line 5: fight/fi004.mp4"),
        (table_with("dance/fi009.mp4,-,1,3,1,1,1,1\n"), "no such name", "members.csv, line 18: dance/fi009.mp4"),
        (lambda files: files.update({"fight/fi004.mp4": b"no"}), "cannot be decoded", "fight/fi004.mp4"),
        (lambda files: files.update({"fight/fi004.mp4": cut(noise(50))}), "1 frames are damaged", "fight/fi004.mp4"),
    ],
)
def test_a_bad_scfd_archive_is_named(
    damage: Callable[[dict[str, bytes]], object], message: str, place: str, tmp_path: Path
) -> None:
    files = fight_clips()
    damage(files)
    path = tmp_path / "scfd.zip"
    path.write_bytes(packed(files))
    with pytest.raises(DataError, match=message) as error:
        small("scfd").arrays({"scfd": path})
    assert error.value.where == f"{path}, {place}" and "fetch" in error.value.fix


def test_a_split_without_a_scene_is_an_input_error(tmp_path: Path) -> None:
    files = fight_clips()
    lines = files["members.csv"].decode().splitlines()
    one = [lines[0], *(",".join([*line.split(",")[:3], "0", *line.split(",")[4:]]) for line in lines[1:])]
    path = tmp_path / "scfd.zip"
    path.write_bytes(packed(files | {"members.csv": "\n".join(one).encode()}))
    with pytest.raises(InputError, match="no scene group is left for the valid split"):
        small("scfd").arrays({"scfd": path})


# ---------------------------------------------------------------- UCF101


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_ucf101_keeps_groups_whole(fold: int, raw: Raw) -> None:
    labels, names = ucf101.read_lists(raw["ucf101-splits"], fold)
    assert labels == ["Archery", "HandstandPushups", "YoYo"]
    groups = {part: {(name.split("_")[1], int(name.split("_")[2][1:])) for name in names[part]} for part in SPLITS}
    assert {number for _, number in groups["test"]} == {2 * fold - 1, 2 * fold}
    left = sorted({1, 2, 3, 4, 5, 6, 7, 8} - {2 * fold - 1, 2 * fold})
    assert {number for _, number in groups["valid"]} == set(left[:3])
    assert {number for _, number in groups["train"]} == set(left[3:])
    assert {part: len(names[part]) for part in SPLITS} == {"train": 9, "valid": 9, "test": 6}


def test_ucf101_reads_the_right_clips(raw: Raw, tmp_path: Path) -> None:
    arrays, notes = small("ucf101").arrays(raw)
    _, names = ucf101.read_lists(raw["ucf101-splits"], 1)
    with zipfile.ZipFile(raw["ucf101"]) as archive:
        for part in SPLITS:
            for x, y, name in zip(arrays[f"{part}.x"], arrays[f"{part}.y"], names[part], strict=True):
                clip = decoded(archive.read(f"UCF101/{name}"), colour=True, rate=4.0, seconds=1.0)
                np.testing.assert_array_equal(x[: len(clip)], clip)
                assert ["Archery", "HandStandPushups", "YoYo"][y] == name.split("_")[1]
    assert isinstance(arrays["train.x"], np.memmap)
    assert unpack(arrays["labels"]) == ["Archery", "HandstandPushups", "YoYo"]
    assert notes[1].startswith("0 clips hold frames")
    data = write("ucf101", SMALL["ucf101"], raw, tmp_path)
    assert data.spec.output_size == 3 and not data.spec.causal
    assert small("ucf101").labels(data)[1] == "HandstandPushups"
    assert tasks.task_id("ucf101", {"fold": 2}) == "ucf101-2"


def test_ucf101_counts_damaged_clips(raw: Raw, tmp_path: Path) -> None:
    files = action_clips()
    files["UCF101/v_YoYo_g05_c01.avi"] = cut(noise(50))
    path = tmp_path / "ucf101.zip"
    path.write_bytes(packed(files))
    _, notes = small("ucf101").arrays({**raw, "ucf101": path})
    assert notes[1].startswith("1 clips hold frames that the decoder could only mend")


@pytest.mark.parametrize(
    ("damage", "message", "place"),
    [
        (without("UCF101/v_YoYo_g01_c01.avi"), "missing", "v_YoYo_g01_c01.avi"),
        (lambda files: files.update({"UCF101/v_YoYo_g01_c01.avi": b"RIFF"}), "cannot be decoded", "v_YoYo_g01_c01.avi"),
    ],
)
def test_a_bad_ucf101_clip_is_named(
    damage: Callable[[dict[str, bytes]], object], message: str, place: str, raw: Raw, tmp_path: Path
) -> None:
    files = action_clips()
    damage(files)
    path = tmp_path / "ucf101.zip"
    path.write_bytes(packed(files))
    with pytest.raises(DataError, match=message) as error:
        small("ucf101").arrays({**raw, "ucf101": path})
    assert error.value.where == f"{path}, {place}"


@pytest.mark.parametrize(
    ("name", "content", "message", "place"),
    [
        ("classInd.txt", None, "a list is missing", "classInd.txt"),
        ("testlist01.txt", b"YoYo/v_YoYo_g01.avi\n", "not a clip", "testlist01.txt, line 1"),
        ("trainlist01.txt", b"\nYoYo/v_YoYo_g01_c01.avi 3\nX/v_X_g01_c01.avi 4\n", "v_X_", "trainlist01.txt, line 2"),
    ],
)
def test_a_bad_ucf101_list_is_named(name: str, content: bytes | None, message: str, place: str, tmp_path: Path) -> None:
    files: dict[str, bytes] = dict(action_lists())
    if content is None:
        del files[f"ucfTrainTestlist/{name}"]
    else:
        files[f"ucfTrainTestlist/{name}"] = content
    path = tmp_path / "lists.zip"
    path.write_bytes(packed(files))
    with pytest.raises(DataError, match=message) as error:
        ucf101.read_lists(path, 1)
    assert error.value.where == f"{path}, {place}"


def test_pictures_on_disk_do_not_fill_memory() -> None:
    def resident() -> int:
        found: int = psutil.Process().memory_info().rss
        return found

    before, x = resident(), scratch((300, 1 << 20), np.uint8)
    for number, part in enumerate(x):
        part[:] = number % 251 + 1
        video.release(x)
    assert resident() - before < 100 << 20
    assert [int(part[7]) for part in x[::50]] == [number % 251 + 1 for number in range(0, 300, 50)]
    video.release(np.zeros(3))  # nothing to let go of


# ---------------------------------------------------------------- pretrained encoders


def usual(changes: Mapping[str, Array | None] | None = None) -> dict[str, Array]:
    """Random weights under the usual names, with what the file also holds: a classifier, and counts of batches."""
    random = np.random.default_rng(4)
    made: dict[str, Array] = {
        name: random.uniform(0.5, 1, size=shape).astype(np.float32) / 10 for name, shape in pretrained.shapes(3).items()
    }
    counts = {name.replace("running_var", "num_batches_tracked"): np.array(7) for name in made if "running_var" in name}
    made |= {**counts, "fc.weight": np.zeros((1000, 512), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    return {name: values for name, values in (made | (changes or {})).items() if values is not None}


def test_weights_become_prepared_arrays(raw: Raw, tmp_path: Path) -> None:
    import torch

    from seqbench import archs, model

    path, weights = tmp_path / "resnet18.safetensors", usual()
    save_file(weights, path)
    settings = SMALL["scfd"] | {"colour": True, "encoder": "resnet18", "weights": str(path)}
    assert tasks.build("scfd", settings).own_files() == (path,)
    data = write("scfd", settings, {**raw, str(path): path}, tmp_path)
    held = {name for name in data.manifest.arrays if name.startswith("frontend.")}
    assert held == {f"frontend.{name}" for name in pretrained.shapes(3)}
    net = model.build(data.spec, "gru", archs.defaults("gru"), 8, seed=1)
    model.load_pretrained(net, data)
    assert net.frontend.frames is not None
    for name, values in net.frontend.frames.encoder.state_dict().items():
        np.testing.assert_array_equal(values.numpy(), weights[name])
    assert torch.isfinite(net(torch.from_numpy(np.array(data.split("valid")["x"])))).all()


def test_pixels_are_those_of_imagenet_where_pictures_are_natural(raw: Raw, tmp_path: Path) -> None:
    path = tmp_path / "resnet18.safetensors"
    save_file(usual(), path)
    settings = {"colour": True, "encoder": "resnet18", "weights": str(path)}
    scales = {}
    for background in ("kept", "removed"):
        job = small("scfd", background=background, **settings)
        scales[background] = job.spec(job.arrays(raw)[0]).scale
    assert scales["kept"] == pytest.approx(57.63) and scales["removed"] < 57


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer3.0.downsample.1.running_var": None}, "no 'layer3.0.downsample.1.running_var'"),
        ({"conv1.weight": np.zeros((64, 1, 7, 7), np.float32)}, "'conv1.weight' is \\(64, 1, 7, 7\\), not \\(64, 3"),
        ({"layer1.0.bn1.bias": np.full(64, np.nan, np.float32)}, "'layer1.0.bn1.bias' is not finite"),
    ],
)
def test_odd_weights_are_named(changes: Mapping[str, Array | None], message: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(usual(changes), path)
    with pytest.raises(InputError, match=message) as error:
        pretrained.resnet18(path, 3)
    assert error.value.where == str(path) and error.value.fix


def test_weights_that_cannot_be_used_are_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="missing"):
        pretrained.resnet18(path, 3)
    path.write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(InputError, match="not a safetensors file") as error:
        pretrained.resnet18(path, 3)
    assert "pickles" in error.value.fix
    with pytest.raises(InputError, match="weights are for a ResNet-18") as error:
        small("scfd", weights=str(path)).weights()
    assert error.value.where == f"weights = {path}"


# ---------------------------------------------------------------- the real clips


@pytest.fixture
def real_scfd(mirror: str, downloads: Path) -> Raw:
    from seqbench import fetch, sources

    source = sources.read()["scfd"]
    fetch.fetch([source], downloads, mirror, progress=None)
    return {"scfd": sources.raw_file(source, downloads)}


@pytest.mark.mirror
def test_real_scfd(real_scfd: Raw, tmp_path: Path) -> None:
    settings = {"clips": 130, "size": 32, "colour": False}
    data = write("scfd", settings, real_scfd, tmp_path)
    assert data.manifest.sizes == {"train": 157, "valid": 52, "test": 51}
    assert "260 clips of 198 scene groups" in data.manifest.defects[1]
    assert "lengths" not in data.split("train")  # all have their 1.5 s, so their number tells nothing
    assert not (data.split("valid")["x"] == 0).all(axis=(2, 3, 4)).any()
    controls = tasks.build("scfd", settings).controls(data)
    found = {one.name.removeprefix("logistic regression on the "): one.metrics for one in controls}
    assert found["majority class"]["accuracy"] == pytest.approx(24 / 51)
    assert 0.6 < found["motion"]["accuracy"] < 0.9
    assert found["form of the file"]["accuracy"] < 0.65


@pytest.mark.mirror
def test_ucf101_of_real_clips(real_scfd: Raw, raw: Raw, tmp_path: Path) -> None:
    """Clips of SCFD, as MPEG-4 in avi of 320 x 240 under the names of UCF101, come out as they were."""
    import av

    rows = scfd.table(real_scfd["scfd"])[::7][:24]
    with zipfile.ZipFile(real_scfd["scfd"]) as archive:
        contents = [archive.read(one.path) for one in rows]
    made = {}
    for name, content in zip(action_clips(), contents, strict=True):
        with av.open(io.BytesIO(content)) as file:
            rate = round(float(file.streams.video[0].average_rate or 25))
            pictures = [frame.to_ndarray(format="rgb24", width=320, height=240) for frame in file.decode(video=0)]
        made[name] = film(pictures, rate, "avi")
    path = tmp_path / "ucf101.zip"
    path.write_bytes(packed(made))
    arrays, notes = small("ucf101", seconds=1.5, size=32).arrays({**raw, "ucf101": path})
    assert notes[1].startswith("0 clips hold") and notes[2].startswith("0 clips have fewer than 6")
    _, names = ucf101.read_lists(raw["ucf101-splits"], 1)
    originals = dict(zip((name.split("/")[1] for name in action_clips()), contents, strict=True))
    for x, name in zip(arrays["test.x"], names["test"], strict=True):
        original = decoded(originals[name], colour=True, rate=4.0, size=32)
        assert np.abs(x.astype(int) - original).mean() < 8
