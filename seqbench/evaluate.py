"""Evaluation: every item of a split scored, whatever the batches; and samples of what a model says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqbench import decode, model
from seqbench.batches import OnDevice
from seqbench.model import Model
from seqbench.prepared import Array, Prepared, unpack
from seqbench.records import UNSCORED, Sample, derive
from seqbench.seq2seq import Seq2Seq
from seqbench.tasks import Base

BATCH = 256
"""Items side by side; a power of memory, not of scores."""
LOGITS = 1 << 26
"""Numbers in the logits of a batch, at most (256 MB)."""
CHUNK = 512
"""Steps of a stream that a core with a carried state reads at once."""
BEAM = 5
SAMPLES = 3
PROMPT, CONTINUATION = 20, 200
"""Tokens read and written by a sample of a stream."""
TEMPERATURE = 0.8


@torch.no_grad()
def evaluate(net: model.Net, task: Base, data: OnDevice, prepared: Prepared, final: bool = False) -> dict[str, float]:
    """Metrics over every item of a split. Those of written sequences are dear: only where it is `final`, or selects."""
    net.eval()
    try:
        if isinstance(net, Seq2Seq):
            return _of_sequences(net, task, data, prepared, final or net.spec.selection == "metric")
        outputs = _of_stream(net, data) if net.spec.outputs == "stream" else _of_items(net, data)
        return task.score(outputs, data.y.cpu().numpy(), net.spec)
    finally:
        net.train()


def _chunks(data: OnDevice) -> Iterator[Tensor]:
    """Indices of all items in batches, of like size where sizes differ."""
    order = torch.arange(len(data)) if data.sizes is None else torch.argsort(data.sizes, stable=True)
    spec = data.spec
    logits = {"every": spec.length, "sequence": spec.target_length}.get(spec.outputs, 0) * spec.output_size
    return iter(torch.split(order, max(min(BATCH, LOGITS // max(logits, 1)), 1)))


def _of_items(net: Model, data: OnDevice) -> Array:
    """What `Base.score` takes, in the order of the items."""
    parts, rows = [], []
    every = net.spec.outputs == "every"
    for index in _chunks(data):
        batch = data.rows(index)
        outputs = net(batch.x, batch.lengths)
        if every:
            scored = model.labels(outputs, batch.y)
            outputs = scored.new_zeros(len(index), data.y.shape[1], 2)
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


def _of_sequences(net: Seq2Seq, task: Base, data: OnDevice, prepared: Prepared, final: bool) -> dict[str, float]:
    """Cross-entropy per target token; with `final` also the scores of what is written, by beam search and greedily."""
    total, count = 0.0, 0
    texts: dict[str, list[str]] = {"beam": [""] * len(data), "greedy": [""] * len(data)}
    for index in _chunks(data):
        x, y, lengths, _ = data.rows(index)
        assert lengths is not None
        scored = model.labels(net(x, lengths, y), y)[..., 0][y != UNSCORED]
        total, count = total + float(scored.double().sum()), count + len(scored)
        if final:
            ways = {"beam": decode.beam(net, x, lengths, BEAM), "greedy": decode.greedy(net, x, lengths)}
            for way, written in ways.items():
                for item, tokens in zip(index.tolist(), written.cpu().numpy(), strict=True):
                    texts[way][item] = task.decode(_said(tokens), prepared)
    metrics = {"cross_entropy": total / count}
    if final:
        references = references_of(data)
        greedy = task.score(texts["greedy"], references, net.spec)
        metrics |= task.score(texts["beam"], references, net.spec)
        metrics |= {f"{name}_greedy": value for name, value in greedy.items()}
    return metrics


def _said(tokens: Array) -> Array:
    """The tokens of a written sequence, END among them."""
    said: Array = tokens[tokens != UNSCORED]
    return said


def references_of(data: OnDevice) -> list[str]:
    """The texts to be matched."""
    return unpack(data.arrays["references"])


@torch.no_grad()
def samples(net: model.Net, task: Base, data: OnDevice, prepared: Prepared, seed: int) -> tuple[Sample, ...]:
    """What the model says on the first items of a split, for people to read; nothing where it says no text."""
    net.eval()
    try:
        if isinstance(net, Seq2Seq):
            return tuple(_translation(net, task, data, prepared, item) for item in range(min(SAMPLES, len(data))))
        return (_continuation(net, task, data, prepared, seed),) if net.spec.outputs == "stream" else ()
    finally:
        net.train()


def _translation(net: Seq2Seq, task: Base, data: OnDevice, prepared: Prepared, item: int) -> Sample:
    x, _, lengths, _ = data.rows(torch.tensor([item]))
    assert lengths is not None
    written = _said(decode.beam(net, x, lengths, BEAM)[0].cpu().numpy())
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


def _continuation(net: Model, task: Base, data: OnDevice, prepared: Prepared, seed: int) -> Sample:
    prompt = data.x[:PROMPT]
    generator = torch.Generator().manual_seed(derive(seed, "sample"))
    written = itertools.islice(decode.sample(net, prompt, generator, TEMPERATURE), CONTINUATION)
    return Sample(
        source=task.decode(prompt.cpu().numpy(), prepared),
        reference=task.decode(data.x[PROMPT : PROMPT + CONTINUATION].cpu().numpy(), prepared),
        output=task.decode(np.array(list(written)), prepared),
    )
