"""What can be downloaded: the entries of `data/sources.toml`, where their files lie, and whether those are right.

A file lies under the path of its URL (`<owner>/<repo>/<commit>/<file>`), so a folder of downloads can serve
as a mirror as it is. Where an entry names other files of the same content (`same`), a mirror may hold one of
them, under its own path or the official one; it is checked against its own record and stored under the
official path.

A set of many files is one entry: `members` names a table of their paths and checksums, `url` the folder
they lie under. What lies in data/raw, and is downloaded, checked and read as one file, is a zip without
compression of that table and the members in its order; its bytes depend on nothing else.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError, field_validator

from seqbench import files
from seqbench.errors import DataError, InputError, nearest
from seqbench.records import Count, Record

PATH = Path("data/sources.toml")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _file_names(path: str) -> None:
    if {"", ".", ".."} & set(path.split("/")):
        raise ValueError("its path must name a file, without empty parts, '.' or '..'")


class Member(NamedTuple):
    """One file of a set."""

    path: str
    sha256: str
    bytes: int


class Same(Record):
    """A file that holds the same content as the official one, which a mirror may offer in its place."""

    path: str
    """Under the mirror's address."""
    sha256: Sha256
    bytes: Count

    @field_validator("path")
    @classmethod
    def _plain(cls, path: str) -> str:
        _file_names(path)
        return path


