"""Files that are whole or absent: atomic writes, hashes, JSON, and locks the kernel drops."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from seqbench.errors import DataError, InputError, MachineError

_ASKING = threading.Lock()


@contextlib.contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses at `path` into a MachineError."""
    try:
        yield
    except OSError as error:
        fixes = {
            errno.ENOSPC: "free space on this disk, then repeat the command: finished work is kept",
            errno.EDQUOT: "free space in your quota, then repeat the command: finished work is kept",
            errno.EFBIG: "raise the limit on file sizes (ulimit -f), then repeat the command",
            errno.EACCES: "give your user write permission there, or work in a folder of your own",
            errno.EPERM: "give your user write permission there, or work in a folder of your own",
            errno.ENOTDIR: "give a place in a folder",
            errno.EEXIST: "give a place in a folder",
            errno.EISDIR: "give the name of a file",
            errno.EROFS: "work in a folder on a writable disk",
        }
        if error.errno not in fixes:
            raise
        where = str(error.filename or path)
        raise MachineError(os.strerror(error.errno), where, fixes[error.errno]) from error


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; it takes the name `path` only when all went well.

    The data is on disk before the rename, so a reader sees the old file or the new one,
    also after a power cut. On any failure the temporary file is removed.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            encoding = None if "b" in mode else "utf-8"
            with os.fdopen(handle, mode, encoding=encoding, newline=None if "b" in mode else "\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())  # mkstemp gives 0600; a result is for all
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def _umask() -> int:
    with _ASKING:  # to ask is to set it: two threads at once could leave it at 0
        mask = os.umask(0)
        os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_write(path, "w") as file:
        file.write(text)


def canonical(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, no NaN. What digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON with sorted keys; NaN and infinity are refused."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path, fix: str) -> Any:
    """Read JSON; a missing or damaged file is a DataError whose last line is `fix`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("a file is missing", str(path), fix) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not valid JSON ({error})", str(path), fix) from None


def existing(path: str | Path) -> Path:
    """A person's file, which must be there. InputError where it is not."""
    if not Path(path).is_file():
        raise InputError("the file is missing", str(path), "give the path of a file, from the folder of the clone")
    return Path(path)


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file, read as a stream."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold `path` as an exclusive lock that the kernel drops when this process ends, however it ends.

    With `waiting`, call it once and wait for the present holder; without, raise MachineError at once.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise MachineError(
                    "another seqbench is at work in this folder",
                    str(path),
                    "wait for it to end (seqbench status shows how far it is), or work in a clone of your own",
                ) from None
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
