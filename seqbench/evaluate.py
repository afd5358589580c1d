"""Evaluation: every item of a split scored, whatever the batches; and samples of what a model says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqbench import decode, model
from seqbench.batches import Batch, OnDevice
from seqbench.model import Model
from seqbench.prepared import Array, Prepared, unpack
from seqbench.records import UNSCORED, Sample, Spec, derive
from seqbench.seq2seq import Seq2Seq
from seqbench.tasks import Base

BATCH = 256
"""Items side by side; a power of memory, not of scores."""
STEPS = 1 << 15
"""Steps of a batch of items that differ in length, padding among them: longer ones come in smaller batches."""
LARGEST = 1 << 26
"""Numbers in the logits, or in the images, of a batch, at most (256 MB)."""
CHUNK = 512
"""Steps of a stream that a core with a carried state reads at once."""
BEAM = 5
WRITTEN = ("sequence", "ctc")
"""Kinds of outputs that are scored as texts."""
SAMPLES = 3
PROMPT, CONTINUATION = 20, 200
"""Tokens read and written by a sample of a stream."""
OPENING, PLAYED = 8, 32
"""Steps read and written by a sample of labels for each step."""
TEMPERATURE = 0.8


@torch.no_grad()
def evaluate(net: model.Net, task: Base, data: OnDevice, prepared: Prepared, final: bool = False) -> dict[str, float]:
    """Metrics over every item of a split. Those of written sequences are dear: only where it is `final`, or selects."""
    net.eval()
    try:
        if net.spec.outputs in WRITTEN:
            return _of_texts(net, task, data, prepared, final or net.spec.selection == "metric")
        assert isinstance(net, Model)
        outputs = _of_stream(net, data) if net.spec.outputs == "stream" else _of_items(net, data)
        return task.score(outputs, data.y.cpu().numpy(), net.spec)
    finally:
        net.train()


def _chunks(data: OnDevice) -> Iterator[Tensor]:
    """Indices of all items in batches, of like size where sizes differ."""
    if data.sizes is None or data.lengths is None:
        yield from torch.split(torch.arange(len(data)), _most(data.spec, data.spec.length))
        return
    order = torch.argsort(data.sizes, stable=True)
    longest = torch.cummax(data.lengths[order], dim=0).values.tolist()
    first = 0
    while first < len(order):
        count = min(BATCH, len(order) - first)
        while (most := _most(data.spec, longest[first + count - 1], STEPS)) < count:
            count = most
        yield order[first : first + count]
        first += count


def _most(spec: Spec, longest: int, all_steps: int | None = None) -> int:
    """Items of this length in a batch, at most."""
    steps = {"sequence": spec.target_length} | dict.fromkeys(("every", "ctc", "multilabel"), longest)
    logits, images = steps.get(spec.outputs, 0) * spec.output_size, longest * math.prod(spec.frame or (0,))
    by_steps = BATCH if all_steps is None else all_steps // longest
    return max(min(BATCH, by_steps, LARGEST // max(logits, images, 1)), 1)


def _of_items(net: Model, data: OnDevice) -> Array:
    """What `Base.score` takes, in the order of the items."""
    parts, rows = [], []
    scores = {"every": model.labels, "multilabel": model.many}.get(net.spec.outputs)
    for index in _chunks(data):
        batch = data.rows(index)
        outputs = net(batch.x, batch.lengths)
        if scores is not None:
            scored = scores(outputs, batch.y)
            outputs = scored.new_zeros(len(index), data.y.shape[1], scored.shape[2])
            outputs[:, : scored.shape[1]] = scored
        parts.append(outputs)
        rows.append(index)
    found: Array = torch.cat(parts)[torch.argsort(torch.cat(rows)).to(parts[0].device)].cpu().numpy()
    return found


def _of_stream(net: Model, data: OnDevice) -> Array:
    """(steps, 2) as `model.labels`. Every label counts once, and no batch size decides what is seen before it.

    A core that carries its state reads the whole split in one go. Any other reads windows of
    `length` steps that overlap by half: what it scores has at least half a window before it, but for the first.
    """
    if hasattr(net.core, "carry"):
        state: Any = None
        scored = []
        for x, y in zip(torch.split(data.x, CHUNK), torch.split(data.y, CHUNK), strict=True):
            outputs, state = net.carry(x[None], state)
            scored.append(model.labels(outputs[0], y))
        whole: Array = torch.cat(scored).cpu().numpy()
        return whole
    steps, length = len(data), min(net.spec.length, len(data))
    half = max(length // 2, 1)
    starts = [*range(0, steps - length, half), steps - length]
    found = np.full((steps, 2), np.nan, np.float32)
    done = 0
    for some in torch.split(torch.tensor(starts), max(8 * CHUNK // length, 1)):
        index = (some[:, None] + torch.arange(length)).to(data.x.device)
        labels = model.labels(net.carry(data.x[index])[0], data.y[index]).cpu().numpy()
        for start, window in zip(some.tolist(), labels, strict=True):
            found[done : start + length] = window[done - start :]
            done = start + length
    return found


def _of_texts(net: model.Net, task: Base, data: OnDevice, prepared: Prepared, final: bool) -> dict[str, float]:
    """Cross-entropy per label; with `final` also the scores of what is written, by beam search and greedily."""
    total, count = 0.0, 0
    texts: dict[str, list[str]] = {"beam": [""] * len(data), "greedy": [""] * len(data)}
    for index in _chunks(data):
        batch = data.rows(index)
        loss, ways = _translated(net, batch) if isinstance(net, Seq2Seq) else _transcribed(net, batch)
        total, count = total + float(loss.double().sum()), count + int((batch.y != UNSCORED).sum())
        for way, write in ways.items() if final else ():
            for item, tokens in zip(index.tolist(), write(), strict=True):
                texts[way][item] = task.decode(np.array(tokens, np.int64), prepared)
    metrics = {"cross_entropy": total / count}
    if final:
        references = references_of(data)
        greedy = task.score(texts["greedy"], references, net.spec)
        metrics |= task.score(texts["beam"], references, net.spec)
        metrics |= {f"{name}_greedy": value for name, value in greedy.items()}
    return metrics


Ways = dict[str, Callable[[], list[list[int]]]]
"""How each item of a batch is written."""


def _translated(net: Seq2Seq, batch: Batch) -> tuple[Tensor, Ways]:
    """Nats of each target token, and what is written in its place, END among it."""
    x, y, lengths, _ = batch
    assert lengths is not None
    loss = model.labels(net(x, lengths, y), y)[..., 0][y != UNSCORED]
    return loss, {
        "beam": lambda: _said(decode.beam(net, x, lengths, BEAM)),
        "greedy": lambda: _said(decode.greedy(net, x, lengths)),
    }


def _transcribed(net: Model, batch: Batch) -> tuple[Tensor, Ways]:
    """Nats of each item's labels, and the labels that are written in their place."""
    outputs, steps = net(batch.x, batch.lengths), net.steps(batch.lengths)
    return model.alignment(outputs, batch.y, steps), {
        "beam": lambda: decode.prefix_beam(outputs, steps, BEAM),
        "greedy": lambda: decode.best_path(outputs, steps),
    }


