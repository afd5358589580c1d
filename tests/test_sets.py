"""Sets of many files: one entry, one zip, by an archive or file by file, from a server that misbehaves as told."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from host import Host

from seqbench import fetch, files, gather, sets, sources
from seqbench.errors import DataError, InputError, MachineError, NetworkError
from seqbench.sources import Source

pytestmark = pytest.mark.usefixtures("waits")

FOLDER = "owner/repo/commit"
ARCHIVE = "owner/repo/archive/commit.zip"
PACKED = f"{FOLDER}/some.zip"


def content(name: str) -> bytes:
    return hashlib.shake_256(name.encode()).digest(100 + len(name) * 31)


FILES = {name: content(name) for name in (*(f"parts/{n:02}.bin" for n in range(37)), "a file", "parts/deep/é.bin")}
FILES["zero.bin"] = bytes(400)
ONE, LAST = "parts/07.bin", "parts/deep/é.bin"
OTHER = FILES[ONE][::-1]
ZIP = "1e3160f40dea00dd692310e34b3c6fe2d765ddee9054bd8573239b264fa9e3f6"
"""sha256 of the zip of FILES, whatever way they came, whatever version of Python made it."""


def at(name: str) -> str:
    """The path that a server is asked for."""
    return f"{FOLDER}/{name}".replace(" ", "%20").replace("é", "%C3%A9")


def table(contents: Mapping[str, bytes]) -> str:
    """With a column of the set's own."""
    rows = [
        f"{name},{hashlib.sha256(one).hexdigest()},{len(one)},{n}" for n, (name, one) in enumerate(contents.items())
    ]
    return "\n".join(["path,sha256,bytes,scene", *rows]) + "\n"


