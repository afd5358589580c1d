"""The configuration: params.yaml over a preset, typed, validated, resolved into a plan.

Layers, later over earlier: the defaults in the code, `workflow/presets/<preset>.yaml`,
`overrides` of params.yaml (same keys as a preset), `--config` of the command line. Training
settings hang on the task alone, so that no architecture can be given a private one.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import shlex
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from seqbench import archs, files, tasks
from seqbench.errors import InputError, MachineError, nearest
from seqbench.records import Count, NonNegative, Positive, Record, Setting, TrainSettings, TuneSettings

PARAMS = Path("params.yaml")
PRESETS = Path("workflow/presets")

Seed = Annotated[int, Field(ge=0)]
Device = Literal["cpu", "cuda"]
R = TypeVar("R", bound=Record)
T = TypeVar("T")


class MeasureSettings(Record):
    """What is timed, counted and probed, and how often. Lengths are in steps, batches in sequences."""

    parameters: Count = 100_000
    """Of the synthetic model that stands for an architecture."""
    lengths: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 256, 1024)
    """Swept at a constant batch, and at a constant number of tokens."""
    batch: Count = 32
    tokens: Count = 8192
    """Tokens per batch of the second sweep over lengths."""
    batches: tuple[Count, ...] = (1, 8, 32, 128)
    """Swept at one length."""
    length: Count = 256
    """Of the sweep over batches."""
    contexts: tuple[Count, ...] = (10, 100, 1000)
    """Steps before the streamed one, and before generation begins."""
    generate: Count = 16
    """Steps that a measurement of generation writes."""
    all_threads: bool = True
    """On a CPU, also with a thread per core."""
    reference: bool = True
    """Also the track in which every architecture runs as plain PyTorch."""
    compile: bool = False
    """Whether torch.compile is among the paths that the best is chosen from."""
    repetitions: Count = 30
    seconds: NonNegative = 2.0
    """Repetitions of one point end after this many seconds (at least three are made)."""
    visits: Count = 3
    """Times that a point is visited, spread over the sweep; repetitions and seconds are divided among them."""
    budget: Positive = 60.0
    """Seconds that one point may take in all; one that takes longer is recorded as `time_limit`."""
    memory: Count = 8 * 2**30
    """Bytes that one point may allocate on a CPU; one that needs more is recorded as `out_of_memory`."""
    memory_lengths: Annotated[tuple[Count, ...], Field(min_length=3)] = (64, 128, 256, 512, 1024)
    """Of the curves of peak memory."""
    window: Count = 64
    """Steps between two cuts of truncated back-propagation, and between two kept states of checkpointing."""
    fits: Count = 2**28
    """Bytes for which the largest length and batch are predicted, then tried."""
    gradient_length: Count = 200
    gradient_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    reach_items: Count = 128
    """Validation items that a horizon is averaged over."""
    reach_lags: Count = 24
    """Points of a horizon's curve, about."""
    stretch: tuple[Count, ...] = (2, 4)
    """Times the trained length at which trained models are scored again."""


def _several(given: Any) -> Any:
    return (given,) if isinstance(given, Mapping) else tuple(given) if isinstance(given, list) else given


class TaskSection(Record):
    """A preset's word on one task."""

    data: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_several), Field(min_length=1)] = ({},)
    """Settings of the task: one mapping, or a list of them, each for task ids of its own."""
    train: dict[str, Any] = {}
    tune: dict[str, Any] = {}
    core: dict[str, Any] = {}
    parameters: Count | None = None


class Preset(Record):
    """The keys of a preset file, and of `overrides`."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    parameters: Count = 100_000
    core: dict[str, Any] = {}
    """For every architecture that has the setting: layers, dropout."""
    train: TrainSettings = TrainSettings()
    tune: TuneSettings = TuneSettings()
    measure: MeasureSettings = MeasureSettings()
    tasks: dict[str, TaskSection] = {}
    architectures: dict[str, dict[str, Any]] = {}
    """Settings that only this architecture has: heads, forget_bias."""


class Params(Record):
    """The keys of params.yaml."""

    preset: str = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mirror: str | None = None
    tasks: tuple[str, ...] | dict[str, tuple[str, ...]]
    """A list, or one list per preset."""
    architectures: Annotated[tuple[str, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = None
    overrides: dict[str, Any] = {}


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
    measure: MeasureSettings
    architectures: tuple[str, ...]
    cores: dict[str, dict[str, Any]]
    """Settings of each architecture's core outside any task: what `measure` times."""

    @property
    def task_ids(self) -> list[str]:
        """Task ids in the order of the configuration."""
        return list(dict.fromkeys(identity(cell) for cell in self.cells))

    def cell(self, task_id: str, arch: str) -> Setting:
        """The setting of one cell."""
        for cell in self.cells:
            if (identity(cell), cell.arch) == (task_id, arch):
                return cell
        known = self.task_ids if arch in self.architectures else self.architectures
        word = task_id if arch in self.architectures else arch
        raise InputError(f"no cell '{task_id} {arch}' in the plan", str(PARAMS), nearest(word, known))

    def expand(self, word: str) -> list[str]:
        """Task ids meant by a word: a task id itself, or a task's name (all its knob's values)."""
        found = [t for t in self.task_ids if word in (t, tasks.name_of(t))]
        if not found:
            known = [*self.task_ids, *map(tasks.name_of, self.task_ids)]
            raise InputError(f"unknown task '{word}'", f"{PARAMS}, tasks", nearest(word, set(known)))
        return found


