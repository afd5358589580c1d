"""Raw files into arrays: what is checked of any task on the way."""

from __future__ import annotations

import numpy as np
import pytest

from seqbench import prepare
from seqbench.errors import InputError
from seqbench.records import UNSCORED, Spec

STRINGS = Spec(
    **{"inputs": "values", "input_size": 8, "frontend": "spectrogram", "outputs": "ctc", "output_size": 6},
    **{"length": 40, "target_length": 4, "metric": "wer", "direction": "min", "causal": False},
)


def arrays(frames: int) -> dict[str, np.ndarray]:
    """Two items of each split: labels 3, 3, 5 and nothing, in so many frames and in 40."""
    made = {}
    for split in ("train", "valid", "test"):
        made[f"{split}.y"] = np.array([[UNSCORED] * 4, [3, 3, 5, UNSCORED]])
        made[f"{split}.lengths"] = np.array([40, frames if split == "valid" else 40])
    return made


def test_labels_and_blanks_need_their_steps() -> None:
    """Two equal labels and another need a blank between the equal ones: four steps, at four frames each."""
    prepare._check_alignable("strings", arrays(13), STRINGS)
    with pytest.raises(InputError, match="3 steps are too few for 4 labels and blanks") as error:
        prepare._check_alignable("strings", arrays(12), STRINGS)
    assert error.value.where == "task strings, valid, item 1"


def test_without_a_spectrogram_every_frame_is_a_step() -> None:
    linear = STRINGS.model_copy(update={"frontend": "linear"})
    prepare._check_alignable("strings", arrays(4), linear)
    with pytest.raises(InputError, match="3 steps are too few"):
        prepare._check_alignable("strings", arrays(3), linear)


def test_items_of_one_length_need_no_lengths() -> None:
    made = {name: values for name, values in arrays(40).items() if not name.endswith("lengths")}
    prepare._check_alignable("strings", made, STRINGS)
    with pytest.raises(InputError, match="3 steps are too few"):
        prepare._check_alignable("strings", made, STRINGS.model_copy(update={"length": 12}))
