"""What a person writes: params.yaml and the presets as records, and how such files are read and merged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from seqbench.errors import InputError, nearest
from seqbench.records import Count, NonNegative, Positive, Record, TrainSettings, TuneSettings

PARAMS = Path("params.yaml")
PRESETS = Path("workflow/presets")

Seed = Annotated[int, Field(ge=0)]
Device = Literal["cpu", "cuda"]
Names = tuple[str, ...] | dict[str, tuple[str, ...]]
"""A list, or one list per preset."""
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


class Change(Record):
    """What a variant of a cell has otherwise: settings of the core, of training, of the task's Spec; the budget."""

    core: dict[str, Any] = {}
    train: dict[str, Any] = {}
    spec: dict[str, Any] = {}
    parameters: Count | None = None


class Ablation(Change):
    """One change made alone, on some tasks and architectures, against the same cells without it."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    """Tasks (all their task ids) or task ids, which need not be in the grid."""
    architectures: Annotated[tuple[str, ...], Field(min_length=1)]
    of: Change = Change()
    """What base and changed cell both have otherwise than a cell of the grid."""


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
    ablations: dict[str, Ablation] = {}
    """By name; params.yaml says which are run."""


class Params(Record):
    """The keys of params.yaml."""

    preset: str = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mirror: str | None = None
    tasks: Names
    architectures: Annotated[tuple[str, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = None
    ablations: Names = ()
    published: Names = ()
    """Rows of workflow/published.yaml that are run."""
    overrides: dict[str, Any] = {}


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


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values with the path of each: {"train": {"steps": 300}} -> ("train.steps", 300)."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


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
