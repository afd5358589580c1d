"""Horizons of models with known reach, longer sequences, bits by hand; and that no run's test split is read."""

from __future__ import annotations

import copy
import itertools
import math
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import synthetic
import torch
from torch import Tensor, nn

from seqbench import archs, checkpoint, horizon, model, prepared, tasks, train
from seqbench.config import MeasureSettings
from seqbench.errors import DataError
from seqbench.horizon import effects, longer
from seqbench.horizon.effects import Items
from seqbench.measurements import Reaches
from seqbench.model import Model
from seqbench.prepare import prepare
from seqbench.prepared import Prepared
from seqbench.records import UNSCORED, Result, Runs, Setting, Spec, TrainSettings, TuneSettings, derive

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
WINDOW = 4
"""Steps that the planted core sees, the present one among them."""
FEW = MeasureSettings(reach_items=16, reach_lags=40, stretch=(2,))
LAGS = 12
VALUES = Spec(
    inputs="values", input_size=3, outputs="values", output_size=2, length=LAGS, metric="mse", direction="min"
)
TOKENS = {"inputs": "tokens", "input_size": 7, "embedding": 5, "length": LAGS, "metric": "accuracy", "direction": "max"}


class Window(nn.Module):
    """Planted: the sum of the last `WINDOW` inputs, so that all of them matter alike and no other does."""

    def __init__(self, width: int, *, length: int, causal: bool) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        padded = nn.functional.pad(x, (0, 0, WINDOW - 1, 0))
        return padded.unfold(1, WINDOW, 1).sum(dim=3)

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        before = torch.zeros(len(x_t), WINDOW - 1, x_t.shape[1]) if state is None else state
        seen = torch.cat((before, x_t[:, None]), dim=1)
        return seen.sum(dim=1), seen[:, 1:]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[nn.Module]], None]:
    """Puts a core in the place of every architecture's."""
    return lambda core: monkeypatch.setattr(archs, "find", lambda name: core)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def net(spec: Spec, arch: str = "rnn", width: int = 6, **core: Any) -> Model:
    made = model.build(spec, arch, core, width, 0)
    assert isinstance(made, Model)
    return made.double().eval()


def numbers(items: int = 16, steps: int = LAGS) -> Items:
    return Items(noise(items, steps, 3), noise(items, 2), torch.full((items,), steps - 1), None)


def symbols(spec: Spec, items: int = 16) -> Items:
    random = np.random.default_rng(0)
    x, y = (torch.from_numpy(random.integers(7, size=size)) for size in ((items, LAGS), items))
    return Items(x, y, torch.full((items,), LAGS - 1), None)


# ---------------------------------------------------------------- known reach


@pytest.mark.parametrize("outputs", ["classes", "steps", "every", "stream", "values"])
def test_what_lies_beyond_a_window_has_no_effect(outputs: Any, plant: Callable[..., None]) -> None:
    plant(Window)
    spec = VALUES if outputs == "values" else Spec(**TOKENS, outputs=outputs, output_size=3, window=2)
    seen = numbers() if outputs == "values" else symbols(spec)
    if outputs != "values":
        seen = seen._replace(y=seen.y % 3)
    made, lags = net(spec), list(range(LAGS))
    slopes, moves = effects.gradients(made, seen), effects.interventions(made, seen, lags)
    np.testing.assert_allclose(slopes[:WINDOW], slopes[0], rtol=1e-12)
    assert min(slopes[:WINDOW]) > 0
    assert min(moves[:WINDOW]) > max(moves) / 2
    assert slopes[WINDOW:] == moves[WINDOW:] == [0.0] * (LAGS - WINDOW)
    assert horizon.horizon(lags, slopes) == horizon.horizon(lags, moves) == WINDOW


def linear_rnn(radius: float) -> Model:
    """An RNN so near zero that tanh is the identity: h_t = c x_t + r Q h_(t-1), Q orthogonal."""
    made = net(VALUES, layers=1, dropout=0.0, orthogonal=True)
    (layer,) = made.core.layers
    with torch.no_grad():
        layer.weight_ih_l0.copy_(1e-9 * torch.eye(6))
        layer.weight_hh_l0.copy_(radius * torch.linalg.qr(noise(6, 6).double())[0])
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    return made


