"""Sets of many files: a table of their paths and checksums, and one file that holds them all.

The table is a committed CSV file with path, sha256 and bytes of each file, and what else its task wants to
know of it. The one file is a zip without compression of that table and the files in its order, so a task
needs nothing else; its bytes depend on nothing else.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import hashlib
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from seqbench.errors import InputError

TABLE = "members.csv"
"""The table's name in the zip."""
HEADERS = 30 + 46
"""Bytes that a zip without compression holds for each file, besides its content and twice its name."""
END = 22
LARGEST, MOST = 2**31 - 1, 0xFFFF
"""Bytes and files of a zip in its plain form."""


class Wrong(Exception):
    """A file has other bytes than any that is accepted."""


class Member(NamedTuple):
    """One file of a set."""

    path: str
    sha256: str
    size: int

    def check(self, content: bytes) -> None:
        """Raises Wrong, which names the file, where its content is another; `content` may end early if too long."""
        if len(content) != self.size:
            kind = f"truncated: {len(content)} bytes" if len(content) < self.size else "too long"
            raise Wrong(f"{self.path}: {kind}, expected {self.size} bytes (sha256 {self.sha256})")
        self.check_sha256(hashlib.sha256(content).hexdigest())

    def check_sha256(self, found: str) -> None:
        """Raises Wrong, which names the file."""
        if found != self.sha256:
            raise Wrong(f"{self.path}: sha256 is {found}, expected {self.sha256}")


def file_path(path: str) -> None:
    """Raises ValueError where a path could lead out of its folder, or to no file."""
    if {"", ".", ".."} & set(path.split("/")):
        raise ValueError("its path must name a file, without empty parts, '.' or '..'")


# ---------------------------------------------------------------- the table


@functools.lru_cache(maxsize=8)
def members(table: Path) -> tuple[Member, ...]:
    """The files of a set, in the order of its table. InputError names the first bad line."""
    found: dict[str, Member] = {}
    try:
        text = table.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason})", str(table), "restore it from version control") from None
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
        try:
            member = _member(row)
            if member.path in found:
                raise ValueError("its path was named before")
        except (KeyError, TypeError, ValueError) as error:
            fix = "each line: path,sha256,bytes and what else the task wants to know"
            raise InputError(f"not a file of the set ({error})", f"{table}, line {number}", fix) from None
        found[member.path] = member
    return tuple(found.values())


def _member(row: Mapping[str, str]) -> Member:
    member = Member(row["path"], row["sha256"], int(row["bytes"]))
    file_path(member.path)
    if member.path == TABLE or "\\" in member.path:
        raise ValueError(f"its path must be another than {TABLE}, without backslashes")
    if not re.fullmatch("[0-9a-f]{64}", member.sha256) or member.size < 0:
        raise ValueError("its sha256 must have 64 digits of 0-9a-f, and its bytes be 0 or more")
    return member


def measure(table: Path) -> tuple[str, int]:
    """sha256 of the table, and the bytes of the zip. InputError where a plain zip cannot hold so much."""
    content = table.read_bytes()
    sizes = [(TABLE, len(content)), *((one.path, one.size) for one in members(table))]
    size = END + sum(HEADERS + 2 * len(name.encode()) + inside for name, inside in sizes)
    if size > LARGEST or len(sizes) > MOST:
        raise InputError(f"{size} bytes in {len(sizes)} files are too many for one set", str(table), "make it several")
    return hashlib.sha256(content).hexdigest(), size


# ---------------------------------------------------------------- the zip


def pack(table: Path, contents: Iterable[bytes], to: Path) -> None:
    """Write the zip of a set: its table, then the files' contents in its order."""
    names = [TABLE, *(one.path for one in members(table))]
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in zip(names, itertools.chain([table.read_bytes()], contents), strict=True):
            info = zipfile.ZipInfo(name)  # of 1980, with the same attributes everywhere
            info.create_system = 3
            archive.writestr(info, content)


def check(path: Path, table: Path, sha256: str) -> None:
    """Compare every file in the zip with the table, whose sha256 is given. Raises Wrong, naming the first that differs.

    The zip may come from a mirror: that each file is as long as it should be, without compression, is seen
    before it is read.
    """
    wanted = [Member(TABLE, sha256, table.stat().st_size), *members(table)]
    with zip_faults(), zipfile.ZipFile(path) as archive:
        found = archive.infolist()
        if [info.filename for info in found] != [one.path for one in wanted]:
            raise Wrong(f"its files are not those of {table}, in that order")
        for info, one in zip(found, wanted, strict=True):
            if (info.file_size, info.compress_type) != (one.size, zipfile.ZIP_STORED):
                raise Wrong(f"{one.path}: not {one.size} bytes without compression, as it should be")
            with archive.open(info) as stream:
                one.check_sha256(hashlib.file_digest(stream, "sha256").hexdigest())  # type: ignore[arg-type]


@contextlib.contextmanager
def zip_faults() -> Iterator[None]:
    """Turn what zipfile raises at a file that is not the zip that it should be into Wrong."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is an offset outside of the file
            raise
        raise Wrong(f"not the zip that it should be ({' '.join(str(error).split())})") from None
