"""What the tasks of music share: piano rolls, their contract, their controls, and notes as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from seqbench import music
from seqbench.errors import DataError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import UNSCORED, Control, Record, Spec
from seqbench.tasks import Base

KEYS = music.HIGHEST - music.LOWEST + 1
"""Of a piano: key 0 is MIDI pitch 21."""


def roll(steps: Sequence[Iterable[int]]) -> Array:
    """Pitches of each step -> (time, 88) uint8. IndexError beyond the piano."""
    made = np.zeros((len(steps), KEYS), np.uint8)
    for row, step in zip(made, steps, strict=True):
        row[[pitch - music.LOWEST for pitch in step]] = 1
    return made


def pitches(keys: Array) -> music.Steps:
    """(time, 88) -> the pitches of each step."""
    return [(np.flatnonzero(row) + music.LOWEST).tolist() for row in np.asarray(keys)]


def broken(what: str, path: Path, piece: str) -> DataError:
    """The error for a piece that is not what its format says."""
    return DataError(what, f"{path}, {piece}", f"delete {path.name} and fetch it again: seqbench fetch --all")


class Rolls(Base):
    """x (pieces, time, 88) uint8; y (pieces, time, 88) int8, the notes of the next step, UNSCORED behind the end.

    A piece of T steps makes T - 1 of them: nothing is asked after the last. Subclasses give `pieces`.
    """

    FAMILY = "music"
    SECONDS: ClassVar[float]
    """Of a step, when played."""

    class Settings(Record):
        """Nothing to set."""

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
        """How often each key sounds; how often, given whether it sounded in the step before."""
        train, test = data.split("train"), data.split("test")
        often, after = self._counted(train, given=False), self._counted(train, given=True)
        metrics = [
            self.score(scored(np.where(test["x"] == 1, chances[1], chances[0]), test["y"]), test["y"], data.spec)
            for chances in (often, after)
        ]
        return (
            Control(name="frequency of each key", kind="trivial", metrics=metrics[0]),
            Control(name="each key by its last step", kind="strong", metrics=metrics[1]),
        )

    @staticmethod
    def _counted(train: Mapping[str, Array], given: bool) -> Array:
        """Chance of each key (2, 88), with add-one smoothing, where it did not sound before and where it did."""
        asked = train["y"][..., 0] != UNSCORED
        x, y = train["x"][asked], train["y"][asked]
        rows = (x == 0, x == 1) if given else (x >= 0,) * 2
        return np.stack([(1 + ((y == 1) & of).sum(0)) / (2 + of.sum(0)) for of in rows])

    def encode(self, item: str, data: Prepared) -> Array:
        """The notes of a MIDI file: (time, 88) uint8."""
        return roll(music.from_midi(Path(item), self.SECONDS))

    def decode(self, tokens: Array, data: Prepared) -> str:
        """A roll (time, 88) as text: see `music.as_text`."""
        return music.as_text(pitches(tokens))


def scored(chances: Array, y: Array) -> Array:
    """What `Base.score` takes (items, time, 4), of chances and labels (items, time, 88)."""
    asked, said = y == 1, chances > 0.5
    nll = -np.log(np.where(asked, chances, 1 - chances)).sum(-1)
    return np.stack([nll, said.sum(-1), asked.sum(-1), (said & asked).sum(-1)], axis=-1)


def _notes(splits: Mapping[str, list[Array]]) -> tuple[str, ...]:
    """What is wrong with the pieces, and what was done about it."""
    texts = {split: [keys.tobytes() for keys in splits[split]] for split in SPLITS}
    empty = sum(int((keys.sum(1) == 0).sum()) for split in SPLITS for keys in splits[split])
    again = len(texts["train"]) - len(set(texts["train"]))
    shared = {split: sum(text in set(texts["train"]) for text in texts[split]) for split in ("valid", "test")}
    return (
        f"{empty} steps without a note: kept, silence is part of the music",
        f"{again} repeated pieces in train, and {shared['valid']} of valid and {shared['test']} of test are also in "
        "train: kept, so that scores can be held against published ones",
    )
