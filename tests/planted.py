"""Planted records with known answers: a plan, and the files that a run of the pipeline leaves."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seqbench import analyse, archs, files, records, sources, tasks
from seqbench import measurements as of_measuring
from seqbench.analyse.summary import Summary
from seqbench.config import MeasureSettings, Plan, identity
from seqbench.measurements import Measurement, Quantiles
from seqbench.records import Setting

HOSTILE = ['<script>alert("1")</script>', '"><img src=x onerror=alert(2)>', "</style><svg onload=alert(3)>"]
ARCHS = ("rnn", "lstm", "gru", "transformer", "my_arch")
CARRY, ATTEND = ("rnn", "lstm", "gru"), ("transformer",)
"""Planted architectures that carry a state between windows, and that attend to an encoder by themselves."""
Scores = Callable[[str, str, int], float | None]
"""(task id, architecture, seed) -> score; None: the run diverged."""

SPECS: dict[str, dict[str, Any]] = {
    "recall": {
        **{"inputs": "tokens", "input_size": 64, "outputs": "every", "output_size": 32, "length": 50, "embedding": 16},
        **{"metric": "accuracy", "direction": "max", "ceiling": 1.0},
    },
    "imdb": {
        **{"inputs": "tokens", "input_size": 900, "outputs": "classes", "output_size": 2, "length": 400},
        **{"metric": "accuracy", "direction": "max", "causal": False, "pooling": "ends", "embedding": 50},
        "dropout": 0.5,
    },
    "shakespeare": {
        **{"inputs": "tokens", "input_size": 65, "outputs": "stream", "output_size": 65, "length": 128},
        **{"metric": "bits_per_character", "direction": "min", "unit": "bits", "embedding": 16},
    },
    "ptb": {
        **{"inputs": "tokens", "input_size": 10_000, "outputs": "stream", "output_size": 10_000, "length": 35},
        **{"metric": "perplexity", "direction": "min", "embedding": 200, "tied": True, "dropout": 0.5},
    },
    "multi30k": {
        **{"inputs": "tokens", "input_size": 8000, "outputs": "sequence", "output_size": 8000, "length": 45},
        **{"target_length": 48, "metric": "bleu", "direction": "max", "selection": "cross_entropy", "causal": False},
        **{"scorer": "nrefs:1|case:mixed|tok:13a|version:2.6.0", "embedding": 256, "tied": True, "dropout": 0.3},
    },
    "jsb": {
        **{"inputs": "values", "input_size": 88, "outputs": "multilabel", "output_size": 88, "length": 120},
        **{"metric": "nll", "direction": "min", "unit": "nats per step"},
    },
    "fsdd_strings": {
        **{"inputs": "values", "input_size": 40, "frontend": "spectrogram", "outputs": "ctc", "output_size": 11},
        **{"length": 500, "target_length": 7, "metric": "wer", "direction": "min", "selection": "cross_entropy"},
        **{"scorer": "jiwer 4.0.0", "causal": False, "ceiling": 0.0},
    },
    "scfd": {
        **{"inputs": "values", "input_size": 3072, "frontend": "frames", "frame": (3, 32, 32), "outputs": "classes"},
        **{"output_size": 2, "length": 16, "metric": "accuracy", "direction": "max", "causal": False},
        "pooling": "mean",
    },
}
"""Of the tasks that are not the regression that all others are here."""
CONTROLS = {
    "recall": (1.0, 0.01, 0.03),
    "imdb": (0.88, 0.4, 0.5),
    "shakespeare": (2.4, 5.0, 4.8),
    "ptb": (141.0, 900.0, 650.0),
    "multi30k": (15.7, 0.1, 3.0),
    "jsb": (10.5, 12.0, 11.1),
    "fsdd_strings": (0.07, 1.0, 0.89),
    "scfd": (0.75, 0.4, 0.5),
}
"""Scores of the strong control and the two trivial ones, of which the last is the better."""
NUMBERS = {"inputs": "values", "input_size": 2, "outputs": "values", "output_size": 1, "length": 50}
PLAIN = {**NUMBERS, "metric": "mse", "direction": "min"}
VERSE = "ROMEO:\nO, she doth teach the torches to burn bright!\n\n  JULIET:\n"

CORE = {"layers": 1, "dropout": 0.0}
VERSIONS = records.Versions(task=1, core=1)
LENGTHS, CONTEXTS = (32, 128, 512), (10, 100, 1000)
MEASURE = MeasureSettings(
    **{"parameters": 20_000, "lengths": LENGTHS, "batch": 8, "tokens": 1024, "batches": (1, 8, 32), "length": 128},
    **{"contexts": CONTEXTS, "memory_lengths": LENGTHS, "window": 32},
)
GATES: tuple[of_measuring.Gate, ...] = (
    *("causality", "streaming", "padding", "batch"),
    *("state", "seed", "clipping", "gradient"),
)
LAGS = (0, 1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 15, 16, 19, 20, 25, 30, 39)
"""Of planted horizons; an architecture at `place` has its horizon, once trained, at 4 (place + 1)."""

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
            core=CORE,
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
        measure=MEASURE,
        architectures=architectures,
        cores=dict.fromkeys(architectures, CORE),
    )


def spec(setting: Setting) -> records.Spec:
    """What the planted data of a task asks for."""
    knob = {"connection": setting.task_settings["connection"]} if setting.task == "multi30k" else {}
    return records.Spec(**(SPECS.get(setting.task, PLAIN) | knob))


def scores_beside(of: records.Spec, score: float) -> dict[str, float]:
    """All test metrics of a run with that ranking score."""
    if of.outputs == "values":
        return {"mse": score, "mae": 0.25}
    if of.outputs == "sequence":
        return {
            **{"bleu": score, "chrf": score + 20, "bleu_greedy": score - 1, "chrf_greedy": score + 19},
            "cross_entropy": 5 - score / 10,
        }
    beside = {
        "accuracy": {
            "cross_entropy": 3 * (1 - score),
            "perplexity": math.exp(3 * (1 - score)),
            "accuracy_trained": 0.9,
        },
        "perplexity": {"cross_entropy": math.log(score), "accuracy": 30 / score},
        "nll": {"f1": 4 / score, "accuracy": 3 / score},
        "wer": {"sentence": 1 - score, "wer_greedy": score + 0.01, "cross_entropy": 2 * score},
        "bits_per_character": {"cross_entropy": score * math.log(2), "perplexity": 2**score, "accuracy": 1 / score},
    }
    return {of.metric: score} | beside[of.metric]


def samples(setting: Setting, of: records.Spec, seed: int, hostile: str) -> tuple[records.Sample, ...]:
    """What a run of that task says."""
    if of.outputs == "stream":
        said = f"{VERSE}{setting.arch} {seed}\n\tEnter{hostile} a\x0bGhost"
        return (records.Sample(source=VERSE, reference=f"The rest{hostile}", output=said),)
    if of.outputs == "ctc":
        return (records.Sample(source="", reference="three one four", output=f"three one{hostile}"),)
    if of.outputs == "multilabel":
        notes = {"source": "C4 E4 | C4 E4 | -", "reference": "G4 | G4", "output": "A4 | - | C5 E5"}
        return (records.Sample(**notes),)
    if of.outputs != "sequence":
        return ()
    source = (f"▁Ein{hostile}", "▁Mann", "▁schläft", "</s>")
    output = ("▁A", f"▁man{hostile}", f"▁sleeps{seed}", "▁.", "</s>")
    weights = tuple(tuple(0.7 if i == j else 0.1 for j in range(4)) for i in range(5))
    first = records.Sample(
        source=f"Ein{hostile} Mann schläft",
        reference="A man sleeps.",
        output=f"A man{hostile} sleeps{seed} .",
        source_tokens=source,
        output_tokens=output,
        attention=weights if of.connection != "none" else (),
    )
    nothing = records.Sample(source="Zwei Hunde", reference="Two dogs", output="")
    return first, nothing


def key(setting: Setting, seed: int, digest: str) -> str:
    """Of the run of that seed."""
    return records.run_key(setting, 1e-3, seed, VERSIONS, digest)


def result(
    setting: Setting, seed: int, score: float | None, digest: str, hostile: str = "", **changes: Any
) -> records.Result:
    of = spec(setting)
    watched, direction = of.watched
    failed = score is None
    test = {} if score is None else scores_beside(of, score)
    kept = test.get(watched)
    worse = 1.5 if direction == "min" else 0.5
    curve = [
        records.Point(
            step=step,
            loss=None if failed else 1 / step,
            valid=kept if step == 200 or kept is None else kept * worse,
            learning_rate=1e-3,
        )
        for step in (100, 200, 300)
    ]
    valid = test if of.selection == "metric" else {name: test[name] for name in test if name == watched}
    fields: dict[str, Any] = {
        "key": key(setting, seed, digest),
        "task": identity(setting),
        "arch": setting.arch,
        "seed": seed,
        "seeds": {"init": seed},
        "setting": setting,
        "learning_rate": 1e-3,
        "versions": VERSIONS,
        "data_digest": digest,
        "data_sizes": {"train": 100, "valid": 10, "test": 10},
        "status": "diverged" if failed else "ok",
        "reason": "loss is not finite" if failed else "",
        "steps": 300,
        "best_step": 200,
        "examples": 19200,
        "metric": of.metric,
        "direction": of.direction,
        "valid": valid,
        "test": test,
        "test_reads": 0 if failed else 1,
        "width": 32,
        "parameters": records.Parameters(embedding=0, frontend=96, core=5800, head=33),
        "state_bytes": 128,
        "curve": tuple(curve),
        "weights_sha256": files.digest([setting.label, seed]),
        "scorer": of.scorer,
        "samples": () if failed else samples(setting, of, seed, hostile),
    }
    return records.Result(**(fields | changes))


def write(root: Path, of: Plan, scores: Scores, hostile: str = "") -> None:
    """All records of a plan under `root`; `hostile` is put into every free text."""
    place_of = {arch: place for place, arch in enumerate(of.architectures)}
    measuring = root / "measured"
    for task_id in of.task_ids:
        _write_task(root, of, task_id, hostile)
        for arch in of.architectures:
            write_cell(root, of, task_id, arch, scores, hostile)
        cells = tuple(
            reaches(
                of.cell(task_id, arch),
                place,
                of.seeds,
                hostile,
                keys={
                    str(seed): key(of.cell(task_id, arch), seed, digest(task_id))
                    for seed in of.seeds
                    if scores(task_id, arch, seed) is not None
                },
            )
            for arch, place in place_of.items()
        )
        of_measuring.TaskReaches(task=task_id, cells=cells).write(measuring / "reach" / f"{task_id}.json")
        pace(task_id, of.architectures).write(measuring / "pace" / f"{task_id}.json")
    models = tuple(dict.fromkeys(spec(of.cell(task_id, of.architectures[0])).kind for task_id in of.task_ids))
    for arch, place in place_of.items():
        gates(arch, models, hostile=hostile).write(measuring / "gates" / f"{arch}.json")
        measured(arch, place, hostile).write(measuring / f"{arch}.json")
        counted(arch, place, hostile).write(measuring / "counted" / f"{arch}.json")


def digest(task_id: str) -> str:
    return files.digest(["data", task_id])


def _write_task(root: Path, of: Plan, task_id: str, hostile: str) -> None:
    setting = of.cell(task_id, of.architectures[0])
    of_task = spec(setting)
    records.Manifest(
        task=setting.task,
        settings=setting.task_settings,
        version=1,
        spec=of_task,
        sizes={"train": 100, "valid": 10, "test": 10},
        arrays={},
        defects=(f"3 duplicates taken out {hostile}",),
        sources={},
        digest=digest(task_id),
    ).write(root / "prepared" / task_id / "manifest.json")
    good, bad, trivial = CONTROLS.get(setting.task, (0.0, 1.0, 0.9))
    records.Controls(
        task=task_id,
        data_digest=digest(task_id),
        metric=of_task.metric,
        direction=of_task.direction,
        controls=(
            records.Control(name=f"mean{hostile}", kind="trivial", metrics={of_task.metric: trivial}),
            records.Control(name="worse", kind="trivial", metrics={of_task.metric: bad}),
            records.Control(name="oracle", kind="strong", metrics={of_task.metric: good}),
        ),
    ).write(root / "runs" / task_id / "controls.json")


def write_cell(
    root: Path, of: Plan, task_id: str, arch: str, scores: Scores, hostile: str = "", **changes: Any
) -> None:
    """The files of one cell; `changes` go into every result."""
    setting = of.cell(task_id, arch)
    if hostile:
        changes["reason"] = hostile
    runs = tuple(result(setting, s, scores(task_id, arch, s), digest(task_id), hostile, **changes) for s in of.seeds)
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


def gates(
    arch: str,
    models: tuple[str, ...],
    failed: Mapping[of_measuring.Gate, str] | None = None,
    hostile: str = "",
    **changes: Any,
) -> of_measuring.Gates:
    """All gates passed in each model, but those `failed` (gate -> model) in it; `changes` go into the provenance."""
    failed = failed or {}
    checks = tuple(
        of_measuring.Check(
            gate=gate,
            model=model,
            passed=failed.get(gate) != model,
            deviation=0.25 if failed.get(gate) == model else 2e-12,
            tolerance=1e-9,
            note=f"it knows what is yet to come{hostile}" if failed.get(gate) == model else f"compared{hostile}",
        )
        for gate in GATES
        for model in models
    )
    return of_measuring.Gates(arch=arch, core=CORE, version=1, checks=checks, provenance=provenance(**changes))


def quantiles(median: float, repetitions: int = 20) -> Quantiles:
    """A tenth to both sides up to the quartiles, and three up to the 99th percentile; one repetition has no spread."""
    low, high, last = (0.9, 1.1, 1.3) if repetitions > 1 else (1, 1, 1)
    return Quantiles(
        median=median,
        q25=median * low,
        q75=median * high,
        p99=median * last,
        repetitions=repetitions,
        variation=0.07 if repetitions > 1 else 0.0,
    )


def timed(
    quantity: Any, length: int, batch: int, unit: str, median: float, hostile: str, **changes: Any
) -> Measurement:
    """Something that a clock measured; kernels are listed where the sweeps meet."""
    listed = length in (MEASURE.length, CONTEXTS[0]) and batch in (1, MEASURE.batch) and changes.get("threads", 1) == 1
    fields: dict[str, Any] = {
        "quantity": quantity,
        "length": length,
        "batch": batch,
        "unit": unit,
        "value": quantiles(median),
        "path": "eager",
        "kernels": ("aten::mm", f"gemm{hostile}") if listed else (),
        "load": 0.05,
        "megahertz": 2900.0,
    }
    return Measurement(**(fields | changes))


def measured(arch: str, place: int, hostile: str = "", **changes: Any) -> of_measuring.Measured:
    """The architecture at `place` trains at 1000 / 2^place tokens/s; cost of evaluation grows as length squared.

    A streamed step takes 0.05 (place + 1) ms, one that attends 0.002 ms for each step before it: the two cross at
    25 (place + 1) steps. A step of generation takes as long as a streamed one, whatever the batch. Two threads are half
    as fast again. `changes` go into the provenance.
    """
    speed = 1000.0 / 2**place

    def of(quantity: Any, length: int, batch: int, unit: str, median: float, **changes: Any) -> Measurement:
        return timed(quantity, length, batch, unit, median, hostile, **changes)

    def step(context: int) -> float:
        return 0.002 * context if arch in ATTEND else 0.05 * (place + 1)

    def rate(quantity: Any, length: int, batch: int) -> float:
        if quantity == "generate":
            return 1e3 * batch / step(length)
        return speed if quantity == "train" else 3 * speed * 32 / length

    def sweeps(quantity: Any) -> list[Measurement]:
        places = [(n, MEASURE.batch) for n in LENGTHS] + [(n, MEASURE.tokens // n) for n in LENGTHS]
        places += [(MEASURE.length, batch) for batch in MEASURE.batches]
        usual = [of(quantity, n, batch, "tokens/s", rate(quantity, n, batch)) for n, batch in dict.fromkeys(places)]
        for n in LENGTHS:
            tokens = rate(quantity, n, MEASURE.batch)
            usual.append(of(quantity, n, MEASURE.batch, "tokens/s", 1.5 * tokens, threads=2))
            if quantity != "generate":
                usual.append(of(quantity, n, MEASURE.batch, "tokens/s", 0.8 * tokens, track="reference"))
        return usual

    def delays(quantity: Any, ms: Mapping[int, float]) -> list[Measurement]:
        return [
            of(quantity, n, 1, "ms", one / (1, 1.5)[many - 1], threads=many) for many in (1, 2) for n, one in ms.items()
        ]

    return of_measuring.Measured(
        arch=arch,
        core=CORE,
        version=1,
        settings=MEASURE.plain(),
        width=40,
        parameters=20_000,
        measurements=(
            *sweeps("train"),
            *sweeps("infer"),
            of("train", LENGTHS[-1], MEASURE.batch, "tokens/s", 0.7 * speed, form="checkpointed"),
            *delays("first_token", {n: 0.01 * n * (place + 1) for n in LENGTHS}),
            *delays("stream", {n: step(n) for n in CONTEXTS}),
            *sweeps("generate"),
        ),
        peaks=tuple(
            of_measuring.Peak(threads=n, flops=quantiles(n * 1e9), traffic=quantiles(n * 1e10)) for n in (1, 2)
        ),
        energy=f"this machine has no meter{hostile}",
        methods={"train": f"forward and backward{hostile}", "stream": f"one step{hostile}"},
        provenance=provenance(**changes),
    )


def counted(arch: str, place: int, hostile: str = "", **changes: Any) -> of_measuring.Counted:
    """Memory of training grows as length, of attention written out as its square; `changes` go into the provenance."""

    def of(quantity: Any, length: int, value: float, unit: str = "bytes", **changes: Any) -> Measurement:
        changes = {"batch": MEASURE.batch} | changes
        return Measurement(quantity=quantity, length=length, unit=unit, value=quantiles(value, 1), **changes)

    def train(length: int, peak: float, form: str = "") -> Measurement:
        own = {"parameters": 80_000, "gradients": 80_000, "optimizer": 160_000}
        return of("train_memory", length, peak, form=form, parts=own | {"activations": round(peak) - 320_000})

    def infer(length: int) -> Measurement:
        more = round(1e4 * length * (place + 1))
        return of("infer_memory", length, 80_000 + more, parts={"parameters": 80_000, "activations": more})

    def predicted(what: Any, other: int, form: str, size: int, found: int | None) -> of_measuring.Prediction:
        return of_measuring.Prediction(
            what=what, other=other, form=form, limit=MEASURE.fits, predicted=size, found=found
        )

    def work(phase: Any, length: int, flops: float, traffic: float) -> of_measuring.Work:
        batch = 1 if phase == "stream" else MEASURE.batch
        return of_measuring.Work(phase=phase, length=length, batch=batch, flops=flops, bytes=traffic)

    attends = arch in ATTEND
    fits = [predicted("length", MEASURE.batch, "", 1210, 1198), predicted("batch", MEASURE.length, "", 33, 33)]
    return of_measuring.Counted(
        arch=arch,
        core=CORE,
        version=1,
        settings=MEASURE.plain(),
        width=40,
        parameters=20_000,
        measurements=(
            *(train(n, 1e6 * n * (place + 1)) for n in LENGTHS),
            *(train(n, 320_000 + 1e5 * n * n, "naive attention") for n in LENGTHS if attends),
            *(train(n, 320_000 + 2.5e5 * n * (place + 1), "checkpointed") for n in LENGTHS),
            *(train(n, 6.4e7, "truncated") for n in LENGTHS if not attends),
            *(infer(n) for n in LENGTHS),
            *(of("state", n, 320 * n if attends else 128 * (place + 1), batch=1) for n in sorted(LENGTHS + CONTEXTS)),
            *(of("gradient", lag, 0.9 ** (lag * (place + 1)) if lag < 90 else 0.0, "norm") for lag in range(0, 100, 5)),
        ),
        work=(
            *(work("train", n, 120_000, 30_000) for n in LENGTHS),
            *(work("infer", n, 40_000, 10_000) for n in LENGTHS),
            *(work("stream", n, 40_000, 80_000) for n in CONTEXTS),
        ),
        predictions=(*fits, *([predicted("length", MEASURE.batch, "naive attention", 51, None)] if attends else [])),
        methods={"train_memory": f"bytes of the allocator{hostile}"},
        provenance=provenance(**changes),
    )


def pace(task_id: str, architectures: tuple[str, ...], **changes: Any) -> of_measuring.Pace:
    """The architecture at place p takes 10 * 2^p ms a training step, p + 1 ms an item; `changes` go into the record."""
    cells = tuple(
        of_measuring.CellTime(
            arch=arch,
            step=quantiles(0.01 * 2**place),
            item=quantiles(0.001 * (place + 1)),
            flops=1e8 * (place + 1),
        )
        for place, arch in enumerate(architectures)
    )
    fields: dict[str, Any] = {"task": task_id, "cells": cells, "settings": MEASURE.plain()}
    return of_measuring.Pace(**(fields | {"provenance": provenance()} | changes))


def reach(seed: int, kind: Any, trained: bool, horizon: int | None) -> of_measuring.Reach:
    """An effect that halves just before the horizon, and goes on so; None: it never falls."""
    effects = tuple(seed * (1.0 if horizon is None else 2 ** (-lag / (horizon - 0.5))) for lag in LAGS)
    return of_measuring.Reach(seed=seed, kind=kind, trained=trained, lags=LAGS, effects=effects, horizon=horizon)


def reaches(
    setting: Setting, place: int, seeds: tuple[int, ...], hostile: str = "", **changes: Any
) -> of_measuring.Reaches:
    """Horizons at 2 before training and 4 (place + 1) after it, beyond all lags of what attends; nothing of tasks
    whose answers are written or whose input is changed by a frontend.

    Twice and four times as long, the score is 0.1 (place + 2) and 0.1 (place + 4); what attends cannot read the latter.
    """
    of = spec(setting)
    fields: dict[str, Any] = {
        "task": identity(setting),
        "arch": setting.arch,
        "keys": {},
        "trained_length": of.length,
        "reaches": (),
        "extrapolations": (),
        "bits": {},
        "state_bytes": 128,
        "provenance": provenance(),
    }
    if of.outputs in ("sequence", "ctc", "stream") or of.frontend != "linear":
        return of_measuring.Reaches(**(fields | {"skipped": f"its answer is written{hostile}"} | changes))
    horizon = None if setting.arch in ATTEND else 4 * (place + 1)
    kinds: tuple[Any, ...] = ("gradient", "intervention")
    found = tuple(
        reach(seed, kind, trained, horizon if trained else 2)
        for seed in seeds
        for kind in kinds
        for trained in (False, True)
    )
    unread = setting.arch in ATTEND
    longer = tuple(
        of_measuring.Extrapolation(
            seed=seed,
            length=times * of.length,
            score=None if unread and times == 4 else 0.1 * (place + times),
        )
        for seed in seeds
        for times in (2, 4)
    )
    bits = {str(seed): 20.0 / (place + 1) for seed in seeds} if setting.task == "recall" else {}
    contexts = tuple(
        of_measuring.Allowed(seed=seed, steps=steps, metric="mse", score=score)
        for seed in seeds
        for steps, score in ((1, 0.8), (8, 0.1))
    )
    found_in = {"reaches": found, "extrapolations": longer, "bits": bits, "contexts": contexts}
    return of_measuring.Reaches(**(fields | found_in | changes))


def fake_archs(folder: Path, names: tuple[str, ...]) -> Path:
    """A folder of architecture files, as far as planning reads them."""
    folder.mkdir()
    for name in names:
        core = "class Core:\n    MEMORY = True\n" if name in ATTEND else "class Core:\n    def carry(self): ...\n"
        text = f"VERSION = 1\nSETTINGS = {{'layers': 1, 'dropout': 0.0}}\n{core if name in (*ATTEND, *CARRY) else ''}"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def summary(root: Path, of: Plan, scores: Scores, hostile: str = "") -> Summary:
    """The summary of planted records, with planted architectures and sources."""
    url = "javascript:alert(4)" if hostile else "https://example.org/data"
    source = types.SimpleNamespace(url=url, licence=hostile, citation=f"LeCun {hostile}", defects=(f"none {hostile}",))
    names = [name for cell in of.cells for name in tasks.build(cell.task, cell.task_settings).sources()]
    write(root, of, scores, hostile)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(archs, "FOLDER", fake_archs(root / "archs", of.architectures))
        monkeypatch.setattr(sources, "read", lambda path: dict.fromkeys(names, source))
        return analyse.summarise(of, root)
