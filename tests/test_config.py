from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqbench import cli, config, files
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
        ({"overrides": {"tasks": {"adding": {"data": {"length": []}}}}}, ["no value of 'length'", "length = []"]),
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
    overrides = {
        "tasks": {"adding": {"data": {"length": [7], "train": 99}, "train": {"steps": 5}, "core": {"layers": 2}}},
        "architectures": {"lstm": {"forget_bias": 0.5}},
        "tune": {"steps": 3},
    }
    found = plan(tasks=["adding"], overrides=overrides)
    for arch in found.architectures:
        command = shlex.split(config.reproduce(found, "adding-7", arch, 3))
        assert command[0] == "seqbench"
        args = cli.parser().parse_args(command[1:])
        assert args.seed == [3]
        assert cli.plans.settings(args) == [found.cell("adding-7", arch)]


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


# ---------------------------------------------------------------- several mappings of data

SERIES = """
data:
  - {name: power, file: my/power.csv, time: date, target: [load], inputs: [load, temperature],
     look_back: 96, horizon: 24, valid_from: 2017-07-01, test_from: 2017-11-01 06:00:00}
  - {name: sales, file: sales.parquet, time: day, target: [sold], look_back: 8, gaps: split,
     valid_from: "2020-01-01", test_from: "2021-01-01"}
"""
ENTRIES: list[dict[str, Any]] = yaml.safe_load(SERIES)["data"]


def series(data: Any, **changes: Any) -> config.Plan:
    return plan(**{"tasks": ["series"], "overrides": {"tasks": {"series": {"data": data}}}} | changes)


def test_each_mapping_of_a_list_is_a_task_id() -> None:
    found = series(ENTRIES)
    assert found.task_ids == found.expand("series") == ["series-power", "series-sales"]
    power, sales = (found.cell(task_id, "gru").task_settings for task_id in found.task_ids)
    assert (power["file"], power["inputs"], power["horizon"]) == ("my/power.csv", ["load", "temperature"], 24)
    assert (sales["file"], sales["inputs"], sales["horizon"]) == ("sales.parquet", [], 1)
    assert series(ENTRIES[:1]).cells == series(ENTRIES[0]).cells  # one mapping, as ever


def test_a_knob_and_a_list_of_mappings_go_together() -> None:
    data = [{"length": [10, 30], "train": 100}, {"length": 20}]
    found = plan(tasks=["adding"], overrides={"tasks": {"adding": {"data": data}}})
    assert found.task_ids == ["adding-10", "adding-30", "adding-20"]
    assert [found.cell(task_id, "rnn").task_settings["train"] for task_id in found.task_ids] == [100, 100, 50_000]


def test_a_list_of_mappings_replaces_what_the_preset_says() -> None:
    """And a mapping goes over the preset's, key by key."""
    whole, part = (
        plan(tasks=["adding"], overrides={"tasks": {"adding": {"data": data}}}).cells[0].task_settings
        for data in ([{"length": 9}], {"length": 9})
    )
    preset = config.read(config.PRESETS / "quick.yaml")["tasks"]["adding"]["data"]
    assert whole["length"] == part["length"] == 9
    assert part["train"] == preset["train"] != whole["train"]


def test_days_are_taken_as_yaml_and_as_text() -> None:
    spelt = [dict(ENTRIES[0], valid_from="2017-07-01", test_from="2017-11-01 06:00"), ENTRIES[1]]
    assert type(ENTRIES[0]["valid_from"]) is not str
    found = series(ENTRIES)
    assert found.cells == series(spelt).cells
    settings = found.cell("series-power", "rnn").task_settings
    assert settings["valid_from"].startswith("2017-07-01") and "06:00" in settings["test_from"]


def test_the_plan_of_the_dag_is_that_of_a_command() -> None:
    """Snakemake hands its configuration on as one JSON text, in which days are texts."""
    given = {"tasks": ["series"], "overrides": {"tasks": {"series": {"data": ENTRIES}}}} | QUICK
    given |= {"architectures": ["gru"]}
    text = files.canonical(config.scalars(given))
    assert config.resolve(config.scalars(given)) == config.resolve(given) == config.resolve(json.loads(text))


@pytest.mark.parametrize("task_id", ["series-power", "series-sales"])
@pytest.mark.parametrize("said", ["nothing", "the same", "another"])
def test_the_reproducing_command_spells_a_series_out(
    task_id: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever params.yaml says of series."""
    overrides = {"nothing": {}, "the same": ENTRIES, "another": [dict(ENTRIES[1], name="own", stride=3)]}[said]
    found = series(ENTRIES)
    command = config.reproduce(found, task_id, "lstm", 2)
    params = config.read() | ({"overrides": {"tasks": {"series": {"data": overrides}}}} if overrides else {})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "workflow").symlink_to(config.PRESETS.parent.absolute())
    monkeypatch.chdir(tmp_path)
    args = cli.parser().parse_args(shlex.split(command)[1:])
    assert (args.task, args.arch, args.seed) == (task_id, "lstm", [2])
    assert cli.plans.settings(args) == [found.cell(task_id, "lstm")]


def test_names_that_are_numbers_are_names() -> None:
    """YAML and `scalars` make them numbers."""
    numbered = dict(ENTRIES[0], name="2017", target=["0"], inputs=["0", "1"])
    for data in ([numbered], config.scalars([numbered])):
        found = series(data)
        assert found.task_ids == ["series-2017"]
        assert found.cells[0].task_settings["inputs"] == ["0", "1"]


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ENTRIES[0].items() if name != key}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], ["tasks.series.data"]),
        (5, ["tasks.series.data = 5"]),
        ([ENTRIES[0], "sales"], ["tasks.series.data.1 = 'sales'"]),
        ([ENTRIES[0], ENTRIES[0]], ["'series-power' stands twice", "tasks.series.data"]),
        ([ENTRIES[0], dict(ENTRIES[1], look_bak=3)], ["unknown key 'look_bak'", "data.1", "did you mean 'look_back'"]),
        ({}, ["required", "tasks.series.data", "name"]),
        ([without("file")], ["required", "tasks.series.data", "file"]),
        ([ENTRIES[1], without("time")], ["required", "tasks.series.data.1", "time"]),
        (dict(ENTRIES[0], name="a-b"), ["tasks.series.data, name = 'a-b'"]),
        (dict(ENTRIES[0], name="../a"), ["tasks.series.data, name = '../a'"]),
        (dict(ENTRIES[0], file=""), ["tasks.series.data, file = ''"]),
        (dict(ENTRIES[0], target=[]), ["tasks.series.data, target = []"]),
        (dict(ENTRIES[0], target=["load", "load"]), ["'load' stands twice", "tasks.series.data, target"]),
        (dict(ENTRIES[0], look_back=0), ["tasks.series.data, look_back = 0"]),
        (dict(ENTRIES[0], gaps="fill"), ["tasks.series.data, gaps = 'fill'", "'split'"]),
        (dict(ENTRIES[0], valid_from="soon"), ["tasks.series.data, valid_from = 'soon'", "2017-07-01"]),
        (dict(ENTRIES[0], valid_from=20170701), ["tasks.series.data, valid_from = 20170701", "2017-07-01"]),
        (dict(ENTRIES[0], test_from="2017-07-01"), ["begin before validation", "test_from = '2017-07-01'"]),
    ],
)
def test_a_bad_entry_of_data_is_named(data: Any, says: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        series(data)
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    for word in says:
        assert word in text
