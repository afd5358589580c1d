"""Of every task whose items differ in length: an item alone scores as among others, and little is padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import SMALL, Raw, Real, write
from torch import Tensor

from seqbench import archs, batches, model
from seqbench.batches import OnDevice
from seqbench.prepared import Prepared
from seqbench.records import UNSCORED
from seqbench.seq2seq import Seq2Seq

pytestmark = pytest.mark.usefixtures("one_thread")

UNEVEN = (
    *("imdb", "sst2", "multi30k", "jsb", "nottingham"),
    *("fsdd", "fsdd_strings", "speech_commands", "scfd", "ucf101"),
)
LONGER = {"scfd": {"seconds": 2.0, "rate": 10.0}, "ucf101": {"seconds": 3.0, "rate": 10.0}}
"""So that clips are shorter than the window, each by another number of frames."""
WIDTH = 8
ITEMS = 6


@pytest.fixture(scope="module")
def made(raw: Raw, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small data of a task, made once."""
    known: dict[str, Prepared] = {}

    def get(name: str) -> Prepared:
        if name not in known:
            known[name] = write(name, SMALL[name] | LONGER.get(name, {}), raw, tmp_path_factory.mktemp(name))
        return known[name]

    return get


def differing(data: OnDevice) -> Tensor:
    """Some items, as different in length as there are."""
    assert data.sizes is not None
    order = torch.argsort(data.sizes, stable=True)
    places = torch.linspace(0, len(order) - 1, min(ITEMS, len(order))).long()
    return order[places]


@torch.no_grad()
def losses(net: Any, data: OnDevice, index: Tensor) -> Tensor:
    """The loss of each item (items,) when these go through the model side by side."""
    x, y, lengths, _ = data.rows(index)
    if isinstance(net, Seq2Seq):
        assert lengths is not None
        each = model.labels(net(x, lengths, y), y)[..., 0]
        return each.masked_fill(y == UNSCORED, 0.0).sum(dim=1)
    outputs, steps = net(x, lengths), net.steps(lengths)
    if net.spec.outputs == "ctc":
        return model.alignment(outputs, y, steps)
    if net.spec.outputs == "multilabel":
        return model.many(outputs, y)[..., 0].masked_fill(y[..., 0] == UNSCORED, 0.0).sum(dim=1)
    return model.labels(outputs, y)[..., 0]


def test_no_uneven_task_is_left_out(made: Any) -> None:
    assert {name for name in SMALL if "train.lengths" in made(name).manifest.arrays} == set(UNEVEN)


@pytest.mark.parametrize("name", UNEVEN)
@pytest.mark.parametrize("arch", archs.names())
def test_an_item_alone_scores_as_among_others(made: Any, name: str, arch: str) -> None:
    data = made(name)
    split = batches.Splits(data, torch.device("cpu")).train
    net = model.build(data.spec, arch, archs.defaults(arch), WIDTH, seed=1).double().eval()
    index = differing(split)
    together = losses(net, split, index)
    alone = torch.cat([losses(net, split, one[None]) for one in index])
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-8)
    assert len(set(together.tolist())) > 1


def wasted(split: OnDevice, batch: int) -> float:
    """The share of padding in the inputs of three epochs of training."""
    items = batches.training(split, batch, seed=1)
    assert isinstance(items, batches.Items) and isinstance(items.order, batches.AlikeOrder)
    there = real = 0
    for step in range(3 * items.order.count):
        x, _, lengths, _ = items(step)
        assert lengths is not None
        there, real = there + len(x) * x.shape[1], real + int(lengths.sum())
    return 1 - real / there


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "settings", "batch"),
    [
        ("jsb", {}, 16),
        ("nottingham", {}, 16),
        ("fsdd", {}, 32),
        ("fsdd_strings", {"train": 1000, "valid": 20, "test": 20}, 8),
    ],
)
def test_less_than_15_percent_is_padding(
    name: str, settings: dict[str, Any], batch: int, real: Real, tmp_path: Path
) -> None:
    data = write(name, settings, real(name), tmp_path)
    split = batches.Splits(data, torch.device("cpu")).train
    assert wasted(split, batch) < 0.15
