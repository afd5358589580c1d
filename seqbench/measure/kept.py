"""Points that were measured, each kept as soon as it is there: a sweep that was killed goes on where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from seqbench import archs, files
from seqbench.config import MeasureSettings
from seqbench.device import fingerprint
from seqbench.errors import DataError
from seqbench.measurements import CellTime, Measurement

VERSION = 1
"""Raise when points come to mean something else: kept ones are then measured again."""
SHUFFLE = 0
"""Seed of the order of the points: a fixed order would favour what comes first."""
DECIDE = (
    "parameters",
    "batch",
    "length",
    "generate",
    "compile",
    "window",
    "repetitions",
    "seconds",
    "budget",
    "memory",
)
"""Settings that change a point; the others say which points there are."""
T = TypeVar("T", Measurement, CellTime)


class Kept:
    """Points under `root/measured/points/<arch>`, named by all that decides them, the machine too."""

    def __init__(self, root: Path, settings: MeasureSettings, device: torch.device) -> None:
        self.root = root / "measured" / "points"
        self.common = {
            "version": VERSION,
            "settings": {key: value for key, value in settings.plain().items() if key in DECIDE},
            "hardware": fingerprint(device).plain(),
        }

    def get(self, arch: str, core: Mapping[str, Any], what: Any, kind: type[T], make: Callable[[], T]) -> T:
        """The point that is kept, or one made now. One that was flagged is made again."""
        decides = {"arch": arch, "core": dict(core), "core_version": archs.version(arch), "what": what}
        path = self.root / arch / f"{files.digest(self.common | decides)[:32]}.json"
        with contextlib.suppress(DataError):
            found = kind.read(path, "")
            if not found.flags:
                return found
        made = make()
        made.write(path)
        return made
