"""Tasks: what to learn. One file per task, found by its name; NumPy only, no torch.

A task file defines `class Task(seqbench.tasks.Base)`. Base does the rest: a split is three
arrays, x (items, time) or (items, time, features), y, and `lengths` where items differ.
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import log_softmax

from seqbench.errors import InputError, nearest
from seqbench.prepared import Array, Prepared
from seqbench.records import Control, Record, Spec


class Base(ABC):
    """A task. Subclasses set the class attributes and define `spec`, `arrays` and `controls`."""

    VERSION: ClassVar[int] = 1
    """Raise when prepared bytes, scores or controls change."""
    KNOB: ClassVar[str] = ""
    """The setting that makes several task ids of one task (`length`: adding-50, adding-100)."""
    SOURCES: ClassVar[tuple[str, ...]] = ()
    """Names of entries in data/sources.toml; empty: generated or embedded, no download."""
    TITLE: ClassVar[str] = ""
    """A few words for tables."""
    FAMILY: ClassVar[str] = ""
    """text, language, speech, music, video, forecasting, pixels, probe."""

    class Settings(Record):
        """The task's own settings; the defaults are the published ones."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """The spec, given the prepared arrays (a vocabulary's size, a longest length)."""

    @abstractmethod
    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Make the prepared arrays from raw files (by source name) and say what was done about defects.

        Must depend on settings and raw bytes only.
        """

    @abstractmethod
    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """At least one trivial control, scored on the test split by `score`."""

    def score(self, outputs: Array, y: Array, spec: Spec) -> dict[str, float]:
        """Metrics from raw model outputs, in float64, over all items at once.

        outputs: (items, output_size), or (items, window, output_size) for "steps".
        "classes" and "steps": accuracy in [0, 1] and cross_entropy in nats per label.
        "values": mse and mae per number.
        """
        outputs = np.asarray(outputs, dtype=np.float64)
        if spec.outputs == "values":
            difference = outputs - np.asarray(y, dtype=np.float64).reshape(outputs.shape)
            return {"mse": float(np.mean(difference**2)), "mae": float(np.mean(np.abs(difference)))}
        logits = outputs.reshape(-1, spec.output_size)
        labels = np.asarray(y, dtype=np.int64).reshape(-1)
        chosen = log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        return {
            "accuracy": float(np.mean(logits.argmax(axis=1) == labels)),
            "cross_entropy": float(-np.mean(chosen)),
        }


def names() -> list[str]:
    """Names of all tasks: the files beside this one."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def find(name: str) -> type[Base]:
    """The task class of that name; raises InputError naming the nearest."""
    if name not in names():
        raise InputError(f"unknown task '{name}'", "tasks", nearest(name, names()))
    module = importlib.import_module(f"seqbench.tasks.{name}")
    task = getattr(module, "Task", None)
    if not (inspect.isclass(task) and issubclass(task, Base)):
        raise InputError("a task file must define 'class Task(seqbench.tasks.Base)'", str(module.__file__), "add it")
    return task


def build(name: str, settings: Mapping[str, Any]) -> Base:
    """The task of that name with validated settings."""
    kind = find(name)
    return kind(kind.Settings.from_data(dict(settings)))


def task_id(name: str, settings: Mapping[str, Any]) -> str:
    """The task's name, with the value of its knob where it has one."""
    knob = find(name).KNOB
    return f"{name}-{settings[knob]}" if knob else name


def name_of(identity: str) -> str:
    """The task's name in a task id."""
    return identity.split("-")[0]