def _said(written: Tensor) -> list[list[int]]:
    """The tokens of written sequences (batch, longest), END among them."""
    return [[token for token in tokens if token != UNSCORED] for tokens in written.tolist()]


def references_of(data: OnDevice) -> list[str]:
    """The texts to be matched."""
    return unpack(data.arrays["references"])


@torch.no_grad()
def samples(net: model.Net, task: Base, data: OnDevice, prepared: Prepared, seed: int) -> tuple[Sample, ...]:
    """What the model says on the first items of a split, for people to read; nothing where it says no text."""
    net.eval()
    try:
        items = range(min(SAMPLES, len(data)))
        if isinstance(net, Seq2Seq):
            return tuple(_translation(net, task, data, prepared, item) for item in items)
        if net.spec.outputs == "ctc":
            return tuple(_transcription(net, task, data, prepared, item) for item in items)
        if net.spec.outputs == "multilabel" and net.spec.causal:
            return (_performance(net, task, data, prepared, seed),)
        return (_continuation(net, task, data, prepared, seed),) if net.spec.outputs == "stream" else ()
    finally:
        net.train()


def _translation(net: Seq2Seq, task: Base, data: OnDevice, prepared: Prepared, item: int) -> Sample:
    x, _, lengths, _ = data.rows(torch.tensor([item]))
    assert lengths is not None
    written = np.array(_said(decode.beam(net, x, lengths, BEAM))[0], np.int64)
    source = x[0].cpu().numpy()
    seen = net.attention(torch.from_numpy(written)[None].to(x.device), net.encode(x, lengths))
    return Sample(
        source=task.decode(source, prepared),
        reference=references_of(data)[item],
        output=task.decode(written, prepared),
        source_tokens=task.pieces(source, prepared),
        output_tokens=task.pieces(written, prepared),
        attention=() if seen is None else tuple(tuple(round(v, 2) for v in row) for row in seen.tolist()),
    )


def _transcription(net: Model, task: Base, data: OnDevice, prepared: Prepared, item: int) -> Sample:
    _, ways = _transcribed(net, data.rows(torch.tensor([item])))
    labels = np.array(ways["beam"]()[0], np.int64)
    return Sample(source="", reference=references_of(data)[item], output=task.decode(labels, prepared))


def _performance(net: Model, task: Base, data: OnDevice, prepared: Prepared, seed: int) -> Sample:
    """From the opening of the first item, what the model goes on to draw, beside how the item goes on."""
    roll = data.x[0] if data.lengths is None else data.x[0, : int(data.lengths[0])]
    generator = torch.Generator().manual_seed(derive(seed, "sample"))
    drawn = list(itertools.islice(decode.sample_many(net, roll[:OPENING], generator), PLAYED))
    opening, truth = roll[:OPENING], roll[OPENING : OPENING + PLAYED]
    said = [task.decode(part.cpu().numpy(), prepared) for part in (opening, truth, torch.stack(drawn))]
    return Sample(source=said[0], reference=said[1], output=said[2])


def _continuation(net: Model, task: Base, data: OnDevice, prepared: Prepared, seed: int) -> Sample:
    prompt = data.x[:PROMPT]
    generator = torch.Generator().manual_seed(derive(seed, "sample"))
    written = itertools.islice(decode.sample(net, prompt, generator, TEMPERATURE), CONTINUATION)
    return Sample(
        source=task.decode(prompt.cpu().numpy(), prepared),
        reference=task.decode(data.x[PROMPT : PROMPT + CONTINUATION].cpu().numpy(), prepared),
        output=task.decode(np.array(list(written)), prepared),
    )
