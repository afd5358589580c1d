"""Multi-query associative recall: many keys with their values, then the keys again: what was the value?

MQAR of Arora et al. 2024 (ICLR, "Zoology: Measuring and Improving Recall in Efficient Language Models"), in
the form of the authors' code (HazyResearch/zoology): key, value, key, value, ...; after the pairs
each key comes once more, at one of the even places of the rest, and there the model must say its value.
Keys and values are different tokens, and each is different within a sequence. A query's place, counted
in slots of two steps after the pairs, has probability slot ** (power - 1): the power law by
which words repeat in text, many at once and a few late; power = 1 is uniform. Other places hold a blank, or
(filler: random) any token but the blank. All steps but the queries are UNSCORED.

Unlike there, pairs take the drawn places in random order: drawn pair by pair, earlier pairs would come
back earlier, and a query's place would tell which pair it asks for. Splits are drawn, each from a seed of
its own, and no two share a sequence.

Score: accuracy over the queries; 1 can be reached. Trivial control: any value, 1 / values. Strong control:
a value that this sequence holds, 1 / pairs, which is all that can be had without knowing which key it
belongs to. Half of the vocabulary are values.

Published (a figure, Arora et al. 2024, Fig. 2; vocabulary 8,192; 64 to 512 steps, 4 to 64 pairs): attention
of width 64 solves all lengths; gated convolutions need a width that grows with the length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import UNSCORED, Control, Count, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import generator
from seqbench.tasks._probes import DrawnSettings, distinct, draw_splits, guess

BLANK = 0


class Task(Base):
    """x (items, length) int32: 0 blank, then keys, then values. y (items, length) int64: value, from 0, or UNSCORED."""

    KNOB = "pairs"
    TITLE = "Associative recall"
    FAMILY = "probe"

    class Settings(DrawnSettings):
        """What a sequence holds, and those of `DrawnSettings`."""

        pairs: Count = 16
        length: Count = 256
        vocabulary: Annotated[int, Field(ge=4, le=65_536)] = 8_192
        power: Annotated[float, Field(strict=False, gt=0, le=1)] = 0.01
        filler: Literal["blank", "random"] = "blank"
        train: Count = 100_000
        valid: Count = 3_000
        test: Count = 3_000

    @property
    def first_value(self) -> int:
        """The token of the first value; keys are the tokens from 1 up to it."""
        return int(self.settings.vocabulary) // 2

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Tokens in, one of all values out at each query."""
        return Spec(
            inputs="tokens",
            input_size=self.settings.vocabulary,
            outputs="every",
            output_size=self.settings.vocabulary - self.first_value,
            length=self.settings.length,
            metric="accuracy",
            direction="max",
            embedding=64,
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Draw keys, values and slots, and lay them out. Raises InputError."""
        settings, slots = self.settings, self._slots()
        keys, values = self.first_value - 1, settings.vocabulary - self.first_value
        different = (
            math.perm(keys, settings.pairs) * math.perm(values, settings.pairs) * math.perm(slots, settings.pairs)
        )
        axes = ("recall", settings.pairs, settings.length)
        drawn = draw_splits(self._draw, settings, different, *axes)
        arrays: dict[str, Array] = {}
        for split in SPLITS:
            x, arrays[f"{split}.y"] = self._lay_out(drawn[split])
            if settings.filler == "random":
                random = generator(settings.data_seed, *axes, split, "filler")
                x[x == BLANK] = random.integers(1, settings.vocabulary, size=np.count_nonzero(x == BLANK))
            arrays[f"{split}.x"] = x
        return arrays, ()

    def _slots(self) -> int:
        """Places for queries: every second step after the pairs."""
        settings = self.settings
        slots = int(settings.length - 2 * settings.pairs + 1) // 2
        if slots < settings.pairs or settings.pairs > self.first_value - 1:
            raise InputError(
                f"{settings.pairs} pairs and their queries do not fit into {settings.length} steps "
                f"or {settings.vocabulary} tokens",
                "settings of task recall",
                "give 4 steps a pair or more, and a vocabulary of 2 * (pairs + 1) or more",
            )
        return slots

    def _draw(self, random: np.random.Generator, items: int) -> Array:
        """(items, 3, pairs): keys, values and slots, all from 0."""
        settings, slots = self.settings, self._slots()
        keys = distinct(random, items, self.first_value - 1, settings.pairs)
        values = distinct(random, items, settings.vocabulary - self.first_value, settings.pairs)
        # Who comes first of exponential waiting times with these rates is a draw by these weights, one after
        # the other without replacement (Efraimidis & Spirakis 2006).
        rates = np.arange(1, slots + 1) ** (settings.power - 1)
        waiting = random.exponential(size=(items, slots)) / rates
        places = random.permuted(waiting.argsort(axis=1)[:, : settings.pairs], axis=1)
        return np.stack([keys, values, places], axis=1)

    def _lay_out(self, drawn: Array) -> tuple[Array, Array]:
        """x and y of keys, values and slots (items, 3, pairs)."""
        keys, values, slots = np.moveaxis(drawn, 1, 0)
        pairs = self.settings.pairs
        x = np.full((len(drawn), self.settings.length), BLANK, np.int32)
        y = np.full(x.shape, UNSCORED, np.int64)
        x[:, 0 : 2 * pairs : 2] = 1 + keys
        x[:, 1 : 2 * pairs : 2] = self.first_value + values
        queries = 2 * pairs + 2 * slots
        np.put_along_axis(x, queries, (1 + keys).astype(x.dtype), axis=1)
        np.put_along_axis(y, queries, values, axis=1)
        return x, y

    def longer(self, factor: int) -> dict[str, Any]:
        """So many times the steps, as many pairs as before."""
        return {**self.settings.plain(), "length": factor * self.settings.length}

    def asked(self) -> tuple[int, float]:
        """The value of each key; within a sequence values are different."""
        values = self.settings.vocabulary - self.first_value
        return self.settings.pairs, math.log2(math.perm(values, self.settings.pairs))

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Any value with the same probability (said: 0); any value of this sequence (said: its first)."""
        test = data.split("test")
        x, y, pairs = test["x"], test["y"], self.settings.pairs
        seen = np.broadcast_to(x[:, 1:2] - self.first_value, y.shape)
        return (
            guess(self, "any value", "trivial", np.zeros_like(y), data.spec.output_size, y, data.spec),
            guess(self, "any value of the sequence", "strong", seen, pairs, y, data.spec),
        )