def archived(contents: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As a host of repositories makes it: in a folder of its own, beside other files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("repo-commit/", b"")
        archive.writestr("repo-commit/README.md", b"read me")
        for name, one in contents.items():
            archive.writestr(f"repo-commit/{name}", one)
    return buffer.getvalue()


def put(path: Path, text: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def entry(folder: Path, base: str, contents: Mapping[str, bytes] = FILES, archive: bool = True) -> Source:
    """The set of `contents` at its origin `base`."""
    path = put(folder / "some.csv", table(contents))
    lines = [
        f'[some]\nurl = "{base}/{FOLDER}"\nmembers = "{path}"',
        'licence = "none"\ncitation = "nobody"\ndefects = []',
    ]
    lines += [f'archive = "{base}/{ARCHIVE}"'] if archive else []
    return sources.read(put(folder / "sources.toml", "\n".join(lines)))["some"]


def left(folder: Path) -> set[str]:
    """Paths of all files under a folder but the locks."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.fixture
def origin(serve: Callable[[], Host]) -> Host:
    """Has the set as single files."""
    host = serve()
    host.contents = {at(name): one for name, one in FILES.items()}
    return host


def asked(host: Host) -> list[str]:
    return [path for path, _ in host.seen]


# ---------------------------------------------------------------- the zip


def test_the_zip_holds_the_table_and_the_files_in_its_order(origin: Host, tmp_path: Path) -> None:
    wanted = entry(tmp_path, origin.url)
    path = fetch.download(wanted, tmp_path / "raw", None, None)
    assert path == tmp_path / "raw" / PACKED and left(tmp_path / "raw") == {PACKED}
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [sets.TABLE, *FILES]
        assert {name: archive.read(name) for name in FILES} == FILES
        rows = list(csv.DictReader(io.StringIO(archive.read(sets.TABLE).decode())))
    assert [row["scene"] for row in rows] == [str(n) for n in range(len(FILES))]
    assert path.stat().st_size == wanted.bytes
    assert sources.identify(wanted, tmp_path / "raw") == hashlib.sha256(table(FILES).encode()).hexdigest()


WAYS = ["archive", "other archive", "files", "mirror's files", "mirror", "folder's files", "folder"]


@pytest.mark.parametrize("way", WAYS)
def test_its_bytes_are_the_same_whatever_way_they_came(
    way: str, origin: Host, serve: Callable[[], Host], tmp_path: Path
) -> None:
    single = dict(origin.contents)
    origin.contents[ARCHIVE] = archived(FILES)
    place = serve()
    mirror, folder = place.url, tmp_path / "mirror"
    if way == "other archive":
        origin.contents[ARCHIVE] = archived(dict(reversed(FILES.items())), zipfile.ZIP_STORED)
    elif way == "mirror's files":
        place.contents = single
    elif way == "folder's files":
        mirror = folder.as_uri()
        for name, one in FILES.items():
            put(folder / FOLDER / name, one)
    elif way in ("mirror", "folder"):
        made = fetch.download(entry(tmp_path, origin.url), folder, None, None)
        mirror = mirror if way == "mirror" else folder.as_uri()
        place.contents[PACKED] = made.read_bytes()
    wanted = entry(tmp_path, origin.url, archive="archive" in way)
    origin.seen.clear()
    path = fetch.download(wanted, tmp_path / "raw", mirror if "m" in way or "folder" in way else None, None)
    assert files.sha256_file(path) == ZIP
    assert left(tmp_path / "raw") == {PACKED}
    expected = {"archive": [ARCHIVE], "other archive": [ARCHIVE], "files": list(single)}.get(way, [])
    assert sorted(asked(origin)) == sorted(expected)
    if way == "mirror":
        assert asked(place) == [PACKED]


def test_a_right_zip_in_place_asks_nobody(origin: Host, tmp_path: Path) -> None:
    wanted = entry(tmp_path, origin.url)
    fetch.download(wanted, tmp_path, None, None)
    origin.seen.clear()
    fetch.download(wanted, tmp_path, None, None)
    assert origin.seen == []


def test_a_mirror_s_zip_is_resumed(origin: Host, serve: Callable[[], Host], tmp_path: Path) -> None:
    wanted, mirror = entry(tmp_path, origin.url), serve()
    whole = mirror.contents[PACKED] = fetch.download(wanted, tmp_path / "there", None, None).read_bytes()
    mirror.faults[PACKED] = ["cut"]
    assert fetch.download(wanted, tmp_path / "here", mirror.url, None).read_bytes() == whole
    assert mirror.seen == [(PACKED, None), (PACKED, f"bytes={len(whole) // 2}-")]


def rewritten(whole: bytes, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(change(name, b"")[0]), change(name, old.read(name))[1])
    return buffer.getvalue()


def swapped(whole: bytes) -> bytes:
    """Two files change places."""
    names = {ONE: "parts/08.bin", "parts/08.bin": ONE}
    return rewritten(whole, lambda name, one: (names.get(name, name), one))


def compressed(whole: bytes, size: int) -> bytes:
    """As long as it should be; one file is compressed, and holds as many bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            method = zipfile.ZIP_DEFLATED if name == "zero.bin" else zipfile.ZIP_STORED
            new.writestr(zipfile.ZipInfo(name), bytes(size) if name == "zero.bin" else old.read(name), method)
        new.comment = bytes(len(whole) - buffer.tell() - sum(46 + len(name.encode()) for name in old.namelist()) - 22)
    return buffer.getvalue()


def patched(whole: bytes, place: int, new: bytes) -> bytes:
    return whole[:place] + new + whole[place + len(new) :]


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "other bytes": (lambda whole: whole.replace(FILES[ONE], OTHER), f"{ONE}"),
    "other bytes, other checksum": (lambda w: rewritten(w, lambda n, o: (n, OTHER if n == ONE else o)), "sha256 is"),
    "other table": (lambda w: rewritten(w, lambda n, o: (n, o.replace(b",3\n", b",4\n"))), f"{sets.TABLE}: sha256 is"),
    "other names": (swapped, "its files are not those of"),
    "compressed": (lambda whole: compressed(whole, 400), "zero.bin: not 400 bytes without compression"),
    "a bomb": (lambda whole: compressed(whole, 100_000), "zero.bin: not 400 bytes without compression"),
    "bad offset": (lambda whole: patched(whole, len(whole) - 6, b"\xf0\xff\xff\xff"), "not the zip that it should be"),
    "no zip": (lambda whole: bytes(len(whole)), "not the zip that it should be"),
    "truncated": (lambda whole: whole[:-1], "truncated: .* bytes, expected .* of .*some.csv"),
    "too long": (lambda whole: whole + b"x", "too long"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_zip_that_is_not_right_is_told(kind: str, origin: Host, tmp_path: Path) -> None:
    change, complaint = DAMAGED[kind]
    wanted = entry(tmp_path, origin.url)
    path = fetch.download(wanted, tmp_path / "raw", None, None)
    bad = change(path.read_bytes())
    assert (len(bad) == wanted.bytes) == (kind not in ("truncated", "too long"))
    path.write_bytes(bad)
    with pytest.raises(DataError, match=complaint) as caught:
        sources.identify(wanted, tmp_path / "raw")
    assert caught.value.where == str(path) and "seqbench fetch some" in caught.value.fix
    mirror = put(tmp_path / "mirror" / PACKED, bad).parents[3]
    assert fetch.download(wanted, tmp_path / "raw", mirror.as_uri(), None).stat().st_size == wanted.bytes
    sources.identify(wanted, tmp_path / "raw")


# ---------------------------------------------------------------- the archive, and what it has wrong


def flagged(whole: bytes, name: str, place: int, new: bytes) -> bytes:
    """The archive with bytes changed in a file's entry of its directory."""
    start = whole.rindex(b"PK\1\2", 0, whole.rindex(f"repo-commit/{name}".encode()))
    return patched(whole, start + place, new)


def without(name: str) -> dict[str, bytes]:
    return {other: one for other, one in FILES.items() if other != name}


BAD_ARCHIVES: dict[str, tuple[bytes, str]] = {
    "missing": (archived(without(ONE)), "not in the archive"),
    "other bytes": (archived({**FILES, ONE: OTHER}), "sha256 is"),
    "truncated": (archived({**FILES, ONE: FILES[ONE][:-1]}), "truncated: "),
    "too long": (archived({**FILES, ONE: FILES[ONE] + b"x"}), "too long"),
    "encrypted": (flagged(archived(FILES), ONE, 8, b"\1"), "encrypted"),
    "says that it is shorter": (flagged(archived(FILES), ONE, 24, b"\1\0\0\0"), "Bad CRC"),
    "other checksum": (flagged(archived(FILES), ONE, 16, b"\0\0\0\0"), "Bad CRC"),
    "unknown compression": (flagged(archived(FILES), ONE, 10, b"\x63"), "compressed in an unusual way"),
    "bad offset": (flagged(archived(FILES), ONE, 42, b"\1\0\0\0"), "not the zip that it should be"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_what_an_archive_has_wrong_is_asked_for_singly(kind: str, origin: Host, tmp_path: Path) -> None:
    origin.contents[ARCHIVE], complaint = BAD_ARCHIVES[kind]
    single = origin.contents.pop(at(ONE))
    wanted = entry(tmp_path, origin.url)
    with pytest.raises(DataError, match=complaint) as caught:
        fetch.download(wanted, tmp_path, None, None)
    assert f"some: {ONE}: " in caught.value.what and f"{ONE}: answered 404" in caught.value.what
    assert caught.value.where == f"{origin.url}/{ARCHIVE}" and "some.csv" in caught.value.fix
    assert asked(origin) == [ARCHIVE, at(ONE)]
    origin.seen.clear()
    origin.contents[at(ONE)] = single
    assert files.sha256_file(fetch.download(wanted, tmp_path, None, None)) == ZIP
    assert asked(origin) == [ARCHIVE, at(ONE)]


@pytest.mark.parametrize("archive", [b"<html>sign in first</html>", b"", archived({}), None])
def test_without_a_usable_archive_all_files_come_singly(archive: bytes | None, origin: Host, tmp_path: Path) -> None:
    if archive is not None:
        origin.contents[ARCHIVE] = archive
    path = fetch.download(entry(tmp_path, origin.url), tmp_path / "raw", None, None)
    assert files.sha256_file(path) == ZIP
    assert sorted(asked(origin)) == sorted([ARCHIVE, *map(at, FILES)])
    assert left(tmp_path / "raw") == {PACKED}


def test_a_bomb_takes_no_memory(origin: Host, tmp_path: Path) -> None:
    origin.contents[ARCHIVE] = archived({**FILES, ONE: bytes(100_000_000)})
    tracemalloc.start()
    try:
        path = fetch.download(entry(tmp_path, origin.url), tmp_path, None, None)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert files.sha256_file(path) == ZIP
    assert asked(origin) == [ARCHIVE, at(ONE)]


def test_an_archive_larger_than_any_bound_is_not_taken(
    origin: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "MORE", 1000)
    wanted = entry(tmp_path, origin.url)
    origin.contents[ARCHIVE] = bytes(2 * wanted.bytes + 1001)
    most: list[int] = []
    fetch.download(wanted, tmp_path / "raw", None, lambda name, done, total: most.append(done))
    assert max(most) == wanted.bytes and left(tmp_path / "raw") == {PACKED}


def test_a_cut_archive_asks_only_for_the_rest(origin: Host, tmp_path: Path) -> None:
    whole = origin.contents[ARCHIVE] = archived(FILES)
    origin.faults[ARCHIVE] = ["cut"]
    fetch.download(entry(tmp_path, origin.url), tmp_path, None, None)
    assert origin.seen == [(ARCHIVE, None), (ARCHIVE, f"bytes={len(whole) // 2}-")]


NEW = archived(FILES, zipfile.ZIP_STORED)
OLD = archived(dict(reversed(FILES.items())))


@pytest.mark.parametrize(
    ("part", "fault", "ranges"),
    [
        (NEW, "", []),  # whole: only its files had not been taken
        (NEW[:5000], "", ["bytes=5000-"]),
        (NEW[:5000], "ignore range", ["bytes=5000-"]),
        (NEW[:5000], "wrong range", ["bytes=5000-", None]),
        (OLD[:5000], "", ["bytes=5000-", None]),  # the host has made it anew, with other bytes
        (OLD[:-1] + b"more than there is" * 9999, "", [f"bytes={len(OLD) - 1 + 18 * 9999}-", None]),
    ],
)
def test_the_part_of_an_archive_that_a_killed_process_left(
    part: bytes, fault: str, ranges: list[str | None], origin: Host, tmp_path: Path
) -> None:
    origin.contents[ARCHIVE] = NEW
    origin.faults[ARCHIVE] = [fault]
    put(tmp_path / "raw" / FOLDER / ".some.zip.archive.part", part)
    assert files.sha256_file(fetch.download(entry(tmp_path, origin.url), tmp_path / "raw", None, None)) == ZIP
    assert origin.seen == [(ARCHIVE, asked) for asked in ranges]
    assert left(tmp_path / "raw") == {PACKED}


# ---------------------------------------------------------------- file by file


def test_files_are_asked_for_side_by_side_over_few_connections(origin: Host, tmp_path: Path) -> None:
    origin.meeting = threading.Barrier(gather.WORKERS)  # none is answered before as many are asked for
    assert len(FILES) % gather.WORKERS == 0
    fetch.download(entry(tmp_path, origin.url, archive=False), tmp_path, None, None)
    assert len(origin.seen) == len(FILES)
    assert origin.connections == gather.WORKERS


def test_one_bad_file_is_named_and_the_others_kept(origin: Host, tmp_path: Path) -> None:
    origin.contents[at(ONE)] = OTHER
    wanted = entry(tmp_path, origin.url, archive=False)
    with pytest.raises(DataError) as caught:
        fetch.download(wanted, tmp_path, None, None)
    expected, found = (hashlib.sha256(one).hexdigest() for one in (FILES[ONE], OTHER))
    assert caught.value.what == f"some: {ONE}: sha256 is {found}, expected {expected}"
    assert caught.value.where == f"{origin.url}/{FOLDER}"
    assert asked(origin).count(at(ONE)) == 2 and len(origin.seen) == len(FILES) + 1
    assert not (tmp_path / PACKED).exists()
    origin.contents[at(ONE)] = FILES[ONE]
    origin.seen.clear()
    fetch.download(wanted, tmp_path, None, None)
    assert asked(origin) == [at(ONE)]


@pytest.mark.parametrize("wrong", [OTHER, FILES[ONE][:-1], FILES[ONE] + b"x", b"", bytes(10**7)])
def test_a_file_with_other_bytes_is_never_kept(wrong: bytes, origin: Host, tmp_path: Path) -> None:
    origin.contents[at(ONE)] = wrong
    with pytest.raises(DataError, match=ONE):
        fetch.download(entry(tmp_path, origin.url, archive=False), tmp_path, None, None)
    kept = {name for name in left(tmp_path) if "members" in name}
    assert kept == {f"{FOLDER}/.some.zip.members/{name}" for name in without(ONE)}


def test_other_bytes_are_asked_for_once_more(origin: Host, tmp_path: Path) -> None:
    origin.faults[at(ONE)] = ["other bytes"]
    fetch.download(entry(tmp_path, origin.url, archive=False), tmp_path, None, None)
    assert asked(origin).count(at(ONE)) == 2


def test_several_bad_files_are_counted_and_the_first_of_the_table_named(origin: Host, tmp_path: Path) -> None:
    for name in (LAST, ONE, "parts/30.bin"):
        origin.contents[at(name)] = b"x"
    with pytest.raises(DataError, match=rf"some: {ONE}: truncated: 1 bytes, expected 472 .*\), and 2 more\n"):
        fetch.download(entry(tmp_path, origin.url, archive=False), tmp_path, None, None)


def test_a_file_with_other_bytes_is_named_before_one_that_lacks(origin: Host, tmp_path: Path) -> None:
    del origin.contents[at("parts/00.bin")]
    origin.contents[at(ONE)] = OTHER
    with pytest.raises(DataError, match=f"some: {ONE}: sha256 is .*, and 1 more\n"):
        fetch.download(entry(tmp_path, origin.url, archive=False), tmp_path, None, None)


def test_a_file_without_end_takes_no_memory(origin: Host, tmp_path: Path) -> None:
    origin.contents[at(ONE)] = bytes(60_000_000)
    wanted = entry(tmp_path, origin.url, archive=False)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{ONE}: too long"):
            fetch.download(wanted, tmp_path, None, None)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_file_that_is_nowhere_is_named_and_the_others_kept(origin: Host, tmp_path: Path) -> None:
    del origin.contents[at(LAST)]
    wanted = entry(tmp_path, origin.url, archive=False)
    with pytest.raises(NetworkError, match=f"{LAST}: answered 404"):
        fetch.download(wanted, tmp_path, None, None)
    origin.contents[at(LAST)] = FILES[LAST]
    origin.seen.clear()
    fetch.download(wanted, tmp_path, None, None)
    assert asked(origin) == [at(LAST)]


def test_faults_that_pass_are_waited_for(origin: Host, tmp_path: Path, waits: list[float]) -> None:
    origin.faults = {at(ONE): ["503", "cut"], at(LAST): ["429"]}
    fetch.download(entry(tmp_path, origin.url, archive=False), tmp_path, None, None)
    assert len(waits) == 3 and 7.0 in waits


def test_files_that_their_host_cannot_give_stop_no_other(origin: Host, tmp_path: Path) -> None:
    many = {f"{n:03}": b"%d" % n for n in range(200)}
    origin.contents = {f"{FOLDER}/{name}": one for name, one in many.items()}
    origin.faults = {f"{FOLDER}/{name}": ["500"] * 99 for name in list(many)[::20]}
    with pytest.raises(NetworkError, match=r"000: answered 500 Internal Server Error, and 9 more\)"):
        fetch.download(entry(tmp_path, origin.url, many, archive=False), tmp_path, None, None)
    assert set(asked(origin)) == set(origin.contents)


def test_a_place_that_goes_down_is_not_asked_for_every_file_left(origin: Host, tmp_path: Path) -> None:
    many = {f"{n:03}": b"%d" % n for n in range(400)}
    origin.contents = {f"{FOLDER}/{name}": one for name, one in many.items()}
    origin.faults = {f"{FOLDER}/{name}": ["503"] * 99 for name in list(many)[20:]}
    with pytest.raises(NetworkError, match="answered 503"):
        fetch.download(entry(tmp_path, origin.url, many, archive=False), tmp_path, None, None)
    assert len(set(asked(origin))) < 100


@pytest.mark.parametrize("state", ["busy", "without the set", "wrong"])
def test_a_place_that_gives_nothing_is_not_asked_for_every_file(
    state: str, origin: Host, serve: Callable[[], Host], tmp_path: Path
) -> None:
    many = {f"{n:04}": b"%d" % n for n in range(200)}
    mirror = serve()
    if state == "busy":
        mirror.faults = {f"{FOLDER}/{name}": ["503"] * 9 for name in many}
    if state == "wrong":
        mirror.contents = {f"{FOLDER}/{name}": b"<html>" for name in many}
    origin.contents = {ARCHIVE: archived(many)}
    fetch.download(entry(tmp_path, origin.url, many), tmp_path, mirror.url, None)
    files_asked = set(asked(mirror)) - {PACKED}
    assert 0 < len(files_asked) <= gather.GIVE_UP + 4 * gather.WORKERS
    assert asked(origin) == [ARCHIVE]


def test_a_mirror_with_some_of_the_files_saves_the_origin_those(
    origin: Host, serve: Callable[[], Host], tmp_path: Path
) -> None:
    mirror, lacking = serve(), {ONE, LAST, *(f"parts/{n}.bin" for n in range(10, 35))}
    mirror.contents = {at(name): one for name, one in FILES.items() if name not in lacking}
    mirror.contents[at("parts/20.bin")] = b"x"
    wanted = entry(tmp_path, origin.url, archive=False)
    assert files.sha256_file(fetch.download(wanted, tmp_path, mirror.url, None)) == ZIP
    assert sorted(asked(origin)) == sorted(map(at, lacking))


def test_no_place_at_all(tmp_path: Path, serve: Callable[[], Host], waits: list[float]) -> None:
    host = serve()
    host.shutdown()
    host.server_close()
    with pytest.raises(NetworkError) as caught:
        fetch.download(entry(tmp_path, host.url), tmp_path / "raw", "file:///nowhere", None)
    text = str(caught.value)
    assert len(text.splitlines()) == 3 and waits == []
    for word in ("some could not", "file:///nowhere", "parts/", "refused", "SEQBENCH_MIRROR", "fetch --all --to"):
        assert word in text
    assert left(tmp_path / "raw") == set()


# ---------------------------------------------------------------- resuming, interrupts, the machine


def test_after_a_kill_only_the_rest_is_asked_for(origin: Host, tmp_path: Path) -> None:
    wanted = entry(tmp_path, origin.url, archive=False)
    origin.faults[at(LAST)] = ["hold"]
    code = "import sys; from pathlib import Path; from seqbench import fetch, sources;"
    code += "fetch.download(sources.read(Path(sys.argv[1]))['some'], Path(sys.argv[2]), None, None)"
    words = [sys.executable, "-c", code, str(tmp_path / "sources.toml"), str(tmp_path / "raw")]
    with subprocess.Popen(words, env={**os.environ, "NO_PROXY": "127.0.0.1"}) as process:
        try:
            assert origin.held.wait(60)
            deadline = time.monotonic() + 60
            while len(left(tmp_path / "raw")) < len(FILES) - 1 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
    origin.release.set()
    assert not (tmp_path / "raw" / PACKED).exists()
    spoilt = tmp_path / "raw" / FOLDER / ".some.zip.members" / ONE
    spoilt.write_bytes(OTHER)  # as a power cut may leave it
    origin.seen.clear()
    assert files.sha256_file(fetch.download(wanted, tmp_path / "raw", None, None)) == ZIP
    assert sorted(asked(origin)) == sorted([at(ONE), at(LAST)])
    assert left(tmp_path / "raw") == {PACKED}


def test_files_that_came_one_by_one_are_not_asked_of_the_archive(origin: Host, tmp_path: Path) -> None:
    for name, one in FILES.items():
        put(tmp_path / "raw" / FOLDER / ".some.zip.members" / name, one)
    assert files.sha256_file(fetch.download(entry(tmp_path, origin.url), tmp_path / "raw", None, None)) == ZIP
    assert origin.seen == []


@pytest.mark.parametrize("archive", [True, False])
def test_progress_ends_with_all_and_can_interrupt(archive: bool, origin: Host, tmp_path: Path) -> None:
    origin.contents[ARCHIVE] = archived(FILES)
    wanted = entry(tmp_path, origin.url, archive=archive)
    steps: list[tuple[str, int, int]] = []
    fetch.download(wanted, tmp_path / "raw", None, lambda *step: steps.append(step))
    assert steps[-1] == ("some", wanted.bytes, wanted.bytes) and len(steps) > len(FILES)
    assert all(name == "some" and 0 < done <= total == wanted.bytes for name, done, total in steps)

    def interrupt(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.download(wanted, tmp_path / "again", None, interrupt)
    assert not (tmp_path / "again" / PACKED).exists()
    fetch.download(wanted, tmp_path / "again", None, None)


@pytest.mark.parametrize("full", [".some.zip.part", ".some.zip.archive.part", ".some.zip.members/.a file.tmp"])
def test_a_full_disk(full: str, origin: Host, tmp_path: Path) -> None:
    origin.contents[ARCHIVE] = archived(FILES)
    path = tmp_path / FOLDER / full
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    with pytest.raises(MachineError, match="No space left") as caught:
        fetch.download(entry(tmp_path, origin.url), tmp_path, None, None)
    assert caught.value.where.startswith(str(tmp_path / FOLDER))
    assert not (tmp_path / PACKED).exists()


# ---------------------------------------------------------------- the table and the entry


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("path,", "file,", ["'path'", "some.csv, line 2"]),
        ("parts/03.bin", "../03.bin", ["'..'", "line 5"]),
        ("parts/03.bin", "/etc/03.bin", ["empty parts", "line 5"]),
        ("parts/03.bin", "parts\\03.bin", ["backslashes", "line 5"]),
        ("parts/03.bin", sets.TABLE, [sets.TABLE, "line 5"]),
        ("parts/03.bin", "parts/02.bin", ["named before", "line 5"]),
        (hashlib.sha256(FILES["parts/03.bin"]).hexdigest(), "00", ["64 digits", "line 5"]),
        (",472,3\n", ",many,3\n", ["many", "line 5"]),
        (",472,3\n", ",-1,3\n", ["0 or more", "line 5"]),
        (",472,3\n", "\n", ["line 5"]),
        (",472,3\n", f",{2**31},3\n", ["too many for one set", "some.csv"]),
        ("é", "\udce9", ["not UTF-8", "some.csv"]),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    entry(tmp_path, "https://host")
    text = table(FILES)
    assert old in text
    sets.members.cache_clear()
    (tmp_path / "some.csv").write_text(text.replace(old, new), encoding="utf-8", errors="surrogateescape", newline="")
    with pytest.raises(InputError) as caught:
        sources.read(tmp_path / "sources.toml")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("some.csv", "none.csv", ["table of members is missing", "some.members = ", "none.csv"]),
        ("members = ", "bytes = 1\nmembers = ", ["'bytes' of a set", "some.bytes", "leave it out"]),
        ("members = ", "archive = 'ftp://host/x.zip'\nmembers = ", ["some.archive", "http"]),
        ("/commit", "/commit/", ["some.url", "empty parts"]),
        ("members = ", "same = [{path = 'x', sha256 = '" + "0" * 64 + "', bytes = 1}]\nmembers = ", ["'same' is not"]),
    ],
)
def test_a_bad_entry_of_a_set_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    entry(tmp_path, "https://host", archive=False)
    path = tmp_path / "sources.toml"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        sources.read(path)
    for word in ["sources.toml", *words]:
        assert word in str(caught.value)


def test_only_a_set_has_an_archive() -> None:
    with pytest.raises(ValueError, match="'archive' is for a set"):
        Source(
            name="x", url="https://host/x", archive="https://host/y", sha256="0" * 64, bytes=1,
            licence="none", citation="nobody", defects=(),
        )  # fmt: skip


def test_the_committed_tables() -> None:
    known = sources.read()
    found = {name: sets.members(Path(one.members)) for name, one in known.items() if one.members}
    assert {name: len(members) for name, members in found.items()} == {"fsdd": 3000, "scfd": 260, "scfd-rest": 40}
    for name, members in found.items():
        assert [one.path for one in members] == sorted(one.path for one in members), name
        assert len({one.sha256 for one in members}) == len(members), name  # no file twice
    assert not {one.sha256 for one in found["scfd"]} & {one.sha256 for one in found["scfd-rest"]}
    assert known["scfd-rest"].optional and not known["scfd"].optional and not known["fsdd"].optional


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("fsdd", "022f771c1ef67ea20124ec68f768aca6c7e561335dfa9050279dd964502a9b21"),
        ("scfd", "c4f280239d556f3ff05856b1fa5edf8ffaf271b87d73a66e1cfc1eb431d7f3c6"),
    ],
)
def test_the_real_sets(name: str, sha256: str, mirror: str, tmp_path: Path) -> None:
    wanted = sources.read()[name]
    path = fetch.download(wanted, tmp_path / "one", mirror, None)
    assert files.sha256_file(path) == sha256
    again = fetch.download(wanted, tmp_path / "two", (tmp_path / "one").as_uri(), None)
    assert files.sha256_file(again) == sha256
    assert sources.identify(wanted, tmp_path / "two") == files.sha256_file(Path(wanted.members))
