"""Settings of the recurrent cores for ablations: recurrent dropout, variational dropout, cut gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from torch import Tensor

from seqbench import archs, batches, gates, model, train
from seqbench.archs import _recurrent
from seqbench.errors import InputError
from seqbench.measurements import Gate
from seqbench.prepared import Prepared
from seqbench.records import Spec

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, TIME, CUT = 6, 9, 4
NEW = ("recurrent_dropout", "variational", "truncate")
DROPPING: dict[str, dict[str, Any]] = {
    "recurrent": {"recurrent_dropout": 0.4},
    "variational": {"dropout": 0.4, "variational": True},
    "both": {"recurrent_dropout": 0.4, "dropout": 0.4, "variational": True},
}
CUTTING = {"truncate": CUT}
LENGTHS = torch.tensor([TIME, 1, 4, TIME - 1])
every = pytest.mark.parametrize("arch", ["rnn", "lstm", "gru"])
both_ways = pytest.mark.parametrize("causal", [True, False])
dropping = pytest.mark.parametrize("settings", DROPPING.values(), ids=DROPPING)


def core(arch: str, causal: bool = True, layers: int = 2, **settings: Any) -> Any:
    """A float64 core in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        chosen = archs.defaults(arch) | {"layers": layers} | settings
        return archs.find(arch)(WIDTH, length=TIME, causal=causal, **chosen).double().train()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(seed: int, call: Any, *args: Any) -> Any:
    """What a call gives with the draws of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call(*args)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def matrices(layer: Any) -> list[Tensor]:
    """The recurrent matrices of a layer, or of what stands for it, by direction."""
    return [weights[1] for weights in layer.all_weights]


# ---------------------------------------------------------------- all settings


@every
@both_ways
@pytest.mark.parametrize("settings", [*DROPPING.values(), CUTTING], ids=[*DROPPING, "truncate"])
def test_in_evaluation_nothing_differs_in_any_form(arch: str, causal: bool, settings: dict[str, Any]) -> None:
    if settings is CUTTING and not causal:
        return
    plain, made, x = core(arch, causal).eval(), core(arch, causal, **settings).eval(), noise(4, TIME, WIDTH)
    assert torch.equal(made(x, LENGTHS), plain(x, LENGTHS))
    assert torch.equal(made(x), plain(x))
    if not causal:
        return
    assert torch.equal(made.plain(x), plain.plain(x))
    first, state = made.carry(x[:, :5])
    second, _ = made.carry(x[:, 5:], state)
    streamed, state = [], None
    for x_t in x.unbind(1):
        out, state = made.step(x_t, state)
        streamed.append(out)
    close(torch.cat((first, second), dim=1), plain(x))
    close(torch.stack(streamed, dim=1), plain(x))


@every
@both_ways
def test_cores_of_before_these_settings_are_still_built(arch: str, causal: bool) -> None:
    defaults = archs.defaults(arch)
    before = {key: value for key, value in defaults.items() if key not in NEW}
    assert len(before) == len(defaults) - len(NEW)
    made = [
        drawn(3, lambda chosen=chosen: archs.find(arch)(WIDTH, length=TIME, causal=causal, **chosen))
        for chosen in (before, defaults)
    ]
    pairs = zip(made[0].state_dict().values(), made[1].state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert all(getattr(made[0], name) == getattr(made[1], name) for name in ("truncate",))
    assert made[0].recurrent_dropout.p == made[1].recurrent_dropout.p == 0.0


@every
@both_ways
def test_settings_that_are_off_draw_nothing(arch: str, causal: bool) -> None:
    made, x = core(arch, causal), noise(4, TIME, WIDTH)
    before = torch.random.get_rng_state()
    made(x, LENGTHS)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"variational": True, "layers": 1}, "between layers"),
        ({"truncate": -1}, "0 or more"),
        ({"truncate": 3, "causal": False}, "reads both ways"),
        ({"recurrent_dropout": 1.5}, "probability"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
@every
def test_settings_that_mean_nothing_are_refused(arch: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        core(arch, **settings)


def test_a_task_that_reads_both_ways_names_the_architecture_whose_gradients_cannot_be_cut() -> None:
    spec = Spec(
        **{"inputs": "values", "input_size": 2, "outputs": "classes", "output_size": 3, "length": TIME},
        **{"metric": "accuracy", "direction": "max", "causal": False},
    )
    settings = archs.defaults("gru") | CUTTING
    for attempt in (
        lambda: model.build(spec, "gru", settings, 8, 1),
        lambda: model.solve_width(spec, "gru", settings, 999),
    ):
        with pytest.raises(InputError, match="reads both ways") as caught:
            attempt()
        assert caught.value.where.endswith("gru.py")
    forwards = spec.model_copy(update={"causal": True})
    assert model.solve_width(forwards, "gru", settings, 2000) == model.solve_width(
        forwards, "gru", archs.defaults("gru"), 2000
    )


# ---------------------------------------------------------------- recurrent dropout


@every
@both_ways
def test_one_mask_of_the_recurrent_matrices_holds_for_a_whole_call(arch: str, causal: bool) -> None:
    """The same as a core whose matrices were dropped once, and scaled by 1 / (1 - p), before it read anything."""
    made, fixed, x = core(arch, causal, recurrent_dropout=0.4), core(arch, causal).eval(), noise(4, TIME, WIDTH)

    def dropped() -> list[Tensor]:
        with torch.no_grad():
            return [
                matrix.copy_(torch.nn.functional.dropout(matrix, 0.4))
                for layer in fixed.layers
                for matrix in matrices(layer)
            ]

    for before, after in zip([m for layer in made.layers for m in matrices(layer)], drawn(5, dropped), strict=True):
        kept = after != 0
        close(after[kept], before[kept] / 0.6)
        assert 0 < kept.sum() < kept.numel()
    for lengths in (None, LENGTHS):
        close(drawn(5, made, x, lengths), fixed(x, lengths))
    assert not torch.allclose(drawn(6, made, x), fixed(x))  # another call, other masks
    if causal:
        close(drawn(5, made.plain, x), fixed(x))
        out, state = drawn(5, made.carry, x[:, :5])
        close(out, fixed(x)[:, :5])
        close(drawn(5, made.carry, x[:, 5:], state)[0], fixed(x)[:, 5:])
        close(drawn(5, made.step, x[:, 5], state)[0], fixed(x)[:, 5])


@every
@both_ways
def test_a_recurrent_mask_is_one_for_all_items(arch: str, causal: bool) -> None:
    made, x = core(arch, causal, recurrent_dropout=0.4), noise(1, TIME, WIDTH).expand(3, -1, -1)
    out = made(x)
    close(out, out[:1].expand_as(out))
    assert not torch.equal(out[0], made(x)[0])


@every
def test_recurrent_masks_leave_the_weights_alone_and_have_the_rate_asked_for(arch: str) -> None:
    made, x = core(arch, layers=1, recurrent_dropout=0.3), noise(2, TIME, WIDTH)
    before = {name: values.clone() for name, values in made.state_dict().items()}
    shares = []
    for seed in range(200):
        (matrix,) = drawn(seed, lambda: matrices(made._drawn(made.layers[0])))
        shares.append(float((matrix != 0).double().mean()))
    made(x).sum().backward()
    assert all(torch.equal(values, before[name]) for name, values in made.state_dict().items())
    count = 200 * made.layers[0].weight_hh_l0.numel()
    assert abs(float(np.mean(shares)) - 0.7) < 5 * (0.3 * 0.7 / count) ** 0.5


def test_recurrent_dropout_keeps_the_expected_output() -> None:
    """After two steps of an RNN so near zero that tanh is the identity, the output is linear in U."""
    made = core("rnn", layers=1, recurrent_dropout=0.4)
    with torch.no_grad():
        made.layers[0].weight_ih_l0.mul_(1e-4)
        made.layers[0].bias_ih_l0.zero_(), made.layers[0].bias_hh_l0.zero_()
        x = noise(1, 2, WIDTH)
        outputs = torch.stack([drawn(seed, made, x)[0, 1] for seed in range(2000)])
        expected = made.eval()(x)[0, 1]
    error = outputs.std(dim=0) / 2000**0.5
    assert bool((error > 0).all())
    assert bool(((outputs.mean(dim=0) - expected).abs() < 5 * error).all())
    assert bool((error < 0.05 * expected.abs().max()).all())  # so that a scale forgotten would show


@every
@both_ways
def test_dropped_entries_get_no_gradient_and_kept_ones_do(arch: str, causal: bool) -> None:
    made = core(arch, causal, layers=1, recurrent_dropout=0.4)
    kept = drawn(5, lambda: [matrix != 0 for matrix in matrices(made._drawn(made.layers[0]))])
    (drawn(5, made, noise(4, TIME, WIDTH), LENGTHS) * noise(4, TIME, WIDTH, seed=2)).sum().backward()
    for matrix, mask in zip(matrices(made.layers[0]), kept, strict=True):
        assert matrix.grad is not None
        assert torch.equal(matrix.grad != 0, mask)
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())


@every
@dropping
def test_with_masks_padding_counts_for_nothing_in_both_directions(arch: str, settings: dict[str, Any]) -> None:
    made, x = core(arch, causal=False, **settings), noise(4, TIME, WIDTH)
    garbage = x.masked_fill((torch.arange(TIME) >= LENGTHS[:, None])[..., None], 100.0)
    there, twin = drawn(5, made, garbage, LENGTHS), drawn(5, made, x, LENGTHS)
    for item, length in enumerate(LENGTHS):
        close(there[item, :length], twin[item, :length])
    close(drawn(5, made, x, torch.full((4,), TIME)), drawn(5, made, x))


@every
def test_packed_sequences_as_on_cuda_have_the_same_masks_and_gradients(arch: str) -> None:
    made, x = core(arch, causal=False, layers=1, recurrent_dropout=0.4), noise(4, TIME, WIDTH)
    counts = (torch.arange(TIME) < LENGTHS[:, None])[..., None]
    there = drawn(5, lambda: _recurrent.packed(made._drawn(made.layers[0]), x, LENGTHS)) * counts
    here = drawn(5, made, x, LENGTHS) * counts
    close(there, here)
    weight = noise(4, TIME, WIDTH, seed=2)
    gradients = [torch.autograd.grad((out * weight).sum(), list(made.parameters())) for out in (there, here)]
    for one, other in zip(*gradients, strict=True):
        close(one, other)


@every
@both_ways
def test_for_cudnn_copies_of_the_weights_lie_in_one_block(
    arch: str, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for cuDNN's packing that moves the tensors given into one block, as it does."""
    calls = []

    def pack(weights: list[Tensor], *sizes: Any) -> None:
        assert not torch.is_grad_enabled()
        block = torch.cat([weight.flatten() for weight in weights])
        for weight, part in zip(weights, block.split([weight.numel() for weight in weights]), strict=True):
            weight.set_(part.view_as(weight).detach())
        calls.append((weights, sizes))

    made, x = core(arch, causal, layers=1, recurrent_dropout=0.4), noise(4, TIME, WIDTH)
    parameters = list(made.parameters())
    places = [weight.data_ptr() for weight in parameters]
    usual = drawn(5, made, x)
    wanted = torch.autograd.grad(usual.square().sum(), parameters)
    monkeypatch.setattr(torch.backends.cudnn, "is_acceptable", lambda tensor: True)
    monkeypatch.setattr(torch.backends.cudnn.rnn, "get_cudnn_mode", str.lower)
    monkeypatch.setattr(torch, "_cudnn_rnn_flatten_weight", pack)
    moved = drawn(5, made, x)
    found = torch.autograd.grad(moved.square().sum(), parameters)
    close(moved, usual)
    for one, other in zip(found, wanted, strict=True):
        close(one, other)
    assert [weight.data_ptr() for weight in parameters] == places  # the parameters stay where they were
    ((weights, sizes),) = calls
    assert len({weight.untyped_storage().data_ptr() for weight in weights}) == 1
    mode = {"rnn": "rnn_tanh"}.get(arch, arch)
    assert sizes == (4, WIDTH, mode, WIDTH if causal else WIDTH // 2, 0, 1, True, not causal)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
@every
@both_ways
def test_on_cuda_dropped_weights_warn_of_nothing_and_give_what_the_cpu_gives(arch: str, causal: bool) -> None:
    made, x = core(arch, causal, layers=1, recurrent_dropout=0.4), noise(4, TIME, WIDTH)
    there = core(arch, causal, layers=1, recurrent_dropout=0.4).cuda()
    masks = drawn(5, lambda: [matrix.detach() for matrix in matrices(there._drawn(there.layers[0]))])
    out = drawn(5, there, x.cuda(), LENGTHS)
    out.sum().backward()
    with torch.no_grad():
        for matrix, mask in zip(matrices(made.layers[0]), masks, strict=True):
            matrix.copy_(mask)
    expected = made.eval()(x, LENGTHS)
    for item, length in enumerate(LENGTHS):
        close(out[item, :length].cpu(), expected[item, :length])
    assert all(weight.grad is not None and weight.grad.any() for weight in there.parameters())


# ---------------------------------------------------------------- dropout between layers, one mask over time


def masks(made: Any, *args: Any) -> Tensor:
    """What the activations between the two layers were multiplied by, (batch, time, width), in a call."""
    given: list[Tensor] = []
    first, second = made.layers
    hooks = [
        first.register_forward_hook(lambda _, inputs, out: given.append(out[0].detach())),
        second.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach())),
    ]
    made(*args)
    for hook in hooks:
        hook.remove()
    half = len(given) // 2
    return torch.cat(given[half:], dim=1) / torch.cat(given[:half], dim=1)


