from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import planted
import pytest

from seqbench import archs, cli, config, gates, sources
from seqbench.cli import plans, stages
from seqbench.measurements import Gates
from seqbench.records import Result

TINY = ["--preset", "quick", "--set", "train={steps: 10, eval_every: 5}", "--set", "tune={steps: 5}"]
TINY += ["--set", "tasks.adding={data: {length: 6, train: 64, valid: 16, test: 16}}"]


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.strip().splitlines()[-3:]
    assert [text.split(":")[0] for text in lines] == ["error", "where", "fix"]
    return lines


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "addin", "lstm"], 2, "did you mean 'adding"),
        (["train", "adding", "lstn"], 2, "did you mean 'lstm'"),
        (["train", "adding", "lstm", "--preset", "quik"], 2, "did you mean 'quick'"),
        (["train", "adding", "lstm", "--set", "train.stepz=1"], 2, "did you mean 'steps'"),
        (["train", "adding", "lstm", "--set", "train"], 2, "KEY=VALUE"),
        (["train", "adding", "lstm", "--seed", "1001", *TINY], 2, "tuning seed"),
        (["train", "adding", "lstm", "--setting", "{"], 2, "not valid JSON"),
        (["train", "adding", "lstm", "--setting", "{}"], 2, "Field required"),
        (["fetch", "etth"], 2, "did you mean 'etth1'"),
        (["fetch"], 2, "no source is named"),
        (["fetch", "etth1", "--mirror", "ftp://x"], 2, "ftp"),
        (["prepare", "etth1", "--preset", "full"], 3, "seqbench fetch etth1"),
        (["analyse"], 3, "missing"),
        (["report"], 3, "missing"),
    ],
)
def test_errors_are_three_lines_with_their_code(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--root", str(tmp_path)]) == code
    assert says in "\n".join(error_lines(capsys))
    assert not list(tmp_path.rglob("*.json"))


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["trian", "adding", "lstm"])
    assert caught.value.code == 2
    assert "did you mean 'train'" in error_lines(capsys)[2]


def test_no_permission_is_three_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prepared").write_text("a file where a folder must be")
    assert cli.main(["prepare", "digits", "--root", str(tmp_path)]) != 0
    error_lines(capsys)


def test_an_unexpected_error_has_three_lines_and_with_debug_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "plan", lambda _: 1 / 0)
    assert cli.main(["plan"]) == 1
    assert "ZeroDivisionError" in error_lines(capsys)[0]
    with pytest.raises(ZeroDivisionError):
        cli.main(["plan", "--debug"])


