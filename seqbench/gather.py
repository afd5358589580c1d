"""The files of a set, from an archive or one by one: each is kept only once it is checked.

What is right waits in a hidden folder, `.NAME.members`, beside the file that will hold it all, so that a
download that was cut goes on where it was. An archive is not resumed: its bytes are not promised to be
the same twice.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import quote

import httpx

from seqbench import files, transfer
from seqbench.sources import Member, Source, Wrong, check, members, pack
from seqbench.transfer import Fault, Progress

WORKERS = 8
"""Files asked for at once."""
GIVE_UP = 20
"""Refusals of a place that has given no file yet, before it is asked no more."""
LARGEST = 2
"""An archive may be as many times the size of its members (and 64 MiB more)."""


def gather(client: httpx.Client, place: str, part: Path, source: Source, report: Progress) -> None:
    """Make `part` the zip of a set whose files lie under the address `place`, at its origin or in a mirror.

    From the origin, one request for its archive comes first. Raises Fault where files did not come,
    Wrong where one has other bytes than it should, each naming the first; what is right is kept.
    """
    kept = Kept(part, source, report)
    if kept.missing() and source.archive and place.startswith(source.url):
        _from_archive(client, source, kept)
    if missing := kept.missing():
        _one_by_one(client, place, missing, kept)
    with files.machine_errors(part):
        pack(source, kept.contents(), part)
    check(part, source)


def clear(part: Path) -> None:
    """Remove what waited to be put into the zip."""
    shutil.rmtree(_folder(part), ignore_errors=True)


def _folder(part: Path) -> Path:
    return part.with_name(f"{part.name.removesuffix('.part')}.members")


class Kept:
    """The members that are there and right."""

    def __init__(self, part: Path, source: Source, report: Progress) -> None:
        self.folder, self.source, self.report = _folder(part), source, report
        self.members = members(Path(source.members))
        self.done = sum(one.bytes for one in self.members if self._is_right(one))
        self._lock = threading.Lock()

    def _path(self, member: Member) -> Path:
        return self.folder / PurePosixPath(member.path)

    def _is_right(self, member: Member) -> bool:
        path = self._path(member)
        return path.is_file() and fault_in(path.read_bytes(), member) == ""

    def missing(self) -> list[Member]:
        """Those that are not there."""
        return [one for one in self.members if not self._path(one).is_file() or not self._is_right(one)]

    def add(self, member: Member, content: bytes) -> None:
        """Keep a member, on disk under its name only when whole. Raises Wrong where it is not what it should be."""
        fault = fault_in(content, member)
        if fault:
            raise Wrong(f"{member.path}: {fault}")
        with files.atomic_write(self._path(member)) as file:
            file.write(content)
        with self._lock:
            self.done += member.bytes
            self.report(self.source.name, self.done, self.source.bytes)

    def contents(self) -> Iterator[bytes]:
        """The members' contents, in order."""
        return (self._path(one).read_bytes() for one in self.members)


def fault_in(content: bytes, member: Member) -> str:
    """What is wrong with a member's content; nothing: an empty text."""
    if len(content) != member.bytes:
        kind = "truncated" if len(content) < member.bytes else "too long"
        return f"{kind}, expected {member.bytes} bytes (sha256 {member.sha256})"
    found = hashlib.sha256(content).hexdigest()
    return "" if found == member.sha256 else f"sha256 is {found}, expected {member.sha256}"


# ---------------------------------------------------------------- one archive


def _from_archive(client: httpx.Client, source: Source, kept: Kept) -> None:
    """Keep what a place's archive has of the members; what it lacks, or has wrong, is asked for singly afterwards."""
    most = LARGEST * sum(one.bytes for one in kept.members) + (64 << 20)
    with TemporaryFile(dir=_made(kept.folder)) as file:
        try:
            transfer.patiently(lambda: _whole(client, source.archive, file, most), lambda: 0)
            with zipfile.ZipFile(file) as archive:
                inside = {_below(info.filename): info for info in archive.infolist()}
                for member in kept.missing():
                    _take(archive, inside.get(member.path), member, kept)
        except (Fault, zipfile.BadZipFile):
            return


def _made(folder: Path) -> Path:
    with files.machine_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _whole(client: httpx.Client, url: str, file: IO[bytes], most: int) -> None:
    """An archive into a file without a name. Raises Fault."""
    file.seek(0)
    file.truncate()
    try:
        with client.stream("GET", url) as response:
            if response.status_code != 200:
                raise transfer.refusal(response)
            for chunk in response.iter_raw(transfer.CHUNK):
                if file.tell() + len(chunk) > most:
                    raise Fault(f"the archive is larger than {most} bytes")
                with files.machine_errors(Path(str(file.name))):
                    file.write(chunk)
    except httpx.HTTPError as error:
        raise transfer.fault_of(error) from None


def _below(name: str) -> str:
    """A name without the archive's own folder."""
    return name.partition("/")[2]


def _take(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, member: Member, kept: Kept) -> None:
    """A member out of the archive, no more of it than it should have; a bad one is left."""
    if info is None:
        return
    try:
        with archive.open(info) as stream:
            kept.add(member, stream.read(member.bytes + 1))
    except (Wrong, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        return


# ---------------------------------------------------------------- one by one


def _one_by_one(client: httpx.Client, place: str, wanted: Sequence[Member], kept: Kept) -> None:
    """Ask for each file, several at once. When all are asked for, raises what the first fault of all was."""
    faults: list[Fault] = []
    wrong: list[Wrong] = []
    down = threading.Event()

    def one(member: Member) -> None:
        if down.is_set():
            return
        try:
            kept.add(member, transfer.read(client, place + quote(member.path), member.bytes))
        except Wrong as fault:
            wrong.append(fault)
        except Fault as fault:
            faults.append(Fault(f"{member.path}: {fault}"))
            if fault.passing or (kept.done == before and len(faults) >= GIVE_UP) or not _answered(fault):
                down.set()

    before = kept.done
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            list(pool.map(one, wanted))
        except BaseException:
            down.set()
            raise
    if wrong:
        raise Wrong(f"{wrong[0]}" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""))
    if faults:
        raise Fault(f"{faults[0]}" + (f", and {len(faults) - 1} more" if len(faults) > 1 else ""))


def _answered(fault: Fault) -> bool:
    """Whether the place is there at all: it said that it has not this file."""
    return "answered" in str(fault) or "No such file" in str(fault)
