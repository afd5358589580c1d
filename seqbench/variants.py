"""Cells beside the grid: ablations, which change one thing, and published rows, which are made again as published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from seqbench import archs, tasks
from seqbench.cells import cell_of, check_core, identity, meant
from seqbench.errors import InputError, nearest
from seqbench.presets import Ablation, Change, Preset, Seed, merge, read, typed
from seqbench.records import Count, Record, Setting, Spec, TrainSettings, TuneSettings

ROWS = Path("workflow/published.yaml")
PUBLISHED = "published"
"""Begins the variant of a published row."""
BASE = "_base"
"""Ends the variant of an ablation's base, where that is no cell of the grid."""
ANY = Spec(inputs="values", input_size=1, outputs="values", output_size=1, length=1, metric="mse", direction="min")
"""Some Spec: what a variant changes is checked on it before the task's own is known."""


class TaskData(Record):
    """A task with settings: what is prepared under one task id."""

    task: str
    settings: dict[str, Any]

    @property
    def id(self) -> str:
        """The task id."""
        return tasks.task_id(self.task, self.settings)


class Remake(Record):
    """The cell of a published number. It stands over the defaults of the code, so that no preset changes it."""

    task: str
    data: dict[str, Any] = {}
    architecture: str
    core: dict[str, Any] = {}
    parameters: Count
    train: dict[str, Any] = {}
    tune: dict[str, Any] = {}
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = None
    """None: those of the plan."""


class PublishedControl(Record):
    """A control whose score was published."""

    task: str
    data: dict[str, Any] = {}
    name: str


class Beside(NamedTuple):
    """What runs beside the grid."""

    cells: tuple[Setting, ...]
    controls: tuple[TaskData, ...]
    """Task ids whose controls were published."""
    published: dict[str, str]
    """By the name of a row that is run: its cell, as task id and label; of a control its task id."""
    seeds: dict[str, tuple[int, ...]]
    """By cell, as task id and label: its seeds, where they are not those of the plan."""


def place_of(cell: Setting) -> str:
    """A cell's name in the plan: its task id and label."""
    return f"{identity(cell)} {cell.label}"


# ---------------------------------------------------------------- ablations


def check_names(ablations: Iterable[str], where: str) -> None:
    """InputError: a name that cannot be part of a label, or is taken."""
    for name in ablations:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.startswith(PUBLISHED) or name.endswith(BASE):
            fix = f"small letters, digits and _; neither '{PUBLISHED}...' nor '...{BASE}'"
            raise InputError(f"not a name of an ablation: '{name}'", f"{where}, ablations", fix)


def ablated(
    name: str, ablation: Ablation, preset: Preset, architectures: Sequence[str], where: str
) -> Iterator[Setting]:
    """Base and changed cell for each task id and architecture, of those that the plan has.

    A change that changes nothing (the preset has it already) leaves no cells.
    """
    place = f"{where}, ablations.{name}"
    for arch in ablation.architectures:
        if arch not in archs.names():
            raise InputError(f"unknown architecture '{arch}'", f"{place}.architectures", nearest(arch, archs.names()))
    for word in ablation.tasks:
        for task, settings in meant(word, preset, where, f"{place}.tasks"):
            for arch in (arch for arch in ablation.architectures if arch in architectures):
                grid = cell_of(preset, task, settings, arch, where)
                base = changed(grid, ablation.of, f"{name}{BASE}", f"{place}.of")
                cell = changed(base, ablation, name, place)
                if cell is not base:
                    yield from (base, cell)


def changed(cell: Setting, change: Change, variant: str, place: str) -> Setting:
    """The cell with the change, as that variant; the cell itself where the change changes nothing."""
    for key, value in change.core.items():
        check_core(key, value, archs.defaults(cell.arch), f"{place}.core")
    _check_spec(change.spec, f"{place}.spec")
    found = cell.model_copy(
        update={
            "core": cell.core | change.core,
            "train": typed(TrainSettings, merge(cell.train.plain(), change.train), f"{place}.train"),
            "spec": cell.spec | change.spec,
            "parameters": change.parameters or cell.parameters,
        }
    )
    return cell if found == cell else found.model_copy(update={"variant": variant})


def _check_spec(change: Mapping[str, Any], place: str) -> None:
    """InputError: a field that a variant may not change, or a value that it cannot have."""
    for key in change:
        if key not in Spec.FREE:
            raise InputError(f"unknown key '{key}'", f"{place}.{key}", nearest(key, Spec.FREE))
    typed(Spec, ANY.plain() | dict(change), place)


# ---------------------------------------------------------------- published rows


