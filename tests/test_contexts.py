"""Scores with only the last steps before the answer: models whose need of range is known, and items made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from torch import Tensor, nn

from seqbench import apply, archs, evaluate, horizon, tasks, train
from seqbench.batches import OnDevice
from seqbench.config import MeasureSettings
from seqbench.horizon import effects
from seqbench.horizon.contexts import allowed, metric_of, only, others, sizes
from seqbench.horizon.effects import Items
from seqbench.measurements import Reaches
from seqbench.prepare import prepare
from seqbench.prepared import Prepared
from seqbench.records import Runs, Setting, Spec, TrainSettings, TuneSettings

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
FEW = MeasureSettings(reach_items=32, reach_lags=4, stretch=())
WINDOW = 4


class Window(nn.Module):
    """Planted: the sum of the last `WINDOW` inputs."""

    def __init__(self, width: int, *, length: int, causal: bool) -> None:
        super().__init__()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return nn.functional.pad(x, (0, 0, WINDOW - 1, 0)).unfold(1, WINDOW, 1).sum(dim=3)

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        before = torch.zeros(len(x_t), WINDOW - 1, x_t.shape[1]) if state is None else state
        seen = torch.cat((before, x_t[:, None]), dim=1)
        return seen.sum(dim=1), seen[:, 1:]


def cell(root: Path, task: str, arch: str, steps: int, core: dict[str, Any] | None = None, **of: Any) -> Setting:
    """Prepared data and the setting of a small cell."""
    manifest = prepare(task, tasks.find(task).Settings(**{"train": 600, "valid": 100, "test": 100} | of).plain(), root)
    return Setting(
        task=task,
        task_settings=manifest.settings,
        arch=arch,
        core=archs.defaults(arch) | {"layers": 1, "dropout": 0.0} if core is None else core,
        parameters=6000,
        train=TrainSettings(batch=32, steps=steps, eval_every=steps, patience=0, schedule="cosine"),
        tune=TuneSettings(),
    )


def reached(root: Path, setting: Setting, seeds: tuple[int, ...] = (1,), **changes: Any) -> Reaches:
    train.train_cell(setting, 0.02, seeds, root, CPU, lambda _: None)
    return horizon.reaches(setting, seeds, root, FEW.model_copy(update=changes), CPU, lambda _: None)


def curve(found: Reaches, seed: int = 1) -> dict[int, float | None]:
    return {one.steps: one.score for one in found.contexts if one.seed == seed}


# ---------------------------------------------------------------- whole cells


def test_a_task_of_range_is_lost_without_its_first_steps(tmp_path: Path) -> None:
    """The transformer solves copy-memory, whose last symbol was said 14 steps before it is asked for."""
    found = reached(tmp_path, cell(tmp_path, "copy_memory", "transformer", 150, delay=4, train=2000))
    scores = curve(found)
    assert list(scores) == [1, 2, 4, 8, 16, 24]
    assert {one.metric for one in found.contexts} == {"accuracy"}
    assert max(scores[k] or 0.0 for k in (1, 2, 4, 8)) < 0.3  # a guess among eight symbols
    assert scores[16] == scores[24] == 1.0
    assert Reaches.from_data(found.plain()) == found


def test_a_model_with_a_window_loses_nothing_beyond_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archs, "find", lambda name: Window)
    scores = curve(reached(tmp_path, cell(tmp_path, "adding", "rnn", 20, core={}, length=21)))
    assert list(scores) == [1, 2, 4, 8, 16, 21]
    assert scores[4] == scores[8] == scores[16] == scores[21]
    assert scores[1] != scores[2] != scores[4]


def test_with_all_steps_it_is_the_score_on_validation(tmp_path: Path) -> None:
    setting = cell(tmp_path, "adding", "gru", 40, length=12)
    found = reached(tmp_path, setting, (1, 2), reach_items=100)
    results = Runs.read(tmp_path / "runs" / "adding-12" / "gru" / "results.json", "").results
    for result in results:
        assert curve(found, result.seed)[12] == pytest.approx(result.valid["mse"], rel=1e-5)
    assert [(one.seed, one.steps) for one in found.contexts] == [(s, k) for s in (1, 2) for k in (1, 2, 4, 8, 12)]


@pytest.mark.parametrize(
    ("name", "settings", "metric", "length"),
    [
        ("made_stream", {}, "cross_entropy", 6),
        ("made_every", {"outputs": "every"}, "accuracy", 9),
        ("made_every", {"outputs": "classes", "causal": False}, "accuracy", 9),
        ("made_many", {}, "nll", 9),
    ],
)
def test_every_kind_of_outputs_is_scored(
    name: str, settings: dict[str, Any], metric: str, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic.install(monkeypatch)
    setting = synthetic.cell(tmp_path, name, "gru", settings, steps=20, eval_every=20)
    found = reached(tmp_path, setting)
    assert [one.steps for one in found.contexts] == sizes(length)
    assert {one.metric for one in found.contexts} == {metric}
    assert all(one.score is not None for one in found.contexts)
    if settings.get("outputs") == "classes":  # one answer per item, all 40 of them: as in evaluation
        data = Prepared(tmp_path / "prepared" / name)
        run = horizon._runs(setting, (1,), tmp_path, data)[0]
        valid = OnDevice(data.split("valid"), CPU, data.spec)
        task = tasks.build(setting.task, setting.task_settings)
        whole = evaluate.evaluate(apply.load(run, CPU).net, task, valid, data)
        assert curve(found)[length] == pytest.approx(whole["accuracy"])


def test_no_test_split_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path, "copy_memory", "rnn", 2, delay=3)
    train.train_cell(setting, 0.01, (1,), tmp_path, CPU, lambda _: None)
    opened: list[str] = []
    split = Prepared.split
    monkeypatch.setattr(Prepared, "split", lambda data, name: opened.append(name) or split(data, name))
    found = horizon.reaches(setting, (1,), tmp_path, FEW, CPU, lambda _: None)
    assert found.contexts and set(opened) == {"valid"}


def test_what_is_skipped_has_no_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.install(monkeypatch)
    found = reached(tmp_path, synthetic.cell(tmp_path, "made_film", "rnn", steps=1, eval_every=1))
    assert found.skipped and found.contexts == ()


def test_a_score_that_is_not_finite_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path, "adding", "rnn", 2, length=8)
    train.train_cell(setting, 0.01, (1,), tmp_path, CPU, lambda _: None)
    data = Prepared(tmp_path / "prepared" / "adding-8")
    runs = horizon._runs(setting, (1,), tmp_path, data)
    monkeypatch.setattr(effects.parts, "read", lambda core, arch, h, *args: torch.full_like(h, torch.nan))
    found = allowed(runs, data, FEW, CPU, lambda _: None)
    assert [(one.steps, one.score) for one in found] == [(1, None), (2, None), (4, None), (8, None)]


def test_a_single_item_has_no_other_to_take_inputs_from(tmp_path: Path) -> None:
    setting = cell(tmp_path, "copy_memory", "rnn", 2, delay=3, valid=1)
    found = reached(tmp_path, setting)
    assert found.reaches and found.contexts == ()


# ---------------------------------------------------------------- items


def looked_at(last: list[int], steps: int = 6, features: int = 0) -> Items:
    """Item i has the input 10 i + t at step t."""
    x = 10.0 * torch.arange(len(last))[:, None] + torch.arange(steps)
    x = x[..., None].expand(-1, -1, features) if features else x
    return Items(x, torch.zeros(len(last)), torch.tensor(last), None)


def test_all_but_the_last_steps_are_those_of_another_item() -> None:
    seen = looked_at([5, 5, 5, 5])
    found = only(seen, others(seen), 2)
    assert found.x[0].tolist() == [20, 21, 22, 23, 4, 5]
    assert found.x[3].tolist() == [10, 11, 12, 13, 34, 35]
    assert torch.equal(only(seen, others(seen), 6).x, seen.x)
    assert only(seen, others(seen), 1).x[1].tolist() == [30, 31, 32, 33, 34, 15]


def test_features_of_a_step_go_together() -> None:
    seen = looked_at([5, 5], features=3)
    assert only(seen, others(seen), 4).x[0].T.tolist() == [[10, 11, 2, 3, 4, 5]] * 3


def test_what_comes_after_the_answer_stays_and_a_shorter_item_begins_again() -> None:
    seen = looked_at([4, 1])
    found = only(seen, others(seen), 1)
    assert found.x[0].tolist() == [10, 11, 10, 11, 4, 5]
    assert found.x[1].tolist() == [0, 11, 12, 13, 14, 15]


@pytest.mark.parametrize(
    ("length", "found"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_steps_double_up_to_the_length(length: int, found: list[int]) -> None:
    assert sizes(length) == found


@pytest.mark.parametrize(
    ("outputs", "metric", "found"),
    [
        ("classes", "accuracy", "accuracy"),
        ("steps", "accuracy", "accuracy"),
        ("stream", "perplexity", "cross_entropy"),
        ("values", "mse", "mse"),
        ("values", "mae", "mse"),
        ("multilabel", "accuracy", "nll"),
    ],
)
def test_the_metric_is_the_tasks_where_one_answer_has_it(outputs: Any, metric: str, found: str) -> None:
    spec = Spec(inputs="values", input_size=1, outputs=outputs, output_size=3, length=4, metric=metric, direction="max")
    assert metric_of(spec) == found
