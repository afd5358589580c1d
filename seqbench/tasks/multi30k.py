"""Multi30k, task 1: German descriptions of photographs into English (Elliott et al. 2016).

Source: github.com/multi30k/dataset, the raw (untokenised, cased) text; 29000 / 1014 / 1000 pairs, official
split. Test is `2016_flickr`, or one of the later sets `2017_flickr` (1000) and `2017_mscoco` (461).

What is done about defects, with counts in the data's notes: white space is made plain (40 German lines
of train have spaces around them, others two in a row or no-break spaces); pairs of train are dropped
where one side has more than three times as many words as the other (2, where "@@" stands for the
German), where valid or test holds one of their sentences (2 with the test set of 2016; no pair as a
whole), and where they repeat a pair (3). A German sentence with two English ones stays. Pairs of train
with more than `length` sub-words on a side are dropped; those of valid and test never.

Sub-words: one vocabulary for both languages by byte pair encoding, from the pairs of train that are taken,
before the long ones are dropped. Source and target both end with END, so the encoder sees that it has all.

Score: BLEU by sacrebleu, cased, on the raw references, 0 to 100 (`Spec.scorer` has its signature); chrF beside
it. Checkpoints are chosen by cross-entropy, as writing is dear. Published, German to English, test 2016,
lower case, tokenised: 38.38 by an LSTM with attention on words, 15.72 word by word from a dictionary made
without pairs (Lample et al. 2018, Table 2). Here text is cased, and scored as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sentencepiece import SentencePieceProcessor

from seqbench.errors import InputError
from seqbench.prepared import Array, Prepared, pack, unpack
from seqbench.records import END, PAD, UNKNOWN, UNSCORED, Control, Count, Record, Share, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import generator
from seqbench.tasks._translation import (
    Pair,
    by_length,
    decode,
    read_pairs,
    scores,
    signature,
    tidy,
    tokeniser,
    train_tokeniser,
    word_by_word,
)

TESTS = ("2016_flickr", "2017_flickr", "2017_mscoco")
SIDES = ("de", "en")
RATIO = 3
"""Words of one side for each word of the other; above that a pair is no translation."""


class Task(Base):
    """x (items, longest source) int32, padded with PAD; y (items, longest target) int64; both end with END.

    lengths (items,) int64. references: the English lines as they are. tokeniser: a sentencepiece model, uint8.
    """

    KNOB = "connection"
    SOURCES = tuple(
        f"multi30k-{part}-{side}" for part in ("train", "val", *(f"test_{t}" for t in TESTS)) for side in SIDES
    )
    TITLE = "Multi30k, German to English"
    VERSION = 2
    FAMILY = "translation"

    class Settings(Record):
        """How the decoder sees the encoder, what is read, and what all models share."""

        connection: Literal["none", "additive", "attention"] = "attention"
        vocabulary: Count = 8_000
        """Sub-words of both languages together, with the four marks."""
        length: Count = 60
        """Sub-words of a sentence, its end not counted; longer pairs of train are dropped."""
        train: Count | None = None
        """Pairs, drawn by seed before the long ones are dropped; null: all."""
        valid_items: Count | None = None
        test_items: Count | None = None
        test: Literal["2016_flickr", "2017_flickr", "2017_mscoco"] = "2016_flickr"
        embedding: Count = 256
        dropout: Share = 0.3
        data_seed: int = 0

    def sources(self) -> tuple[str, ...]:
        """Both sides of train, validation and the test set that is asked for."""
        return tuple(f"multi30k-{part}-{side}" for part in self._parts().values() for side in SIDES)

    def _parts(self) -> dict[str, str]:
        return {"train": "train", "valid": "val", "test": f"test_{self.settings.test}"}

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Sub-words in and out, from one table; the encoder reads both ways."""
        settings = self.settings
        return Spec(
            inputs="tokens",
            input_size=settings.vocabulary,
            outputs="sequence",
            output_size=settings.vocabulary,
            length=arrays["train.x"].shape[1],
            target_length=arrays["train.y"].shape[1],
            metric="bleu",
            direction="max",
            selection="cross_entropy",
            scorer=signature(),
            causal=False,
            connection=settings.connection,
            embedding=settings.embedding,
            tied=True,
            dropout=settings.dropout,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Read, tidy, drop what must not be in train, learn the sub-words, number, pad."""
        read = {
            split: read_pairs(*(raw[f"multi30k-{part}-{side}"] for side in SIDES))
            for split, part in self._parts().items()
        }
        parts = {split: pairs for split, (pairs, _) in read.items()}
        notes = [f"{sum(count for _, count in read.values())} lines with white space other than one space tidied"]
        parts["train"] = self._clean(parts, notes)
        parts = {split: self._take(pairs, split) for split, pairs in parts.items()}
        text = [side for pair in parts["train"] for side in (pair.source, pair.target)]
        model = train_tokeniser(text, self.settings.vocabulary)
        arrays, more = self._numbered(parts, SentencePieceProcessor(model_proto=model))
        arrays["tokeniser"] = np.frombuffer(model, np.uint8)
        return arrays, (*notes, *more)

    def _clean(self, parts: Mapping[str, list[Pair]], notes: list[str]) -> list[Pair]:
        """The pairs of train that may be learned from."""
        held_out = {side for split in ("valid", "test") for pair in parts[split] for side in pair[:2]}
        alike = [pair for pair in parts["train"] if _ratio(pair) <= RATIO]
        alone = [pair for pair in alike if held_out.isdisjoint(pair[:2])]
        once: dict[tuple[str, ...], Pair] = {}
        for pair in alone:
            once.setdefault(pair[:2], pair)
        notes += [
            f"{len(parts['train']) - len(alike)} pairs of train dropped: over {RATIO} times as many words on a side",
            f"{len(alike) - len(alone)} pairs of train dropped: valid or test holds one of their sentences",
            f"{len(alone) - len(once)} repeated pairs of train dropped",
        ]
        return list(once.values())

    def _take(self, pairs: list[Pair], split: str) -> list[Pair]:
        """As many pairs as the settings ask for, by seed, in the order of the file."""
        key = "train" if split == "train" else f"{split}_items"
        wanted = getattr(self.settings, key)
        if wanted is None:
            return pairs
        if wanted > len(pairs):
            raise InputError(f"only {len(pairs)} pairs there", f"{key} = {wanted}", "ask for fewer, or null for all")
        rows = generator(self.settings.data_seed, "multi30k", split).permutation(len(pairs))[:wanted]
        return [pairs[row] for row in np.sort(rows)]

    def _numbered(
        self, parts: Mapping[str, list[Pair]], model: SentencePieceProcessor
    ) -> tuple[dict[str, Array], list[str]]:
        """The arrays of all splits, and notes on sentences that are too long."""
        longest = self.settings.length
        tokens: dict[str, tuple[list[list[int]], list[list[int]]]] = {}
        arrays: dict[str, Array] = {}
        dropped = cut = unknown = 0
        for split, pairs in parts.items():
            lines = list(
                zip(
                    model.encode([p.source for p in pairs]), model.encode([p.target for p in pairs]), pairs, strict=True
                )
            )
            if split == "train":
                kept = [line for line in lines if max(len(line[0]), len(line[1])) <= longest]
                dropped, lines = len(lines) - len(kept), kept
            cut += sum(len(source) > longest for source, _, _ in lines)
            unknown += sum(UNKNOWN in side for line in lines for side in line[:2])
            tokens[split] = [[*s[:longest], END] for s, _, _ in lines], [[*t, END] for _, t, _ in lines]
            arrays[f"{split}.references"] = pack(pair.reference for _, _, pair in lines)
        if not tokens["train"][0]:
            raise InputError("no pair of train is that short", f"length = {longest}", "allow longer sentences")
        width, target_width = (max(len(row) for both in tokens.values() for row in both[side]) for side in (0, 1))
        for split, (sources, targets) in tokens.items():
            arrays[f"{split}.x"] = _padded(sources, width, PAD, np.int32)
            arrays[f"{split}.y"] = _padded(targets, target_width, UNSCORED, np.int64)
            arrays[f"{split}.lengths"] = np.array([len(row) for row in sources], np.int64)
        return arrays, [
            f"{dropped} pairs of train dropped: a side has over {longest} sub-words",
            f"{cut} source sentences of valid and test cut to {longest} sub-words",
            f"{unknown} sentences of valid and test hold a character that train lacks",
        ]

    def score(self, outputs: Any, y: Any, spec: Spec) -> dict[str, float]:
        """BLEU, chrF, and BLEU of short and long sentences apart, 0 to 100: texts `outputs`, one reference each `y`."""
        return scores(outputs, y) | by_length(outputs, y)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The source sentence as it is; IBM Model 1, word by word."""
        train, test = data.split("train"), data.split("test")
        model, references = tokeniser(data), unpack(test["references"])
        known = ((decode(model, x), text) for x, text in zip(train["x"], unpack(train["references"]), strict=True))
        sources = [decode(model, x) for x in test["x"]]
        copied = self.score(sources, references, data.spec)
        translated = self.score(word_by_word(known, sources), references, data.spec)
        return (
            Control(name="source sentence as it is", kind="trivial", metrics=copied),
            Control(name="word by word, IBM Model 1", kind="strong", metrics=translated),
        )

    def encode(self, text: str, data: Prepared) -> Array:
        """A German sentence as tokens (time,) int32 with END. InputError: empty, or longer than all of the data."""
        tokens = [*tokeniser(data).encode(tidy(text)), END]
        if len(tokens) == 1:
            raise InputError("the sentence is empty", f"text for {data.manifest.task}", "give a German sentence")
        if len(tokens) > data.spec.length:
            what = f"the sentence has {len(tokens) - 1} sub-words, the longest of the data {data.spec.length - 1}"
            raise InputError(what, f"text for {data.manifest.task}", "give one sentence at a time")
        return np.array(tokens, np.int32)

    def decode(self, tokens: Array, data: Prepared) -> str:
        """The text of tokens (time,) before the first END."""
        return decode(tokeniser(data), tokens)

    def pieces(self, tokens: Array, data: Prepared) -> tuple[str, ...]:
        """Each of the tokens (time,) as sentencepiece writes it: "▁" begins a word, "</s>" is END."""
        return tuple(tokeniser(data).id_to_piece(np.asarray(tokens).tolist()))


def _ratio(pair: Pair) -> float:
    shorter, longer = sorted(len(side.split()) for side in pair[:2])
    return longer / shorter


def _padded(rows: Sequence[Sequence[int]], width: int, fill: int, kind: type) -> Array:
    """(items, width)"""
    table: Array = np.full((len(rows), width), fill, kind)
    for to, row in zip(table, rows, strict=True):
        to[: len(row)] = row
    return table
