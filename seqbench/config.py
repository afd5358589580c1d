"""The configuration: params.yaml over a preset, typed, validated, resolved into a plan.

Layers, later over earlier: the defaults in the code, `workflow/presets/<preset>.yaml`,
`overrides` of params.yaml (same keys as a preset), `--config` of the command line. Training
settings hang on the task alone, so that no architecture can be given a private one.

seqbench/presets.py has the records of these files, seqbench/cells.py resolves a cell of the grid,
seqbench/variants.py what runs beside the grid; what others need of them is here by name.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from seqbench import archs, files, tasks
from seqbench.cells import RANGES, cell_of, core_of, defaults, identity, task_settings, unique
from seqbench.errors import InputError, MachineError, nearest
from seqbench.presets import (
    PARAMS,
    PRESETS,
    Ablation,
    Change,
    Device,
    MeasureSettings,
    Names,
    Params,
    Preset,
    Seed,
    merge,
    read,
    scalars,
    typed,
)
from seqbench.records import Record, Setting
from seqbench.variants import BASE, PUBLISHED, ROWS, Remake, TaskData, beside, check_names, place_of, rows

__all__ = [
    "PARAMS",
    "PRESETS",
    "RANGES",
    "MeasureSettings",
    "Plan",
    "Preset",
    "TaskData",
    "identity",
    "merge",
    "read",
    "scalars",
    "typed",
]


class Plan(Record):
    """Everything a run of the pipeline will do."""

    preset: str
    preset_reason: str
    device: Device
    device_reason: str
    mirror: str | None
    """SEQBENCH_MIRROR of the environment, else that of the configuration."""
    seeds: tuple[Seed, ...]
    cells: tuple[Setting, ...]
    """The grid: every task id with every architecture."""
    variants: tuple[Setting, ...] = ()
    """Cells beside the grid: of ablations, with those of their bases that the grid has not, and of published rows."""
    variant_seeds: dict[str, tuple[Seed, ...]] = {}
    """By task id and label, with a space between: the seeds of variants that have seeds of their own."""
    ablations: dict[str, Ablation] = {}
    """The ablations that are run."""
    published: dict[str, str] = {}
    """By the name of each published row that is run: its task id and label, or the task id of its control."""
    controls: tuple[TaskData, ...] = ()
    """Tasks whose controls were published."""
    measure: MeasureSettings
    architectures: tuple[str, ...]
    cores: dict[str, dict[str, Any]]
    """Settings of each architecture's core outside any task: what `measure` times."""

    @property
    def task_ids(self) -> list[str]:
        """Task ids of the grid, in the order of the configuration."""
        return list(dict.fromkeys(identity(cell) for cell in self.cells))

    @property
    def control_ids(self) -> list[str]:
        """Task ids whose controls were published."""
        return [data.id for data in self.controls]

    @property
    def data(self) -> dict[str, TaskData]:
        """By task id, all data that are prepared and have controls: of the grid first, then what is beside it."""
        cells = (TaskData(task=c.task, settings=c.task_settings) for c in (*self.cells, *self.variants))
        return {data.id: data for data in (*cells, *self.controls)}

    def cell(self, task_id: str, label: str) -> Setting:
        """The setting of one cell: of the grid by its architecture, of a variant by its label (lstm+no_clipping)."""
        for cell in (*self.cells, *self.variants):
            if (identity(cell), cell.label) == (task_id, label):
                return cell
        ids = {identity(cell) for cell in (*self.cells, *self.variants) if cell.label == label}
        labels = {cell.label for cell in (*self.cells, *self.variants)}
        word, known = (task_id, ids) if ids else (label, labels)
        raise InputError(f"no cell '{task_id} {label}' in the plan", str(PARAMS), nearest(word, known))

    def cells_of(self, word: str, label: str) -> list[Setting]:
        """The cells of that label that a word means: a task id itself, or a task's name (all its task ids)."""
        ids = self.expand(word, beside=True)
        found = [cell for cell in (*self.cells, *self.variants) if cell.label == label and identity(cell) in ids]
        return found or [self.cell(ids[0], label)]  # which says what is missing

    def measured_on(self, task_id: str) -> list[Setting]:
        """Cells whose pace and reach are measured: of a task of the grid, and of ablations on it with their bases."""
        beside = (c for c in self.variants if not c.variant.startswith(PUBLISHED))
        return [cell for cell in (*self.cells, *beside) if identity(cell) == task_id]

    def seeds_of(self, task_id: str, label: str) -> tuple[Seed, ...]:
        """The seeds of a cell."""
        return self.variant_seeds.get(f"{task_id} {label}", self.seeds)

    def expand(self, word: str, beside: bool = False) -> list[str]:
        """Task ids of the grid meant by a word: a task id itself, or a task's name (all its knob's values).

        With `beside` also those that are prepared for what runs beside the grid.
        """
        ids = list(self.data) if beside else self.task_ids
        found = [t for t in ids if word in (t, tasks.name_of(t))]
        if not found:
            known = [*ids, *map(tasks.name_of, ids)]
            raise InputError(f"unknown task '{word}'", f"{PARAMS}, tasks", nearest(word, set(known)))
        return found


