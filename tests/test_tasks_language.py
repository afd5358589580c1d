"""Tiny Shakespeare, Penn Treebank, and the n-gram models they are held against."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SMALL, Raw, Real, control, small, write

from seqbench import tasks
from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, Prepared, unpack
from seqbench.tasks import _language, shakespeare
from seqbench.tasks._language import KneserNey, discounts, unigram

# ---------------------------------------------------------------- n-grams


def all_chances(model: KneserNey, text: Array) -> Array:
    """(tokens - 1, size)."""
    return np.concatenate([chances for _, chances in model.chances(text)])


def test_discounts_by_hand() -> None:
    counts = np.repeat([0, 1, 2, 3, 4, 9], [5, 8, 4, 2, 1, 3])
    np.testing.assert_allclose(discounts(counts), [0, 1 - 2 * 0.5 * 4 / 8, 2 - 3 * 0.5 * 2 / 4, 3 - 4 * 0.5 * 1 / 2])


@pytest.mark.parametrize("often", [[7], [1, 1, 1, 2, 2, 3], [1] * 10 + [2, 3, 4]])
def test_discounts_that_counts_cannot_give_are_the_fallback(often: list[int]) -> None:
    assert discounts(np.array(often)).tolist() == [0, 0.5, 1, 1.5]


def test_kneser_ney_by_hand() -> None:
    model = KneserNey(np.array([0, 0, 1, 0, 1]), 2, order=2)
    # Bigrams 00 once, 01 twice, 10 once; before 0 stand two different tokens, before 1 one. Discounts 1/2 and 1.
    one = np.array([1 / 3 + 1 / 2 * 1 / 2, 0.5 / 3 + 1 / 2 * 1 / 2])
    two = np.array([[0.5 / 3, 1 / 3], [0.5, 0]]) + 1 / 2 * one
    np.testing.assert_allclose(two, [[11 / 24, 13 / 24], [19 / 24, 5 / 24]])
    text = np.array([0, 0, 1, 1, 0])
    np.testing.assert_allclose(all_chances(model, text), two[text[:-1]])
    expected = [[-np.log(11 / 24), 0], [-np.log(13 / 24), 1], [-np.log(5 / 24), 0], [-np.log(19 / 24), 1]]
    np.testing.assert_allclose(model.outputs(text), expected)


def by_definition(train: list[int], size: int, order: int, stop: int | None) -> Callable[[tuple[int, ...], int], float]:
    """p(history, token) from the formulas, with dictionaries."""

    def history(text: list[int], place: int) -> tuple[int, ...]:
        back = place - 1
        while back > 0 and text[back] != stop:
            back -= 1
        return tuple(text[back:place])

    occurrences: Counter[tuple[int, ...]] = Counter()
    before: dict[tuple[int, ...], set[int]] = {}
    begins: Counter[tuple[int, ...]] = Counter()
    for place in range(1, len(train)):
        known = history(train, place)
        for k in range(min(order - 1, len(known)) + 1):
            gram = (*known[len(known) - k :], train[place])
            occurrences[gram] += 1
            if k < len(known):
                before.setdefault(gram, set()).add(known[len(known) - k - 1])
            else:
                begins[gram] += 1
    counts = [{g: c for g, c in occurrences.items() if len(g) == k + 1} for k in range(order)]
    for k in range(order - 1):
        counts[k] = {gram: len(before.get(gram, ())) + begins[gram] for gram in counts[k]}
    cut = [discounts(np.array(list(of.values()))) for of in counts]

    def chance(known: tuple[int, ...], token: int, k: int) -> float:
        if k < 0:
            return 1 / size
        context = known[len(known) - k :]
        row = {gram[-1]: c for gram, c in counts[k].items() if gram[:-1] == context}
        lower = chance(known, token, k - 1)
        if k > len(known) or not row:
            return lower
        own = row.get(token, 0)
        taken = sum(cut[k][min(c, 3)] for c in row.values())
        return float((own - cut[k][min(own, 3)]) / sum(row.values()) + taken / sum(row.values()) * lower)

    return lambda known, token: chance(known, token, order - 1)


@pytest.mark.parametrize(("order", "stop"), [(1, None), (2, None), (4, None), (2, 0), (4, 0)])
def test_kneser_ney_follows_its_definition(order: int, stop: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_language, "BLOCK", 100)  # several blocks, the last one not full
    random = np.random.default_rng(order)
    steps = random.choice([0, 1, 2, 3, 5], size=(2, 160), p=[0.2, 0.4, 0.2, 0.15, 0.05])
    train, text = np.concatenate([np.zeros((2, 1), np.int64), steps.cumsum(axis=1) % 6], axis=1)
    text[7::50] = 6  # which train lacks
    model, chance = KneserNey(train, 7, order, stop), by_definition(train.tolist(), 7, order, stop)
    found = all_chances(model, text)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert found.min() > 0
    for place in range(1, len(text)):
        begin = max((at for at in range(place) if text[at] == stop), default=0)
        known = tuple(text[begin:place].tolist())
        np.testing.assert_allclose(found[place - 1], [chance(known, token) for token in range(7)], rtol=1e-9)
    own = found[np.arange(160), text[1:]]
    np.testing.assert_allclose(model.outputs(text)[:, 0], -np.log(own))
    np.testing.assert_array_equal(model.outputs(text)[:, 1], found.argmax(axis=1) == text[1:])


def test_with_a_stop_the_order_of_lines_says_nothing() -> None:
    lines = np.random.default_rng(5).integers(1, 6, size=(30, 7))
    lines[:, -1] = 0
    texts = [np.concatenate([[0], part.ravel()]) for part in (lines, lines[::-1])]
    by_line = [all_chances(KneserNey(text, 6, 4, stop=0), texts[0]) for text in texts]
    np.testing.assert_allclose(by_line[0], by_line[1])
    running = [all_chances(KneserNey(text, 6, 4), texts[0]) for text in texts]
    assert np.abs(running[0] - running[1]).max() > 0.01


def test_unigram_counts_each_token_once_more_than_it_is_there() -> None:
    outputs = unigram(np.array([2, 0, 0, 1]), np.array([1, 2, 0, 0]), 3)
    np.testing.assert_allclose(outputs, [[np.log(6), 0], [np.log(2), 1], [np.log(2), 1]])


# ---------------------------------------------------------------- both tasks


@pytest.mark.parametrize("name", ["shakespeare", "ptb"])
def test_controls_score_every_token_of_test(name: str, raw: Raw, tmp_path: Path) -> None:
    data = write(name, SMALL[name], raw, tmp_path)
    found = control(name, data)
    y, size = data.split("test")["y"], data.spec.output_size
    counts = np.bincount(data.split("train")["y"], minlength=size) + 1
    assert found["trivial"]["cross_entropy"] == pytest.approx(-np.log(counts / counts.sum())[y].mean())
    assert found["trivial"]["accuracy"] == np.mean(y == counts.argmax())
    # Each word goes on with one of two: no model can do better than about half a word's worth of ln 2.
    assert found["strong"]["cross_entropy"] < 0.6 * found["trivial"]["cross_entropy"]
    for scores in found.values():
        assert scores["perplexity"] == pytest.approx(math.exp(scores["cross_entropy"]))


@pytest.mark.parametrize("name", ["shakespeare", "ptb"])
def test_splits_are_cut_to_their_first_tokens(name: str, raw: Raw) -> None:
    whole, _ = small(name).arrays(raw)
    cut, notes = small(name, train=5, valid=2, test=7).arrays(raw)
    for split, tokens in (("train", 5), ("valid", 2), ("test", 7)):
        for part in "xy":
            np.testing.assert_array_equal(cut[f"{split}.{part}"], whole[f"{split}.{part}"][:tokens])
    np.testing.assert_array_equal(cut["vocabulary"], whole["vocabulary"])
    absent = len(unpack(cut["vocabulary"])) - len(set(cut["train.y"].tolist()))
    assert absent > 0 and notes[-1].startswith(f"{absent} of the ")


@pytest.mark.parametrize("name", ["shakespeare", "ptb"])
@pytest.mark.parametrize("split", SPLITS)
def test_asking_for_more_tokens_than_there_are_is_an_input_error(name: str, split: str, raw: Raw) -> None:
    there = len(small(name).arrays(raw)[0][f"{split}.y"])
    assert len(small(name, **{split: there}).arrays(raw)[0][f"{split}.y"]) == there
    with pytest.raises(InputError, match=f"has {there}") as error:
        small(name, **{split: there + 1}).arrays(raw)
    assert error.value.where == f"setting {split}"


@pytest.mark.parametrize("name", ["shakespeare", "ptb"])
def test_what_a_model_reads_can_be_read_back(name: str, raw: Raw, tmp_path: Path) -> None:
    data = write(name, SMALL[name], raw, tmp_path)
    job = small(name)
    tokens = data.split("valid")["y"]
    text = job.decode(tokens, data)
    np.testing.assert_array_equal(job.encode(text, data), tokens)
    assert "\n" in text and "\\n" not in text and "eos" not in text
    pieces = job.pieces(tokens[:9], data)
    assert len(pieces) == 9 and not any("\n" in piece for piece in pieces)


# ---------------------------------------------------------------- Tiny Shakespeare


def of_text(text: str | bytes, folder: Path, **settings: Any) -> tuple[dict[str, Array], tuple[str, ...]]:
    path = folder / "text.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return small("shakespeare", **settings).arrays({"tiny-shakespeare": path})


def test_shakespeare_by_hand(tmp_path: Path) -> None:
    text = "abc\\\nab\tca\n" * 3 + "b\tcab"  # 38 characters: 34, 2 and 2
    arrays, _ = of_text(text, tmp_path)
    names = ["\\t", "\\n", "\\\\", "a", "b", "c"]
    assert unpack(arrays["vocabulary"]) == names
    number = {"\t": 0, "\n": 1, "\\": 2, "a": 3, "b": 4, "c": 5}
    for split, part in (("train", text[:34]), ("valid", text[34:36]), ("test", text[36:])):
        assert arrays[f"{split}.y"].tolist() == [number[c] for c in part]
        assert arrays[f"{split}.x"].tolist() == [number[c] for c in "\n" + part[:-1]]
        assert arrays[f"{split}.x"].dtype == np.uint8


def test_shakespeare_without_a_line_end_has_one_to_begin_with(tmp_path: Path) -> None:
    arrays, notes = of_text("ab" * 10, tmp_path)
    assert unpack(arrays["vocabulary"]) == ["\\n", "a", "b"]
    assert [arrays[f"{split}.x"][0] for split in SPLITS] == [0, 0, 0]
    assert notes[-1].startswith("1 of the 3 ")


def test_bits_per_character(raw: Raw) -> None:
    job = small("shakespeare")
    spec = job.spec(job.arrays(raw)[0])
    scores = job.score(np.array([[np.log(8), 0], [np.log(2), 1]], np.float32), np.array([0, 1]), spec)
    assert (spec.metric, spec.direction) == ("bits_per_character", "min")
    assert scores["bits_per_character"] == pytest.approx(2)
    assert scores["accuracy"] == 0.5


def test_shakespeare_refuses_a_character_it_has_no_number_for(raw: Raw, tmp_path: Path) -> None:
    data = write("shakespeare", SMALL["shakespeare"], raw, tmp_path)
    job = small("shakespeare")
    assert job.decode(job.encode(" the\nking", data), data) == " the\nking"
    for text, message, place in (("thé", "'é'", 3), ("the\r\n", r"'\\r'", 4)):
        with pytest.raises(InputError, match=message) as error:
            job.encode(text, data)
        assert error.value.where == f"prompt, character {place}"
    with pytest.raises(InputError, match="empty"):
        job.encode("", data)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (b"", "empty", 1),
        (b"ab\ncr\xc3\xa8me\n" * 9, "not ASCII", 2),
        (b"ab\n" * 30 + b"\xff\n", "not ASCII", 31),
        (b"abcde\nabcd", "10 characters are too few", 2),
        (b"a", "1 characters are too few", 1),
        (b"ab\n" * 30 + b"?b\n", r"'\?' is not in the training part", 31),
    ],
)
def test_a_bad_text_is_named(text: bytes, message: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        of_text(text, tmp_path)
    assert error.value.where == f"{tmp_path / 'text.txt'}, line {line}"


# ---------------------------------------------------------------- Penn Treebank

LINES = {
    "train": [
        " the <unk> said ",
        " N $ N the u.s. company 's profit ",
        " the company said ",
        " it is n't mr. o'brien N ",
    ],
    "valid": [" it said ", " the company said "],
    "test": [" the <unk> said ", " profit $ N "],
}


def treebank(folder: Path, **changes: list[str]) -> dict[str, Path]:
    paths = {f"ptb-{split}": folder / f"{split}.txt" for split in SPLITS}
    for split, path in zip(SPLITS, paths.values(), strict=True):
        path.write_text("\n".join([*(LINES | changes)[split], ""]))
    return paths


def penn(folder: Path) -> Prepared:
    return write("ptb", SMALL["ptb"], treebank(folder), folder)


def test_ptb_by_hand(tmp_path: Path) -> None:
    arrays, notes = small("ptb").arrays(treebank(tmp_path))
    names = unpack(arrays["vocabulary"])
    # 4: <eos>; 3: N, the; 2: company, said; the rest once; as many by alphabet.
    assert " ".join(names) == "<eos> N the company said $ 's <unk> is it mr. n't o'brien profit u.s."
    for split, lines in LINES.items():
        tokens = " <eos> ".join(["", *lines, ""]).split()
        assert [names[token] for token in arrays[f"{split}.x"]] == tokens[:-1]
        assert [names[token] for token in arrays[f"{split}.y"]] == tokens[1:]
    assert [note.split(":")[0] for note in notes] == [
        "1 of 2 lines of valid are also in train",
        "1 of 2 lines of test are also in train",
        "1 of the 24 tokens of the training part are <unk>",
        "0 of the 15 tokens of the vocabulary are not in the training split as cut",
    ]


def test_ptb_spec(tmp_path: Path) -> None:
    spec = penn(tmp_path).spec
    assert (spec.metric, spec.direction, spec.outputs, spec.causal, spec.tied) == (
        "perplexity",
        "min",
        "stream",
        True,
        True,
    )
    assert spec.input_size == spec.output_size == 15
    assert tasks.build("ptb", {}).settings.plain() == {
        "length": 35,
        "train": None,
        "valid": None,
        "test": None,
        "embedding": 650,
        "dropout": 0.5,
    }


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The U.S. company", "the u.s. company"),
        ("the company's profit", "the company 's profit"),
        ("It isn't", "it is n't"),
        ("Mr. King said 12.5", "mr. <unk> said N"),
        ("O'Brien's profit", "<unk> <unk> 's profit"),
        ("Mr. O'Brien", "mr. o'brien"),
        ("$1,000.50 is -3 N 10:30 3/4 .5", "$ N is N N N N N"),
        ('"The company", it said.', "the company it said"),
        ("profit , - the", "profit <unk> the"),
        ("the <unk> said\nit is", "the <unk> said <eos> it is"),
        ("profit.\n", "profit <eos>"),
        ("3rd", "<unk>"),
    ],
)
def test_ptb_writes_a_prompt_as_the_treebank_does(text: str, tokens: str, tmp_path: Path) -> None:
    data = penn(tmp_path)
    assert list(small("ptb").pieces(small("ptb").encode(text, data), data)) == tokens.split()


@pytest.mark.parametrize("text", ["", "  ", "\n", " , . "])
def test_ptb_refuses_an_empty_prompt(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        small("ptb").encode(text, penn(tmp_path))


def test_ptb_decodes_lines(tmp_path: Path) -> None:
    data = penn(tmp_path)
    numbers = _language.numbering(data)
    tokens = np.array([numbers[word] for word in ("<eos>", "it", "is", "<eos>", "<eos>", "the", "company", "<eos>")])
    assert small("ptb").decode(tokens, data) == "\nit is\n\nthe company\n"


@pytest.mark.parametrize(
    ("split", "line", "message"),
    [
        ("train", b"", "no word"),
        ("test", b"   ", "no word"),
        ("train", b" cr\xe8me ", "not ASCII"),
        ("valid", " crème ".encode(), "not ASCII"),
        ("train", b" the <eos> said ", "<eos>"),
        ("valid", b" the king said ", "'king' is not in the training file"),
        ("test", b" the company said . ", "'.' is not in the training file"),
    ],
)
def test_a_bad_line_of_the_treebank_is_named(split: str, line: bytes, message: str, tmp_path: Path) -> None:
    paths = treebank(tmp_path)
    bad = paths[f"ptb-{split}"]
    bad.write_bytes(b" the company said \n" + line + b"\n it is \n")
    with pytest.raises(DataError, match=message.replace(".", r"\.")) as error:
        small("ptb").arrays(paths)
    assert error.value.where == f"{bad}, line 2"


def test_an_empty_file_of_the_treebank_is_named(tmp_path: Path) -> None:
    paths = treebank(tmp_path)
    paths["ptb-train"].write_bytes(b"")
    with pytest.raises(DataError, match="no word") as error:
        small("ptb").arrays(paths)
    assert error.value.where == f"{paths['ptb-train']}, line 1"


def test_the_ptb_control_reads_line_by_line(raw: Raw, tmp_path: Path) -> None:
    lines = raw["ptb-train"].read_text().splitlines()
    (tmp_path / "other").write_text("\n".join([*lines[::-1], ""]))
    one, other = (
        control("ptb", write("ptb", SMALL["ptb"], {**raw, "ptb-train": path}, tmp_path / f"of-{path.name}"))
        for path in (raw["ptb-train"], tmp_path / "other")
    )
    assert one["strong"] == pytest.approx(other["strong"], rel=1e-12)


# ---------------------------------------------------------------- the real files


@pytest.mark.mirror
def test_real_shakespeare(real: Real, tmp_path: Path) -> None:
    raw = real("shakespeare")
    data = write("shakespeare", {}, raw, tmp_path)
    assert data.manifest.sizes == {"train": 1_003_854, "valid": 55_770, "test": 55_770}
    assert data.spec.input_size == 65
    job, text = tasks.build("shakespeare", {}), raw["tiny-shakespeare"].read_text()
    assert "".join(job.decode(data.split(split)["y"], data) for split in SPLITS) == text
    train = {text[at : at + 50] for at in range(1_003_854 - 49)}
    assert not any(text[at : at + 50] in train for at in range(1_003_854, len(text) - 49))
    found = control("shakespeare", data)
    assert found["trivial"]["bits_per_character"] == pytest.approx(4.850, abs=1e-3)
    assert found["strong"]["bits_per_character"] == pytest.approx(2.279, abs=1e-3)
    orders = {order: of_order(data, order) for order in (6, 7, 8)}
    assert min(orders, key=orders.__getitem__) == shakespeare.Task.ORDER


def of_order(data: Prepared, order: int) -> float:
    """Cross-entropy on valid."""
    train, valid = (_language._text(data.split(split)) for split in ("train", "valid"))
    return float(KneserNey(train, 65, order).outputs(valid)[:, 0].mean())


@pytest.mark.mirror
def test_real_ptb_has_the_published_perplexity(real: Real, tmp_path: Path) -> None:
    """KN5 of Mikolov & Zweig 2012: 141.2."""
    raw = real("ptb")
    data = write("ptb", {}, raw, tmp_path)
    assert data.manifest.sizes == {"train": 929_589, "valid": 73_760, "test": 82_430}
    assert data.spec.input_size == 10_000
    assert [note.split()[0] for note in data.manifest.defects] == ["85", "64", "45020", "0"]
    job, text = tasks.build("ptb", {}), raw["ptb-valid"].read_text()
    np.testing.assert_array_equal(job.encode(text, data), data.split("valid")["y"])
    assert job.decode(data.split("valid")["y"], data).split() == text.split()
    found = control("ptb", data)
    assert round(found["strong"]["perplexity"], 1) == 141.2
    assert found["trivial"]["perplexity"] == pytest.approx(639.8, abs=0.1)
