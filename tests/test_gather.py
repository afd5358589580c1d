"""Sets of files as real hosts give them: archives behind a redirect, odd names, places that stop halfway."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from host import Host

from seqbench import fetch, files, gather, sources, transfer
from seqbench.errors import DataError, MachineError, NetworkError
from seqbench.sources import Source

pytestmark = pytest.mark.usefixtures("waits")

FOLDER = "owner/repo/commit"
ARCHIVE = "owner/repo/archive/commit.zip"
HIDDEN = f"{FOLDER}/.many.zip.members"
WAITING = f"{FOLDER}/.many.zip.archive.part"
FILES = {f"a/{n:02}": hashlib.shake_256(b"%d" % n).digest(50_000) for n in range(24)}
ODD = {
    "empty": b"",
    "why?x=1#end": b"1",
    "per%20cent": b"22",
    "a+b&c;d='e'": b"333",
    " two  spaces ": b"4444",
    "~tilde": b"55555",
    "-dash/--all": b"666666",
    "ü/日本.bin": b"7777777",
}


class Hub(ThreadingHTTPServer):
    """Hosts an archive as repositories do: made on demand, so of unknown length and without ranges, elsewhere.

    `ends` lists after how many bytes, and how, the next answers break off.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Redirecting)
        self.content = content
        self.ends: list[tuple[int, str]] = []
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Redirecting(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        if self.path == f"/{ARCHIVE}":
            self.send_response(302)
            self.send_header("Location", f"{self.server.url.replace('127.0.0.1', 'localhost')}/made")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path != "/made":
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.make()

    def make(self) -> None:
        size, how = self.server.ends.pop(0) if self.server.ends else (len(self.server.content), "chunked")
        self.close_connection = True
        self.send_response(200)
        if how != "closed":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = self.server.content[:size]
        if how == "closed":  # the end of the connection is the end of the file
            self.wfile.write(body)
            return
        for start in range(0, size, 40_000):
            piece = body[start : start + 40_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if how == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def archived(contents: Mapping[str, bytes], folder: str = "repo-commit") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in contents.items():
            archive.writestr(f"{folder}/{name}", one)
    return buffer.getvalue()


def entry(folder: Path, base: str, contents: Mapping[str, bytes] = FILES, archive: bool = False) -> Source:
    rows = "".join(f"{name},{hashlib.sha256(one).hexdigest()},{len(one)}\n" for name, one in contents.items())
    (folder / "many.csv").write_text(f"path,sha256,bytes\n{rows}", encoding="utf-8", newline="")
    text = f'[many]\nurl = "{base}/{FOLDER}"\nmembers = "{folder}/many.csv"\n'
    text += f'archive = "{base}/{ARCHIVE}"\n' if archive else ""
    (folder / "sources.toml").write_text(text + 'licence = "none"\ncitation = "nobody"\ndefects = []\n')
    return sources.read(folder / "sources.toml")["many"]


def inside(path: Path) -> dict[str, bytes]:
    """Content of a set's zip, less its table."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()[1:]}


def left(folder: Path) -> set[str]:
    """Paths of all files under a folder but the locks."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix() for path in found}


def at(name: str) -> str:
    return quote(f"{FOLDER}/{name}")


@pytest.fixture
def origin(serve: Callable[[], Host]) -> Host:
    """Has the set as single files, and no archive."""
    host = serve()
    host.contents = {at(name): one for name, one in FILES.items()}
    return host


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Has the set as an archive, and no single files."""
    host = Hub(archived(FILES))
    threading.Thread(target=host.serve_forever, args=(0.01,)).start()
    yield host
    host.shutdown()
    host.server_close()


# ---------------------------------------------------------------- an archive made on demand


@pytest.mark.parametrize("broken", [0, 1, 3])
def test_an_archive_of_unknown_length_behind_a_redirect(broken: int, hub: Hub, tmp_path: Path) -> None:
    hub.ends = [(700_000, "broken")] * broken
    path = fetch.download(entry(tmp_path, hub.url, archive=True), tmp_path / "raw", None, None)
    assert inside(path) == FILES
    assert hub.seen == [f"/{ARCHIVE}", "/made"] * (broken + 1)


def test_an_archive_that_never_comes_whole(hub: Hub, tmp_path: Path, waits: list[float]) -> None:
    hub.ends = [(700_000, "broken")] * 99
    with pytest.raises(NetworkError, match="answered 404") as caught:
        fetch.download(entry(tmp_path, hub.url, archive=True), tmp_path / "raw", None, None)
    assert hub.seen.count("/made") == transfer.ATTEMPTS
    assert "incomplete" in caught.value.what  # why the archive did not come is told beside the other
    assert not (tmp_path / "raw" / FOLDER / "many.zip").exists()


def test_an_archive_that_ends_early_without_a_sign_is_no_archive(hub: Hub, tmp_path: Path) -> None:
    hub.ends = [(700_000, "closed")]
    wanted = entry(tmp_path, hub.url, archive=True)
    with pytest.raises(DataError, match="not the zip that it should be"):
        fetch.download(wanted, tmp_path / "raw", None, None)
    assert left(tmp_path / "raw") == set()
    assert inside(fetch.download(wanted, tmp_path / "raw", None, None)) == FILES


def test_a_busy_host_s_part_of_an_archive_waits_for_the_next_call(serve: Callable[[], Host], tmp_path: Path) -> None:
    host = serve()
    whole = host.contents[ARCHIVE] = archived(FILES)
    host.faults[ARCHIVE] = ["cut", *["503"] * transfer.ATTEMPTS]
    wanted = entry(tmp_path, host.url, archive=True)
    with pytest.raises(NetworkError):
        fetch.download(wanted, tmp_path / "raw", None, None)
    assert (tmp_path / "raw" / WAITING).read_bytes() == whole[: len(whole) // 2]
    host.faults.clear()
    host.seen.clear()
    assert inside(fetch.download(wanted, tmp_path / "raw", None, None)) == FILES
    assert host.seen == [(ARCHIVE, f"bytes={len(whole) // 2}-")]


def test_an_archive_without_end_leaves_nothing(
    serve: Callable[[], Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "MORE", 0)
    host = serve()
    wanted = entry(tmp_path, host.url, archive=True)
    host.contents[ARCHIVE] = bytes(5 * wanted.bytes)
    with pytest.raises(NetworkError, match=f"sent more than {2 * wanted.bytes} bytes"):
        fetch.download(wanted, tmp_path / "raw", None, None)
    assert left(tmp_path / "raw") == set()


def test_a_file_of_the_same_name_elsewhere_in_an_archive_is_never_kept(origin: Host, tmp_path: Path) -> None:
    planted = io.BytesIO(archived(FILES))
    with zipfile.ZipFile(planted, "a") as archive:
        archive.writestr("other/a/07", b"planted")
        archive.writestr("../a/08", b"planted")
        archive.writestr("/a/09", b"planted")
    origin.contents[ARCHIVE] = planted.getvalue()
    path = fetch.download(entry(tmp_path, origin.url, archive=True), tmp_path / "raw", None, None)
    assert inside(path) == FILES
    assert left(tmp_path) == {"many.csv", "sources.toml", f"raw/{FOLDER}/many.zip"}


def test_an_archive_is_taken_file_by_file(serve: Callable[[], Host], tmp_path: Path) -> None:
    large = {f"{n:02}": hashlib.shake_256(b"%d" % n).digest(1_000_000) for n in range(20)}
    put = tmp_path / "raw" / WAITING
    put.parent.mkdir(parents=True)
    put.write_bytes(archived(large))
    wanted = entry(tmp_path, serve().url, large, archive=True)
    large.clear()
    tracemalloc.start()
    try:
        path = fetch.download(wanted, tmp_path / "raw", None, None)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 20_000_000


# ---------------------------------------------------------------- names and places


@pytest.mark.parametrize("way", ["files", "archive", "folder"])
def test_odd_names_and_an_empty_file(way: str, serve: Callable[[], Host], tmp_path: Path) -> None:
    host = serve()
    if way == "files":
        host.contents = {at(name): one for name, one in ODD.items()}
    elif way == "archive":
        host.contents[ARCHIVE] = archived(ODD)
    else:
        for name, one in ODD.items():
            path = tmp_path / "mirror" / FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one)
    wanted = entry(tmp_path, host.url, ODD, archive=way == "archive")
    mirror = (tmp_path / "mirror").as_uri() if way == "folder" else None
    assert inside(fetch.download(wanted, tmp_path / "raw", mirror, None)) == ODD
    assert left(tmp_path / "raw") == {f"{FOLDER}/many.zip"}
    assert len(host.seen) == {"files": len(ODD), "archive": 1, "folder": 0}[way]


def test_a_place_that_stops_halfway_is_left_and_what_came_is_kept(
    serve: Callable[[], Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "WORKERS", 1)  # in the order of the table
    host = serve()
    small = {f"{n:03}": b"%d" % n for n in range(70)}
    host.contents = {at(name): one for name, one in small.items()}
    host.faults = {at(name): ["503"] * 9 for name in list(small)[30:]}
    wanted = entry(tmp_path, host.url, small)
    with pytest.raises(NetworkError, match="030: answered 503"):
        fetch.download(wanted, tmp_path / "raw", None, None)
    assert len({path for path, _ in host.seen}) <= 33
    assert left(tmp_path / "raw") == {f"{HIDDEN}/{name}" for name in list(small)[:30]}
    host.faults.clear()
    host.seen.clear()
    assert inside(fetch.download(wanted, tmp_path / "raw", None, None)) == small
    assert sorted(path for path, _ in host.seen) == sorted(map(at, list(small)[30:]))


@pytest.mark.parametrize("status", ["404", "500"])
def test_a_place_that_lacks_some_files_gives_the_others(
    status: str, serve: Callable[[], Host], origin: Host, tmp_path: Path
) -> None:
    mirror = serve()
    small = {f"{n:03}": b"%d" % n for n in range(300)}
    lacking = list(small)[5::10]
    assert len(lacking) > gather.GIVE_UP > gather.WORKERS
    mirror.contents = {at(name): one for name, one in small.items()}
    mirror.faults = {at(name): [status] * 9 for name in lacking}
    origin.contents = {at(name): one for name, one in small.items()}
    path = fetch.download(entry(tmp_path, origin.url, small), tmp_path / "raw", mirror.url, None)
    assert inside(path) == small
    assert {path for path, _ in origin.seen} == set(map(at, lacking))  # one may be asked for again after a reset


def test_other_bytes_are_told_before_what_did_not_come(origin: Host, tmp_path: Path) -> None:
    del origin.contents[at("a/03")]
    origin.contents[at("a/20")] = b"wrong"
    with pytest.raises(DataError, match="many: a/20: truncated: 5 bytes"):
        fetch.download(entry(tmp_path, origin.url), tmp_path / "raw", None, None)


@pytest.mark.parametrize("way", ["server", "folder"])
def test_a_file_without_end_takes_no_memory(way: str, origin: Host, tmp_path: Path) -> None:
    size, mirror = 50_000_000, None
    origin.contents[at("a/07")] = bytes(size)
    wanted = entry(tmp_path, origin.url)
    if way == "folder":
        path = tmp_path / "mirror" / FOLDER / "a/07"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.truncate(size)  # no bytes on disk
        mirror, wanted = (tmp_path / "mirror").as_uri(), entry(tmp_path, "http://127.0.0.1:9")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="a/07: too long"):
            fetch.download(wanted, tmp_path / "raw", mirror, None)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_progress_of_an_archive_larger_than_the_set_stays_within_it(origin: Host, tmp_path: Path) -> None:
    origin.contents[ARCHIVE] = archived({**FILES, "other": os.urandom(500_000)})
    wanted = entry(tmp_path, origin.url, archive=True)
    assert len(origin.contents[ARCHIVE]) > wanted.bytes
    steps: list[tuple[int, int]] = []
    fetch.download(wanted, tmp_path / "raw", None, lambda name, done, total: steps.append((done, total)))
    assert all(0 < done <= total == wanted.bytes for done, total in steps) and steps[-1][0] == wanted.bytes


def test_a_bad_set_stops_no_other_file(origin: Host, tmp_path: Path) -> None:
    origin.contents |= {at("a/07"): b"wrong", "owner/plain": b"plain"}
    plain = Source(
        name="plain", url=f"{origin.url}/owner/plain", sha256=hashlib.sha256(b"plain").hexdigest(), bytes=5,
        licence="none", citation="nobody", defects=(),
    )  # fmt: skip
    with pytest.raises(DataError, match="many: a/07: truncated: 5 bytes"):
        fetch.fetch([entry(tmp_path, origin.url), plain], tmp_path / "raw", None, None)
    assert (tmp_path / "raw/owner/plain").read_bytes() == b"plain"


def test_two_at_the_same_set_ask_for_each_file_once(
    origin: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_waits, real = threading.Event(), files.lock
    monkeypatch.setattr(files, "lock", lambda path, waiting: real(path, second_waits.set))
    wanted = entry(tmp_path, origin.url)
    origin.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(fetch.download, wanted, tmp_path / "raw", None, None)]
        assert origin.asked.wait(10)
        jobs.append(pool.submit(fetch.download, wanted, tmp_path / "raw", None, None))
        assert second_waits.wait(10)
        origin.gate.set()
    assert {job.result() for job in jobs} == {tmp_path / "raw" / FOLDER / "many.zip"}
    assert len(origin.seen) == len(FILES)


def test_no_password_is_shown(origin: Host, tmp_path: Path) -> None:
    origin.contents[at("a/07")] = b"wrong"
    with pytest.raises(DataError) as caught:
        secret = origin.url.replace("//", "//me:secret@")
        fetch.download(entry(tmp_path, "http://127.0.0.1:9"), tmp_path / "raw", secret, None)
    assert caught.value.where == f"{origin.url}/{FOLDER}" and "secret" not in str(caught.value)


# ---------------------------------------------------------------- what is there already


def test_all_files_there_and_a_spoilt_part_ask_nobody(origin: Host, tmp_path: Path) -> None:
    for name, one in FILES.items():
        path = tmp_path / "raw" / HIDDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one)
    (tmp_path / "raw" / FOLDER / ".many.zip.part").write_bytes(b"spoilt" * 10**6)  # killed while it was packed
    assert inside(fetch.download(entry(tmp_path, origin.url), tmp_path / "raw", None, None)) == FILES
    assert origin.seen == []
    assert left(tmp_path / "raw") == {f"{FOLDER}/many.zip"}


def test_a_file_spoilt_before_it_is_packed_does_not_reach_the_zip(origin: Host, tmp_path: Path) -> None:
    wanted = entry(tmp_path, origin.url)
    first, all_files = tmp_path / "raw" / HIDDEN / "a/00", sum(map(len, FILES.values()))

    def spoil(name: str, done: int, total: int) -> None:
        if done == all_files:
            first.write_bytes(bytes(len(FILES["a/00"])))

    with pytest.raises(DataError, match="a/00"):
        fetch.download(wanted, tmp_path / "raw", None, spoil)
    assert not (tmp_path / "raw" / FOLDER / "many.zip").exists()
    origin.seen.clear()
    assert inside(fetch.download(wanted, tmp_path / "raw", None, None)) == FILES
    assert origin.seen == [(at("a/00"), None)]


def test_an_archive_begun_is_removed_when_a_mirror_had_the_zip(
    origin: Host, serve: Callable[[], Host], tmp_path: Path
) -> None:
    wanted, mirror = entry(tmp_path, origin.url, archive=True), serve()
    made = fetch.download(wanted, tmp_path / "made", None, None)
    mirror.contents[f"{FOLDER}/many.zip"] = made.read_bytes()
    begun = tmp_path / "raw" / WAITING
    begun.parent.mkdir(parents=True)
    begun.write_bytes(archived(FILES)[:1000])
    fetch.download(wanted, tmp_path / "raw", mirror.url, None)
    assert left(tmp_path / "raw") == {f"{FOLDER}/many.zip"}


def test_what_a_process_left_that_was_killed_at_its_end_goes(origin: Host, tmp_path: Path) -> None:
    wanted = entry(tmp_path, origin.url)
    target = fetch.download(wanted, tmp_path / "raw", None, None)
    left_over = target.with_name(f".{target.name}.members")
    left_over.mkdir()
    (left_over / "a").write_bytes(b"a")
    target.with_name(f".{target.name}.archive.part").write_bytes(b"b")
    asked = len(origin.seen)
    assert fetch.download(wanted, tmp_path / "raw", None, None) == target
    assert len(origin.seen) == asked
    assert {path.name for path in target.parent.iterdir()} == {target.name, f".{target.name}.lock"}


def test_a_wrong_zip_stays_until_the_right_one_is_whole(origin: Host, tmp_path: Path) -> None:
    zipped = tmp_path / "raw" / FOLDER / "many.zip"
    zipped.parent.mkdir(parents=True)
    zipped.write_bytes(b"old")
    single = origin.contents.pop(at("a/07"))
    wanted = entry(tmp_path, origin.url)
    with pytest.raises(NetworkError, match=r"a/07: answered 404 .*was left as it is"):
        fetch.download(wanted, tmp_path / "raw", None, None)
    assert zipped.read_bytes() == b"old"
    origin.contents[at("a/07")] = single
    assert inside(fetch.download(wanted, tmp_path / "raw", None, None)) == FILES


def test_no_permission(origin: Host, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / HIDDEN
    folder.mkdir(parents=True)
    (folder.parent / ".many.zip.lock").touch(0o666)
    (folder.parent / ".many.zip.lock").chmod(0o666)
    wanted = entry(tmp_path, origin.url)
    user = os.geteuid()
    with contextlib.ExitStack() as stack:
        folder.chmod(0o555)
        stack.callback(folder.chmod, 0o700)
        if user == 0:  # root may write anywhere
            for parent in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
                stack.callback(parent.chmod, parent.stat().st_mode)
                parent.chmod(0o755)
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
        with pytest.raises(MachineError, match="Permission denied") as caught:
            fetch.download(wanted, tmp_path / "raw", None, None)
    assert HIDDEN in caught.value.where
