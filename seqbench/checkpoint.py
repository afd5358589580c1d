"""Weights and resume states on disk: safetensors with a sha256 beside them, never pickle.

A checkpoint is two files, `checkpoint-<step>.safetensors` and, written after it, a
`checkpoint-<step>.json` with its sha256: the newest pair that agrees is the one that counts.
Numbered names, because a rename between hard links of one inode does nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from seqbench import files
from seqbench.errors import DataError

Tensors = dict[str, Tensor]
KEEP = 2


def weights(model: nn.Module) -> Tensors:
    """A copy of a model's parameters and buffers on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}


def flat(state: Any, name: str) -> Tensors:
    """The tensors of a nested tuple by their place in it: `name.0.1`."""
    if isinstance(state, Tensor):
        return {name: state.detach().to("cpu", copy=True).contiguous()}
    return {key: value for i, part in enumerate(state or ()) for key, value in flat(part, f"{name}.{i}").items()}


def nested(tensors: Tensors, name: str) -> Any:
    """What `flat` took apart; None where there is nothing."""
    if name in tensors:
        return tensors[name]
    parts = sorted({int(key.removeprefix(f"{name}.").split(".")[0]) for key in tensors if key.startswith(f"{name}.")})
    return tuple(nested(tensors, f"{name}.{i}") for i in parts) or None


def write_weights(path: Path, tensors: Tensors) -> str:
    """Write tensors as safetensors; return the sha256 of the file, which depends on names and values only."""
    data = safetensors.torch.save(tensors)
    with files.atomic_write(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def read_weights(path: Path, sha256: str, fix: str) -> Tensors:
    """Read what `write_weights` wrote; DataError where the bytes differ from `sha256`."""
    if not path.is_file():
        raise DataError("model weights are missing", str(path), fix)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError("model weights differ from their recorded sha256", str(path), fix)
    return safetensors.torch.load(data)


def save(folder: Path, step: int, tensors: Tensors, state: dict[str, Any]) -> None:
    """Keep a resume state: tensors, and `state` (plain JSON data). The newest two are kept."""
    path = folder / f"checkpoint-{step:09d}.safetensors"
    sha256 = write_weights(path, tensors)
    files.write_json(path.with_suffix(".json"), {"sha256": sha256, "state": state})
    for old in sorted(folder.glob("checkpoint-*.json"))[:-KEEP]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def newest(folder: Path) -> tuple[Tensors, dict[str, Any]] | None:
    """The newest whole resume state, or None: damaged ones are passed over."""
    for path in sorted(folder.glob("checkpoint-*.json"), reverse=True):
        try:
            record = files.read_json(path, "")
            tensors = read_weights(path.with_suffix(".safetensors"), record["sha256"], "")
            return tensors, record["state"]
        except (DataError, KeyError, TypeError):
            continue
    return None


def clear(folder: Path) -> None:
    """Remove all resume states of a run that has ended."""
    for path in folder.glob("checkpoint-*"):
        path.unlink(missing_ok=True)
