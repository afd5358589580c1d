"""Points that were measured, each kept as soon as it is there: a sweep that was killed goes on where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from seqbench import archs, files
from seqbench.config import MeasureSettings
from seqbench.device import commit, fingerprint
from seqbench.errors import DataError
from seqbench.records import Record

SHUFFLE = 0
"""Seed of the order of the points: a fixed order would favour what comes first."""
DECIDE = (
    *("parameters", "batch", "length", "generate", "compile", "window", "fits"),
    *("repetitions", "seconds", "visits", "budget", "memory"),
)
"""Settings that change a point; the others say which points there are."""
PACKAGE = Path(__file__).parent.parent
SOURCES = (
    *("batches", "evaluate", "frontend", "model", "parts", "schedule", "scaling", "seq2seq", "train", "vision"),
    *(f"measure/{name}" for name in ("bench", "clock", "count", "energy", "forms", "memory", "nvml", "pace", "peaks")),
    *(f"measure/{name}" for name in ("speed", "visits", "work")),
)
"""Files that decide what a point means, beside the architecture's (whose VERSION counts)."""
T = TypeVar("T", bound=Record)


class Kept:
    """Points under `root/measured/points/<arch>`, named by all that decides them, the machine and the code too."""

    def __init__(self, root: Path, settings: MeasureSettings, device: torch.device) -> None:
        self.root = root / "measured" / "points"
        self.commit = commit()
        helpers = sorted(path.stem for path in archs.FOLDER.glob("_*.py"))
        code = [PACKAGE / f"{name}.py" for name in SOURCES] + [archs.FOLDER / f"{name}.py" for name in helpers]
        self.common = {
            "code": [files.sha256_file(path) for path in code],
            "settings": {key: value for key, value in settings.plain().items() if key in DECIDE},
            "hardware": fingerprint(device).plain(),
        }

    def get(self, arch: str, core: Mapping[str, Any], what: Any, kind: type[T], make: Callable[[], T]) -> T:
        """The point that is kept, or one made now, with the commit that it was made by, where it has a field for it.

        One that was flagged is made again. `what` is all else that decides it, as plain data.
        """
        version = archs.version(arch) if arch in archs.names() else 0
        decides = {"arch": arch, "core": dict(core), "core_version": version, "kind": kind.__name__, "what": what}
        path = self.root / arch / f"{files.digest(self.common | decides)[:32]}.json"
        with contextlib.suppress(DataError):
            found = kind.read(path, "")
            if not getattr(found, "flags", ()):
                return found
        made = make()
        if "commit" in kind.model_fields:
            made = made.model_copy(update={"commit": self.commit})
        made.write(path)
        return made
