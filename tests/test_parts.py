"""Pooling, a tied embedding table, additive attention, and the checks of a core's answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqbench import parts
from seqbench.errors import InputError
from seqbench.frontend import Frontend
from seqbench.records import Spec

WORDS = Spec(
    inputs="tokens",
    input_size=9,
    embedding=4,
    outputs="stream",
    output_size=9,
    length=6,
    metric="perplexity",
    direction="min",
)
TIED = WORDS.model_copy(update={"tied": True})


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- pooling

H = torch.arange(2 * 4 * 3, dtype=torch.float64).reshape(2, 4, 3)
"""H[0] = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]], H[1] = H[0] + 12."""
LENGTHS = torch.tensor([4, 2])


@pytest.mark.parametrize(
    ("pooling", "lengths", "expected"),
    [
        ("last", None, [[9, 10, 11], [21, 22, 23]]),
        ("last", LENGTHS, [[9, 10, 11], [15, 16, 17]]),
        ("mean", None, [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]]),
        ("mean", LENGTHS, [[4.5, 5.5, 6.5], [13.5, 14.5, 15.5]]),
        ("ends", None, [[9, 1, 2], [21, 13, 14]]),  # the last step's first half (of 3: 1), the first step's rest
        ("ends", LENGTHS, [[9, 1, 2], [15, 13, 14]]),
    ],
)
def test_pooling_by_hand(pooling: str, lengths: Tensor | None, expected: list[list[float]]) -> None:
    assert parts.pool(H, lengths, pooling).tolist() == expected


def test_the_last_steps_by_hand() -> None:
    assert torch.equal(parts.last(H, None, 2), H[:, 2:])
    assert torch.equal(parts.last(H, LENGTHS, 2), torch.stack((H[0, 2:], H[1, :2])))


# ---------------------------------------------------------------- a tied embedding table


def test_a_tied_table_is_the_last_map_of_the_head() -> None:
    frontend, head, h = Frontend(TIED, 5).double(), parts.Head(TIED, 5).double(), noise(2, 6, 5)
    table = frontend.embedding.weight  # type: ignore[union-attr]
    expected = (h @ head.linear.weight.T + head.linear.bias) @ table.T
    close(head(h, None, table), expected)
    tokens = torch.tensor([[0, 3, 8]], dtype=torch.uint8)
    close(frontend.embed(tokens), 2 * table[tokens.long()])  # times the root of its 4 columns
    close(frontend(tokens), frontend.linear(frontend.embed(tokens)))


def test_tokens_come_in_at_unit_variance_tied_or_not() -> None:
    torch.manual_seed(0)
    for spec in (WORDS, TIED):
        wide = spec.model_copy(update={"input_size": 500, "output_size": 500, "embedding": 64})
        seen = Frontend(wide, 5).embed(torch.arange(500)[None]).detach()
        assert 0.97 < float(seen.std()) < 1.03


def test_without_tying_the_table_is_not_used_by_the_head() -> None:
    head, h = parts.Head(WORDS, 5).double(), noise(2, 6, 5)
    close(head(h, None, noise(9, 4)), head.linear(h))


def test_tied_to_other_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="other tokens"):
        parts.Head(TIED.model_copy(update={"output_size": 8}), 5)


def test_dropout_is_before_the_core_and_before_the_head() -> None:
    spec = WORDS.model_copy(update={"dropout": 0.5})
    frontend, head = Frontend(spec, 400), parts.Head(spec, 400)
    torch.manual_seed(0)
    zeros = float((frontend(torch.ones(1, 6)) == 0).double().mean())
    assert 0.4 < zeros < 0.6
    h = torch.ones(1, 6, 400)
    assert not torch.equal(head(h, None, None), head.linear(h))
    frontend.eval(), head.eval()
    assert not (frontend(torch.ones(1, 6)) == 0).any()
    assert torch.equal(head(h, None, None), head.linear(h))


# ---------------------------------------------------------------- additive attention


def test_additive_attention_by_hand() -> None:
    """The published equations with loops, on one sentence of three steps, two of which count."""
    made = parts.Additive(2).double()
    h, memory, counts = noise(1, 2, 2), noise(1, 3, 2, seed=2), torch.tensor([[True, True, False]])
    w, b = made.query.weight.detach().numpy(), made.query.bias.detach().numpy()
    u, v = made.keys.weight.detach().numpy(), made.score.weight.detach().numpy()[0]
    c, d = made.merge.weight.detach().numpy(), made.merge.bias.detach().numpy()
    rows, outputs = [], []
    for h_i in h[0].numpy():
        scores = [float(v @ np.tanh(w @ h_i + b + u @ m_j)) for m_j in memory[0, :2].numpy()]
        shares = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
        context = sum(share * m_j for share, m_j in zip(shares, memory[0, :2].numpy(), strict=True))
        rows.append([*shares, 0.0])
        outputs.append(np.tanh(c @ np.concatenate([h_i, context]) + d))
    keys = made.keys(memory)
    close(made.weights(h, keys, counts)[0], torch.tensor(rows, dtype=torch.float64))
    close(made(h, memory, keys, counts)[0], torch.from_numpy(np.array(outputs)))


def test_what_does_not_count_changes_nothing_in_additive_attention() -> None:
    made, h, memory = parts.Additive(4).double(), noise(2, 3, 4), noise(2, 5, 4, seed=2)
    counts = torch.arange(5) < torch.tensor([[2], [5]])
    garbage = torch.where(counts[:, :, None], memory, 100.0)
    close(made(h, garbage, made.keys(garbage), counts), made(h, memory, made.keys(memory), counts))
    alone = made(h[:1], memory[:1, :2], made.keys(memory[:1, :2]), counts[:1, :2])
    close(made(h, garbage, made.keys(garbage), counts)[:1], alone)


# ---------------------------------------------------------------- a core's answers, checked


class Answering(nn.Module):
    """A core that carries and gives what it was told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def carry(self, x: Tensor, state: Any) -> Any:
        return self.answer


class Reading(nn.Module):
    """A core that has `forward` only."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return 2 * x


ZEROS = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((ZEROS[:, 0], ZEROS), r"Core.carry returned shape \(2, 4\)"),
        (ZEROS, r"Core.carry returned shape \(3, 4\)"),
        ((None, ZEROS), "Core.carry returned a NoneType"),
        ((ZEROS, {"h": ZEROS}), "cannot be kept"),
        ((ZEROS, (ZEROS, 3)), "cannot be kept"),
    ],
)
def test_a_broken_carry_is_named(answer: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parts.carry(Answering(answer), "mine", ZEROS, None)
    assert caught.value.where.endswith("mine.py")


@pytest.mark.parametrize("state", [ZEROS, (ZEROS,), ((ZEROS, ZEROS), (ZEROS,))], ids=["one", "flat", "nested"])
def test_a_state_is_a_tensor_or_a_nested_tuple(state: Any) -> None:
    out, left = parts.carry(Answering((ZEROS, state)), "mine", ZEROS, None)
    assert out is ZEROS and left is state


def test_a_core_without_carry_begins_anew_and_leaves_no_state() -> None:
    out, state = parts.carry(Reading(), "mine", ZEROS + 1, "what came before")
    assert torch.equal(out, ZEROS + 2) and state is None


def test_bytes_of_nested_states() -> None:
    ten, two = torch.zeros(2, 5), torch.zeros(2, dtype=torch.bool)
    assert parts.bytes_of(((ten, [two]), (ten.double(),), None)) == 40 + 2 + 80
