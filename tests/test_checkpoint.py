from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqbench import checkpoint
from seqbench.errors import DataError


def tensors(value: float) -> checkpoint.Tensors:
    return {"model.a": torch.full((3, 2), value), "optimizer.0.step": torch.tensor(value)}


def test_the_newest_whole_state_counts_and_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, tensors(step), {"steps": step})
    assert len(list(tmp_path.glob("*.safetensors"))) == len(list(tmp_path.glob("*.json"))) == 2
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found[1] == {"steps": 3}
    assert torch.equal(found[0]["model.a"], torch.full((3, 2), 3.0))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "half_json"])
def test_a_damaged_state_is_passed_over(tmp_path: Path, damage: str) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, tensors(step), {"steps": step})
    path = tmp_path / "checkpoint-000000002.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-4])
    elif damage == "remove":
        path.unlink()
    else:
        path.with_suffix(".json").write_text('{"sha256": "')
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found[1] == {"steps": 1}


def test_weights_with_a_flipped_bit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    sha256 = checkpoint.write_weights(path, tensors(1.0))
    assert torch.equal(checkpoint.read_weights(path, sha256, "")["model.a"], torch.ones(3, 2))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        checkpoint.read_weights(path, sha256, "train it again")


def test_the_bytes_of_weights_depend_on_values_only(tmp_path: Path) -> None:
    one = {"a": torch.ones(2), "b": torch.zeros(3)}
    other = dict(reversed(one.items()))
    assert checkpoint.write_weights(tmp_path / "1", one) == checkpoint.write_weights(tmp_path / "2", other)


@pytest.mark.parametrize(
    "state",
    [
        None,
        torch.ones(2),
        (torch.ones(2),),
        ((torch.ones(2), torch.zeros(3)), (torch.full((1, 2), 5.0), torch.ones(4, dtype=torch.bool))),
        tuple((torch.full((2,), float(layer)),) for layer in range(12)),  # "10" comes before "2" as text
    ],
    ids=["none", "one", "flat", "nested", "twelve"],
)
def test_a_carried_state_comes_back_from_disk(tmp_path: Path, state: Any) -> None:
    checkpoint.save(tmp_path, 1, tensors(1.0) | checkpoint.flat(state, "carried"), {})
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert_same(checkpoint.nested(found[0], "carried"), state)
    assert checkpoint.nested(found[0], "carr") is None


def assert_same(found: Any, state: Any) -> None:
    assert type(found) is type(state)
    if isinstance(state, torch.Tensor):
        assert found.dtype == state.dtype and torch.equal(found, state)
    elif state is not None:
        assert len(found) == len(state)
        for one, other in zip(found, state, strict=True):
            assert_same(one, other)


def test_a_state_on_disk_is_a_copy_without_history() -> None:
    part = torch.ones(2, requires_grad=True) * 2
    kept = checkpoint.flat((part,), "carried")["carried.0"]
    part.data.zero_()
    assert kept.tolist() == [2.0, 2.0] and not kept.requires_grad
