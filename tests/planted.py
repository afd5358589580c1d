"""Planted records with known answers: a plan, and the files that a run of the pipeline leaves."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seqbench import analyse, archs, fetch, files, records
from seqbench.analyse.summary import Summary
from seqbench.config import MeasureSettings, Plan, identity
from seqbench.records import Setting

HOSTILE = ['<script>alert("1")</script>', '"><img src=x onerror=alert(2)>', "</style><svg onload=alert(3)>"]
ARCHS = ("rnn", "lstm", "gru", "transformer", "my_arch")
Scores = Callable[[str, str, int], float | None]
"""(task id, architecture, seed) -> score; None: the run diverged."""

HARDWARE = records.Hardware(
    device="cpu",
    name="Planted CPU",
    cores=2,
    memory_bytes=2**34,
    driver="",
    platform="Linux",
    versions={"python": "3.11", "torch": "2.13"},
)


def provenance(**changes: Any) -> records.Provenance:
    base: dict[str, Any] = {
        "commit": "0123456789abcdef",
        "dirty": False,
        "command": "seqbench measure rnn",
        "hardware": HARDWARE,
        "threads": 1,
        "kernel": "reference scan",
        "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:01:00Z",
        "seconds": 60.0,
        "load_before": 0.1,
        "load_after": 0.5,
    }
    return records.Provenance(**(base | changes))


def plan(
    tasks: Mapping[str, list[dict[str, Any]]] | None = None,
    architectures: tuple[str, ...] = ARCHS,
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7),
) -> Plan:
    tasks = tasks or {"adding": [{"length": 20}, {"length": 50}], "digits": [{}]}
    cells = tuple(
        Setting(
            task=task,
            task_settings=settings,
            arch=arch,
            core={"layers": 1, "dropout": 0.0},
            parameters=6000,
            train=records.TrainSettings(steps=300),
            tune=records.TuneSettings(),
        )
        for task, variants in tasks.items()
        for settings in variants
        for arch in architectures
    )
    return Plan(
        preset="quick",
        preset_reason="auto: no CUDA device is visible",
        device="cpu",
        device_reason="no CUDA device is visible",
        mirror="http://mirror.example/secret",
        seeds=seeds,
        cells=cells,
        measure=MeasureSettings(),
        architectures=architectures,
        cores={arch: {"layers": 1, "dropout": 0.0} for arch in architectures},
    )


def result(setting: Setting, seed: int, score: float | None, digest: str, **changes: Any) -> records.Result:
    versions = records.Versions(task=1, core=1)
    failed = score is None
    curve = [
        records.Point(
            step=step, loss=None if failed else 1 / step, valid=score and score * (1 + 1 / step), learning_rate=1e-3
        )
        for step in (100, 200, 300)
    ]
    fields: dict[str, Any] = {
        "key": records.run_key(setting, 1e-3, seed, versions, digest),
        "task": identity(setting),
        "arch": setting.arch,
        "seed": seed,
        "seeds": {"init": seed},
        "setting": setting,
        "learning_rate": 1e-3,
        "versions": versions,
        "data_digest": digest,
        "data_sizes": {"train": 100, "valid": 10, "test": 10},
        "status": "diverged" if failed else "ok",
        "reason": "loss is not finite" if failed else "",
        "steps": 300,
        "best_step": 200,
        "examples": 19200,
        "metric": "mse",
        "direction": "min",
        "valid": {} if failed else {"mse": score, "mae": 0.5},
        "test": {} if failed else {"mse": score, "mae": 0.25},
        "test_reads": 0 if failed else 1,
        "width": 32,
        "parameters": records.Parameters(embedding=0, frontend=96, core=5800, head=33),
        "state_bytes": 128,
        "curve": tuple(curve),
        "weights_sha256": files.digest([setting.arch, seed]),
    }
    return records.Result(**(fields | changes))


def write(root: Path, of: Plan, scores: Scores, hostile: str = "") -> None:
    """All records of a plan under `root`; `hostile` is put into every free text."""
    for task_id in of.task_ids:
        _write_task(root, of, task_id, hostile)
        for arch in of.architectures:
            write_cell(root, of, task_id, arch, scores, hostile)
    for place, arch in enumerate(of.architectures):
        measured(arch, place, hostile).write(root / "measured" / f"{arch}.json")


def digest(task_id: str) -> str:
    return files.digest(["data", task_id])


def _write_task(root: Path, of: Plan, task_id: str, hostile: str) -> None:
    setting = of.cell(task_id, of.architectures[0])
    spec = records.Spec(
        inputs="values", input_size=2, outputs="values", output_size=1, length=50, metric="mse", direction="min"
    )
    records.Manifest(
        task=setting.task,
        settings=setting.task_settings,
        version=1,
        spec=spec,
        sizes={"train": 100, "valid": 10, "test": 10},
        arrays={},
        defects=(f"3 duplicates taken out {hostile}",),
        sources={},
        digest=digest(task_id),
    ).write(root / "prepared" / task_id / "manifest.json")
    records.Controls(
        task=task_id,
        data_digest=digest(task_id),
        metric="mse",
        direction="min",
        controls=(
            records.Control(name=f"mean{hostile}", kind="trivial", metrics={"mse": 0.9}),
            records.Control(name="worse", kind="trivial", metrics={"mse": 1.0}),
            records.Control(name="oracle", kind="strong", metrics={"mse": 0.0}),
        ),
    ).write(root / "runs" / task_id / "controls.json")


def write_cell(
    root: Path, of: Plan, task_id: str, arch: str, scores: Scores, hostile: str = "", **changes: Any
) -> None:
    """The files of one cell; `changes` go into every result."""
    setting = of.cell(task_id, arch)
    if hostile:
        changes["reason"] = hostile
    runs = tuple(result(setting, s, scores(task_id, arch, s), digest(task_id), **changes) for s in of.seeds)
    folder = root / "runs" / task_id / arch
    records.Runs(task=task_id, arch=arch, results=runs).write(folder / "results.json")
    made = provenance(kernel=f"reference scan {hostile}")
    records.RunProvenances(task=task_id, arch=arch, runs={str(s): made for s in of.seeds}).write(
        folder / "provenance.json"
    )
    trials = tuple(
        records.Trial(learning_rate=rate, seed=1001, status="ok", valid=0.5) for rate in setting.tune.learning_rates
    )
    records.Tuned(key="0" * 64, task=task_id, arch=arch, learning_rate=1e-3, border=False, trials=trials).write(
        root / "tuned" / task_id / f"{arch}.json"
    )


def measured(arch: str, place: int, hostile: str = "", **changes: Any) -> records.Measured:
    """The architecture at `place` trains at 1000 / 2^place tokens/s; memory grows as length."""

    def of(quantity: Any, length: int, unit: str, median: float) -> records.Measurement:
        value = records.Quantiles(median=median, q25=median * 0.9, q75=median * 1.1, p99=median * 1.3, repetitions=20)
        return records.Measurement(
            quantity=quantity, length=length, batch=8, unit=unit, value=value, method=f"20 repetitions {hostile}"
        )

    lengths = (32, 128, 512)
    speed = 1000.0 / 2**place
    return records.Measured(
        arch=arch,
        width=40,
        parameters=20_000,
        measurements=(
            *(of("train", n, "tokens/s", speed) for n in lengths),
            *(of("infer", n, "tokens/s", 3 * speed * 32 / n) for n in lengths),
            *(of("train_memory", n, "bytes", 1e5 * n * (place + 1)) for n in lengths),
            *(of("stream", n, "ms", 0.05 * (place + 1)) for n in lengths),
            *(of("gradient", lag, "norm", 0.9 ** (lag * (place + 1)) if lag < 90 else 0.0) for lag in range(0, 100, 5)),
        ),
        provenance=provenance(**changes),
    )


def fake_archs(folder: Path, names: tuple[str, ...]) -> Path:
    """A folder of architecture files, as far as planning reads them."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text("VERSION = 1\nSETTINGS = {'layers': 1, 'dropout': 0.0}\n", encoding="utf-8")
    return folder


def summary(root: Path, of: Plan, scores: Scores, hostile: str = "") -> Summary:
    """The summary of planted records, with planted architectures and sources."""
    url = "javascript:alert(4)" if hostile else "https://example.org/data"
    source = types.SimpleNamespace(url=url, licence=hostile, citation=f"LeCun {hostile}", defects=(f"none {hostile}",))
    names = [f"mnist-{split}-{what}" for split in ("train", "test") for what in ("images", "labels")]
    write(root, of, scores, hostile)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(archs, "FOLDER", fake_archs(root / "archs", of.architectures))
        monkeypatch.setattr(fetch, "sources", lambda path: dict.fromkeys(names, source))
        return analyse.summarise(of, root)