def test_a_single_train_command_does_all_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prepares, tunes, trains in a process of its own; the second call finds it done."""
    command = [
        sys.executable,
        "-m",
        "seqbench",
        "train",
        "adding",
        "gru",
        "--seed",
        "3",
        *TINY,
        "--root",
        str(tmp_path),
    ]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    (results,) = tmp_path.glob("runs/adding-6/gru/seed-3/*/result.json")
    before = results.read_bytes()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "chosen" in first.stderr and "seed 3: ok" in first.stderr
    assert "already finished" in again.stderr and "chosen" not in again.stderr
    assert results.read_bytes() == before
    assert not (tmp_path / "runs/adding-6/gru/results.json").exists()  # a seed by hand is not the whole cell
    assert cli.main(["status", *TINY, "--set", "tasks.adding.tune={}", "--root", str(tmp_path)]) == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_a_tampered_prepared_file_stops_training_and_is_made_again(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*TINY, "--root", str(tmp_path)]
    assert cli.main(["prepare", "adding", *options]) == 0
    folder = tmp_path / "prepared" / "adding-6"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    path = folder / ("manifest.json" if damage == "manifest" else "train.x.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-10] if damage in ("cut", "manifest") else data)
    assert cli.main(["train", "adding", "gru", "--seed", "1", *options]) == 3
    assert "seqbench prepare adding-6" in error_lines(capsys)[2]
    assert cli.main(["prepare", "adding-6", *options]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


@pytest.mark.parametrize("command", ["gates", "count", "measure"])
def test_cores_are_those_of_the_preset_also_where_the_plan_has_no_such_architecture(command: str) -> None:
    few = json.dumps(config.read() | {"architectures": ["rnn"]})
    options = ["--preset", "full", "--config", few, "--set", "architectures.lstm.forget_bias=0.5"]

    def cores(*words: str) -> dict[str, dict[str, Any]]:
        args = cli.parser().parse_args([command, *words, *options])
        return plans.cores(args, args.archs)

    assert archs.defaults("lstm")["layers"] == 1
    found = cores("lstm", "rnn", "lstm")
    assert list(found) == ["lstm", "rnn"]
    assert (found["lstm"]["layers"], found["lstm"]["forget_bias"], found["rnn"]["layers"]) == (2, 0.5, 2)
    assert cores() == {"rnn": found["rnn"]}


def test_gates_are_checked_with_the_core_of_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name alone, and where `pace` finds none; neither needs the architecture to be in the plan."""
    checked: list[tuple[str, int]] = []

    def check(arch: str, core: dict[str, Any]) -> Gates:
        checked.append((arch, core["layers"]))
        return Gates(arch=arch, core=core, version=1, checks=(), provenance=planted.provenance())

    monkeypatch.setattr(gates, "gates", check)
    few = json.dumps(config.read() | {"architectures": ["rnn"]})
    words = ["gates", "gru", "--preset", "full", "--config", few, "--root", str(tmp_path)]
    assert cli.main(words) == 0 and checked == [("gru", 2)]
    assert Gates.read(tmp_path / "measured" / "gates" / "gru.json", "").core["layers"] == 2
    stages._gates("lstm", None, cli.parser().parse_args(words))
    assert checked[1:] == [("lstm", 2)]


def test_fetch_all_leaves_out_what_is_optional(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, known = tmp_path / "mirror", {}
    for name in ("needed", "wished", "vectors"):
        path = mirror / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        facts: dict[str, Any] = {"licence": "none", "citation": "none", "defects": (), "optional": name != "needed"}
        known[name] = sources.Source(name=name, url=f"https://x.y/{name}.txt", sha256=sha256, bytes=len(name), **facts)
    monkeypatch.setattr(sources, "read", lambda: known)
    for words, expected in ((["--all"], ["needed"]), (["--all", "wished"], ["needed", "wished"]), (["wished"],) * 2):
        folder = tmp_path / " ".join(words)
        assert cli.main(["fetch", *words, "--to", str(folder), "--mirror", mirror.as_uri()]) == 0
        said = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
        assert said == [f"{name}:" for name in expected]
        assert sorted(path.stem for path in folder.glob("[!.]*.txt")) == expected


def test_data_prepared_with_other_settings_is_made_again(tmp_path: Path) -> None:
    options = [*TINY, "--root", str(tmp_path)]
    assert cli.main(["prepare", "adding", *options]) == 0
    changed = ["--set", "tasks.adding.data.train=48"]
    assert cli.main(["train", "adding", "rnn", "--seed", "1", *options, *changed]) == 0
    (path,) = tmp_path.glob("runs/adding-6/rnn/seed-1/*/result.json")
    assert Result.read(path, "").data_sizes["train"] == 48


def test_a_disk_that_takes_no_more_is_three_lines_and_leaves_nothing(tmp_path: Path) -> None:
    """A real limit of the operating system cuts the write of an array in the middle."""
    command = f"ulimit -f 8; exec {sys.executable} -m seqbench prepare adding {shlex.join(TINY)} --root {tmp_path}"
    command += " --set tasks.adding.data.train=5000"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert [line.split(":")[0] for line in done.stderr.strip().splitlines()] == ["error", "where", "fix"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