def identity(setting: Setting) -> str:
    """The task id of a cell."""
    return tasks.task_id(setting.task, setting.task_settings)


# ---------------------------------------------------------------- reading


def read(path: Path = PARAMS) -> dict[str, Any]:
    """Read a YAML mapping."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("the file is missing", str(path), "run seqbench in the folder of a clone") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not valid YAML ({' '.join(str(error).split())})", str(path), "mend the YAML") from None
    if not isinstance(data, dict):
        raise InputError("not a mapping of keys", str(path), "write 'key: value' lines")
    return data


def typed(kind: type[R], data: Any, where: str) -> R:
    """Validate; the first complaint becomes an InputError with the key's path and the nearest known key."""
    try:
        return kind.from_data(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        place = ".".join(path)
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"unknown key '{path[-1]}'", f"{where}, {place}", nearest(path[-1], _keys(kind, path[:-1]))
            ) from None
        if first["type"] == "missing":
            raise InputError(first["msg"], f"{where}, {place}", f"add '{path[-1]}: ...' there") from None
        value = f" = {first['input']!r}"
        raise InputError(first["msg"], f"{where}, {place}{value}", f"give {place} a value of that kind") from None
    except (TypeError, ValueError) as error:
        raise InputError(str(error), where, "use plain numbers, texts, lists and mappings") from None


def _keys(kind: type[Record], path: list[str]) -> Iterable[str]:
    """Known keys at a path inside a record."""
    known: Any = kind
    for part in path:
        field = getattr(known, "model_fields", {}).get(part)
        inner = field.annotation if field else known
        known = getattr(inner, "__args__", [inner])[-1]
    return getattr(known, "model_fields", {})


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, mapping by mapping; lists and values are replaced."""
    merged = dict(low)
    for key, value in high.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def scalars(value: Any) -> Any:
    """Texts that spell a number, a truth value or null, as what they spell.

    Snakemake hands on what stands inside a list or mapping of its --config as text.
    """
    if isinstance(value, Mapping):
        return {key: scalars(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [scalars(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        with contextlib.suppress(yaml.YAMLError):
            spelt = yaml.safe_load(value)
            return spelt if spelt is None or isinstance(spelt, int | float) else value
    return value


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
    words = _task_words(params, name)
    for section, known in ((preset.tasks, tasks.names()), (preset.architectures, archs.names())):
        for word in section:
            if word not in known:
                raise InputError(f"unknown name '{word}'", where, nearest(word, known))
    cells = tuple(
        _cell(preset, task, settings, arch, where)
        for task in words
        for settings in _variants(task, preset, where)
        for arch in _architectures(params)
    )
    seeds = params.seeds or preset.seeds
    for cell in cells:
        both = set(seeds) & set(cell.tune.seeds)
        if both:
            raise InputError(
                f"seed {min(both)} is both a tuning seed and a reporting seed",
                f"{where}, tune.seeds",
                "tune on seeds that no reported run uses",
            )
    return Plan(
        preset=name,
        preset_reason=preset_reason,
        device=device,
        device_reason=device_reason,
        mirror=os.environ.get("SEQBENCH_MIRROR") or params.mirror,
        seeds=_unique(seeds, "seeds"),
        cells=cells,
        measure=preset.measure,
        architectures=_architectures(params),
        cores={arch: _core(preset, {}, arch, where) for arch in _architectures(params)},
    )


def _unique(values: tuple[T, ...], key: str) -> tuple[T, ...]:
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise InputError(f"{twice[0]!r} stands twice", f"{PARAMS}, {key}", "name it once")
    return values


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
    return _unique(words, "tasks")


def _architectures(params: Params) -> tuple[str, ...]:
    return _unique(params.architectures, "architectures")


def _variants(task: str, preset: Preset, where: str) -> list[dict[str, Any]]:
    """Settings of each task id of a task: a list under its knob makes one task id per value."""
    given = preset.tasks.get(task, TaskSection()).data
    place = f"{where}, tasks.{task}.data"
    places = [place] if len(given) == 1 else [f"{place}.{n}" for n in range(len(given))]
    found = [settings for one, place in zip(given, places, strict=True) for settings in _of(task, one, place)]
    _unique(tuple(tasks.task_id(task, settings) for settings in found), f"overrides.tasks.{task}.data")
    return found


def _of(task: str, given: dict[str, Any], place: str) -> list[dict[str, Any]]:
    """Settings of each task id of one mapping."""
    kind = tasks.find(task)
    values = given.get(kind.KNOB, _defaults(kind).get(kind.KNOB)) if kind.KNOB else None
    many = values if isinstance(values, list | tuple) else [values]
    if not many:
        raise InputError(f"no value of '{kind.KNOB}'", f"{place}.{kind.KNOB} = []", "give one or more, or leave it out")
    choices = [given if values is None else given | {kind.KNOB: value} for value in many]
    return [typed(kind.Settings, choice, place).plain() for choice in choices]


def _defaults(kind: type[tasks.Base]) -> dict[str, Any]:
    """The settings of a task that have a default."""
    return kind.Settings.model_construct().plain()


RANGES = {"layers": (1, 1000), "heads": (1, 1000), "expansion": (1, 1000), "dropout": (0.0, 0.99)}
"""Limits of the settings that several cores share."""


def _core(preset: Preset, section: dict[str, Any], arch: str, where: str) -> dict[str, Any]:
    """The core's settings: its defaults, what the preset says to all, what it says to this one."""
    defaults = archs.defaults(arch)
    known = {key: value for name in archs.names() for key, value in archs.defaults(name).items()}
    shared = preset.core | section
    own = preset.architectures.get(arch, {})
    for values, examples, place in ((shared, known, "core"), (own, defaults, f"architectures.{arch}")):
        for key, value in values.items():
            _check_core_setting(key, value, examples, f"{where}, {place}")
    return defaults | {key: value for key, value in shared.items() if key in defaults} | own


