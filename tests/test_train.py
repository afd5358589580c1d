"""The loop: deterministic, resumable, honest about failures, blind to the test split until the end."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import ARCHS, OWN, add_own, install
from synthetic import cell as made_cell

from seqbench import batches, checkpoint, config, evaluate, model, prepare, schedule, train, tune
from seqbench.prepared import Prepared
from seqbench.records import Point, Result, Setting, TrainSettings, Tuned

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
OVERRIDES: dict[str, Any] = {
    "parameters": 4000,
    "train": {"steps": 30, "eval_every": 10, "batch": 16},
    "tune": {"learning_rates": [0.001, 0.01], "seeds": [1001], "steps": 10},
    "core": {"layers": 2, "dropout": 0.2},
    "tasks": {"adding": {"data": {"length": [8], "train": 120, "valid": 40, "test": 50}}},
}


def quiet(_: str) -> None:
    pass


def cell(root: Path, arch: str = "lstm", **train_settings: Any) -> Setting:
    """A tiny cell, its data prepared under `root`."""
    overrides = config.merge(OVERRIDES, {"train": train_settings})
    plan = config.load({"preset": "quick", "device": "cpu", "tasks": ["adding"], "overrides": overrides})
    setting = plan.cell("adding-8", arch)
    prepare.prepare("adding", setting.task_settings, root)
    return setting


def run(root: Path, setting: Setting, seed: int = 1, rate: float = 0.003, say: train.Say = quiet) -> Result:
    splits = batches.Splits(Prepared(root / "prepared" / "adding-8"), CPU)
    return train.train(setting, splits, rate, seed, root, say)


def result_bytes(root: Path) -> dict[str, bytes]:
    """Name -> bytes of everything that must be equal between two ways to the same runs."""
    paths = [*root.glob("runs/**/result.json"), *root.glob("runs/**/*.safetensors"), *root.glob("runs/**/results.json")]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("arch", ["rnn", "lstm", "gru", "transformer"])
def test_a_seed_alone_equals_the_seed_among_others(tmp_path: Path, arch: str) -> None:
    together, alone = tmp_path / "a", tmp_path / "b"
    setting = cell(together, arch)
    cell(alone, arch)
    train.train_cell(setting, 0.003, (1, 2, 3), together, CPU, quiet)
    train.train_cell(setting, 0.003, (2,), alone, CPU, quiet)
    mine, all_of_them = result_bytes(alone), result_bytes(together)
    shared = [name for name in mine if "seed-2" in name]
    assert len(shared) == 2
    for name in shared:
        assert mine[name] == all_of_them[name]


def test_seeds_differ(tmp_path: Path) -> None:
    setting = cell(tmp_path)
    one, two = run(tmp_path, setting, 1), run(tmp_path, setting, 2)
    assert one.weights_sha256 != two.weights_sha256
    assert one.test != two.test


def test_a_finished_run_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path)
    first = run(tmp_path, setting)
    monkeypatch.setattr(train, "fit", lambda *_: pytest.fail("trained again"))
    assert run(tmp_path, setting) == first


@pytest.mark.parametrize("damage", ["result", "weights", "metric"])
def test_a_damaged_or_tampered_run_is_trained_again(tmp_path: Path, damage: str) -> None:
    setting = cell(tmp_path)
    first = run(tmp_path, setting)
    folder = train.run_folder(tmp_path, "adding-8", "lstm", 1, first.key)
    if damage == "result":
        (folder / "result.json").write_text("{")
    elif damage == "weights":
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    else:
        data = json.loads((folder / "result.json").read_text())
        data["learning_rate"] = 0.5
        (folder / "result.json").write_text(json.dumps(data))
    assert run(tmp_path, setting) == first
    assert Result.read(folder / "result.json", "") == first


class Killed(BaseException):
    """Stands for kill -9: nothing in the code may catch it."""


@contextlib.contextmanager
def dying_at(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    """Training ends in step `at`; a resume state is kept at each look at the validation split."""
    steps = 0
    loss = model.loss

    def dying(*args: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == at:
            raise Killed
        return loss(*args)

    with monkeypatch.context() as patch:
        patch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(model, "loss", dying)
        yield


@pytest.mark.parametrize("arch", ["rnn", "lstm", "gru", "transformer"])
@pytest.mark.parametrize("at", [11, 25])
def test_a_resumed_run_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, at: int
) -> None:
    whole, broken = tmp_path / "a", tmp_path / "b"
    setting = cell(whole, arch, schedule="plateau", plateau_patience=0)
    cell(broken, arch)
    run(whole, setting)
    with pytest.raises(Killed), dying_at(monkeypatch, at):
        run(broken, setting)
    said: list[str] = []
    run(broken, setting, say=said.append)
    assert f"resumed at step {at // 10 * 10}" in said
    assert result_bytes(whole) == result_bytes(broken)
    assert not list(broken.glob("**/checkpoint-*"))


# ---------------------------------------------------------------- streams and sequences

every_kind = pytest.mark.parametrize("name", ["made_stream", "made_sequence", "made_alignment", "made_film"])


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny tasks of a stream and of sequences, and an architecture without carried state or memory."""
    install(monkeypatch)
    (tmp_path / "archs").mkdir()
    add_own(tmp_path / "archs", monkeypatch)


