"""Selective copying: say, in order, the few symbols that were scattered over a long sequence of blanks.

Gu & Dao 2023 ("Mamba", sec. 4.1 and E.1), after the denoise task of Jing et al. 2019 ("Gated Orthogonal
Recurrent Units"). In `copy_memory` symbols stand at fixed places, and a count of steps finds them; here
their places are random, so a model must choose by content what it keeps. The layout is that of the
copying data in the code of S4 (state-spaces/s4, `variable`): `symbols` of `classes` at random
places of `length` steps, all else blank, then a go marker for each symbol that must be said.

Splits: drawn, each from a seed of its own; no two share a sequence.

Score: accuracy over the recalled symbols (chance 1/classes); 1 can be reached. `cross_entropy` is over the
same steps (chance ln classes). Strong control: the symbol that the sequence holds most often, at every
step: what a model gets that knows how many there are of each and not their order.

Published: 4,096 steps, 16 symbols, 16 tokens (here 14 symbols, blank and marker), trained on 400,000 batches of
64: S4 18.3 %, H3 57.0 %, Hyena 30.1 %, Mamba 99.8 % (Gu & Dao 2023, Table 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import Control, Count, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import NEVER
from seqbench.tasks._probes import DrawnSettings, distinct, draw_splits

BLANK = 0


class Task(Base):
    """x (items, length + symbols) uint8: 0 blank, symbols from 1, then go. y (items, symbols) int64: symbol - 1."""

    KNOB = "length"
    TITLE = "Selective copying"
    FAMILY = "probe"

    class Settings(DrawnSettings):
        """Steps over which the symbols are scattered, the symbols, and those of `DrawnSettings`."""

        length: Count = 4_096
        symbols: Count = 16
        classes: Annotated[int, Field(ge=2, le=254)] = 14

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Tokens in, a symbol out at each of the last steps."""
        settings = self.settings
        return Spec(
            inputs="tokens",
            input_size=settings.classes + 2,
            outputs="steps",
            output_size=settings.classes,
            length=settings.length + settings.symbols,
            window=settings.symbols,
            metric="accuracy",
            direction="max",
            embedding=settings.classes + 2,
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Draw places and symbols, and lay them out. Raises InputError."""
        settings = self.settings
        if settings.symbols > settings.length:
            raise InputError(
                f"{settings.symbols} symbols do not fit into length = {settings.length}",
                "settings of task selective_copy",
                "give as many steps or more",
            )
        different = math.comb(settings.length, settings.symbols) * settings.classes**settings.symbols
        axes = ("selective_copy", settings.length, settings.symbols)
        drawn = draw_splits(self._draw, settings, different, *axes)
        arrays: dict[str, Array] = {}
        for split in SPLITS:
            places, symbols = np.moveaxis(drawn[split], 1, 0)
            x = np.full((len(symbols), settings.length + settings.symbols), BLANK, np.uint8)
            np.put_along_axis(x, places, (1 + symbols).astype(x.dtype), axis=1)
            x[:, settings.length :] = 1 + settings.classes
            arrays[f"{split}.x"], arrays[f"{split}.y"] = x, symbols
        return arrays, ()

    def _draw(self, random: np.random.Generator, items: int) -> Array:
        """(items, 2, symbols): places, ascending, and symbols, from 0."""
        settings = self.settings
        places = np.sort(distinct(random, items, settings.length, settings.symbols), axis=1)
        return np.stack([places, random.integers(settings.classes, size=places.shape)], axis=1)

    def longer(self, factor: int) -> dict[str, Any]:
        """So many times the steps, as many symbols as before."""
        return {**self.settings.plain(), "length": factor * self.settings.length}

    def asked(self) -> tuple[int, float]:
        """All symbols."""
        symbols: int = self.settings.symbols
        return symbols, symbols * math.log2(self.settings.classes)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The same probability for each symbol (and, as a guess, always the first); its share of the sequence."""
        y = data.split("test")["y"]
        counts = np.stack([np.bincount(row, minlength=self.settings.classes) for row in y])
        shares = np.where(counts > 0, np.log(np.maximum(counts, 1)), NEVER)
        said = np.broadcast_to(shares[:, None], (*y.shape, self.settings.classes))
        return (
            Control(name="uniform guess", kind="trivial", metrics=self.score(np.zeros(said.shape), y, data.spec)),
            Control(name="most frequent symbol", kind="strong", metrics=self.score(said, y, data.spec)),
        )