# ---------------------------------------------------------------- devices and presets


def cuda_devices() -> int:
    """CUDA devices visible to this process (CUDA_VISIBLE_DEVICES counts), without importing torch."""
    if importlib.metadata.version("torch").endswith("+cpu"):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _choose_device(wanted: str, found: int) -> tuple[Device, str]:
    if wanted == "cuda" and not found:
        raise MachineError(
            "a CUDA device was asked for and none is visible",
            f"{PARAMS}, device = 'cuda'",
            "set device: cpu, or check the driver, CUDA_VISIBLE_DEVICES and that torch is a CUDA build",
        )
    if wanted == "cpu":
        return "cpu", "pinned in the configuration"
    if wanted == "cuda":
        return "cuda", "pinned in the configuration"
    return ("cuda", f"{found} CUDA device(s) visible") if found else ("cpu", "no CUDA device is visible")


def _choose_preset(wanted: str, device: Device, reason: str) -> tuple[str, str]:
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if wanted == "auto":
        return ("full" if device == "cuda" else "quick"), f"auto: {reason}"
    if wanted not in known:
        raise InputError(f"unknown preset '{wanted}'", f"{PARAMS}, preset", nearest(wanted, [*known, "auto"]))
    return wanted, "pinned in the configuration"


# ---------------------------------------------------------------- resolving


