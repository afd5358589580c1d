"""Image encoders: shapes and sizes as published, each frame alone, the same numbers again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqbench import vision
from seqbench.errors import InputError
from seqbench.tasks._pretrained import shapes

KINDS = ["small", "resnet18"]
State = dict[str, Tensor]


def built(kind: str, channels: int = 3, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return vision.encoder(kind, channels)


def frames(count: int, channels: int = 3, height: int = 40, width: int = 33) -> Tensor:
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(2))


def awake(encoder: nn.Module) -> nn.Module:
    """With numbers of its own in every norm, as after training."""
    generator = torch.Generator().manual_seed(3)
    for name, values in encoder.state_dict().items():
        if "bn" in name or ".downsample.1." in name:
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return encoder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 16), (32, 32), (45, 64)])
def test_shapes(kind: str, channels: int, size: tuple[int, int]) -> None:
    encoder = built(kind, channels)
    out = encoder(frames(2, channels, *size))
    assert out.shape == (2, encoder.features) and torch.isfinite(out).all()


def test_a_resnet18_has_the_published_size() -> None:
    """11,689,512 parameters with its classifier, which has 513,000 (torchvision's table of models)."""
    assert sum(p.numel() for p in built("resnet18").parameters()) == 11_689_512 - 513_000
    assert built("resnet18").features == 512


@pytest.mark.parametrize("channels", [1, 3])
def test_a_resnet18_has_the_names_that_weights_are_checked_by(channels: int) -> None:
    found = {name: tuple(values.shape) for name, values in built("resnet18", channels).state_dict().items()}
    assert found == shapes(channels)


def normed(state: State, name: str, x: Tensor) -> Tensor:
    part = {key: state[f"{name}.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var")}
    scale = part["weight"] / torch.sqrt(part["running_var"] + 1e-5)
    return (x - part["running_mean"]) * scale + part["bias"]


def published(state: State, x: Tensor) -> Tensor:
    """He et al. 2016, table 1 and fig. 2 and 3, written once more, from the weights alone."""
    x = F.relu(normed(state, "bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            h = F.relu(normed(state, f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1)))
            h = normed(state, f"{name}.bn2", F.conv2d(h, state[f"{name}.conv2.weight"], padding=1))
            if f"{name}.downsample.0.weight" in state:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = normed(state, f"{name}.downsample.1", x)
            x = F.relu(x + h)
    return x.flatten(2).mean(2)


def test_a_resnet18_is_the_published_one() -> None:
    encoder = awake(built("resnet18")).double()
    x = frames(2).double()
    torch.testing.assert_close(encoder(x), published(encoder.state_dict(), x))


def test_an_untrained_resnet18_begins_as_its_shortcuts() -> None:
    """Every second norm of a block begins at 0: with two blocks the first stage hands on what it is given."""
    encoder = built("resnet18")
    x = frames(1, 64).relu()
    torch.testing.assert_close(encoder.layer1(x), x)
    spread = encoder(frames(4, height=64, width=64)).std()
    assert 0.05 < spread < 20


def test_norms_are_batch_norm_of_fixed_statistics() -> None:
    norm, theirs = vision.Norm(4), nn.BatchNorm2d(4).eval()
    for values in norm.state_dict().values():
        values.copy_(torch.rand(values.shape) + 0.5)
    theirs.load_state_dict(norm.state_dict(), strict=False)
    x = frames(3, 4)
    before = {name: values.clone() for name, values in norm.state_dict().items()}
    torch.testing.assert_close(norm.train()(x), theirs(x))
    assert all(torch.equal(before[name], values) for name, values in norm.state_dict().items())
    assert {name for name, _ in norm.named_parameters()} == {"weight", "bias"}


def test_the_small_one_by_hand() -> None:
    """Weights of 0 leave each convolution its bias; group norm makes it 0, and shifts it."""
    encoder = built("small")
    for values in encoder.state_dict().values():
        values.zero_()
    encoder.layers[-2].bias.data = torch.arange(64.0) - 10
    expected = (torch.arange(64.0) - 10).clamp(min=0)
    torch.testing.assert_close(encoder(frames(2)), expected.expand(2, 64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_frame_does_not_depend_on_the_others(kind: str, training: bool) -> None:
    encoder = awake(built(kind)).double().train(training)
    x = frames(5).double()
    other = torch.cat((x[:1], 100 * x[1:] + 7))
    torch.testing.assert_close(encoder(x)[0], encoder(x[:1])[0])
    torch.testing.assert_close(encoder(other)[0], encoder(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_places_in_the_frame_matter(kind: str) -> None:
    encoder, x = awake(built(kind)), frames(1)
    assert not torch.allclose(encoder(x), encoder(x.roll(5, dims=3)), rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_come_from_the_seed_and_training_repeats(kind: str, one_thread: None) -> None:
    def trained(seed: int) -> tuple[Tensor, list[Tensor]]:
        encoder = built(kind, seed=seed)
        loss = encoder(frames(3)).square().sum()
        loss.backward()
        return loss.detach(), [p.grad for p in encoder.parameters() if p.grad is not None]

    (loss, gradients), (again, same), (another, _) = trained(1), trained(1), trained(2)
    assert torch.equal(loss, again) and loss != another
    assert all(torch.equal(a, b) for a, b in zip(gradients, same, strict=True))
    assert len(gradients) == len(list(built(kind).parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_known_without_numbers(kind: str) -> None:
    with torch.device("meta"):
        encoder = vision.encoder(kind, 3)
        out = encoder(torch.empty(2, 3, 32, 32))
    assert out.shape == (2, encoder.features) and out.device.type == "meta"


def test_an_unknown_encoder_is_an_input_error() -> None:
    with pytest.raises(InputError, match="resnet50") as error:
        vision.encoder("resnet50", 3)
    assert "small, resnet18" in error.value.fix
