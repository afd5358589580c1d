"""Raw files -> prepared arrays and controls of a task, checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqbench import files, prepared, sources, tasks
from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import UNSCORED, Controls, Manifest, Spec


def prepare(task: str, settings: Mapping[str, Any], root: Path) -> Manifest:
    """Make `root/prepared/<task id>` from `root/raw`; done already and intact: only checked.

    Raises DataError where a raw file is missing or differs from data/sources.toml.
    """
    folder = root / "prepared" / tasks.task_id(task, settings)
    with files.lock(folder.parent / f".{folder.name}.lock", waiting=lambda: None):
        return _prepare(task, settings, root, folder)


def _prepare(task: str, settings: Mapping[str, Any], root: Path, folder: Path) -> Manifest:
    kind, job = tasks.find(task), tasks.build(task, settings)
    known = sources.read() if job.sources() else {}
    wanted = {name: known[name] for name in job.sources()}
    own = {str(path): _own_digest(path) for path in job.own_files()}
    manifest = _intact(folder)
    if manifest and (manifest.task, manifest.settings, manifest.version) == (task, dict(settings), kind.VERSION):
        accepted = {name: set(source.accepted) for name, source in wanted.items()}
        accepted |= {path: {digest} for path, digest in own.items()}
        if _all_accepted(manifest.sources, accepted):
            return manifest
    hashes = {name: sources.identify(source, root / "raw") for name, source in wanted.items()} | own
    raw = {name: sources.raw_file(source, root / "raw") for name, source in wanted.items()}
    raw |= {str(path): path for path in job.own_files()}
    arrays, defects = job.arrays(raw)
    spec = job.spec(arrays)
    if spec.outputs == "ctc":
        _check_alignable(task, arrays, spec)
    return prepared.write(
        folder,
        task=task,
        settings=settings,
        version=kind.VERSION,
        spec=spec,
        arrays=arrays,
        defects=defects,
        sources=hashes,
    )


def _check_alignable(task: str, arrays: Mapping[str, Array], spec: Spec) -> None:
    """Every item has a step for each label and one for the blank between equal ones: else its loss is infinite."""
    for split in SPLITS:
        y = arrays[f"{split}.y"]
        again = (y[:, 1:] == y[:, :-1]) & (y[:, 1:] != UNSCORED)
        needed = (y != UNSCORED).sum(axis=1) + again.sum(axis=1)
        steps = np.broadcast_to(spec.seen(arrays.get(f"{split}.lengths", np.array(spec.length))), needed.shape)
        if (steps < needed).any():
            item = int((steps < needed).argmax())
            what = f"{steps[item]} steps are too few for {needed[item]} labels and blanks"
            raise InputError(what, f"task {task}, {split}, item {item}", "leave it out, or give it more steps")


def _all_accepted(read: Mapping[str, str], accepted: Mapping[str, set[str]]) -> bool:
    """Whether the files that were read are those that would be read now, or of the same content."""
    return read.keys() == accepted.keys() and all(digest in accepted[name] for name, digest in read.items())


def _own_digest(path: Path) -> str:
    with files.machine_errors(path):
        return files.sha256_file(files.existing(path))


def _intact(folder: Path) -> Manifest | None:
    try:
        return Prepared(folder).manifest
    except DataError:
        return None


def controls(task_id: str, root: Path) -> Controls:
    """Score the task's controls on the prepared data and write `root/runs/<task id>/controls.json`."""
    data = Prepared(root / "prepared" / task_id)
    found = tasks.build(data.manifest.task, data.manifest.settings).controls(data)
    for control in found:
        score = control.metrics.get(data.spec.metric)
        if score is None or not np.isfinite(score):
            raise DataError(
                f"control '{control.name}' has no finite {data.spec.metric}", f"task {task_id}", "mend its `controls`"
            )
    record = Controls(
        task=task_id,
        data_digest=data.manifest.digest,
        metric=data.spec.metric,
        direction=data.spec.direction,
        controls=found,
    )
    record.write(root / "runs" / task_id / "controls.json")
    return record
