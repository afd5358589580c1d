"""State tracking: the parity of the bits so far, and on sequences far longer than those of training.

Parity check of Delétang et al. 2023 (ICLR, "Neural Networks and the Chomsky Hierarchy"): train on up to
40 bits, test on longer strings. There the parity is asked for once, after the last bit; here at every
step, as in the word problems of Merrill et al. 2024 (ICML, "The Illusion of State in State-Space
Models"), so that a sequence of 40 trains all lengths up to 40. `modulus` makes it the running sum of
symbols 0 to m - 1, modulo m: the word problem of the cyclic group of m states; 2 is parity.

Splits: drawn, each from a seed of its own. Test sequences are `test_length` steps, the others
`length`; no two splits share a sequence's first `length` steps. Validation does not go beyond the
training length: who chooses a learning rate or a checkpoint on longer sequences has trained on them,
and test would no longer ask what a model does where nobody looked.

Score: accuracy over the steps of test after the training length (over all steps where there are none, as
on train and valid); `cross_entropy` and `perplexity` are over the same steps; `accuracy_trained` is over
the steps up to the training length. 1 can be reached. Guessing has 1/m, and so has any rule that
leaves out one symbol: no control can be strong. On valid accuracy says only that the training
lengths were learned, and stays at 1 from there on; so checkpoints and rates are chosen by the cross-entropy.

Published in per cent, asked for once, mean over lengths 41 to 500, the best of 10 seeds: parity check: RNN
100, LSTM 100, Transformer 52.0; cycle navigation (five states, steps -1, 0, 1): RNN 100, LSTM 100,
Transformer 61.9 (Delétang et al. 2023, Table 2).
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
from seqbench.tasks._common import generator
from seqbench.tasks._probes import DrawnSettings, draw_splits, guess


class Task(Base):
    """x (items, steps) uint8: symbols 0 to m - 1. y (items, steps) int64: their sum so far, modulo m."""

    KNOB = "modulus"
    TITLE = "Parity and sums modulo m"
    FAMILY = "probe"

    class Settings(DrawnSettings):
        """States to track, steps of a sequence, and those of `DrawnSettings`."""

        modulus: Annotated[int, Field(ge=2, le=256)] = 2
        length: Count = 40
        """Steps in training and validation."""
        test_length: Count = 256

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """One of m symbols in and one of m states out at each step."""
        return Spec(
            inputs="tokens",
            input_size=self.settings.modulus,
            outputs="every",
            output_size=self.settings.modulus,
            length=self.settings.test_length,
            metric="accuracy",
            direction="max",
            selection="cross_entropy",
            embedding=self.settings.modulus,
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Draw the splits at the training length, continue test, and sum. Raises InputError."""
        settings = self.settings
        modulus, beyond = settings.modulus, settings.test_length - settings.length
        if beyond < 0:
            raise InputError(
                f"test_length = {settings.test_length} is below length = {settings.length}",
                "settings of task parity",
                "make it the same or more",
            )

        def symbols(random: np.random.Generator, items: int, steps: int = settings.length) -> Array:
            return random.integers(modulus, size=(items, steps), dtype=np.uint8)

        axes = ("parity", modulus, settings.length)
        x = draw_splits(symbols, settings, modulus**settings.length, *axes)
        more = symbols(generator(settings.data_seed, *axes, "beyond"), settings.test, beyond)
        x["test"] = np.concatenate([x["test"], more], axis=1)
        arrays = {f"{split}.x": x[split] for split in SPLITS}
        arrays |= {f"{split}.y": np.cumsum(x[split], axis=1, dtype=np.int64) % modulus for split in SPLITS}
        return arrays, ()

    def score(self, outputs: Array, y: Array, spec: Spec) -> dict[str, float]:
        """The metrics of Base over the steps after the training length, where there are any."""
        steps = self.settings.length
        trained = super().score(outputs[:, :steps], y[:, :steps], spec)
        beyond = super().score(outputs[:, steps:], y[:, steps:], spec) if y.shape[1] > steps else trained
        return beyond | {"accuracy_trained": trained["accuracy"]}

    def longer(self, factor: int) -> dict[str, Any]:
        """Test sequences of so many times the training length."""
        return {**self.settings.plain(), "test_length": factor * self.settings.length}

    def asked(self) -> tuple[int, float]:
        """One label: the same state is asked for at every step."""
        return 1, math.log2(self.settings.modulus)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The same probability for each state (and, as a guess, always 0)."""
        y = data.split("test")["y"]
        return (guess(self, "uniform guess", "trivial", np.zeros_like(y), self.settings.modulus, y, data.spec),)
