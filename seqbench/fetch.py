"""Download the files of data/sources.toml: resumed where they were cut, whole and right under their final name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from seqbench import files, gather, transfer
from seqbench.errors import DataError, InputError, NetworkError
from seqbench.sets import Wrong
from seqbench.sources import PATH, Source, raw_file, right
from seqbench.transfer import Fault, Progress, public

PLAIN = {"Accept-Encoding": "identity"}
KEPT = httpx.Limits(max_keepalive_connections=gather.WORKERS)

Way = Callable[[httpx.Client, str, Path, Source, Progress], None]
"""Makes a part whole from an address. Raises Fault or Wrong."""


def fetch(
    wanted: Sequence[Source], to: Path, mirror: str | None, progress: Progress | None, workers: int = 4
) -> list[Path]:
    """Download several files side by side, as `download` does each; returns where they lie.

    When some fail, the others are completed all the same. Then the error of the one that
    failed is raised, or an ExceptionGroup with the errors of all that did.
    """
    _check_mirror(mirror)
    stop = threading.Event()

    def report(name: str, done: int, total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt  # ends this worker; what arrived stays in the part
        if progress:
            progress(name, done, total)

    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(download, source, to, mirror, report) for source in wanted]
        try:
            wait(jobs)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    errors = [error for job in jobs if isinstance(error := job.exception(), Exception)]
    if len(errors) > 1:
        raise ExceptionGroup(f"{len(errors)} of {len(jobs)} files failed", errors)
    return [job.result() for job in jobs]


def download(source: Source, to: Path, mirror: str | None, progress: Progress | None) -> Path:
    """Bring one file to `to / source.path`, from the mirror where it has it, else from the origin.

    A right file in place is left alone; a wrong one is replaced once a right one is whole
    on disk. What arrives waits in `.NAME.part` beside it, where the next call goes on.

    Raises InputError (mirror setting), NetworkError (no place could give the file), DataError (a
    place gave another file), MachineError (disk full, no permission).
    """
    _check_mirror(mirror)
    report = progress or (lambda name, done, total: None)
    target = raw_file(source, to)
    if not right(target, source):
        # Another process may be at the same file: the second waits, and finds it done.
        with files.lock(target.with_name(f".{target.name}.lock"), waiting=lambda: None):
            if not right(target, source):
                _replace(source, target, mirror, report)
    if source.members:  # also what a process left that was killed at its end
        gather.clear(target.with_name(f".{target.name}.part"))
    size = target.stat().st_size
    report(source.name, size, size)
    return target


def _replace(source: Source, target: Path, mirror: str | None, report: Progress) -> None:
    part = target.with_name(f".{target.name}.part")
    reasons: dict[str, None] = {}  # in their order, each once
    wrong: tuple[str, str] | None = None
    with httpx.Client(timeout=transfer.TIMEOUT, follow_redirects=True, headers=PLAIN, limits=KEPT) as client:
        for url, way in _ways(source, mirror):
            try:
                way(client, url, part, source, report)
            except Fault as fault:
                reasons[f"{urlsplit(public(url)).netloc or url}: {fault}"] = None
            except Wrong as fault:
                wrong = str(fault), public(url)
            else:
                _settle(part, target)
                return
    if wrong:
        record = source.members or PATH
        fix = f"mend or unset the mirror; where the origin has changed, pin what it has now in {record}"
        raise DataError(f"{source.name}: {'; '.join([wrong[0], *reasons])}", wrong[1], fix)
    left = "; the file in place differs from its record and was left as it is" if target.exists() else ""
    raise NetworkError(
        f"{source.name} could not be downloaded ({'; '.join(reasons)}){left}",
        f"{source.url}; mirror setting: {public(mirror or 'none')}",
        "with a network, repeat the command (what arrived is kept); without, set `mirror:` in params.yaml or "
        "SEQBENCH_MIRROR to a mirror: `seqbench fetch --all --to DIR` on a machine with network makes one",
    )


def _settle(part: Path, target: Path) -> None:
    """Give a whole part its final name, once it is on disk."""
    with files.machine_errors(target):
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, target)


def _check_mirror(mirror: str | None) -> None:
    if not mirror:
        return
    try:
        parts = urlsplit(mirror)
        usable = bool(httpx.URL(mirror).host) and parts.port != 0 and not parts.query and not parts.fragment
        if parts.scheme == "file":
            usable = parts.netloc in ("", "localhost") and parts.path.startswith("/")
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable or parts.scheme not in ("http", "https", "file"):
        raise InputError(
            f"not a mirror's address: '{mirror}'",
            "the mirror setting (`mirror:` in params.yaml, SEQBENCH_MIRROR or --mirror)",
            "e.g. http://host:8000, https://host/folder or file:///folder",
        )


def _ways(source: Source, mirror: str | None) -> Iterator[tuple[str, Way]]:
    """Where to ask, in turn, and how."""
    if mirror:
        base = mirror.rstrip("/")
        for path in (str(source.path), *(one.path for one in source.same)):
            yield f"{base}/{quote(path)}", transfer.obtain
        if source.members:
            yield f"{base}/{quote(str(source.path.parent))}", gather.one_by_one
    if source.archive:
        yield source.archive, gather.from_archive
    yield source.url, gather.one_by_one if source.members else transfer.obtain
