"""SCFD: is there a fight in this clip of a surveillance camera (Akti, Tataroglu & Ekenel 2019)?

Source: 150 clips with a fight and 150 without, cut from YouTube, 1.0 to 4.7 s long, 248 of them 1.8 to 2.2 s
(seymanurakti/fight-detection-surv-dataset, MIT). They show real people and violence. `clips` of each class are used,
by number: one source holds those up to 130, the rest is in another.

No official split. Many clips come from one scene, so each clip has a scene group (clips of which two small grey
frames correlate at 0.95 or more are one group: 234 groups, in 11 of them both classes), and groups are split by seed,
60 / 20 / 20 %, alike for groups with fights, without, and with both.

Resolution (320 x 240 to 1920 x 1080), length and frame rate (10 to 30 a second) differ by class. So every clip is
squeezed as a whole to one square, smaller than the smallest of them, and looked at 8 times a second for the 1.5 s in
its middle, which all but one (fight/fi149) have: in 2 s, four fights but one other clip would lack frames.
What the form of the files tells of the class, which models do not see, is a control: over 30 draws of the split its
accuracy is 0.60 on average.

The cameras stand still, and a model that sees the place learns 100 places by heart: with the background kept, the
small encoder was at chance on validation when it had no training error left. So what stands still is removed from
each frame by default. With `background` kept, the mean picture is one more control.

Score: accuracy; epochs and learning rates are chosen by cross-entropy, as 52 clips of validation are few. The test
split is small too: with 130 clips of each class it has 51, so one clip is 2.0 points, and the 95 % interval of an
accuracy of 0.75 is about 0.62 to 0.85 for the choice of clips alone, whatever the number of seeds.
Published figures are of splits of their own, and are not compared with.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array
from seqbench.records import Control, Spec
from seqbench.tasks._common import bad_member, generator
from seqbench.tasks._video import Clips, VideoSettings, linear, longest, trimmed

CLASSES = {"noFight": 0, "fight": 1}
"""The label of each folder."""
NAME = re.compile(r"(fight|noFight)/(?:fi|nofi)(\d{3})\.mp4")
TABLE = "members.csv"
FORM = ("frames", "fps", "width", "height")
SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}


class Row(NamedTuple):
    """A clip in an archive."""

    archive: Path
    path: str
    label: int
    number: int
    scene: str
    form: tuple[float, ...]


class Task(Clips):
    """As `_video.Clips`; beside it `form` (clips, 4) of each split, for a control: frames, rate, width, height."""

    TITLE = "Surveillance fights (SCFD)"
    SOURCES = ("scfd", "scfd-rest")
    LABELS = ("no fight", "fight")

    class Settings(VideoSettings):
        """How many clips of each class, by number, and the seed of the split."""

        background: Literal["kept", "removed"] = "removed"
        clips: Annotated[int, Field(ge=5, le=150)] = 150
        data_seed: int = 0

    settings: Settings

    def sources(self) -> tuple[str, ...]:
        """The first source holds the clips up to number 130."""
        return self.SOURCES if self.settings.clips > 130 else self.SOURCES[:1]

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Decode clip by clip."""
        rows = [row for name in self.sources() for row in table(raw[name]) if row.number <= self.settings.clips]
        where = split(rows, self.settings.data_seed)
        arrays = self.weights()
        notes = [
            "resolution, length and frame rate differ by class: all clips are brought to one size and rate",
            f"{len(rows)} clips of {len({row.scene for row in rows})} scene groups: no group is in two splits",
        ]
        for part in SPLITS:
            own = [row for row, here in zip(rows, where, strict=True) if here == part]
            if not own:
                what = f"no scene group is left for the {part} split"
                raise InputError(what, f"clips = {self.settings.clips}", "take more clips")
            arrays |= {f"{part}.{name}": values for name, values in self._decoded(own).items()}
            fights, scenes = sum(row.label for row in own), len({row.scene for row in own})
            notes.append(f"{part}: {len(own) - fights} clips without a fight, {fights} with one; {scenes} scene groups")
        full = longest(self.settings)
        short = sum(int((arrays[f"{part}.lengths"] < full).sum()) for part in SPLITS)
        return trimmed(arrays, full), (*notes, f"{short} clips have fewer than {full} frames: padded")

    def _decoded(self, rows: list[Row]) -> dict[str, Array]:
        """x, y, lengths and form of these clips."""
        x = np.zeros((len(rows), longest(self.settings), *self.frame), np.uint8)
        lengths = np.zeros(len(rows), np.int64)
        with contextlib.ExitStack() as stack:
            opened = {path: stack.enter_context(zipfile.ZipFile(path)) for path in {row.archive for row in rows}}
            for item, row in enumerate(rows):
                clip = self.fill(opened[row.archive].read(row.path), row.archive, row.path, x[item])
                if clip.damaged:
                    raise bad_member(f"{clip.damaged} frames are damaged", row.archive, row.path)
                lengths[item] = len(clip.frames)
        y = np.array([row.label for row in rows], np.int64)
        return {"x": x, "y": y, "lengths": lengths, "form": np.array([row.form for row in rows])}

    def compared(self, train: Mapping[str, Array], test: Mapping[str, Array], spec: Spec) -> tuple[Control, ...]:
        """Those of all video tasks; and what the form of the files tells, which models do not see."""
        return (*super().compared(train, test, spec), linear("form of the file", self, train, test, spec, _form))


def _form(split: Mapping[str, Array], row: int) -> Array:
    """Frames, rate, width, height; ratio of the sides; seconds."""
    frames, rate, width, height = split["form"][row]
    return np.log([frames, rate, width, height, width / height, frames / rate])


def table(path: Path) -> list[Row]:
    """The clips of an archive, by its table of members. DataError names the first that is missing or odd."""
    with zipfile.ZipFile(path) as archive:
        known = set(archive.namelist())
        if TABLE not in known:
            raise bad_member("the table of members is missing", path, TABLE)
        lines = list(csv.DictReader(io.StringIO(archive.read(TABLE).decode("utf-8", "replace"))))
    rows = []
    for number, line in enumerate(lines, start=2):
        name = NAME.fullmatch(line["path"] or "")
        if not name or name[0] not in known:
            raise bad_member("a clip is missing, or has no such name", path, f"{TABLE}, line {number}: {line['path']}")
        form = tuple(float(line[key]) for key in FORM)
        rows.append(Row(path, name[0], CLASSES[name[1]], int(name[2]), line["scene"], form))
    return rows


def split(rows: list[Row], seed: int) -> list[str]:
    """The split of each clip: whole scene groups, the shares kept within each kind of group as well as they can be.

    The kinds are groups with fights, without, and with both. The largest groups go first, to the split that lacks
    most; small ones then even it out.
    """
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(row.scene, []).append(row.label)
    kinds: dict[tuple[int, ...], list[str]] = {}
    for scene, labels in groups.items():
        kinds.setdefault(tuple(sorted(set(labels))), []).append(scene)
    where: dict[str, str] = {}
    for kind in sorted(kinds):
        scenes = sorted(kinds[kind])
        generator(seed, "scfd", *kind).shuffle(scenes)
        scenes.sort(key=lambda scene: -len(groups[scene]))
        total, held = sum(len(groups[scene]) for scene in scenes), dict.fromkeys(SPLITS, 0)
        for scene in scenes:
            where[scene] = max(SPLITS, key=lambda part: SHARES[part] * total - held[part])
            held[where[scene]] += len(groups[scene])
    return [where[row.scene] for row in rows]
