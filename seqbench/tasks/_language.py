"""What the tasks of language modelling share: streams of tokens, and the n-gram models they are held against.

A split is one running text. It is read from a line end that stands before it, so that every token of
the split is predicted and scored, the first one from the line end alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared, unpack
from seqbench.records import Control, Count, Record, Share, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import numbering, vocabulary

NONE = -1
"""The number of an n-gram that the training text lacks."""
FALLBACK = (0.0, 0.5, 1.0, 1.5)
"""Discounts where the counts are too few to estimate them (as in KenLM, Heafield et al. 2013)."""
BLOCK = 640_000
"""Probabilities in memory at a time: about what a core's cache holds."""


class LanguageSettings(Record):
    """The window of truncated back-propagation, how much of each split is taken, and what all models share."""

    length: Count = 128
    """Tokens in a window; a state may be carried from one to the next."""
    train: Count | None = None
    """The first so many tokens of the training part; null: all."""
    valid: Count | None = None
    test: Count | None = None
    embedding: Count = 128
    """Columns of the embedding table."""
    dropout: Share = 0.0
    """On what goes into the core, and on what comes out of it."""


class Language(Base):
    """x (tokens,): a line end and the split but its last token. y (tokens,) int64: the split. `vocabulary`: packed."""

    FAMILY = "language"
    LINE_END: ClassVar[str]
    """The token that ends a line, as the vocabulary writes it."""
    ORDER: ClassVar[int]
    """Tokens in the n-grams of the strong control."""
    BY_LINE: ClassVar[bool]
    """Whether these n-grams end with the line."""
    METRIC: ClassVar[str]
    TIED: ClassVar[bool]

    @abstractmethod
    def read(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], Array, tuple[str, ...]]:
        """Numbered tokens (tokens,) of each split, whole; the vocabulary, packed; notes on defects."""

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Tokens in, the next token out at each step."""
        size = len(unpack(arrays["vocabulary"]))
        return Spec(
            inputs="tokens",
            input_size=size,
            outputs="stream",
            output_size=size,
            length=self.settings.length,
            metric=self.METRIC,
            direction="min",
            embedding=self.settings.embedding,
            tied=self.TIED,
            dropout=self.settings.dropout,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Read, cut to the first tokens where the settings say so, put the line end in front."""
        parts, packed, notes = self.read(raw)
        names = unpack(packed)
        kind = np.uint8 if len(names) <= 256 else np.int32
        arrays: dict[str, Array] = {"vocabulary": packed}
        for split in SPLITS:
            text = self._cut(parts[split], split)
            arrays[f"{split}.x"] = np.concatenate([[names.index(self.LINE_END)], text[:-1]]).astype(kind)
            arrays[f"{split}.y"] = text.astype(np.int64)
        absent = len(names) - len(np.unique(arrays["train.y"]))
        cut = f"{absent} of the {len(names)} tokens of the vocabulary are not in the training split as cut"
        return arrays, (*notes, cut)

    def _cut(self, part: Array, split: str) -> Array:
        wanted = getattr(self.settings, split)
        if wanted is not None and wanted > len(part):
            raise InputError(
                f"{wanted} tokens asked for, the part has {len(part)}",
                f"setting {split}",
                f"take at most {len(part)}, or null for all",
            )
        return part[:wanted]

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """How frequent each token is, order aside; and an n-gram model."""
        train, test = (_text(data.split(split)) for split in ("train", "test"))
        size = data.spec.output_size
        stop = numbering(data)[self.LINE_END] if self.BY_LINE else None
        grams = KneserNey(train, size, self.ORDER, stop)
        name = f"{self.ORDER}-gram, Kneser-Ney"
        outputs = unigram(train, test, size), grams.outputs(test)
        plain, strong = (self.score(of_one, test[1:], data.spec) for of_one in outputs)
        return Control(name="unigram", kind="trivial", metrics=plain), Control(name=name, kind="strong", metrics=strong)

    def pieces(self, tokens: Array, data: Prepared) -> tuple[str, ...]:
        """Each of the tokens (time,) as the vocabulary writes it."""
        names = vocabulary(data)
        return tuple(names[token] for token in np.asarray(tokens).tolist())


def nothing_to_read() -> InputError:
    """The complaint about an empty prompt."""
    return InputError("the prompt is empty", "prompt", "give the text that the model is to go on from")


def _text(part: Mapping[str, Array]) -> Array:
    """The line end and the split."""
    return np.concatenate([part["x"][:1], part["y"]]).astype(np.int64)


def unigram(train: Array, test: Array, size: int) -> Array:
    """Outputs for "stream" (tokens - 1, 2): the frequency of each token in train, every count one higher.

    The first token of both texts is only read, as in `KneserNey`.
    """
    counts = np.bincount(train[1:], minlength=size) + 1
    loss = -np.log(counts / counts.sum())
    return np.stack([loss[test[1:]], test[1:] == counts.argmax()], axis=1)