def resolve(raw: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a configuration (default: params.yaml of this folder)."""
    params = typed(Params, read() if raw is None else dict(raw), str(PARAMS))
    device, device_reason = _choose_device(params.device, cuda_devices())
    name, preset_reason = _choose_preset(params.preset, device, device_reason)
    path = PRESETS / f"{name}.yaml"
    base = read(path)
    typed(Preset, base, str(path))
    where = f"{path} + {PARAMS}, overrides" if params.overrides else str(path)
    preset = typed(Preset, merge(base, params.overrides), where)
    words, architectures = _task_words(params, name), unique(params.architectures, "architectures")
    for section, known in ((preset.tasks, tasks.names()), (preset.architectures, archs.names())):
        for word in section:
            if word not in known:
                raise InputError(f"unknown name '{word}'", where, nearest(word, known))
    check_names(preset.ablations, where)
    cells = tuple(
        cell_of(preset, task, settings, arch, where)
        for task in words
        for settings in task_settings(task, preset, where)
        for arch in architectures
    )
    chosen = _named(params.ablations, name, "ablations", lambda: preset.ablations)
    ablations = {word: preset.ablations[word] for word in chosen}
    published = _named(params.published, name, "published", rows)
    other = beside(ablations, published, preset, cells, architectures, where)
    found = Plan(
        preset=name,
        preset_reason=preset_reason,
        device=device,
        device_reason=device_reason,
        mirror=os.environ.get("SEQBENCH_MIRROR") or params.mirror,
        seeds=unique(params.seeds or preset.seeds, "seeds"),
        cells=cells,
        variants=other.cells,
        variant_seeds=other.seeds,
        ablations=ablations,
        published=other.published,
        controls=other.controls,
        measure=preset.measure,
        architectures=architectures,
        cores={arch: core_of(preset, {}, arch, where) for arch in architectures},
    )
    _check_seeds(found, where)
    return found


def _check_seeds(plan: Plan, where: str) -> None:
    for cell in (*plan.cells, *plan.variants):
        both = set(plan.seeds_of(identity(cell), cell.label)) & set(cell.tune.seeds)
        if both:
            raise InputError(
                f"seed {min(both)} is both a tuning seed and a reporting seed",
                f"{ROWS}, {place_of(cell)}" if cell.variant.startswith(PUBLISHED) else f"{where}, tune.seeds",
                "tune on seeds that no reported run uses",
            )


def _task_words(params: Params, preset: str) -> tuple[str, ...]:
    words = params.tasks
    if isinstance(words, dict):
        if preset not in words:
            raise InputError(f"no tasks for preset '{preset}'", f"{PARAMS}, tasks", f"add 'tasks: {preset}: [...]'")
        words = words[preset]
    if not words:
        raise InputError("no task is named", f"{PARAMS}, tasks", nearest("", tasks.names()))
    for word in words:
        tasks.find(word)
    return unique(words, "tasks")


def _named(names: Names, preset: str, key: str, known: Callable[[], Iterable[str]]) -> tuple[str, ...]:
    """The names that a key of params.yaml gives for this preset, all of them `known`, which is only asked for some."""
    words = names.get(preset, ()) if isinstance(names, dict) else names
    choices = set(known()) if words else set()
    for word in words:
        if word not in choices:
            raise InputError(f"unknown name '{word}'", f"{PARAMS}, {key}", nearest(word, choices))
    return unique(words, key)


def load(changes: Mapping[str, Any] | None = None) -> Plan:
    """The plan of params.yaml with some of its keys changed (from the command line)."""
    return resolve(merge(read(), changes or {}))


# ---------------------------------------------------------------- the command of one cell


def alone(word: str, label: str) -> dict[str, Any]:
    """The keys of params.yaml that leave, of all that runs beside the grid, what one label on a task needs."""
    arch, _, variant = label.partition("+")
    if variant.startswith(PUBLISHED):
        task = tasks.name_of(word)
        mine = [
            name
            for name, row in rows().items()
            if isinstance(row, Remake) and (row.task, row.architecture) == (task, arch)
        ]
        return {"ablations": (), "published": mine}
    return {"ablations": [variant.removesuffix(BASE)] if variant else [], "published": []}


def reproduce(plan: Plan, task_id: str, label: str, seed: int) -> str:
    """The command that makes one run again on a clone of this version, whatever its params.yaml says.

    What the configuration changed against the preset is spelled out as `--set KEY=VALUE`.
    """
    cell = plan.cell(task_id, label)
    command = ["seqbench", "train", task_id, label, "--seed", str(seed), "--preset", plan.preset]
    if cell.variant.startswith(PUBLISHED):
        return " ".join(command)  # no preset changes it
    raw = read(PRESETS / f"{plan.preset}.yaml")
    preset = typed(Preset, raw, plan.preset)
    name = cell.variant.removesuffix(BASE)
    ablation = plan.ablations.get(name)
    changes = _changes(preset, raw, cell, _made_by(ablation, cell.variant))
    if ablation:
        own = preset.ablations.get(name)
        old = own.plain() if own else Change().plain() | {"of": Change().plain()}
        changes |= {f"ablations.{name}.{key}": v for key, v in ablation.plain().items() if old.get(key) != v}
    options = [f"--set {shlex.quote(f'{key}={files.canonical(value)}')}" for key, value in changes.items()]
    return " ".join([*command, *options])


def _made_by(ablation: Ablation | None, variant: str) -> Change:
    """All that an ablation changes in a cell of that variant."""
    if not ablation:
        return Change()
    if variant.endswith(BASE):
        return ablation.of
    of = ablation.of
    return Change(
        core=of.core | ablation.core, train=of.train | ablation.train, parameters=ablation.parameters or of.parameters
    )


def _changes(preset: Preset, raw: Mapping[str, Any], cell: Setting, made: Change) -> dict[str, Any]:
    """Keys of the preset that make it give this cell, but for what its ablation has made."""
    kind = tasks.find(cell.task)
    given = raw.get("tasks", {}).get(cell.task, {}).get("data", {})
    known = defaults(kind) | (given if isinstance(given, dict) else {})  # --set replaces a list
    if kind.KNOB in known:
        values = known[kind.KNOB] if isinstance(known[kind.KNOB], list | tuple) else [known[kind.KNOB]]
        own = cell.task_settings[kind.KNOB]
        known[kind.KNOB] = own if own in values else None
    plain = cell_of(preset, cell.task, known, cell.arch, cell.task)
    task = f"tasks.{cell.task}"
    places: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], Iterable[str]]] = {
        f"{task}.data": (known, cell.task_settings, ()),
        f"{task}.train": (plain.train.plain(), cell.train.plain(), made.train),
        f"{task}.tune": (plain.tune.plain(), cell.tune.plain(), ()),
        f"architectures.{cell.arch}": (plain.core, cell.core, made.core),
        task: (
            {"parameters": plain.parameters},
            {"parameters": cell.parameters},
            ("parameters",) if made.parameters else (),
        ),
    }
    return {
        f"{place}.{key}": value
        for place, (old, new, out) in places.items()
        for key, value in new.items()
        if old.get(key) != value and key not in out
    }