@pytest.mark.parametrize("radius", [0.6, 0.9])
def test_the_gradient_of_an_rnn_decays_with_its_spectral_radius(radius: float) -> None:
    slopes = np.array(effects.gradients(linear_rnn(radius), numbers(steps=300)))
    np.testing.assert_allclose(slopes / slopes[0], radius ** np.arange(300.0), rtol=1e-6)
    assert horizon.horizon(range(300), slopes.tolist()) == math.ceil(math.log(0.5) / math.log(radius))
    if radius == 0.6:
        assert 0 < slopes[-1] < 1e-70  # the smallest float32 is 1e-45


def test_an_intervention_moves_a_linear_model_as_its_weights_say(plant: Callable[..., None]) -> None:
    plant(Window)
    made, seen = net(VALUES), numbers()
    (moved,) = effects.interventions(made, seen, [2])
    shift = int(np.random.Generator(np.random.Philox(derive(0, "intervention", 2))).integers(1, 16))
    here = seen.x[:, -3].double()
    change = (here.roll(shift, dims=0) - here) @ made.frontend.linear.weight.T @ made.head.linear.weight.T
    assert moved == pytest.approx(change.abs().mean().item(), rel=1e-12)


def test_a_logit_counts_against_the_mean_of_the_others() -> None:
    spec = Spec(**TOKENS, outputs="classes", output_size=3)
    out = torch.tensor([[1.0, 2.0, 6.0], [4.0, 0.0, 2.0]])
    seen = symbols(spec, 2)._replace(y=torch.tensor([2, 1]))
    assert effects._said(out, seen, spec).tolist() == [[4.5], [-3.0]]
    assert effects._said(out + 7, seen, spec).tolist() == [[4.5], [-3.0]]


def test_every_token_becomes_another_that_occurs() -> None:
    spec = Spec(**TOKENS, outputs="classes", output_size=3)
    seen = symbols(spec, 200)
    kinds = torch.tensor([2, 5, 6])
    seen = seen._replace(x=kinds[seen.x % 3])
    for lag in range(LAGS):
        other = effects._others(seen, seen.last - lag, spec, lag)
        assert bool((other != seen.x[:, LAGS - 1 - lag]).all())
        assert set(other.tolist()) == {2, 5, 6}


def test_padding_and_chunks_change_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec(**TOKENS, outputs="classes", output_size=7, causal=False, pooling="mean")
    made, seen = net(spec, "gru", layers=1, dropout=0.0, orthogonal=False), symbols(spec)
    lags = [0, 3, LAGS - 3]
    whole = effects.gradients(made, seen), effects.interventions(made, seen, lags)
    padding = torch.zeros(16, 5, dtype=seen.x.dtype)
    padded = seen._replace(x=torch.cat((seen.x, padding), dim=1), lengths=torch.full((16,), LAGS))
    np.testing.assert_allclose(effects.gradients(made, padded), whole[0], rtol=1e-9)
    np.testing.assert_allclose(effects.interventions(made, padded, lags), whole[1], rtol=1e-9)
    lengths = LAGS - torch.arange(16) % 3
    several = padded._replace(lengths=lengths, last=lengths - 1)
    whole = effects.gradients(made, several), effects.interventions(made, several, lags)
    monkeypatch.setattr(effects, "STEPS", 5 * 17)  # 16 items: three chunks of five, and one item
    np.testing.assert_allclose(effects.gradients(made, several), whole[0], rtol=1e-9)
    np.testing.assert_allclose(effects.interventions(made, several, lags), whole[1], rtol=1e-9)


@pytest.mark.parametrize("outputs", ["classes", "stream", "multilabel", "values"])
def test_the_loss_of_a_step_is_that_of_training(outputs: Any) -> None:
    spec = Spec(**TOKENS, outputs=outputs, output_size=4)
    out = noise(9, 4)
    y = {"values": noise(9, 4), "multilabel": noise(9, 4) > 0}.get(outputs, torch.arange(9) % 4)
    steps = (out[:, None], y[:, None]) if outputs in ("stream", "multilabel") else (out, y)
    if outputs == "multilabel":
        steps = steps[0], steps[1].to(torch.int8)
    assert effects.losses(out, y, spec).mean().item() == pytest.approx(model.loss(*steps, spec).item(), rel=1e-5)