def made_run(root: Path, setting: Setting, seed: int = 1, say: train.Say = quiet) -> Result:
    splits = batches.Splits(Prepared(root / "prepared" / setting.task), CPU)
    return train.train(setting, splits, 0.01, seed, root, say)


def made_job(root: Path, setting: Setting) -> train.Job:
    splits = batches.Splits(Prepared(root / "prepared" / setting.task), CPU)
    return train.Job(setting, splits, 0.01, 1, root / "job", quiet)


@pytest.mark.usefixtures("made")
@every_kind
@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("at", [11, 25])
def test_a_resumed_run_of_windows_or_sentences_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arch: str, at: int
) -> None:
    whole, broken = tmp_path / "a", tmp_path / "b"
    setting = made_cell(whole, name, arch)
    made_cell(broken, name, arch)
    result = made_run(whole, setting)
    assert result.status == "ok" and bool(result.samples) == (name != "made_film")
    with pytest.raises(Killed), dying_at(monkeypatch, at):
        made_run(broken, setting)
    job = made_job(broken, setting)
    job.folder = next(broken.glob("runs/**/checkpoint-*")).parent
    assert job.resume().steps == at // 10 * 10
    if name == "made_stream":
        assert not job.batch(at // 10 * 10).fresh  # within an epoch
        assert (job.carried is None) == (not hasattr(job.model.core, "carry"))
    said: list[str] = []
    made_run(broken, setting, say=said.append)
    assert f"resumed at step {at // 10 * 10}" in said
    assert result_bytes(whole) == result_bytes(broken)


@pytest.mark.usefixtures("made")
@every_kind
@pytest.mark.parametrize("arch", ARCHS)
def test_seeds_together_equal_the_seed_alone(tmp_path: Path, name: str, arch: str) -> None:
    together, alone = tmp_path / "a", tmp_path / "b"
    setting = made_cell(together, name, arch, steps=14)
    made_cell(alone, name, arch)
    train.train_cell(setting, 0.01, (1, 2), together, CPU, quiet)
    train.train_cell(setting, 0.01, (2,), alone, CPU, quiet)
    mine, all_of_them = result_bytes(alone), result_bytes(together)
    shared = [path for path in mine if "seed-2" in path]
    assert len(shared) == 2
    assert all(mine[path] == all_of_them[path] for path in shared)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("made_stream", {}),
        ("made_stream", {"tied": True}),
        ("made_every", {"causal": False}),
        ("made_every", {"outputs": "classes"}),
        ("made_sequence", {"connection": "none"}),
        ("made_sequence", {"connection": "additive", "tied": False}),
        ("made_sequence", {"connection": "attention"}),
        ("made_alignment", {}),
        ("made_many", {}),
        ("made_film", {}),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_every_kind_of_output_is_learned(tmp_path: Path, name: str, settings: dict[str, Any], arch: str) -> None:
    setting = made_cell(tmp_path, name, arch, settings, steps=60, eval_every=20)
    result = made_run(tmp_path, setting)
    assert result.status == "ok"
    losses = [point.loss for point in result.curve]
    assert losses[-1] is not None and losses[0] is not None and losses[-1] < 0.97 * losses[0]
    assert abs(result.parameters.matched - setting.parameters) <= 0.05 * setting.parameters
    assert set(result.test) >= {result.metric, *(["cross_entropy"] if name != "made_many" else [])}
    job = made_job(tmp_path, setting)
    assert result.examples == sum(
        batch.x.numel() if name == "made_stream" else len(batch.x) for batch in map(job.batch, range(60))
    )


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("arch", ARCHS)
def test_a_window_goes_on_from_the_one_before(tmp_path: Path, arch: str) -> None:
    job = made_job(tmp_path, made_cell(tmp_path, "made_stream", arch, batch=4))
    net = job.model.eval()
    assert isinstance(net, model.Model)
    first, second = job.batch(0), job.batch(1)
    with torch.no_grad():
        both = net(torch.cat((first.x, second.x), dim=1))
        alone = model.loss(net(second.x), second.y, job.spec)
    expected = model.loss(both[:, 6:], second.y, job.spec) if hasattr(net.core, "carry") else alone
    for _ in range(2):  # the first window of an epoch begins anew, whatever was carried
        torch.testing.assert_close(job.loss(first), model.loss(both[:, :6], first.y, job.spec))
        found = job.loss(second)
        torch.testing.assert_close(found, expected)
        found.backward()  # type: ignore[no-untyped-call]
    if hasattr(net.core, "carry"):
        assert not torch.allclose(expected, alone)
        assert all(not part.requires_grad for layer in job.carried for part in layer)
    else:
        assert job.carried is None


def test_the_tiny_tasks_leave_no_architecture_out() -> None:
    assert {"rnn", "lstm", "gru", "transformer", OWN} <= set(ARCHS)


@pytest.mark.slow
def test_kill_9_and_the_same_command_again(tmp_path: Path) -> None:
    """Processes, signals, files: the whole command, killed at several moments, ends with the undisturbed bytes."""
    whole, broken = tmp_path / "a", tmp_path / "b"
    options = ["--set", "train={steps: 400, eval_every: 20}", "--set", "tune={steps: 40, learning_rates: [0.003]}"]
    options += ["--set", "tasks.adding={data: {length: 20, train: 500, valid: 50, test: 60}}", "--preset", "quick"]
    command = [sys.executable, "-m", "seqbench", "train", "adding", "lstm", "--seed", "1", "--seed", "2", *options]
    subprocess.run([*command, "--root", str(whole)], check=True, capture_output=True)
    environment_killed = 0
    for moment in (1.5, 2.5, 3.0):
        with subprocess.Popen([*command, "--root", str(broken)], stderr=subprocess.DEVNULL) as job:
            time.sleep(moment)
            environment_killed += job.poll() is None
            job.send_signal(signal.SIGKILL)
    assert environment_killed
    subprocess.run([*command, "--root", str(broken)], check=True, capture_output=True)
    assert result_bytes(whole) == result_bytes(broken)


def test_divergence_is_a_result(tmp_path: Path) -> None:
    setting = cell(tmp_path, "rnn", clip=0.0)
    result = run(tmp_path, setting, rate=1e20)
    assert result.status == "diverged"
    assert "step 10" in result.reason
    assert result.test == {} and result.test_reads == 0 and result.score is None


def test_a_final_score_beyond_a_float_is_a_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = evaluate.evaluate

    def huge(*args: Any) -> dict[str, float]:
        found = scores(*args)
        return found | {"mae": float("inf")} if args[4] else found  # only in the final evaluation

    monkeypatch.setattr(evaluate, "evaluate", huge)
    result = run(tmp_path, cell(tmp_path))
    assert (result.status, result.test, result.valid, result.score) == ("diverged", {}, {}, None)
    assert "not finite" in result.reason and result.test_reads == 1


def test_out_of_memory_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path)

    def greedy(*_: Any) -> torch.Tensor:
        return torch.empty(1 << 60)  # really asks the allocator

    monkeypatch.setattr(model, "loss", greedy)
    result = run(tmp_path, setting)
    assert result.status == "out_of_memory"
    assert result.test_reads == 0


