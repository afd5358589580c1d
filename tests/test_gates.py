"""The gates: the shipped architectures pass all of them, and each planted fault is refused by the name of its gate."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from small import SMALL
from torch import Tensor, nn

from seqbench import archs, device, gates, model, tasks
from seqbench.archs.gru import Core as Gru
from seqbench.errors import InputError
from seqbench.measurements import Check, Gate, Gates
from seqbench.prepared import Array, pack
from seqbench.records import Provenance, Spec

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = (
    "embedding, every, causal",
    "embedding, stream, causal",
    "linear, classes from the mean, both ways",
    "embedding, sequence, connection additive, causal",
)
"""Where the planted faults are looked for: a few kinds, so that the tests stay fast."""
CAUSAL, STREAM, BOTH_WAYS, SEQUENCE = KINDS
BY_KIND = {spec.kind: spec for spec in gates.specs()}
SETTINGS = {"layers": 1, "dropout": 0.3, "orthogonal": True}

# ---------------------------------------------------------------- kinds


def choices(field: str) -> tuple[Any, ...]:
    return get_args(Spec.model_fields[field].annotation)


def every_combination() -> list[Spec]:
    """Whatever a task could say, once for each value of each field that decides the model."""
    fields = ("inputs", "outputs", "frontend", "causal", "pooling", "connection")
    values = [choices(name) if name != "causal" else (True, False) for name in fields]
    shared: dict[str, Any] = {"output_size": 7, "length": 22, "window": 2, "target_length": 3, "embedding": 4}
    shared |= {"metric": "accuracy", "direction": "max"}
    found = []
    for chosen in itertools.product(*values):
        named = dict(zip(fields, chosen, strict=True))
        frame = (1, 4, 4) if named["frontend"] == "frames" else ()
        found.append(Spec(input_size=16 if frame else 7, frame=frame, **named, **shared))
    return found


def accepted(spec: Spec) -> bool:
    try:
        with torch.device("meta"):
            model.build(spec, "rnn", archs.defaults("rnn"), 8, seed=1)
    except InputError:
        return False
    return True


def test_specs_are_all_kinds_that_the_models_accept_each_once() -> None:
    kinds = [spec.kind for spec in gates.specs()]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) == {spec.kind for spec in every_combination() if accepted(spec)}
    assert all(accepted(spec) for spec in gates.specs())


class Arrays(dict[str, Array]):
    """Stands for a task's arrays where only shapes and vocabularies matter."""

    def __missing__(self, name: str) -> Array:
        return np.arange(40).reshape(4, 10)


def settings_of(name: str) -> list[dict[str, Any]]:
    """A task's small settings, and each way to pool or to connect where it has a choice."""
    fields = tasks.find(name).Settings.model_fields
    found = [SMALL[name]]
    for key in ("pooling", "connection"):
        if key in fields:
            found += [SMALL[name] | {key: value} for value in get_args(fields[key].annotation)]
    return found


@pytest.mark.parametrize("name", tasks.names())
def test_the_model_of_every_task_is_of_a_kind_that_is_checked(name: str) -> None:
    words = pack(["a", "b", "c"])
    for settings in settings_of(name):
        assert tasks.build(name, settings).spec(Arrays(vocabulary=words, labels=words)).kind in BY_KIND


# ---------------------------------------------------------------- the shipped ones


@pytest.mark.parametrize("arch", archs.names())
def test_every_architecture_passes_every_gate_of_every_kind(arch: str) -> None:
    state, said = torch.random.get_rng_state(), list[str]()
    found = gates.gates(arch, archs.defaults(arch), said.append)
    assert not found.failed, [(one.gate, one.model, one.note) for one in found.failed]
    assert found.refusal() == ""
    assert (found.arch, found.core, found.version) == (arch, archs.defaults(arch), archs.version(arch))
    assert found.provenance.hardware.device == "cpu" and found.provenance.kernel
    assert Gates.from_data(found.plain()) == found
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(said) == len(BY_KIND)
    for kind, spec in BY_KIND.items():
        absent = {"streaming"} if not spec.causal and spec.outputs != "sequence" else set()
        absent |= {"padding"} if spec.outputs == "stream" else set()
        assert [one.gate for one in found.checks if one.model == kind] == [g for g in gates.WORK if g not in absent]


