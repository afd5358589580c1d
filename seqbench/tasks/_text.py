"""What tasks that classify texts share: words, their numbers, padding, word vectors, bags of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import ValidationInfo, field_validator
from scipy.sparse import csr_array

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared, pack, unpack
from seqbench.records import PAD, UNKNOWN, Control, Count, Record, Share, Spec
from seqbench.tasks import Base, _vectors
from seqbench.tasks._common import logistic, majority, numbering

MARKS = ("<pad>", "<unknown>")
"""What stands in the vocabulary for PAD and UNKNOWN; no text holds a word that is spelt so."""
PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’\x91\x92", "'"),
        **dict.fromkeys("“”\x93\x94", '"'),
        **dict.fromkeys("–—\x96\x97", "--"),
        **dict.fromkeys("…\x85", "..."),
    }
)
"""Typographic quotes, dashes and dots, and the Windows code points that stand for them in some reviews."""
WORD = re.compile(
    r"""
    n't\b                           # don't: do, n't
    | [^\W_]+?(?=n't\b)
    | '(?:s|m|d|ll|re|ve)\b         # it's: it, 's
    | [^\W_]+(?:-[^\W_]+)*          # letters and digits; a compound is one word
    | \.\.\. | --
    | \S                            # any other character by itself
    """,
    re.VERBOSE,
)
"""Words and punctuation, near to the Penn Treebank's way, in which GloVe and SST-2 were made."""


def words_of(text: str) -> list[str]:
    """Lower-case words and punctuation of a text."""
    return WORD.findall(text.translate(PLAIN).lower())


class Lexicon:
    """Every word met, numbered from 0 in the order of meeting: texts are kept as numbers, not as words."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, words: Iterable[str]) -> Array:
        """(words,) int32."""
        numbers = self.numbers
        return np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)

    def vocabulary(self, texts: Sequence[Array], most: int, minimum: int) -> tuple[list[str], Array]:
        """The `most` frequent words of `texts` that occur `minimum` times (ties by alphabet), after the marks.

        Also the token of each number of this lexicon, (numbers,) int32: UNKNOWN where the word is not taken.
        """
        words = list(self.numbers)
        counts = np.bincount(np.concatenate(texts), minlength=len(words))
        ranked = sorted(range(len(words)), key=lambda number: (-counts[number], words[number]))
        kept = [number for number in ranked[:most] if counts[number] >= minimum]
        tokens = np.full(len(words), UNKNOWN, np.int32)
        tokens[kept] = np.arange(len(MARKS), len(MARKS) + len(kept))
        return [*MARKS, *(words[number] for number in kept)], tokens


def pad(texts: Sequence[Array], width: int) -> tuple[Array, Array]:
    """Texts of tokens as x (items, width) int32, filled up with PAD, and their lengths (items,) int64."""
    x = np.full((len(texts), width), PAD, np.int32)
    for row, text in zip(x, texts, strict=True):
        row[: len(text)] = text
    return x, np.array([len(text) for text in texts], np.int64)


def bag(x: Array, size: int) -> csr_array:
    """Sparse (items, size): 1 where the item holds the word, padding left out."""
    rows, steps = np.nonzero(x)
    found = csr_array((np.ones(len(rows)), (rows, x[rows, steps])), shape=(len(x), size))
    found.data[:] = 1  # the constructor has added repeats up
    return found


class Text(Base):
    """x (items, longest) int32, padded with PAD. lengths (items,) int64. y (items,) int64.

    Besides: "vocabulary", the words by token number (`prepared.pack`); with vectors, "embedding.rows" and
    "embedding.values" (`_vectors.load`).
    """

    FAMILY = "text"
    LABELS = ("negative", "positive")
    ITEMS: ClassVar[str] = "texts"
    PENALTY: ClassVar[float] = 1.0
    """L2 weight of the strong control."""

    class Settings(Record):
        """The vocabulary, the longest text, and what the frontend makes of words."""

        vocabulary: Count = 25_000
        """The most frequent words of train (ties by alphabet), besides padding and unknown."""
        minimum_count: Count = 2
        """Rarer words are unknown: the models must meet that token in training."""
        length: Count = 400
        """Words after these are cut off."""
        pooling: Literal["mean", "last", "ends"] = "mean"
        embedding: Count = 100
        """Numbers a word, as the table of words has columns."""
        dropout: Share = 0.5
        vectors: str | None = None
        """The table's start: null (random), "glove.6B.50d", "glove.6B.100d", or the path of a .txt in their format."""

        @field_validator("vectors")
        @classmethod
        def _known(cls, name: str | None, info: ValidationInfo) -> str | None:
            width = info.data.get("embedding")
            if name in _vectors.WIDTHS and width not in (None, _vectors.WIDTHS[name]):
                raise ValueError(f"{name} has {_vectors.WIDTHS[name]} numbers a word, and embedding is {width}")
            if name is not None and name not in _vectors.WIDTHS and not name.endswith(".txt"):
                raise ValueError(f"neither of {', '.join(_vectors.WIDTHS)} nor the path of a .txt")
            return name

    def sources(self) -> tuple[str, ...]:
        """The task's own, and GloVe where its vectors are asked for by name."""
        return (*self.SOURCES, _vectors.SOURCE) if self.settings.vectors in _vectors.WIDTHS else self.SOURCES

    def own_files(self) -> tuple[Path, ...]:
        """A person's own vectors."""
        name = self.settings.vectors
        return () if name is None or name in _vectors.WIDTHS else (Path(name),)

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Words in, two classes out, read both ways."""
        return Spec(
            inputs="tokens",
            input_size=len(unpack(arrays["vocabulary"])),
            outputs="classes",
            output_size=len(self.LABELS),
            length=arrays["train.x"].shape[1],
            metric="accuracy",
            direction="max",
            causal=False,
            pooling=self.settings.pooling,
            embedding=self.settings.embedding,
            dropout=self.settings.dropout,
            ceiling=1.0,
        )

    def build(
        self,
        lexicon: Lexicon,
        texts: Mapping[str, Sequence[Array]],
        labels: Mapping[str, Sequence[int]],
        raw: Mapping[str, Path],
    ) -> tuple[dict[str, Array], list[str]]:
        """The prepared arrays, and notes: cut, vocabulary, vectors. `texts` of each split, numbered by `lexicon`."""
        settings = self.settings
        sizes = [len(text) for split in SPLITS for text in texts[split]]
        width = min(settings.length, max(sizes))
        cut = {split: [text[:width] for text in texts[split]] for split in SPLITS}
        words, tokens = lexicon.vocabulary(cut["train"], settings.vocabulary, settings.minimum_count)
        arrays = {"vocabulary": pack(words)}
        for split in SPLITS:
            x, lengths = pad([tokens[text] for text in cut[split]], width)
            arrays |= {f"{split}.x": x, f"{split}.lengths": lengths, f"{split}.y": np.array(labels[split], np.int64)}
        unknown = np.mean(arrays["test.x"][arrays["test.x"] != PAD] == UNKNOWN)
        notes = [
            f"{sum(size > width for size in sizes)} {self.ITEMS} cut to their first {settings.length} words",
            f"{len(words) - len(MARKS)} words of train are known; {unknown:.2%} of the words of test are not",
        ]
        if settings.vectors is not None:
            arrays |= _vectors.load(settings.vectors, raw, words, settings.embedding)
            found = len(arrays["embedding.rows"])
            notes.append(f"{found} of the {len(words) - len(MARKS)} words have a vector in {settings.vectors}")
        return arrays, notes

    def words(self, text: str) -> list[str]:
        """A person's text as words, in the way of the data."""
        return words_of(text)

    def encode(self, text: str, data: Prepared) -> Array:
        """A person's text as tokens (time,) int32, cut as the data is; InputError where it holds no word."""
        words = self.words(text)[: data.spec.length]
        if not words:
            raise InputError("the text is empty", f"task {data.manifest.task}", "give at least one word")
        return np.array([numbering(data).get(word, UNKNOWN) for word in words], np.int32)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class; logistic regression on which words a text holds."""
        train, test = data.split("train"), data.split("test")
        known, asked = ((bag(part["x"], data.spec.input_size), part["y"]) for part in (train, test))
        return (
            majority(self, train["y"], test["y"], data.spec),
            logistic("bag of words, logistic regression", self, known, asked, data.spec, penalty=self.PENALTY),
        )