def test_the_gradient_is_that_of_differences() -> None:
    spec = Spec(
        inputs="values", input_size=3, outputs="multilabel", output_size=2, length=5, metric="nll", direction="min"
    )
    made = net(spec, "lstm", **archs.defaults("lstm"))
    seen = Items(noise(2, 5, 3), torch.tensor([[1, 0], [1, 1]]), torch.tensor([3, 4]), None)
    h = made.frontend(seen.x)

    def losses(change: Tensor) -> Tensor:
        return effects.losses(effects.answers(made, h + change, seen), seen.y, spec).detach()

    found = effects.gradients(made, seen)
    assert len(found) == 4
    for lag, norm in enumerate(found):
        slopes = []
        for column in range(6):
            change = torch.zeros_like(h)
            change[[0, 1], [3 - lag, 4 - lag], column] = 1e-6
            slopes.append((losses(change) - losses(-change)) / 2e-6)
        assert norm == pytest.approx(torch.stack(slopes).norm(dim=0).mean().item(), rel=1e-5)


# ---------------------------------------------------------------- curve and lags


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ([8, 5, 4, 3, 1], 7),
        ([8, 3, 5, 1, 1], 7),
        ([1, 1, 1, 1, 9], None),
        ([9, 1, 1, 1, 1], 1),
        ([2, 2, 2, 2, 2], None),
        ([0, 0, 0, 0, 0], 0),
    ],
)
def test_a_horizon_is_where_the_effect_stays_below_half(effects: list[float], expected: int | None) -> None:
    assert horizon.horizon([0, 1, 3, 7, 20], effects) == expected


