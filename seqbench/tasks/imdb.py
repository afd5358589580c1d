"""IMDb: is a film review positive? (Large Movie Review Dataset, Maas et al. 2011)

Source: `aclImdb_v1.tar.gz`, read as a stream and never unpacked; only its members
aclImdb/{train,test}/{pos,neg}/ID_RATING.txt count: 25,000 reviews to train and 25,000 to test, half of each
positive (7 to 10 stars) and half negative (1 to 4). A digest of these 50,000 files is checked, so another
archive that holds the same reviews (without the 50,000 unlabelled ones, 28 in place of 84 MB) gives the same bytes.

Split: the official test part, all of it; validation is cut from the official train part by seed. Defects:

- 222 reviews of train hold the same words as one of test (123) or an earlier one of train (99): dropped before
  the cut. 201 of test repeat another of test: kept, as published.
- `<br />`, in more than half of the reviews, becomes a space.
- One film has reviews in both parts (tt0406816: 2 of train, 23 of test): kept, as published.
- The vocabulary comes from the training split alone. A review keeps its first `length` words (400: 17 % are
  longer); the notes have the count.

Score: accuracy. Published: bag of words with an SVM 0.878 (Maas et al. 2011, Table 2) and 0.870, with bigrams and
features of naive Bayes 0.912 (Wang & Manning 2012); LSTM 0.865, from word2vec's vectors 0.900, after training
as a language model on the unlabelled reviews too 0.924 (Dai & Le 2015, Table 2).
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from seqbench.errors import DataError
from seqbench.prepared import Array
from seqbench.records import Count
from seqbench.tasks._common import cut_official
from seqbench.tasks._text import Lexicon, Text, words_of

FOLDERS = tuple(f"aclImdb/{part}/{label}" for part, label in product(("test", "train"), ("neg", "pos")))
NAME = re.compile(rf"(?:{'|'.join(FOLDERS)})/(\d+)_\d+\.txt")
EACH = 12_500
"""Reviews in each folder, numbered from 0."""
LARGEST = 1 << 16
"""Bytes of a review, at most; the longest one has 13,704."""
DIGESTS = {"b155ae18c4016500d64b7ea091f3f04c4ea9e702ab3bdb2b4aa0effbd4da11c6"}
"""Contents that are taken for the data set (`digest`)."""


def digest(reviews: Mapping[str, bytes]) -> str:
    """sha256 over lines `sha256  path` of all reviews, sorted by path."""
    lines = (f"{hashlib.sha256(reviews[name]).hexdigest()}  {name}\n" for name in sorted(reviews))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read(path: Path) -> dict[str, bytes]:
    """The labelled reviews by their path in the archive, sorted.

    Raises DataError where the archive is cut, holds something odd among the reviews, or other reviews than published.
    """
    fix = f"delete {path.name} and fetch it again: seqbench fetch imdb"
    reviews: dict[str, bytes] = {}
    try:
        for name, content in _members(path, fix):
            if name in reviews:
                raise DataError("a review stands twice in the archive", f"{path}, {name}", fix)
            reviews[name] = content
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"not a whole .tar.gz archive ({error})", str(path), fix) from None
    found = digest(reviews)
    if found not in DIGESTS:
        what = _missing(reviews) or "the reviews are not those published"
        raise DataError(f"{what} (digest {found}, expected {', '.join(DIGESTS)})", str(path), fix)
    return dict(sorted(reviews.items()))


def _members(path: Path, fix: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of each review; what lies in other folders is passed over."""
    with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            if not member.name.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
                continue
            kind = "a link" if member.issym() or member.islnk() else "no review's name"
            if not member.isreg() or not NAME.fullmatch(member.name):
                raise DataError(f"odd member among the reviews: {kind}", f"{path}, {member.name}", fix)
            if member.size > LARGEST:
                what = f"a review of {member.size} bytes, {LARGEST} at most are expected"
                raise DataError(what, f"{path}, {member.name}", fix)
            content = archive.extractfile(member)
            assert content is not None  # a regular file
            yield member.name, content.read()
        while file.read(LARGEST):  # to the end, where gzip has a checksum: tarfile takes damage for the end
            pass


def _missing(reviews: Mapping[str, bytes]) -> str:
    """How many are missing, and the first; empty where none is."""
    there = {name.split("_")[0] for name in reviews}
    lost = [f"{folder}/{number}" for folder in FOLDERS for number in range(EACH) if f"{folder}/{number}" not in there]
    return f"{len(lost)} of {len(FOLDERS) * EACH} reviews are missing, the first {lost[0]}_*.txt" if lost else ""


def _plain_words(text: str) -> list[str]:
    return words_of(text.replace("<br />", " "))


def _words(name: str, content: bytes, path: Path) -> list[str]:
    fix = f"delete {path.name} and fetch it again: seqbench fetch imdb"
    try:
        words = _plain_words(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        what = f"not UTF-8 ({error.reason} at byte {error.start})"
        raise DataError(what, f"{path}, {name}", fix) from None
    if not words:
        raise DataError("the review is empty", f"{path}, {name}", fix)
    return words


class Task(Text):
    """Reviews, two classes; arrays as `Text` says."""

    SOURCES = ("imdb",)
    TITLE = "IMDb reviews"
    ITEMS = "reviews"
    PENALTY = 10.0
    """Best of 1, 3, 10, 30 and 100 on validation."""

    class Settings(Text.Settings):
        """Those of all texts, and items in each split (null: all there are)."""

        train: Count | None = None
        valid: Count = 2_500
        """Cut from the official train part by seed."""
        test: Count | None = None
        data_seed: int = 0

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Read, drop repeats from train, cut off validation, number the words, pad."""
        lexicon = Lexicon()
        texts = {
            name: lexicon.number(_words(name, content, raw["imdb"])) for name, content in read(raw["imdb"]).items()
        }
        names, dropped = _without_repeats(texts)
        chosen = self._choose(names)
        arrays, notes = self.build(
            lexicon,
            {split: [texts[name] for name in chosen[split]] for split in chosen},
            {split: [int("/pos/" in name) for name in chosen[split]] for split in chosen},
            raw,
        )
        return arrays, (*dropped, *notes)

    def words(self, text: str) -> list[str]:
        """A person's text as the reviews are read."""
        return _plain_words(text)

    def _choose(self, names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Names of each split's reviews, sorted, from those of both parts."""
        rows = cut_official(self.settings, "imdb", self.ITEMS, len(names["train"]), len(names["test"]))
        parts = {"train": "train", "valid": "train", "test": "test"}
        return {split: [names[parts[split]][row] for row in index] for split, index in rows.items()}


def _without_repeats(texts: Mapping[str, Array]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Names of both parts' reviews, those of train without repeats of any other; and notes with the counts."""
    keys = {name: hashlib.sha256(text.tobytes()).digest() for name, text in texts.items()}
    test = [name for name in texts if name.startswith("aclImdb/test/")]
    train = [name for name in texts if name.startswith("aclImdb/train/")]
    held_out = {keys[name] for name in test}
    alone = [name for name in train if keys[name] not in held_out]
    once: dict[bytes, str] = {}
    for name in alone:
        once.setdefault(keys[name], name)
    return {"train": list(once.values()), "test": test}, (
        f"{len(train) - len(alone)} reviews of train dropped: also in test",
        f"{len(alone) - len(once)} repeated reviews of train dropped",
        f"{len(test) - len(held_out)} repeated reviews of test kept, as published",
    )
