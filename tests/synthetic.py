"""Tiny tasks of every kind of outputs, and of every frontend, learned in seconds.

`install` lets the package find them; they need no file and no download.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import small

from seqbench import archs, model, tasks
from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared, pack
from seqbench.records import END, PAD, UNSCORED, Control, Count, Record, Setting, Spec, TrainSettings, TuneSettings
from seqbench.tasks import Base
from seqbench.tasks._common import generator

LETTERS = "abcde"
MARKS = 4
"""PAD, UNKNOWN, BEGIN, END: then come the letters."""


class Sizes(Record):
    """Items (or steps of a stream) in each split."""

    train: Count = 150
    valid: Count = 40
    test: Count = 41


class Stream(Base):
    """x (steps,) uint8, y (steps,) int64: the token after it, mostly the sum of the last two modulo 7."""

    class Settings(Sizes):
        length: Count = 6
        train: Count = 600
        valid: Count = 100
        test: Count = 101
        tied: bool = False

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        reads = {"inputs": "tokens", "input_size": 7, "embedding": 5, "tied": self.settings.tied}
        says = {"outputs": "stream", "output_size": 7, "length": self.settings.length}
        return Spec(**reads, **says, metric="perplexity", direction="min")

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        made: dict[str, Array] = {}
        for split in SPLITS:
            random = generator(0, "stream", split)
            text = [1, 2]
            for noise in random.integers(10, size=getattr(self.settings, split)):
                text.append((text[-1] + text[-2] + (noise == 0)) % 7)
            made[f"{split}.x"], made[f"{split}.y"] = np.array(text[1:-1], np.uint8), np.array(text[2:], np.int64)
        return made, ()

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        return ()

    def decode(self, tokens: Array, data: Prepared) -> str:
        return "".join(str(token) for token in tokens)


class Every(Base):
    """x (items, 9) uint8 of lengths 1 to 9; the label: how many of the tokens so far are above 3, modulo 3.

    "every": asked at each step whose token is not 1; "classes": asked after the last step.
    """

    class Settings(Sizes):
        outputs: Literal["every", "classes"] = "every"
        causal: bool = True

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        reads = {"inputs": "tokens", "input_size": 7, "embedding": 5, "length": 9, "causal": self.settings.causal}
        return Spec(**reads, outputs=self.settings.outputs, output_size=3, metric="accuracy", direction="max")

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        made: dict[str, Array] = {}
        for split in SPLITS:
            random, items = generator(0, "every", split), getattr(self.settings, split)
            lengths = random.integers(1, 10, size=items)
            x = np.where(np.arange(9) < lengths[:, None], random.integers(1, 7, size=(items, 9)), PAD).astype(np.uint8)
            counts = (x > 3).cumsum(axis=1) % 3
            asked = np.where(x > 1, counts, UNSCORED)
            made[f"{split}.x"], made[f"{split}.lengths"] = x, lengths
            made[f"{split}.y"] = asked if self.settings.outputs == "every" else counts[:, -1]
        return made, ()

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        return ()


class Sequence(Base):
    """x (items, 6) uint8: 1 to 6 letters; y (items, 7) int64: the same letters backwards, END, UNSCORED."""

    class Settings(Sizes):
        connection: Literal["none", "additive", "attention"] = "attention"
        selection: Literal["metric", "cross_entropy"] = "cross_entropy"
        tied: bool = True

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        size, settings = MARKS + len(LETTERS), self.settings
        reads = {"inputs": "tokens", "input_size": size, "embedding": 6, "tied": settings.tied, "length": 6}
        says = {"outputs": "sequence", "output_size": size, "target_length": 7, "connection": settings.connection}
        return Spec(
            **reads, **says, causal=False, metric="exact", direction="max", selection=settings.selection, scorer="exact"
        )

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        made: dict[str, Array] = {}
        for split in SPLITS:
            random, items = generator(0, "sequence", split), getattr(self.settings, split)
            lengths = random.integers(1, 7, size=items)
            x = random.integers(MARKS, MARKS + len(LETTERS), size=(items, 6)).astype(np.uint8)
            y = np.full((items, 7), UNSCORED)
            for row, target, length in zip(x, y, lengths, strict=True):
                row[length:] = PAD
                target[:length], target[length] = row[:length][::-1], END
            made[f"{split}.x"], made[f"{split}.y"], made[f"{split}.lengths"] = x, y, lengths
            made[f"{split}.references"] = pack("".join(spell(target)) for target in y)
        return made, ()

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        return ()

    def score(self, outputs: Any, y: Any, spec: Spec) -> dict[str, float]:
        """The share of texts that are right as a whole."""
        return {"exact": float(np.mean([one == other for one, other in zip(outputs, y, strict=True)]))}

    def decode(self, tokens: Array, data: Prepared) -> str:
        return "".join(spell(tokens))

    def pieces(self, tokens: Array, data: Prepared) -> tuple[str, ...]:
        return tuple((spell([token]) or ["/"])[0] for token in tokens)


def spell(tokens: Any) -> list[str]:
    """Letters; a mark is left out, but for UNKNOWN."""
    return [LETTERS[token - MARKS] if token >= MARKS else "?" for token in tokens if token == 1 or token >= MARKS]


class Alignment(Base):
    """x (items, 48, 8) float32: 1 to 3 tones of 10 to 16 frames, each in a band of its own, with noise; "ctc"."""

    class Settings(Sizes):
        selection: Literal["metric", "cross_entropy"] = "cross_entropy"

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        reads = {"inputs": "values", "input_size": 8, "frontend": "spectrogram", "length": 48, "causal": False}
        says = {"outputs": "ctc", "output_size": 1 + len(LETTERS), "target_length": 3, "metric": "exact"}
        return Spec(**reads, **says, direction="max", selection=self.settings.selection)

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        made: dict[str, Array] = {}
        for split in SPLITS:
            random, items = generator(0, "alignment", split), getattr(self.settings, split)
            x, y = np.zeros((items, 48, 8), np.float32), np.full((items, 3), UNSCORED)
            lengths = np.zeros(items, np.int64)
            for row, target, item in zip(x, y, range(items), strict=True):
                count = random.integers(1, 4)
                target[:count] = random.integers(1, 1 + len(LETTERS), size=count)
                for label in target[:count]:
                    frames = random.integers(10, 17)
                    row[lengths[item] + 2 : lengths[item] + frames, label] = 2
                    lengths[item] += frames
                row[: lengths[item]] += 0.1 * random.standard_normal((lengths[item], 8))
            made |= {f"{split}.x": x, f"{split}.y": y, f"{split}.lengths": lengths}
            made[f"{split}.references"] = pack(self._said(target) for target in y)
        return made, ()

    @staticmethod
    def _said(labels: Array) -> str:
        return "".join(LETTERS[label - 1] for label in labels if label != UNSCORED)

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        return ()

    score = Sequence.score

    def decode(self, tokens: Array, data: Prepared) -> str:
        return self._said(tokens)


class Many(Base):
    """x (items, 9, 4) uint8 of lengths 2 to 9, y a step later: each key sounds where it did not; "multilabel"."""

    class Settings(Sizes):
        pass

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        reads = {"inputs": "values", "input_size": 4, "length": 9}
        return Spec(**reads, outputs="multilabel", output_size=4, metric="nll", direction="min")

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        made: dict[str, Array] = {}
        for split in SPLITS:
            random, items = generator(0, "many", split), getattr(self.settings, split)
            lengths = random.integers(2, 10, size=items)
            first = random.integers(2, size=(items, 1, 4))
            rolls = (first + np.arange(10)[:, None]) % 2
            there = (np.arange(9) < lengths[:, None])[..., None]
            made[f"{split}.x"] = np.where(there, rolls[:, :-1], 0).astype(np.uint8)
            made[f"{split}.y"] = np.where(there, rolls[:, 1:], UNSCORED).astype(np.int8)
            made[f"{split}.lengths"] = lengths
        return made, ()

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        return ()

    def decode(self, tokens: Array, data: Prepared) -> str:
        return "|".join("".join(map(str, step)) for step in np.asarray(tokens).tolist())


class Film(Base):
    """x (items, 5, 1, 16, 16) uint8 of lengths 2 to 5: a bar that moves down or up on noise; "classes"."""

    class Settings(Sizes):
        encoder: Literal["small", "resnet18"] = "small"

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        reads = {"inputs": "values", "input_size": 256, "frontend": "frames", "frame": (1, 16, 16), "length": 5}
        says = {"outputs": "classes", "output_size": 2, "metric": "accuracy", "direction": "max", "pooling": "mean"}
        return Spec(**reads, **says, encoder=self.settings.encoder, causal=False, shift=30.0, scale=60.0)

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        made: dict[str, Array] = {}
        for split in SPLITS:
            random, items = generator(0, "film", split), getattr(self.settings, split)
            x = random.integers(40, size=(items, 5, 1, 16, 16), dtype=np.uint8)
            y, lengths = random.integers(2, size=items), random.integers(2, 6, size=items)
            for clip, up, length in zip(x, y, lengths, strict=True):
                for frame in range(length):
                    place = 2 * frame if not up else 14 - 2 * frame
                    clip[frame, 0, place : place + 2] = 220
                clip[length:] = 0
            made |= {f"{split}.x": x, f"{split}.y": y, f"{split}.lengths": lengths}
        return made, ()

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        return ()


TASKS: dict[str, type[Base]] = {
    "made_stream": Stream,
    "made_every": Every,
    "made_sequence": Sequence,
    "made_alignment": Alignment,
    "made_many": Many,
    "made_film": Film,
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tasks beside the package's own."""
    find = tasks.find
    monkeypatch.setattr(tasks, "find", lambda name: TASKS.get(name) or find(name))


