"""Reading records, and refusing those that break the rules of evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from seqbench import archs, config, sources, tasks
from seqbench.analyse import cores
from seqbench.analyse.summary import DataSource, Evidence, TaskSummary
from seqbench.config import Plan
from seqbench.errors import DataError
from seqbench.files import sha256_file
from seqbench.measurements import Counted, Gates, Measured, Pace, Reaches, TaskReaches
from seqbench.records import (
    Controls,
    Manifest,
    Provenance,
    Result,
    RunProvenances,
    Runs,
    Setting,
    Tuned,
    run_key,
)
from seqbench.schedule import best_point

T = TypeVar("T")


def task(plan: Plan, task_id: str, root: Path) -> TaskSummary:
    """A task id's data and controls. Raises DataError where they do not belong together."""
    data = plan.data[task_id]
    kind = tasks.find(data.task)
    path = root / "prepared" / task_id / "manifest.json"
    manifest = Manifest.read(path, f"prepare it: seqbench prepare {task_id}")
    if (manifest.task, manifest.settings) != (data.task, data.settings):
        raise DataError(
            "prepared with other settings than the plan's", str(path), f"prepare again: seqbench prepare {task_id}"
        )
    controls = _controls(root / "runs" / task_id / "controls.json", task_id, manifest)
    level = data.settings.get(kind.KNOB)
    number = level if isinstance(level, int | float) and not isinstance(level, bool) else None
    return TaskSummary(
        id=task_id,
        name=data.task,
        title=kind.TITLE,
        family=kind.FAMILY,
        knob=kind.KNOB,
        level=None if number is None else float(number),
        memory=kind.MEMORY,
        value=str(level) if kind.KNOB else "",
        spec=manifest.spec,
        seconds=kind.SECONDS,
        sizes=manifest.sizes,
        defects=manifest.defects,
        data_digest=manifest.digest,
        sources=_sources(tasks.build(data.task, data.settings).sources(), root),
        controls=controls.controls,
        differences=cores.differences(manifest.spec, plan.architectures),
    )


def _controls(path: Path, task_id: str, manifest: Manifest) -> Controls:
    fix = f"make them again: seqbench control {task_id}"
    controls = Controls.read(path, fix)
    if controls.task != task_id or controls.data_digest != manifest.digest:
        raise DataError("controls of other data than what is prepared", str(path), fix)
    trivial = [control for control in controls.controls if control.kind == "trivial"]
    if not trivial:
        raise DataError("no trivial control", str(path), f"add one to the task {manifest.task}")
    for control in controls.controls:
        if not math.isfinite(control.metrics.get(manifest.spec.metric, math.nan)):
            raise DataError(f"control '{control.name}' has no finite {manifest.spec.metric}", str(path), fix)
    return controls


def _sources(names: tuple[str, ...], root: Path) -> tuple[DataSource, ...]:
    known = sources.read(root / "sources.toml") if names else {}
    return tuple(
        DataSource(
            name=name,
            url=known[name].url,
            licence=known[name].licence,
            citation=known[name].citation,
            defects=tuple(known[name].defects),
        )
        for name in names
    )


def beside(plan: Plan, root: Path) -> tuple[TaskSummary, ...]:
    """Data and controls of the task ids that are not in the grid: those of variants and of published controls."""
    return tuple(task(plan, task_id, root) for task_id in plan.data if task_id not in plan.task_ids)


def variants(plan: Plan, root: Path) -> tuple[Evidence, ...]:
    """The runs of every cell beside the grid, checked as those of the grid are."""
    ids = dict.fromkeys(config.identity(cell) for cell in plan.variants)
    of = {task_id: task(plan, task_id, root) for task_id in ids}
    return tuple(cell(plan, of[config.identity(one)], one.label, root) for one in plan.variants)