@every
@both_ways
@pytest.mark.parametrize("cut", [0, CUT])
def test_variational_dropout_has_one_mask_over_time_for_each_item(arch: str, causal: bool, cut: int) -> None:
    if cut and not causal:
        return
    settings = {"dropout": 0.4, "truncate": cut}
    made, x = core(arch, causal, variational=True, **settings), noise(4, TIME, WIDTH)
    found = masks(made, x)
    close(found, found[:, :1].expand_as(found))  # over time
    values = found.unique()
    assert bool(((values == 0) | ((values - 1 / 0.6).abs() < 1e-9)).all())
    assert len(found[:, 0].unique(dim=0)) > 1  # by item
    assert not torch.equal(masks(made, x), found)  # by call
    usual = masks(core(arch, causal, **settings), x)
    assert len(usual[0].unique(dim=0)) > 1  # the usual dropout: anew at each step


@every
def test_variational_dropout_keeps_the_expected_activation(arch: str) -> None:
    made, x = core(arch, dropout=0.4, variational=True), noise(500, 2, WIDTH)
    found = masks(made, x)[:, 0]
    assert abs(float(found.mean()) - 1) < 5 * (0.4 / 0.6 / found.numel()) ** 0.5


@every
@dropping
def test_forms_of_a_call_have_the_same_masks(arch: str, settings: dict[str, Any]) -> None:
    made, x = core(arch, **settings), noise(3, TIME, WIDTH)
    close(drawn(5, made.plain, x), drawn(5, made, x))
    close(drawn(5, made.carry, x)[0], drawn(5, made, x))
    close(drawn(5, made.step, x[:, 0])[0], drawn(5, made, x[:, :1])[:, 0])


