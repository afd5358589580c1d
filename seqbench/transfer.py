"""One file from one place, over HTTP or from a folder: resumed where it was cut, patient with faults that pass."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from time import sleep
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from seqbench import files
from seqbench.sources import Source, Wrong, check

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

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called as (name, bytes done, bytes in all), from several threads."""


class Fault(Exception):
    """A place did not give the file; `passing`: it may the next time, after `wait` seconds."""

    def __init__(self, reason: str, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.passing, self.wait = passing, wait


def public(url: str) -> str:
    """The URL as it may be printed: without a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def obtain(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
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

    def once() -> None:
        if _size(part) in source.accepted.values():
            return
        if url.startswith("file:"):
            _copy(url, part, source, report)
        else:
            _request(client, url, part, source, report)

    patiently(once, lambda: _size(part))


def patiently(once: Callable[[], T], arrived: Callable[[], int]) -> T:
    """What `once` returns, tried again after faults that pass, until `ATTEMPTS` in a row bring no new byte.

    `arrived` counts the bytes that are there.
    """
    failed = 0
    while True:
        before = arrived()
        try:
            return once()
        except Fault as fault:
            failed = 1 if arrived() > before else failed + 1
            if not fault.passing or failed == ATTEMPTS:
                raise
            jitter = random.SystemRandom().uniform(0.5, 1.5)  # its own source: seeded ones stay as they are
            sleep(fault.wait if fault.wait is not None else BACKOFF * 2 ** (failed - 1) * jitter)


def read(client: httpx.Client, url: str, most: int) -> bytes:
    """A small file of `most` bytes at most, in memory. Raises Fault; one that is longer comes without its end."""

    def once() -> bytes:
        if url.startswith("file:"):
            return _read_local(url, most)
        try:
            with client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise refusal(response)
                content = b""
                for chunk in response.iter_raw():
                    content += chunk
                    if len(content) > most:
                        break
                return content
        except httpx.HTTPError as error:
            raise fault_of(error) from None

    return patiently(once, lambda: 0)


def _read_local(url: str, most: int) -> bytes:
    try:
        with _local(url).open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise Fault(os.strerror(error.errno or 0)) from None


def _local(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


def _copy(url: str, part: Path, source: Source, report: Progress) -> None:
    try:
        with _local(url).open("rb") as file:
            total = _total(os.fstat(file.fileno()).st_size, source)
            _write(iter(lambda: file.read(CHUNK), b""), part, "wb", source, total, report)
    except OSError as error:
        raise Fault(os.strerror(error.errno or 0)) from None


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
                raise Fault(f"answered {status} with another range than the one asked for", passing=True, wait=0.0)
            if status != 200 and not resumed:
                raise refusal(response)
            length = response.headers.get("Content-Length", "")
            total = _total(int(length) + resumed * have if length.isdecimal() else None, source)
            _write(response.iter_raw(), part, "ab" if resumed else "wb", source, total, report)
    except httpx.HTTPError as error:
        raise fault_of(error) from None


def _total(said: int | None, source: Source) -> int:
    """Bytes of the file that comes: what the place says, where that can be; else as many as are accepted."""
    sizes = source.accepted.values()
    return said if said is not None and said in sizes else max(sizes)


def refusal(response: httpx.Response) -> Fault:
    """The fault of an answer other than the file."""
    asked = response.headers.get("Retry-After", "")  # in seconds; a date is left to our own back-off
    return Fault(
        f"answered {response.status_code} {response.reason_phrase}".rstrip(),
        passing=response.status_code in PASSING,
        wait=min(float(asked), LONGEST_WAIT) if asked.isdecimal() else None,
    )


def fault_of(error: httpx.HTTPError) -> Fault:
    """Resets and silence pass; an unknown name, a refusal, no route or a bad certificate do not."""
    root: BaseException = error
    while deeper := root.__cause__ or root.__context__:
        root = deeper
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        return Fault(reason, passing=isinstance(root, OSError) and root.errno == errno.ECONNRESET)
    passing = isinstance(error, httpx.TimeoutException | httpx.NetworkError | httpx.RemoteProtocolError)
    return Fault(reason, passing)


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