def cell(plan: Plan, of: TaskSummary, label: str, root: Path) -> Evidence:
    """The runs of a cell, one per seed of the plan, each checked. Seeds outside the plan are left aside."""
    setting, seeds = plan.cell(of.id, label), plan.seeds_of(of.id, label)
    folder = root / "runs" / of.id / label
    path = folder / "results.json"
    again = f"train it: seqbench train {of.id} {label}"
    tuned_path = root / "tuned" / of.id / f"{label}.json"
    tuned = Tuned.read(tuned_path, f"tune it: seqbench tune {of.id} {label}")
    runs = Runs.read(path, again)
    for record, place in ((tuned, tuned_path), (runs, path)):
        if (record.task, record.arch) != (of.id, label):
            raise DataError(f"holds the cell {record.task} {record.arch}", str(place), again)
    by_seed = {result.seed: result for result in runs.results}
    if len(by_seed) != len(runs.results):
        raise DataError("a seed stands twice", str(path), again)
    for seed in seeds:
        if seed not in by_seed:
            raise DataError(f"seed {seed} is missing", str(path), again)
        _check(by_seed[seed], of, setting, tuned, path, again)
    return Evidence(
        task=of.id,
        arch=setting.arch,
        setting=setting,
        tuned=tuned,
        results=tuple(by_seed[seed] for seed in seeds),
        provenances=_provenances(seeds, folder / "provenance.json", again),
        commands=tuple(config.reproduce(plan, of.id, label, seed) for seed in seeds),
        sha256=sha256_file(path),
    )


def _check(result: Result, of: TaskSummary, setting: Setting, tuned: Tuned, path: Path, again: str) -> None:
    """Refuse a run that is foreign, stale, tampered with, or that saw the test split other than once."""
    where = f"{path}, seed {result.seed}"
    key = run_key(result.setting, result.learning_rate, result.seed, result.versions, result.data_digest)
    if key != result.key or (result.task, result.arch) != (of.id, setting.arch):
        raise DataError("the record does not match its key: it was changed by hand", where, again)
    if result.data_digest != of.data_digest:
        raise DataError("trained on other data than what is prepared (data_digest differs)", where, again)
    decides = setting.model_copy(update={"tune": result.setting.tune})  # tuning is checked by the rate it chose
    stale = {
        "setting": result.setting != decides,
        "learning rate": result.learning_rate != tuned.learning_rate,
        "version of the core": result.versions.core != archs.version(setting.arch),
    }
    for what, differs in stale.items():
        if differs:
            raise DataError(f"stale: the {what} differs from the plan's; run again", where, again)
    if (result.metric, result.direction) != (of.spec.metric, of.spec.direction):
        raise DataError(f"scored by {result.metric}, the task by {of.spec.metric}", where, again)
    if result.status == "ok":
        if result.test_reads != 1:
            raise DataError(f"the test split was read {result.test_reads} times, not once", where, again)
        if not all(map(math.isfinite, result.test.values())) or result.score is None:
            raise DataError(f"status ok without a finite {result.metric}", where, again)
        _check_choice(result, of, where, again)


def _check_choice(result: Result, of: TaskSummary, where: str, again: str) -> None:
    """Refuse a run whose weights are not those of the best look at the validation split, by the task's own score."""
    watched, direction = of.spec.watched
    best = best_point(list(result.curve), direction)
    if best is None or not math.isfinite(result.valid.get(watched, math.nan)):
        raise DataError(f"status ok without a finite {watched} on validation", where, again)
    if best.step != result.best_step:
        what = f"step {result.best_step} was taken, the best {watched} on validation is that of step {best.step}"
        raise DataError(what, where, again)


def _provenances(seeds: Sequence[int], path: Path, again: str) -> tuple[Provenance, ...]:
    runs = RunProvenances.read(path, again).runs
    for seed in seeds:
        if str(seed) not in runs:
            raise DataError(f"no provenance of seed {seed}", str(path), again)
    return tuple(runs[str(seed)] for seed in seeds)


def gates(plan: Plan, arch: str, root: Path) -> Gates:
    """The gates of an architecture, as its file is now."""
    path, fix = root / "measured" / "gates" / f"{arch}.json", f"check it: seqbench gates {arch}"
    found = Gates.read(path, fix)
    _same(found.arch, arch, path, fix)
    if (found.core, found.version) != (plan.cores[arch], archs.version(arch)):
        raise DataError("stale: another version of the architecture, or other settings, were checked", str(path), fix)
    return found


