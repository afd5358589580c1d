"""What several tasks use: seeded generators, official parts cut into splits, lines of text, class controls."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, Prepared, unpack
from seqbench.records import Control, Spec, derive
from seqbench.tasks import Base

NEVER = -1e3
"""The logit of a class that the training split lacks: finite, so that every score is."""


def generator(seed: int, *axes: str | int) -> np.random.Generator:
    """A generator of its own for each named axis (rule 2 of the evidence)."""
    return np.random.Generator(np.random.Philox(derive(seed, *axes)))


def scratch(shape: tuple[int, ...], kind: Any) -> Array:
    """Zeros on disk, in a file without a name: for a split that may be larger than memory."""
    with tempfile.TemporaryFile() as file:
        made: Array = np.memmap(file, kind, "w+", shape=shape)
    return made


def bad_file(what: str, path: Path, place: str = "") -> DataError:
    """The error for a downloaded file, or a place in it, that is not what its format says."""
    where = f"{path}, {place}" if place else str(path)
    return DataError(what, where, f"delete {path.name} and fetch it again: seqbench fetch --all")


def bad_line(what: str, path: Path, line: int) -> DataError:
    """`bad_file` for a line (from 1) of a text file."""
    return bad_file(what, path, f"line {line}")


def bad_member(what: str, path: Path, name: str) -> DataError:
    """The error for a member of an archive, which may be of an optional source, that is not what it should be."""
    fix = f"delete {path.name}, and fetch it again by its name in data/sources.toml: seqbench fetch NAME"
    return DataError(what, f"{path}, {name}", fix)


def utf8(line: bytes, path: Path, number: int) -> str:
    """The text of a line. DataError where it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_line(f"not UTF-8 ({error.reason} at byte {error.start})", path, number) from None


def cut_official(settings: Any, name: str, items: str, train: int, test: int) -> dict[str, Array]:
    """Rows of each split, sorted: train and valid of an official part of `train` items, test of one of `test`.

    settings: train, valid, test (items; None: all that are left), data_seed. `name` is an axis of the seeds.
    Raises InputError, in terms of `items`, where fewer are there.
    """
    wanted = settings.train or train - settings.valid
    if wanted < 1 or wanted + settings.valid > train or (settings.test or test) > test:
        raise InputError(
            f"more {items} wanted than the {train} + {test} there are",
            f"train = {settings.train}, valid = {settings.valid}, test = {settings.test}",
            "ask for fewer",
        )
    cut = generator(settings.data_seed, name, "valid").permutation(train)
    kept = generator(settings.data_seed, name, "test").permutation(test)[: settings.test]
    parts = cut[settings.valid : settings.valid + wanted], cut[: settings.valid], kept
    return {split: np.sort(rows) for split, rows in zip(SPLITS, parts, strict=True)}


@functools.lru_cache(maxsize=4)
def vocabulary(data: Prepared) -> tuple[str, ...]:
    """The words (or characters) of prepared data by token number; read once."""
    return tuple(unpack(data.array("vocabulary")))


@functools.lru_cache(maxsize=4)
def numbering(data: Prepared) -> dict[str, int]:
    """The token number of each word of prepared data; made once."""
    return {word: number for number, word in enumerate(vocabulary(data))}


def majority(task: Base, train_y: Array, test_y: Array, spec: Spec) -> Control:
    """Always the most frequent class of the training split; its frequencies as probabilities."""
    counts = np.bincount(train_y, minlength=spec.output_size)
    logits = np.log(np.maximum(counts, 1) / len(train_y))
    outputs = np.broadcast_to(np.where(counts > 0, logits, NEVER), (len(test_y), spec.output_size))
    return Control(name="majority class", kind="trivial", metrics=task.score(outputs, test_y, spec))


def logistic(
    name: str, task: Base, train: tuple[Any, Array], test: tuple[Any, Array], spec: Spec, penalty: float
) -> Control:
    """Multinomial logistic regression, L2 weight `penalty` (1/C), on features without order.

    train, test: features (items, columns), dense or sparse, and labels (items,).
    """
    # Here, because it takes the better part of a second, and training has no use for it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(train[1])) < 2:
        raise InputError("the training split holds one class only", f"control '{name}'", "take more training items")
    model = LogisticRegression(C=1 / penalty, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 steps are the definition of this control
        model.fit(*train)
    scores = model.decision_function(test[0])
    if scores.ndim == 1:  # two classes: the logit of the second against the first
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    outputs = np.full((len(test[1]), spec.output_size), NEVER)
    outputs[:, model.classes_] = scores
    return Control(name=name, kind="strong", metrics=task.score(outputs, test[1], spec))
