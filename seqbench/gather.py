"""The files of a set, from an archive or one by one: each is kept only once it is checked.

What is right waits in a hidden folder, `.NAME.members`, beside the file that will hold it all, so that a
download that was cut goes on where it was. An archive is never extracted: of each file in it no more is read
than it should have, into memory, and checked there.
"""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote

import httpx

from seqbench import files, sets, transfer
from seqbench.sets import Member, Wrong
from seqbench.sources import Source, check
from seqbench.transfer import Fault, Progress

WORKERS = 8
"""Files asked for at once."""
GIVE_UP = 20
"""Files that a place may lack, when it has given none yet, before it is asked no more."""
LARGEST, MORE = 2, 64 << 20
"""An archive may have as many times the bytes of the set, and some more: other files may be in it."""
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How files in an archive may be compressed: other ways take memory that has no bound."""

Faults = Sequence[Fault | Wrong]


class Kept:
    """The files of a set that have come and are right, on disk."""

    def __init__(self, part: Path, source: Source, report: Progress) -> None:
        self.folder, self.source, self.report = _folder(part), source, report
        self.members = sets.members(Path(source.members))
        self.missing = {one.path: one for one in self.members if not self._has(one)}
        self.done = sum(one.size for one in self.members if one.path not in self.missing)
        self._lock = threading.Lock()

    def _has(self, member: Member) -> bool:
        path = self.folder / member.path
        try:
            with files.machine_errors(path):
                if path.is_file() and path.stat().st_size == member.size:
                    member.check(path.read_bytes())
                    return True
        except Wrong:
            pass
        return False

    def add(self, member: Member, content: bytes) -> None:
        """Keep a file, under its name only when it is whole. Raises Wrong where it is not what it should be."""
        member.check(content)
        path = self.folder / member.path
        with files.machine_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_bytes(content)  # not forced to disk: what a power cut spoils does not match its sha256
            os.replace(temporary, path)
        with self._lock:
            del self.missing[member.path]
            self.done += member.size
            self.report(self.source.name, self.done, self.source.bytes)

    def pack(self, part: Path) -> None:
        """Make `part` the zip of the set, when all has come."""
        contents = ((self.folder / one.path).read_bytes() for one in self.members)
        with files.machine_errors(part):
            sets.pack(Path(self.source.members), contents, part)
        check(part, self.source)


def clear(part: Path) -> None:
    """Remove what waited to be put into the zip."""
    shutil.rmtree(_folder(part), ignore_errors=True)
    _archive(part).unlink(missing_ok=True)


def _folder(part: Path) -> Path:
    return part.with_name(f"{part.name.removesuffix('.part')}.members")


def _archive(part: Path) -> Path:
    return part.with_name(f"{part.name.removesuffix('.part')}.archive.part")


# ---------------------------------------------------------------- one archive


def from_archive(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """Make `part` the zip of a set by one request, for an archive that holds its files in a folder of its own.

    Raises Fault where it did not come, Wrong where it lacks a file or has other bytes, naming the first;
    what is right is kept.
    """
    kept, archive = Kept(part, source, report), _archive(part)
    faults: Faults = []
    while kept.missing:
        resumed = archive.exists()
        _download(client, url, archive, kept)
        faults = _take_all(archive, kept)
        archive.unlink()
        if not resumed:
            break  # else its beginning may have been of an archive with other bytes: once more, from the start
    _finish(kept, part, faults)


def _download(client: httpx.Client, url: str, archive: Path, kept: Kept) -> None:
    """Make `archive` a whole file, where it is none yet."""
    if archive.is_file() and zipfile.is_zipfile(archive):
        return
    name, total = kept.source.name, kept.source.bytes
    most = LARGEST * total + MORE
    with files.machine_errors(archive):
        archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        transfer.obtain_any(client, url, archive, most, lambda done: kept.report(name, min(done, total), total))
    except Fault as fault:
        if not fault.passing:
            archive.unlink(missing_ok=True)
        raise


def _take_all(path: Path, kept: Kept) -> Faults:
    """Keep what an archive has of the missing files; what is wrong with the others."""
    faults: list[Fault | Wrong] = []
    try:
        with sets.zip_faults():
            archive = zipfile.ZipFile(path)
    except Wrong as fault:
        return [fault]
    with archive:
        inside = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        for member in list(kept.missing.values()):
            try:
                kept.add(member, _content(archive, inside.get(member.path), member))
            except Wrong as fault:
                faults.append(fault)
    return faults


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, member: Member) -> bytes:
    """A file's content in an archive, or its beginning where it is too long."""
    if info is None:
        raise Wrong(f"{member.path}: not in the archive")
    if info.compress_type not in PLAIN:
        raise Wrong(f"{member.path}: compressed in an unusual way")
    try:
        with sets.zip_faults(), archive.open(info) as stream:
            return stream.read(member.size + 1)
    except Wrong as fault:
        raise Wrong(f"{member.path}: {fault}") from None


# ---------------------------------------------------------------- one by one


def one_by_one(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """Make `part` the zip of a set by a request for each file, under the address `url`, several at once.

    All files are asked for, if the place is up and has some of them. Then raises Fault where a file did not
    come, Wrong where it has other bytes, naming the first; what is right is kept.
    """
    kept = Kept(part, source, report)
    found: dict[str, Fault | Wrong] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        wanted = list(kept.missing.values())
        jobs = {pool.submit(_ask, client, f"{url}/{quote(one.path)}", one, kept): one.path for one in wanted}
        given = in_a_row = 0
        try:
            for job in as_completed(jobs):
                fault = job.result()
                if fault is None:
                    given, in_a_row = given + 1, 0
                    continue
                found[jobs[job]] = fault
                in_a_row += isinstance(fault, Fault) and not fault.lacking
                if in_a_row == WORKERS or (not given and len(found) == GIVE_UP):
                    break
        finally:
            pool.shutdown(cancel_futures=True)
    # What was in work when it was given up counts too: bytes that are wrong are told before what did not come.
    found |= {path: fault for job, path in jobs.items() if not job.cancelled() and (fault := job.result())}
    _finish(kept, part, [found[one.path] for one in wanted if one.path in found])


def _ask(client: httpx.Client, url: str, member: Member, kept: Kept) -> Fault | Wrong | None:
    """Bring one file; what went wrong. Other bytes are asked for once more, as those of any file are."""
    try:
        for last in (False, True):
            try:
                kept.add(member, transfer.read(client, url, member.size))
                break
            except Wrong as fault:
                if last:
                    return fault
    except Fault as fault:
        return Fault(f"{member.path}: {fault}", lacking=fault.lacking)
    return None


def _finish(kept: Kept, part: Path, faults: Faults) -> None:
    """Put all together; or raise the first fault, and tell how many there are."""
    if not kept.missing:
        kept.pack(part)
        return
    first = next((fault for fault in faults if isinstance(fault, Wrong)), faults[0])
    raise type(first)(str(first) + (f", and {len(faults) - 1} more" if len(faults) > 1 else ""))
