"""Frontends of spectrograms and frames: what they compute, and that padding and the rest of a batch change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from synthetic import ARCHS, add_own
from torch import Tensor

from seqbench import archs, model
from seqbench.errors import InputError
from seqbench.frontend import Frames, Frontend, Spectrogram, halved, within
from seqbench.records import Spec

pytestmark = pytest.mark.usefixtures("one_thread")

BANDS = Spec(
    inputs="values",
    input_size=10,
    frontend="spectrogram",
    outputs="classes",
    output_size=3,
    length=21,
    metric="accuracy",
    direction="max",
    causal=False,
    pooling="mean",
    shift=0.5,
    scale=2.0,
)
LABELS = BANDS.model_copy(update={"outputs": "ctc", "output_size": 6, "target_length": 2, "metric": "wer"})
FILM = BANDS.model_copy(update={"frontend": "frames", "input_size": 3 * 16 * 16, "frame": (3, 16, 16), "length": 6})
RESNET = FILM.model_copy(update={"encoder": "resnet18"})
SPECS = {"spectrogram": BANDS, "ctc": LABELS, "frames": FILM, "resnet18": RESNET}
every = pytest.mark.parametrize("arch", ARCHS)
every_kind = pytest.mark.parametrize("kind", SPECS)


@pytest.fixture(autouse=True)
def with_an_own_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_own(tmp_path, monkeypatch)


def built(spec: Spec, arch: str) -> Any:
    return model.build(spec, arch, archs.defaults(arch), 8, seed=1).double()


def inputs(spec: Spec, items: int = 4) -> Tensor:
    shape = (spec.frame or (spec.input_size,)) if spec.frontend == "frames" else (spec.input_size,)
    return torch.randn(items, spec.length, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


# ---------------------------------------------------------------- padding, batches, steps


@every
@every_kind
def test_padding_changes_nothing(arch: str, kind: str) -> None:
    spec = SPECS[kind]
    made, x = built(spec, arch).eval(), inputs(spec)
    lengths = torch.tensor([5, spec.length, 1, 4])
    outputs, steps = made(x, lengths), made.steps(lengths)
    for item, length in enumerate(lengths.tolist()):
        alone = made(x[item : item + 1, :length])[0]
        close(outputs[item, : int(steps[item])] if kind == "ctc" else outputs[item], alone)
        other = made(x[item : item + 1], lengths[item : item + 1])[0]  # beyond the end stands what it likes
        close(other[: int(steps[item])] if kind == "ctc" else other, alone)
    assert not torch.allclose(outputs[0], made(x)[0, : outputs.shape[1]])


@every
@every_kind
def test_steps_are_those_of_the_outputs(arch: str, kind: str) -> None:
    spec = SPECS[kind].model_copy(update={"outputs": "ctc", "target_length": 1})
    made = built(spec, arch).eval()
    for length in (1, 2, 3, 4, 5, 6):
        x = inputs(spec)[:, :length]
        found = made(x).shape[1]
        assert found == spec.seen(length) == int(made.steps(torch.tensor([length]))[0])
        assert found == (length if spec.frontend == "frames" else -(-length // 4))


@pytest.mark.parametrize("kind", ["frames", "resnet18"])
def test_a_frame_in_training_does_not_depend_on_the_batch(kind: str) -> None:
    frames = Frames(SPECS[kind]).double().train()
    x = inputs(SPECS[kind])
    together = frames(x, None)
    close(together[2], frames(x[2:3], None)[0])
    close(together[2, 1], frames(x[2:3, 1:2], None)[0, 0])


def test_frames_that_are_padding_are_not_encoded() -> None:
    frames, seen = Frames(FILM).double(), []
    frames.encoder.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    found = frames(inputs(FILM), torch.tensor([5, 6, 1, 3]))
    assert seen == [15]
    assert bool((found[2, 1:] == 0).all()) and bool((found[2, 0] != 0).any())


# ---------------------------------------------------------------- what they compute


def test_a_spectrogram_by_hand() -> None:
    made, x = Spectrogram(10).double(), inputs(BANDS)
    first = F.relu(F.conv2d(x[:, None], made.first.weight, made.first.bias, stride=2, padding=1))
    second = F.relu(F.conv2d(first, made.second.weight, made.second.bias, stride=2, padding=1))
    assert second.shape == (4, 32, 6, 3) and made.features == 96
    close(made(x, None), second.permute(0, 2, 1, 3).reshape(4, 6, 96))


def test_values_are_shifted_and_scaled_before_padding_is_zero() -> None:
    """Zeros stand for padding after the scaling: before it they would be a value of their own."""
    frontend = Frontend(BANDS, 8).double()
    x = inputs(BANDS)
    lengths = torch.tensor([21, 9, 2, 13])
    scaled = within((x - 0.5) / 2.0, lengths)
    assert frontend.convolutions is not None
    close(frontend(x, lengths), frontend.linear(frontend.convolutions(scaled, lengths)))


def test_pixels_may_be_bytes() -> None:
    made = model.build(FILM.model_copy(update={"scale": 255.0}), "gru", archs.defaults("gru"), 8, seed=1).eval()
    pixels = torch.randint(256, (2, 6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(made(pixels), made(pixels.float()))


def test_half_the_steps_rounded_up() -> None:
    assert [halved(n) for n in (1, 2, 3, 4, 7)] == [1, 1, 2, 2, 4]
    assert halved(torch.tensor([1, 2, 7])).tolist() == [1, 1, 4]


def test_within_is_zero_beyond_the_lengths() -> None:
    x = torch.ones(2, 3, 2)
    assert within(x, torch.tensor([1, 3])).sum(dim=(1, 2)).tolist() == [2, 6]
    assert within(x, None) is x


# ---------------------------------------------------------------- what is refused, counted, loaded


def test_a_spectrogram_that_must_not_see_later_steps_is_refused() -> None:
    with pytest.raises(InputError, match="see later steps"):
        Frontend(BANDS.model_copy(update={"causal": True}), 8)


@pytest.mark.parametrize("outputs", ["every", "steps", "multilabel"])
def test_labels_for_each_step_of_a_spectrogram_are_refused(outputs: str) -> None:
    with pytest.raises(InputError, match="a quarter of the steps"):
        Frontend(BANDS.model_copy(update={"outputs": outputs, "window": 1}), 8)


def test_a_spectrogram_of_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="reads values"):
        Frontend(BANDS.model_copy(update={"inputs": "tokens", "embedding": 4}), 8)


@pytest.mark.parametrize("frame", [(), (3, 16), (3, 16, 15)])
def test_frames_of_another_size_than_said_are_refused(frame: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        Frontend(FILM.model_copy(update={"frame": frame}), 8)
    assert len(str(caught.value).splitlines()) == 3 and "spec.frame" in caught.value.where


@every
@pytest.mark.parametrize("kind", ["frames", "resnet18"])
def test_the_image_encoder_is_outside_of_the_budget(arch: str, kind: str) -> None:
    settings = archs.defaults(arch)
    width = model.solve_width(SPECS[kind], arch, settings, 30_000)
    made = model.build(SPECS[kind], arch, settings, width, seed=1)
    parts = model.count(made)
    assert made.frontend.frames is not None
    assert parts.encoder == sum(p.numel() for p in made.frontend.frames.parameters())
    assert parts.encoder + parts.matched == sum(p.numel() for p in made.parameters())
    assert abs(parts.matched - 30_000) <= 0.05 * 30_000


class Weights:
    """Stands for prepared data that hold a pretrained encoder."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays, self.manifest = arrays, self

    def array(self, name: str) -> Any:
        return self.arrays[name]


def test_a_pretrained_encoder_is_put_into_the_model() -> None:
    donor, made = (model.build(RESNET, "gru", archs.defaults("gru"), 8, seed=seed) for seed in (1, 2))
    assert donor.frontend.frames is not None and made.frontend.frames is not None
    known = donor.frontend.frames.encoder.state_dict()
    assert any(not torch.equal(value, made.frontend.frames.encoder.state_dict()[name]) for name, value in known.items())
    head = {name: value.clone() for name, value in made.head.state_dict().items()}
    model.load_pretrained(made, Weights({f"frontend.{name}": value.numpy() for name, value in known.items()}))  # type: ignore[arg-type]
    assert all(torch.equal(value, made.frontend.frames.encoder.state_dict()[name]) for name, value in known.items())
    assert all(torch.equal(value, made.head.state_dict()[name]) for name, value in head.items())
    assert all(p.requires_grad for p in made.frontend.frames.parameters())