def prepare(name: str, root: Path, **settings: Any) -> Prepared:
    """The prepared data of a task, where `train` looks for them."""
    return small.write(name, settings, {}, root / "prepared")


def _reachable(spec: Spec, arch: str, core: dict[str, Any], wanted: int) -> int:
    """The budget, or what the nearest width has: small cores that read both ways have few widths."""
    try:
        model.solve_width(spec, arch, core, wanted)
    except InputError as error:
        return int(error.fix.split()[-1])
    return wanted


def cell(root: Path, name: str, arch: str, settings: dict[str, Any] | None = None, **train: Any) -> Setting:
    """A tiny cell, its data prepared under `root`: two layers with dropout, about 4000 parameters."""
    data = prepare(name, root, **settings or {})
    known = archs.defaults(arch)
    core = known | {key: value for key, value in {"layers": 2, "dropout": 0.1}.items() if key in known}
    rules = TrainSettings.from_data({"batch": 16, "steps": 30, "eval_every": 10} | train)
    wanted = {"made_sequence": 8000, "made_alignment": 16_000}.get(name, 4000)
    parameters = _reachable(data.spec, arch, core, wanted)
    return Setting(
        task=name,
        task_settings=data.manifest.settings,
        arch=arch,
        core=core,
        parameters=parameters,
        train=rules,
        tune=TuneSettings(),
    )