# ---------------------------------------------------------------- cut gradients


def gradients(read: Any, x: Tensor) -> Tensor:
    """(time, time): d (w . output_i) / d input_j, summed over features with random weights of both."""
    x = x.clone().requires_grad_()
    out = (read(x) * noise(WIDTH, seed=7)).sum(dim=(0, 2))
    rows = [torch.autograd.grad(one, x, retain_graph=True)[0] for one in out]
    return torch.stack(rows)[:, 0]


def within(time: int, cut: int) -> Tensor:
    """(time, time), true where no cut lies between output i and input j, nor i before j."""
    steps = torch.arange(time)
    return (steps[:, None] // cut == steps // cut) & (steps[:, None] >= steps)


@every
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cut", [1, CUT, TIME - 1])
def test_gradients_are_zero_beyond_a_cut_and_the_usual_ones_within(arch: str, layers: int, cut: int) -> None:
    x, seen = noise(1, TIME, WIDTH), within(TIME, cut)
    usual = gradients(core(arch, layers=layers), x)
    made = core(arch, layers=layers, truncate=cut)
    close(made(x), core(arch, layers=layers)(x))
    for read in (made, made.plain, lambda x: made.carry(x)[0]):
        found = gradients(read, x)
        assert not found[~seen].any()
        close(found[seen], usual[seen])
    assert usual[~seen & (torch.arange(TIME)[:, None] > torch.arange(TIME))].abs().max() > 1e-9  # there was a gradient
    assert torch.equal(gradients(made.eval(), x), gradients(core(arch, layers=layers).eval(), x))  # only in training


@every
def test_a_cut_beyond_the_end_is_none(arch: str) -> None:
    x = noise(1, TIME, WIDTH)
    for cut in (TIME, 100):
        assert torch.equal(gradients(core(arch, truncate=cut), x), gradients(core(arch), x))


@every
def test_cuts_are_counted_from_the_first_step_of_a_call_and_spare_the_state_at_both_ends(arch: str) -> None:
    made, x = core(arch, truncate=CUT), noise(1, TIME, WIDTH)

    def two_calls(x: Tensor) -> Tensor:
        before, state = made.carry(x[:, :3])
        return torch.cat((before, made.carry(x[:, 3:], state)[0]), dim=1)

    found = gradients(two_calls, x)
    assert found[2 + CUT, 0].any()  # within the first CUT steps of the second call: its state is the caller's
    assert not found[3 + CUT, : 3 + CUT].any()


@every
def test_the_cut_state_of_every_layer_is_carried_on(arch: str) -> None:
    made, usual, x = core(arch, truncate=2), core(arch), noise(2, 5, WIDTH)
    states = made.carry(x)[1], usual.carry(x)[1]
    for mine, theirs in zip(*states, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            close(one, other)
            assert one.requires_grad  # by the steps since the last cut


@every
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_task_that_answers_at_the_end_trains_on_the_steps_since_the_last_cut(arch: str, pooling: str) -> None:
    spec = Spec(
        **{"inputs": "values", "input_size": 2, "outputs": "values", "output_size": 1, "length": TIME},
        **{"metric": "mse", "direction": "min", "pooling": pooling},
    )
    lengths, x = torch.tensor([TIME, 6, 4]), noise(3, TIME, 2).requires_grad_()
    found = []
    for settings in ({}, CUTTING):
        net = model.build(spec, arch, archs.defaults(arch) | settings, 8, 1).double().train()
        loss = model.loss(net(x, lengths), noise(3, 1), spec)
        loss.backward(inputs=[x, *net.parameters()])
        assert x.grad is not None
        found.append((loss.detach(), x.grad, next(net.core.parameters()).grad))
        x.grad = None
    (loss, usual, weights), (same, cut, cut_weights) = found
    close(loss, same)
    assert not torch.allclose(weights, cut_weights)
    for item, length in enumerate(lengths.tolist()):
        last = (length - 1) // CUT * CUT
        assert usual[item, :length].any(-1).all()
        close(cut[item, last:length], usual[item, last:length])
        if pooling == "last":
            assert not cut[item, :last].any()
        else:  # every window has steps that count
            assert cut[item, :length].any(-1).all()


@every
@dropping
def test_cuts_leave_masks_and_outputs_alone(arch: str, settings: dict[str, Any]) -> None:
    x = noise(3, TIME, WIDTH)
    close(drawn(5, core(arch, **settings, **CUTTING), x), drawn(5, core(arch, **settings), x))


# ---------------------------------------------------------------- training


@every
def test_training_with_a_setting_repeats_to_the_bit_and_is_another_training(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic.install(monkeypatch)
    cell = synthetic.cell(tmp_path, "made_stream", arch, steps=10, eval_every=10)
    splits = batches.Splits(Prepared(tmp_path / "prepared" / "made_stream"), torch.device("cpu"))
    found = []
    for number, settings in enumerate(({}, {"recurrent_dropout": 0.4}, {"variational": True}, {"truncate": 2})):
        curves = []
        for attempt in "ab":
            changed = cell.model_copy(update={"core": cell.core | settings})
            folder = tmp_path / f"{number}{attempt}"
            curves.append(train.fit(train.Job(changed, splits, 0.01, 1, folder, lambda _: None), 10).curve)
        assert curves[0] == curves[1]
        found.append((curves[0][-1].loss, curves[0][-1].valid))
    assert len(set(found)) == len(found)


# ---------------------------------------------------------------- gates

KINDS = (
    "embedding, every, causal",
    "embedding, stream, causal",
    "linear, classes from the ends, both ways",
    "embedding, sequence, connection additive, causal",
)


def failed(arch: str, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, **settings: Any) -> set[Gate]:
    chosen = [spec for spec in gates.specs() if spec.kind in kinds]
    assert len(chosen) == len(kinds)
    monkeypatch.setattr(gates, "specs", lambda: chosen)
    checks = gates.check(arch, archs.defaults(arch) | settings)
    assert len({check.gate for check in checks}) == len(gates.WORK)
    return {check.gate for check in checks if not check.passed}


@every
def test_gates_are_passed_with_recurrent_dropout(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not failed(arch, KINDS, monkeypatch, recurrent_dropout=0.4)


@every
def test_gates_are_passed_with_variational_dropout(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not failed(arch, KINDS, monkeypatch, layers=2, dropout=0.3, variational=True)


@every
def test_gates_look_at_gradients_that_are_not_cut(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut is a setting of training alone, as dropout is: a gate looks at the equations."""
    assert not failed(arch, KINDS[:2], monkeypatch, truncate=2)
    monkeypatch.setattr(gates, "STILL", {})
    assert failed(arch, KINDS[:2], monkeypatch, truncate=2) == {"gradient"}