class Source(Record):
    """One file of data/sources.toml."""

    name: str
    url: str
    sha256: Sha256
    bytes: Count
    licence: str
    citation: str
    defects: tuple[str, ...]
    """Known defects, one sentence each."""
    optional: bool = False
    """Left out of `seqbench fetch --all`: fetched when it is named or a task's settings need it."""
    members: str = ""
    """Of a set: a table in CSV with path, sha256 and bytes of each file, and what else its task wants to know of it.
    Then `sha256` is that of the table, and `bytes` those of the zip."""
    archive: str = ""
    """Of a set: an archive that holds the members, in a folder of its own. Its own bytes may change."""
    same: tuple[Same, ...] = ()
    """Other files of the same content."""

    @field_validator("url", "archive")
    @classmethod
    def _plain(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http:// or https:// URL")
        _file_names(unquote(parts.path).removeprefix("/"))
        return url

    @property
    def path(self) -> PurePosixPath:
        """Where the file lies under data/raw and under a mirror: the path of its URL."""
        path = PurePosixPath(unquote(urlsplit(self.url).path).lstrip("/"))
        return path / f"{self.name}.zip" if self.members else path

    @property
    def accepted(self) -> dict[str, int]:
        """Bytes by sha256 of every file that is taken for this one: the official one, then `same`."""
        return {self.sha256: self.bytes} | {one.sha256: one.bytes for one in self.same}


def read(path: Path = PATH) -> dict[str, Source]:
    """All entries by name. Raises InputError with file, entry and key where one is not valid."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("the file is missing", str(path), "run seqbench in the folder of a clone") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML ({error})", str(path), "mend the TOML") from None
    return {name: _source(name, table, f"{path}, {name}") for name, table in tables.items()}


def usual(known: Mapping[str, Source]) -> list[Source]:
    """What `seqbench fetch --all` means: every entry that is not optional."""
    return [source for source in known.values() if not source.optional]


def _source(name: str, table: object, where: str) -> Source:
    known = sorted(set(Source.model_fields) - {"name"})
    if not isinstance(table, dict):
        raise InputError("not a table", where, f"write [{name}] and under it: {', '.join(known)}")
    for key in table:
        if key not in known:
            raise InputError(f"unknown key '{key}'", f"{where}.{key}", nearest(key, known))
    try:
        return Source.from_data({"name": name, **(_set(table, where) if table.get("members") else table)})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        raise InputError(first["msg"], place, "copy the form of another entry") from None
    except TypeError as error:  # a date or time, which JSON has not
        raise InputError(str(error), where, "use texts, whole numbers and lists of texts") from None


# ---------------------------------------------------------------- sets of files

TABLE = "members.csv"
"""The table's name in the zip of a set."""
HEADERS = 30 + 46
"""Bytes that a zip without compression holds for each file, besides its content and twice its name."""
END = 22


def _set(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """An entry of a set with the sha256 of its table and the bytes of its zip."""
    path = Path(str(table["members"]))
    if not path.is_file():
        raise InputError(
            "the table of members is missing", f"{where}.members = {path}", "restore it from version control"
        )
    content = path.read_bytes()
    sizes = [(TABLE, len(content)), *((one.path, one.bytes) for one in members(path))]
    size = END + sum(HEADERS + 2 * len(name.encode()) + bytes_ for name, bytes_ in sizes)
    return {**table, "sha256": hashlib.sha256(content).hexdigest(), "bytes": size}


@functools.lru_cache(maxsize=8)
def members(path: Path) -> tuple[Member, ...]:
    """The files of a set, in the order of its table. InputError names the first bad line."""
    found: list[Member] = []
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    for number, row in enumerate(rows, start=2):
        try:
            member = Member(row["path"], row["sha256"], int(row["bytes"]))
            _file_names(member.path)
        except (KeyError, TypeError, ValueError) as error:
            fix = "each line: path,sha256,bytes and what else the task wants to know"
            raise InputError(f"not a member ({error})", f"{path}, line {number}", fix) from None
        found.append(member)
    return tuple(found)


def pack(source: Source, contents: Iterable[bytes], to: Path) -> None:
    """Write the zip of a set: its table, then the members' contents in its order."""
    table = Path(source.members)
    names = [TABLE, *(one.path for one in members(table))]
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in zip(names, _after(table.read_bytes(), contents), strict=True):
            info = zipfile.ZipInfo(name)  # of 1980, with no attributes: the bytes depend on the members only
            info.create_system = 3
            archive.writestr(info, content)


def _after(first: bytes, others: Iterable[bytes]) -> Iterable[bytes]:
    yield first
    yield from others


def _check_packed(path: Path, source: Source) -> None:
    """Every file in the zip of a set against the table. Raises Wrong, naming the first that differs."""
    wanted = {TABLE: source.sha256} | {one.path: one.sha256 for one in members(Path(source.members))}
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.namelist() != list(wanted):
                raise Wrong("its files are not those of the table of members")
            for name, digest in wanted.items():
                found = hashlib.sha256(archive.read(name)).hexdigest()
                if found != digest:
                    raise Wrong(f"{name}: sha256 is {found}, expected {digest}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise Wrong(f"not the zip that it should be ({' '.join(str(error).split())})") from None


# ---------------------------------------------------------------- files in place


def raw_file(source: Source, root: Path) -> Path:
    """Where the source's file lies under `root` (data/raw, or a mirror)."""
    return root / source.path


def identify(source: Source, root: Path) -> str:
    """sha256 of the source's file under `root`: the official one's, or that of one in `same`.

    Raises DataError where it is missing, truncated or altered.
    """
    path = raw_file(source, root)
    try:
        return check(path, source)
    except Wrong as fault:
        what, fix = f"{source.name}: {fault}", f"download it: seqbench fetch {source.name}"
        raise DataError(what, str(path), fix) from None


class Wrong(Exception):
    """A file has other bytes than any that is accepted."""


def check(path: Path, source: Source) -> str:
    """sha256 of a file anywhere, which must be one that is taken for the source. Raises Wrong."""
    sizes = source.accepted.values()
    with files.machine_errors(path):
        if not path.is_file():
            raise Wrong("the file is missing")
        size = path.stat().st_size
        if size not in sizes:
            kind = "truncated" if size < max(sizes) else "too long"
            expected = " or ".join(f"{size} (sha256 {digest})" for digest, size in source.accepted.items())
            raise Wrong(f"{kind}: {size} bytes, expected {expected}")
        if source.members:
            _check_packed(path, source)
            return source.sha256
        found = files.sha256_file(path)
    if found not in source.accepted:
        raise Wrong(f"sha256 is {found}, expected {' or '.join(source.accepted)}")
    return found


def right(path: Path, source: Source) -> bool:
    """Whether `check` finds nothing wrong."""
    try:
        return bool(check(path, source))
    except Wrong:
        return False
