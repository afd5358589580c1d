"""GloVe: word vectors trained on 6 billion words of Wikipedia and Gigaword (Pennington et al. 2014).

Source: the official archive `glove-6b`, of which the member of 50 or 100 numbers a word is read as a stream and
held to its sha256; or any file of the same format: lines `word number number ...`, separated by single spaces.
Of all its lines, only those of the vocabulary's words are kept.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from seqbench.errors import DataError
from seqbench.prepared import Array
from seqbench.records import UNKNOWN

SOURCE = "glove-6b"
WIDTHS = {"glove.6B.50d": 50, "glove.6B.100d": 100}
"""Numbers a word of the archive's members that may be named."""
DIGESTS = {
    "glove.6B.50d": "ebdaa02fea5684e0626e79028a3cd147afaf04ab2080eb8ddb98be8d80cf58ef",
    "glove.6B.100d": "95dde4dfd627ab26608d33e76d1195ec059734bd29089ea52cadb08d07c64544",
}
"""sha256 of each member."""


def load(name: str, raw: Mapping[str, Path], words: Sequence[str], width: int) -> dict[str, Array]:
    """The vectors of a vocabulary: "embedding.rows" (n,) int64 and "embedding.values" (n, width) float32.

    name: of WIDTHS, or the path of a file, which `raw` has under that name.
    words: by token number, marks first; marks get no vector. A word that stands twice has its first vector.
    Raises DataError with file and line, also where the vectors have another width or none is of the vocabulary.
    """
    if name in WIDTHS:
        path, lines = raw[SOURCE], _member(raw[SOURCE], name)
        where, fix = f"{path}, {name}.txt", f"delete {path.name} and fetch it again: seqbench fetch {SOURCE}"
    else:
        path = raw[name]
        lines, where, fix = _lines(path), str(path), "give a file of GloVe's format, and its width as `embedding`"
    numbers = {word.encode(): number for number, word in enumerate(words) if number > UNKNOWN}
    found: dict[int, list[float]] = {}
    number = 0
    for number, line in enumerate(lines, start=1):
        word, *fields = line.rstrip(b"\r\n").split(b" ")
        try:
            values = _values(word, fields, width)
        except ValueError as error:
            raise DataError(str(error), f"{where}, line {number}", fix) from None
        if word in numbers:
            found.setdefault(numbers[word], values)
    if not found:
        what = "none of its words is in the vocabulary" if number else "the file is empty"
        raise DataError(what, f"{where}, line {number or 1}", fix)
    return {
        "embedding.rows": np.array(list(found), np.int64),
        "embedding.values": np.array(list(found.values()), np.float32),
    }


def _values(word: bytes, fields: list[bytes], width: int) -> list[float]:
    """The numbers of a line; ValueError says what is wrong with it."""
    if not word or len(fields) != width:
        raise ValueError(f"not a word and {width} numbers: {len(fields)} fields follow the word")
    try:
        values = list(map(float, fields))
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    return values


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _member(path: Path, name: str) -> Iterator[bytes]:
    """Lines of a member of the archive; after the last one, DataError where its sha256 is another."""
    fix = f"delete {path.name} and fetch it again: seqbench fetch {SOURCE}"
    where = f"{path}, {name}.txt"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.txt") as file:
            yield from _hashed(file, digest)
    except KeyError:
        raise DataError("the archive lacks this member", where, fix) from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"not a whole zip archive ({error})", where, fix) from None
    if digest.hexdigest() != DIGESTS[name]:
        raise DataError(f"sha256 is {digest.hexdigest()}, expected {DIGESTS[name]}", where, fix)


def _hashed(lines: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for line in lines:
        digest.update(line)
        yield line
