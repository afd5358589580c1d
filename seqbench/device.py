"""The machine: which device a job runs on, in which mode, and what it is called."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
import torch

from seqbench import files
from seqbench.errors import MachineError
from seqbench.records import Hardware, Provenance


def deterministic() -> None:
    """Same setting, seed and hardware -> same bits. To be called before the first CUDA call.

    One thread on a CPU, so that sums do not depend on the number of cores; full float32
    everywhere, so that cuDNN's recurrent kernels and linear layers are alike.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms(True), less the import of its compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(1)


@contextlib.contextmanager
def lease(kind: str) -> Iterator[torch.device]:
    """A device of this job's own for as long as the context is open.

    Snakemake's local executor hands out counts, not devices: each visible GPU has a lock, named
    by its UUID, and a job takes the first free one, waiting where all are taken.
    """
    if kind == "cpu":
        yield torch.device("cpu")
        return
    if not torch.cuda.is_available():
        raise MachineError(
            "a CUDA device was asked for and torch sees none",
            f"torch {torch.__version__}",
            "set device: cpu in params.yaml, or check the driver and CUDA_VISIBLE_DEVICES",
        )
    ids = [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
    with first_free(ids) as index:
        torch.cuda.set_device(index)
        yield torch.device("cuda", index)


@contextlib.contextmanager
def first_free(ids: list[str], pause: float = 0.2) -> Iterator[int]:
    """Index of the first of these ids that no other process of this user holds; waits for one."""
    folder = Path(tempfile.gettempdir()) / f"seqbench-{os.getuid()}"
    while True:
        for index, identity in enumerate(ids):
            held = files.lock(folder / f"{identity}.lock")
            try:
                held.__enter__()
            except MachineError:
                continue
            try:
                yield index
            finally:
                held.__exit__(None, None, None)
            return
        time.sleep(pause)


def fingerprint(device: torch.device) -> Hardware:
    """Name, size, driver and library versions of the machine."""
    cuda = device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if cuda else None
    packages = ("numpy", "scipy", "pandas", "safetensors", "snakemake")
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {name: metadata.version(name) for name in packages}
    if cuda:
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
    return Hardware(
        device=device.type,
        name=properties.name if properties else _cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=properties.total_memory if properties else psutil.virtual_memory().total,
        driver=_driver() if cuda else "",
        platform=platform.platform(),
        versions=versions,
    )


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _driver() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    return "unknown"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def commit() -> str:
    """The commit of this clone's code."""
    return _git("rev-parse", "HEAD")


def now() -> str:
    """UTC in ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def load() -> float:
    """Load average over one minute, per core."""
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the GPU or on the CPU."""
    texts = (
        *("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "std::bad_alloc"),
        *("could not create a primitive", "could not create a memory", "could not execute a primitive"),  # oneDNN
    )
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


class Witness:
    """Notes when and where a piece of work began; `provenance` closes the note."""

    def __init__(self, device: torch.device, kernel: str) -> None:
        self.device, self.kernel = device, kernel
        self.started, self.load = now(), load()
        self._clock = time.monotonic()

    def provenance(self, earlier_seconds: float = 0.0) -> Provenance:
        """The note, with the seconds of earlier, interrupted attempts added."""
        return Provenance(
            commit=commit(),
            dirty=_git("status", "--porcelain", "--", "seqbench", "workflow", "Snakefile") != "",
            command=shlex.join(["seqbench", *sys.argv[1:]]),
            hardware=fingerprint(self.device),
            threads=torch.get_num_threads(),
            kernel=self.kernel,
            started=self.started,
            finished=now(),
            seconds=round(time.monotonic() - self._clock + earlier_seconds, 3),
            load_before=self.load,
            load_after=load(),
        )
