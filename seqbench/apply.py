"""A trained model on new input: which run answers, its model as it was trained, and what that says of texts and files.

The test split is not read: of several seeds the one with the best validation score answers.
"""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqbench import archs, checkpoint, decode, files, model, tasks, train
from seqbench.errors import DataError, InputError
from seqbench.model import Model, Net
from seqbench.prepared import Array, Prepared
from seqbench.records import PAD, UNSCORED, Result, Runs, derive
from seqbench.seq2seq import Seq2Seq
from seqbench.tasks import Base

COMMANDS = {
    "classes": "classify",
    "stream": "generate",
    "sequence": "translate",
    "ctc": "transcribe",
    "multilabel": "compose",
    "values": "forecast",
}
"""The subcommand that fits a task, by what `Spec.outputs` says."""
UNFINISHED = "\ufffd"
"""What stands for the first bytes of a character."""


# ---------------------------------------------------------------- which run


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, the prepared data that it was trained on, and where its weights are."""

    result: Result
    data: Prepared
    folder: Path
    among: int
    """Seeds that it is the best of."""

    @property
    def validation(self) -> str:
        """The score that it was chosen by, in words."""
        metric, _ = self.data.spec.watched
        return f"{metric} {self.result.valid[metric]:.4g} on validation"


def find(root: Path, word: str, arch: str, seed: int | None, command: str) -> Run:
    """The run of an architecture that answers for a task or task id: that of `seed`, else the best on validation.

    Runs are those of the cell's `results.json`, or, where that does not hold any, those trained seed by seed.
    InputError: no such task or architecture, several task ids, `command` does not fit the task, the run
    failed. DataError: not trained, or trained on other data or by other code than there is now.
    """
    task_id = _task_id(root, word, arch)
    training = _training(task_id, arch, seed)
    results = _results(root / "runs" / task_id / arch, seed, training)
    ended = [result for result in results if result.status == "ok"]
    if not ended:
        first = results[0]
        what = f"the run of seed {first.seed} failed: {first.status} ({first.reason})"
        raise InputError(what, f"{task_id} {arch}", f"train another seed: seqbench train {task_id} {arch} --seed N")
    data = Prepared(root / "prepared" / task_id)
    _fits(data, task_id, arch, command)
    usable = [result for result in ended if _current(result, data)]
    if not usable:
        raise _outdated(ended[0], data, training)
    metric, direction = data.spec.watched
    sign = 1 if direction == "max" else -1
    best = max(usable, key=lambda result: (sign * result.valid[metric], -result.seed))
    folder = train.run_folder(root, task_id, arch, best.seed, best.key)
    return Run(best, data, folder, len({result.seed for result in usable}))


def _training(task_id: str, arch: str, seed: int | None) -> str:
    """The command that trains such a run."""
    return f"seqbench train {task_id} {arch}" + ("" if seed is None else f" --seed {seed}")


def _task_id(root: Path, word: str, arch: str) -> str:
    """The trained task id that a word stands for."""
    tasks.find(tasks.name_of(word))
    archs.version(arch)
    trained = sorted(path.parent.name for path in (root / "runs").glob(f"*/{arch}"))
    found = [name for name in trained if word in (name, tasks.name_of(name))]
    if len(found) > 1 and word not in found:
        raise InputError(f"'{word}' stands for several trained task ids", "TASK", f"name one: {', '.join(found)}")
    if not found:
        raise DataError(
            "there is no trained run", str(root / "runs" / word / arch), f"train it: {_training(word, arch, None)}"
        )
    return word if word in found else found[0]


def _results(folder: Path, seed: int | None, training: str) -> list[Result]:
    """The ended runs of a cell, at least one, or those of one of its seeds."""
    whole = folder / "results.json"
    if whole.is_file():
        runs = Runs.read(whole, f"train the cell again: {training}").results
        found = [result for result in runs if seed in (None, result.seed)]
        if found:
            return found
    refused: DataError | None = None
    found = []
    for path in sorted(folder.glob(f"seed-{'*' if seed is None else seed}/*/result.json")):
        try:
            found.append(Result.read(path, f"train it again: {training}"))
        except DataError as error:  # counts as none, as in training
            refused = refused or error
    if not found:
        where = folder if seed is None else folder / f"seed-{seed}"
        raise refused or DataError("there is no trained run", str(where), f"train it: {training}")
    return found


def _fits(data: Prepared, task_id: str, arch: str, command: str) -> None:
    fitting = COMMANDS.get(data.spec.outputs)
    if fitting != command:
        fix = f"use seqbench {fitting} {task_id} {arch}" if fitting else "name a task that answers something"
        raise InputError(f"{command} does not fit outputs of the kind '{data.spec.outputs}'", f"task {task_id}", fix)


def _current(result: Result, data: Prepared) -> bool:
    """Whether data and code are those of the training; another loop changes no trained model."""
    now = train.versions(result.setting)
    made = result.versions
    return (made.task, made.core, result.data_digest) == (now.task, now.core, data.manifest.digest)


def _outdated(result: Result, data: Prepared, training: str) -> DataError:
    if result.data_digest == data.manifest.digest:
        what = "the run was trained by another version of its task or architecture"
        return DataError(what, f"{result.task} {result.arch}, seed {result.seed}", f"train it again: {training}")
    settings = shlex.quote(files.canonical(result.setting.task_settings))
    fix = f"prepare them again: seqbench prepare {result.setting.task} --setting {settings}; or train: {training}"
    return DataError("the prepared data are not those that the run was trained on", str(data.folder), fix)


# ---------------------------------------------------------------- its model


def load(run: Run, device: torch.device) -> Trained:
    """The run's model with the weights that were best on validation. DataError: they are damaged, or do not fit."""
    result = run.result
    again = f"train it again: {_training(result.task, result.arch, result.seed)}"
    path = run.folder / "model.safetensors"
    weights = checkpoint.read_weights(path, result.weights_sha256, again)
    net = model.build(
        result.setting.applied(run.data.spec), result.arch, result.setting.core, result.width, result.seeds["init"]
    )
    try:
        net.load_state_dict(weights)
    except RuntimeError:
        raise DataError("the weights do not fit the model that the code builds now", str(path), again) from None
    task = tasks.build(result.setting.task, result.setting.task_settings)
    return Trained(task, run.data, net.to(device).eval(), device)


