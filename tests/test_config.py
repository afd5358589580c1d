from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqbench import config
from seqbench.errors import InputError, MachineError, SeqbenchError

QUICK = {"preset": "quick", "device": "cpu"}


def plan(**changes: Any) -> config.Plan:
    return config.load(config.merge(QUICK, changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"presett": "quick"}, ["unknown key 'presett'", "did you mean 'preset'"]),
        ({"preset": "quik"}, ["unknown preset 'quik'", "did you mean 'quick'"]),
        ({"tasks": ["addin"]}, ["unknown task 'addin'", "did you mean 'adding'"]),
        ({"tasks": []}, ["no task"]),
        ({"tasks": ["adding", "adding"]}, ["stands twice"]),
        ({"architectures": ["lstn"]}, ["unknown architecture 'lstn'", "did you mean 'lstm'"]),
        ({"overrides": {"train": {"stepz": 5}}}, ["unknown key 'stepz'", "train.stepz", "did you mean 'steps'"]),
        ({"overrides": {"train": {"steps": "many"}}}, ["train.steps = 'many'"]),
        ({"overrides": {"train": {"steps": 0}}}, ["greater than or equal to 1", "train.steps = 0"]),
        ({"overrides": {"train": {"steps": True}}}, ["train.steps = True"]),
        ({"overrides": {"train": {"clip": float("nan")}}}, ["clip"]),
        ({"overrides": {"tasks": {"addding": {}}}}, ["unknown name 'addding'", "did you mean 'adding'"]),
        ({"overrides": {"tasks": {"adding": {"data": {"lenght": 5}}}}}, ["lenght", "did you mean 'length'"]),
        ({"overrides": {"tasks": {"adding": {"train": {"step": 5}}}}}, ["unknown key 'step'", "'steps'"]),
        ({"overrides": {"core": {"layrs": 2}}}, ["unknown key 'layrs'", "did you mean 'layers'"]),
        ({"overrides": {"core": {"layers": "two"}}}, ["wrong type: 'two'", "core.layers"]),
        ({"overrides": {"core": {"dropout": 1.5}}}, ["out of range: 1.5", "core.dropout"]),
        ({"overrides": {"architectures": {"lstm": {"heads": 2}}}}, ["unknown key 'heads'", "architectures.lstm"]),
        ({"seeds": [1001]}, ["tuning seed", "1001"]),
        ({"seeds": [1, 1]}, ["stands twice"]),
        ({"seeds": [-1]}, ["seeds"]),
    ],
)
def test_bad_input_is_three_lines_naming_key_and_nearest(changes: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        plan(**changes)
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    for word in says:
        assert word in text
    assert caught.value.exit_code == 2


def test_a_missing_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "cuda_devices", lambda: 0)
    with pytest.raises(MachineError, match="none is visible") as caught:
        plan(device="cuda")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(("found", "preset", "device"), [(0, "quick", "cpu"), (2, "full", "cuda")])
def test_auto_follows_the_device_and_says_why(
    monkeypatch: pytest.MonkeyPatch, found: int, preset: str, device: str
) -> None:
    monkeypatch.setattr(config, "cuda_devices", lambda: found)
    chosen = config.load({"preset": "auto", "device": "auto"})
    assert (chosen.preset, chosen.device) == (preset, device)
    assert "CUDA" in chosen.preset_reason
    assert config.load({"preset": "quick", "device": "auto"}).preset_reason.startswith("pinned")


def test_broken_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for content in (b"a: [", b"- 1", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"params\.yaml"):
            config.read(path)
    with pytest.raises(InputError, match="missing"):
        config.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_every_preset_resolves_for_every_task(preset: str) -> None:
    found = config.load({"preset": preset, "device": "cpu"})
    assert list(found.architectures) == config.read()["architectures"]
    assert len(found.cells) == len(found.task_ids) * len(found.architectures)


def test_a_knob_makes_one_task_id_per_value() -> None:
    overrides = {"tasks": {"adding": {"data": {"length": [10, 30]}}}}
    found = plan(tasks=["adding"], architectures=["lstm"], overrides=overrides)
    assert found.task_ids == ["adding-10", "adding-30"]
    assert found.expand("adding") == found.task_ids
    assert found.expand("adding-30") == ["adding-30"]
    assert found.cell("adding-30", "lstm").task_settings["length"] == 30


def test_training_is_the_same_for_every_architecture() -> None:
    found = plan()
    for task_id in found.task_ids:
        settings = {found.cell(task_id, arch).train for arch in found.architectures}
        tuning = {found.cell(task_id, arch).tune for arch in found.architectures}
        assert len(settings) == len(tuning) == 1


def test_yaml_numbers_like_1e_3_are_numbers() -> None:
    overrides = {"tune": {"learning_rates": ["1e-3"]}}
    assert plan(overrides=overrides).cells[0].tune.learning_rates == (0.001,)


def test_the_reproducing_command_gives_the_same_cell() -> None:
    """Whatever params.yaml and --config said, the command shown beside a number resolves to its setting."""
    from seqbench import cli

    overrides = {
        "tasks": {"adding": {"data": {"length": [7], "train": 99}, "train": {"steps": 5}, "core": {"layers": 2}}},
        "architectures": {"lstm": {"forget_bias": 0.5}},
        "tune": {"steps": 3},
    }
    found = plan(tasks=["adding"], overrides=overrides)
    for arch in found.architectures:
        import shlex

        command = shlex.split(config.reproduce(found, "adding-7", arch, 3))
        assert command[0] == "seqbench"
        args = cli.parser().parse_args(command[1:])
        assert args.seed == [3]
        assert cli._settings(args) == [found.cell("adding-7", arch)]


def test_the_default_command_is_short() -> None:
    found = plan()
    task_id = found.task_ids[0]
    assert config.reproduce(found, task_id, "gru", 1) == f"seqbench train {task_id} gru --seed 1 --preset quick"


def test_errors_carry_all_three_lines_through_a_copy() -> None:
    import copy

    error = copy.copy(SeqbenchError("a", "b", "c"))
    assert str(error) == "error: a\nwhere: b\nfix:   c"


def test_numbers_in_lists_of_the_command_line_are_numbers() -> None:
    """Snakemake's --config gives them as text."""
    given = {"seeds": ["1", "2"], "overrides": {"train": {"clip": "1e0", "steps": "5"}}, "mirror": "null"}
    found = plan(**config.scalars(given), tasks=["adding"])
    assert found.seeds == (1, 2) and found.mirror is None
    assert found.cells[0].train.steps == 5
    assert config.scalars({"a": ["lstm", "1e-3 s", "true"]}) == {"a": ["lstm", "1e-3 s", True]}