def test_other_runtime_errors_are_not_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(model, "loss", broken)
    with pytest.raises(RuntimeError, match="shape"):
        run(tmp_path, cell(tmp_path))


def test_the_time_limit_is_a_result(tmp_path: Path) -> None:
    result = run(tmp_path, cell(tmp_path, time_limit=1e-6))
    assert (result.status, result.steps) == ("time_limit", 10)


def test_the_test_split_is_read_once_after_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[str, int]] = []
    split = Prepared.split
    steps = 0

    def watched(self: Prepared, name: str) -> Any:
        reads.append((name, steps))
        return split(self, name)

    loss = model.loss

    def counted(*args: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return loss(*args)

    monkeypatch.setattr(Prepared, "split", watched)
    monkeypatch.setattr(model, "loss", counted)
    result = run(tmp_path, cell(tmp_path))
    assert result.test_reads == 1
    assert [entry for entry in reads if entry[0] == "test"] == [("test", 30)]


def test_tuning_never_reads_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path)
    cell(tmp_path / "b")
    names: list[str] = []
    split = Prepared.split

    def watched(self: Prepared, name: str) -> Any:
        names.append(name)
        return split(self, name)

    monkeypatch.setattr(Prepared, "split", watched)
    tuned = tune.tune(setting, tmp_path, CPU, quiet)
    assert set(names) == {"train", "valid"}
    assert [t.learning_rate for t in tuned.trials] == [0.001, 0.01]
    assert tuned.border  # two rates: each is an edge
    three = setting.tune.model_copy(update={"learning_rates": (1e-7, 0.003, 1e6)})
    assert not tune.tune(setting.model_copy(update={"tune": three}), tmp_path / "b", CPU, quiet).border
    assert Tuned.read(tmp_path / "tuned/adding-8/lstm.json", "") == tuned
    assert set(names) == {"train", "valid"}