def test_every_gate_is_worked_on() -> None:
    assert set(gates.WORK) == set(get_args(Gate))


# ---------------------------------------------------------------- planted faults


@pytest.fixture(scope="module")
def note() -> Provenance:
    return device.Witness(torch.device("cpu"), "a kernel").provenance()


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, note: Provenance) -> Callable[..., Gates]:
    """Gates of a core that is no file: `plant(Core, KIND, ...)`."""

    def judge(kind: type[nn.Module], *models: str) -> Gates:
        monkeypatch.setattr(archs, "find", lambda _: kind)
        monkeypatch.setattr(gates, "specs", lambda: [BY_KIND[name] for name in models])
        checks = gates.check("planted", SETTINGS)
        return Gates(arch="planted", core=SETTINGS, version=1, checks=checks, provenance=note)

    return judge


def first(found: Gates, kind: str) -> Check:
    """The failed check that the refusal names."""
    failed = [one for one in found.failed if f"'{one.gate}' in the model '{kind}'" in found.refusal(kind)]
    (one,) = [one for one in failed if one.model == kind]
    return one


class Changed(Gru):
    """What each step gives is changed, in all forms alike."""

    def change(self, out: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        out = super().forward(x, lengths)
        return out if self.causal else self.change(out)  # a causal one has been changed in `carry`

    def carry(self, x: Tensor, state: Any = None) -> Any:
        out, state = super().carry(x, state)
        return self.change(out), state

    def step(self, x_t: Tensor, state: Any = None) -> Any:
        out, state = super().step(x_t, state)
        return self.change(out), state


class MeanOfAll(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x + x.mean(dim=1, keepdim=True), lengths)


class FromTheFuture(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x + 0.1 * torch.cat((x[:, 1:], x[:, :1]), dim=1), lengths)


class PeeksWithoutGradient(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x + 0.1 * x.roll(-1, dims=1).detach(), lengths)


class ForwardsOnly(Gru):
    """Said to read both ways."""

    def __init__(self, width: int, *, causal: bool, **settings: Any) -> None:
        super().__init__(width, causal=True, **settings)


class KeepsHidden(Gru):
    hidden: Tensor | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        out = super().forward(x, lengths)
        before, self.hidden = self.hidden, out[:, -1].detach()
        return out if before is None or before.shape[0] != len(x) else out + 0.1 * before[:, None]


class KeepsLargest(Gru):
    """The same batch twice gives the same; larger values in between leave a trace."""

    largest = torch.tensor(20.0)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.largest = torch.maximum(self.largest, x.detach().abs().max())
        return super().forward(x / self.largest, lengths)


class RunningMean(Gru):
    """Follows what it is trained on, as batch norm does, and mixes nothing in training."""

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        self.mean = nn.Buffer(torch.zeros(width))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        out = super().forward(x, lengths)
        if self.training:
            self.mean.add_(out.detach().mean(dim=(0, 1)), alpha=0.1)
            return out
        return out - self.mean


class AnotherStep(Gru):
    def step(self, x_t: Tensor, state: Any = None) -> Any:
        out, state = super().step(x_t, state)
        return out * 1.001, state


class StepKeepsHidden(Gru):
    kept: Any = None

    def step(self, x_t: Tensor, state: Any = None) -> Any:
        out, self.kept = super().step(x_t, self.kept)
        return out, self.kept


class ForgetsWindows(Gru):
    def carry(self, x: Tensor, state: Any = None) -> Any:
        return super().carry(x)


class WithoutSteps(nn.Module):
    def __init__(self, width: int, *, length: int, causal: bool, **settings: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.tanh(self.linear(x))


class IgnoresLengths(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x)


class BatchNorm(Gru):
    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        self.norm = nn.BatchNorm1d(width, track_running_stats=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.norm(super().forward(x, lengths).transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


class BatchMeanInTraining(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        out = super().forward(x, lengths)
        return out - 0.1 * out.mean(dim=0) if self.training else out


class BatchMeanInEvaluation(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        out = super().forward(x, lengths)
        return out if self.training else out - 0.1 * out.mean(dim=0)


class BatchScale(Gru):
    """One large value anywhere makes every item small."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x / x.abs().max().clamp(min=20.0), lengths)


class BatchSize(Gru):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x / len(x), lengths)


class OwnGenerator(Gru):
    """The same weights, whatever the seed."""

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in self.parameters():
                weights.copy_(0.3 * torch.randn(weights.shape, generator=random))


class EndlessGenerator(Gru):
    """Other weights each time, whatever the seed."""

    RANDOM = np.random.default_rng(0)

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        with torch.no_grad():
            for weights in self.parameters():
                weights.add_(0.01 * float(self.RANDOM.standard_normal()))


class IdleWeights(Gru):
    """Weights that the seed decides and nothing reads."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.tanh(x)


class Detached(Changed):
    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        self.scale = nn.Parameter(torch.ones(width))

    def change(self, out: Tensor) -> Tensor:
        return out * self.scale.detach()


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (1 - 0.99 * torch.tanh(x) ** 2)


class OwnBackward(Changed):
    def change(self, out: Tensor) -> Tensor:
        return WrongBackward.apply(out)  # type: ignore[no-any-return, no-untyped-call]


class NoNumbers(Changed):
    """Finite outputs; the gradient of a root below zero, which is not taken, is no number all the same."""

    def change(self, out: Tensor) -> Tensor:
        return torch.where(out < 2, out, (out - 3).sqrt())


class HalfPrecision(Changed):
    def change(self, out: Tensor) -> Tensor:
        return out if out.dtype == torch.float64 else out.bfloat16().float()


class Unregistered(Changed):
    """Trained in a list, where no optimiser finds it."""

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        self.hidden_away = [torch.ones((), requires_grad=True)]

    def change(self, out: Tensor) -> Tensor:
        return out * self.hidden_away[0]


SAME = "another seed gives the core the same weights"
FAULTS: list[tuple[type[nn.Module], str, Gate, str]] = [
    (MeanOfAll, CAUSAL, "causality", "output 5 changes with input 6: the core sees the future"),
    (FromTheFuture, CAUSAL, "causality", "output 5 changes with input 6: the core sees the future"),
    (FromTheFuture, SEQUENCE, "causality", "the decoder sees the future"),
    (PeeksWithoutGradient, CAUSAL, "causality", "changes with later inputs: the core sees the future"),
    (PeeksWithoutGradient, SEQUENCE, "causality", "changes with later inputs: the core sees the future"),
    (ForwardsOnly, BOTH_WAYS, "causality", "the core is said to read both ways and does not"),
    (ForwardsOnly, SEQUENCE, "causality", "the encoder is said to read both ways and does not"),
    (KeepsHidden, CAUSAL, "state", "after a call with others: the core keeps something between calls"),
    (KeepsHidden, SEQUENCE, "state", "after a call with others: the core keeps something between calls"),
    (KeepsLargest, BOTH_WAYS, "state", "after a call with others: the core keeps something between calls"),
    (RunningMean, BOTH_WAYS, "state", "after a backward pass without a step"),
    (AnotherStep, CAUSAL, "streaming", "from step 1 on outputs are others than of the whole sequence"),
    (AnotherStep, SEQUENCE, "streaming", "on outputs are others than of the whole sequence"),
    (StepKeepsHidden, CAUSAL, "streaming", "on outputs are others than of the whole sequence"),
    (ForgetsWindows, STREAM, "streaming", "two windows give other outputs than one"),
    (WithoutSteps, CAUSAL, "streaming", "could not be checked: Core.step failed: "),
    (IgnoresLengths, BOTH_WAYS, "padding", "an item of 3 steps gives other outputs alone than padded to 6"),
    (IgnoresLengths, SEQUENCE, "padding", "an item of 3 steps gives other outputs alone than padded to 6"),
    (BatchNorm, CAUSAL, "batch", "in training an item changes with the other items of its batch"),
    (BatchMeanInTraining, BOTH_WAYS, "batch", "in training an item changes with the other items of its batch"),
    (BatchMeanInEvaluation, BOTH_WAYS, "batch", "in evaluation an item changes with the other items of its batch"),
    (BatchSize, BOTH_WAYS, "batch", "outputs of an item alone and in a batch"),
    (BatchScale, BOTH_WAYS, "batch", "outputs of an item beside other ones"),
    (OwnGenerator, CAUSAL, "seed", SAME),
    (OwnGenerator, SEQUENCE, "seed", SAME.replace("core", "encoder")),
    (EndlessGenerator, CAUSAL, "seed", "something else than the seed decides them"),
    (IdleWeights, CAUSAL, "seed", "the weights do nothing"),
    (Detached, CAUSAL, "gradient", "no gradient reaches core.scale"),
    (Detached, SEQUENCE, "gradient", "no gradient reaches encoder.scale, decoder.scale"),
    (OwnBackward, CAUSAL, "gradient", "the gradient is wrong"),
    (OwnBackward, BOTH_WAYS, "gradient", "the gradient is wrong"),
    (NoNumbers, CAUSAL, "gradient", "infinite or no number: "),
    (HalfPrecision, CAUSAL, "gradient", "in float32 is another one than in float64"),
    (Unregistered, CAUSAL, "clipping", "1 trained tensors are no parameters of the model"),
]


@pytest.mark.parametrize(("kind", "where", "gate", "words"), FAULTS, ids=lambda part: getattr(part, "__name__", part))
def test_a_planted_fault_is_refused_by_the_name_of_its_gate(
    kind: type[nn.Module], where: str, gate: Gate, words: str, plant: Callable[..., Gates]
) -> None:
    found = plant(kind, where)
    check = first(found, where)
    assert check.gate == gate
    assert words in check.note
    assert check.deviation is None or check.deviation > check.tolerance
    assert Gates.from_data(found.plain()) == found


ALONE = (
    AnotherStep,
    StepKeepsHidden,
    ForgetsWindows,
    IgnoresLengths,
    Detached,
    OwnBackward,
    HalfPrecision,
    Unregistered,
)


@pytest.mark.parametrize("kind", ALONE)
def test_a_fault_of_one_gate_fails_no_other(kind: type[nn.Module], plant: Callable[..., Gates]) -> None:
    expected = {gate for other, _, gate, _ in FAULTS if other is kind}
    assert {one.gate for one in plant(kind, *KINDS).failed} == expected


def test_large_values_in_the_padding_are_noticed(plant: Callable[..., Gates]) -> None:
    assert {one.gate for one in plant(BatchScale, BOTH_WAYS).failed} == {"batch", "padding"}


def test_the_core_that_the_faults_are_planted_in_has_none(plant: Callable[..., Gates]) -> None:
    assert plant(Gru, *KINDS).failed == ()


def test_a_core_that_begins_at_zero_is_still_seen_through(plant: Callable[..., Gates]) -> None:
    class Closed(Gru):
        """Sees the future through a gate that begins closed."""

        def __init__(self, width: int, **settings: Any) -> None:
            super().__init__(width, **settings)
            self.gate = nn.Parameter(torch.zeros(width))

        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            return super().forward(x + self.gate * x.flip(1), lengths)

    assert first(plant(Closed, CAUSAL), CAUSAL).gate == "causality"


def test_a_fault_at_the_border_of_blocks_is_found(plant: Callable[..., Gates]) -> None:
    class Blocks(Gru):
        """Reads in blocks, and goes on from no state."""

        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            return torch.cat([super(Blocks, self).forward(block) for block in torch.split(x, 64, dim=1)], dim=1)

    found = plant(Blocks, CAUSAL, "linear, every, causal")
    assert found.refusal(CAUSAL) == ""
    check = first(found, "linear, every, causal")
    assert check.gate == "streaming" and "from step 65 on" in check.note


def test_parameters_that_are_left_out_of_the_clipping_are_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[..., Gates]
) -> None:
    whole = nn.utils.clip_grad_norm_
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda weights, limit: whole(weights[1:], limit))
    check = first(plant(Gru, CAUSAL), CAUSAL)
    assert check.gate == "clipping" and "the gradient has a norm of" in check.note


def test_a_step_of_another_length_is_found(monkeypatch: pytest.MonkeyPatch, plant: Callable[..., Gates]) -> None:
    plain = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda weights, lr: plain(weights, lr=lr, weight_decay=0.1))
    check = first(plant(Gru, CAUSAL), CAUSAL)
    assert check.gate == "clipping" and "not by rate x limit" in check.note


def test_what_raises_is_a_failed_check_with_the_words_of_the_error(plant: Callable[..., Gates]) -> None:
    class Raises(Gru):
        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            raise RuntimeError("too much\nfor me")

    class Refuses(Gru):
        def __init__(self, width: int, **settings: Any) -> None:
            raise ValueError(f"no {width} columns")

    class Flat(Gru):
        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            return super().forward(x, lengths)[:, :, :1]

    for kind, words in (
        (Raises, "RuntimeError: too much for me"),
        (Refuses, "Core refuses: no 8 columns; "),
        (Flat, "Core.forward returned shape ("),
    ):
        checks = plant(kind, CAUSAL, BOTH_WAYS).checks
        assert not any(one.passed for one in checks if kind is not Raises or one.gate != "seed")
        notes = {one.note for one in checks if not one.passed}
        assert all("could not be checked: " in note and "\n" not in note for note in notes)
        assert any(words in note for note in notes)
        assert all(one.deviation is None for one in checks if not one.passed)


def test_the_next_width_is_taken_where_a_core_refuses_one(plant: Callable[..., Gates]) -> None:
    widths = set()

    class Threes(Gru):
        def __init__(self, width: int, **settings: Any) -> None:
            if width % 3:
                raise ValueError("three heads")
            widths.add(width)
            super().__init__(width, **settings)

    assert plant(Threes, CAUSAL).failed == ()
    assert widths == {9}


def test_dropout_is_off_wherever_it_is(plant: Callable[..., Gates]) -> None:
    class Dropped(Gru):
        def __init__(self, width: int, dropout: float, **settings: Any) -> None:
            assert dropout == 0.0
            super().__init__(width, dropout=dropout, **settings)
            self.own = nn.Dropout(0.5)

        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            return self.own(super().forward(x, lengths))  # type: ignore[no-any-return]

    assert plant(Dropped, CAUSAL).failed == ()
    assert gates.gates("gru", SETTINGS).core == SETTINGS  # as the plan has it


# ---------------------------------------------------------------- the sentence


def test_a_refusal_names_gate_model_and_meaning(plant: Callable[..., Gates]) -> None:
    found = plant(ForgetsWindows, CAUSAL, STREAM, BOTH_WAYS)
    sentence = found.refusal(STREAM)
    assert sentence.startswith(f"planted fails the gate 'streaming' in the model '{STREAM}': two windows give other")
    assert sentence.endswith(".") and "\n" not in sentence
    assert found.refusal(BOTH_WAYS) == ""
    assert f", and {len(found.failed) - 1} more of {len(found.checks)} checks: " in found.refusal()


def test_a_model_that_was_not_checked_has_not_passed(plant: Callable[..., Gates]) -> None:
    found = plant(Gru, CAUSAL)
    assert found.refusal() == ""
    assert found.refusal(STREAM) == f"planted has passed no gate in the model '{STREAM}': it was not checked."
    nothing = found.model_copy(update={"checks": ()})
    assert "it was not checked" in nothing.refusal()
