"""What every architecture must do (a person's own file in seqbench/archs is tested as well), and what each one is."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqbench import archs
from seqbench.archs._recurrent import turned
from seqbench.decode import select

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, TIME = 6, 9  # 6 = 2 heads of 3: no multiple of 4, so the padded columns of attention are tested too
EVERY = archs.names()
RECURRENT = {"rnn": 1, "gru": 3, "lstm": 4}
both_ways = pytest.mark.parametrize("causal", [True, False])
every = pytest.mark.parametrize("arch", EVERY)


def core(arch: str, causal: bool = True, width: int = WIDTH, seed: int = 0, **settings: Any) -> Any:
    """A float64 core in evaluation mode, two layers deep where it has layers."""
    defaults = archs.defaults(arch)
    chosen = {"layers": 2, "dropout": 0.0} | settings
    known = {key: value for key, value in chosen.items() if key in defaults}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = archs.find(arch)(width, length=TIME, causal=causal, **defaults | known)
    return made.double().eval()


def remembering(arch: str, **settings: Any) -> Any:
    """The same with a cross-attention of its own."""
    defaults = archs.defaults(arch)
    known = {key: value for key, value in ({"layers": 2, "dropout": 0.0} | settings).items() if key in defaults}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = archs.find(arch)(WIDTH, length=TIME, causal=True, memory=True, **defaults | known)
    return made.double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def gradients(model: Any, x: Tensor) -> Tensor:
    """(time, time): largest |d (w . output_i) / d input_j|; w, as a LayerNorm's plain sum is constant."""
    x = x.clone().requires_grad_()
    out = model(x) * noise(WIDTH, seed=7)
    rows = [torch.autograd.grad(out[0, i].sum(), x, retain_graph=True)[0][0].abs().amax(1) for i in range(x.shape[1])]
    return torch.stack(rows)


def test_the_four_are_found() -> None:
    assert set(EVERY) >= {"rnn", "lstm", "gru", "transformer"}


@every
@both_ways
def test_shape_is_kept(arch: str, causal: bool) -> None:
    model = core(arch, causal)
    for time in (1, TIME, 3 * TIME):  # also beyond `length`
        assert model(noise(3, time, WIDTH)).shape == (3, time, WIDTH)


@every
def test_causal_cores_are_causal(arch: str) -> None:
    seen = gradients(core(arch), noise(1, TIME, WIDTH))
    assert torch.equal(seen.triu(1), torch.zeros_like(seen))
    assert bool((seen.diagonal() > 1e-9).all())
    assert seen.tril(-1).max() > 1e-9


@every
def test_others_see_later_inputs(arch: str) -> None:
    seen = gradients(core(arch, causal=False), noise(1, TIME, WIDTH))
    assert seen.triu(1).max() > 1e-9
    assert seen.tril(-1).max() > 1e-9


@pytest.mark.parametrize("arch", ["rnn", "lstm", "gru", "transformer"])
def test_the_four_see_from_end_to_end(arch: str) -> None:
    x = noise(1, TIME, WIDTH)
    assert gradients(core(arch), x)[-1, 0] > 1e-9
    assert gradients(core(arch, causal=False), x)[0, -1] > 1e-9


@every
def test_parallel_equals_step_by_step(arch: str) -> None:
    model, x = core(arch), noise(2, 2 * TIME, WIDTH)
    state, outputs = None, []
    for t in range(x.shape[1]):
        out, state = model.step(x[:, t], state)
        outputs.append(out)
    close(torch.stack(outputs, dim=1), model(x))


@every
@both_ways
def test_padding_changes_nothing(arch: str, causal: bool) -> None:
    model, x = core(arch, causal), noise(4, TIME, WIDTH)
    lengths = torch.tensor([TIME, 1, 4, TIME - 1])  # not sorted
    garbage = x.clone()
    for item, length in enumerate(lengths):
        garbage[item, length:] = 100.0
    out = model(garbage, lengths)
    assert out.shape == x.shape
    for item, length in enumerate(lengths):
        close(out[item, :length], model(x[item : item + 1, :length])[0])


