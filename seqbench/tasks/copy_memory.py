"""The copy memory problem: repeat ten symbols after a long delay (Hochreiter & Schmidhuber 1997).

In the form of Arjovsky et al. 2016 (sec. 5.1): ten symbols drawn from eight, `delay` - 1 blanks,
a go marker, ten blanks: delay + 20 steps. During the last ten steps the model must say the ten
symbols in order. Valid and test share no sequence with each other or with train: a draw that
would repeat one is drawn again.

Score: accuracy over the ten recalled symbols (chance 1/8); 1 can be reached. `cross_entropy` is
over the same ten steps (chance ln 8 = 2.079). The published loss is the mean over all delay + 20
steps, nearly all of which ask for a blank; a model that gets the blanks right has
published loss = cross_entropy * 10 / (delay + 20), and chance is 10 ln 8 / (delay + 20).
Published loss at a delay of 1000: LSTM 0.0204, GRU 0.0197, plain RNN 0.0202 (Bai et al. 2018, Table
1), where chance is 0.0204: none had learned it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqbench.prepared import Array, Prepared
from seqbench.records import Control, Count, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import generator
from seqbench.tasks._probes import DrawnSettings

BLANK, GO = 0, 9
SYMBOLS, RECALL = 8, 10


class Task(Base):
    """x (items, delay + 20) uint8: 0 blank, 1 to 8 symbols, 9 go. y (items, 10) int64: symbol - 1."""

    KNOB = "delay"
    TITLE = "Copy memory"
    FAMILY = "probe"

    class Settings(DrawnSettings):
        """Steps from the last symbol to the first recall, and those of `DrawnSettings`."""

        delay: Count = 200

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Ten tokens in, one of eight symbols out at each of the last ten steps."""
        return Spec(
            inputs="tokens",
            input_size=GO + 1,
            outputs="steps",
            output_size=SYMBOLS,
            length=self.settings.delay + 2 * RECALL,
            window=RECALL,
            metric="accuracy",
            direction="max",
            embedding=10,
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Draw the splits, test first, so that its items do not depend on the size of the others."""
        arrays: dict[str, Array] = {}
        taken = np.empty(0, np.int64)
        for split in ("test", "valid", "train"):
            codes = self._draw(split, taken)
            taken = np.concatenate([taken, codes])
            symbols = codes[:, None] // SYMBOLS ** np.arange(RECALL) % SYMBOLS
            x = np.full((len(codes), self.settings.delay + 2 * RECALL), BLANK, np.uint8)
            x[:, :RECALL] = symbols + 1
            x[:, -RECALL - 1] = GO
            arrays[f"{split}.x"], arrays[f"{split}.y"] = x, symbols
        return arrays, ()

    def _draw(self, split: str, taken: Array) -> Array:
        """Sequences as numbers with ten digits in base 8, none of them in `taken`."""
        settings = self.settings
        random = generator(settings.data_seed, "copy_memory", settings.delay, split)
        codes = np.empty(0, np.int64)
        while missing := getattr(settings, split) - len(codes):
            fresh = random.integers(SYMBOLS**RECALL, size=missing)
            codes = np.concatenate([codes, fresh[~np.isin(fresh, taken)]])
        return codes

    def longer(self, factor: int) -> dict[str, Any]:
        """So many times the delay, ten symbols as before."""
        return {**self.settings.plain(), "delay": factor * self.settings.delay}

    def asked(self) -> tuple[int, float]:
        """All symbols."""
        return RECALL, RECALL * math.log2(SYMBOLS)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The same probability for each symbol (and, as a guess, always the first)."""
        y = data.split("test")["y"]
        guess = np.zeros((*y.shape, SYMBOLS))
        return (Control(name="uniform guess", kind="trivial", metrics=self.score(guess, y, data.spec)),)