def rows() -> dict[str, Remake | PublishedControl]:
    """The rows of ROWS that can be made again, by name: what their `run` or `control` says."""
    found: dict[str, Remake | PublishedControl] = {}
    for name, row in read(ROWS).items():
        if not isinstance(row, Mapping):
            raise InputError(f"not a mapping of keys: {row!r}", f"{ROWS}, {name}", "write 'key: value' lines")
        if "run" in row:
            found[name] = typed(Remake, row["run"], f"{ROWS}, {name}.run")
        elif "control" in row:
            found[name] = typed(PublishedControl, row["control"], f"{ROWS}, {name}.control")
    return found


def remade() -> dict[str, Setting]:
    """The cell of each row with a `run`, by the row's name; rows with the same settings share one.

    The variants of one task id and architecture are numbered in the order of the file.
    """
    found: dict[str, Setting] = {}
    for name, row in rows().items():
        if not isinstance(row, Remake):
            continue
        cell = _cell(row, f"{ROWS}, {name}.run")
        others = {one.label: one for one in found.values() if (identity(one), one.arch) == (identity(cell), cell.arch)}
        same = [one for one in others.values() if one.model_copy(update={"variant": ""}) == cell]
        variant = PUBLISHED if not others else f"{PUBLISHED}_{len(others) + 1}"
        found[name] = same[0] if same else cell.model_copy(update={"variant": variant})
    return found


def _cell(row: Remake, place: str) -> Setting:
    if row.architecture not in archs.names():
        fix = nearest(row.architecture, archs.names())
        raise InputError(f"unknown architecture '{row.architecture}'", f"{place}.architecture", fix)
    defaults = archs.defaults(row.architecture)
    for key, value in row.core.items():
        check_core(key, value, defaults, f"{place}.core")
    return Setting(
        task=row.task,
        task_settings=_data(row, place).settings,
        arch=row.architecture,
        core=defaults | row.core,
        parameters=row.parameters,
        train=typed(TrainSettings, row.train, f"{place}.train"),
        tune=typed(TuneSettings, row.tune, f"{place}.tune"),
    )


def _data(row: Remake | PublishedControl, place: str) -> TaskData:
    if row.task not in tasks.names():
        raise InputError(f"unknown task '{row.task}'", f"{place}.task", nearest(row.task, tasks.names()))
    return TaskData(task=row.task, settings=typed(tasks.find(row.task).Settings, row.data, f"{place}.data").plain())


# ---------------------------------------------------------------- both


def beside(
    ablations: Mapping[str, Ablation],
    published: Sequence[str],
    preset: Preset,
    grid: Sequence[Setting],
    architectures: Sequence[str],
    where: str,
) -> Beside:
    """Cells of these ablations and rows, each once, without those of the grid; only of architectures of the plan."""
    found = {place_of(cell): cell for cell in grid}
    for name, ablation in ablations.items():
        found |= {place_of(cell): cell for cell in ablated(name, ablation, preset, architectures, where)}
    data = [(f"{where}, tasks.{cell.task}.data", _of(cell)) for cell in found.values()]
    places, seeds, controls = {}, dict[str, tuple[int, ...]](), []
    known, cells = (rows(), remade()) if published else ({}, {})
    for name in published:
        row = known[name]
        if isinstance(row, PublishedControl):
            controls.append(_data(row, f"{ROWS}, {name}.control"))
            places[name] = controls[-1].id
            data.append((f"{ROWS}, {name}.control.data", controls[-1]))
        elif row.architecture in architectures:
            place = places[name] = place_of(cells[name])
            found[place] = cells[name]
            data.append((f"{ROWS}, {name}.run.data", _of(cells[name])))
            if row.seeds:
                seeds[place] = tuple(dict.fromkeys((*seeds.get(place, ()), *row.seeds)))
    _check_data(data)
    variants = tuple(found.values())[len(grid) :]
    return Beside(variants, tuple({one.id: one for one in controls}.values()), places, seeds)


def _of(cell: Setting) -> TaskData:
    return TaskData(task=cell.task, settings=cell.task_settings)


def _check_data(data: Sequence[tuple[str, TaskData]]) -> None:
    """InputError: two places want different data under one task id, which is one folder."""
    first: dict[str, tuple[str, TaskData]] = {}
    for place, wanted in data:
        other, there = first.setdefault(wanted.id, (place, wanted))
        if there != wanted:
            differ = [key for key, value in wanted.settings.items() if there.settings[key] != value]
            what = f"two kinds of data for '{wanted.id}': they differ in {', '.join(differ)}"
            raise InputError(what, f"{other}; {place}", "give both the same data, or leave one of them out")
