"""Meters against counters made of files and a driver made of plain Python, and a clock that only work moves on."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqbench.measure import energy
from seqbench.measure.energy import Counter, Meter, Unavailable, joules_per_1000

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
RANGE = 262_143_000_000
"""Microjoules, as a real counter has."""


def domain(root: Path, name: str, kind: str, microjoules: int | str) -> Path:
    """A folder as Linux shows it; returns its counter."""
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(f"{kind}\n", encoding="ascii")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n", encoding="ascii")
    counter = folder / "energy_uj"
    counter.write_text(f"{microjoules}\n", encoding="ascii")
    return counter


def found(device: torch.device, root: Path) -> Meter:
    made = energy.meter(device, root)
    assert isinstance(made, Meter)
    return made


class Machine:
    """Takes 10 W when idle and 50 W at work; the clock stands still but for sleep and work."""

    def __init__(self) -> None:
        self.time, self.joules = 100.0, 7.0
        self.meter = Meter("made up", [Counter(lambda: self.joules)], clock=lambda: self.time, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.joules += 10 * seconds

    def work(self) -> None:
        self.time += 0.25
        self.joules += 50 * 0.25


# ---------------------------------------------------------------- RAPL


def test_packages_are_added_and_their_parts_and_the_platform_are_not(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 9_000_000)
    others = [
        domain(tmp_path, "intel-rapl:0:0", "core", 0),
        domain(tmp_path, "intel-rapl:0:1", "dram", 0),
        domain(tmp_path, "intel-rapl:2", "psys", 0),
        domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    (tmp_path / "intel-rapl").mkdir()
    meter = found(CPU, tmp_path)
    assert "2 CPU package(s)" in meter.words
    assert meter.read() == 0.0
    for counter in others:
        counter.write_text("77000000\n", encoding="ascii")
    first.write_text("6500000\n", encoding="ascii")
    assert meter.read() == 1.5
    second.write_text("9250000\n", encoding="ascii")
    assert meter.read() == 1.75
    assert meter.read() == 1.75


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    steady = domain(tmp_path, "intel-rapl:1", "package-1", 0)
    meter = found(CPU, tmp_path)
    counter.write_text("2000000\n", encoding="ascii")
    assert meter.read() == pytest.approx(3.0)
    counter.write_text("2500000\n", encoding="ascii")
    steady.write_text("500000\n", encoding="ascii")
    assert meter.read() == pytest.approx(4.0)
    counter.write_text("0\n", encoding="ascii")
    assert meter.read() == pytest.approx(4.0 - 2.5 + RANGE / 1e6)


def forbid(counter: Path) -> None:
    """Root may read anything, so no mode of a file stops a test that root runs."""
    counter.unlink()
    counter.mkdir()


def garble(counter: Path) -> None:
    counter.write_text("<unknown>\n", encoding="ascii")


@pytest.mark.parametrize("spoil", [forbid, garble, Path.unlink])
def test_a_package_that_cannot_be_read_is_no_meter(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 1)
    spoil(domain(tmp_path, "intel-rapl:1", "package-1", 1))
    made = energy.meter(CPU, tmp_path)
    assert isinstance(made, Unavailable)
    assert made.words.startswith("not measured: a RAPL energy counter cannot be read (")
    assert "intel-rapl:1" in made.words or "<unknown>" in made.words


def test_a_file_without_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 1)
    read_text = Path.read_text

    def guarded(self: Path, encoding: str | None = None) -> str:
        if self == counter:
            raise PermissionError(13, "Permission denied", str(self))
        return read_text(self, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", guarded)
    made = energy.meter(CPU, tmp_path)
    assert isinstance(made, Unavailable)
    assert "Permission denied" in made.words
    assert str(counter) in made.words


@pytest.mark.parametrize("kinds", [[], ["intel-rapl:0:0"], ["intel-rapl:3"]])
def test_a_machine_without_packages_has_no_meter(kinds: list[str], tmp_path: Path) -> None:
    for name in kinds:
        domain(tmp_path, name, "psys", 1)
    assert energy.meter(CPU, tmp_path) == Unavailable(f"not measured: no RAPL energy counter of a CPU under {tmp_path}")
    nowhere = tmp_path / "nowhere"
    assert energy.meter(CPU, nowhere) == Unavailable(f"not measured: no RAPL energy counter of a CPU under {nowhere}")


# ---------------------------------------------------------------- NVML


class NVMLError(Exception):
    pass


class Driver:
    """What pynvml is asked for; millijoules by UUID."""

    NVMLError = NVMLError

    def __init__(self, millijoules: dict[str, int], *, loads: bool = True) -> None:
        self.millijoules, self.loads, self.ready = millijoules, loads, False

    def nvmlInit(self) -> None:
        if not self.loads:
            raise NVMLError("NVML Shared Library Not Found")
        self.ready = True

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        assert self.ready
        if uuid not in self.millijoules:
            raise NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if self.millijoules[handle] < 0:
            raise NVMLError("Not Supported")
        return self.millijoules[handle]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[torch.device]]:
    """Puts a driver (or None: no package) in place, with a GPU of UUID 1234; returns what was waited for."""

    def put(driver: Any) -> list[torch.device]:
        waited: list[torch.device] = []
        monkeypatch.setitem(sys.modules, "pynvml", driver)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
        monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
        return waited

    return put


def test_the_gpu_with_the_devices_uuid_is_read(install: Callable[[Any], list[torch.device]], tmp_path: Path) -> None:
    driver = Driver({"GPU-9": 1, "GPU-1234": 60_000})
    waited = install(driver)
    meter = found(CUDA, tmp_path)
    assert meter.words.startswith("NVML")
    driver.millijoules |= {"GPU-9": 99_000, "GPU-1234": 62_500}
    assert meter.read() == 2.5
    assert waited == []
    meter.now()
    assert waited == [CUDA]


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (None, "not measured: NVML needs the package nvidia-ml-py"),
        (Driver({"GPU-1234": 1}, loads=False), "Shared Library Not Found"),
        (Driver({"GPU-9": 1}), "(Not Found)"),
        (Driver({"GPU-1234": -1}), "(Not Supported)"),
    ],
    ids=["no package", "no driver", "another GPU", "no counter"],
)
def test_without_a_counter_the_reason_is_said(
    driver: Any, why: str, install: Callable[[Any], list[torch.device]], tmp_path: Path
) -> None:
    install(driver)
    domain(tmp_path, "intel-rapl:0", "package-0", 1)  # the CPU's meter is not the GPU's
    made = energy.meter(CUDA, tmp_path)
    assert isinstance(made, Unavailable)
    assert why in made.words


def test_a_cpu_needs_no_nvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    domain(tmp_path, "intel-rapl:0", "package-0", 1)
    assert found(CPU, tmp_path).words.startswith("RAPL")


# ---------------------------------------------------------------- joules


def test_idle_is_joules_over_time() -> None:
    machine = Machine()
    assert machine.meter.idle(3.0) == 10.0
    assert machine.time == 103.0


@pytest.mark.parametrize(("seconds", "calls"), [(2.0, 8), (1.9, 8), (0.25, 1), (0.0, 1)])
def test_work_is_repeated_for_so_long_and_idle_is_taken_off(seconds: float, calls: int) -> None:
    machine = Machine()
    per_call = 0.25 * (50 - 10)
    assert joules_per_1000(machine.meter, 10.0, machine.work, 20, seconds) == 1000 * per_call / 20
    assert machine.time == 100.0 + 0.25 * calls


@pytest.mark.parametrize("idle", [50.0, 60.0])
def test_no_more_than_idle_is_no_number(idle: float) -> None:
    machine = Machine()
    assert joules_per_1000(machine.meter, idle, machine.work, 20, 2.0) is None


def test_a_gpu_has_done_its_work_before_the_meter_is_read() -> None:
    steps: list[str] = []
    ticks = itertools.count()

    def look() -> float:
        steps.append("read")
        return float(next(ticks))

    meter = Meter("made up", [Counter(look)], wait=lambda: steps.append("wait"), clock=lambda: 0.0)
    joules_per_1000(meter, 0.0, lambda: steps.append("work"), 1, 0.0)
    assert steps == ["read", "read", "wait", "work", "wait", "read"]
