"""What several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import host
import pytest
import small

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are made for the repository's folder; settings of the person's shell stay out."""
    monkeypatch.chdir(ROOT)
    for name in ("SEQBENCH_MIRROR", "SEQBENCH_DEVICE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mirror() -> str:
    """Address of the data mirror; the test is skipped (and counted) where there is none."""
    address = os.environ.get("SEQBENCH_TEST_MIRROR")
    if not address:
        pytest.skip("no data mirror: SEQBENCH_TEST_MIRROR is not set")
    return address


@pytest.fixture
def serve() -> Iterator[Callable[[], host.Host]]:
    """Starts HTTP hosts on the loopback, which misbehave as told."""
    with host.serving() as start:
        yield start


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a download would have waited between two requests."""
    from seqbench import transfer

    found: list[float] = []
    monkeypatch.setattr(transfer, "sleep", found.append)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return found


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> small.Raw:
    """Small raw files in the formats of the real ones, by source name."""
    folder = tmp_path_factory.mktemp("raw")
    made = small.contents()
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in made}


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real files come to lie, once for all tests."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def real(mirror: str, downloads: Path) -> small.Real:
    """Fetches the raw files of a task with its default settings from the mirror, by source name."""
    from seqbench import fetch, sources, tasks

    def get(name: str) -> small.Raw:
        known = sources.read()
        wanted = [known[source] for source in tasks.build(name, {}).sources()]
        fetch.fetch(wanted, downloads, mirror, progress=None)
        return {source.name: sources.raw_file(source, downloads) for source in wanted}

    return get


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch as training uses it; put back afterwards."""
    import torch

    from seqbench import device

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    device.deterministic()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested."""
    missing = [r for r in terminalreporter.stats.get("skipped", []) if "no data mirror" in str(r.longrepr)]
    if missing:
        terminalreporter.section("NOT TESTED ON REAL DATA", sep="!")
        terminalreporter.line(f"{len(missing)} tests need the data mirror: set SEQBENCH_TEST_MIRROR")
