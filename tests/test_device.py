from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from seqbench import device

HOLD = """
import sys, time
from pathlib import Path
from seqbench import device
with device.first_free(sys.argv[1].split(",")) as index:
    print(index, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def hold(ids: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD, ids], stdout=subprocess.PIPE, text=True)


def line(job: subprocess.Popen[str]) -> str:
    assert job.stdout is not None
    return job.stdout.readline().strip()


def test_each_job_gets_a_device_of_its_own_and_the_next_waits() -> None:
    jobs = [hold("GPU-a,GPU-b") for _ in range(2)]
    try:
        assert sorted(line(job) for job in jobs) == ["0", "1"]
        waiting = hold("GPU-a,GPU-b")
        jobs.append(waiting)
        time.sleep(2.5)
        assert waiting.poll() is None
        jobs[0].kill()  # killed, not ended: the kernel frees its device
        assert line(waiting) in ("0", "1")
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


def test_the_cpu_needs_no_lease() -> None:
    with device.lease("cpu") as one, device.lease("cpu") as other:
        assert one == other == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_missing_gpu_is_three_lines() -> None:
    with pytest.raises(device.MachineError) as caught, device.lease("cuda"):
        pass
    assert len(str(caught.value).splitlines()) == 3


def test_the_fingerprint_names_the_machine() -> None:
    found = device.fingerprint(torch.device("cpu"))
    assert found.device == "cpu" and found.name and found.cores >= 1 and found.memory_bytes > 1e8
    assert found.versions["torch"] == torch.__version__


def test_provenance_adds_the_seconds_of_earlier_attempts() -> None:
    note = device.Witness(torch.device("cpu"), "a kernel").provenance(earlier_seconds=100.0)
    assert 100 <= note.seconds < 200
    assert note.started <= note.finished
    assert len(note.commit) == 40 or note.commit == "unknown"
