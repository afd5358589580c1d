"""Tiny Shakespeare: the next character of his plays (Karpathy 2015, char-rnn).

Source: 1,115,394 ASCII characters in 40,000 lines, 65 different ones. Split by position, 90 / 5 / 5 %:
1,003,854 / 55,770 / 55,770. The vocabulary is that of the training part, whole; it holds every character of
the others. No 50 characters in a row of valid or test are in the training part. Each split is read as a
text of its own, after a line end.

Score: bits per character, the cross-entropy over ln 2; state is carried from window to window. Published:
a Transformer of 10.7 million parameters has a cross-entropy of 1.47 nats, 2.12 bits, as its best on the
last 10 %, valid and test here together (Karpathy, nanoGPT 2022). The order of the n-gram control, 7, is
the best of 4 to 9 on valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seqbench.errors import InputError
from seqbench.prepared import Array, Prepared, pack
from seqbench.records import Spec
from seqbench.tasks._common import bad_line, numbering
from seqbench.tasks._language import Language, LanguageSettings, nothing_to_read


def read(path: Path) -> Array:
    """The characters of a text (characters,) uint8; DataError where it is empty or not ASCII."""
    content = path.read_bytes()
    if not content:
        raise bad_line("the file is empty", path, 1)
    text = np.frombuffer(content, np.uint8)
    wrong = np.flatnonzero(text > 127)
    if len(wrong):
        raise bad_line(f"not ASCII (byte {content[wrong[0]]:#x})", path, _line(text, int(wrong[0])))
    return text


def _line(text: Array, place: int) -> int:
    return int(np.count_nonzero(text[:place] == ord("\n"))) + 1


def written(character: str) -> str:
    """A character as the vocabulary writes it: as in Python's texts, so that a line end takes no line (`\\n`)."""
    return character.encode("unicode_escape").decode("ascii")


class Task(Language):
    """x (characters,) uint8, y (characters,) int64. `vocabulary`: characters in the order of ASCII, as `written`."""

    SOURCES = ("tiny-shakespeare",)
    TITLE = "Tiny Shakespeare"
    LINE_END = "\\n"
    ORDER = 7
    BY_LINE = False  # a sentence goes on over several lines
    METRIC = "bits_per_character"
    TIED = False

    class Settings(LanguageSettings):
        """Window, characters of each split, embedding columns, dropout."""

    def read(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], Array, tuple[str, ...]]:
        """Split by position, number the characters of the training part."""
        path = raw["tiny-shakespeare"]
        text = read(path)
        first = len(text) * 9 // 10
        second = first + (len(text) - first) // 2
        if second == first:
            raise bad_line(f"{len(text)} characters are too few for three splits", path, _line(text, len(text) - 1))
        known = np.union1d(text[:first], [ord("\n")])
        strange = np.flatnonzero(~np.isin(text, known))
        if len(strange):
            what = f"the character {chr(text[strange[0]])!r} is not in the training part, the first 90 %"
            raise bad_line(what, path, _line(text, int(strange[0])))
        numbers = np.searchsorted(known, text)
        parts = {"train": numbers[:first], "valid": numbers[first:second], "test": numbers[second:]}
        return parts, pack(written(chr(code)) for code in known), ()

    def score(self, outputs: Array, y: Array, spec: Spec) -> dict[str, float]:
        """As for every stream, and bits per character."""
        scores = super().score(outputs, y, spec)
        return {**scores, "bits_per_character": scores["cross_entropy"] / math.log(2)}

    def encode(self, text: str, data: Prepared) -> Array:
        """The numbers (characters,) of a text's characters; InputError names one that has none."""
        if not text:
            raise nothing_to_read()
        numbers = numbering(data)
        for place, character in enumerate(text, start=1):
            if written(character) not in numbers:
                known = "".join(numbers)
                raise InputError(
                    f"the character {character!r} is not in the vocabulary",
                    f"prompt, character {place}",
                    f"use characters of the training text only: {known}",
                )
        return np.array([numbers[written(character)] for character in text], np.int64)

    def decode(self, tokens: Array, data: Prepared) -> str:
        """The text of these characters."""
        return "".join(self.pieces(tokens, data)).encode("ascii").decode("unicode_escape")
