"""The drawn probes of memory, recall and state tracking: what each asks, its chance, and that it can be solved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SMALL, control, small, write

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array
from seqbench.records import UNSCORED

PROBES = ["adding", "copy_memory", "parity", "recall", "selective_copy"]


@pytest.mark.parametrize("name", PROBES)
def test_splits_have_seeds_of_their_own(name: str) -> None:
    arrays, _ = small(name).arrays({})
    larger, _ = small(name, train=400, valid=60).arrays({})
    np.testing.assert_array_equal(arrays["test.x"], larger["test.x"])
    alike, _ = small(name, train=100, valid=100, test=100).arrays({})
    assert all(not np.array_equal(alike["train.x"], alike[f"{split}.x"]) for split in ("valid", "test"))


@pytest.mark.parametrize(
    ("name", "settings"), [("parity", {"length": 40}), ("recall", {}), ("selective_copy", {"length": 90})]
)
def test_a_larger_test_split_leaves_the_others_alone(name: str, settings: dict[str, Any]) -> None:
    arrays, larger = (small(name, **settings, test=items).arrays({})[0] for items in (100, 200))
    for split in ("train", "valid"):  # among so many sequences none is drawn again
        np.testing.assert_array_equal(arrays[f"{split}.x"], larger[f"{split}.x"])


def said(answers: list[list[int]], y: Array) -> Array:
    """What `Task.score` takes for "every": no loss where the answer is right."""
    right = np.array(answers) == y
    return np.stack([np.where(right, 0.0, 9.0), right], axis=-1)


def logits(answers: list[list[int]], classes: int) -> Array:
    """What `Task.score` takes for "steps"."""
    return 9.0 * np.eye(classes)[np.array(answers)]


# ---------------------------------------------------------------- adding and copying


@pytest.mark.parametrize("length", [2, 21, 50])
def test_adding_sums_one_marked_value_of_each_half(length: int) -> None:
    arrays, _ = small("adding", length=length).arrays({})
    for split in SPLITS:
        values, marks = np.moveaxis(arrays[f"{split}.x"], 2, 0)
        assert values.min() >= 0 and values.max() < 1
        assert set(np.unique(marks)) <= {0, 1}
        assert (marks[:, : length // 2].sum(axis=1) == 1).all()
        assert (marks[:, length // 2 :].sum(axis=1) == 1).all()
        np.testing.assert_allclose(arrays[f"{split}.y"][:, 0], (values * marks).sum(axis=1), rtol=1e-6)


def test_adding_chance_is_one_sixth(tmp_path: Path) -> None:
    found = control("adding", write("adding", SMALL["adding"], {}, tmp_path))
    # Of (u + v - 1)^2 with u, v uniform: mean 1/6, mean square 1/15.
    error = np.sqrt((1 / 15 - 1 / 36) / SMALL["adding"]["test"])
    assert found["trivial"]["mse"] == pytest.approx(1 / 6, abs=4 * error)


@pytest.mark.parametrize("delay", [1, 7])
def test_copy_memory_asks_for_the_first_ten_symbols(delay: int) -> None:
    arrays, _ = small("copy_memory", delay=delay).arrays({})
    for split in SPLITS:
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert x.shape[1] == delay + 20
        np.testing.assert_array_equal(x[:, :10], y + 1)
        assert set(np.unique(x[:, :10])) == set(range(1, 9))
        assert (x[:, 10 : 9 + delay] == 0).all()
        assert (x[:, 9 + delay] == 9).all()
        assert (x[:, 10 + delay :] == 0).all()


def test_copy_memory_chance_is_one_eighth(tmp_path: Path) -> None:
    found = control("copy_memory", write("copy_memory", SMALL["copy_memory"], {}, tmp_path))
    error = np.sqrt(1 / 8 * 7 / 8 / (10 * SMALL["copy_memory"]["test"]))
    assert found["trivial"]["accuracy"] == pytest.approx(1 / 8, abs=4 * error)
    assert found["trivial"]["cross_entropy"] == pytest.approx(np.log(8), abs=1e-12)


def test_copy_memory_draws_again_what_another_split_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqbench.tasks.copy_memory.RECALL", 2)  # 64 sequences: splits would meet
    arrays, _ = small("copy_memory", train=500, valid=10, test=10).arrays({})
    items = [{tuple(item) for item in arrays[f"{split}.y"]} for split in SPLITS]
    assert len(arrays["train.y"]) == 500
    assert len(set.union(*items)) == sum(map(len, items))


# ---------------------------------------------------------------- parity


@pytest.mark.parametrize("modulus", [2, 5, 256])
def test_parity_can_be_solved_by_a_state(modulus: int) -> None:
    job = small("parity", modulus=modulus)
    arrays, _ = job.arrays({})
    for split, steps in (("train", 12), ("valid", 12), ("test", 40)):
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert x.shape == y.shape == (SMALL["parity"][split], steps)
        answers = []
        for symbols in x.tolist():
            state, states = 0, []
            for symbol in symbols:
                state = (state + symbol) % modulus
                states.append(state)
            answers.append(states)
        found = job.score(said(answers, y), y, job.spec(arrays))
        assert (found["accuracy"], found["accuracy_trained"], found["perplexity"]) == (1, 1, 1)
    assert set(np.unique(arrays["train.x"])) == set(range(modulus))


def test_parity_scores_what_lies_beyond_the_training_length() -> None:
    job = small("parity")
    arrays, _ = job.arrays({})
    y, spec = arrays["test.y"], job.spec(arrays)
    outputs = said(np.where(np.arange(40) < 12, y, 1 - y).tolist(), y)  # right for 12 steps, then wrong
    outputs[:, 39] = (0.0, 1.0)
    found = job.score(outputs, y, spec)
    assert found["accuracy_trained"] == 1
    assert found["accuracy"] == pytest.approx(1 / 28)
    assert found["cross_entropy"] == pytest.approx(9 * 27 / 28)
    short = job.score(outputs[:, :12], y[:, :12], spec)
    assert short["accuracy"] == short["accuracy_trained"] == 1
    assert spec.watched == ("cross_entropy", "min")


@pytest.mark.parametrize("modulus", [2, 3])
def test_parity_chance_is_one_over_the_modulus(modulus: int, tmp_path: Path) -> None:
    found = control("parity", write("parity", SMALL["parity"] | {"modulus": modulus}, {}, tmp_path))["trivial"]
    for name, steps in (("accuracy", 28), ("accuracy_trained", 12)):  # sums of uniform symbols are independent
        error = np.sqrt(1 / modulus * (1 - 1 / modulus) / (steps * SMALL["parity"]["test"]))
        assert found[name] == pytest.approx(1 / modulus, abs=4 * error)
    assert found["cross_entropy"] == pytest.approx(np.log(modulus), abs=1e-12)


def test_no_sequence_of_parity_begins_one_of_another_split() -> None:
    arrays, _ = small("parity", length=7, train=500, valid=30, test=30).arrays({})  # 128 sequences: splits would meet
    starts = [{row.tobytes() for row in arrays[f"{split}.x"][:, :7]} for split in SPLITS]
    assert len(arrays["train.x"]) == 500
    assert len(set.union(*starts)) == sum(map(len, starts))


def test_parity_goes_on_where_the_training_length_ends() -> None:
    arrays, longer = (small("parity", test_length=steps).arrays({})[0] for steps in (12, 50))
    np.testing.assert_array_equal(arrays["test.x"], longer["test.x"][:, :12])
    np.testing.assert_array_equal(arrays["train.x"], longer["train.x"])
    start, beyond = np.split(longer["test.x"], [12], axis=1)
    assert np.mean(start.ravel() == beyond.ravel()[: start.size]) == pytest.approx(0.5, abs=4 * 0.5 / start.size**0.5)


# ---------------------------------------------------------------- recall


@pytest.mark.parametrize(
    "settings",
    [{}, {"filler": "random"}, {"pairs": 8}, {"length": 33, "power": 1, "pairs": 2}, {"pairs": 15, "length": 60}],
)
def test_recall_can_be_solved_by_a_dictionary(settings: dict[str, Any]) -> None:
    job = small("recall", **settings)
    arrays, _ = job.arrays({})
    spec, pairs = job.spec(arrays), job.settings.pairs
    first_value = job.settings.vocabulary // 2
    for split in SPLITS:
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert ((y != UNSCORED).sum(axis=1) == pairs).all()
        answers = []
        for tokens in x.tolist():
            keys, values = tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
            assert len(set(keys)) == len(set(values)) == pairs
            assert 1 <= min(keys) <= max(keys) < first_value <= min(values)
            memory = dict(zip(keys, values, strict=True))
            answers.append([memory.get(token, first_value) - first_value for token in tokens])
        assert job.score(said(answers, y), y, spec)["accuracy"] == 1


def test_recall_asks_for_each_key_once_among_blanks() -> None:
    plain, filled = (small("recall", filler=filler).arrays({})[0] for filler in ("blank", "random"))
    x, y = plain["train.x"], plain["train.y"]
    asked = y != UNSCORED
    assert not asked[:, :8].any() and not asked[:, 9::2].any()
    np.testing.assert_array_equal(np.sort(x[asked].reshape(-1, 4)), np.sort(x[:, :8:2]))
    assert (x[:, 8:][~asked[:, 8:]] == 0).all()
    np.testing.assert_array_equal(filled["train.x"][x > 0], x[x > 0])
    assert (filled["train.x"] > 0).all()
    assert set(np.unique(filled["train.x"][x == 0])) == set(range(1, 32))
    np.testing.assert_array_equal(filled["train.y"], y)


@pytest.mark.parametrize("power", [0.01, 1])
def test_recall_spaces_queries_by_the_power_law(power: float) -> None:
    arrays, _ = small("recall", pairs=1, power=power, vocabulary=64, test=4000).arrays({})
    slots = (arrays["test.y"] != UNSCORED).argmax(axis=1) // 2 - 1
    expected = np.arange(1, 16.0) ** (power - 1)
    expected /= expected.sum()
    error = np.sqrt(expected * (1 - expected) / 4000)
    assert (np.abs(np.bincount(slots, minlength=15) / 4000 - expected) < 4 * error).all()


def test_the_place_of_a_query_does_not_say_which_pair() -> None:
    arrays, _ = small("recall", pairs=2, length=12, test=4000).arrays({})
    x, y = arrays["test.x"], arrays["test.y"]
    first = x[np.arange(4000), (y != UNSCORED).argmax(axis=1)]  # key of the first query
    assert np.mean(first == x[:, 0]) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 4000))


def test_recall_chance_is_one_over_values_and_one_over_pairs(tmp_path: Path) -> None:
    found = control("recall", write("recall", SMALL["recall"], {}, tmp_path))
    pairs, values, items = 4, 16, SMALL["recall"]["test"]
    held = pairs / values  # how often a sequence holds a value, and asks for it once
    error = np.sqrt(held * (1 - held) / items) / pairs
    assert found["trivial"]["accuracy"] == pytest.approx(1 / values, abs=4 * error)
    assert found["trivial"]["perplexity"] == pytest.approx(values)
    assert found["strong"]["accuracy"] == 1 / pairs
    assert found["strong"]["perplexity"] == pytest.approx(pairs)


def test_recall_shares_no_sequence_between_splits() -> None:
    settings = {"pairs": 1, "length": 4, "vocabulary": 16, "train": 300, "valid": 14, "test": 14}  # 56 sequences
    arrays, _ = small("recall", **settings).arrays({})
    items = [{row.tobytes() for row in arrays[f"{split}.x"]} for split in SPLITS]
    assert len(set.union(*items)) == sum(map(len, items))


# ---------------------------------------------------------------- selective copying


@pytest.mark.parametrize(("length", "symbols"), [(12, 3), (5, 5), (300, 16)])
def test_selective_copy_can_be_solved_by_leaving_out_blanks(length: int, symbols: int) -> None:
    job = small("selective_copy", length=length, symbols=symbols)
    arrays, _ = job.arrays({})
    for split in SPLITS:
        x, y = arrays[f"{split}.x"], arrays[f"{split}.y"]
        assert x.shape == (SMALL["selective_copy"][split], length + symbols)
        assert (x[:, length:] == 6).all() and x[:, :length].max() == 5
        answers = [[token - 1 for token in tokens[:length] if token] for tokens in x.tolist()]
        assert job.score(logits(answers, 5), y, job.spec(arrays))["accuracy"] == 1


def test_selective_copy_scatters_symbols_evenly() -> None:
    arrays, _ = small("selective_copy", test=4000).arrays({})
    x, y = arrays["test.x"][:, :12], arrays["test.y"]
    error = np.sqrt(3 / 12 * 9 / 12 / 4000)
    assert (np.abs((x > 0).mean(axis=0) - 3 / 12) < 4 * error).all()
    error = np.sqrt(1 / 5 * 4 / 5 / 4000)
    for place in range(3):
        assert (np.abs(np.bincount(y[:, place]) / 4000 - 1 / 5) < 4 * error).all()


def test_selective_copy_chance_is_one_over_the_classes(tmp_path: Path) -> None:
    found = control("selective_copy", write("selective_copy", SMALL["selective_copy"], {}, tmp_path))
    error = np.sqrt(1 / 5 * 4 / 5 / (3 * SMALL["selective_copy"]["test"]))
    assert found["trivial"]["accuracy"] == pytest.approx(1 / 5, abs=4 * error)
    assert found["trivial"]["cross_entropy"] == pytest.approx(np.log(5), abs=1e-12)


def test_selective_copy_most_frequent_symbol(tmp_path: Path) -> None:
    # Three symbols of two classes: all alike in 1 of 4 sequences, else two and one.
    settings = SMALL["selective_copy"] | {"length": 30, "classes": 2}
    found = control("selective_copy", write("selective_copy", settings, {}, tmp_path))
    error = np.sqrt(1 / 4 * 3 / 4 / SMALL["selective_copy"]["test"])
    assert found["strong"]["accuracy"] == pytest.approx(1 / 4 + 3 / 4 * 2 / 3, abs=4 * error / 3)
    entropy = np.log(3) - 2 / 3 * np.log(2)  # of two and one
    assert found["strong"]["cross_entropy"] == pytest.approx(3 / 4 * entropy, abs=4 * error * entropy)


def test_selective_copy_shares_no_sequence_between_splits() -> None:
    settings = {"length": 4, "symbols": 2, "classes": 3, "train": 500, "valid": 10, "test": 10}  # 54 sequences
    arrays, _ = small("selective_copy", **settings).arrays({})
    items = [{row.tobytes() for row in arrays[f"{split}.x"]} for split in SPLITS]
    assert len(set.union(*items)) == sum(map(len, items))


# ---------------------------------------------------------------- settings that cannot be


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("parity", {"test_length": 11}, "test_length = 11 is below length = 12"),
        ("parity", {"length": 11}, "only 2048 different ones"),
        ("recall", {"pairs": 9}, "do not fit into 32 steps"),
        ("recall", {"pairs": 16, "length": 64}, "or 32 tokens"),
        ("recall", {"pairs": 1, "length": 4, "vocabulary": 16}, "only 56 different ones"),
        ("selective_copy", {"symbols": 13}, "13 symbols do not fit into length = 12"),
        ("selective_copy", {"length": 4}, "only 500 different ones"),
    ],
)
def test_settings_that_cannot_be_drawn_are_an_input_error(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        small(name, **settings).arrays({})
    assert error.value.where == f"settings of task {name}"