def trials(*scores: tuple[float, float | None]) -> tuple[Any, ...]:
    from seqbench.records import Trial

    return tuple(
        Trial(learning_rate=rate, seed=i, status="ok" if score is not None else "diverged", valid=score)
        for i, (rate, score) in enumerate(scores)
    )


@pytest.mark.parametrize(
    ("scores", "direction", "rate"),
    [
        (((0.1, 3.0), (0.2, 1.0), (0.3, 2.0)), "min", 0.2),
        (((0.1, 3.0), (0.2, 1.0), (0.3, 2.0)), "max", 0.1),
        (((0.1, 1.0), (0.1, 5.0), (0.2, 2.0), (0.2, 2.0)), "min", 0.2),
        (((0.1, 0.0), (0.1, None), (0.2, 9.0), (0.2, 9.0)), "min", 0.2),
        (((0.1, None), (0.2, None)), "min", 0.1),
        (((0.2, 1.0), (0.1, 1.0)), "min", 0.1),
    ],
)
def test_selection_takes_the_best_mean_and_failures_last(scores: Any, direction: str, rate: float) -> None:
    assert tune.select(trials(*scores), direction) == rate


def test_every_test_item_is_scored_and_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = cell(tmp_path)
    splits = batches.Splits(Prepared(tmp_path / "prepared" / "adding-8"), CPU)
    job = train.Job(setting, splits, 0.003, 1, tmp_path, quiet)
    sizes = []
    score = job.task.score

    def spy(outputs: Any, y: Any, spec: Any) -> dict[str, float]:
        sizes.append((len(outputs), len(y)))
        return score(outputs, y, spec)

    monkeypatch.setattr(job.task, "score", spy)
    found = []
    for batch in (256, 7, 1):
        monkeypatch.setattr(evaluate, "BATCH", batch)
        found.append(job.evaluate(splits.read_test())["mse"])
    assert sizes == [(50, 50)] * 3
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)


