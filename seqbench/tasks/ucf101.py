"""UCF101: which of 101 actions is in this clip (Soomro, Zamir & Shah 2012).

Source: 13,320 clips from YouTube, 320 x 240, mostly at 25 frames a second, 7 s long on average, in one archive of
7 GB, and the official lists (no licence stated). Opt-in: downloaded only where this task is named. Clips are
streamed out of the archive into a file on disk: the prepared pictures may be larger than memory.

Split: the official folds 1 to 3, whose test lists have groups (clips cut from one video) of their own; validation is
the first three groups of each class in the training list. A clip is looked at 4 times a second for 4 s in its middle.

Score: accuracy. Published on fold 1, single frames: 0.523 from scratch, 0.728 from an encoder trained on ImageNet
(Simonyan & Zisserman 2014, Table 1a); the best network over many frames without optical flow, its encoder trained on
a million clips of sports, mean of the folds, 0.826 (Ng et al. 2015).

Defects: one class is spelt in two ways, HandstandPushups in the lists and HandStandPushups in names of clips. Frames
that the decoder could only mend are kept, with a count in the data's notes.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from seqbench.prepared import SPLITS, Array, Prepared, pack, unpack
from seqbench.records import Positive
from seqbench.tasks._common import bad_member, scratch
from seqbench.tasks._video import Clips, VideoSettings, longest, trimmed

NAME = re.compile(r"v_([A-Za-z]+)_(g\d+)_c\d+\.avi")
VALID_GROUPS = 3
"""Of each class."""


class Task(Clips):
    """As `_video.Clips`. labels: the names of the actions."""

    KNOB = "fold"
    TITLE = "Actions (UCF101)"
    SOURCES = ("ucf101", "ucf101-splits")

    class Settings(VideoSettings):
        """The fold of the official lists."""

        fold: Literal[1, 2, 3] = 1
        rate: Positive = 4.0
        seconds: Positive = 4.0

    settings: Settings

    def labels(self, data: Prepared) -> tuple[str, ...]:
        """The actions, of the official list."""
        return tuple(unpack(data.array("labels")))

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Decode clip by clip, onto disk."""
        labels, names = read_lists(raw["ucf101-splits"], self.settings.fold)
        arrays, full = self.weights() | {"labels": pack(labels)}, longest(self.settings)
        damaged = short = 0
        for split in SPLITS:
            x = scratch((len(names[split]), full, *self.frame), np.uint8)
            lengths = np.zeros(len(x), np.int64)
            for item, (name, content) in enumerate(_members(raw["ucf101"], names[split])):
                clip = self.fill(content, raw["ucf101"], name, x[item])
                lengths[item], damaged = len(clip.frames), damaged + (clip.damaged > 0)
            short += int((lengths < full).sum())
            arrays[f"{split}.x"], arrays[f"{split}.lengths"] = x, lengths
            arrays[f"{split}.y"] = np.array([labels.index(_class(name)) for name in names[split]], np.int64)
        return trimmed(arrays, full), (
            f"fold {self.settings.fold}; validation: first {VALID_GROUPS} groups of each class in the training list",
            f"{damaged} clips hold frames that the decoder could only mend: kept",
            f"{short} clips have fewer than {full} frames: padded",
        )


def read_lists(path: Path, fold: int) -> tuple[list[str], dict[str, list[str]]]:
    """The names of the classes, and those of the clips in each split. DataError names the first bad line."""
    with zipfile.ZipFile(path) as archive:
        labels = [line.split()[-1] for line in _lines(archive, path, "classInd.txt")]
        listed = _clips(archive, path, f"trainlist{fold:02}.txt", labels)
        test = _clips(archive, path, f"testlist{fold:02}.txt", labels)
    groups: dict[str, set[str]] = {}
    for clip in listed:
        groups.setdefault(_class(clip), set()).add(_group(clip))
    held = {(label, group) for label, those in groups.items() for group in sorted(those)[:VALID_GROUPS]}
    valid = [clip for clip in listed if (_class(clip), _group(clip)) in held]
    train = [clip for clip in listed if (_class(clip), _group(clip)) not in held]
    return labels, {"train": train, "valid": valid, "test": test}


def _lines(archive: zipfile.ZipFile, path: Path, name: str) -> list[str]:
    """The lines of one of the official lists that hold something."""
    inside = [one for one in archive.namelist() if one.rsplit("/", 1)[-1] == name]
    if not inside:
        raise bad_member("a list is missing", path, name)
    return [line for line in archive.read(inside[0]).decode("utf-8", "replace").splitlines() if line.strip()]


def _clips(archive: zipfile.ZipFile, path: Path, name: str, labels: list[str]) -> list[str]:
    """The clips of a list: `Archery/v_Archery_g01_c02.avi`, in the training list with a number behind."""
    found = []
    for number, line in enumerate(_lines(archive, path, name), start=1):
        clip = line.split()[0].rsplit("/", 1)[-1]
        if not NAME.fullmatch(clip) or _class(clip) not in labels:
            raise bad_member(f"not a clip of a known class: '{line.strip()}'", path, f"{name}, line {number}")
        found.append(clip)
    return found


def _members(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each of these clips with its content, one after the other. DataError names the first that is missing or bad."""
    with zipfile.ZipFile(path) as archive:
        inside = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
        for name in names:
            if name not in inside:
                raise bad_member("a clip of the lists is missing", path, name)
            try:
                yield name, archive.read(inside[name])
            except (zipfile.BadZipFile, zlib.error) as error:
                raise bad_member(f"not a whole member ({error})", path, name) from None


def _class(clip: str) -> str:
    """v_Archery_g01_c02.avi -> Archery."""
    return clip.split("_")[1].replace("HandStandPushups", "HandstandPushups")


def _group(clip: str) -> str:
    return clip.split("_")[2]