class Translation(NamedTuple):
    """A translation, and of each of its pieces the source piece that it looked at most, with the share of that."""

    text: str
    looks: tuple[tuple[str, str, float], ...] | None
    """None: the model has no attention, or it was not asked for."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that answers. An item is a text, or the path of a file; InputError where the task cannot read it."""

    task: Base
    data: Prepared
    net: Net
    device: torch.device

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; their numbers where they have none."""
        return self.task.labels(self.data)

    @property
    def seconds(self) -> float:
        """How long a step lasts when it is played."""
        return self.task.SECONDS

    @torch.no_grad()
    def classify(self, items: Sequence[str]) -> Array:
        """The probability of each class (items, classes), float64."""
        assert isinstance(self.net, Model)
        logits = self.net(*self._batch(items))
        found: Array = torch.softmax(logits.double(), dim=1).cpu().numpy()
        return found

    @torch.no_grad()
    def transcribe(self, items: Sequence[str], beam: int | None) -> list[str]:
        """What is said in recordings, by prefix beam search with so many prefixes; None: greedily."""
        assert isinstance(self.net, Model)
        if beam is not None:
            _at_least(1, "beam", beam)
        x, lengths = self._batch(items)
        outputs, steps = self.net(x, lengths), self.net.steps(lengths)
        found = decode.best_path(outputs, steps) if beam is None else decode.prefix_beam(outputs, steps, beam)
        return list(map(self._decode, found))

    @torch.no_grad()
    def forecast(self, item: str) -> str:
        """What comes after a file, in its own units, as csv text."""
        assert isinstance(self.net, Model)
        outputs = self.net(self._batch([item])[0])
        return self.task.forecast(outputs[0].double().cpu().numpy(), item, self.data)

    def compose(self, item: str | None, opening: int, steps: int, temperature: float, seed: int) -> tuple[str, str]:
        """An opening, and the `steps` steps that the model goes on to draw, as text both.

        The opening is that of a file (0: all of it), or of the first item of the validation split. Sampling is
        that of `decode.sample_many`. InputError: steps below 1, opening or temperature below 0.
        """
        assert isinstance(self.net, Model)
        _at_least(1, "steps", steps)
        _at_least(0, "opening", opening)
        _at_least(0, "temperature", temperature)
        known = self._encode(item) if item is not None else self._first()
        prompt = torch.from_numpy(np.array(known[: opening or len(known)])).to(self.device)
        generator = torch.Generator().manual_seed(derive(seed, "sample"))
        drawn = list(itertools.islice(decode.sample_many(self.net, prompt, generator, temperature), steps))
        both = prompt, torch.stack(drawn)
        opened, composed = (self.task.decode(part.cpu().numpy(), self.data) for part in both)
        return opened, composed

    def _first(self) -> Array:
        """The first item of the validation split."""
        split = self.data.split("valid")
        first: Array = split["x"][0]
        return first[: split["lengths"][0]] if "lengths" in split else first

    def generate(self, prompt: str, length: int, temperature: float, top_k: int, seed: int) -> Iterator[str]:
        """The prompt as the model reads it, then `length` tokens more, in pieces: joined they are the whole text.

        Sampling is that of `decode.sample`. InputError: length below 1, temperature or top_k below 0.
        """
        assert isinstance(self.net, Model)
        _at_least(1, "length", length)
        _at_least(0, "temperature", temperature)
        _at_least(0, "top_k", top_k)
        known = self._encode(prompt)
        generator = torch.Generator().manual_seed(derive(seed, "sample"))
        tokens = decode.sample(self.net, torch.from_numpy(known).to(self.device), generator, temperature, top_k)
        return spelled(known.tolist(), itertools.islice(tokens, length), self._decode)

    @torch.no_grad()
    def translate(self, texts: Sequence[str], beam: int | None, attention: bool = False) -> list[Translation]:
        """Translations by beam search with so many hypotheses; None: greedily. InputError: beam below 1."""
        assert isinstance(self.net, Seq2Seq)
        if beam is not None:
            _at_least(1, "beam", beam)
        x, lengths = self._batch(texts)
        found = decode.greedy(self.net, x, lengths) if beam is None else decode.beam(self.net, x, lengths, beam)
        written = [tokens[tokens != UNSCORED] for tokens in found]
        sources = [row[:length] for row, length in zip(x, lengths.tolist(), strict=True)]
        return [
            Translation(self._decode(target.tolist()), self._looks(source, target) if attention else None)
            for source, target in zip(sources, written, strict=True)
        ]

    def _looks(self, source: Tensor, target: Tensor) -> tuple[tuple[str, str, float], ...] | None:
        """Of each target token the source token with the largest attention; source (steps,), target (target,)."""
        assert isinstance(self.net, Seq2Seq)
        shares = self.net.attention(target[None], self.net.encode(source[None], torch.tensor([len(source)])))
        if shares is None:
            return None
        most, places = shares.max(dim=1)
        read, written = (self.task.pieces(tokens.cpu().numpy(), self.data) for tokens in (source[places], target))
        return tuple(zip(written, read, most.tolist(), strict=True))

    def _batch(self, items: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Inputs (items, longest, ...) padded with zeros (PAD), on the device, and lengths (items,) on the CPU."""
        read = [torch.from_numpy(self._encode(item)) for item in items]
        x = torch.nn.utils.rnn.pad_sequence(read, batch_first=True, padding_value=PAD)
        return x.to(self.device), torch.tensor([len(one) for one in read])

    def _encode(self, item: str) -> Array:
        try:
            return self.task.encode(item, self.data)
        except InputError as error:  # of many texts, which one; of a file it says so
            where = error.where if item in error.where else f"{error.where}: {item[:40]!r}"
            raise InputError(error.what, where, error.fix) from None

    def _decode(self, tokens: list[int]) -> str:
        return self.task.decode(np.array(tokens, np.int64), self.data)


def spelled(known: list[int], tokens: Iterable[int], text_of: Callable[[list[int]], str]) -> Iterator[str]:
    """The text of the known tokens, then what each new one adds; joined: `text_of` all of them.

    A token may say nothing before the next one (the bytes of a character), or something else at the
    start than within (a blank before a word): each is read after the tokens before it, and waits
    while its text is unfinished.
    """
    yield text_of(known)
    before, new = known, list[int]()
    for token in tokens:
        new.append(token)
        text = text_of([*before, *new])[len(text_of(before)) :]
        if text and not text.endswith(UNFINISHED):
            yield text
            before, new = new, []
    if new:
        yield text_of([*before, *new])[len(text_of(before)) :]


def _at_least(least: int, name: str, value: float) -> None:
    if not value >= least:  # so that NaN is refused too
        raise InputError(f"{name} must be {least} or more", f"{name} = {value}", f"give {least} or more")
