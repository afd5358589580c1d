"""What the tasks of music share: piano rolls, their contract, their controls, and notes as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from seqbench import music
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import UNSCORED, Control, Record, Share, Spec
from seqbench.tasks import Base

KEYS = music.HIGHEST - music.LOWEST + 1
"""Of a piano: key 0 is MIDI pitch 21."""


def roll(steps: Sequence[Iterable[int]]) -> Array:
    """Pitches of each step, all of them on the piano -> (time, 88) uint8."""
    made = np.zeros((len(steps), KEYS), np.uint8)
    for row, step in zip(made, steps, strict=True):
        row[[pitch - music.LOWEST for pitch in step]] = 1
    return made


def pitches(keys: Array) -> music.Steps:
    """(time, 88) -> the pitches of each step."""
    return [(np.flatnonzero(row) + music.LOWEST).tolist() for row in np.asarray(keys)]


class Rolls(Base):
    """x (pieces, time, 88) uint8; y (pieces, time, 88) int8, the notes of the next step, UNSCORED behind the end.

    A piece of T steps makes T - 1 of them: nothing is asked after the last. Subclasses give `rolls`.
    """

    FAMILY = "music"
    SECONDS: ClassVar[float]
    """Of a step, at 120 quarter notes a minute."""
    RAISED: ClassVar[int] = 0
    """Semitones that the data stand above what sounds; what people give and get is at its own pitch."""

    class Settings(Record):
        """What is dropped between notes and core, and between core and chances."""

        dropout: Share = 0.0

    def rolls(self, path: Path) -> dict[str, list[Array]]:
        """The pieces (time, 88) uint8 of each split. DataError names the first bad one."""
        raise NotImplementedError

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """88 keys in, for each of them a chance out."""
        return Spec(
            inputs="values",
            input_size=KEYS,
            outputs="multilabel",
            output_size=KEYS,
            length=max(arrays[f"{split}.x"].shape[1] for split in SPLITS),
            metric="nll",
            direction="min",
            unit="nats per step",
            dropout=self.settings.dropout,
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """The published splits as they are."""
        (source,) = self.SOURCES
        splits = self.rolls(raw[source])
        arrays: dict[str, Array] = {}
        for split in SPLITS:
            pieces = splits[split]
            longest = max(map(len, pieces)) - 1
            x = np.zeros((len(pieces), longest, KEYS), np.uint8)
            y = np.full((len(pieces), longest, KEYS), UNSCORED, np.int8)
            for row, keys in enumerate(pieces):
                x[row, : len(keys) - 1], y[row, : len(keys) - 1] = keys[:-1], keys[1:]
            arrays[f"{split}.x"], arrays[f"{split}.y"] = x, y
            arrays[f"{split}.lengths"] = np.array([len(keys) - 1 for keys in pieces])
        return arrays, _notes(splits)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Each key by how often it sounds; each key by a logistic regression on the step before."""
        chords, counts, then = _counted(*_asked(data.split("train")))
        often = _logit((1 + then.sum(0)) / (2 + counts.sum()))
        weights, bias = _regression(chords, counts, then, often)
        x, y = _asked(data.split("test"))
        logits = {
            "frequency of each key": np.broadcast_to(often, y.shape),
            "logistic regression on the last step": x @ weights + bias,
        }
        metrics = {name: self.score(scored(found, y), y, data.spec) for name, found in logits.items()}
        trivial, strong = metrics
        return (
            Control(name=trivial, kind="trivial", metrics=metrics[trivial]),
            Control(name=strong, kind="strong", metrics=metrics[strong]),
        )

    def encode(self, item: str, data: Prepared) -> Array:
        """The notes of a MIDI file: (time, 88) uint8. Its key is kept; the data's pieces are in C."""
        steps = music.from_midi(Path(item), self.SECONDS, music.LOWEST - self.RAISED, music.HIGHEST - self.RAISED)
        return roll([[pitch + self.RAISED for pitch in step] for step in steps])

    def decode(self, tokens: Array, data: Prepared) -> str:
        """A roll (time, 88) as text: see `music.as_text`."""
        return music.as_text([[pitch - self.RAISED for pitch in step] for step in pitches(tokens)])


def scored(logits: Array, y: Array) -> Array:
    """What `Base.score` takes (..., 4), of logits and labels (..., 88)."""
    asked, said = y == 1, logits > 0
    nll = np.logaddexp(0, np.where(asked, -logits, logits)).sum(-1)
    return np.stack([nll, said.sum(-1), asked.sum(-1), (said & asked).sum(-1)], axis=-1)


# ---------------------------------------------------------------- controls


def _asked(split: Mapping[str, Array]) -> tuple[Array, Array]:
    """x and y of the steps that are scored, each (steps, 88)."""
    asked = split["y"][..., 0] != UNSCORED
    return split["x"][asked], split["y"][asked]


def _counted(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Each set of keys in a step (sets, 88); how often it comes (sets,), and each key after it (sets, 88)."""
    chords, which = np.unique(x, axis=0, return_inverse=True)
    then = np.zeros(chords.shape)
    np.add.at(then, which, y)
    return chords, np.bincount(which), then


def _regression(chords: Array, counts: Array, then: Array, often: Array) -> tuple[Array, Array]:
    """Weights (88, 88) and bias (88,) of the logits of each key, from what `_counted` gives.

    L2 weight 1: on validation 0.3 and 3 are the same to 0.03 nats. Keys that never sound, or always, keep `often`.
    """
    # Here, because it takes the better part of a second, and training has no use for it.
    from sklearn.linear_model import LogisticRegression

    weights, bias = np.zeros((KEYS, KEYS)), often.copy()
    sounds = np.repeat([1, 0], len(chords))
    for key in range(KEYS):
        times = np.concatenate([then[:, key], counts - then[:, key]])
        seen = times > 0
        if len(np.unique(sounds[seen])) < 2:
            continue
        model = LogisticRegression(max_iter=1000)
        model.fit(np.concatenate([chords, chords])[seen], sounds[seen], sample_weight=times[seen])
        weights[:, key], bias[key] = model.coef_[0], model.intercept_[0]
    return weights, bias


def _logit(chance: Array) -> Array:
    found: Array = np.log(chance / (1 - chance))
    return found


# ---------------------------------------------------------------- notes on the data


def _notes(splits: Mapping[str, list[Array]]) -> tuple[str, ...]:
    """What is odd about the pieces, and what was done about it."""
    texts = {split: [keys.tobytes() for keys in splits[split]] for split in SPLITS}
    empty = sum(int((keys.sum(1) == 0).sum()) for split in SPLITS for keys in splits[split])
    again = len(texts["train"]) - len(set(texts["train"]))
    shared = {split: sum(text in set(texts["train"]) for text in texts[split]) for split in ("valid", "test")}
    return (
        f"{empty} steps without a note: kept, silence is part of the music",
        f"{again} repeats in train; {shared['valid']} pieces of valid and {shared['test']} of test are also in train: "
        "kept, so that scores can be held against published ones",
    )
