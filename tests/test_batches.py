"""What training takes of a split at each step: all of it, in batches of like length, in windows that go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqbench import batches
from seqbench.batches import AlikeOrder, Items, OnDevice, Order, Windows
from seqbench.errors import InputError
from seqbench.prepared import Array
from seqbench.records import UNSCORED, Spec

CPU = torch.device("cpu")


def spec(outputs: Any, length: int, target_length: int = 0) -> Spec:
    tokens = {"inputs": "tokens", "input_size": 9, "output_size": 9, "embedding": 4}
    sizes = {"length": length, "target_length": target_length}
    return Spec(**tokens, **sizes, outputs=outputs, metric="accuracy", direction="max", causal=outputs != "sequence")


# ---------------------------------------------------------------- items


@pytest.mark.parametrize(("items", "batch"), [(10, 3), (7, 7), (5, 8), (64, 16)])
def test_each_epoch_takes_every_item_once(items: int, batch: int) -> None:
    order = Order(items, batch, seed=1)
    steps = [order(step) for step in range(2 * items)]
    assert {len(step) for step in steps} == {min(batch, items)}
    drawn = torch.cat(steps)
    for epoch in range(2):
        assert sorted(drawn[epoch * items : (epoch + 1) * items].tolist()) == list(range(items))
    again = Order(items, batch, seed=1)
    assert torch.equal(again(2 * items - 1), steps[-1])  # a function of its argument, asked in any order
    assert torch.equal(again(0), steps[0])
    assert items < 8 or not torch.equal(drawn[:items], drawn[items : 2 * items])
    assert order.examples(7) == sum(map(len, steps[:7]))


def sizes_of(items: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(1, 30, size=items))


@pytest.mark.parametrize(("items", "batch"), [(10, 3), (7, 7), (5, 8), (1, 4), (64, 16), (1203, 8)])
def test_each_epoch_of_like_sizes_takes_every_item_once(items: int, batch: int) -> None:
    order = AlikeOrder(sizes_of(items), batch, seed=1)
    assert order.count == -(-items // min(batch, items))
    epochs = [[order(epoch * order.count + step) for step in range(order.count)] for epoch in range(3)]
    for steps in epochs:
        assert sorted(torch.cat(steps).tolist()) == list(range(items))
        lengths = [len(step) for step in steps]
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) <= batch
    assert items < 8 or not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


@pytest.mark.parametrize("sized", [False, True])
def test_a_batch_is_a_function_of_its_step(sized: bool) -> None:
    def made(seed: int) -> Order | AlikeOrder:
        return AlikeOrder(sizes_of(100), 8, seed) if sized else Order(100, 8, seed)

    order, steps = made(3), [*range(40)]
    forwards = {step: order(step).tolist() for step in steps}
    for other in (made(3), order):
        np.random.default_rng(1).shuffle(steps)
        assert {step: other(step).tolist() for step in steps} == forwards
    assert made(4)(0).tolist() != forwards[0]


@pytest.mark.parametrize(("items", "batch"), [(100, 8), (103, 10), (5, 8)])
def test_examples_are_counted_exactly(items: int, batch: int) -> None:
    order = AlikeOrder(sizes_of(items), batch, seed=1)
    seen = 0
    for step in range(3 * order.count):
        assert AlikeOrder(sizes_of(items), batch, seed=1).examples(step) == order.examples(step) == seen
        seen += len(order(step))


def test_sizes_alone_decide_who_meets_whom() -> None:
    """Small pools of random items: not the same neighbours each epoch, as sorting the whole split would give."""
    sizes = sizes_of(3000)
    order = AlikeOrder(sizes, 8, 1)
    mates = [
        next(order(e * order.count + s) for s in range(order.count) if 0 in order(e * order.count + s))
        for e in range(2)
    ]
    assert len({*mates[0].tolist()} & {*mates[1].tolist()}) < 4


def log_normal(random: Any, items: int, middle: float, spread: float, low: int, high: int) -> Array:
    lengths: Array = np.clip(np.exp(random.normal(np.log(middle), spread, items)), low, high).astype(np.int64)
    return lengths


def wasted(order: Order | AlikeOrder, steps: int, *sides: Array) -> float:
    """The share of padding in all that so many steps read."""
    epoch = [order(step).numpy() for step in range(steps)]
    padded = sum(len(index) * side[index].max() for index in epoch for side in sides)
    return float(1 - sum(side.sum() for side in sides) / padded)


@pytest.mark.parametrize("items", [5_000, 8_000, 25_000])
@pytest.mark.parametrize("batch", [32, 64])
def test_little_is_padding(items: int, batch: int) -> None:
    random = np.random.default_rng(0)
    reviews = log_normal(random, items, 170, 0.65, 20, 400)
    alike = AlikeOrder(torch.from_numpy(reviews), batch, 1)
    assert wasted(alike, alike.count, reviews) < 0.03
    assert wasted(Order(items, batch, 1), items // batch, reviews) > 0.4  # what it is without sorting
    source = log_normal(random, items, 14, 0.5, 5, 40)
    target = np.clip(np.round(source * np.exp(random.normal(0, 0.2, items))), 5, 40).astype(np.int64)
    y = np.where(np.arange(40) < target[:, None], 4, UNSCORED)
    x = np.zeros((items, 40), np.uint8)
    data = OnDevice({"x": x, "y": y, "lengths": source}, CPU, spec("sequence", 40, 40))
    assert wasted(Items(data, batch, 1).order, alike.count, source, target) < 0.12


# ---------------------------------------------------------------- rows of a split

X = np.arange(1, 19, dtype=np.uint8).reshape(3, 6)
LENGTHS = np.array([4, 2, 6], np.int32)


def test_rows_are_cut_at_the_longest() -> None:
    data = OnDevice({"x": X, "y": np.array([7, 8, 9]), "lengths": LENGTHS}, CPU, spec("classes", 6))
    x, y, lengths, fresh = data.rows(torch.tensor([1, 0]))
    assert x.tolist() == X[[1, 0], :4].tolist()
    assert y.tolist() == [8, 7]
    assert lengths is not None and lengths.tolist() == [2, 4] and lengths.dtype == torch.int64
    assert fresh
    assert data.sizes is not None and data.sizes.tolist() == [4, 2, 6]


def test_rows_without_lengths_are_whole() -> None:
    data = OnDevice({"x": X, "y": np.array([7, 8, 9])}, CPU, spec("classes", 6))
    x, y, lengths, _ = data.rows(torch.tensor([2, 0]))
    assert x.tolist() == X[[2, 0]].tolist() and y.tolist() == [9, 7]
    assert lengths is None and data.sizes is None


def test_labels_of_every_step_are_cut_like_the_inputs() -> None:
    y = X.astype(np.int64) - 1
    data = OnDevice({"x": X, "y": y, "lengths": LENGTHS}, CPU, spec("every", 6))
    assert data.rows(torch.tensor([0, 1])).y.tolist() == y[:2, :4].tolist()
    assert data.rows(torch.tensor([2])).y.tolist() == y[2:].tolist()


TARGETS = np.array([[4, 3, -1, -1, -1], [3, -1, -1, -1, -1], [4, 4, 5, 6, 3]])


def test_targets_are_cut_at_their_own_longest() -> None:
    data = OnDevice({"x": X, "y": TARGETS, "lengths": LENGTHS}, CPU, spec("sequence", 6, 5))
    x, y, _, _ = data.rows(torch.tensor([0, 1]))
    assert x.shape == (2, 4) and y.tolist() == [[4, 3], [3, -1]]


def test_sentences_order_by_the_longer_side_then_the_shorter() -> None:
    sides = [(4, 2), (2, 4), (4, 4), (6, 1), (1, 5), (5, 5)]  # source, target
    y = np.where(np.arange(5) < np.array(sides)[:, 1:], 4, UNSCORED)
    x, lengths = np.zeros((6, 6), np.uint8), np.array(sides)[:, 0]
    sizes = OnDevice({"x": x, "y": y, "lengths": lengths}, CPU, spec("sequence", 6, 5)).sizes
    assert sizes is not None
    keys = [(max(pair), min(pair)) for pair in sides]
    assert sizes.argsort(stable=True).tolist() == sorted(range(6), key=keys.__getitem__)
    assert sizes[0] == sizes[1]


def test_sequences_of_one_length_need_no_lengths() -> None:
    data = OnDevice({"x": X, "y": TARGETS}, CPU, spec("sequence", 6, 5))
    lengths = data.rows(torch.tensor([0, 2])).lengths
    assert lengths is not None and lengths.tolist() == [6, 6]


def test_training_follows_the_order() -> None:
    data = OnDevice({"x": X, "y": TARGETS, "lengths": LENGTHS}, CPU, spec("sequence", 6, 5))
    items = batches.training(data, 2, seed=1)
    assert isinstance(items, Items) and data.sizes is not None
    for step in range(5):
        found, expected = items(step), data.rows(AlikeOrder(data.sizes, 2, 1)(step))
        assert torch.equal(found.x, expected.x) and torch.equal(found.y, expected.y)
    assert items.examples(4) == 6  # an epoch of 3 items has 2 batches, of 2 and of 1


# ---------------------------------------------------------------- windows of a stream


def stream(steps: int, length: int) -> OnDevice:
    """x says where it stands, y = x + 1."""
    x = np.arange(steps, dtype=np.int32)
    return OnDevice({"x": x, "y": x + 1}, CPU, spec("stream", length))


@pytest.mark.parametrize(("steps", "length", "rows"), [(100, 5, 3), (101, 1, 4), (64, 7, 1), (23, 6, 3), (500, 35, 2)])
def test_windows_go_on_where_the_one_before_ended(steps: int, length: int, rows: int) -> None:
    windows = batches.training(stream(steps, length), rows, seed=1)
    assert isinstance(windows, Windows)
    offsets = set()
    for epoch in range(12):
        taken = [windows(epoch * windows.count + step) for step in range(windows.count)]
        assert [batch.fresh for batch in taken] == [True] + [False] * (windows.count - 1)
        assert all(batch.x.shape == (rows, length) and batch.lengths is None for batch in taken)
        assert all(torch.equal(batch.y, batch.x + 1) for batch in taken)
        text = torch.cat([batch.x for batch in taken], dim=1)
        assert bool((text.diff(dim=1) == 1).all())  # each row is one piece of the stream
        assert len(text.unique()) == text.numel()  # and no piece is read twice
        assert int(text.min()) >= 0 and int(text.max()) < steps
        assert steps - text.numel() < (rows + 1) * length  # little is left out
        offsets.add(int(text.min()))
    assert offsets <= set(range(length))
    assert len(offsets) > 1 or length == 1
    assert windows.examples(3) == 3 * rows * length


def test_a_window_is_a_function_of_its_step() -> None:
    steps = list(range(40))
    windows = Windows(stream(100, 5), 3, seed=1)
    forwards = [windows(step).x.tolist() for step in steps]
    again = Windows(stream(100, 5), 3, seed=1)
    assert [again(step).x.tolist() for step in reversed(steps)] == forwards[::-1]
    assert [Windows(stream(100, 5), 3, seed=2)(step).x.tolist() for step in steps] != forwards


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 5), (7, 3)])
def test_the_shortest_stream_there_may_be(rows: int, length: int) -> None:
    """Each row has a window, whatever the offset."""
    least = rows * length + length - 1
    windows = Windows(stream(least, length), rows, seed=1)
    for epoch in range(30):
        assert int(windows(epoch).x.max()) < least
    with pytest.raises(InputError, match=f"a stream of {least - 1} steps has no window of {length} steps") as caught:
        Windows(stream(least - 1, length), rows, seed=1)
    assert caught.value.where == f"train.batch = {rows}, length = {length}"