def test_clipping_acts_between_backward_and_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    run(tmp_path / "a", cell(tmp_path / "a", clip=0.01))
    assert max(norms) <= 0.0101
    norms.clear()
    run(tmp_path / "b", cell(tmp_path / "b", clip=0.0))
    assert max(norms) > 0.0101


@pytest.mark.parametrize("direction", ["min", "max"])
def test_plateau_is_the_one_of_torch(direction: str) -> None:
    settings = TrainSettings(schedule="plateau", plateau_patience=2)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, direction, factor=0.5, patience=2, threshold=0.0)  # type: ignore[arg-type]
    values = [5.0, 4.0, 4.5, 4.4, 4.3, 4.2, 3.0, 3.1, 3.2, 3.3, 9.0, 9.1, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    curve: list[Point] = []
    for number, value in enumerate(values):
        curve.append(Point(step=number, loss=0.0, valid=value, learning_rate=1.0))
        theirs.step(value)
        assert schedule.learning_rate(1.0, number, curve, settings, direction) == optimizer.param_groups[0]["lr"]
    assert optimizer.param_groups[0]["lr"] < 0.5


def test_cosine_starts_at_the_rate_and_ends_at_nothing() -> None:
    settings = TrainSettings(schedule="cosine", steps=100)
    rates = [schedule.learning_rate(2.0, step, [], settings, "min") for step in (0, 50, 100)]
    assert rates == pytest.approx([2.0, 1.0, 0.0])


@pytest.mark.parametrize("kind", ["constant", "cosine", "plateau"])
def test_warming_up_is_a_line_to_the_rate_of_the_schedule(kind: str) -> None:
    plain = TrainSettings.from_data({"schedule": kind, "steps": 40})
    warm = plain.model_copy(update={"warmup": 4})
    rates = [[schedule.learning_rate(2.0, step, [], of, "min") for step in range(40)] for of in (plain, warm)]
    assert [b / a for a, b in zip(*rates, strict=True)] == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 37)


def test_early_stopping_counts_from_the_best() -> None:
    def curve(*values: float) -> list[Point]:
        return [Point(step=i, loss=0.0, valid=v, learning_rate=1.0) for i, v in enumerate(values)]

    assert not schedule.stops_early(curve(3, 2, 3), 2, "min")
    assert schedule.stops_early(curve(3, 2, 3, 3), 2, "min")
    assert not schedule.stops_early(curve(3, 2, 3, 1), 2, "min")
    assert not schedule.stops_early(curve(1, 2, 3, 4), 0, "min")


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    result = run(tmp_path, cell(tmp_path, steps=400, patience=2), rate=0.05)
    best = min(result.curve, key=lambda point: point.valid or 0.0)
    assert result.steps < 400
    assert result.best_step == best.step < result.steps
    assert result.valid["mse"] == pytest.approx(best.valid, rel=1e-6)
    folder = train.run_folder(tmp_path, "adding-8", "lstm", 1, result.key)
    assert checkpoint.read_weights(folder / "model.safetensors", result.weights_sha256, "")
