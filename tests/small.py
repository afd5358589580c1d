"""Small settings of every task, small raw files in the formats of the real ones, and what is made of them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from seqbench import prepared, tasks
from seqbench.prepared import Array, Prepared

Raw = Mapping[str, Path]
"""Small raw files by source name."""

SMALL: dict[str, dict[str, Any]] = {
    "adding": {"length": 21, "train": 300, "valid": 50, "test": 1000},
    "copy_memory": {"delay": 7, "train": 300, "valid": 50, "test": 1000},
    "digits": {},
    "smnist": {"valid": 30},
    "psmnist": {"valid": 30, "pool": 2},
    "etth1": {"look_back": 24, "stride": 5},
    "sst2": {"minimum_count": 1},
}


def idx(values: Array) -> bytes:
    """A gzipped IDX file of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes(), mtime=0)


def mnist_files() -> dict[str, bytes]:
    random = np.random.default_rng(1)
    made = {}
    for part, items in (("train", 130), ("test", 40)):
        made[f"mnist-{part}-images"] = idx(random.integers(256, size=(items, 28, 28), dtype=np.uint8))
        made[f"mnist-{part}-labels"] = idx(np.arange(items, dtype=np.uint8) % 10)
    return made


def ett_lines() -> list[str]:
    """A header and 14420 hours: daily waves with a little noise, every channel on a scale of its own."""
    random, hours = np.random.default_rng(2), np.arange(14420)
    wave = np.sin(2 * np.pi * (hours[:, None] / 24 + np.arange(7) / 7))
    table = (wave + 0.01 * random.standard_normal(wave.shape)) * np.arange(1, 8) + 5
    start = datetime(2016, 7, 1)
    rows = (f"{start + timedelta(hours=hour)}," + ",".join(map(repr, row)) for hour, row in enumerate(table.tolist()))
    return ["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT", *rows]


SENTENCES = {
    "train": ["1 a good film", "0 a bad film", "1 a good film", "0 dull", "1 seen in test", "1 great , great fun"],
    "valid": ["1 good fun", "0 a bore of a film"],
    "test": ["1 seen in test", "0 bad , bad film", "1 crème brûlée"],
}


def contents() -> dict[str, bytes]:
    """Raw files by source name."""
    made = mnist_files() | {"etth1": "\n".join([*ett_lines(), ""]).encode()}
    return made | {f"sst2-{split}": "\n".join([*lines, ""]).encode() for split, lines in SENTENCES.items()}


def small(name: str, **changes: Any) -> tasks.Base:
    return tasks.build(name, SMALL[name] | changes)


def write(name: str, settings: dict[str, Any], raw: Raw, root: Path) -> Prepared:
    job = tasks.build(name, settings)
    arrays, defects = job.arrays({source: raw[source] for source in job.sources()})
    folder = root / name
    plain = job.settings.plain()
    prepared.write(
        folder,
        task=name,
        settings=plain,
        version=job.VERSION,
        spec=job.spec(arrays),
        arrays=arrays,
        defects=defects,
        sources={},
    )
    return Prepared(folder)


def control(name: str, data: Prepared) -> dict[str, dict[str, float]]:
    found = tasks.build(name, data.manifest.settings).controls(data)
    return {one.kind: one.metrics for one in found}