@every
@both_ways
def test_padding_gets_no_gradient(arch: str, causal: bool) -> None:
    x = noise(2, TIME, WIDTH).requires_grad_()
    lengths = torch.tensor([4, TIME])
    out = core(arch, causal)(x, lengths)
    (gradient,) = torch.autograd.grad(out[0, :4].sum() + out[1].sum(), x)
    assert not gradient[0, 4:].any()
    assert gradient[0, :4].any()


@every
@both_ways
def test_items_of_a_batch_do_not_meet(arch: str, causal: bool) -> None:
    model, x = core(arch, causal), noise(5, TIME, WIDTH)
    alone = torch.cat([model(item[None]) for item in x])
    close(model(x), alone)


@every
@both_ways
def test_no_state_is_left_between_calls(arch: str, causal: bool) -> None:
    model = core(arch, causal)
    before = copy.deepcopy(model.state_dict())
    first = model(noise(2, TIME, WIDTH, seed=1))
    model(noise(2, 2 * TIME, WIDTH, seed=2))
    assert torch.equal(model(noise(2, TIME, WIDTH, seed=1)), first)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@every
def test_dropout_acts_in_training_only(arch: str) -> None:
    if "dropout" not in archs.defaults(arch):
        pytest.skip("has no dropout")
    plain, model = core(arch), core(arch, dropout=0.5)
    x = noise(2, TIME, WIDTH)
    assert torch.equal(model(x), plain(x))
    model.train()
    outputs = []
    for seed in (3, 3, 4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], plain(x))


