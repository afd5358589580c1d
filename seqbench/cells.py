"""Cells: the resolved settings of a task with an architecture, from what a preset says of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from seqbench import archs, tasks
from seqbench.errors import InputError, nearest
from seqbench.presets import PARAMS, Preset, T, TaskSection, merge, typed
from seqbench.records import Setting, TrainSettings, TuneSettings


def identity(setting: Setting) -> str:
    """The task id of a cell."""
    return tasks.task_id(setting.task, setting.task_settings)


def unique(values: tuple[T, ...], key: str) -> tuple[T, ...]:
    """The values. InputError: one of them stands twice under a key of params.yaml."""
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise InputError(f"{twice[0]!r} stands twice", f"{PARAMS}, {key}", "name it once")
    return values


# ---------------------------------------------------------------- settings of tasks


def task_settings(task: str, preset: Preset, where: str) -> list[dict[str, Any]]:
    """Settings of each task id of a task: a list under its knob makes one task id per value."""
    given = preset.tasks.get(task, TaskSection()).data
    place = f"{where}, tasks.{task}.data"
    places = [place] if len(given) == 1 else [f"{place}.{n}" for n in range(len(given))]
    found = [settings for one, place in zip(given, places, strict=True) for settings in _of(task, one, place)]
    unique(tuple(tasks.task_id(task, settings) for settings in found), f"overrides.tasks.{task}.data")
    return found


def _of(task: str, given: dict[str, Any], place: str) -> list[dict[str, Any]]:
    """Settings of each task id of one mapping."""
    kind = tasks.find(task)
    values = given.get(kind.KNOB, defaults(kind).get(kind.KNOB)) if kind.KNOB else None
    many = values if isinstance(values, list | tuple) else [values]
    if not many:
        raise InputError(f"no value of '{kind.KNOB}'", f"{place}.{kind.KNOB} = []", "give one or more, or leave it out")
    choices = [given if values is None else given | {kind.KNOB: value} for value in many]
    return [typed(kind.Settings, choice, place).plain() for choice in choices]


def meant(word: str, preset: Preset, where: str, place: str) -> list[tuple[str, dict[str, Any]]]:
    """Tasks and settings meant by a task's name (all its task ids) or a task id, whose value need not be the preset's.

    `place`: where the word stands. InputError: no such task, or no such value of its knob.
    """
    task = tasks.name_of(word)
    if task not in tasks.names():
        raise InputError(f"unknown task '{task}'", place, nearest(task, tasks.names()))
    found = task_settings(task, preset, where)
    if word == task:
        return [(task, settings) for settings in found]
    known = {tasks.task_id(task, settings): settings for settings in found}
    section, knob = preset.tasks.get(task, TaskSection()), tasks.find(task).KNOB
    if word not in known and knob:  # of several mappings the first
        value = yaml.safe_load(word.removeprefix(f"{task}-"))
        settings = typed(tasks.find(task).Settings, section.data[0] | {knob: value}, f"{place}, '{word}'").plain()
        known[tasks.task_id(task, settings)] = settings
    if word not in known:
        raise InputError(f"unknown task '{word}'", place, nearest(word, [task, *known]))
    return [(task, known[word])]


def defaults(kind: type[tasks.Base]) -> dict[str, Any]:
    """The settings of a task that have a default."""
    return kind.Settings.model_construct().plain()


# ---------------------------------------------------------------- settings of cores


RANGES = {
    **{"layers": (1, 1000), "heads": (1, 1000), "expansion": (1, 1000)},
    **{"dropout": (0.0, 0.99), "recurrent_dropout": (0.0, 0.99), "truncate": (0, 1_000_000)},
}
"""Limits of the settings that several cores share."""
WORDS = {"packing": ("auto", "always", "never")}
"""The words that a setting may be."""


def core_of(preset: Preset, section: dict[str, Any], arch: str, where: str) -> dict[str, Any]:
    """The core's settings: its defaults, what the preset says to all, what it says to this one."""
    defaults = archs.defaults(arch)
    known = {key: value for name in archs.names() for key, value in archs.defaults(name).items()}
    shared = preset.core | section
    own = preset.architectures.get(arch, {})
    for values, examples, place in ((shared, known, "core"), (own, defaults, f"architectures.{arch}")):
        for key, value in values.items():
            check_core(key, value, examples, f"{where}, {place}")
    return defaults | {key: value for key, value in shared.items() if key in defaults} | own


def check_core(key: str, value: Any, examples: Mapping[str, Any], place: str) -> None:
    """InputError: no such setting among the examples, not of the kind of its example, or out of range."""
    if key not in examples:
        raise InputError(f"unknown key '{key}'", place, nearest(key, examples))
    example = examples[key]
    kinds = (int, float) if isinstance(example, float) else (type(example),)
    if isinstance(value, bool) != isinstance(example, bool) or not isinstance(value, kinds):
        raise InputError(f"wrong type: {value!r}", f"{place}.{key}", f"e.g. {key}: {example!r}")
    if key in WORDS and value not in WORDS[key]:
        raise InputError(f"unknown word '{value}'", f"{place}.{key}", nearest(str(value), WORDS[key]))
    low, high = RANGES.get(key, (value, value))
    if not low <= value <= high:
        raise InputError(f"out of range: {value!r}", f"{place}.{key}", f"from {low} to {high}")


# ---------------------------------------------------------------- cells


def cell_of(preset: Preset, task: str, settings: dict[str, Any], arch: str, where: str) -> Setting:
    """A cell as the grid has it."""
    section = preset.tasks.get(task, TaskSection())
    place = f"{where}, tasks.{task}"
    return Setting(
        task=task,
        task_settings=settings,
        arch=arch,
        core=core_of(preset, section.core, arch, where),
        parameters=section.parameters or preset.parameters,
        train=typed(TrainSettings, merge(preset.train.plain(), section.train), f"{place}.train"),
        tune=typed(TuneSettings, merge(preset.tune.plain(), section.tune), f"{place}.tune"),
    )
