"""Tasks: what to learn. One file per task, found by its name; NumPy only, no torch.

A task file defines `class Task(seqbench.tasks.Base)`. Base does the rest: a split is three
arrays, x (items, time) or (items, time, features), y, and `lengths` where items differ.
With the output "stream", x and y are (steps,). With "sequence", y (items, longest target) int64
ends each target with END and goes on UNSCORED, and `references` holds the texts to be matched
(`prepared.pack`). With "ctc", y (items, longest target) int64 holds labels from 1, then UNSCORED, and
there are `references` too; each item needs, of the steps that the frontend leaves, one for each label and one
between equal ones: a task must see to that, or its loss is infinite. With "multilabel", y is (items, time,
output_size) int8: 0 or 1, UNSCORED in steps that are not scored. With the frontend "frames", x is (items, time,
channels, height, width).
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
from scipy.special import log_softmax

from seqbench.errors import InputError, nearest
from seqbench.prepared import Array, Prepared
from seqbench.records import UNSCORED, Control, Record, Spec


class Base(ABC):
    """A task. Subclasses set the class attributes and define `spec`, `arrays` and `controls`."""

    VERSION: ClassVar[int] = 1
    """Raise when prepared bytes, scores or controls change."""
    KNOB: ClassVar[str] = ""
    """The setting that makes several task ids of one task (`length`: adding-50, adding-100)."""
    MEMORY: ClassVar[bool] = True
    """A larger value of the knob asks to remember more, or for longer; not so of how far ahead is forecast."""
    SOURCES: ClassVar[tuple[str, ...]] = ()
    """Names of entries in data/sources.toml; empty: generated or embedded, no download."""
    TITLE: ClassVar[str] = ""
    """A few words for tables."""
    FAMILY: ClassVar[str] = ""
    """text, language, translation, speech, music, video, forecasting, pixels, probe."""
    LABELS: ClassVar[tuple[str, ...]] = ()
    """Names of the classes, for people."""

    SECONDS: ClassVar[float] = 0.0
    """How long a step lasts when it is played, with music."""

    class Settings(Record):
        """The task's own settings; the defaults are the published ones."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def sources(self) -> tuple[str, ...]:
        """Names of entries in data/sources.toml that these settings need."""
        return self.SOURCES

    def own_files(self) -> tuple[Path, ...]:
        """A person's own files that these settings name; `raw` of `arrays` has them under `str(path)`."""
        return ()

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

    def score(self, outputs: Any, y: Any, spec: Spec) -> dict[str, float]:
        """Metrics from model outputs, in float64, over all items at once.

        "classes", "steps": outputs are logits (items, output_size) or (items, window, output_size);
        accuracy in [0, 1] and cross_entropy in nats per label.
        "every", "stream": outputs are (..., 2), per label its negative log-likelihood in nats and 1
        where it was the likeliest, else 0; the same two metrics, and perplexity.
        "values": outputs (items, output_size); mse and mae per number.
        "multilabel": outputs are (items, time, 4), per step its negative log-likelihood in nats, summed over the
        labels, and how many labels were said (at a chance above one half), asked for, and both: nll per step,
        f1 over all labels, and accuracy: both / either (Bay et al. 2009).
        "sequence", "ctc": outputs and y are lists of texts; a task defines its own.
        """
        if spec.outputs in ("sequence", "ctc"):
            raise NotImplementedError(f"{type(self).__module__} must define score for texts")
        if spec.outputs in ("every", "stream"):
            return self._score_labels(np.asarray(outputs), np.asarray(y))
        if spec.outputs == "multilabel":
            return self._score_many(np.asarray(outputs), np.asarray(y))
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

    @staticmethod
    def _score_labels(outputs: Array, y: Array) -> dict[str, float]:
        """outputs (..., 2) beside y (...), as `score` says."""
        loss, right = np.moveaxis(outputs[y != UNSCORED].astype(np.float64), -1, 0)
        cross_entropy = float(np.mean(loss))
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(cross_entropy))
        return {"accuracy": float(np.mean(right)), "cross_entropy": cross_entropy, "perplexity": perplexity}

    @staticmethod
    def _score_many(outputs: Array, y: Array) -> dict[str, float]:
        """outputs (items, time, 4) beside y (items, time, labels), as `score` says."""
        nll, said, asked, both = np.moveaxis(outputs[y[..., 0] != UNSCORED].astype(np.float64), -1, 0)
        hits, either = float(both.sum()), float((said + asked - both).sum())
        return {
            "nll": float(np.mean(nll)),
            "f1": 2 * hits / (hits + either) if either else 0.0,
            "accuracy": hits / either if either else 0.0,
        }

    def longer(self, factor: int) -> dict[str, Any] | None:
        """Settings of the same task on sequences `factor` times as long; None: it cannot be made longer.

        For tasks that draw their sequences: the settings have `data_seed`, `train`, `valid` and `test`.
        """
        return None

    def asked(self) -> tuple[int, float] | None:
        """How many labels a sequence asks for that only memory can tell, and how many bits they hold in all.

        None: the answers do not recall symbols.
        """
        return None

    def labels(self, data: Prepared) -> tuple[str, ...]:
        """The names of the classes; their numbers where they have none."""
        return self.LABELS or tuple(map(str, range(data.spec.output_size)))

    def encode(self, item: str, data: Prepared) -> Array:
        """What a person gives, as the model reads it: tokens (time,) of a text, or values (time, ...) of a file.

        `item` is a text, or the path of a file where the task reads recordings, clips, scores or tables.
        Raises InputError.
        """
        raise InputError("this task reads nothing new", f"task {data.manifest.task}", "name another task")

    def forecast(self, outputs: Array, item: str, data: Prepared) -> str:
        """What a model said of `encode(item)`, (output_size,), in the data's own units: csv, a row a step ahead."""
        raise InputError("this task forecasts nothing", f"task {data.manifest.task}", "name a task of forecasting")

    def decode(self, tokens: Array, data: Prepared) -> str:
        """Tokens (time,) that a model wrote, as text; marks (PAD, BEGIN, END) left out."""
        return self._nothing_to_say(data)

    def pieces(self, tokens: Array, data: Prepared) -> tuple[str, ...]:
        """Each of the tokens (time,) as text, for the axes of an attention map."""
        return self._nothing_to_say(data)

    @staticmethod
    def _nothing_to_say(data: Prepared) -> NoReturn:
        raise InputError("this task writes no text", f"task {data.manifest.task}", "name a task of language")


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
