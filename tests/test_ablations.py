"""Cells beside the grid: how ablations and published rows are resolved, named, keyed, trained and checked."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import planted
import pytest
import synthetic
import torch
import yaml

from seqbench import cli, config, files, records, status, train, variants
from seqbench.analyse import evidence
from seqbench.batches import Splits
from seqbench.errors import DataError, InputError
from seqbench.prepared import Prepared
from seqbench.records import Setting

QUICK: dict[str, Any] = {"preset": "quick", "device": "cpu", "tasks": ["adding"], "architectures": ["rnn", "lstm"]}
CLIPPING = {"tasks": ["adding-15"], "architectures": ["rnn", "lstm"], "train": {"clip": 0.0}}


def plan(defined: dict[str, Any] | None = None, /, **changes: Any) -> config.Plan:
    """The quick preset on `adding` with these ablations beside it, all of them run."""
    given = QUICK | {"ablations": list(defined or {}), "published": []} | changes
    given["overrides"] = config.merge({"ablations": defined or {}}, changes.get("overrides", {}))
    return config.resolve(given)


def names(found: config.Plan) -> list[str]:
    return [f"{config.identity(cell)} {cell.label}" for cell in found.variants]


def differing(one: Setting, other: Setting) -> set[str]:
    return {key for key in Setting.model_fields if getattr(one, key) != getattr(other, key)}


# ---------------------------------------------------------------- keys


def test_a_cell_of_the_grid_is_written_and_keyed_as_if_there_were_no_variants() -> None:
    cell, versions = plan().cells[0], records.Versions(task=1, core=1)
    fields = {"task", "task_settings", "arch", "core", "parameters", "train", "tune"}
    assert set(cell.plain()) == fields
    decides = {key: value for key, value in cell.plain().items() if key != "tune"}
    rest = {"learning_rate": 0.1, "seed": 3, "versions": versions.plain(), "data": "d"}
    assert records.run_key(cell, 0.1, 3, versions, "d") == files.digest({"setting": decides} | rest)
    assert Setting.from_data(cell.plain()) == cell


def test_a_name_changes_no_key_and_a_spec_does() -> None:
    cell, versions = plan().cells[0], records.Versions(task=1, core=1)
    named = cell.model_copy(update={"variant": "other"})
    read = named.model_copy(update={"spec": {"causal": False}})
    keys = [records.run_key(one, 0.1, 3, versions, "d") for one in (cell, named, read)]
    assert keys[0] == keys[1] != keys[2]
    assert Setting.from_data(read.plain()) == read
    assert (cell.label, read.label) == (cell.arch, f"{cell.arch}+other")


# ---------------------------------------------------------------- resolving


def test_the_base_of_an_ablation_is_the_cell_of_the_grid_and_only_the_change_differs() -> None:
    found = plan({"no_clipping": CLIPPING})
    assert names(found) == ["adding-15 rnn+no_clipping", "adding-15 lstm+no_clipping"]
    for cell in found.variants:
        base = found.cell("adding-15", cell.arch)
        assert base in found.cells and differing(base, cell) == {"train", "variant"}
        assert cell.train == base.train.model_copy(update={"clip": 0.0}) != base.train
        assert found.cell("adding-15", cell.label) == cell
    assert found.cells == plan().cells


def test_a_base_that_is_changed_is_a_cell_of_its_own() -> None:
    ablation = CLIPPING | {"architectures": ["lstm"], "of": {"core": {"layers": 2}, "parameters": 9000}}
    found = plan({"no_clipping": ablation})
    assert names(found) == ["adding-15 lstm+no_clipping_base", "adding-15 lstm+no_clipping"]
    base, cell = found.variants
    assert differing(found.cell("adding-15", "lstm"), base) == {"core", "parameters", "variant"}
    assert base.core["layers"] == cell.core["layers"] == 2
    assert differing(base, cell) == {"train", "variant"}


def test_a_task_outside_the_grid_has_its_base_beside_it_once() -> None:
    more = {"tasks": ["copy_memory-5"], "architectures": ["lstm"]}
    found = plan({"no_clipping": more | {"train": {"clip": 0.0}}, "plain": more | {"core": {"orthogonal": False}}})
    assert names(found) == [f"copy_memory-5 {label}" for label in ("lstm", "lstm+no_clipping", "lstm+plain")]
    alone = config.resolve(QUICK | {"tasks": ["copy_memory"]})
    assert found.variants[0] == alone.cell("copy_memory-5", "lstm")
    assert found.task_ids == ["adding-15", "adding-40"]
    assert list(found.data) == found.expand("adding") + found.expand("copy_memory", beside=True)
    with pytest.raises(InputError, match="unknown task"):
        found.expand("copy_memory")


def test_a_task_means_all_its_task_ids_and_a_task_id_need_not_be_the_presets() -> None:
    assert names(plan({"no_clipping": CLIPPING | {"tasks": ["adding"], "architectures": ["rnn"]}})) == [
        "adding-15 rnn+no_clipping",
        "adding-40 rnn+no_clipping",
    ]
    found = plan({"no_clipping": CLIPPING | {"tasks": ["adding-33"], "architectures": ["rnn"]}})
    assert names(found) == ["adding-33 rnn", "adding-33 rnn+no_clipping"]
    settings = found.variants[0].task_settings
    assert settings == found.cells[0].task_settings | {"length": 33}


def test_only_architectures_of_the_plan_are_run() -> None:
    found = plan({"no_clipping": CLIPPING | {"architectures": ["lstm", "gru"]}})
    assert names(found) == ["adding-15 lstm+no_clipping"]


def test_a_change_that_changes_nothing_leaves_no_cell() -> None:
    assert not plan({"no_clipping": CLIPPING}, overrides={"train": {"clip": 0.0}}).variants


def test_a_spec_is_changed_beside_the_tasks_own() -> None:
    found = plan({"forwards": {"tasks": ["adding-15"], "architectures": ["rnn"], "spec": {"causal": False}}})
    (cell,) = found.variants
    assert cell.spec == {"causal": False}
    assert cell.applied(variants.ANY) == variants.ANY.model_copy(update={"causal": False})
    assert found.cells[0].applied(variants.ANY) is variants.ANY


@pytest.mark.parametrize("preset", ["quick", "cpu", "full"])
def test_every_ablation_of_a_preset_leaves_cells_and_those_of_params_are_run(preset: str) -> None:
    known = config.read(config.PRESETS / f"{preset}.yaml")["ablations"]
    found = config.load({"preset": preset, "device": "cpu", "ablations": list(known)})
    assert {cell.variant for cell in found.variants} >= set(known)
    assert list(found.ablations) == list(known)
    usual = config.load({"preset": preset, "device": "cpu"})
    assert list(usual.ablations) == config.read()["ablations"][preset]
    assert config.load({"preset": preset, "device": "cpu", "ablations": []}).cells == usual.cells


@pytest.mark.parametrize(
    ("ablations", "changes", "says"),
    [
        ({}, {"ablations": ["no_cliping"]}, ["unknown name 'no_cliping'", "params.yaml, ablations", "'no_clipping'"]),
        ({}, {"ablations": ["no_clipping", "no_clipping"]}, ["stands twice", "ablations"]),
        ({"a": CLIPPING | {"tasks": ["addin"]}}, {}, ["unknown task 'addin'", "ablations.a.tasks", "'adding'"]),
        ({"a": CLIPPING | {"tasks": ["adding-x"]}}, {}, ["valid integer", "ablations.a.tasks", "length = 'x'"]),
        ({"a": CLIPPING | {"tasks": ["digits-3"]}}, {}, ["unknown task 'digits-3'", "did you mean 'digits'"]),
        ({"a": CLIPPING | {"tasks": []}}, {}, ["ablations.a.tasks"]),
        ({"a": CLIPPING | {"architectures": ["lstn"]}}, {}, ["'lstn'", "ablations.a.architectures", "'lstm'"]),
        ({"a": CLIPPING | {"train": {"clipp": 0}}}, {}, ["unknown key 'clipp'", "ablations.a.train", "'clip'"]),
        ({"a": CLIPPING | {"core": {"forget_bias": 0.0}}}, {}, ["unknown key 'forget_bias'", "ablations.a.core"]),
        ({"a": CLIPPING | {"core": {"dropout": 2.0}}}, {}, ["out of range: 2.0", "ablations.a.core.dropout"]),
        ({"a": CLIPPING | {"spec": {"casual": True}}}, {}, ["unknown key 'casual'", "ablations.a.spec", "'causal'"]),
        ({"a": CLIPPING | {"spec": {"outputs": "classes"}}}, {}, ["unknown key 'outputs'", "pooling"]),
        ({"a": CLIPPING | {"spec": {"pooling": "lst"}}}, {}, ["ablations.a.spec", "pooling = 'lst'"]),
        ({"a": CLIPPING | {"trian": {}}}, {}, ["unknown key 'trian'", "did you mean 'train'"]),
        ({"a": CLIPPING | {"of": {"tasks": []}}}, {}, ["unknown key 'tasks'", "ablations.a.of"]),
        ({"a_base": CLIPPING}, {}, ["not a name of an ablation: 'a_base'"]),
        ({"published_a": CLIPPING}, {}, ["not a name of an ablation: 'published_a'"]),
        ({"no+clip": CLIPPING}, {}, ["not a name of an ablation: 'no+clip'"]),
    ],
)
def test_bad_ablations_are_three_lines_naming_place_and_nearest(
    ablations: dict[str, Any], changes: dict[str, Any], says: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        plan(ablations, **changes)
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    for word in says:
        assert word in text


# ---------------------------------------------------------------- published rows

ROWS: dict[str, Any] = {
    "long": {
        "source": "Somebody 2018, table 1",
        "value": 0.5,
        "run": {
            **{"task": "adding", "data": {"length": 600}, "architecture": "lstm", "parameters": 70000},
            **{"core": {"layers": 2}, "train": {"steps": 7, "clip": 0.5}, "seeds": [11, 12]},
        },
    },
    "other": {"run": {"task": "adding", "data": {"length": 600}, "architecture": "lstm", "parameters": 50000}},
    "absent": {"run": {"task": "adding", "data": {"length": 600}, "architecture": "gru", "parameters": 50000}},
    "repeat": {"control": {"task": "parity", "data": {"modulus": 3}, "name": "uniform guess"}},
    "told": {"cost": "600 hours"},
}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(ROWS, sort_keys=False))
    monkeypatch.setattr(variants, "ROWS", path)
    monkeypatch.setattr(config, "ROWS", path)
    return path


def test_a_published_row_is_a_cell_that_no_preset_changes(published: Path) -> None:
    chosen = ["long", "other", "absent", "repeat"]
    found = plan(published=chosen, overrides={"train": {"batch": 3}, "core": {"layers": 5}, "parameters": 77})
    assert names(found) == ["adding-600 lstm+published", "adding-600 lstm+published_2"]
    first, second = found.variants
    assert (first.parameters, first.core["layers"], first.train) == (70000, 2, records.TrainSettings(steps=7, clip=0.5))
    assert (second.parameters, second.core["layers"], second.tune) == (50000, 1, records.TuneSettings())
    assert found.seeds_of("adding-600", "lstm+published") == (11, 12)
    assert found.seeds_of("adding-600", "lstm+published_2") == found.seeds == found.seeds_of("adding-15", "lstm")
    assert found.control_ids == ["parity-3"] and list(found.data)[-2:] == ["adding-600", "parity-3"]
    places = {"long": "adding-600 lstm+published", "other": "adding-600 lstm+published_2", "repeat": "parity-3"}
    assert found.published == places


def test_a_rows_label_does_not_depend_on_which_rows_are_run(published: Path) -> None:
    assert names(plan(published=["other"])) == ["adding-600 lstm+published_2"]


def test_rows_with_the_same_settings_share_a_cell_and_its_seeds(published: Path) -> None:
    again = ROWS | {"again": {"run": ROWS["long"]["run"] | {"seeds": [12, 13]}}}
    published.write_text(yaml.safe_dump(again, sort_keys=False))
    found = plan(published=["long", "again"])
    assert names(found) == ["adding-600 lstm+published"]
    assert found.seeds_of("adding-600", "lstm+published") == (11, 12, 13)


def test_other_data_under_a_task_id_of_the_grid_is_refused_with_both_places(published: Path) -> None:
    with pytest.raises(InputError) as caught:
        plan(published=["long"], overrides={"tasks": {"adding": {"data": {"length": [600]}}}})
    what, where, _ = str(caught.value).splitlines()
    assert "'adding-600'" in what and "train" in what and "length" not in what
    assert "tasks.adding.data" in where and f"{published}, long.run.data" in where


@pytest.mark.parametrize(
    ("row", "chosen", "says"),
    [
        ({}, "lang", ["unknown name 'lang'", "params.yaml, published", "did you mean 'long'"]),
        ({}, "told", ["unknown name 'told'"]),
        ({"run": {"task": "adding", "architecture": "lstm"}}, "new", ["Field required", "new.run, parameters"]),
        ({"run": ROWS["other"]["run"] | {"task": "addin"}}, "new", ["'addin'", "new.run.task", "'adding'"]),
        ({"run": ROWS["other"]["run"] | {"architecture": "lstn"}}, "new", ["'lstn'", "'lstm'"]),
        ({"run": ROWS["other"]["run"] | {"core": {"layrs": 1}}}, "new", ["'layrs'", "new.run.core", "'layers'"]),
        ({"run": ROWS["other"]["run"] | {"trian": {}}}, "new", ["unknown key 'trian'", "did you mean 'train'"]),
        (
            {"run": ROWS["other"]["run"] | {"seeds": [1001]}},
            "new",
            ["tuning seed", "published.yaml, adding-600 lstm+published_2"],
        ),
        ({"control": {"task": "parity", "data": {"modulo": 2}, "name": "a"}}, "new", ["'modulo'", "'modulus'"]),
    ],
)
def test_bad_rows_are_three_lines_naming_place_and_nearest(
    row: dict[str, Any], chosen: str, says: list[str], published: Path
) -> None:
    published.write_text(yaml.safe_dump(ROWS | ({"new": row} if row else {}), sort_keys=False))
    with pytest.raises(InputError) as caught:
        plan(published=[chosen])
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    for word in says:
        assert word in text


# ---------------------------------------------------------------- commands

OWN: dict[str, Any] = {
    "tasks": {"adding": {"data": {"length": [7], "train": 99}, "train": {"steps": 5, "clip": 0.3}}},
    "architectures": {"lstm": {"forget_bias": 0.5, "layers": 2}},
    "ablations": {
        "no_clipping": {"tasks": ["adding", "copy_memory-5"], "train": {"batch": 8}},
        "own": {
            **{"tasks": ["adding-9"], "architectures": ["lstm"], "core": {"forget_bias": 0.0}, "parameters": 9000},
            **{"of": {"core": {"layers": 3}, "parameters": 8000}, "spec": {"causal": False}},
        },
    },
}


def settings(command: str) -> list[Setting]:
    return cli.plans.settings(cli.parser().parse_args(shlex.split(command)[1:]))


def test_the_reproducing_command_of_a_variant_gives_the_same_cell() -> None:
    """Whatever the configuration changed of the preset, of its ablations, and of what params.yaml runs."""
    found = config.resolve(QUICK | {"ablations": ["no_clipping", "own"], "overrides": OWN})
    assert len(found.variants) == 5
    for cell in found.variants:
        task_id = config.identity(cell)
        command = config.reproduce(found, task_id, cell.label, 3)
        assert command.startswith(f"seqbench train {task_id} {cell.label} --seed 3 --preset quick")
        assert settings(command) == [cell]


def test_the_usual_command_of_a_variant_is_short() -> None:
    found = config.load({"preset": "quick", "device": "cpu"})
    for cell in found.variants:
        task_id = config.identity(cell)
        command = f"seqbench train {task_id} {cell.label} --seed 1 --preset quick"
        assert config.reproduce(found, task_id, cell.label, 1) == command
        assert settings(command) == [cell]


def test_the_reproducing_command_of_a_row_gives_the_same_cell(published: Path) -> None:
    for cell in (found := plan(published=["other", "long"])).variants:
        command = config.reproduce(found, "adding-600", cell.label, 11)
        assert command == f"seqbench train adding-600 {cell.label} --seed 11 --preset quick"
        assert settings(command) == [cell]


def test_a_command_for_a_cell_of_the_grid_looks_at_nothing_beside_it() -> None:
    """Not even where an ablation of params.yaml could not be resolved."""
    given = json.dumps(QUICK | {"ablations": ["broken"]})
    (cell,) = settings(f"seqbench train adding-15 lstm --config {shlex.quote(given)}")
    assert cell == plan().cell("adding-15", "lstm")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("adding rnn+no_cliping", "did you mean 'no_clipping'"),
        ("adding-40 rnn+no_clipping", "did you mean 'adding-15'"),
        ("adding rnm+no_clipping", "did you mean 'rnn+no_clipping'"),
    ],
)
def test_an_unknown_label_is_three_lines(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", *words.split(), "--preset", "quick"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "where", "fix"] and says in lines[2]


def test_the_plan_says_how_many_variants_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    given = QUICK | {
        "seeds": [1, 2],
        "ablations": ["no_clipping"],
        "overrides": {"ablations": {"no_clipping": CLIPPING}},
    }
    assert cli.main(["plan", "--config", json.dumps(given)]) == 0
    said = capsys.readouterr().out
    assert "4 cells x 2 seeds" in said and "2 variants (cells beside these), 4 runs" in said
    assert "ablations: no_clipping" in said


# ---------------------------------------------------------------- training, checking, watching


def test_a_variants_spec_reaches_the_model_and_not_the_data(tmp_path: Path, one_thread: None, monkeypatch: Any) -> None:
    synthetic.install(monkeypatch)
    cell = synthetic.cell(tmp_path, "made_film", "lstm")
    data = Prepared(tmp_path / "prepared" / "made_film")
    splits = Splits(data, torch.device("cpu"))
    changed = cell.model_copy(update={"variant": "forwards", "spec": {"causal": True, "pooling": "last"}})
    jobs = [train.Job(one, splits, 1e-3, 1, tmp_path / one.label, print) for one in (cell, changed)]
    assert [job.model.spec.causal for job in jobs] == [False, True] and not data.spec.causal
    assert [job.model.core.causal for job in jobs] == [False, True]
    assert jobs[1].model.spec.pooling == "last" != data.spec.pooling
    result = train.train(changed, splits, 1e-2, 1, tmp_path, print)
    assert result.status == "ok" and result.setting == changed and result.arch == "lstm"
    assert train.run_folder(tmp_path, "made_film", "lstm+forwards", 1, result.key).is_dir()


TINY: dict[str, Any] = QUICK | {
    "architectures": ["rnn"],
    "seeds": [1, 2],
    "ablations": ["no_clipping"],
    "published": ["short", "repeat"],
    "overrides": {
        "parameters": 1000,
        "train": {"steps": 10, "eval_every": 5},
        "tune": {"steps": 5, "learning_rates": [0.01]},
        "tasks": {"adding": {"data": {"length": [6], "train": 64, "valid": 16, "test": 16}}},
        "ablations": {"no_clipping": {"tasks": ["adding-6", "copy_memory-5"], "architectures": ["rnn"]}},
    },
}
SMALL = {"train": 64, "valid": 16, "test": 16}
SHORT: dict[str, Any] = {
    "run": {
        **{"task": "adding", "data": {"length": 5} | SMALL, "architecture": "rnn", "parameters": 900, "seeds": [7]},
        **{"train": {"steps": 6, "eval_every": 3}, "tune": {"steps": 3, "learning_rates": [0.01]}},
    }
}


@pytest.fixture
def trained(tmp_path: Path, published: Path) -> tuple[config.Plan, Path]:
    """A plan with an ablation in and beside the grid and two published rows, trained."""
    rows = {"short": SHORT, "repeat": {"control": {"task": "parity", "data": {"modulus": 3} | SMALL, "name": "a"}}}
    published.write_text(yaml.safe_dump(rows))
    small = {"copy_memory": {"data": {"delay": [5]} | SMALL}}
    given = TINY | {"overrides": config.merge(TINY["overrides"], {"tasks": small})}
    options = ["--config", json.dumps(given), "--root", str(tmp_path / "data")]
    found = config.resolve(given)
    for task_id in found.data:
        assert cli.main(["prepare", task_id, *options]) == 0
        assert cli.main(["control", task_id, *options]) == 0
    for cell in (*found.cells, *found.variants):
        assert cli.main(["train", config.identity(cell), cell.label, *options]) == 0
    return found, tmp_path / "data"


def test_variants_are_trained_checked_and_watched_as_the_grid_is(trained: tuple[config.Plan, Path]) -> None:
    plan, root = trained
    found = evidence.variants(plan, root)
    assert [(one.task, one.arch, one.setting.label) for one in found] == [
        ("adding-6", "rnn", "rnn+no_clipping"),
        ("copy_memory-5", "rnn", "rnn"),
        ("copy_memory-5", "rnn", "rnn+no_clipping"),
        ("adding-5", "rnn", "rnn+published"),
    ]
    assert [[run.seed for run in one.results] for one in found] == [[1, 2], [1, 2], [1, 2], [7]]
    assert [task.id for task in evidence.beside(plan, root)] == ["copy_memory-5", "adding-5", "parity-3"]
    looked = status.look(plan, root)
    assert looked.complete and [(cell.label, cell.total) for cell in looked.cells][-1] == ("rnn+published", 1)

    moved = root / "runs" / "adding-6" / "rnn+no_clipping" / "results.json"
    moved.write_bytes((root / "runs" / "adding-6" / "rnn" / "results.json").read_bytes())
    with pytest.raises(DataError, match="holds the cell adding-6 rnn") as caught:
        evidence.variants(plan, root)
    assert caught.value.fix == "train it: seqbench train adding-6 rnn+no_clipping"
    clipped = plan.variants[0].model_copy(update={"train": plan.cells[0].train.model_copy(update={"clip": 0.1})})
    changed = plan.model_copy(update={"variants": (clipped, *plan.variants[1:])})
    assert not status.look(changed, root).complete


def test_pace_and_reach_of_ablations_on_tasks_of_the_grid_are_measured(trained: tuple[config.Plan, Path]) -> None:
    plan, root = trained
    assert [cell.label for cell in plan.measured_on("adding-6")] == ["rnn", "rnn+no_clipping"]
    assert plan.measured_on("adding-5") == []  # a published row is not measured
    quick = {"repetitions": 3, "seconds": 0.01, "reach_items": 4, "reach_lags": 3, "stretch": []}
    given = TINY | {"overrides": config.merge(TINY["overrides"], {"measure": quick})}
    options = ["--config", json.dumps(given), "--root", str(root)]
    for stage in ("pace", "reach"):
        assert cli.main([stage, "adding-6", *options]) == 0
    plan = config.resolve(given)
    pace = evidence.pace(plan, "adding-6", root)
    assert [one.arch for one in pace.cells] == ["rnn"] and [one.arch for one in pace.variants] == ["rnn+no_clipping"]
    assert all(one.step and one.step.median > 0 for one in (*pace.cells, *pace.variants))
    task = evidence.task(plan, "adding-6", root)
    cells = [evidence.cell(plan, task, label, root) for label in ("rnn", "rnn+no_clipping")]
    plain, loose = evidence.reaches(plan, "adding-6", cells, root)
    assert (plain.arch, loose.arch) == ("rnn", "rnn+no_clipping")
    assert [one.horizon for one in plain.reaches if not one.trained] == [
        one.horizon for one in loose.reaches if not one.trained
    ]  # before training they are the same models
    assert set(plain.keys) == set(loose.keys) == {"1", "2"} and set(plain.keys.values()).isdisjoint(loose.keys.values())


def test_a_plan_made_before_there_were_variants_has_none() -> None:
    old = planted.plan().plain()
    for key in ("variants", "variant_seeds", "ablations", "published", "controls"):
        del old[key]
    assert config.Plan.from_data(old).variants == ()
