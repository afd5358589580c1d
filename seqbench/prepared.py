"""Prepared data on disk: `.npy` arrays that load by memory map, under one manifest."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqbench import files
from seqbench.errors import DataError
from seqbench.records import ArrayInfo, Manifest, Spec

Array = NDArray[Any]
SPLITS = ("train", "valid", "test")
CHUNK = 1 << 26
"""Bytes of an array written at once."""


def write(
    folder: Path,
    *,
    task: str,
    settings: Mapping[str, Any],
    version: int,
    spec: Spec,
    arrays: Mapping[str, Array],
    defects: tuple[str, ...],
    sources: Mapping[str, str],
) -> Manifest:
    """Write arrays (`train.x`, `train.y`, optional `train.lengths`, and so for valid and test; others without split).

    Everything is written to a folder beside `folder`, which takes the name at the end.
    The bytes depend on the arguments only.
    """
    with files.machine_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
        try:
            infos = {name: _save(temporary, name, array) for name, array in sorted(arrays.items())}
            hashes = {name: info.sha256 for name, info in infos.items()}
            identity = {"task": task, "version": version, "spec": spec.plain(), "arrays": hashes}
            manifest = Manifest(
                task=task,
                settings=dict(settings),
                version=version,
                spec=spec,
                sizes={split: infos[f"{split}.x"].shape[0] for split in SPLITS},
                arrays=infos,
                defects=defects,
                sources=dict(sources),
                digest=files.digest(identity),
            )
            manifest.write(temporary / "manifest.json")
            temporary.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return manifest


def _save(folder: Path, name: str, array: Array) -> ArrayInfo:
    path = folder / f"{name}.npy"
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        # Not np.save: where the disk is full it raises an OSError that does not say so.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, len(flat), CHUNK):
            file.write(flat[start : start + CHUNK].data)
            release(flat)
    return ArrayInfo(
        file=path.name,
        sha256=files.sha256_file(path),
        bytes=path.stat().st_size,
        shape=array.shape,
        dtype=array.dtype.name,
    )


def release(array: Array) -> None:
    """Let go of the memory of an array that lies in a file; what is used of it again is read again."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def pack(texts: Iterable[str]) -> Array:
    """Texts without line ends as one array of bytes: UTF-8, one text a line."""
    return np.frombuffer("".join(f"{text}\n" for text in texts).encode(), np.uint8)


def unpack(array: Array) -> list[str]:
    """The texts of `pack`."""
    return np.asarray(array).tobytes().decode().split("\n")[:-1]


class Prepared:
    """A prepared data set, checked against its manifest when opened.

    `test_reads` counts how often the test split was handed out (rule 1 of the evidence:
    a run reads it once, after training).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.test_reads = 0
        self._fix = f"prepare it again: seqbench prepare {folder.name}"
        self.manifest = Manifest.read(folder / "manifest.json", self._fix)
        for info in self.manifest.arrays.values():
            path = folder / info.file
            if not path.is_file():
                raise DataError("a prepared array is missing", str(path), self._fix)
            if path.stat().st_size != info.bytes or files.sha256_file(path) != info.sha256:
                raise DataError("a prepared array differs from its manifest", str(path), self._fix)

    @property
    def spec(self) -> Spec:
        """What the task asks of a model."""
        return self.manifest.spec

    def split(self, name: str) -> dict[str, Array]:
        """Arrays of a split by memory map, as `seqbench.tasks` describes them: x, y, and lengths where they vary."""
        if name == "test":
            self.test_reads += 1
        start = f"{name}."
        return {key.removeprefix(start): self._load(key) for key in self.manifest.arrays if key.startswith(start)}

    def array(self, name: str) -> Array:
        """An array that belongs to no split (a vocabulary, word vectors), by memory map."""
        if name.split(".")[0] in SPLITS or name not in self.manifest.arrays:
            raise DataError(f"the prepared data has no array '{name}'", str(self.folder), self._fix)
        return self._load(name)

    def _load(self, name: str) -> Array:
        path = self.folder / self.manifest.arrays[name].file
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
