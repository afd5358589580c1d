"""Tasks: contracts for all of them, then what each promises, on small files written here and on the real ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import SMALL, Raw, Real, control, idx, small, write

from seqbench import tasks
from seqbench.errors import DataError, InputError, MachineError
from seqbench.prepared import SPLITS, Array, unpack
from seqbench.records import BEGIN, END, PAD, UNSCORED, Spec
from seqbench.tasks import psmnist
from seqbench.tasks._common import NEVER
from seqbench.tasks._mnist import average_pool

SEEDED = [name for name in SMALL if "data_seed" in tasks.find(name).Settings.model_fields]


# ---------------------------------------------------------------- every task


def test_every_task_is_tested_here() -> None:
    assert sorted(SMALL) == tasks.names()
    for name in SMALL:
        kind = tasks.find(name)
        assert kind.TITLE and kind.FAMILY
        assert not kind.KNOB or kind.KNOB in kind.Settings.model_fields


@pytest.mark.parametrize("name", SMALL)
def test_arrays_keep_the_contract(name: str, raw: Raw) -> None:
    job = small(name)
    arrays, _ = job.arrays(raw)
    spec = job.spec(arrays)
    assert set(arrays) >= {f"{split}.{part}" for split in SPLITS for part in "xy"}
    if spec.outputs == "stream":
        streams_keep_the_contract(arrays, spec)
        return
    for split in SPLITS:
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert len(x) == len(y) > 0
        assert x.shape[1] <= spec.length
        if spec.inputs == "tokens":
            assert x.ndim == 2 and np.issubdtype(x.dtype, np.integer)
            assert x.min() >= 0 and x.max() < spec.input_size
        else:
            assert x.shape[2:] == (spec.frame or (spec.input_size,)) and np.isfinite(x).all()
        labels_keep_the_contract(x, y, spec)
        if f"{split}.lengths" in arrays:
            lengths = arrays[f"{split}.lengths"]
            assert lengths.shape == (len(x),) and lengths.min() >= 1 and lengths.max() <= x.shape[1]
            assert not any(item[length:].any() for item, length in zip(x, lengths, strict=True))
        else:
            assert x.shape[1] == spec.length or spec.outputs == "every"
    assert max(arrays[f"{split}.x"].shape[1] for split in SPLITS) == spec.length
    if spec.outputs == "sequence":
        targets_keep_the_contract(arrays)


def labels_keep_the_contract(x: Array, y: Array, spec: Spec) -> None:
    if spec.outputs == "values":
        assert y.shape == (len(x), spec.output_size) and y.dtype == np.float32 and np.isfinite(y).all()
        return
    if spec.outputs == "multilabel":
        assert y.shape == (*x.shape[:2], spec.output_size) and y.dtype == np.int8
        assert set(np.unique(y)) == {UNSCORED, 0, 1}
        return
    targets = (len(x), spec.target_length)
    shapes = {"steps": (len(x), spec.window), "every": x.shape[:2], "sequence": targets, "ctc": targets}
    assert y.shape == shapes.get(spec.outputs, (len(x),))
    assert y.dtype == np.int64 and y.max() < spec.output_size
    assert y.min() >= (UNSCORED if spec.outputs in ("every", "sequence", "ctc") else 0)
    if spec.outputs == "ctc":  # labels, then nothing; never the blank
        assert ((y > 0) == (np.arange(y.shape[1]) < (y > 0).sum(axis=1)[:, None])).all() and (y != 0).all()


def targets_keep_the_contract(arrays: dict[str, Array]) -> None:
    for split in SPLITS:
        x, y, lengths = (arrays[f"{split}.{part}"] for part in ("x", "y", "lengths"))
        np.testing.assert_array_equal(x != PAD, np.arange(x.shape[1]) < lengths[:, None])
        ends = (y == END).argmax(axis=1)[:, None]
        np.testing.assert_array_equal(y != UNSCORED, np.arange(y.shape[1]) <= ends)
        assert ((y == END).sum(axis=1) == 1).all() and not np.isin(y, [PAD, BEGIN]).any()
        assert len(unpack(arrays[f"{split}.references"])) == len(y)


def streams_keep_the_contract(arrays: dict[str, Array], spec: Spec) -> None:
    for split in SPLITS:
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert x.ndim == y.ndim == 1 and len(x) == len(y) > 0
        assert np.issubdtype(x.dtype, np.integer) and y.dtype == np.int64
        assert x.min() >= 0 and x.max() < spec.input_size and y.min() >= 0 and y.max() < spec.output_size
        np.testing.assert_array_equal(y[:-1], x[1:])


@pytest.mark.parametrize("name", SMALL)
def test_the_same_settings_give_the_same_bytes(name: str, raw: Raw, tmp_path: Path) -> None:
    first, second = (write(name, SMALL[name], raw, tmp_path / part) for part in "ab")
    assert first.manifest == second.manifest


@pytest.mark.parametrize("name", SMALL)
def test_controls_are_finite_and_read_the_test_split_once(name: str, raw: Raw, tmp_path: Path) -> None:
    data = write(name, SMALL[name], raw, tmp_path)
    found = control(name, data)
    assert data.test_reads == 1
    assert "trivial" in found
    for metrics in found.values():
        assert data.spec.metric in metrics and np.isfinite(list(metrics.values())).all()


@pytest.mark.parametrize(
    "name", [name for name in SMALL if name not in ("sst2", "shakespeare", "ptb")]
)  # unknown words may make two sentences equal, and a stream has no items
def test_no_item_is_in_two_splits(name: str, raw: Raw) -> None:
    arrays, _ = small(name).arrays(raw)
    train, valid, test = ({item.tobytes() for item in arrays[f"{split}.x"]} for split in SPLITS)
    assert not train & valid
    assert not (train | valid) & test


@pytest.mark.parametrize("name", SEEDED)
def test_another_data_seed_gives_other_data(name: str, raw: Raw) -> None:
    arrays, others = (small(name, data_seed=seed).arrays(raw)[0] for seed in (0, 1))
    assert any(not np.array_equal(arrays[f"{split}.x"], others[f"{split}.x"]) for split in SPLITS)


# ---------------------------------------------------------------- images


def test_digits_are_all_there_and_stratified() -> None:
    arrays, notes = small("digits").arrays({})
    assert [len(arrays[f"{split}.y"]) for split in SPLITS] == [1077, 360, 360]
    assert arrays["train.x"].max() == 16
    assert notes[0].startswith("0 repeated")
    for split in SPLITS:
        counts = np.bincount(arrays[f"{split}.y"], minlength=10) / len(arrays[f"{split}.y"])
        np.testing.assert_allclose(counts, 0.1, atol=0.01)


def test_repeated_digits_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.repeat(np.arange(50.0), 64).reshape(50, 64), np.arange(50) % 10
    twice = np.concatenate([images[:3], images]), np.concatenate([labels[:3], labels])
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda return_X_y: twice)
    arrays, notes = small("digits").arrays({})
    pixels = np.concatenate([arrays[f"{split}.x"][:, 0, 0] for split in SPLITS])
    assert sorted(pixels) == list(range(50))
    assert notes[0].startswith("3 repeated")


def test_digits_controls(tmp_path: Path) -> None:
    data = write("digits", {}, {}, tmp_path)
    found = control("digits", data)
    most = np.bincount(data.split("train")["y"]).argmax()
    assert found["trivial"]["accuracy"] == np.mean(data.split("test")["y"] == most)
    assert 0.94 < found["strong"]["accuracy"] < 1
    assert found["strong"]["cross_entropy"] < 0.25 < found["trivial"]["cross_entropy"]


def test_a_class_that_train_lacks_is_never_predicted(tmp_path: Path) -> None:
    labels = {"train": np.arange(130) % 9 + 1, "test": np.arange(40) % 10}  # train has no 0
    paths = {}
    for part, known in labels.items():
        images = np.zeros((len(known), 28, 28), np.uint8)
        images[np.arange(len(known)), 2 * known] = 255  # the label is the place of a line
        for kind, values in (("images", images), ("labels", known.astype(np.uint8))):
            paths[f"mnist-{part}-{kind}"] = tmp_path / f"{part}-{kind}"
            paths[f"mnist-{part}-{kind}"].write_bytes(idx(values))
    found = control("smnist", write("smnist", {"valid": 30}, paths, tmp_path))
    assert found["trivial"]["accuracy"] == 0.1
    assert found["strong"]["accuracy"] == 0.9
    for metrics in found.values():  # one test label in ten is 0, at a cost of about -NEVER
        assert metrics["cross_entropy"] == pytest.approx(-NEVER / 10, rel=0.1)


def test_mnist_rows_come_from_the_right_part(raw: Raw) -> None:
    arrays, _ = small("smnist", train=50, test=20).arrays(raw)
    assert [len(arrays[f"{split}.y"]) for split in SPLITS] == [50, 30, 20]
    for split in SPLITS:
        part = "test" if split == "test" else "train"
        images = np.frombuffer(gzip.decompress(raw[f"mnist-{part}-images"].read_bytes())[16:], np.uint8)
        known = {image.tobytes(): row % 10 for row, image in enumerate(images.reshape(-1, 784))}
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert x.dtype == np.uint8
        assert [known[item.tobytes()] for item in x] == y.tolist()


def test_mnist_pooling_averages_pixels(raw: Raw) -> None:
    whole, halved = (small("smnist", pool=pool).arrays(raw)[0]["test.x"] for pool in (1, 2))
    assert halved.shape == (40, 196, 1)
    expected = whole[3].reshape(28, 28)[2:4, 6:8].mean()
    assert abs(int(halved[3, 14 + 3, 0]) - expected) <= 0.5
    np.testing.assert_array_equal(average_pool(np.full((1, 28, 28), 255, np.uint8), 4), 255)


def test_asking_for_more_images_than_there_are_is_an_input_error(raw: Raw) -> None:
    for settings in ({"train": 101}, {"valid": 130}, {"test": 41}):
        with pytest.raises(InputError, match="more images"):
            small("smnist", **settings).arrays(raw)


@pytest.mark.parametrize("pool", [1, 2, 4])
def test_psmnist_is_smnist_in_one_fixed_order(pool: int, raw: Raw) -> None:
    plain, _ = small("smnist", pool=pool).arrays(raw)
    mixed, notes = small("psmnist", pool=pool).arrays(raw)
    steps = (28 // pool) ** 2
    order = np.random.RandomState(92916).permutation(steps)
    assert sorted(order) == list(range(steps))
    assert psmnist.DIGESTS[steps] in notes[0]
    for split in SPLITS:
        np.testing.assert_array_equal(mixed[f"{split}.x"], plain[f"{split}.x"][:, order])
        np.testing.assert_array_equal(mixed[f"{split}.y"], plain[f"{split}.y"])


def test_psmnist_refuses_another_order(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psmnist, "SEED", 1)
    with pytest.raises(MachineError, match="permutation of 196 pixels"):
        small("psmnist").arrays(raw)


def damage_images(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-1])


@pytest.mark.parametrize(
    ("source", "damage", "message"),
    [
        ("mnist-train-images", lambda content: content[:-9], "gzip"),
        ("mnist-train-images", lambda content: b"<html>" + content, "gzip"),
        ("mnist-train-images", lambda content: content[:40] + bytes(40) + content[80:], "gzip"),
        ("mnist-test-images", damage_images, "header says"),
        ("mnist-test-images", lambda content: idx(np.zeros(40, np.uint8)), "3 dimensions"),
        ("mnist-test-images", lambda content: idx(np.zeros((40, 28, 27), np.uint8)), "28"),
        ("mnist-test-labels", lambda content: idx(np.zeros(39, np.uint8)), "39 labels"),
        ("mnist-test-labels", lambda content: idx(np.full(40, 10, np.uint8)), "up to 10"),
    ],
)
def test_a_bad_mnist_file_is_named(
    source: str, damage: Callable[[bytes], bytes], message: str, raw: Raw, tmp_path: Path
) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(damage(raw[source].read_bytes()))
    with pytest.raises(DataError, match=message) as error:
        small("smnist").arrays({**raw, source: path})
    assert error.value.where == str(path)


# ---------------------------------------------------------------- the real files


@pytest.mark.mirror
@pytest.mark.parametrize("name", ["smnist", "psmnist"])
def test_real_mnist(name: str, real: Real, tmp_path: Path) -> None:
    data = write(name, {}, real(name), tmp_path)
    assert data.manifest.sizes == {"train": 55_000, "valid": 5_000, "test": 10_000}
    train, valid = data.split("train")["x"], data.split("valid")["x"]
    pixels = np.concatenate([train, valid]).ravel()
    assert pixels.mean() == pytest.approx(data.spec.shift, rel=1e-3)
    assert pixels.std() == pytest.approx(data.spec.scale, rel=1e-3)
    found = control(name, data)
    assert found["trivial"]["accuracy"] == 0.1135
    assert 0.9 < found["strong"]["accuracy"] < 0.93
