"""JSB chorales: which notes come next, in 382 four-part chorales by J. S. Bach (Allan & Williams 2005).

Source: the piano rolls of Boulanger-Lewandowski et al. 2012, one step a quarter note, as JSON of MIDI pitches
(czhuang/JSB-Chorales-dataset; the licence is not stated). Equal to the `JSB_Chorales.mat` that Bai et al. 2018
used. Published split: 229 / 76 / 77 chorales, transposed to C major or minor.

Score: negative log-likelihood in nats per step, summed over the 88 keys and averaged over all steps but the
first of each piece; F1 of notes said with a chance above one half. Published (Bai et al. 2018, table 1): RNN 8.91,
LSTM 8.45, GRU 8.43, TCN 8.10.

Defects: 64 steps hold no note; they are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqbench.prepared import SPLITS, Array
from seqbench.tasks._music import Rolls, broken, roll


class Task(Rolls):
    """Rolls, as `_music.Rolls` says."""

    SOURCES = ("jsb-quarter",)
    TITLE = "JSB chorales"
    SECONDS = 0.5

    def rolls(self, path: Path) -> dict[str, list[Array]]:
        """The chorales of each split."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {split: [_piece(steps, path, split, n) for n, steps in enumerate(found[split])] for split in SPLITS}
        except (ValueError, KeyError, TypeError) as error:
            raise broken(
                f"not the chorales as JSON ({type(error).__name__}: {error})", path, "from its start"
            ) from None


def _piece(steps: Any, path: Path, split: str, number: int) -> Array:
    """One chorale from its lists of pitches."""
    where = f"{split}, piece {number}"
    if not isinstance(steps, list) or len(steps) < 2:
        raise broken("a piece needs two steps", path, where)
    for place, step in enumerate(steps):
        for pitch in step if isinstance(step, list) else [step]:
            if not isinstance(pitch, int) or not 21 <= pitch <= 108:
                raise broken(f"not a pitch of a piano: {pitch!r}", path, f"{where}, step {place}")
    return roll(steps)
