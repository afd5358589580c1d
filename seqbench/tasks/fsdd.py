"""FSDD: which digit was spoken (Free Spoken Digit Dataset, version 1.0.10).

Source: 3000 recordings of ten digits by six speakers, 50 of each, at 8 kHz (Jakobovski/free-spoken-digit-dataset,
CC BY-SA 4.0). Input: 40 log-mel bands every 10 ms, each standardised by the training split.

Two splits, side by side. "official": takes 0 to 4 for test as the source says, here 5 to 9 for validation, 10 to 49
for training; all speakers are in all splits. "speakers": george and yweweler, the first and the last by name, for
test (1000 recordings), theo for validation, the other three for training. Two, because speakers differ more than
architectures: the strong control, with each speaker held out alone, has from 0.52 (george) to 0.92 (theo). That
score says how a model fares with these two, and not with speakers in general.

Score: accuracy. We know of no published scores of sequence models on either split.

Defects: loudness differs by speaker (median root mean square of 212 for theo, 2779 for jackson, of 32768), and all
recordings of nicolas have a constant offset (about -232): each recording is brought to no offset and one
loudness. Two recordings (7_theo_36 and 9_theo_16) last over two seconds, silence around the word among it, and five
touch full scale: kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from seqbench.prepared import SPLITS, Array
from seqbench.records import Record
from seqbench.tasks import _speech as speech

HELD_OUT = {"george": "test", "theo": "valid", "yweweler": "test"}
LONG = 2.0
"""Seconds of a recording that is counted as long."""


class Task(speech.Words):
    """x (recordings, frames, 40) float16, zeros behind the end; y (recordings,) int64; lengths (recordings,) int64."""

    KNOB = "split"
    SOURCES = ("fsdd",)
    TITLE = "Spoken digits (FSDD)"
    RATE = speech.FSDD_RATE
    LABELS = speech.DIGITS

    class Settings(Record):
        """Who is in the test split: all speakers, or two that training has not heard."""

        split: Literal["official", "speakers"] = "official"

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Frames of each recording, in the order of digit, speaker and take."""
        frames: dict[str, list[Array]] = {split: [] for split in SPLITS}
        digits: dict[str, list[int]] = {split: [] for split in SPLITS}
        long = 0
        for one in speech.recordings(raw["fsdd"]):
            split = self._split(one)
            frames[split].append(speech.log_mel(one.wave, speech.FSDD_RATE))
            digits[split].append(one.digit)
            long += len(one.wave) > LONG * speech.FSDD_RATE
        scale = speech.scaling(frames["train"])
        arrays: dict[str, Array] = dict(scale)
        for split in SPLITS:
            arrays |= {f"{split}.{name}": values for name, values in speech.padded(frames[split], scale).items()}
            arrays[f"{split}.y"] = np.array(digits[split], np.int64)
        return arrays, (
            "all six speakers are in all splits, as published"
            if self.settings.split == "official"
            else f"no speaker is in two splits ({', '.join(f'{name} in {split}' for name, split in HELD_OUT.items())})",
            speech.LEVELLED,
            f"{long} recordings last over two seconds, with silence around the word: kept",
        )

    def _split(self, one: speech.Recording) -> str:
        if self.settings.split == "official":
            return speech.official(one.take)
        return HELD_OUT.get(one.speaker, "train")
