"""One file from one place, over HTTP or from a folder: resumed where it was cut, patient with faults that pass."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import sleep
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from seqbench import files
from seqbench.sets import Wrong
from seqbench.sources import Source, check

ATTEMPTS = 4
"""Requests without a new byte before a place counts as down."""
BACKOFF = 1.0
"""Seconds before the second request; doubled for each one after, times a random 0.5 to 1.5."""
LONGEST_WAIT = 60.0
"""Seconds; the most that a server's Retry-After is obeyed."""
TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=None)
"""Seconds without a byte."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
LACKING = {404, 410}
CHUNK = 1 << 16

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called as (name, bytes done, bytes in all), from several threads."""


class Fault(Exception):
    """A place did not give the file.

    `passing`: it may the next time, after `wait` seconds. `lacking`: it is there, and has no such file.
    """

    def __init__(self, reason: str, passing: bool = False, wait: float | None = None, lacking: bool = False) -> None:
        super().__init__(reason)
        self.passing, self.wait, self.lacking = passing, wait, lacking


def public(url: str) -> str:
    """The URL as it may be printed: without a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def obtain(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """Make `part` the whole file; wrong bytes are thrown away and asked for once more."""
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
            return


def obtain_any(client: httpx.Client, url: str, part: Path, most: int, report: Callable[[int], None]) -> None:
    """Make `part` a whole file whose bytes nobody promises, of `most` bytes at most. Raises Fault.

    Where the place allows it goes on from what is there, though that may be of another file.
    """

    def once() -> None:
        have = _size(part)
        with _answer(client, url, part, have, lambda place: place.startswith(f"bytes {have}-")) as (response, resumed):
            too_long = Fault(f"sent more than {most} bytes")
            _write(_at_most(most - resumed * have, response.iter_raw(), too_long), part, resumed, report)

    patiently(once, lambda: _size(part))


def read(client: httpx.Client, url: str, most: int) -> bytes:
    """A small file, in memory: of one that is longer, no more than `most` + 1 bytes. Raises Fault."""

    def once() -> bytes:
        if url.startswith("file:"):
            return _read_local(url, most + 1)
        try:
            with client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise refusal(response)
                content = bytearray()
                for chunk in response.iter_raw(CHUNK):
                    content += chunk
                    if len(content) > most:
                        break
                return bytes(content[: most + 1])
        except httpx.HTTPError as error:
            raise fault_of(error) from None

    return patiently(once, lambda: 0)


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


def _local(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


def _read_local(url: str, most: int) -> bytes:
    try:
        with _local(url).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise Fault(os.strerror(error.errno or 0), lacking=True) from None


def _copy(url: str, part: Path, source: Source, report: Progress) -> None:
    try:
        with _local(url).open("rb") as file:
            total = _total(os.fstat(file.fileno()).st_size, source)
            chunks = _at_most(total, iter(lambda: file.read(CHUNK), b""), _too_long(source, total))
            _write(chunks, part, False, lambda done: report(source.name, done, total))
    except OSError as error:
        raise Fault(os.strerror(error.errno or 0), lacking=True) from None


def _request(client: httpx.Client, url: str, part: Path, source: Source, report: Progress) -> None:
    """One request, for what `part` lacks."""
    have, sizes = _size(part), source.accepted.values()
    have = have if have < max(sizes) else 0
    rest = {f"bytes {have}-{size - 1}/{whole}" for size in sizes if size > have for whole in (size, "*")}
    with _answer(client, url, part, have, rest.__contains__) as (response, resumed):
        length = response.headers.get("Content-Length", "")
        total = _total(int(length) + resumed * have if length.isdecimal() else None, source)
        chunks = _at_most(total - resumed * have, response.iter_raw(), _too_long(source, total))
        _write(chunks, part, resumed, lambda done: report(source.name, done, total))


@contextlib.contextmanager
def _answer(
    client: httpx.Client, url: str, part: Path, have: int, is_rest: Callable[[str], bool]
) -> Iterator[tuple[httpx.Response, bool]]:
    """The answer to a request for what `part` lacks, and whether it is that, by its Content-Range.

    A server that ignores Range sends the whole again. Raises Fault.
    """
    try:
        with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            status = response.status_code
            resumed = have > 0 and status == 206 and is_rest(response.headers.get("Content-Range", ""))
            if have and not resumed and status in (206, 416):
                part.unlink()
                raise Fault(f"answered {status} with another range than the one asked for", passing=True, wait=0.0)
            if status != 200 and not resumed:
                raise refusal(response)
            yield response, resumed
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
        lacking=response.status_code in LACKING,
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


def _at_most(room: int, chunks: Iterable[bytes], too_long: Exception) -> Iterator[bytes]:
    for chunk in chunks:
        room -= len(chunk)
        if room < 0:
            raise too_long
        yield chunk


def _too_long(source: Source, total: int) -> Wrong:
    return Wrong(f"more than the expected {source.expected([total])}")


def _write(chunks: Iterable[bytes], part: Path, resumed: bool, report: Callable[[int], None]) -> None:
    with files.machine_errors(part), part.open("ab" if resumed else "wb") as file:
        done = file.tell()
        for chunk in chunks:
            done += len(chunk)
            file.write(chunk)
            report(done)
