"""What padding costs in training on texts of differing lengths, read both ways, and what seqbench saves of it.

    python benchmarks/padding.py [--rounds N] [--arch lstm ...]

Three ways to take a training step, on one model, one thread and the same kind of data, whose lengths
are those of reviews: log-normal, 20 to 400 tokens.

    random   random batches, padded to their longest, through plain layers that know no lengths
    seqbench batches of like length, through the core as it is
    packed   the same batches, through torch's packed sequences (recurrent cores only)

In each round every way takes a few steps, in an order shuffled anew; a second seqbench (A/A) shows what
noise makes of a ratio. Times are per token of the texts, so padding counts as nothing but cost.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqbench import archs, batches, device, model
from seqbench.batches import Batch, OnDevice, Order
from seqbench.model import Model
from seqbench.prepared import Array
from seqbench.records import Spec

WORDS, LONGEST = 5_000, 400
ITEMS, BATCH, STEPS = 5_000, 32, 8
"""Texts, texts in a batch, steps of a way in a round."""
PARAMETERS = 30_000
SPEC = Spec(
    inputs="tokens",
    input_size=WORDS,
    embedding=32,
    outputs="classes",
    output_size=2,
    length=LONGEST,
    metric="accuracy",
    direction="max",
    causal=False,
    pooling="ends",
)
BASE = "seqbench"
ROW = "{:<12} {:<14} {:>22} {:>22} {:>12}"

Forward = Callable[[Batch], Tensor]


def reviews() -> OnDevice:
    """Texts of random words and labels: what is learned does not matter."""
    source = np.random.default_rng(0)
    lengths = np.clip(np.exp(source.normal(np.log(170), 0.65, ITEMS)), 20, LONGEST).astype(np.int64)
    x = source.integers(1, WORDS, size=(ITEMS, LONGEST), dtype=np.int32)
    x[np.arange(LONGEST) >= lengths[:, None]] = 0
    return OnDevice({"x": x, "y": source.integers(2, size=ITEMS), "lengths": lengths}, torch.device("cpu"), SPEC)


def wasted(data: OnDevice, order: Callable[[int], Tensor], steps: int) -> float:
    """The share of padding in what `steps` batches hold."""
    taken = [data.rows(order(step)) for step in range(steps)]
    return 1 - sum(int(batch.lengths.sum()) for batch in taken) / sum(batch.x.numel() for batch in taken)  # type: ignore[union-attr]


def packed(net: Model) -> Forward:
    """The model with its core read as PyTorch's documentation has it: one packed sequence for all layers."""

    def forward(batch: Batch) -> Tensor:
        assert batch.lengths is not None
        h = pack_padded_sequence(net.frontend(batch.x), batch.lengths, batch_first=True, enforce_sorted=False)
        for layer in net.core.layers:
            h = layer(h)[0]
        return net.head(pad_packed_sequence(h, batch_first=True)[0], batch.lengths, net.table)

    return forward


def ways(net: Model, sorted_order: Order, random_order: Order) -> dict[str, tuple[Forward, Order, bool]]:
    """By name: the forward pass, who makes up a batch, and whether torch must be deterministic."""
    own: Forward = lambda batch: net(batch.x, batch.lengths)  # noqa: E731
    found: dict[str, tuple[Forward, Order, bool]] = {
        BASE: (own, sorted_order, True),  # seqbench trains in deterministic mode
        f"{BASE} (A/A)": (own, sorted_order, True),
        "random": (lambda batch: net(batch.x), random_order, False),
    }
    if isinstance(getattr(net.core, "layers", [None])[0], nn.RNNBase):
        found["packed"] = (packed(net), sorted_order, False)
    return found


def steps_of(net: Model, optimizer: Any, forward: Forward, taken: list[Batch]) -> Array:
    """Wall and CPU seconds per token of these training steps."""
    began = time.perf_counter(), time.process_time()
    for batch in taken:
        loss = model.loss(forward(batch), batch.y, SPEC)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    seconds = np.array([time.perf_counter() - began[0], time.process_time() - began[1]])
    return seconds / sum(int(batch.lengths.sum()) for batch in taken)  # type: ignore[union-attr]


def measure(net: Model, data: OnDevice, rounds: int, orders: tuple[Order, Order]) -> dict[str, Array]:
    """Seconds per token (rounds, 2) of every way: wall, CPU."""
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    found = ways(net, *orders)
    names, times = list(found), {name: np.zeros((rounds, 2)) for name in found}
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.freeze()
    for number in range(-1, rounds):  # one round to warm up
        shuffle(names)
        for name in names:
            forward, order, strict = found[name]
            first = (number + 1) * STEPS
            taken = [data.rows(order(step)) for step in range(first, first + STEPS)]
            torch.use_deterministic_algorithms(strict)
            gc.collect()
            seconds = steps_of(net, optimizer, forward, taken)
            if number >= 0:
                times[name][number] = seconds
    torch.use_deterministic_algorithms(False)
    gc.unfreeze()
    return times


def line(arch: str, name: str, times: Array, base: Array) -> str:
    """A row of the table: the ratio of medians, and the quartiles of the ratios of single rounds."""
    ratio = np.median(base, axis=0) / np.median(times, axis=0)
    low, high = np.quantile(base / times, [0.25, 0.75], axis=0)
    cells = [f"{ratio[i]:.3f} [{low[i]:.3f}, {high[i]:.3f}]" for i in range(2)]
    return ROW.format(arch, name, *cells, f"{1e6 * np.median(times[:, 1]):.2f}")


def main() -> None:
    """Print what is wasted, then the table."""
    parser = argparse.ArgumentParser(description="Training on texts of differing lengths: what padding costs.")
    parser.add_argument("--rounds", type=int, default=9, help=f"rounds of {STEPS} steps of each way (default 9)")
    parser.add_argument("--arch", nargs="+", choices=archs.names(), default=archs.names(), help="default: all")
    chosen = parser.parse_args()
    device.deterministic()
    data = reviews()
    items = batches.training(data, BATCH, seed=1)
    assert isinstance(items, batches.Items)
    orders = items.order, Order(ITEMS, BATCH, seed=1)
    print(f"torch {torch.__version__}, one thread, {chosen.rounds} rounds of {STEPS} steps, {BATCH} texts in a batch")
    shares = [wasted(data, order, ITEMS // BATCH) for order in orders]
    print(
        f"padding among the tokens of an epoch: random batches {shares[1]:.1%}, batches of like length {shares[0]:.1%}"
    )
    print("time of seqbench / time of the way, per token of the texts: ratio of medians [quartiles of rounds];")
    print("below 1, seqbench is quicker")
    print(ROW.format("core", "way", "wall", "CPU", "CPU us/token"))
    for arch in chosen.arch:
        core = archs.defaults(arch)
        width = model.solve_width(SPEC, arch, core, PARAMETERS)
        net = model.build(SPEC, arch, core, width, seed=1)
        assert isinstance(net, Model)
        times = measure(net, data, chosen.rounds, orders)
        for name, seconds in times.items():
            if name != BASE:
                print(line(arch, name, seconds, times[BASE]), flush=True)


if __name__ == "__main__":
    main()
