"""Translation: pairs of lines, sub-words, scores, controls; small files written here, and the real ones."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SMALL, Raw, Real, control, small, write

from seqbench import tasks
from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Prepared, unpack
from seqbench.records import BEGIN, END, PAD, UNKNOWN, UNSCORED
from seqbench.tasks import _translation, multi30k
from seqbench.tasks._translation import Model1, by_length, read_lines, read_pairs, scores, train_tokeniser, word_by_word

GERMAN = ["Ein Hund läuft.", "Eine Katze schläft.", "Zwei Hunde laufen.", "Ein Kind malt ein Haus.", "Ein Haus."]
ENGLISH = ["A dog runs.", "A cat sleeps.", "Two dogs run.", "A child paints a house.", "A house."]


def put(path: Path, *lines: str) -> Path:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """Raw files of (German, English) lines for each split."""

    def make(**pairs: list[tuple[str, str]]) -> dict[str, Path]:
        parts = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
        return {
            f"multi30k-{part}-{side}": put(tmp_path / f"{part}.{side}.gz", *(pair[i] for pair in pairs[split]))
            for split, part in parts.items()
            for i, side in enumerate(("de", "en"))
        }

    return make


@pytest.fixture
def data(raw: Raw, tmp_path: Path) -> Prepared:
    return write("multi30k", SMALL["multi30k"], raw, tmp_path)


# ---------------------------------------------------------------- reading


def test_pairs_are_tidied_and_references_are_not(tmp_path: Path) -> None:
    left = put(tmp_path / "de", " Ein  Hund", "Ein\u00a0Kind\t ", "Haus", "Mu\u0308ll")
    right = put(tmp_path / "en", "A  dog ", "A child\r", "House", "Rubbish")
    pairs, tidied = read_pairs(left, right)
    assert pairs == [
        ("Ein Hund", "A dog", "A  dog "),
        ("Ein Kind", "A child", "A child"),
        ("Haus", "House", "House"),
        ("Müll", "Rubbish", "Rubbish"),
    ]
    assert tidied == 4


@pytest.mark.parametrize("shorter", ["de", "en"])
def test_a_file_with_more_lines_is_named(shorter: str, tmp_path: Path) -> None:
    paths = {side: put(tmp_path / side, *["one"] * (2 if side == shorter else 3)) for side in ("de", "en")}
    longer = "en" if shorter == "de" else "de"
    with pytest.raises(DataError, match=f"3 lines, but 2 in {shorter}") as error:
        read_pairs(paths["de"], paths["en"])
    assert error.value.where == f"{paths[longer]}, line 3"
    assert "seqbench fetch" in error.value.fix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"one\n\nthree\n"), "empty"),
        (gzip.compress("one\n \u00a0\t\nthree\n".encode()), "empty"),
        (gzip.compress(b"one\nM\xe4nner\nthree\n"), "not UTF-8"),
        (gzip.compress(b"one\n", mtime=0) + b"<html>", "not a whole gzip file"),
    ],
)
def test_a_bad_line_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_lines(path)
    assert error.value.where == f"{path}, line 2"


def test_a_truncated_or_foreign_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(f"{np.random.default_rng(i).random()}" for i in range(9999)).encode())
    for content, first, last in ((whole[: len(whole) // 2], 1000, 5000), (whole[:-4], 5000, 10_000), (b"no", 1, 1)):
        path = tmp_path / "bad.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a whole gzip file") as error:
            read_lines(path)
        where, _, number = error.value.where.rpartition(", line ")
        assert where == str(path) and first <= int(number) <= last
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_lines(path)


# ---------------------------------------------------------------- sub-words

TRAINING = """
import hashlib, sys
from seqbench.tasks import _translation
lines = [line for path in sys.argv[1:] for line in _translation.read_lines(path)]
print(hashlib.sha256(_translation.train_tokeniser(lines, 60)).hexdigest())
"""


def test_other_processes_train_the_same_tokeniser(raw: Raw) -> None:
    paths = [raw[f"multi30k-train-{side}"] for side in ("de", "en")]
    lines = [line for path in paths for line in read_lines(path)]
    found = {hashlib.sha256(train_tokeniser(lines, 60)).hexdigest()}
    for number in ("1", "2"):
        machine = {"PYTHONHASHSEED": number, "OMP_NUM_THREADS": number, "LC_ALL": ("C", "de_DE.UTF-8")[int(number) - 1]}
        run = subprocess.run(
            [sys.executable, "-c", TRAINING, *map(str, paths)],
            env=os.environ | machine,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stderr == "", "sentencepiece must be silent"
        found.add(run.stdout.strip())
    assert len(found) == 1


def test_vocabularies_at_their_limits() -> None:
    characters = len(set("".join(GERMAN + ENGLISH)))  # with the space
    with pytest.raises(InputError, match="too few") as few:
        train_tokeniser(GERMAN + ENGLISH, characters + 3)
    assert few.value.fix == f"take {characters + 4} or more"
    assert train_tokeniser(GERMAN + ENGLISH, characters + 4)
    with pytest.raises(InputError, match="not 1000") as many:
        train_tokeniser(GERMAN + ENGLISH, 1000)
    largest = int(many.value.fix.split()[1])
    assert train_tokeniser(GERMAN + ENGLISH, largest)
    with pytest.raises(InputError):
        train_tokeniser(GERMAN + ENGLISH, largest + 1)


def test_the_tokeniser_has_the_marks_of_the_records(data: Prepared) -> None:
    marks = small("multi30k").pieces(np.array([PAD, UNKNOWN, BEGIN, END]), data)
    assert marks == ("<pad>", "<unk>", "<s>", "</s>")
    assert _translation.tokeniser(data) is _translation.tokeniser(data)
    assert _translation.tokeniser(data).get_piece_size() == data.spec.output_size == 60


def test_texts_and_tokens_there_and_back(data: Prepared) -> None:
    job = small("multi30k")
    text = "Zwei Mädchen singt."
    tokens = job.encode(f" Zwei  {text[5:]}\n", data)
    assert tokens.dtype == np.int32 and tokens[-1] == END and (tokens != END).sum() == len(tokens) - 1
    assert job.decode(tokens, data) == text
    marked = np.array([BEGIN, *tokens, *tokens, PAD, UNSCORED])
    assert job.decode(marked, data) == text, "marks are left out, and nothing after END is read"
    assert job.decode(np.array([END]), data) == job.decode(np.array([], np.int64), data) == ""
    assert "".join(job.pieces(tokens, data)) == "▁" + text.replace(" ", "▁") + "</s>"
    assert UNKNOWN in job.encode("Ein Ω.", data)


def test_a_text_that_cannot_be_read_is_an_input_error(data: Prepared) -> None:
    job = small("multi30k")
    for text in ("", " \n\t"):
        with pytest.raises(InputError, match="empty"):
            job.encode(text, data)
    longest = next(n for n in range(1, 99) if len(_translation.tokeniser(data).encode("a" * n)) == data.spec.length - 1)
    assert len(job.encode("a" * longest, data)) == data.spec.length
    with pytest.raises(InputError, match="30"):
        job.encode("a" * (longest + 1), data)


# ---------------------------------------------------------------- arrays


def test_arrays_hold_the_sentences(raw: Raw, data: Prepared) -> None:
    job = small("multi30k")
    for split, part in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        lines = set(zip(*(read_lines(raw[f"multi30k-{part}-{side}"]) for side in ("de", "en")), strict=True))
        arrays = data.split(split)
        sources = [job.decode(x, data) for x in arrays["x"]]
        targets = [job.decode(y, data) for y in arrays["y"]]
        assert targets == unpack(arrays["references"])
        short = [pair for pair, n in zip(zip(sources, targets, strict=True), arrays["lengths"], strict=True) if n <= 30]
        assert set(short) <= lines and len(short) >= len(sources) - 1  # one source of test is cut
        assert arrays["x"][np.arange(len(sources)), arrays["lengths"] - 1].tolist() == [END] * len(sources)


def test_defects_are_dropped_and_counted(files: Callable[..., dict[str, Path]]) -> None:
    good = list(zip(GERMAN, ENGLISH, strict=True))
    bad = [
        ("@@", "A dog runs up to me."),
        ("Ein Hund bellt.", "A dog barks."),  # its German is in valid
        ("Ein Vogel ruft.", "A bird sings."),  # its English is in test
        ("Ein Hund  läuft.", "A  dog runs."),  # a repeat, but for spaces
    ]
    another = ("Ein Hund läuft.", "A dog walks.")  # another translation is no repeat
    parts = files(
        train=[*good[:2], *bad, *good[2:], another],
        valid=[("Ein Hund bellt.", "The dog barks.")],
        test=[("Ein Vogel singt.", "A bird sings.")],
    )
    job = small("multi30k", vocabulary=40, train=None)
    arrays, notes = job.arrays(parts)
    assert unpack(arrays["train.references"]) == [*ENGLISH, "A dog walks."]
    assert [note.split()[0] for note in notes[:-1]] == ["2", "1", "2", "1", "0", "0"]


def test_long_pairs_of_train_are_dropped_others_are_cut(files: Callable[..., dict[str, Path]]) -> None:
    good = list(zip(GERMAN, ENGLISH, strict=True))
    long = "Ein Hund. " * 9
    parts = files(
        train=[*good, (long, long.replace("Ein Hund", "A dog"))],
        valid=[("Ein Kind.", "A child.")],
        test=[(long + "Haus.", ENGLISH[3] * 4), ("Ein Ω.", "An Ω.")],
    )
    job = small("multi30k", vocabulary=60, length=20, train=None)
    arrays, notes = job.arrays(parts)
    assert unpack(arrays["train.references"]) == ENGLISH
    assert [note.split()[0] for note in notes[-3:]] == ["1", "1", "2"]
    assert arrays["test.lengths"][0] == arrays["test.x"].shape[1] == 21
    targets = (arrays["test.y"] != UNSCORED).sum(axis=1)
    assert targets[0] == arrays["test.y"].shape[1] > 21, "a target is never cut"
    assert job.spec(arrays).target_length == targets[0]
    with pytest.raises(InputError, match="no pair"):
        small("multi30k", vocabulary=60, length=1, train=None).arrays(parts)


def test_subsets_come_by_seed_and_leave_the_order(raw: Raw) -> None:
    settings: dict[str, Any] = {"length": 60, "train": 20, "valid_items": 3, "test_items": 5}
    whole, _ = small("multi30k", length=60, train=None).arrays(raw)
    part, _ = small("multi30k", **settings).arrays(raw)
    other, _ = small("multi30k", data_seed=1, **settings).arrays(raw)
    for split, items in zip(SPLITS, (20, 3, 5), strict=True):
        all_of, some, others = (unpack(arrays[f"{split}.references"]) for arrays in (whole, part, other))
        rows = [all_of.index(text) for text in some]
        assert len(rows) == items and rows == sorted(rows)
        assert some != others
    for key, there in (("train", 44), ("valid_items", 8), ("test_items", 12)):
        with pytest.raises(InputError, match=f"only {there} pairs"):
            small("multi30k", **{key: there + 1}).arrays(raw)


def test_only_the_test_set_that_is_asked_for_is_read(raw: Raw) -> None:
    job = small("multi30k", test="2017_mscoco")
    assert [name for name in job.sources() if "test" in name] == [
        "multi30k-test_2017_mscoco-de",
        "multi30k-test_2017_mscoco-en",
    ]
    assert set(job.sources()) < set(multi30k.Task.SOURCES)
    arrays, _ = job.arrays({name: raw[name] for name in job.sources()})
    assert len(arrays["test.x"]) == 12


def test_spec_takes_the_connection(raw: Raw) -> None:
    for connection in ("none", "additive", "attention"):
        job = small("multi30k", connection=connection)
        arrays, _ = job.arrays(raw)
        spec = job.spec(arrays)
        assert spec.connection == connection and spec.tied and not spec.causal
        assert spec.watched == ("cross_entropy", "min") and spec.scorer == _translation.signature()
        assert tasks.task_id("multi30k", job.settings.plain()) == f"multi30k-{connection}"


# ---------------------------------------------------------------- scores and controls


def test_scores_by_hand() -> None:
    assert scores(ENGLISH, ENGLISH) == pytest.approx({"bleu": 100, "chrf": 100})
    assert scores([""] * 5, ENGLISH) == pytest.approx({"bleu": 0, "chrf": 0})
    # Precisions 6/8, 5/7, 4/6, 3/5 (as many words as the reference has): no brevity penalty.
    found = scores(["one two three four five six x y"], ["one two three four five six seven eight"])["bleu"]
    assert found == pytest.approx(100 * (6 / 8 * 5 / 7 * 4 / 6 * 3 / 5) ** 0.25)
    short = scores(["one two three four five six"], ["one two three four five six seven eight"])["bleu"]
    assert short == pytest.approx(100 * np.exp(1 - 8 / 6)), "brevity penalty"
    assert scores(["a dog RUNS fast ."], ["A dog runs fast."])["bleu"] < 50, "case counts"
    assert scores(["A dog runs fast ."], ["A dog runs fast."])["bleu"] == pytest.approx(100), (
        "a free full stop does not"
    )


def test_many_tokenised_texts_bring_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    scores(["a dog ."] * 200, ["A dog ."] * 200)
    assert not caplog.records


def test_the_scorer_is_named() -> None:
    words = dict(part.split(":") for part in _translation.signature().split("|"))
    assert words["case"] == "mixed" and words["tok"] == "13a" and words["nrefs"] == "1" and words["version"]


def model1(pairs: list[tuple[list[str], list[str]]]) -> dict[str, dict[str, float]]:
    """t(e | f) of IBM Model 1 by the letter of its equations, in plain loops."""
    vocabulary = {e for _, es in pairs for e in es}
    t = {f: dict.fromkeys(vocabulary, 1.0) for fs, _ in pairs for f in ["", *fs]}
    for _ in range(_translation.ROUNDS):
        counts = {f: dict.fromkeys(vocabulary, 0.0) for f in t}
        for fs, es in pairs:
            for e in es:
                total = sum(t[f][e] for f in ["", *fs])
                for f in ["", *fs]:
                    counts[f][e] += t[f][e] / total
        t = {f: {e: c / sum(row.values()) for e, c in row.items()} for f, row in counts.items()}
    return t


@pytest.mark.parametrize("seed", range(4))
def test_model_1_follows_its_equations(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(12):  # words that come twice, order that is lost, target words that come from nowhere
        words = [int(word) for word in random.integers(6, size=random.integers(1, 5))]
        targets = [f"e{word}" for word in random.permutation(words)] + ["the"] * int(random.integers(3))
        pairs.append(([f"f{word}" for word in words], targets))
    expected = model1(pairs)
    found = Model1([f for f, _ in pairs], [e for _, e in pairs])
    for f, row in expected.items():
        if f:
            (e,) = found.translate([f])
            assert row[e] == pytest.approx(max(row.values())), f


def test_word_by_word_finds_the_dictionary_and_keeps_unknown_words() -> None:
    pairs = list(zip(["a b", "b c", "c a", "a d", "d b"], ["A B", "C B", "C A", "D A", "B D"], strict=True))
    assert word_by_word(pairs, ["d c b a", "a x"]) == ["D C B A", "A x"]


def test_bleu_by_length_is_that_of_each_half() -> None:
    short, long = ["a b c d e"] * 3, ["a b c d e f g h i j"] * 2
    wrong = ["k l m n o p q r s t"] * 2
    found = by_length([*short, *wrong], [*short, *long])
    assert found["bleu_short"] == pytest.approx(100) and found["bleu_long"] < 1
    assert by_length(short, short) == {"bleu_short": pytest.approx(100), "bleu_long": 0.0}  # none is longer


def test_controls_score_what_they_say(data: Prepared) -> None:
    job = small("multi30k")
    found = control("multi30k", data)
    test = data.split("test")
    sources, references = [job.decode(x, data) for x in test["x"]], unpack(test["references"])
    assert found["trivial"] == scores(sources, references) | by_length(sources, references)
    assert found["strong"]["bleu"] > 10 * found["trivial"]["bleu"] > 0
    assert found["strong"]["chrf"] > 2 * found["trivial"]["chrf"]


# ---------------------------------------------------------------- the real files


@pytest.mark.mirror
def test_real_multi30k(real: Real, tmp_path: Path) -> None:
    data = write("multi30k", {}, real("multi30k"), tmp_path)
    assert data.manifest.sizes == {"train": 28_993, "valid": 1_014, "test": 1_000}
    assert [note.split()[0] for note in data.manifest.defects] == ["131", "2", "2", "3", "0", "0", "0"]
    assert data.spec.length == 53 and data.spec.target_length == 49
    found = control("multi30k", data)
    assert found["trivial"]["bleu"] == pytest.approx(0.48, abs=0.01)
    assert found["strong"]["bleu"] == pytest.approx(27.5, abs=0.5)
