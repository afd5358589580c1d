"""FSDD strings: which digits were spoken, one after the other.

Made from the recordings of FSDD (see the task fsdd; CC BY-SA 4.0): strings of three to seven digits by one
speaker, with pauses of 0.05 to 0.3 s before, between and behind them. A pause holds faint noise, 40 dB below
the speech: digital silence would be a mark of its own, which no microphone makes. Splits as the official one of
FSDD: no recording is in strings of two splits (takes 0 to 4 test, 5 to 9 validation, 10 to 49 training). Within
a split a recording comes again only when all others of its digit and speaker have come as often, so the 1000
strings of test say 300 recordings in many orders, and are no 1000 independent strings. The digits are joined, not
spoken as a string: there is no coarticulation, so the task is easier than connected digits as people speak them,
and its scores cannot be held against published ones (TIDIGITS, AURORA-2).

Trained by connectionist temporal classification (Graves et al. 2006). Score: word error rate of a prefix beam
search; greedy decoding beside it; `sentence` is the share of strings without an error. Checkpoints are chosen by
cross-entropy, as writing is dear. Defects: those of the task fsdd, treated alike; the joined string is
brought to one loudness once more, as a person's recording is.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared, pack, unpack
from seqbench.records import UNSCORED, Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks import _speech as speech
from seqbench.tasks._common import generator

PAUSE = (0.05, 0.3)
"""Seconds."""
NOISE = speech.LEVEL / 100
"""Root mean square of a pause."""
SHORTEST_WORD = 5
"""Frames of a part that the strong control takes for a word; 4 to 8 cut about as many training strings right."""
PENALTY = 10.0
"""Of the regression in the strong control: its L2 weight."""

Digits = Annotated[int, Field(ge=1, le=20)]
Takes = dict[tuple[str, int], list[Array]]
"""Recordings by speaker and digit."""


class Task(Base):
    """x (strings, frames, 40) float16, zeros behind the end; y (strings, longest) int64, digit + 1, then UNSCORED.

    lengths (strings,) int64: frames. references: the digits as words.
    """

    SOURCES = ("fsdd",)
    TITLE = "Connected digits (FSDD)"
    FAMILY = "speech"
    LABELS = speech.DIGITS

    class Settings(Record):
        """How many strings of each split, how long, and the seed that draws them."""

        train: Count = 5000
        valid: Count = 500
        test: Count = 1000
        shortest: Digits = 3
        longest: Digits = 7
        data_seed: int = 0

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Log-mel frames in, digits out; read both ways."""
        return Spec(
            inputs="values",
            input_size=speech.BINS,
            frontend="spectrogram",
            outputs="ctc",
            output_size=1 + len(speech.DIGITS),
            length=max(arrays[f"{split}.x"].shape[1] for split in SPLITS),
            target_length=self.settings.longest,
            metric="wer",
            direction="min",
            selection="cross_entropy",
            scorer=f"jiwer {importlib.metadata.version('jiwer')}",
            causal=False,
            ceiling=0.0,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Draw the strings of each split and join them."""
        settings = self.settings
        if settings.shortest > settings.longest:
            where = f"shortest = {settings.shortest}, longest = {settings.longest}"
            raise InputError("the shortest string is longer than the longest", where, "make it no longer")
        waves: dict[str, Takes] = {split: {} for split in SPLITS}
        for one in speech.recordings(raw["fsdd"]):
            waves[speech.official(one.take)].setdefault((one.speaker, one.digit), []).append(one.wave)
        drawn = {split: self._draw(waves[split], split) for split in SPLITS}
        scale = speech.scaling(frames for frames, _ in drawn["train"])
        arrays: dict[str, Array] = dict(scale)
        for split, items in drawn.items():
            parts = speech.padded([frames for frames, _ in items], scale)
            arrays |= {f"{split}.{name}": values for name, values in parts.items()}
            y = np.full((len(items), settings.longest), UNSCORED, np.int64)
            for row, (_, digits) in zip(y, items, strict=True):
                row[: len(digits)] = digits + 1
            arrays[f"{split}.y"] = y
            arrays[f"{split}.references"] = pack(_said(digits) for _, digits in items)
        often = {split: (arrays[f"{split}.y"] != UNSCORED).sum() / _count(waves[split]) for split in SPLITS}
        return arrays, (
            "no recording is in strings of two splits; all six speakers are in all splits",
            f"each recording is said about {', '.join(f'{often[split]:.1f} times in {split}' for split in SPLITS)}",
            speech.LEVELLED,
        )

    def _draw(self, takes: Takes, split: str) -> list[tuple[Array, Array]]:
        """Frames (frames, 40) and digits (digits,) of each string of a split."""
        settings, random = self.settings, generator(self.settings.data_seed, "fsdd_strings", split)
        decks = {key: dealt(takes[key], random) for key in takes}
        made = []
        for _ in range(getattr(settings, split)):
            speaker = speech.SPEAKERS[random.integers(len(speech.SPEAKERS))]
            digits = random.integers(len(speech.DIGITS), size=random.integers(settings.shortest, settings.longest + 1))
            parts = [pause(random)]
            for digit in digits.tolist():
                parts += [next(decks[speaker, digit]), pause(random)]
            wave = speech.levelled(np.concatenate(parts))
            made.append((speech.log_mel(wave, speech.FSDD_RATE), digits))
        return made

    def score(self, outputs: Any, y: Any, spec: Spec) -> dict[str, float]:
        """Word error rate over all words, and the share of texts without an error; outputs and y are texts."""
        import jiwer  # here, because planning has no use for it

        right = sum(said == asked for said, asked in zip(outputs, y, strict=True))
        return {"wer": float(jiwer.wer(list(y), list(outputs))), "sentence": right / len(y)}

    def decode(self, tokens: Array, data: Prepared) -> str:
        """Labels (digits,) as words."""
        return _said(tokens - 1)

    def encode(self, item: str, data: Prepared) -> Array:
        """A person's recording, a wav file of 8 kHz and one channel: (frames, 40)."""
        return speech.encode(Path(item), speech.FSDD_RATE, data)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """The best answer that is always the same; words cut at pauses, each told by logistic regression."""
        train, test = data.split("train"), data.split("test")
        asked, known = unpack(test["references"]), unpack(train["references"])
        constants = {" ".join([word] * n) for word in speech.DIGITS for n in range(self.settings.longest + 1)}
        best = min(sorted(constants), key=lambda text: self.score([text] * len(known), known, data.spec)["wer"])
        heard = cut_and_told(train, test)
        return (
            Control(name=f"always '{best}'", kind="trivial", metrics=self.score([best] * len(asked), asked, data.spec)),
            Control(name="cut at pauses, logistic", kind="strong", metrics=self.score(heard, asked, data.spec)),
        )


def dealt(takes: Sequence[Array], random: np.random.Generator) -> Iterator[Array]:
    """Every take once in an order of its own, then every one once more in another, without end."""
    while True:
        for row in random.permutation(len(takes)).tolist():
            yield takes[row]


def pause(random: np.random.Generator) -> Array:
    """Faint noise of a length drawn from `PAUSE`: (samples,) float32."""
    samples = round(random.uniform(*PAUSE) * speech.FSDD_RATE)
    return (NOISE * random.standard_normal(samples)).astype(np.float32)


def _count(takes: Takes) -> int:
    return sum(map(len, takes.values()))


def _said(digits: Array) -> str:
    return " ".join(speech.DIGITS[digit] for digit in digits.tolist())


# ---------------------------------------------------------------- the control


def cut_and_told(train: Mapping[str, Array], test: Mapping[str, Array]) -> list[str]:
    """Each test string cut where it is quiet, each part told by logistic regression on `speech.pooled`.

    The threshold is the one that finds as many parts as digits in most of 500 training strings; the regression learns
    from all that it cuts so. Raises InputError where that leaves nothing to learn from.
    """
    from sklearn.linear_model import LogisticRegression  # here: the better part of a second, and training has no use

    counts = (train["y"] != UNSCORED).sum(1)
    sample = range(min(len(counts), 500))
    loudness = np.concatenate([_loudness(train, item) for item in sample])
    thresholds = np.quantile(loudness, np.linspace(0.05, 0.7, 14))
    hits = [sum(len(_parts(train, item, at)) == counts[item] for item in sample) for at in thresholds]
    threshold = float(thresholds[int(np.argmax(hits))])
    known, labels = [], []
    for item, count in enumerate(counts.tolist()):
        parts = _parts(train, item, threshold)
        if len(parts) == count:
            known += [speech.pooled(part) for part in parts]
            labels += (train["y"][item, :count] - 1).tolist()
    if len(set(labels)) < 2:
        what = "no training strings fall into as many parts as they have digits"
        raise InputError(what, "control 'cut at pauses, logistic'", "take more of them: train")
    model = LogisticRegression(C=1 / PENALTY, max_iter=2000).fit(np.stack(known), labels)
    return [_told(model, _parts(test, item, threshold)) for item in range(len(test["y"]))]


def _told(model: Any, parts: list[Array]) -> str:
    return _said(model.predict(np.stack([speech.pooled(part) for part in parts]))) if parts else ""


def _loudness(split: Mapping[str, Array], item: int) -> Array:
    mean: Array = split["x"][item, : split["lengths"][item]].mean(axis=1)
    return mean


def _parts(split: Mapping[str, Array], item: int, threshold: float) -> list[Array]:
    """Runs of frames above the threshold; a dip of under five frames divides nothing, a shorter run is no word."""
    loud = np.flatnonzero(_loudness(split, item) > threshold)
    if not len(loud):
        return []
    cuts = np.flatnonzero(np.diff(loud) > SHORTEST_WORD) + 1
    runs = [(run[0], run[-1] + 1) for run in np.split(loud, cuts)]
    return [split["x"][item, start:stop] for start, stop in runs if stop - start >= SHORTEST_WORD]
