"""Downloads against a real server on the loopback, which misbehaves as told."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from host import Host

from seqbench import fetch, files, sources, tasks, transfer
from seqbench.errors import DataError, InputError, MachineError, NetworkError
from seqbench.sources import Same, Source

pytestmark = pytest.mark.usefixtures("waits")

CONTENT = hashlib.shake_256(b"content").digest(200_000)
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
TAIL = "owner/repo/commit/file.bin"
VARIANT = hashlib.shake_256(b"variant").digest(120_000)
OTHER_VARIANT = VARIANT[:-1] + bytes([VARIANT[-1] ^ 1])
THERE = "derived/variant.bin"


@pytest.fixture
def origin(serve: Callable[[], Host]) -> Host:
    host = serve()
    host.contents[TAIL] = CONTENT
    return host


@pytest.fixture
def closed() -> str:
    """An address on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def source(base: str, path: str = TAIL, content: bytes = CONTENT, name: str = "one") -> Source:
    return Source(
        name=name,
        url=f"{base}/{path}",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        licence="none",
        citation="nobody",
        defects=(),
    )


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def left(folder: Path) -> set[str]:
    """Names of all files under a folder but the locks."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


# ---------------------------------------------------------------- whole downloads


def test_download_puts_the_file_under_the_path_of_its_url(origin: Host, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    path = fetch.download(source(origin.url), tmp_path, None, lambda *step: steps.append(step))
    assert path == tmp_path / TAIL
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == {"file.bin"}
    assert steps[0][1] < len(CONTENT)
    assert steps[-1] == ("one", len(CONTENT), len(CONTENT))
    sources.identify(source(origin.url), tmp_path)


def test_a_right_file_in_place_asks_nobody(origin: Host, tmp_path: Path) -> None:
    put(tmp_path / TAIL, CONTENT)
    fetch.download(source(origin.url), tmp_path, None, None)
    assert origin.seen == []


@pytest.mark.parametrize("wrong", [OTHER, CONTENT[:100], CONTENT + b"more"])
def test_a_wrong_file_in_place_is_replaced(origin: Host, tmp_path: Path, wrong: bytes) -> None:
    put(tmp_path / TAIL, wrong)
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT


def test_a_wrong_file_in_place_is_kept_without_network(closed: str, tmp_path: Path) -> None:
    put(tmp_path / TAIL, OTHER)
    with pytest.raises(NetworkError, match="left as it is"):
        fetch.download(source(closed), tmp_path, None, None)
    assert (tmp_path / TAIL).read_bytes() == OTHER


def test_two_at_the_same_file_download_it_once(origin: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second_waits, real = threading.Event(), files.lock
    monkeypatch.setattr(files, "lock", lambda path, waiting: real(path, second_waits.set))
    origin.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(fetch.download, source(origin.url), tmp_path, None, None)]
        assert origin.asked.wait(10)
        jobs.append(pool.submit(fetch.download, source(origin.url), tmp_path, None, None))
        assert second_waits.wait(10)
        origin.gate.set()
    assert [job.result().read_bytes() == CONTENT for job in jobs] == [True, True]
    assert len(origin.seen) == 1


# ---------------------------------------------------------------- resuming


def test_a_cut_download_asks_only_for_the_rest(origin: Host, tmp_path: Path, waits: list[float]) -> None:
    origin.faults[TAIL] = ["cut"]
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT
    (_, first), (_, second) = origin.seen
    assert first is None
    assert second == f"bytes={len(CONTENT) // 2}-"
    assert len(waits) == 1


def test_every_new_byte_renews_the_patience(origin: Host, tmp_path: Path) -> None:
    origin.faults[TAIL] = ["cut"] * (transfer.ATTEMPTS + 2)
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT


def test_the_part_of_a_killed_process_is_resumed(origin: Host, tmp_path: Path) -> None:
    put(tmp_path / TAIL, b"").with_name(".file.bin.part").write_bytes(CONTENT[:150_000])
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT
    assert origin.seen == [(TAIL, "bytes=150000-")]


@pytest.mark.parametrize(
    ("part", "fault", "ranges"),
    [
        (CONTENT, "", []),  # whole already
        (OTHER, "", [None]),  # whole and wrong
        (CONTENT + b"more", "", [None]),  # more than there is
        (CONTENT[:9], "ignore range", ["bytes=9-"]),  # the server sends the whole file
        (CONTENT[:9], "wrong range", ["bytes=9-", None]),  # the server sends another part
        (CONTENT[:9], "416", ["bytes=9-", None]),  # the server knows no such part
        (OTHER[-9:], "", ["bytes=9-", None]),  # the part is of another file
    ],
)
def test_any_part_ends_in_the_right_file(
    origin: Host, tmp_path: Path, waits: list[float], part: bytes, fault: str, ranges: list[str | None]
) -> None:
    put(tmp_path / "owner/repo/commit/.file.bin.part", part)
    origin.faults[TAIL] = [fault]
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT
    assert [asked for _, asked in origin.seen] == ranges
    assert waits == ([0.0] if fault in ("wrong range", "416") else [])  # told from the answer, not from the hash
    assert left(tmp_path) == {"file.bin"}


# ---------------------------------------------------------------- wrong bytes


@pytest.mark.parametrize("wrong", [OTHER, CONTENT[:100], CONTENT + b"more", b""])
def test_wrong_bytes_are_asked_for_twice_and_never_kept(origin: Host, tmp_path: Path, wrong: bytes) -> None:
    origin.contents[TAIL] = wrong
    with pytest.raises(DataError) as caught:
        fetch.download(source(origin.url), tmp_path, None, None)
    assert len(origin.seen) == 2
    assert left(tmp_path) == set()
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.what
    assert caught.value.what.startswith("one: ")
    assert caught.value.where == f"{origin.url}/{TAIL}"
    if wrong == OTHER:
        assert hashlib.sha256(OTHER).hexdigest() in caught.value.what


def test_never_more_bytes_than_declared(origin: Host, tmp_path: Path) -> None:
    origin.contents[TAIL] = CONTENT * 20
    most: list[int] = []
    with pytest.raises(DataError, match="more than the expected 200000 bytes"):
        fetch.download(source(origin.url), tmp_path, None, lambda name, done, total: most.append(done))
    assert max(most) <= len(CONTENT)


# ---------------------------------------------------------------- faults that pass, and that do not


def test_a_busy_server_is_asked_again_later_each_time(origin: Host, tmp_path: Path, waits: list[float]) -> None:
    origin.faults[TAIL] = ["503", "500", "502"]
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT
    assert all(0.5 * 2**n <= wait / transfer.BACKOFF <= 1.5 * 2**n for n, wait in enumerate(waits))
    assert len(waits) == 3


def test_retry_after_is_obeyed(origin: Host, tmp_path: Path, waits: list[float]) -> None:
    origin.faults[TAIL] = ["429"]
    fetch.download(source(origin.url), tmp_path, None, None)
    assert waits == [7.0]


def test_a_silent_server_is_asked_again(origin: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "sleep", lambda seconds: origin.gate.set())
    origin.gate.clear()
    assert fetch.download(source(origin.url), tmp_path, None, None).read_bytes() == CONTENT
    assert len(origin.seen) == 2


def test_patience_ends(origin: Host, tmp_path: Path, waits: list[float]) -> None:
    origin.faults[TAIL] = ["503"] * 99
    with pytest.raises(NetworkError, match="answered 503"):
        fetch.download(source(origin.url), tmp_path, None, None)
    assert len(origin.seen) == transfer.ATTEMPTS == len(waits) + 1


def test_a_missing_file_is_an_error_at_once(origin: Host, tmp_path: Path, waits: list[float]) -> None:
    with pytest.raises(NetworkError, match="answered 404"):
        fetch.download(source(origin.url, "owner/none"), tmp_path, None, None)
    assert len(origin.seen) == 1
    assert waits == []


def test_no_network_ends_at_once_and_names_file_host_and_mirror(
    closed: str, tmp_path: Path, waits: list[float]
) -> None:
    with pytest.raises(NetworkError) as caught:
        fetch.download(source(closed), tmp_path, "file:///nowhere/at/all", None)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    assert waits == []
    assert len(text.splitlines()) == 3
    for word in ("one could not", closed, "file:///nowhere/at/all", "refused", "SEQBENCH_MIRROR", "fetch --all --to"):
        assert word in text


def test_an_unknown_host_ends_at_once(tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NetworkError, match=r"data\.example: .*not known"):
        fetch.download(source("http://data.example"), tmp_path, None, None)
    assert waits == []


# ---------------------------------------------------------------- mirrors


def test_the_mirror_comes_first(origin: Host, serve: Callable[[], Host], tmp_path: Path) -> None:
    mirror = serve()
    mirror.contents[f"deep/{TAIL}"] = CONTENT
    fetch.download(source(origin.url), tmp_path, f"{mirror.url}/deep/", None)
    assert origin.seen == []
    assert (tmp_path / TAIL).read_bytes() == CONTENT


@pytest.mark.parametrize("state", ["lacks it", "down", "busy", "wrong"])
def test_the_origin_comes_after_a_mirror_that_fails(
    origin: Host, serve: Callable[[], Host], closed: str, tmp_path: Path, state: str
) -> None:
    mirror = serve()
    if state == "wrong":
        mirror.contents[TAIL] = OTHER
    mirror.faults[TAIL] = ["503"] * 99 if state == "busy" else []
    fetch.download(source(origin.url), tmp_path, closed if state == "down" else mirror.url, None)
    assert (tmp_path / TAIL).read_bytes() == CONTENT
    assert len(origin.seen) == 1


def test_a_wrong_mirror_is_named_when_the_origin_is_out_of_reach(origin: Host, closed: str, tmp_path: Path) -> None:
    origin.contents[TAIL] = OTHER
    with pytest.raises(DataError) as caught:
        fetch.download(source(closed), tmp_path, origin.url, None)
    assert caught.value.where == f"{origin.url}/{TAIL}"


def test_a_folder_of_downloads_is_a_mirror(origin: Host, closed: str, tmp_path: Path) -> None:
    path = "owner/a file"
    origin.contents["owner/a%20file"] = CONTENT
    wanted = source(origin.url, "owner/a%20file")
    fetch.download(wanted, tmp_path / "mirror dir", None, None)
    assert (tmp_path / "mirror dir" / path).is_file()
    offline = source(closed, "owner/a%20file")
    fetch.download(offline, tmp_path / "raw", (tmp_path / "mirror dir").as_uri(), None)
    assert (tmp_path / "raw" / path).read_bytes() == CONTENT


def test_a_wrong_file_of_a_folder_is_refused(closed: str, tmp_path: Path) -> None:
    put(tmp_path / "mirror" / TAIL, OTHER)
    with pytest.raises(DataError, match=hashlib.sha256(OTHER).hexdigest()):
        fetch.download(source(closed), tmp_path / "raw", (tmp_path / "mirror").as_uri(), None)
    assert left(tmp_path / "raw") == set()


@pytest.mark.parametrize(
    "mirror", ["ftp://host", "host:80", "/folder", "http://", "file://folder/x", "http://host:99999", "http://[::1"]
)
def test_a_mirror_is_http_or_file(origin: Host, tmp_path: Path, mirror: str) -> None:
    with pytest.raises(InputError, match="SEQBENCH_MIRROR"):
        fetch.fetch([source(origin.url)], tmp_path, mirror, None)
    assert origin.seen == []


def test_no_password_is_shown(closed: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as caught:
        fetch.download(source(closed), tmp_path, closed.replace("//", "//me:secret@"), None)
    assert "secret" not in str(caught.value)


# ---------------------------------------------------------------- other files of the same content


def with_same(base: str, **changes: object) -> Source:
    """CONTENT at its origin; a mirror may hold VARIANT in its place."""
    same = Same(path=THERE, sha256=hashlib.sha256(VARIANT).hexdigest(), bytes=len(VARIANT))
    return source(base).model_copy(update={"same": (same,), **changes})


@pytest.mark.parametrize(
    ("held", "found", "asked"),
    [
        ({TAIL: CONTENT, THERE: VARIANT}, CONTENT, [TAIL]),
        ({THERE: VARIANT}, VARIANT, [TAIL, THERE]),
        ({TAIL: VARIANT}, VARIANT, [TAIL]),  # a mirror that `seqbench fetch --to` made
        ({TAIL: OTHER, THERE: VARIANT}, VARIANT, [TAIL, TAIL, THERE]),
        ({THERE: OTHER_VARIANT}, CONTENT, [TAIL, THERE, THERE]),  # from the origin
        ({THERE: CONTENT}, CONTENT, [TAIL, THERE]),
        ({}, CONTENT, [TAIL, THERE]),
    ],
)
def test_a_mirror_may_hold_another_file_of_the_same_content(
    held: dict[str, bytes], found: bytes, asked: list[str], origin: Host, serve: Callable[[], Host], tmp_path: Path
) -> None:
    mirror, wanted = serve(), with_same(origin.url)
    mirror.contents |= held
    steps: list[tuple[str, int, int]] = []
    path = fetch.download(wanted, tmp_path / "raw", mirror.url, lambda *step: steps.append(step))
    assert path == tmp_path / "raw" / TAIL and path.read_bytes() == found
    assert left(tmp_path) == {"file.bin"}
    assert [name for name, _ in mirror.seen] == asked
    assert len(origin.seen) == (found not in held.values())
    assert steps[-1] == ("one", len(found), len(found))
    kept = [step for step in steps if step[2] == len(found)]
    assert len(kept) > 2 and all(done <= total for _, done, total in steps)
    assert sources.identify(wanted, tmp_path / "raw") == hashlib.sha256(found).hexdigest()
    sources.identify(wanted, tmp_path / "raw")
    fetch.download(wanted, tmp_path / "raw", None, None)
    assert len(origin.seen) == (found not in held.values())  # right already: nobody is asked


@pytest.mark.parametrize("place", [TAIL, THERE])
def test_a_folder_may_hold_another_file_of_the_same_content(place: str, closed: str, tmp_path: Path) -> None:
    put(tmp_path / "mirror" / place, VARIANT)
    totals: set[int] = set()
    wanted, mirror = with_same(closed), (tmp_path / "mirror").as_uri()
    path = fetch.download(wanted, tmp_path / "raw", mirror, lambda name, done, total: totals.add(total))
    assert path.read_bytes() == VARIANT and totals == {len(VARIANT)}


def test_the_origin_is_not_asked_for_the_other_file(origin: Host, tmp_path: Path) -> None:
    fetch.download(with_same(origin.url), tmp_path, None, None)
    assert [path for path, _ in origin.seen] == [TAIL]


@pytest.mark.parametrize(
    ("part", "ranges"),
    [
        (VARIANT, []),  # whole already
        (VARIANT[:50_000], [(TAIL, "bytes=50000-"), (THERE, "bytes=50000-")]),
        (CONTENT[:50_000], [(TAIL, "bytes=50000-"), (THERE, "bytes=50000-"), (THERE, None)]),  # told by the hash
        (CONTENT[:150_000], [(TAIL, "bytes=150000-"), (THERE, "bytes=150000-"), (THERE, None)]),  # more than there is
    ],
)
def test_the_part_of_one_file_is_no_part_of_the_other(
    part: bytes, ranges: list[tuple[str, str | None]], serve: Callable[[], Host], closed: str, tmp_path: Path
) -> None:
    mirror = serve()
    mirror.contents[THERE] = VARIANT
    put(tmp_path / "owner/repo/commit/.file.bin.part", part)
    assert fetch.download(with_same(closed), tmp_path, mirror.url, None).read_bytes() == VARIANT
    assert mirror.seen == ranges
    assert left(tmp_path) == {"file.bin"}


def test_a_cut_download_of_the_other_file_is_resumed(serve: Callable[[], Host], closed: str, tmp_path: Path) -> None:
    mirror, steps = serve(), []
    mirror.contents[THERE], mirror.faults[THERE] = VARIANT, ["cut"]
    fetch.download(with_same(closed), tmp_path, mirror.url, lambda name, done, total: steps.append((done, total)))
    assert (tmp_path / TAIL).read_bytes() == VARIANT
    assert mirror.seen[1:] == [(THERE, None), (THERE, f"bytes={len(VARIANT) // 2}-")]
    assert {total for _, total in steps} == {len(VARIANT)}
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_wrong_bytes_in_place_of_either_are_told(serve: Callable[[], Host], closed: str, tmp_path: Path) -> None:
    mirror = serve()
    mirror.contents[THERE] = OTHER_VARIANT
    with pytest.raises(DataError) as caught:
        fetch.download(with_same(closed), tmp_path, mirror.url, None)
    assert caught.value.where == f"{mirror.url}/{THERE}"
    for content in (OTHER_VARIANT, VARIANT, CONTENT):
        assert hashlib.sha256(content).hexdigest() in caught.value.what
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (VARIANT[:100], "truncated: 100 bytes, expected 200000 .* or 120000 "),
        (CONTENT[:-1], "truncated: 199999 bytes"),
        (CONTENT + b"x", "too long"),
        (OTHER_VARIANT, "sha256 is .*, expected .* or "),
        (OTHER, "sha256 is"),
    ],
)
def test_neither_file_is_told(content: bytes, complaint: str, tmp_path: Path) -> None:
    put(tmp_path / TAIL, content)
    with pytest.raises(DataError, match=complaint):
        sources.identify(with_same("http://host"), tmp_path)


def test_a_tilde_in_a_path_is_a_name(serve: Callable[[], Host], closed: str, tmp_path: Path) -> None:
    mirror, wanted = serve(), source(closed, "~root/file.bin")
    mirror.contents["~root/file.bin"] = CONTENT
    fetch.download(wanted, tmp_path / "raw", mirror.url, None)
    assert (tmp_path / "raw" / "~root" / "file.bin").read_bytes() == CONTENT
    fetch.download(wanted, tmp_path / "again", (tmp_path / "raw").as_uri(), None)
    sources.identify(wanted, tmp_path / "again")


# ---------------------------------------------------------------- several files


def test_one_that_fails_does_not_stop_the_others(origin: Host, tmp_path: Path) -> None:
    wanted = [source(origin.url, f"owner/{n}", bytes([n]), f"file-{n}") for n in range(6)]
    origin.contents |= {f"owner/{n}": bytes([n]) for n in range(6)} | {"owner/2": b"x"}
    with pytest.raises(DataError, match="file-2: sha256 is"):
        fetch.fetch(wanted, tmp_path, None, None, workers=2)
    assert left(tmp_path) == {"0", "1", "3", "4", "5"}


def test_every_failure_is_told(origin: Host, tmp_path: Path) -> None:
    wanted = [source(origin.url), source(origin.url, "no/a", name="a"), source(origin.url, "no/b", name="b")]
    with pytest.raises(ExceptionGroup, match="2 of 3 files failed") as caught:
        fetch.fetch(wanted, tmp_path, None, None)
    assert [type(error) for error in caught.value.exceptions] == [NetworkError, NetworkError]
    assert [str(error).split()[1] for error in caught.value.exceptions] == ["a", "b"]
    assert left(tmp_path) == {"file.bin"}


def test_fetch_tells_where_the_files_lie(origin: Host, tmp_path: Path) -> None:
    assert fetch.fetch([source(origin.url)], tmp_path, None, None) == [tmp_path / TAIL]
    assert fetch.fetch([], tmp_path, None, None) == []


def test_an_interrupt_ends_downloads_and_keeps_the_part(
    origin: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            gate.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def interrupted(jobs: object) -> None:
        assert begun.wait(10)
        raise KeyboardInterrupt

    def progress(name: str, done: int, total: int) -> None:
        begun.set()
        assert gate.wait(10)

    monkeypatch.setattr(fetch, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(fetch, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch([source(origin.url)], tmp_path, None, progress)
    assert left(tmp_path) == {".file.bin.part"}


# ---------------------------------------------------------------- the machine


def test_a_full_disk(origin: Host, tmp_path: Path) -> None:
    part = tmp_path / "owner/repo/commit/.file.bin.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(MachineError, match="No space left"):
        fetch.download(source(origin.url), tmp_path, None, None)
    assert not (tmp_path / TAIL).exists()


def test_no_permission(origin: Host, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        with pytest.raises(MachineError, match="Permission denied"):
            fetch.download(source(origin.url), tmp_path, None, None)
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert origin.seen == []


# ---------------------------------------------------------------- verify


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "missing"), (CONTENT[:100], "truncated"), (CONTENT + b"x", "too long"), (OTHER, "sha256 is")],
)
def test_verify(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        put(tmp_path / TAIL, content)
    with pytest.raises(DataError, match=complaint) as caught:
        sources.identify(source("http://host"), tmp_path)
    assert caught.value.where == str(tmp_path / TAIL)
    assert "seqbench fetch one" in caught.value.fix


# ---------------------------------------------------------------- sources.toml

ENTRY = f"""[good]
url = "https://host/{TAIL}"
sha256 = "{"0" * 64}"
bytes = 1
licence = "none"
citation = "nobody"
defects = ["one."]
"""


def test_sources(tmp_path: Path) -> None:
    put(tmp_path / "sources.toml", ENTRY.encode())
    (found,) = sources.read(tmp_path / "sources.toml").values()
    assert (found.name, found.defects, str(found.path)) == ("good", ("one.",), TAIL)
    assert (found.optional, found.accepted) == (False, {"0" * 64: 1})


SAME = f"""same = [{{path = "{THERE}", sha256 = "{"1" * 64}", bytes = 2}}]"""


def test_optional_entries_and_other_files(tmp_path: Path) -> None:
    second = ENTRY.replace("[good]", "[rare]") + f"optional = true\n{SAME}\n"
    put(tmp_path / "sources.toml", f"{ENTRY}\n{second}".encode())
    known = sources.read(tmp_path / "sources.toml")
    assert known["rare"].accepted == {"0" * 64: 1, "1" * 64: 2}
    assert [one.name for one in sources.usual(known)] == ["good"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("licence", "license", ["unknown key 'license'", "good.license", "did you mean 'licence'"]),
        ("[good]", "[good]\nname = 'x'", ["unknown key 'name'", "good.name"]),
        ("bytes = 1", "", ["good.bytes", "required"]),
        ("bytes = 1", "bytes = '1'", ["good.bytes"]),
        ("bytes = 1", "bytes = 1979-05-27", ["good.bytes"]),
        ("bytes = 1", "bytes = 07:32:00", ["not plain data", "good"]),
        ("0" * 64, "0" * 63, ["good.sha256"]),
        (TAIL, "owner/../../x", ["good.url", "'..'"]),
        (TAIL, "owner/%2e%2e/x", ["good.url", "'..'"]),
        (TAIL, "", ["good.url"]),
        ("https://", "ftp://", ["good.url", "http"]),
        ("[good]", "good = 1\n[other]", ["not a table", "good"]),
        ("bytes = 1", "bytes = 1\noptional = 1", ["good.optional"]),
        ("bytes = 1", "bytes = 1\n" + SAME.replace("derived", ".."), ["good.same.0.path", "'..'"]),
        ("bytes = 1", "bytes = 1\n" + SAME.replace("derived", ""), ["good.same.0.path", "empty parts"]),
        ("bytes = 1", "bytes = 1\n" + SAME.replace("1" * 64, "x"), ["good.same.0.sha256"]),
        ("bytes = 1", "bytes = 1\n" + SAME.replace("path", "url"), ["good.same.0"]),
        ("[good]", "[good", ["not valid TOML"]),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    path = put(tmp_path / "sources.toml", ENTRY.replace(old, new).encode())
    with pytest.raises(InputError) as caught:
        sources.read(path)
    for word in ["sources.toml", *words]:
        assert word in str(caught.value)


def test_no_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        sources.read(tmp_path / "sources.toml")


COMMITTED = Path(__file__).parents[1] / sources.PATH
PUBLISHED = ("imdb", "glove-6b", "speech-commands", "ucf101", "ucf101-splits")
"""Official archives outside of git, pinned by checksums that others have published."""


def test_the_committed_entries_are_pinned_and_complete() -> None:
    known = sources.read(COMMITTED)
    assert {name for task in tasks.names() for name in tasks.find(task).SOURCES} <= set(known)
    assert len({one.path for one in known.values()}) == len({one.sha256 for one in known.values()}) == len(known)
    for one in known.values():
        assert one.url.startswith("https://"), one.name
        assert re.search(r"/[0-9a-f]{40}(/|$)", one.url) or one.name in PUBLISHED, one.name
        assert one.licence and one.citation, one.name
        assert all(re.fullmatch(r"[A-Z0-9].*\.", sentence) for sentence in one.defects), one.name


@pytest.mark.mirror
def test_every_entry_comes_from_a_real_mirror(mirror: str, tmp_path: Path) -> None:
    wanted = sources.usual(sources.read(COMMITTED))
    fetch.fetch(wanted, tmp_path / "all", mirror, None)
    for one in wanted:
        sources.identify(one, tmp_path / "all")
    odd = [one for one in wanted if one.same]
    fetch.fetch(odd, tmp_path / "again", (tmp_path / "all").as_uri(), None)  # what came is a mirror
    for one in odd:
        assert sources.identify(one, tmp_path / "again") == sources.identify(one, tmp_path / "all")
