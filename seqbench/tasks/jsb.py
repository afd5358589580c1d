"""JSB chorales: which notes come next, in 382 four-part chorales by J. S. Bach (Allan & Williams 2005).

Source: the piano rolls of Boulanger-Lewandowski et al. 2012, one step a quarter note, as JSON of MIDI pitches
(czhuang/JSB-Chorales-dataset; no licence is stated). Equal to the `JSB_Chorales.mat` of Bai et al. 2018. Published
split: 229 / 76 / 77 chorales of 25 to 160 steps, transposed to C major or C minor.

Score: negative log-likelihood in nats per step, summed over the 88 keys and averaged over all steps of all pieces but
the first of each, as in the code of Bai et al. (locuslab/TCN, poly_music); F1 of the notes said, those with a chance
above one half. Published (Bai et al. 2018, Table 1): RNN 8.91, LSTM 8.45, GRU 8.43, TCN 8.10.

Defects: pieces stand an octave too high, those in C by 12 semitones and others, brought to C, by 6 to 17 (against the
sixteenth-note file of the same repository): kept, as published, and undone in what people give and get. 64 steps
hold no note; they are kept. Repeated pieces, within a split or between two, were looked for: none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqbench import music
from seqbench.prepared import SPLITS, Array
from seqbench.tasks._common import bad_file
from seqbench.tasks._music import Rolls, roll


class Task(Rolls):
    """Rolls, as `_music.Rolls` says."""

    SOURCES = ("jsb-quarter",)
    TITLE = "JSB chorales"
    SECONDS = 0.5
    RAISED = 12

    def rolls(self, path: Path) -> dict[str, list[Array]]:
        """The chorales of each split."""
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:  # JSON, or its encoding
            place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise bad_file(f"not JSON ({error})", path, place) from None
        if not isinstance(found, dict) or not all(isinstance(found.get(split), list) for split in SPLITS):
            raise bad_file(f"not an object with the lists {', '.join(SPLITS)}", path)
        for split in SPLITS:
            if not found[split]:
                raise bad_file("no pieces", path, split)
        return {
            split: [_piece(steps, path, f"{split}, piece {n}") for n, steps in enumerate(found[split])]
            for split in SPLITS
        }


def _piece(steps: Any, path: Path, place: str) -> Array:
    """One chorale, of its pitches in each step."""
    if not isinstance(steps, list) or len(steps) < 2:
        raise bad_file("a piece is not a list of two steps or more", path, place)
    for number, step in enumerate(steps):
        if not isinstance(step, list):
            raise bad_file(f"not a list of pitches: {step!r}", path, f"{place}, step {number}")
        for pitch in step:
            if type(pitch) is not int or not music.LOWEST <= pitch <= music.HIGHEST:
                raise bad_file(f"not a pitch of a piano: {pitch!r}", path, f"{place}, step {number}")
    return roll(steps)