def test_lags_are_spread_on_a_logarithmic_scale_and_miss_no_peak() -> None:
    lags = horizon.spread(1000, 24)
    assert (lags[0], lags[1], lags[-1]) == (0, 1, 999)
    assert len(lags) == 24
    assert max(b / a for a, b in itertools.pairwise(lags[9:])) < 1.5  # of which 24 even ones would have 1.35
    peak = [0.1] * 1000
    peak[700], peak[720] = 5.0, 3.0
    assert set(horizon.spread(1000, 24, [peak])) - set(lags) == {700, 720, 721}
    assert horizon.spread(1, 24) == [0]
    assert horizon.spread(24, 24) == list(range(24))
    assert len(horizon.spread(25, 24)) == 24
    assert horizon.spread(5, 24, [[1.0] * 5]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "settings", "steps"),
    [
        ("made_stream", {}, 6),
        ("made_every", {"outputs": "every"}, 9),
        ("made_every", {"outputs": "classes", "causal": False}, 9),
        ("made_many", {}, 9),
    ],
)
def test_every_kind_of_outputs_is_looked_at(
    name: str, settings: dict[str, Any], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic.install(monkeypatch)
    setting = synthetic.cell(tmp_path, name, "gru", settings, steps=2, eval_every=2)
    trained(tmp_path, setting)
    found = reached(tmp_path, setting, FEW.model_copy(update={"reach_items": 4}))
    assert (found.extrapolations, found.bits, found.skipped, len(found.reaches)) == ((), {}, "", 8)
    for reach in found.reaches:
        assert reach.lags == tuple(range(steps))
        assert min(reach.effects) > 0  # all steps of the longest items, through two layers
    data = Prepared(tmp_path / "prepared" / name)
    seen, split = effects.items(data, 4, CPU), data.split("valid")
    assert len(seen.x) == 4
    for x, y, last in zip(seen.x.numpy(), seen.y.numpy(), seen.last.tolist(), strict=True):
        assert last == steps - 1
        if name == "made_stream":
            (ends,) = np.nonzero((np.lib.stride_tricks.sliding_window_view(split["x"], steps) == x).all(axis=1))
            assert y in split["y"][ends + last]
        else:
            rows = np.flatnonzero((split["x"] == x).reshape(len(split["x"]), -1).all(axis=1))
            wanted = split["y"][rows] if settings.get("outputs") == "classes" else split["y"][rows, last]
            assert y.tolist() in wanted.tolist()


def test_of_the_last_steps_the_very_last_is_looked_at(tmp_path: Path) -> None:
    cell(tmp_path, "copy_memory")
    data = Prepared(tmp_path / "prepared" / "copy_memory-7")
    seen, split = effects.items(data, 50, CPU), data.split("valid")
    assert torch.equal(seen.y, torch.from_numpy(np.array(split["y"][:, -1])))
    assert set(seen.last.tolist()) == {26}


def test_images_of_frames_are_skipped_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.install(monkeypatch)
    setting = synthetic.cell(tmp_path, "made_film", "rnn", steps=1, eval_every=1)
    (result,) = trained(tmp_path, setting, (1,))
    found = reached(tmp_path, setting)
    assert "frontend 'frames'" in found.skipped and found.keys == {"1": result.key}
    assert (found.reaches, found.extrapolations, found.bits, found.state_bytes) == ((), (), {}, result.state_bytes)


def test_items_are_those_with_the_longest_past(tmp_path: Path) -> None:
    folder = tmp_path / "recall"
    settings = small.SMALL["recall"] | {"valid": 90}
    job = tasks.build("recall", settings)
    arrays, defects = job.arrays({})
    spec = job.spec(arrays)
    own = {"task": "recall", "settings": settings, "version": 1}
    prepared.write(folder, **own, spec=spec, arrays=arrays, defects=defects, sources={})
    seen, y = effects.items(Prepared(folder), 20, CPU), arrays["valid.y"]
    latest = [int(np.flatnonzero(row != UNSCORED)[-1]) for row in y]
    assert len(seen.x) == 20
    assert seen.lags - 1 == min(seen.last.tolist()) == sorted(latest)[-20]
    for x, label, last in zip(seen.x.numpy(), seen.y.tolist(), seen.last.tolist(), strict=True):
        (row,) = np.flatnonzero((arrays["valid.x"] == x).all(axis=1))
        assert (latest[row], y[row, last]) == (last, label)


# ---------------------------------------------------------------- whole cells


def cell(root: Path, task: str, arch: str = "rnn", core: dict[str, Any] | None = None, **changes: Any) -> Setting:
    """Prepared data and the setting of a tiny cell."""
    manifest = prepare(task, tasks.find(task).Settings(**small.SMALL[task] | changes).plain(), root)
    return Setting(
        task=task,
        task_settings=manifest.settings,
        arch=arch,
        core=archs.defaults(arch) | {"layers": 1, "dropout": 0.0} if core is None else core,
        parameters=2000,
        train=TrainSettings(batch=16, steps=3, eval_every=3, patience=0, schedule="constant"),
        tune=TuneSettings(),
    )


def trained(root: Path, setting: Setting, seeds: tuple[int, ...] = (1, 2)) -> tuple[Result, ...]:
    return train.train_cell(setting, 0.01, seeds, root, CPU, lambda _: None).results


def reached(root: Path, setting: Setting, settings: MeasureSettings = FEW, seeds: tuple[int, ...] = (1, 2)) -> Reaches:
    return horizon.reaches(setting, seeds, root, settings, CPU, lambda _: None)


@pytest.mark.parametrize("task", ["adding", "copy_memory"])
def test_a_trained_window_has_the_horizon_of_a_window(task: str, tmp_path: Path, plant: Callable[..., None]) -> None:
    plant(Window)
    setting = cell(tmp_path, task, core={})
    results = trained(tmp_path, setting)
    found = reached(tmp_path, setting)
    assert [(r.seed, r.trained, r.kind) for r in found.reaches] == [
        (*of, kind) for of in itertools.product((1, 2), (False, True)) for kind in ("gradient", "intervention")
    ]
    for reach in found.reaches:
        assert reach.lags == tuple(range(21 if task == "adding" else 27))
        assert reach.effects[WINDOW:] == (0.0,) * (len(reach.lags) - WINDOW)
        assert min(reach.effects[:WINDOW]) > 0
        if reach.kind == "gradient" or task == "copy_memory":  # few of the numbers of the other are marked
            assert reach.horizon == WINDOW
    assert found.keys == {str(result.seed): result.key for result in results}
    assert found.state_bytes == results[0].state_bytes == (WINDOW - 1) * results[0].width * 4
    assert {(one.seed, one.length) for one in found.extrapolations} == {
        (seed, 42 if task == "adding" else 34) for seed in (1, 2)
    }
    assert Reaches.from_data(found.plain()) == found


@pytest.mark.parametrize(("arch", "dropout"), [("gru", 0.0), ("transformer", 0.5)])
def test_the_untrained_and_the_trained_model_are_those_of_the_run(arch: str, dropout: float, tmp_path: Path) -> None:
    setting = cell(tmp_path, "adding", arch, archs.defaults(arch) | {"layers": 1, "dropout": dropout})
    (result,) = trained(tmp_path, setting, (7,))
    found = reached(tmp_path, setting, FEW.model_copy(update={"reach_lags": 6}), (7,))
    data = Prepared(tmp_path / "prepared" / "adding-21")
    made = model.build(data.spec, arch, setting.core, result.width, result.seeds["init"])
    assert isinstance(made, Model)
    (path,) = tmp_path.glob(f"runs/adding-21/{arch}/seed-7/*/model.safetensors")
    weights = {False: made.state_dict(), True: checkpoint.read_weights(path, result.weights_sha256, "")}
    seen, made = effects.items(data, 16, CPU), copy.deepcopy(made).double().eval()
    for reach in found.reaches:
        if reach.kind == "gradient":
            made.load_state_dict(weights[reach.trained])
            slopes = effects.gradients(made, seen)
            assert len(reach.lags) < 21
            np.testing.assert_allclose(reach.effects, [slopes[lag] for lag in reach.lags], rtol=1e-9)


def test_untrained_is_with_pretrained_parts_and_without_training(
    tmp_path: Path, plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(Window)
    setting = cell(tmp_path, "adding", core={})
    trained(tmp_path, setting)

    def blind(net: Model, data: Prepared) -> None:
        nn.init.zeros_(net.frontend.linear.weight)

    monkeypatch.setattr(model, "load_pretrained", blind)
    for reach in reached(tmp_path, setting).reaches:
        if reach.kind == "intervention":
            assert (max(reach.effects) > 0) == reach.trained


@pytest.mark.parametrize("task", ["parity", "recall"])
def test_no_test_split_of_a_run_is_opened(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path, task)
    trained(tmp_path, setting)
    (kept,) = (tmp_path / "prepared").glob("*/test.x.npy")
    theirs = np.load(kept)
    opened: list[tuple[Path, str]] = []
    given: list[Any] = []
    split = Prepared.split

    def spy(data: Prepared, name: str) -> dict[str, Any]:
        opened.append((data.folder, name))
        found = split(data, name)
        if name == "test":
            given.append(found["x"].copy())
        return found

    monkeypatch.setattr(Prepared, "split", spy)
    found = reached(tmp_path, setting)
    assert {name for folder, name in opened if folder == kept.parent} == {"valid"}
    assert [one.length for one in found.extrapolations] == [given[0].shape[1]] * 2
    assert len(given[0]) == longer.LONGER_ITEMS
    shared = theirs.shape[1] if task == "recall" else 12
    rows = {row.tobytes() for row in theirs[:, :shared]}
    assert (
        sum(row.tobytes() in rows for row in given[0][:, :shared]) < len(given[0]) / 2
    )  # new, and not their beginnings


def test_longer_sequences_are_scored_by_the_metric(tmp_path: Path, plant: Callable[..., None]) -> None:
    plant(Window)
    setting = cell(tmp_path, "parity", core={}, length=15, test_length=40)
    trained(tmp_path, setting)
    found = reached(tmp_path, setting, FEW.model_copy(update={"stretch": (2, 4)}))
    assert found.trained_length == 15
    assert [one.length for one in found.extrapolations] == [30, 30, 60, 60]
    for one in found.extrapolations:
        assert one.score is not None
        assert abs(one.score - 0.5) < 0.1  # a window of four cannot know the parity of more


def test_a_model_that_cannot_read_so_many_steps_has_no_score(
    tmp_path: Path, plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(Window)
    setting = cell(tmp_path, "adding", core={})
    trained(tmp_path, setting)

    def forward(core: Window, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.shape[1] == 63:
            raise RuntimeError("no place for step 43")
        return x if x.shape[1] < 63 else x * math.inf

    said: list[str] = []
    monkeypatch.setattr(Window, "forward", forward)
    many = FEW.model_copy(update={"stretch": (2, 3, 4)})
    found = horizon.reaches(setting, (1, 2), tmp_path, many, CPU, said.append)
    assert [(one.seed, one.length, one.score is None) for one in found.extrapolations] == [
        (seed, length, length > 42) for length in (42, 63, 84) for seed in (1, 2)
    ]
    assert "seed 2, 63 steps: not read (RuntimeError: no place for step 43)" in said


class Table(Window):
    """Planted: as many weights as steps."""

    def __init__(self, width: int, *, length: int, causal: bool) -> None:
        super().__init__(width, length=length, causal=causal)
        self.places = nn.Parameter(torch.zeros(length, width))


def test_weights_that_do_not_fit_a_longer_model_have_no_score(tmp_path: Path, plant: Callable[..., None]) -> None:
    plant(Table)
    setting = cell(tmp_path, "copy_memory", core={})
    trained(tmp_path, setting)
    assert [one.score for one in reached(tmp_path, setting).extrapolations] == [None, None]


def test_runs_that_failed_are_left_out(tmp_path: Path) -> None:
    setting = cell(tmp_path, "adding")
    results = trained(tmp_path, setting)
    path = tmp_path / "runs" / "adding-21" / "rnn" / "results.json"
    assert {reach.seed for reach in reached(tmp_path, setting, seeds=(1, 7)).reaches} == {1}
    for failed, left in ((results[:1], {2}), (results, set())):
        broken = [r.model_copy(update={"status": "diverged"}) if r in failed else r for r in results]
        Runs(task="adding-21", arch="rnn", results=tuple(broken)).write(path)
        found = reached(tmp_path, setting)
        assert {reach.seed for reach in found.reaches} == {one.seed for one in found.extrapolations} == left
        assert set(map(int, found.keys)) == left
    assert (found.skipped, found.state_bytes) == ("no run finished", 0)


def test_runs_of_other_settings_are_refused(tmp_path: Path) -> None:
    setting = cell(tmp_path, "adding")
    trained(tmp_path, setting)
    other = setting.model_copy(update={"parameters": 2001})
    with pytest.raises(DataError, match="seed 1 had other settings, data or code"):
        reached(tmp_path, other)
    (path, _) = sorted(tmp_path.glob("runs/*/*/seed-*/*/model.safetensors"))
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="sha256"):
        reached(tmp_path, setting)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ({"inputs": "tokens", "outputs": "sequence", "embedding": 2, "target_length": 3}, "written sequence"),
        ({"inputs": "values", "outputs": "ctc", "frontend": "spectrogram"}, "written sequence"),
        ({"inputs": "values", "outputs": "classes", "frontend": "frames"}, "frontend 'frames'"),
    ],
)
def test_what_has_no_lags_is_skipped_in_words(kind: dict[str, Any], word: str) -> None:
    made = Spec(**kind, input_size=7, output_size=7, length=9, metric="accuracy", direction="max")
    data = types.SimpleNamespace(spec=made, manifest=types.SimpleNamespace(sizes={"valid": 9}))
    assert word in horizon._skipped(data, [1])  # type: ignore[arg-type, list-item]


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize(
    ("task", "settings", "labels", "held"),
    [
        ("copy_memory", {"delay": 9}, 10, 30.0),
        ("selective_copy", {"symbols": 4, "classes": 8}, 4, 12.0),
        ("recall", {"pairs": 2, "vocabulary": 9}, 2, math.log2(5 * 4)),
        ("parity", {"modulus": 4}, 1, 2.0),
    ],
)
def test_bits_of_a_perfect_a_middling_and_a_chance_model(
    task: str, settings: dict[str, Any], labels: int, held: float
) -> None:
    setting = Setting.model_construct(task=task, task_settings=settings)
    losses = {1: 0.0, 2: 0.25 * math.log(2), 3: math.log(40)}
    results = [Result.model_construct(seed=s, valid={"cross_entropy": loss}) for s, loss in losses.items()]
    found = longer.bits(setting, results)
    assert found == {"1": pytest.approx(held), "2": pytest.approx(held - labels / 4), "3": 0.0}


def test_sums_recall_no_bits_and_labels_are_as_many_as_asked(tmp_path: Path) -> None:
    assert longer.bits(Setting.model_construct(task="adding", task_settings={}), []) == {}
    for task in ("copy_memory", "selective_copy", "recall"):
        labels = small.small(task).arrays({})[0]["valid.y"]
        asked = small.small(task).asked()
        assert asked is not None
        assert set((labels != UNSCORED).sum(axis=1)) == {asked[0]}


@pytest.mark.parametrize("task", ["adding", "copy_memory", "parity", "recall", "selective_copy"])
def test_longer_settings_make_longer_sequences_of_the_same_kind(task: str) -> None:
    made = small.small(task)
    settings, changed = made.settings.plain(), made.longer(3)
    assert changed is not None
    (before, after) = (tasks.build(task, of).arrays({})[0] for of in (settings, changed))
    shift = {"copy_memory": 20, "selective_copy": 3}.get(task, 0)  # steps in which the answer is said
    assert after["test.x"].shape[1] - shift == 3 * (before["train.x"].shape[1] - shift)
    assert after["test.y"].shape[2:] == before["test.y"].shape[2:]
    assert len(settings.items() - changed.items()) == 1
    assert (small.small("smnist").longer(2), small.small("smnist").asked()) == (None, None)