@every
@both_ways
def test_gradients_reach_every_parameter(arch: str, causal: bool) -> None:
    model = core(arch, causal)
    (model(noise(2, TIME, WIDTH)) * noise(2, TIME, WIDTH, seed=2)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


# ---------------------------------------------------------------- state carried from window to window

WITH_CARRY = [arch for arch in EVERY if hasattr(archs.find(arch), "carry")]
carrying = pytest.mark.parametrize("arch", WITH_CARRY)


def read_in_windows(model: Any, x: Tensor, window: int, state: Any = None) -> tuple[Tensor, Any]:
    outputs = []
    for part in torch.split(x, window, dim=1):
        out, state = model.carry(part, state)
        outputs.append(out)
    return torch.cat(outputs, dim=1), state


def tensors(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [found for part in state for found in tensors(part)]


def test_the_recurrent_ones_carry() -> None:
    assert set(WITH_CARRY) >= set(RECURRENT)
    assert "transformer" not in WITH_CARRY  # its state grows


@carrying
@pytest.mark.parametrize("window", [1, 4, 2 * TIME])
def test_windows_with_carried_state_equal_the_whole_sequence(arch: str, window: int) -> None:
    model, x = core(arch), noise(3, 2 * TIME, WIDTH)
    outputs, _ = read_in_windows(model, x, window)
    close(outputs, model(x))
    assert not torch.allclose(model.carry(x[:, TIME:])[0], outputs[:, TIME:])  # there is something to carry


@carrying
def test_carry_and_step_leave_the_same_state(arch: str) -> None:
    model, x, state = core(arch), noise(2, TIME, WIDTH), None
    for t in range(4):
        _, state = model.step(x[:, t], state)
    _, carried = model.carry(x[:, :4])
    assert len(tensors(carried)) == len(tensors(state))
    for one, other in zip(tensors(carried), tensors(state), strict=True):
        close(one, other)
    close(model.carry(x[:, 4:], state)[0], model(x)[:, 4:])  # each goes on from the other's
    close(model.step(x[:, 4], carried)[0], model(x)[:, 4])


@carrying
def test_a_carried_state_has_the_batch_first_and_a_fixed_size(arch: str) -> None:
    model, x = core(arch), noise(3, TIME, WIDTH)
    _, state = model.carry(x)
    assert {part.shape[0] for part in tensors(state)} == {3}
    _, after = model.carry(x, state)
    assert [part.shape for part in tensors(after)] == [part.shape for part in tensors(state)]
    chosen = torch.tensor([2, 0, 2])
    close(model.carry(x[chosen], select(state, chosen))[0], model.carry(x, state)[0][chosen])


@carrying
def test_gradients_go_through_a_carried_state(arch: str) -> None:
    model, x = core(arch), noise(1, TIME, WIDTH).requires_grad_()
    _, state = model.carry(x[:, :4])
    (gradient,) = torch.autograd.grad(model.carry(x[:, 4:], state)[0].sum(), x)
    assert bool((gradient[0, 3].abs() > 1e-9).all())


# ---------------------------------------------------------------- recurrent ones


def recurrent_weights(model: Any) -> list[Tensor]:
    return [values.detach() for name, values in model.named_parameters() if "weight_hh" in name]


@pytest.mark.parametrize("arch", RECURRENT)
@both_ways
def test_recurrent_matrices_are_orthogonal_per_gate(arch: str, causal: bool) -> None:
    hidden = WIDTH if causal else WIDTH // 2
    made = recurrent_weights(core(arch, causal))
    assert len(made) == (2 if causal else 4)
    for weights in made:
        gates = weights.split(hidden)
        assert len(gates) == RECURRENT[arch]
        for gate in gates:
            close(gate @ gate.T, torch.eye(hidden, dtype=torch.float64), 1e-6)
    free = recurrent_weights(core(arch, causal, orthogonal=False))[0][:hidden]
    assert not torch.allclose(free @ free.T, torch.eye(hidden, dtype=torch.float64), atol=1e-2)


@pytest.mark.parametrize("arch", RECURRENT)
def test_both_ways_needs_an_even_width(arch: str) -> None:
    with pytest.raises(ValueError, match="even"):
        core(arch, causal=False, width=7)


@pytest.mark.parametrize("arch", EVERY)
def test_no_layers_is_refused(arch: str) -> None:
    if "layers" in archs.defaults(arch):
        with pytest.raises(ValueError, match="layers"):
            core(arch, layers=0)


@both_ways
def test_forget_bias_is_there_once(causal: bool) -> None:
    hidden = WIDTH if causal else WIDTH // 2
    model = core("lstm", causal, forget_bias=2.5)
    for layer in model.layers:
        for way in ("", "_reverse")[: 1 if causal else 2]:
            both = getattr(layer, f"bias_ih_l0{way}") + getattr(layer, f"bias_hh_l0{way}")
            gates = both.detach().split(hidden)  # input, forget, cell, output
            assert torch.equal(gates[1], torch.full_like(gates[1], 2.5))
            assert all(float(gates[other].abs().max()) < 2 for other in (0, 2, 3))


def test_forget_bias_keeps_the_cell() -> None:
    @torch.no_grad()
    def kept(bias: float) -> float:
        model = core("lstm", layers=1, forget_bias=bias)
        one = torch.ones(1, WIDTH, dtype=torch.float64)
        cells = [model.step(0 * one, ((0 * one, cell),))[1][0][1] for cell in (0 * one, one)]
        return float((cells[1] - cells[0]).mean())  # c_t = f * c_{t-1} + ...: the difference is f

    assert kept(-20.0) < 1e-6
    assert 0.6 < kept(1.0) < 0.85
    assert kept(20.0) > 1 - 1e-6


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def by_hand(arch: str, x: Any, weights: list[Any]) -> Any:
    """The published equations in NumPy; x (time, width)."""
    w, u, b, c = weights
    h, cell, outputs = np.zeros(u.shape[1]), np.zeros(u.shape[1]), []
    for x_t in x:
        left = np.split(w @ x_t + b, RECURRENT[arch])
        right = np.split(u @ h + c, RECURRENT[arch])
        if arch == "rnn":
            h = np.tanh(left[0] + right[0])
        elif arch == "gru":
            r, z = (sigmoid(left[i] + right[i]) for i in (0, 1))
            h = (1 - z) * np.tanh(left[2] + r * right[2]) + z * h
        else:
            i, f, g, o = (one + other for one, other in zip(left, right, strict=True))
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(cell)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("arch", RECURRENT)
def test_equations(arch: str) -> None:
    model, x = core(arch, width=3), noise(1, 5, 3)
    expected = x[0].numpy()
    for layer in model.layers:
        expected = by_hand(arch, expected, [p.detach().numpy() for p in layer.parameters()])
    np.testing.assert_allclose(model(x)[0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("arch", RECURRENT)
def test_both_ways_is_one_core_forwards_and_one_backwards(arch: str) -> None:
    model, x = core(arch, causal=False, layers=1), noise(1, 5, WIDTH)
    parameters = [p.detach().numpy() for p in model.layers[0].parameters()]
    forwards = by_hand(arch, x[0].numpy(), parameters[:4])
    backwards = by_hand(arch, x[0].numpy()[::-1], parameters[4:])[::-1]
    expected = np.concatenate([forwards, backwards], axis=1)
    np.testing.assert_allclose(model(x)[0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def packed(model: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """What the core computes on CUDA: torch's packed sequences."""
    for layer in model.layers:
        there = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        x = pad_packed_sequence(layer(there)[0], batch_first=True, total_length=x.shape[1])[0]
    return x


@pytest.mark.parametrize("arch", RECURRENT)
@pytest.mark.parametrize("lengths", [[TIME, 1, 4, TIME - 1], [3, 3, 1, 2]], ids=["full", "all short"])
def test_both_ways_with_lengths_equals_packed_sequences(arch: str, lengths: list[int]) -> None:
    model, x, steps = core(arch, causal=False), noise(4, TIME, WIDTH), torch.tensor(lengths)
    counts = (torch.arange(TIME) < steps[:, None])[:, :, None]
    weight = noise(4, TIME, WIDTH, seed=3) * counts
    mine, theirs = model(x, steps), packed(model, x, steps)
    close(mine * counts, theirs * counts)
    parameters = list(model.parameters())
    gradients = [torch.autograd.grad((out * weight).sum(), parameters) for out in (mine, theirs)]
    for one, other in zip(*gradients, strict=True):
        close(one, other)
    close(model(x, torch.full((4,), TIME)), model(x))


@pytest.mark.parametrize("arch", RECURRENT)
@pytest.mark.parametrize("causal", [True, False])
def test_packing_changes_nothing_within_the_items(arch: str, causal: bool) -> None:
    x, steps = noise(4, TIME, WIDTH), torch.tensor([TIME, 1, 4, TIME - 1])
    counts = (torch.arange(TIME) < steps[:, None])[:, :, None]
    always, never = (core(arch, causal=causal, packing=word) for word in ("always", "never"))
    always.load_state_dict(never.state_dict())
    packed, padded = always(x, steps), never(x, steps)
    close(packed * counts, padded * counts)
    assert not (packed * ~counts).any()  # what is packed has nothing beyond an item's end
    assert (padded * ~counts).any()


@pytest.mark.parametrize("arch", RECURRENT)
def test_packing_is_one_of_three_words_and_does_not_go_with_cuts(arch: str) -> None:
    with pytest.raises(ValueError, match="auto, always, never"):
        core(arch, packing="sometimes")
    with pytest.raises(ValueError, match="leave one of them out"):
        core(arch, packing="always", truncate=2)


def test_turned_turns_each_item_within_its_length() -> None:
    x = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])[:, :, None]
    lengths = torch.tensor([5, 1, 3])
    expected = torch.tensor([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [3, 2, 1, 4, 5]])
    assert torch.equal(turned(x, lengths)[:, :, 0], expected)
    assert torch.equal(turned(turned(x, lengths), lengths), x)


# ---------------------------------------------------------------- cores with a memory

WITH_MEMORY = [arch for arch in EVERY if getattr(archs.find(arch), "MEMORY", False)]
with_memory = pytest.mark.parametrize("arch", WITH_MEMORY)
MEMORY_LENGTHS = torch.tensor([5, 1, 3])


def test_the_transformer_has_a_memory() -> None:
    assert "transformer" in WITH_MEMORY


@with_memory
def test_steps_from_begin_equal_the_whole_sequence_with_memory(arch: str) -> None:
    model, x, memory = remembering(arch), noise(3, TIME, WIDTH), noise(3, 5, WIDTH, seed=2)
    state, outputs = model.begin(memory, MEMORY_LENGTHS), []
    for t in range(TIME):
        out, state = model.step(x[:, t], state)
        outputs.append(out)
    whole = model(x, memory=memory, memory_lengths=MEMORY_LENGTHS)
    close(torch.stack(outputs, dim=1), whole)
    assert not torch.allclose(whole, model(x, memory=memory[[1, 2, 0]], memory_lengths=MEMORY_LENGTHS[[1, 2, 0]]))


@with_memory
def test_a_state_with_memory_has_the_batch_first(arch: str) -> None:
    model, x, memory = remembering(arch), noise(3, 2, WIDTH), noise(3, 5, WIDTH, seed=2)
    _, state = model.step(x[:, 0], model.begin(memory, MEMORY_LENGTHS))
    assert {part.shape[0] for part in tensors(state)} == {3}
    chosen = torch.tensor([2, 0])
    close(model.step(x[chosen, 1], select(state, chosen))[0], model.step(x[:, 1], state)[0][chosen])


@with_memory
def test_padding_of_the_memory_changes_nothing(arch: str) -> None:
    model, x, memory = remembering(arch), noise(3, TIME, WIDTH), noise(3, 5, WIDTH, seed=2)
    garbage = memory.clone()
    for item, length in enumerate(MEMORY_LENGTHS):
        garbage[item, length:] = 100.0
    garbage.requires_grad_()
    out = model(x, memory=garbage, memory_lengths=MEMORY_LENGTHS)
    for item, length in enumerate(MEMORY_LENGTHS):
        one = slice(item, item + 1)
        close(out[one], model(x[one], memory=memory[one, :length]))
    (gradient,) = torch.autograd.grad(out.square().sum(), garbage)
    for item, length in enumerate(MEMORY_LENGTHS):
        assert not gradient[item, length:].any()
        assert gradient[item, :length].any(1).all()


@with_memory
def test_a_core_with_memory_stays_causal(arch: str) -> None:
    model, memory = remembering(arch), noise(1, 5, WIDTH, seed=2)
    seen = gradients(lambda x: model(x, memory=memory), noise(1, TIME, WIDTH))
    assert torch.equal(seen.triu(1), torch.zeros_like(seen))
    assert bool((seen.diagonal() > 1e-9).all())


@with_memory
def test_gradients_reach_every_parameter_with_memory(arch: str) -> None:
    model = remembering(arch)
    out = model(noise(2, TIME, WIDTH), memory=noise(2, 5, WIDTH, seed=2), memory_lengths=torch.tensor([5, 2]))
    (out * noise(2, TIME, WIDTH, seed=3)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@with_memory
def test_rows_of_attention_sum_to_one(arch: str) -> None:
    model = remembering(arch)
    seen = model.attention(noise(2, TIME, WIDTH), noise(2, 5, WIDTH, seed=2))
    assert seen.shape == (2, TIME, 5)
    assert bool((seen > 0).all())
    close(seen.sum(2), torch.ones(2, TIME, dtype=torch.float64))


# ---------------------------------------------------------------- the Transformer


@pytest.mark.parametrize("width", [1, 5, 8])
def test_positions_are_the_published_sinusoids(width: int) -> None:
    table = core("transformer", width=width).positions(3, 5000)
    assert table.shape == (4997, width)
    for position in (3, 4, 100, 4999):
        for column in range(width):
            angle = position / 10_000 ** (2 * (column // 2) / width)
            value = math.cos(angle) if column % 2 else math.sin(angle)
            assert abs(float(table[position - 3, column]) - value) < 1e-9


def test_positions_are_no_parameters_and_stay_exact_in_float64() -> None:
    model = core("transformer").float()
    assert not any("rates" in name or "phases" in name for name in model.state_dict())
    built = archs.find("transformer")(WIDTH, length=TIME, causal=True, **archs.defaults("transformer"))
    assert built.rates.dtype == torch.float64
    assert built(noise(1, TIME, WIDTH).float()).dtype == torch.float32


@pytest.mark.parametrize("width", [4, 5, 8])
@both_ways
def test_attention_is_softmax_of_scaled_products(width: int, causal: bool) -> None:
    model, x = core("transformer", causal, width=width, layers=1), noise(1, 5, width)
    layer = model.layers[0]
    h = x + model.positions(0, 5)
    size = math.ceil(width / 2)
    q, k, v = layer.qkv(layer.norm(h))[0].split(2 * size, dim=1)
    heads = []
    for columns in (slice(0, size), slice(size, 2 * size)):
        scores = q[:, columns] @ k[:, columns].T / math.sqrt(size)
        if causal:
            scores = scores + torch.full((5, 5), -math.inf).triu(1)
        heads.append(torch.softmax(scores, dim=1) @ v[:, columns])
    h = h[0] + layer.merge(torch.cat(heads, dim=1))
    close(model(x)[0], model.norm(h + layer.feed_forward(h)))


@pytest.mark.parametrize("layers", [1, 2])
def test_attention_to_a_memory_is_softmax_of_scaled_products(layers: int) -> None:
    model, x, memory = remembering("transformer", layers=layers), noise(1, 4, WIDTH), noise(1, 5, WIDTH, seed=2)
    h, layer, size = x + model.positions(0, 4), model.layers[-1], WIDTH // 2
    for before in model.layers[:-1]:  # by the code itself: one layer is done by hand
        h = before(h, None, before.begin(memory, torch.ones(1, 1, 1, 5, dtype=torch.bool))[2:])
    q, k, v = layer.qkv(layer.norm(h))[0].split(WIDTH, dim=1)
    heads = [slice(0, size), slice(size, WIDTH)]
    later = torch.full((4, 4), -math.inf, dtype=torch.float64).triu(1)
    own = [torch.softmax(q[:, c] @ k[:, c].T / math.sqrt(size) + later, dim=1) @ v[:, c] for c in heads]
    h = h[0] + layer.merge(torch.cat(own, dim=1))
    q = layer.cross_query(layer.cross_norm(h))
    k, v = layer.cross_memory(memory[0]).split(WIDTH, dim=1)
    shares = [torch.softmax(q[:, c] @ k[:, c].T / math.sqrt(size), dim=1) for c in heads]
    close(model.attention(x, memory)[0], (shares[0] + shares[1]) / 2)
    seen = torch.cat([share @ v[:, c] for share, c in zip(shares, heads, strict=True)], dim=1)
    h = h + layer.cross_merge(seen)
    close(model(x, memory=memory)[0], model.norm(h + layer.feed_forward(h)))


def test_dropout_is_on_both_residual_branches() -> None:
    model, x = core("transformer", dropout=1.0).train(), noise(2, TIME, WIDTH)
    close(model(x), model.norm(x + model.positions(0, TIME)))  # nothing of any branch is left


def test_order_matters_to_the_transformer() -> None:
    model, x = core("transformer", causal=False), noise(1, TIME, WIDTH)
    assert not torch.allclose(model(x.flip(1)).flip(1), model(x))


def test_cache_grows_by_one_step() -> None:
    model, state = core("transformer", heads=3), None
    for steps in (1, 2, 3):
        _, state = model.step(noise(2, WIDTH), state)
        assert [tuple(part.shape) for cache in state for part in cache] == [(2, 3, steps, 2)] * 4
