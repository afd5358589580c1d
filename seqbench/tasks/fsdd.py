"""FSDD: which digit was spoken (Free Spoken Digit Dataset, version 1.0.10).

Source: 3000 recordings of ten digits by six speakers, 50 of each, at 8 kHz (Jakobovski/free-spoken-digit-dataset,
CC BY-SA 4.0). Input: 40 log-mel bands every 10 ms, each standardised by the training split; every recording is
brought to one loudness before, since the speakers' differ (median 212 for theo, 2779 for jackson, of 32768).

Two splits, side by side: "official", takes 0 to 4 for test as the source says, here 5 to 9 for validation, 10 to 49
for training: all speakers are in all splits; and "speakers": theo for validation, yweweler for test (the last
two by name), the other four for training. One speaker is one speaker: that score says how a model fares with
yweweler, with 500 recordings, and not with speakers in general.

Score: accuracy. No published benchmark of sequence models reports the official split; small convolutional
networks are commonly shown above 0.97 on it.

Defects: two recordings (7_theo_36 and 9_theo_16) last over two seconds, silence around the word among it; kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import Control, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks import _speech as speech
from seqbench.tasks._common import logistic, majority

HELD_OUT = {"theo": "valid", "yweweler": "test"}


def official(take: int) -> str:
    """The split of a take, where all speakers are in all splits."""
    return "test" if take < 5 else "valid" if take < 10 else "train"


class Task(Base):
    """x (recordings, frames, 40) float32, y (recordings,) int64."""

    KNOB = "split"
    SOURCES = ("fsdd",)
    TITLE = "Spoken digits (FSDD)"
    FAMILY = "speech"
    LABELS = speech.DIGITS

    class Settings(Record):
        """Who is in the test split: all speakers, or one that training has not heard."""

        split: Literal["official", "speakers"] = "official"

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Log-mel frames in, one digit out; read both ways."""
        return Spec(
            inputs="values",
            input_size=speech.BINS,
            frontend="spectrogram",
            outputs="classes",
            output_size=len(speech.DIGITS),
            length=max(arrays[f"{split}.x"].shape[1] for split in SPLITS),
            metric="accuracy",
            direction="max",
            causal=False,
            pooling="mean",
            ceiling=1.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Frames of each recording, in the order of digit, speaker and take."""
        frames: dict[str, list[Array]] = {split: [] for split in SPLITS}
        digits: dict[str, list[int]] = {split: [] for split in SPLITS}
        for one in speech.recordings(raw["fsdd"]):
            held = HELD_OUT.get(one.speaker, "train")
            split = official(one.take) if self.settings.split == "official" else held
            frames[split].append(speech.log_mel(one.wave, speech.FSDD_RATE))
            digits[split].append(one.digit)
        scale = speech.scaling(frames["train"])
        arrays: dict[str, Array] = dict(scale)
        for split in SPLITS:
            parts = speech.padded([speech.scaled(item, scale) for item in frames[split]])
            arrays |= {f"{split}.{name}": values for name, values in parts.items()}
            arrays[f"{split}.y"] = np.array(digits[split], np.int64)
        shared = "all six speakers are in all splits, as published"
        held = f"no speaker is in two splits ({', '.join(f'{name} in {split}' for name, split in HELD_OUT.items())})"
        long = sum(int((arrays[f"{split}.lengths"] > 200).sum()) for split in SPLITS)
        return arrays, (
            shared if self.settings.split == "official" else held,
            "loudness differs by speaker: every recording is brought to one level",
            f"{long} recordings last over two seconds, with silence around the word: kept",
        )

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class; logistic regression on means of thirds."""
        train, test = data.split("train"), data.split("test")
        known, asked = ((speech.features(part), part["y"]) for part in (train, test))
        return (
            majority(self, train["y"], test["y"], data.spec),
            logistic("logistic regression on thirds", self, known, asked, data.spec, penalty=10.0),
        )

    def encode(self, item: str, data: Prepared) -> Array:
        """A person's recording, a wav file of 8 kHz and one channel: (frames, 40)."""
        return speech.encode(Path(item), speech.FSDD_RATE, data)