# ---------------------------------------------------------------- a person's own architecture

CONVOLUTION = """
import torch
from torch import nn

VERSION = 1
SETTINGS = {"taps": 3}


class Core(nn.Module):
    def __init__(self, width, *, length, causal, taps):
        super().__init__()
        self.taps = taps
        self.right = 0 if causal else taps - 1
        self.linear = nn.Linear((taps + self.right) * width, width)

    def forward(self, x, lengths=None):
        if lengths is not None:
            beyond = torch.arange(x.shape[1]) >= lengths[:, None]
            x = x.masked_fill(beyond[..., None].to(x.device), 0.0)
        padded = nn.functional.pad(x, (0, 0, self.taps - 1, self.right))
        return torch.tanh(self.linear(padded.unfold(1, self.taps + self.right, 1).transpose(2, 3).flatten(2)))

    def step(self, x_t, state):
        if state is None:
            state = x_t.new_zeros(len(x_t), self.taps - 1, x_t.shape[1])
        window = torch.cat((state, x_t[:, None]), dim=1)
        return torch.tanh(self.linear(window.flatten(1))), window[:, 1:]
"""
"""Neither `carry` nor MEMORY, as most files will be."""

OWN = "own_convolution"
ARCHS = [*archs.names(), OWN]


def add_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONVOLUTION beside the package's own architectures."""
    for name in archs.names():
        archs.find(name)  # loaded from their place before the folder changes
    for path in archs.FOLDER.glob("*.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / f"{OWN}.py").write_text(CONVOLUTION)
    monkeypatch.setattr(archs, "FOLDER", folder)
    monkeypatch.setattr(archs, "__path__", [*archs.__path__, str(folder)])
