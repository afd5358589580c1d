"""What can be downloaded: the entries of `data/sources.toml`, where their files lie, and whether those are right.

A file lies under the path of its URL (`<owner>/<repo>/<commit>/<file>`), so a folder of downloads can serve
as a mirror as it is. Where an entry names other files of the same content (`same`), a mirror may hold one of
them, under its own path or the official one; it is checked against its own record and stored under the
official path.

A set of many files is one entry: `members` names the table of them, `url` the folder they lie under. What
lies in data/raw, and is checked and read as one file, is the zip that `seqbench.sets` makes of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from seqbench import files, sets
from seqbench.errors import DataError, InputError, nearest
from seqbench.records import Count, Record
from seqbench.sets import Wrong

PATH = Path("data/sources.toml")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Same(Record):
    """A file that holds the same content as the official one, which a mirror may offer in its place."""

    path: str
    """Under the mirror's address."""
    sha256: Sha256
    bytes: Count

    @field_validator("path")
    @classmethod
    def _plain(cls, path: str) -> str:
        sets.file_path(path)
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
    """Of a set: the file of its table. Then `sha256` is that of the table, and `bytes` those of the zip."""
    archive: str = ""
    """Of a set: a zip at the origin that holds the members in a folder of its own. Its own bytes may change."""
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
        sets.file_path(unquote(parts.path).removeprefix("/"))
        return url

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.archive and not self.members:
            raise ValueError("'archive' is for a set of files, whose table 'members' names")
        if self.members and self.same:
            raise ValueError("'same' is not for a set of files")
        return self

    @property
    def path(self) -> PurePosixPath:
        """Where the file lies under data/raw and under a mirror: the path of its URL."""
        path = PurePosixPath(unquote(urlsplit(self.url).path).lstrip("/"))
        return path / f"{self.name}.zip" if self.members else path

    @property
    def accepted(self) -> dict[str, int]:
        """Bytes by sha256 of every file that is taken for this one: the official one, then `same`."""
        return {self.sha256: self.bytes} | {one.sha256: one.bytes for one in self.same}

    def expected(self, sizes: Iterable[int]) -> str:
        """The accepted files of these sizes, in words."""
        if self.members:
            return f"{self.bytes} bytes (for the files of {self.members})"
        found = (f"{size} bytes (sha256 {digest})" for digest, size in self.accepted.items() if size in sizes)
        return " or ".join(found)


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
        return Source.from_data({"name": name, **(_set(table, where) if "members" in table else table)})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        raise InputError(first["msg"], place, "copy the form of another entry") from None
    except TypeError as error:  # a date or time, which JSON has not
        raise InputError(str(error), where, "use texts, whole numbers and lists of texts") from None


def _set(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """An entry of a set with what follows from its table."""
    for key in ("sha256", "bytes"):
        if key in table:
            raise InputError(f"'{key}' of a set follows from its table of members", f"{where}.{key}", "leave it out")
    path = Path(str(table["members"]))
    if not path.is_file():
        fix = "restore it from version control, or name the table's file"
        raise InputError("the table of members is missing", f"{where}.members = {path}", fix)
    sha256, size = sets.measure(path)
    return {**table, "sha256": sha256, "bytes": size}


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


def check(path: Path, source: Source) -> str:
    """sha256 of a file anywhere, which must be one that is taken for the source. Raises Wrong."""
    sizes = source.accepted.values()
    with files.machine_errors(path):
        if not path.is_file():
            raise Wrong("the file is missing")
        size = path.stat().st_size
        if size not in sizes:
            kind = "truncated" if size < max(sizes) else "too long"
            raise Wrong(f"{kind}: {size} bytes, expected {source.expected(sizes)}")
        if source.members:
            sets.check(path, Path(source.members), source.sha256)
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