def _check_core_setting(key: str, value: Any, examples: Mapping[str, Any], place: str) -> None:
    if key not in examples:
        raise InputError(f"unknown key '{key}'", place, nearest(key, examples))
    example = examples[key]
    kinds = (int, float) if isinstance(example, float) else (type(example),)
    if isinstance(value, bool) != isinstance(example, bool) or not isinstance(value, kinds):
        raise InputError(f"wrong type: {value!r}", f"{place}.{key}", f"e.g. {key}: {example!r}")
    low, high = RANGES.get(key, (value, value))
    if not low <= value <= high:
        raise InputError(f"out of range: {value!r}", f"{place}.{key}", f"from {low} to {high}")


def _cell(preset: Preset, task: str, settings: dict[str, Any], arch: str, where: str) -> Setting:
    section = preset.tasks.get(task, TaskSection())
    place = f"{where}, tasks.{task}"
    return Setting(
        task=task,
        task_settings=settings,
        arch=arch,
        core=_core(preset, section.core, arch, where),
        parameters=section.parameters or preset.parameters,
        train=typed(TrainSettings, merge(preset.train.plain(), section.train), f"{place}.train"),
        tune=typed(TuneSettings, merge(preset.tune.plain(), section.tune), f"{place}.tune"),
    )


def load(changes: Mapping[str, Any] | None = None) -> Plan:
    """The plan of params.yaml with some of its keys changed (from the command line)."""
    return resolve(merge(read(), changes or {}))


# ---------------------------------------------------------------- the command of one cell


def reproduce(plan: Plan, task_id: str, arch: str, seed: int) -> str:
    """The command that makes one run again on a clone of this version, whatever its params.yaml says.

    What the configuration changed against the preset is spelled out as `--set KEY=VALUE`.
    """
    cell = plan.cell(task_id, arch)
    raw = read(PRESETS / f"{plan.preset}.yaml")
    preset = typed(Preset, raw, plan.preset)
    kind = tasks.find(cell.task)
    given = raw.get("tasks", {}).get(cell.task, {}).get("data", {})
    known = _defaults(kind) | (given if isinstance(given, dict) else {})  # --set replaces a list
    if kind.KNOB in known:
        values = known[kind.KNOB] if isinstance(known[kind.KNOB], list | tuple) else [known[kind.KNOB]]
        own = cell.task_settings[kind.KNOB]
        known[kind.KNOB] = own if own in values else None
    plain = _cell(preset, cell.task, known, arch, plan.preset)
    places = {
        f"tasks.{cell.task}.data": (known, cell.task_settings),
        f"tasks.{cell.task}.train": (plain.train.plain(), cell.train.plain()),
        f"tasks.{cell.task}.tune": (plain.tune.plain(), cell.tune.plain()),
        f"architectures.{arch}": (plain.core, cell.core),
        f"tasks.{cell.task}": ({"parameters": plain.parameters}, {"parameters": cell.parameters}),
    }
    changes = [
        f"--set {shlex.quote(f'{place}.{key}={files.canonical(value)}')}"
        for place, (old, new) in places.items()
        for key, value in new.items()
        if old.get(key) != value
    ]
    return " ".join(["seqbench", "train", task_id, arch, "--seed", str(seed), "--preset", plan.preset, *changes])
