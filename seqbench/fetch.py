"""Download the files of data/sources.toml: resumed where they were cut, whole and right under their final name."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from time import sleep
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import httpx

from seqbench import files
from seqbench.errors import DataError, InputError, NetworkError
from seqbench.sources import Source, Wrong, check, raw_file, right

ATTEMPTS = 4
"""Requests without a new byte before a place counts as down."""
BACKOFF = 1.0
"""Seconds before the second request; doubled for each one after, times a random 0.5 to 1.5."""
LONGEST_WAIT = 60.0
"""Seconds; the most that a server's Retry-After is obeyed."""
TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=None)
"""Seconds without a byte."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
CHUNK = 1 << 16

Progress = Callable[[str, int, int], None]
"""Called as (name, bytes done, bytes in all), from several threads."""


# ---------------------------------------------------------------- downloads


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
    size = target.stat().st_size
    report(source.name, size, size)
    return target


class _Fault(Exception):
    """A place did not give the file; `passing`: it may the next time, after `wait` seconds."""

    def __init__(self, reason: str, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.passing, self.wait = passing, wait


def _replace(source: Source, target: Path, mirror: str | None, report: Progress) -> None:
    part = target.with_name(f".{target.name}.part")
    reasons: list[str] = []
    wrong: DataError | None = None
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True, headers={"Accept-Encoding": "identity"}) as client:
        for url in _places(source, mirror):
            try:
                _obtain(client, url, part, source, report)
            except _Fault as fault:
                reasons.append(f"{urlsplit(_public(url)).netloc or url}: {fault}")
            except Wrong as fault:
                fix = "mend or unset the mirror; where the origin has changed, pin its new file in data/sources.toml"
                wrong = DataError(f"{source.name}: {fault}", _public(url), fix)
            else:
                with files.machine_errors(target):
                    os.replace(part, target)
                return
    if wrong:
        raise wrong
    left = "; the file in place differs from its record and was left as it is" if target.exists() else ""
    raise NetworkError(
        f"{source.name} could not be downloaded ({'; '.join(dict.fromkeys(reasons))}){left}",
        f"{source.url}; mirror setting: {_public(mirror or 'none')}",
        "with a network, repeat the command (what arrived is kept); without, set `mirror:` in params.yaml or "
        "SEQBENCH_MIRROR to a mirror: `seqbench fetch --all --to DIR` on a machine with network makes one",
    )


def _public(url: str) -> str:
    """The URL as it may be printed: without a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


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


def _places(source: Source, mirror: str | None) -> Iterator[str]:
    if mirror:
        for path in (str(source.path), *(one.path for one in source.same)):
            yield f"{mirror.rstrip('/')}/{quote(path)}"
    yield source.url


def _obtain(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """Make `part` the whole file, on disk; wrong bytes are thrown away and asked for once more."""
    for last in (False, True):
        try:
            _transfer(client, url, part, source, report)
            check(part, source)
        except Wrong:
            with files.machine_errors(part):
                part.unlink()
            if last:
                raise
        else:
            with files.machine_errors(part), part.open("rb") as file:
                os.fsync(file.fileno())
            return


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """Fill `part` from one place, patient with faults that pass."""
    failed = 0
    while (before := _size(part)) not in source.accepted.values():
        try:
            if url.startswith("file:"):
                _copy(url, part, source, report)
            else:
                _request(client, url, part, source, report)
        except _Fault as fault:
            failed = 1 if _size(part) > before else failed + 1
            if not fault.passing or failed == ATTEMPTS:
                raise
            jitter = random.SystemRandom().uniform(0.5, 1.5)  # its own source: seeded ones stay as they are
            sleep(fault.wait if fault.wait is not None else BACKOFF * 2 ** (failed - 1) * jitter)
        else:
            return


def _copy(url: str, part: Path, source: Source, report: Progress) -> None:
    try:
        with Path(url2pathname(urlsplit(url).path)).open("rb") as file:
            total = _total(os.fstat(file.fileno()).st_size, source)
            _write(iter(lambda: file.read(CHUNK), b""), part, "wb", source, total, report)
    except OSError as error:
        raise _Fault(os.strerror(error.errno or 0)) from None


def _request(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """One request, for what `part` lacks; a server that ignores Range sends the whole again."""
    have, sizes = _size(part), source.accepted.values()
    have = have if have < max(sizes) else 0
    rest = {f"bytes {have}-{size - 1}/{whole}" for size in sizes if size > have for whole in (size, "*")}
    try:
        with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            status = response.status_code
            resumed = have > 0 and status == 206 and response.headers.get("Content-Range") in rest
            if have and not resumed and status in (206, 416):
                part.unlink()
                raise _Fault(f"answered {status} with another range than the one asked for", passing=True, wait=0.0)
            if status != 200 and not resumed:
                raise _refusal(response)
            length = response.headers.get("Content-Length", "")
            total = _total(int(length) + resumed * have if length.isdecimal() else None, source)
            _write(response.iter_raw(), part, "ab" if resumed else "wb", source, total, report)
    except httpx.HTTPError as error:
        raise _fault(error) from None


def _total(said: int | None, source: Source) -> int:
    """Bytes of the file that comes: what the place says, where that can be; else as many as are accepted."""
    sizes = source.accepted.values()
    return said if said is not None and said in sizes else max(sizes)


def _refusal(response: httpx.Response) -> _Fault:
    asked = response.headers.get("Retry-After", "")  # in seconds; a date is left to our own back-off
    return _Fault(
        f"answered {response.status_code} {response.reason_phrase}".rstrip(),
        passing=response.status_code in PASSING,
        wait=min(float(asked), LONGEST_WAIT) if asked.isdecimal() else None,
    )


def _fault(error: httpx.HTTPError) -> _Fault:
    """Resets and silence pass; an unknown name, a refusal, no route or a bad certificate do not."""
    root: BaseException = error
    while deeper := root.__cause__ or root.__context__:
        root = deeper
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        return _Fault(reason, passing=isinstance(root, OSError) and root.errno == errno.ECONNRESET)
    passing = isinstance(error, httpx.TimeoutException | httpx.NetworkError | httpx.RemoteProtocolError)
    return _Fault(reason, passing)


def _write(chunks: Iterable[bytes], part: Path, mode: str, source: Source, total: int, report: Progress) -> None:
    with files.machine_errors(part), part.open(mode) as file:
        done = file.tell()
        for chunk in chunks:
            done += len(chunk)
            if done > total:
                digest = next(digest for digest, size in source.accepted.items() if size == total)
                raise Wrong(f"more than the expected {total} bytes (sha256 {digest})")
            file.write(chunk)
            report(source.name, done, total)
