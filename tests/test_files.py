from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqbench import files
from seqbench.errors import DataError, MachineError, nearest


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_write(path, "w") as file:
        file.write("half of the new")
        file.flush()
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_can_be_read_by_others(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "x")
    plain = tmp_path / "b"
    plain.write_text("x")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode


def test_full_disk_is_three_lines_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="No space left") as caught:
        files.write_text(tmp_path / "a", "x")
    assert len(str(caught.value).splitlines()) == 3
    assert not list(tmp_path.iterdir())


def test_nan_never_gets_into_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json"):
        files.read_json(path, "make it again")


def test_digest_does_not_see_the_order_of_keys() -> None:
    assert files.digest({"a": 1, "b": 2.0}) == files.digest({"b": 2.0, "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 2})


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import time
from pathlib import Path
from seqbench import files
with files.lock(Path({str(path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MachineError, match="another seqbench"), files.lock(path):
            pass
        holder.kill()
    with files.lock(path):
        pass


def test_nearest_names_the_closest_and_all() -> None:
    assert nearest("lstn", ["gru", "lstm"]) == "did you mean 'lstm'? known: gru, lstm"
    assert nearest("zzz", ["gru", "lstm"]) == "known: gru, lstm"