def measured(plan: Plan, arch: str, root: Path) -> Measured:
    """What the clock said of an architecture, as its file and the settings are now."""
    path, fix = root / "measured" / f"{arch}.json", f"measure it: seqbench measure {arch}"
    found = Measured.read(path, fix)
    _same(found.arch, arch, path, fix)
    _current(found, plan, path, fix)
    return found


def counted(plan: Plan, arch: str, root: Path) -> Counted:
    """What was counted of an architecture, as its file and the settings are now."""
    path, fix = root / "measured" / "counted" / f"{arch}.json", f"count it: seqbench count {arch}"
    found = Counted.read(path, fix)
    _same(found.arch, arch, path, fix)
    _current(found, plan, path, fix)
    return found


def _current(found: Measured | Counted, plan: Plan, path: Path, fix: str) -> None:
    """Refuse what was measured of another core, or otherwise than the plan says."""
    stale = {
        "with other settings of the core": found.core != plan.cores[found.arch],
        "from another version of the architecture": found.version != archs.version(found.arch),
        "with other settings than the plan's": found.settings != plan.measure.plain(),
    }
    for how, differs in stale.items():
        if differs:
            raise DataError(f"stale: made {how}", str(path), fix)


def pace(plan: Plan, task_id: str, root: Path) -> Pace:
    """How long the models of a task take, those of the plan's architectures."""
    path, fix = root / "measured" / "pace" / f"{task_id}.json", f"measure it: seqbench pace {task_id}"
    found = Pace.read(path, fix)
    _same(found.task, task_id, path, fix)
    if found.settings != plan.measure.plain():
        raise DataError("stale: measured with other settings than the plan's", str(path), fix)
    known = {one.arch: one for one in (*found.cells, *found.variants)}
    labels = [cell.label for cell in plan.measured_on(task_id) if cell.variant]
    grid, beside = (tuple(_of(known, label, path, fix) for label in many) for many in (plan.architectures, labels))
    return found.model_copy(update={"cells": grid, "variants": beside})


def reaches(plan: Plan, task_id: str, cells: Sequence[Evidence], root: Path) -> tuple[Reaches, ...]:
    """How far the runs of a task remember: those of its `cells`, no others. Seeds outside the plan are left aside.

    Of a variant `arch` is the label.
    """
    path, fix = root / "measured" / "reach" / f"{task_id}.json", f"find it: seqbench reach {task_id}"
    found = TaskReaches.read(path, fix)
    _same(found.task, task_id, path, fix)
    known = {one.arch: one for one in (*found.cells, *found.variants)}
    return tuple(_reaches(plan, cell, _of(known, cell.setting.label, path, fix), path, fix) for cell in cells)


def _reaches(plan: Plan, cell: Evidence, found: Reaches, path: Path, fix: str) -> Reaches:
    """Refuse what was found of other runs than those that finished."""
    keys = {seed: key for seed, key in found.keys.items() if int(seed) in plan.seeds}
    if keys != {str(run.seed): run.key for run in cell.results if run.status == "ok"}:
        what = f"stale: other runs of {cell.setting.label} were looked at than those that are there"
        raise DataError(what, str(path), fix)
    return found.model_copy(
        update={
            "keys": keys,
            "reaches": tuple(one for one in found.reaches if one.seed in plan.seeds),
            "extrapolations": tuple(one for one in found.extrapolations if one.seed in plan.seeds),
            "contexts": tuple(one for one in found.contexts if one.seed in plan.seeds),
            "bits": {seed: bits for seed, bits in found.bits.items() if int(seed) in plan.seeds},
        }
    )


def _same(found: str, wanted: str, path: Path, fix: str) -> None:
    if found != wanted:
        raise DataError(f"holds measurements of {found}", str(path), fix)


def _of(by_arch: dict[str, T], arch: str, path: Path, fix: str) -> T:
    if arch not in by_arch:
        raise DataError(f"nothing of {arch} is in it", str(path), fix)
    return by_arch[arch]