class KneserNey:
    """An n-gram model with interpolated, modified Kneser-Ney smoothing (Chen & Goodman 1999).

    p(w | h) = (c(hw) - D(c(hw))) / c(h) + gamma(h) p(w | h'), h' being h without its first token, down to
    1 / size without any h. c counts occurrences in the longest n-grams, and in shorter ones how many
    different tokens stand before them. D has one value each for c = 1, c = 2 and more, and gamma(h) gives
    the lower order what the discounts took away.

    text (tokens,): integers below `size`; its first token is context only. With `stop`, no context
    reaches back over that token; n-grams that begin where a context has to begin (with `stop`, or with the
    text) keep their number of occurrences, as nothing can stand before them (as in SRILM, Stolcke 2002).
    """

    def __init__(self, text: Array, size: int, order: int, stop: int | None = None) -> None:
        self.size, self.order, self.stop = size, order, stop
        self._grams: list[Array] = []
        """By length: the distinct n-grams as sorted numbers, (number of all but its last token) * size + last."""
        numbers, contexts = [], np.zeros(len(text), np.int64)
        for _ in range(order):
            codes = self._codes(contexts, text)
            self._grams.append(np.unique(codes[codes != NONE]))
            numbers.append(_places(self._grams[-1], codes))
            contexts = _before(numbers[-1])
        reach = self._reach(text)
        self._tables = [self._table(k, self._counts(k, numbers, reach)) for k in range(order)]

    def _codes(self, contexts: Array, text: Array) -> Array:
        """Of each token, the n-gram that it ends, with the context of that number."""
        return np.where(contexts == NONE, NONE, contexts * self.size + text)

    def _reach(self, text: Array) -> Array:
        """How many tokens before each may be its context; -1 for the first, which nothing predicts."""
        place = np.arange(len(text))
        begins = np.zeros(len(text), np.int64)
        if self.stop is not None:
            begins[1:] = np.maximum.accumulate(np.where(text == self.stop, place, 0))[:-1]
        return np.where(place > 0, place - begins, -1)

    def _counts(self, k: int, numbers: list[Array], reach: Array) -> Array:
        """c of each n-gram with k tokens of context."""
        events = numbers[k][reach >= k]
        if k + 1 < self.order:
            _, first = np.unique(numbers[k + 1][reach > k], return_index=True)
            events = np.concatenate([numbers[k][reach > k][first], numbers[k][reach == k]])
        return np.bincount(events, minlength=len(self._grams[k]))

    def _table(self, k: int, counts: Array) -> tuple[Array, csr_array]:
        """By context of k tokens: gamma (contexts + 1,), and the discounted shares, sparse (contexts + 1, size).

        The last row is for a context without counts: the lower order alone.
        """
        contexts = len(self._grams[k - 1]) if k else 1
        rows, tokens = np.divmod(self._grams[k], self.size)
        lost = discounts(counts)[np.minimum(counts, 3)]
        total, taken = (np.bincount(rows, weights=what, minlength=contexts + 1) for what in (counts, lost))
        seen = np.maximum(total, 1)
        edges = np.searchsorted(rows, np.arange(contexts + 2))
        shares = csr_array(((counts - lost) / seen[rows], tokens, edges), shape=(contexts + 1, self.size))
        return np.where(total > 0, taken / seen, 1.0), shares

    def outputs(self, text: Array) -> Array:
        """Outputs for "stream" (tokens - 1, 2), of each token but the first."""
        made = []
        for labels, chances in self.chances(text):
            own = chances[np.arange(len(labels)), labels]
            made.append(np.stack([-np.log(own), chances.argmax(axis=1) == labels], axis=1))
        return np.concatenate(made)

    def chances(self, text: Array) -> Iterator[tuple[Array, Array]]:
        """The tokens (some,) but the first, in blocks, each with the probabilities of all tokens (some, size)."""
        contexts = self._contexts(text)
        step = max(1, BLOCK // self.size)
        for start in range(1, len(text), step):
            labels = text[start : start + step]
            chances = np.full((len(labels), self.size), 1 / self.size)
            for (gamma, shares), rows in zip(self._tables, contexts, strict=True):
                rows = rows[start : start + step]
                chances *= gamma[rows, None]
                found = shares[rows]
                chances[np.repeat(np.arange(len(rows)), np.diff(found.indptr)), found.indices] += found.data
            yield labels, chances

    def _contexts(self, text: Array) -> list[Array]:
        """By length, the row of each token's context in the table."""
        reach, contexts, rows = self._reach(text), np.zeros(len(text), np.int64), []
        for k, grams in enumerate(self._grams):
            rows.append(np.where(reach >= k, contexts, NONE))  # NONE is also the last row
            contexts = _before(_places(grams, self._codes(contexts, text)))
        return rows


def _places(grams: Array, codes: Array) -> Array:
    """The place of each code in `grams` (sorted), or NONE."""
    places = np.minimum(np.searchsorted(grams, codes), len(grams) - 1)
    return np.where(grams[places] == codes, places, NONE)


def _before(numbers: Array) -> Array:
    """Of each token, the number of the n-gram that ends before it."""
    return np.concatenate([[NONE], numbers[:-1]])


def discounts(counts: Array) -> Array:
    """D for the counts 0, 1, 2 and more, from how many n-grams have the counts 1 to 4 (Chen & Goodman 1999)."""
    n1, n2, n3, n4 = (float(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) > 0:
        share = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3])
        if (found[1:] > 0).all():
            return found
    return np.array(FALLBACK)
