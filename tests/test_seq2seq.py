"""Encoder and decoder, for every architecture and connection; a person's own file without a memory among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import ARCHS, add_own
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from seqbench import archs, model, parts
from seqbench.errors import InputError
from seqbench.records import BEGIN, END, UNSCORED, Spec
from seqbench.seq2seq import Seq2Seq

pytestmark = pytest.mark.usefixtures("one_thread")

CONNECTIONS = ("none", "additive", "attention")
RECURRENT = ("rnn", "lstm", "gru")
WIDTH = 6
SPEC = Spec(
    inputs="tokens",
    input_size=9,
    outputs="sequence",
    output_size=9,
    length=7,
    target_length=5,
    metric="exact",
    direction="max",
    selection="cross_entropy",
    causal=False,
    embedding=4,
)
every = pytest.mark.parametrize("arch", ARCHS)
connected = pytest.mark.parametrize("connection", CONNECTIONS)

LENGTHS, TARGETS = torch.tensor([7, 1, 4, 6]), torch.tensor([3, 5, 1, 4])


@pytest.fixture(autouse=True)
def with_an_own_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_own(tmp_path, monkeypatch)


def settings(arch: str, layers: int = 2) -> dict[str, Any]:
    defaults = archs.defaults(arch)
    return defaults | {key: value for key, value in {"layers": layers}.items() if key in defaults}


def built(arch: str, connection: str = "none", layers: int = 2, **changes: Any) -> Seq2Seq:
    """In float64, in evaluation mode, two layers deep where it has layers."""
    spec = SPEC.model_copy(update={"connection": connection} | changes)
    made = model.build(spec, arch, settings(arch, layers), WIDTH, seed=1)
    assert isinstance(made, Seq2Seq)
    return made.double().eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Four sentences of differing lengths; what stands in the padding of the source is no PAD."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(4, 9, (4, 7), generator=generator, dtype=torch.uint8)
    y = torch.randint(4, 9, (4, 5), generator=generator)
    for row, length in zip(y, TARGETS.tolist(), strict=True):
        row[length - 1], row[length:] = END, UNSCORED
    return x, LENGTHS, y


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def before(y: Tensor) -> Tensor:
    """What the decoder reads: BEGIN, then each token but the last."""
    return torch.cat((torch.full((len(y), 1), BEGIN), y[:, :-1].clamp(min=0)), dim=1)


# ---------------------------------------------------------------- what must be equal


@every
@connected
def test_teacher_forcing_equals_step_by_step(arch: str, connection: str) -> None:
    net, (x, lengths, y) = built(arch, connection), batch()
    memory = net.encode(x, lengths)
    state, outputs = net.begin(memory), []
    for token in before(y).unbind(1):
        logits, state = net.step(token, memory, state)
        outputs.append(logits)
    close(torch.stack(outputs, dim=1), net(x, lengths, y))


@every
@connected
@pytest.mark.parametrize("tied", [False, True])
def test_an_item_alone_equals_the_item_in_a_padded_batch(arch: str, connection: str, tied: bool) -> None:
    net, (x, lengths, y) = built(arch, connection, tied=tied), batch()
    outputs = net(x, lengths, y)
    assert outputs.shape == (4, 5, 9)
    for item, (source, target) in enumerate(zip(LENGTHS, TARGETS, strict=True)):
        one = slice(item, item + 1)
        close(outputs[item, :target], net(x[one, :source], lengths[one], y[one, :target])[0])
    assert not torch.allclose(outputs[0, 0], outputs[1, 0])  # the source is seen


@every
@connected
def test_no_target_token_sees_itself_or_later_ones(arch: str, connection: str) -> None:
    net, (x, lengths, _) = built(arch, connection), batch()
    y = torch.randint(4, 9, (4, 5), generator=torch.Generator().manual_seed(1))
    outputs = net(x, lengths, y)
    for t in range(5):
        other = y.clone()
        other[:, t] = torch.where(y[:, t] == 8, 4, y[:, t] + 1)
        changed = net(x, lengths, other)
        assert torch.equal(changed[:, : t + 1], outputs[:, : t + 1])
        assert t == 4 or (changed[:, t + 1] != outputs[:, t + 1]).any(1).all()


@every
@connected
def test_gradients_reach_every_parameter(arch: str, connection: str) -> None:
    net, (x, lengths, y) = built(arch, connection), batch()
    net.train()
    model.loss(net(x, lengths, y), y, net.spec).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


# ---------------------------------------------------------------- the connection


@every
@connected
def test_which_parts_there_are(arch: str, connection: str) -> None:
    net = built(arch, connection)
    own = connection == "attention" and getattr(archs.find(arch), "MEMORY", False)
    assert net.own == own
    assert (net.context is None) == own
    assert (net.additive is None) == (own or connection == "none")


@every
def test_without_attention_the_final_state_is_all_that_is_seen(arch: str) -> None:
    net, (x, lengths, y) = built(arch), batch()
    memory = net.encode(x, lengths)
    outputs = parts.read(net.encoder, arch, net.frontend(x), lengths)
    half, rows = WIDTH // 2, torch.arange(4)
    final = torch.cat((outputs[rows, lengths - 1, :half], outputs[:, 0, half:]), dim=1)
    assert net.context is not None and memory.context is not None
    close(memory.context, net.context(final))
    h = net.target(net.frontend.embedding(before(y))) + memory.context[:, None]  # type: ignore[misc]
    close(net(x, lengths, y), net.head.linear(net.decoder(h)))
    assert net.attention(y[:1, :3], net.encode(x[:1], lengths[:1])) is None


@pytest.mark.parametrize("arch", RECURRENT)
def test_what_is_fed_is_the_final_state_of_both_directions(arch: str) -> None:
    net, (x, lengths, _) = built(arch, layers=1), batch()
    there = pack_padded_sequence(net.frontend(x), lengths, batch_first=True, enforce_sorted=False)
    state = net.encoder.layers[0](there)[1]
    h = state[0] if arch == "lstm" else state
    assert net.context is not None
    context = net.encode(x, lengths).context
    assert context is not None
    close(context, net.context(torch.cat((h[0], h[1]), dim=1)))


@every
@torch.no_grad()
def test_additive_attention_by_hand(arch: str) -> None:
    net, (x, lengths, y) = built(arch, "additive"), batch()
    outputs, additive, table = net(x, lengths, y), net.additive, net.frontend.embedding
    assert additive is not None and table is not None
    for item, (source, target) in enumerate(zip(LENGTHS, TARGETS, strict=True)):
        one = slice(item, item + 1)
        memory = net.encode(x[one, :source], lengths[one])
        assert memory.context is not None
        h = net.decoder(net.target(table(before(y[one, :target]))) + memory.context[:, None])[0]
        scores = [
            [additive.score(torch.tanh(additive.query(h_i) + additive.keys(m))).item() for m in memory.outputs[0]]
            for h_i in h
        ]
        shares = torch.softmax(torch.tensor(scores, dtype=torch.float64), dim=1)
        merged = torch.tanh(additive.merge(torch.cat((h, shares @ memory.outputs[0]), dim=1)))
        close(outputs[item, :target], net.head.linear(merged))
        found = net.attention(y[one, :target], memory)
        assert found is not None
        close(found, shares)


def test_the_transformer_attends_by_itself() -> None:
    net, (x, lengths, y) = built("transformer", "attention"), batch()
    memory = net.encode(x, lengths)
    h = net.target(net.frontend.embedding(before(y)))  # type: ignore[misc]
    close(net(x, lengths, y), net.head.linear(net.decoder(h, memory=memory.outputs, memory_lengths=lengths)))
    assert memory.context is None and memory.keys is None


@every
@pytest.mark.parametrize("connection", ["additive", "attention"])
@pytest.mark.parametrize("item", [0, 1, 3])
def test_a_map_of_attention(arch: str, connection: str, item: int) -> None:
    net, (x, lengths, y) = built(arch, connection), batch()
    source, target = int(LENGTHS[item]), int(TARGETS[item])
    memory = net.encode(x[item : item + 1, :source], lengths[item : item + 1])
    found = net.attention(y[item : item + 1, :target], memory)
    assert found is not None
    assert found.shape == (target, source)
    close(found.sum(1), torch.ones(target, dtype=torch.float64))


def test_the_table_is_shared_and_scaled_where_it_is_tied() -> None:
    for tied in (False, True):
        net, (x, lengths, _) = built("gru", tied=tied), batch()
        table = net.frontend.embedding
        assert isinstance(table, nn.Embedding)
        assert sum(isinstance(part, nn.Embedding) for part in net.modules()) == 1
        memory, scale = net.encode(x, lengths), 2.0 if tied else 1.0  # 2 = root of 4 columns
        token = torch.tensor([5, 6, 7, 8])
        h = net.target(scale * table(token)) + memory.context
        out = net.decoder(h[:, None])[:, 0]
        logits = net.head.linear(out) @ table.weight.T if tied else net.head.linear(out)
        close(net.step(token, memory, None)[0], logits)


# ---------------------------------------------------------------- sizes


@every
@connected
@pytest.mark.parametrize("tied", [False, True])
def test_count_is_every_parameter_once(arch: str, connection: str, tied: bool) -> None:
    net = built(arch, connection, tied=tied)
    found = model.count(net)
    assert found.embedding == 9 * 4
    assert found.frontend == 2 * (4 * WIDTH + WIDTH)
    assert found.head == WIDTH * (4 if tied else 9) + (4 if tied else 9)
    assert found.embedding + found.matched == sum(p.numel() for p in net.parameters())
    grouped = [part for group in net.groups().values() for part in group]
    assert sum(len(list(part.parameters())) for part in grouped) == len(list(net.parameters()))


@every
@connected
@pytest.mark.parametrize("budget", [100_000, 250_000])
def test_the_width_comes_within_five_percent(arch: str, connection: str, budget: int) -> None:
    spec = SPEC.model_copy(update={"connection": connection, "input_size": 5000, "output_size": 5000, "tied": True})
    width = model.solve_width(spec, arch, settings(arch), budget)
    with torch.device("meta"):
        found = model.count(Seq2Seq(spec, arch, settings(arch), width)).matched
    assert abs(found - budget) <= 0.05 * budget


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize(("arch", "states"), [("rnn", 1), ("gru", 1), ("lstm", 2), ("transformer", 0)])
def test_bytes_of_the_state(arch: str, states: int, connection: str) -> None:
    net, layers, seen = built(arch, connection).float(), 2, 7
    context, cache = WIDTH, layers * 2 * WIDTH * 5  # keys and values of each token written
    expected = 4 * (layers * states * WIDTH if states else cache)
    if net.own:
        expected += layers * (4 * 2 * WIDTH * seen + seen)  # keys, values and which of them count
    else:
        expected += 4 * context + (4 * 2 * WIDTH * seen if net.additive else 0)
    random = torch.random.get_rng_state()
    assert model.state_bytes(net) == expected
    assert torch.equal(torch.random.get_rng_state(), random)


@every
def test_build_depends_on_the_seed_alone(arch: str) -> None:
    spec = SPEC.model_copy(update={"connection": "attention"})
    one, same, other = (model.build(spec, arch, settings(arch), WIDTH, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(values, same[name]) for name, values in one.items())
    assert not torch.equal(one["head.linear.weight"], other["head.linear.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": "values"}, "must read tokens"),
        ({"output_size": 10}, "among them all that it writes"),
        ({"target_length": 0}, "no longest target"),
        ({"embedding": 0}, "no embedding"),
    ],
)
def test_a_spec_that_no_decoder_can_serve_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        built("gru", **changes)
    assert "of the task" in caught.value.where
