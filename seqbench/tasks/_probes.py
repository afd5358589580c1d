"""What drawn probes share: splits of which no two hold the same draw, and what a rule without learning says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from seqbench.errors import InputError
from seqbench.prepared import Array
from seqbench.records import Control, Count, Record, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import generator


class DrawnSettings(Record):
    """Items in each split, and the seed that they are drawn from."""

    train: Count = 50_000
    valid: Count = 1_000
    test: Count = 1_000
    data_seed: int = 0


Draw = Callable[[np.random.Generator, int], Array]
"""So many rows, one for each item."""


def draw_splits(draw: Draw, settings: Any, different: int, *axes: str | int) -> dict[str, Array]:
    """Rows of each split from a seed of its own; a row that another split holds is drawn again.

    settings: train, valid, test (items), data_seed. different: how many different rows there are.
    Test comes first, so that its rows do not depend on the size of the others. Rows may repeat
    within a split. Raises InputError where valid and test could take more than half of all rows.
    """
    held_out = settings.valid + settings.test
    if different < 2 * held_out:
        raise InputError(
            f"valid and test take {held_out} sequences, and there are only {different} different ones",
            f"settings of task {axes[0]}",
            "make the sequences longer, or take fewer of them",
        )
    rows: dict[str, Array] = {}
    taken: set[bytes] = set()
    for split in ("test", "valid", "train"):
        random = generator(settings.data_seed, *axes, split)
        rows[split] = draw(random, getattr(settings, split))
        while again := [place for place, row in enumerate(rows[split]) if row.tobytes() in taken]:
            rows[split][again] = draw(random, len(again))
        taken |= {row.tobytes() for row in rows[split]}
    return rows


def distinct(random: np.random.Generator, items: int, choices: int, size: int) -> Array:
    """(items, size): in each row different numbers below `choices`, in random order."""
    return np.stack([random.choice(choices, size, replace=False) for _ in range(items)])


def guess(
    task: Base, name: str, kind: Literal["trivial", "strong"], said: Array, choices: int, y: Array, spec: Spec
) -> Control:
    """For "every": says `said` (the shape of y), one of `choices` answers that it holds for equally likely.

    Every label asked for must be among the choices: its negative log-likelihood is ln(choices).
    """
    outputs = np.stack([np.full(y.shape, np.log(choices)), said == y], axis=-1)
    return Control(name=name, kind=kind, metrics=task.score(outputs, y, spec))
