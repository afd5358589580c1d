"""Text classification: words, IMDb, SST-2 and word vectors, on small archives written here and on the real ones."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import REVIEWS, SENTENCES, SMALL, Raw, Real, control, small, tar, write

from seqbench import config, fetch, sources, tasks
from seqbench.errors import DataError, InputError
from seqbench.prepare import prepare
from seqbench.prepared import SPLITS, Array, Prepared, unpack
from seqbench.sources import Same, Source
from seqbench.tasks import _text, _vectors, imdb
from seqbench.tasks._text import words_of

BOTH = ("imdb", "sst2")
PUBLISHED = "b155ae18c4016500d64b7ea091f3f04c4ea9e702ab3bdb2b4aa0effbd4da11c6"


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's GREAT, isn't it?", "it 's great , is n't it ?"),
        ("They can't; we'll... I'd've!", "they ca n't ; we 'll ... i 'd 've !"),
        ("n't 'tis rock'n'roll", "n't ' tis rock ' n ' roll"),
        ("a well-made b-movie--or not - 10/10", "a well-made b-movie -- or not - 10 / 10"),
        ("“Cliché” — it’s…\x85", '" cliché " -- it \'s ... ...'),
        ("don\x92t \x96 snake_case", "do n't -- snake _ case"),
        ("  \n\t ", ""),
    ],
)
def test_words(text: str, words: str) -> None:
    assert words_of(text) == words.split()


def test_the_vocabulary_ranks_by_count_then_alphabet() -> None:
    lexicon = _text.Lexicon()
    texts = [lexicon.number(text.split()) for text in ("b a c a", "c d b", "e e e e e")]
    words, tokens = lexicon.vocabulary(texts[:2], most=9, minimum=1)
    assert words == ["<pad>", "<unknown>", "a", "b", "c", "d"]
    assert [tokens[text].tolist() for text in texts] == [[3, 2, 4, 2], [4, 5, 3], [1] * 5]
    assert lexicon.vocabulary(texts[:2], most=2, minimum=1)[0][2:] == ["a", "b"]
    assert lexicon.vocabulary(texts[:2], most=9, minimum=2)[0][2:] == ["a", "b", "c"]


def test_a_bag_of_words_ignores_padding_repeats_and_order() -> None:
    x = np.array([[3, 2, 3, 0], [4, 0, 0, 0]], np.int32)
    assert _text.bag(x, 5).toarray().tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


# ---------------------------------------------------------------- both tasks


@pytest.mark.parametrize("name", BOTH)
def test_arrays_are_padded_words_of_the_vocabulary(name: str, raw: Raw) -> None:
    job = small(name)
    arrays, _ = job.arrays(raw)
    spec, words = job.spec(arrays), unpack(arrays["vocabulary"])
    assert words[:2] == ["<pad>", "<unknown>"] and len(set(words)) == len(words) == spec.input_size
    assert (spec.causal, spec.pooling, spec.embedding, spec.dropout) == (False, "mean", 8, 0.5)
    assert job.LABELS == ("negative", "positive") and spec.output_size == 2
    for split in SPLITS:
        x, lengths = arrays[f"{split}.x"], arrays[f"{split}.lengths"]
        assert x.dtype == np.int32 and lengths.dtype == np.int64
        np.testing.assert_array_equal(x != 0, np.arange(x.shape[1]) < lengths[:, None])
    assert set(np.unique(arrays["train.x"])) >= set(range(2, spec.input_size))  # each word is of train


@pytest.mark.parametrize("name", BOTH)
def test_settings_reach_the_spec(name: str, raw: Raw) -> None:
    job = small(name, pooling="ends", embedding=12, dropout=0.25)
    spec = job.spec(job.arrays(raw)[0])
    assert (spec.pooling, spec.embedding, spec.dropout) == ("ends", 12, 0.25)


@pytest.mark.parametrize("name", BOTH)
def test_encode_reads_a_text_as_the_data_was_read(name: str, raw: Raw, tmp_path: Path) -> None:
    data = write(name, SMALL[name] | {"length": 4}, raw, tmp_path)
    job, words = tasks.build(name, data.manifest.settings), unpack(data.array("vocabulary"))
    known = words[2]
    tokens = job.encode(f"{known.upper()} zyzzyva", data)
    assert tokens.tolist() == [2, 1] and tokens.dtype == np.int32
    assert job.encode(f"{known} " * 9, data).tolist() == [2, 2, 2, 2]
    for empty in ("", " \n"):
        with pytest.raises(InputError, match="the text is empty") as error:
            job.encode(empty, data)
        assert name in error.value.where


def test_encode_gives_back_what_was_prepared(raw: Raw, tmp_path: Path) -> None:
    data = write("imdb", SMALL["imdb"], raw, tmp_path)
    job, test = tasks.build("imdb", data.manifest.settings), data.split("test")
    texts = [REVIEWS[name].decode() for name in sorted(REVIEWS) if "/test/" in name]
    for text, row, length in zip(texts, test["x"], test["lengths"], strict=True):
        np.testing.assert_array_equal(job.encode(text, data), row[:length])
    (tmp_path / "sst2").mkdir()
    lines = [f"{label} ( a good one ) did n't end" for label in (0, 1)]
    paths = {f"sst2-{split}": put(tmp_path / split, "\n".join(lines).encode()) for split in SPLITS}
    paths["sst2-train"] = put(tmp_path / "train", b"1 -lrb- a good one -rrb- did n't end\n0 dull")
    data = write("sst2", SMALL["sst2"], paths, tmp_path / "sst2")
    tokens = tasks.build("sst2", data.manifest.settings).encode("(A good one) didn't end", data)
    assert tokens.tolist() == data.split("train")["x"][0].tolist()


# ---------------------------------------------------------------- IMDb


def arrays_of(reviews: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> Any:
    monkeypatch.setattr(imdb, "DIGESTS", {imdb.digest(reviews)})
    return small("imdb", **changes).arrays({"imdb": put(folder / "archive.tar.gz", tar(reviews))})


def test_the_digest_is_over_hashes_and_paths_sorted_by_path() -> None:
    lines = "".join(f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in ((("a/1", b"x"), ("a/2", b"y"))))
    assert imdb.digest({"a/2": b"y", "a/1": b"x"}) == hashlib.sha256(lines.encode()).hexdigest()


def test_imdb_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = {
        "train/neg/0_1": "Bad<br />film.",
        "train/neg/1_2": "BAD film.",  # repeats the one above
        "train/neg/2_3": "Dull!",
        "train/neg/10_1": "It is in test",  # by path before 1 and 2
        "train/pos/0_7": "Good film",
        "train/pos/1_10": "Don't miss this film",
        "test/neg/0_4": "it  is in TEST",
        "test/neg/1_1": "Bad",
        "test/pos/0_9": "Good film. Fine film.",
        "test/pos/1_9": "good film. fine film.",  # stays
    }
    reviews = {f"aclImdb/{name}.txt": text.encode() for name, text in texts.items()}
    arrays, notes = arrays_of(reviews, monkeypatch, tmp_path, valid=1, length=4)
    words = unpack(arrays["vocabulary"])
    said = {
        split: [" ".join(words[token] for token in row if token) for row in arrays[f"{split}.x"]] for split in SPLITS
    }
    kept = ["bad film .", "dull !", "good film", "do n't miss this"]
    train_and_valid = sorted(
        zip(said["train"] + said["valid"], [*arrays["train.y"], *arrays["valid.y"]], strict=True),
        key=lambda item: item[1],
    )
    assert len(said["valid"]) == 1
    hidden = {word for word in " ".join(kept).split() if word not in words}  # of valid alone
    expected = [
        (" ".join("<unknown>" if word in hidden else word for word in text.split()), text in kept[2:]) for text in kept
    ]
    assert sorted(train_and_valid) == sorted(expected)
    assert arrays["test.y"].tolist() == [0, 0, 1, 1]
    assert arrays["test.lengths"].tolist() == [4, 1, 4, 4]
    np.testing.assert_array_equal(arrays["test.x"][2], arrays["test.x"][3])
    assert [note.split()[0] for note in notes[:4]] == ["1", "1", "1", "3"]
    assert "train dropped: also in test" in notes[0] and "kept, as published" in notes[2]
    assert notes[3] == "3 reviews cut to their first 4 words"


def test_another_archive_of_the_same_reviews_gives_the_same_bytes(raw: Raw, tmp_path: Path) -> None:
    """The official archive has another order, folders, unlabelled reviews and bags of words."""
    folder = tarfile.TarInfo("aclImdb/train/pos")
    folder.type = tarfile.DIRTYPE
    more = {
        "aclImdb/train/unsup/0_0.txt": b"none",
        "aclImdb/train/unsupBow.feat": bytes(100_000),
        "aclImdb/README": b"x",
    }
    other = put(tmp_path / "other", tar(more | dict(reversed(REVIEWS.items())), folder))
    (first, notes), (second, same) = (small("imdb").arrays({"imdb": path}) for path in (raw["imdb"], other))
    assert notes == same and first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def names_of(arrays: Mapping[str, Array], split: str) -> list[bytes]:
    return [row.tobytes() for row in arrays[f"{split}.x"]]


def test_imdb_splits(raw: Raw) -> None:
    whole, _ = small("imdb").arrays(raw)
    assert [len(whole[f"{split}.y"]) for split in SPLITS] == [28, 4, 32]
    assert np.bincount(whole["test.y"]).tolist() == [16, 16]
    assert [note.split()[0] for note in small("imdb").arrays(raw)[1]][:4] == ["0"] * 4
    part, _ = small("imdb", train=20, test=10).arrays(raw)
    assert [len(part[f"{split}.y"]) for split in SPLITS] == [20, 4, 10]
    other, _ = small("imdb", train=5, valid=9, test=10).arrays(raw)
    np.testing.assert_array_equal(part["test.y"], other["test.y"])  # whatever the others are
    for wanted in ({"train": 29}, {"valid": 32}, {"test": 33}):
        with pytest.raises(InputError, match="more reviews"):
            small("imdb", **wanted).arrays(raw)


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


FIRST = "aclImdb/test/neg/0_1.txt"
LACKING = {name: text for name, text in REVIEWS.items() if not name.endswith("/pos/3_10.txt")}


@pytest.mark.parametrize(
    ("archive", "message", "member"),
    [
        (b"<html>", "not a whole .tar.gz", ""),
        (tar(REVIEWS)[:-600], "not a whole .tar.gz", ""),
        (tar(REVIEWS)[:200] + bytes(100) + tar(REVIEWS)[300:], "not a whole .tar.gz", ""),
        (tar(LACKING), "2 of 64 reviews are missing, the first aclImdb/test/pos/3_", ""),
        (tar({}), "64 of 64 reviews are missing", ""),
        (tar(REVIEWS | {FIRST: b"another"}), f"not those published \\(digest .*{PUBLISHED}", ""),
        (tar(REVIEWS | {"aclImdb/test/neg/16_1.txt": b"one more"}), "not those published", ""),
        (tar(REVIEWS | {"aclImdb/train/pos/copy.txt": b""}), "no review's name", "aclImdb/train/pos/copy.txt"),
        (tar(REVIEWS | {"aclImdb/train/pos/../../x": b""}), "no review's name", "aclImdb/train/pos/../../x"),
        (tar(REVIEWS, link("aclImdb/test/pos/99_9.txt", tarfile.SYMTYPE)), "a link", "aclImdb/test/pos/99_9.txt"),
        (tar(REVIEWS, link("aclImdb/test/pos/99_9.txt", tarfile.LNKTYPE)), "a link", "aclImdb/test/pos/99_9.txt"),
        (tar(REVIEWS, link("aclImdb/test/pos/99_9.txt", tarfile.FIFOTYPE)), "odd", "aclImdb/test/pos/99_9.txt"),
        (tar(REVIEWS, tarfile.TarInfo(FIRST)), "twice", FIRST),
        (tar(REVIEWS | {FIRST: bytes(imdb.LARGEST + 1)}), "65537 bytes", FIRST),
    ],
)
def test_a_bad_archive_is_named(
    archive: bytes, message: str, member: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(imdb, "EACH", 16)
    monkeypatch.setattr(imdb, "DIGESTS", {imdb.digest(REVIEWS), PUBLISHED})
    path = put(tmp_path / "bad.tar.gz", archive)
    with pytest.raises(DataError, match=message) as error:
        small("imdb").arrays({"imdb": path})
    assert error.value.where == (f"{path}, {member}" if member else str(path))
    assert len(str(error.value).splitlines()) == 3 and "seqbench fetch imdb" in error.value.fix


@pytest.mark.parametrize(
    ("text", "message"), [(b"", "empty"), (b" <br /> ", "empty"), (b"cr\xe8me", "not UTF-8 .* at byte 2")]
)
def test_a_bad_review_is_named(text: bytes, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        arrays_of(REVIEWS | {FIRST: text}, monkeypatch, tmp_path)
    assert error.value.where == f"{tmp_path / 'archive.tar.gz'}, {FIRST}"


def test_imdb_controls(raw: Raw, tmp_path: Path) -> None:
    found = control("imdb", write("imdb", SMALL["imdb"], raw, tmp_path))
    assert found["trivial"]["accuracy"] == 0.5
    assert found["strong"]["accuracy"] > 0.8  # each mood has words of its own, and there are 28 to learn from


# ---------------------------------------------------------------- what was read stands in the manifest


def source(name: str, content: bytes, *same: bytes) -> Source:
    others = tuple(
        Same(path=f"derived/{number}", sha256=hashlib.sha256(one).hexdigest(), bytes=len(one))
        for number, one in enumerate(same)
    )
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "same": others}
    return Source(name=name, url=f"http://host/~x/{name}", licence="-", citation="-", defects=(), **record)


def test_the_manifest_has_the_hash_of_the_file_that_was_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    official, smaller = tar(REVIEWS | {"aclImdb/README": b"all"}), tar(REVIEWS)
    known = source("imdb", official, smaller)
    monkeypatch.setattr(sources, "read", lambda: {"imdb": known})
    settings = small("imdb").settings.plain()
    path = put(sources.raw_file(known, tmp_path / "raw"), smaller)
    first = prepare("imdb", settings, tmp_path)
    assert first.sources == {"imdb": hashlib.sha256(smaller).hexdigest()}
    path.write_bytes(official)  # the same content: nothing is made again
    assert prepare("imdb", settings, tmp_path) == first
    put(tmp_path / "prepared" / "imdb" / "manifest.json", b"{}")
    second = prepare("imdb", settings, tmp_path)
    assert second.sources == {"imdb": hashlib.sha256(official).hexdigest()}
    assert second.digest == first.digest
    path.write_bytes(official[:-1])
    assert prepare("imdb", settings, tmp_path) == second
    put(tmp_path / "prepared" / "imdb" / "manifest.json", b"{}")
    with pytest.raises(DataError, match="truncated"):
        prepare("imdb", settings, tmp_path)


def test_own_vectors_that_changed_are_read_again(raw: Raw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = source("imdb", raw["imdb"].read_bytes())
    monkeypatch.setattr(sources, "read", lambda: {"imdb": known})
    put(sources.raw_file(known, tmp_path / "raw"), raw["imdb"].read_bytes())
    path = put(tmp_path / "own.txt", b"good 1 2\n")
    settings = small("imdb", embedding=2, vectors=str(path)).settings.plain()
    first = prepare("imdb", settings, tmp_path)
    assert first.sources[str(path)] == hashlib.sha256(b"good 1 2\n").hexdigest()
    assert prepare("imdb", settings, tmp_path) == first
    path.write_bytes(b"good 3 4\n")
    second = prepare("imdb", settings, tmp_path)
    assert second.digest != first.digest
    assert Prepared(tmp_path / "prepared" / "imdb").array("embedding.values").tolist() == [[3, 4]]
    path.unlink()
    with pytest.raises(InputError, match="missing") as error:
        prepare("imdb", settings, tmp_path)
    assert error.value.where == str(path)


# ---------------------------------------------------------------- SST-2


def test_sst2_by_hand(raw: Raw) -> None:
    job = small("sst2")
    arrays, notes = job.arrays(raw)
    # Kept: a good film / a bad film / dull / great , great fun. Words by count, then by alphabet.
    words = ["a", "film", "great", ",", "bad", "dull", "fun", "good"]
    number = {word: place for place, word in enumerate(words, start=2)}
    assert unpack(arrays["vocabulary"])[2:] == words
    kept = {"train": ["a good film", "a bad film", "dull", "great , great fun"]}
    kept |= {split: [line[2:] for line in SENTENCES[split]] for split in ("valid", "test")}
    for split, sentences in kept.items():
        for row, length, sentence in zip(arrays[f"{split}.x"], arrays[f"{split}.lengths"], sentences, strict=True):
            ids = [number.get(word, 1) for word in sentence.split()]
            assert length == len(ids)
            assert row.tolist() == ids + [0] * (5 - len(ids))
    assert arrays["train.y"].tolist() == [1, 0, 0, 1]
    assert arrays["test.y"].tolist() == [1, 0, 1]
    assert job.spec(arrays).input_size == 10
    assert [note.split()[0] for note in notes] == ["1", "1", "0", "8"]
    assert "55.56% of the words of test are not" in notes[3]  # seen in test / crème brûlée


def test_sst2_cuts_sentences_and_vocabulary(raw: Raw) -> None:
    job = small("sst2", length=3, vocabulary=2)
    arrays, notes = job.arrays(raw)
    assert arrays["valid.x"].tolist() == [[1, 1, 0], [2, 1, 1]]
    assert arrays["valid.lengths"].tolist() == [2, 3]
    assert job.spec(arrays).input_size == 4
    assert notes[2].startswith("3 sentences cut")
    rare = small("sst2", minimum_count=2)
    assert rare.spec(rare.arrays(raw)[0]).input_size == 5  # a, film, great


def test_sst2_controls(tmp_path: Path) -> None:
    lines = {"train": ["1 good film", "0 bad film", "1 so good", "0 so very bad"], "valid": ["1 good"]}
    lines["test"] = ["1 film so very good", "0 very bad bad film", "1 good"]
    paths = {f"sst2-{split}": put(tmp_path / split, "\n".join(lines[split]).encode()) for split in SPLITS}
    found = control("sst2", write("sst2", {"minimum_count": 1}, paths, tmp_path / "prepared"))
    assert found["strong"]["accuracy"] == 1
    assert found["trivial"]["cross_entropy"] == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1", "sentence is empty"),
        (b"0   ", "sentence is empty"),
        (b"", "label is ''"),
        (b"2 fine", "label is '2'"),
        (b"positive fine", "label is 'positive'"),
        (b"1 cr\xe8me", "not UTF-8"),
    ],
)
def test_a_bad_line_of_sst2_is_named(text: bytes, message: str, raw: Raw, tmp_path: Path) -> None:
    path = put(tmp_path / "bad.txt", b"1 good\n" + text + b"\n0 bad\n")
    with pytest.raises(DataError, match=message) as error:
        small("sst2").arrays({**raw, "sst2-train": path})
    assert error.value.where == f"{path}, line 2"


# ---------------------------------------------------------------- word vectors

VECTORS = b"film 1 2 3\nzzz 4 5 6\n<unknown> 7 7 7\n. 0 0 0\nbad -0.5 1e-3 .25\ngood 7 8 9\ngood 1 1 1\n"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("name", BOTH)
def test_own_vectors(name: str, end: bytes, raw: Raw, tmp_path: Path) -> None:
    path = put(tmp_path / "own.txt", VECTORS.removesuffix(b"\n") + end)
    job = small(name, embedding=3, vectors=str(path))
    assert job.own_files() == (path,) and job.sources() == job.SOURCES
    arrays, notes = job.arrays({**raw, str(path): path})
    words = unpack(arrays["vocabulary"])
    rows, values = arrays["embedding.rows"], arrays["embedding.values"]
    assert rows.dtype == np.int64 and values.dtype == np.float32 and values.shape == (len(rows), 3)
    found = {words[row]: value.tolist() for row, value in zip(rows, values, strict=True)}
    expected = {"bad": [-0.5, np.float32(1e-3), 0.25], "good": [7, 8, 9], "film": [1, 2, 3], ".": [0, 0, 0]}
    assert found == {word: value for word, value in expected.items() if word in words}
    assert notes[-1] == f"{len(found)} of the {len(words) - 2} words have a vector in {path}"


def glove(members: Mapping[str, bytes], folder: Path) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return put(folder / "glove.6B.zip", buffer.getvalue())


def lines_of(width: int, words: tuple[str, ...] = ("good", "bad", "zzz")) -> bytes:
    return "".join(f"{word} {' '.join(str(n + len(word)) for n in range(width))}\n" for word in words).encode()


@pytest.mark.parametrize("width", [50, 100])
def test_glove_comes_from_its_archive(width: int, raw: Raw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members = {f"glove.6B.{n}d.txt": lines_of(n) for n in (50, 100, 200)}
    name = f"glove.6B.{width}d"
    monkeypatch.setitem(_vectors.DIGESTS, name, hashlib.sha256(members[f"{name}.txt"]).hexdigest())
    job = small("sst2", embedding=width, vectors=name)
    assert job.sources() == (*job.SOURCES, "glove-6b") and job.own_files() == ()
    arrays, notes = job.arrays({**raw, "glove-6b": glove(members, tmp_path)})
    words = unpack(arrays["vocabulary"])
    assert [words[row] for row in arrays["embedding.rows"]] == ["good", "bad"]
    np.testing.assert_array_equal(arrays["embedding.values"][1], np.arange(width) + 3)
    assert notes[-1] == f"2 of the 8 words have a vector in {name}"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:80] + bytes(20) + content[100:])


@pytest.mark.parametrize(
    ("members", "damage", "message", "line"),
    [
        ({"glove.6B.50d.txt": lines_of(50)}, None, "sha256 is", ""),
        ({"glove.6B.100d.txt": lines_of(100)}, None, "lacks this member", ""),
        ({"glove.6B.50d.txt": lines_of(100)}, None, "50 numbers: 100 fields", ", line 1"),
        ({"glove.6B.50d.txt": b""}, None, "sha256 is", ""),
        ({"glove.6B.50d.txt": lines_of(50)}, cut, "not a whole zip", ""),
        ({"glove.6B.50d.txt": lines_of(50)}, spoil, "not a whole zip", ""),
    ],
)
def test_a_bad_glove_archive_is_named(
    members: Mapping[str, bytes],
    damage: Callable[[Path], None] | None,
    message: str,
    line: str,
    raw: Raw,
    tmp_path: Path,
) -> None:
    path = glove(members, tmp_path)
    if damage:
        damage(path)
    with pytest.raises(DataError, match=message) as error:
        small("sst2", embedding=50, vectors="glove.6B.50d").arrays({**raw, "glove-6b": path})
    assert error.value.where == f"{path}, glove.6B.50d.txt{line}"
    assert "seqbench fetch glove-6b" in error.value.fix


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 1, "the file is empty"),
        (b"3 3\n" + VECTORS, 1, "3 numbers: 1 fields"),  # the header of word2vec's format
        (VECTORS + b"good 1 2\n", 8, "3 numbers: 2 fields"),
        (VECTORS + b"so good 1 2 3\n", 8, "3 numbers: 4 fields"),
        (VECTORS + b" 1 2 3\n", 8, "not a word"),
        (VECTORS + b"\n" + VECTORS, 8, "not a word"),
        (VECTORS + b"rest 1 two 3\n", 8, "could not convert"),
        (VECTORS + b"rest 1  3\n", 8, "could not convert"),
        (VECTORS + b"rest 1 nan 3\n", 8, "not finite"),
        (VECTORS + b"rest 1 1e999 3\n", 8, "not finite"),
        (b"rest 1 2 3\nmore 1 2 3\n", 2, "none of its words"),
    ],
)
def test_a_bad_line_of_own_vectors_is_named(content: bytes, line: int, message: str, raw: Raw, tmp_path: Path) -> None:
    path = put(tmp_path / "own.txt", content)
    with pytest.raises(DataError, match=message) as error:
        small("sst2", embedding=3, vectors=str(path)).arrays({**raw, str(path): path})
    assert error.value.where == f"{path}, line {line}"
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vectors": "glove.6B.50d"}, "50 numbers a word, and embedding is 100"),
        ({"vectors": "glove.6B.100d", "embedding": 50}, "100 numbers a word, and embedding is 50"),
        ({"vectors": "glove.6B.300d"}, "neither of glove.6B.50d, glove.6B.100d nor"),
        ({"vectors": "vectors.bin"}, "nor the path of a .txt"),
        ({"vectors": ""}, "nor the path of a .txt"),
        ({"dropout": 1.0}, "less than 1"),
        ({"pooling": "max"}, "'mean', 'last' or 'ends'"),
    ],
)
def test_bad_settings_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        config.typed(tasks.find(name).Settings, settings, "here")
    assert f"here, {next(iter(settings))} = " in error.value.where


# ---------------------------------------------------------------- the real files

MEASURED = r"""
import json, re, sys
from pathlib import Path
from seqbench.prepare import controls, prepare
root = Path(sys.argv[1])
manifest = prepare("imdb", {}, root)
found = {one.kind: one.metrics["accuracy"] for one in controls("imdb", root).controls}
# Of this process alone: what getrusage says begins at the peak of the process that started it.
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([manifest.plain(), found, int(peak[1])]))
"""


@pytest.mark.mirror
def test_real_imdb(mirror: str, tmp_path: Path) -> None:
    known = sources.read()["imdb"]
    path = fetch.download(known, tmp_path / "raw", mirror, None)
    reviews = imdb.read(path)
    assert imdb.digest(reviews) == PUBLISHED
    folders = [name.rpartition("/")[0] for name in reviews]
    assert {folder: folders.count(folder) for folder in imdb.FOLDERS} == dict.fromkeys(imdb.FOLDERS, 12_500)
    said = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    manifest, accuracy, kilobytes = json.loads(said.stdout)
    assert manifest["sources"] == {"imdb": sources.identify(known, tmp_path / "raw")}
    assert manifest["sizes"] == {"train": 25_000 - 222 - 2_500, "valid": 2_500, "test": 25_000}
    assert [note.split()[0] for note in manifest["defects"]] == ["123", "99", "201", "8555", "25000"]
    assert accuracy["trivial"] == 0.5
    assert 0.86 < accuracy["strong"] < 0.89
    assert kilobytes < 2_000_000


@pytest.mark.mirror
def test_real_sst2(real: Real, tmp_path: Path) -> None:
    data = write("sst2", {}, real("sst2"), tmp_path)
    assert data.manifest.sizes == {"train": 6909, "valid": 872, "test": 1821}
    assert [note.split()[0] for note in data.manifest.defects] == ["3", "8", "0", "7139"]
    found = control("sst2", data)
    assert found["trivial"]["accuracy"] == pytest.approx(0.5, abs=0.01)
    assert 0.78 < found["strong"]["accuracy"] < 0.84


HEAD = "7201krap/COURSERA_NLP-with-Tensorflow/ab7e903a54970fa3795be8efbd11464ea52004f1/glove.6B.100d.txt"
"""The first 2604 lines of the real file."""


@pytest.mark.mirror
def test_real_vectors(mirror: str, real: Real, tmp_path: Path) -> None:
    path = tmp_path / "head.txt"
    with urllib.request.urlopen(f"{mirror}/{HEAD}") as answer:
        path.write_bytes(answer.read())
    job = tasks.build("sst2", {"vectors": str(path)})
    arrays, notes = job.arrays(real("sst2") | {str(path): path})
    words = unpack(arrays["vocabulary"])
    assert notes[-1].startswith(f"{len(arrays['embedding.rows'])} of the 7139 words")
    known = {words[row]: value for row, value in zip(arrays["embedding.rows"], arrays["embedding.values"], strict=True)}
    assert {"the", "film", ".", "n't", "'s"} <= known.keys()
    for line in path.read_text().splitlines()[:50]:
        word, *numbers = line.split(" ")
        if word in words:
            np.testing.assert_array_equal(known[word], np.array(numbers, np.float32))

    def likeness(one: str, other: str) -> float:
        return float(known[one] @ known[other] / np.linalg.norm(known[one]) / np.linalg.norm(known[other]))

    assert likeness("good", "better") > 0.5 > likeness("good", "million")
