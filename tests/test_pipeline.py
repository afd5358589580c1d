"""The whole DAG, as a person runs it: real Snakemake, DVC and git, in clones under a temporary folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "preset": "quick",
    "device": "cpu",
    "architectures": ["rnn", "lstm"],
    "tasks": ["adding", "digits"],
    "seeds": [1, 2],
    "overrides": {
        "parameters": 3000,
        "train": {"steps": 20, "eval_every": 10, "batch": 16},
        "tune": {"steps": 10, "learning_rates": [0.003]},
        "measure": {
            **{"parameters": 6000, "lengths": [4, 8, 16], "batch": 2, "tokens": 32, "batches": [1, 2], "length": 4},
            **{"contexts": [2, 4], "generate": 2, "repetitions": 3, "seconds": 0.0, "window": 4, "fits": 1000000},
            **{"memory_lengths": [8, 16, 32], "gradient_length": 5, "gradient_seeds": [1], "reach_items": 8},
        },
        "tasks": {"adding": {"data": {"length": [8], "train": 64, "valid": 16, "test": 16}}},
    },
}


def environment(**more: str) -> dict[str, str]:
    """A person's shell with the environment on its PATH."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEQBENCH", "PYTEST"))}
    return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | more


def run(folder: Path, *command: str, code: int | None = 0, **more: str) -> str:
    """Run a command; its whole output. `code` None: any."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**more), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout[-6000:]}"
    return done.stdout


def snakemake(folder: Path, *words: str, **more: Any) -> str:
    return run(folder, "snakemake", "--cores", "all", *words, **more)


def configure(folder: Path, changes: Mapping[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(changes)))


def clone(folder: Path, params: Mapping[str, Any] = TINY) -> Path:
    """A git clone of what stands in the working tree."""
    listed = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    configure(folder, params)
    (folder / "dvc.lock").unlink(missing_ok=True)
    run(folder, "git", "init", "--quiet")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    names = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    run(folder, "git", *names, "commit", "--quiet", "--allow-empty", "--message", "state")


def results(folder: Path) -> bytes:
    return (folder / "reports" / "results.csv").read_bytes()


def jobs(output: str) -> list[str]:
    """The messages of the jobs that ran: "train adding-8 lstm"."""
    return sorted(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the pipeline has run."""
    folder = clone(tmp_path_factory.mktemp("finished") / "clone")
    output = snakemake(folder)
    assert "preset quick (pinned in the configuration); device cpu" in output
    assert "Traceback" not in output
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished clone to be changed."""
    shutil.copytree(finished, tmp_path / "clone", symlinks=True)
    return tmp_path / "clone"


def test_the_report_and_its_table_are_there(finished: Path) -> None:
    page = (finished / "reports" / "index.html").read_text(encoding="utf-8")
    table = pd.read_csv(finished / "reports" / "results.csv")
    assert len(page) < 1_500_000
    assert len(table) == 2 * 2 * 2
    assert set(table["status"]) == {"ok"}
    for command in (
        "seqbench train adding-8 lstm --seed 1 --seed 2 --preset quick",
        "seqbench train digits rnn --seed 1 --seed 2",
    ):
        assert command in page


def test_measurements_had_the_machine_to_themselves(finished: Path) -> None:
    """Rule 19: no training job overlaps a job that measures time, nor do two of these."""
    trained = [
        (run["started"], run["finished"])
        for path in finished.glob("data/runs/*/*/provenance.json")
        for run in json.loads(path.read_text())["runs"].values()
    ]
    files = [*finished.glob("data/measured/*.json"), *finished.glob("data/measured/pace/*.json")]
    measured = [json.loads(path.read_text())["provenance"] for path in files]
    spans = sorted({(note["started"], note["finished"]) for note in measured})  # both architectures are of one job
    assert len(files) == 4 and len(spans) == 3 and len(trained) == 8
    for i, (start, end) in enumerate(spans):
        others = [*trained, *spans[:i]]
        assert not [other for other in others if other[0] < end and start < other[1]]


def test_a_second_call_has_nothing_to_do(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished)


def test_one_command_alone_gives_the_bytes_of_the_dag(finished: Path, tmp_path: Path) -> None:
    options = ["--root", str(tmp_path), "--seed", "2"]
    run(finished, "python", "-m", "seqbench", "train", "adding-8", "lstm", *options)
    alone = list(tmp_path.glob("runs/adding-8/lstm/seed-2/*/result.json"))
    assert len(alone) == 1
    there = finished / "data" / alone[0].relative_to(tmp_path)
    assert alone[0].read_bytes() == there.read_bytes()


def test_touched_files_start_nothing(copy: Path) -> None:
    for path in [*copy.rglob("data/**/*"), *copy.rglob("seqbench/**/*.py")]:
        if path.is_file():
            os.utime(path)
    assert "Nothing to be done" in snakemake(copy)


def test_one_changed_setting_runs_only_its_cells(copy: Path) -> None:
    changed = json.loads(json.dumps(TINY))
    changed["overrides"]["tasks"]["digits"] = {"train": {"steps": 10}}
    configure(copy, changed)
    ran = jobs(snakemake(copy))
    assert {"train digits lstm", "train digits rnn"} <= set(ran)
    assert not [job for job in ran if re.search("adding|speed|gates|count|prepare", job)]


def test_another_seed_trains_only_that_seed(copy: Path) -> None:
    notes = {path: path.stat().st_mtime_ns for path in copy.glob("data/runs/*/*/seed-*/*/result.json")}
    configure(copy, TINY | {"seeds": [1, 2, 3]})
    snakemake(copy)
    assert {path: path.stat().st_mtime_ns for path in notes} == notes
    assert len(pd.read_csv(copy / "reports" / "results.csv")) == 2 * 2 * 3


REACH = "find how far these remember: the models of"
MY_ARCH = '''
"""A running mean of a linear map."""

import torch
from torch import nn

VERSION = 1
SETTINGS = {}


class Core(nn.Module):
    def __init__(self, width, *, length, causal):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x, lengths=None):
        steps = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return x + torch.tanh(self.linear(x)).cumsum(1) / steps[:, None]

    def step(self, x_t, state=None):
        total, n = state if state is not None else (torch.zeros_like(x_t), torch.zeros(1))
        total, n = total + torch.tanh(self.linear(x_t)), n + 1
        return x_t + total / n, (total, n)
'''


def test_a_new_architecture_is_a_file_and_a_word(copy: Path) -> None:
    assert len(MY_ARCH.splitlines()) < 40
    (copy / "seqbench" / "archs" / "my_arch.py").write_text(MY_ARCH)
    configure(copy, TINY | {"architectures": ["rnn", "lstm", "my_arch"]})
    quiet = [
        path for path in copy.glob("data/measured/points/*/*.json") if not json.loads(path.read_text()).get("flags")
    ]
    points = {path: path.stat().st_mtime_ns for path in quiet}  # what was disturbed is measured again
    ran = jobs(snakemake(copy))
    others = [job for job in ran if "my_arch" not in job]
    # Jobs over all architectures, of which only the new one's points are measured.
    shared = [f"{what} {task}" for what in ("measure the pace of", REACH) for task in ("adding-8", "digits")]
    whole = ["analyse", "measure the speed of all architectures", "render reports/index.html", "write down the plan"]
    assert sorted(others) == sorted([*whole, *shared])
    assert len([job for job in ran if "my_arch" in job]) == 2 * 2 + 2
    assert points and {path: path.stat().st_mtime_ns for path in points} == points
    page = (copy / "reports" / "index.html").read_text(encoding="utf-8")
    assert page.count("my_arch") > 20
    assert set(pd.read_csv(copy / "reports" / "results.csv")["arch"]) == {"rnn", "lstm", "my_arch"}


def done(folder: Path) -> list[Path]:
    """A file of each finished run."""
    return list(folder.glob("data/runs/*/*/seed-*/*/provenance.json"))


def kill_when(folder: Path, *command: str, runs: int, what: Callable[[Path], list[Path]] = done) -> bool:
    """Start a command and kill its process group once `runs` of `what` are there; whether it was at work then."""
    job = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while job.poll() is None and len(what(folder)) < runs:
        time.sleep(0.05)
    running = job.poll() is None
    if running:
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    return running


@pytest.mark.parametrize("moment", ["first result", "most results"])
def test_kill_9_and_the_same_command_goes_on(moment: str, finished: Path, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    wanted = 1 if moment == "first result" else 6

    assert kill_when(folder, "snakemake", "--cores", "all", runs=wanted)
    before = {path: path.read_bytes() for path in done(folder)}
    assert wanted <= len(before) < 8
    snakemake(folder)
    assert results(folder) == results(finished)
    # A run trained twice would carry another time.
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_sweep_goes_on_point_by_point(copy: Path) -> None:
    def points(folder: Path) -> list[Path]:
        return list(folder.glob("data/measured/points/*/*.json"))

    def places(folder: Path) -> list[list[object]]:
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("data/measured/*.json"))]
        where = ("quantity", "length", "batch", "threads", "track", "form")
        return [[record["arch"], *(m[key] for key in where)] for record in records for m in record["measurements"]]

    whole, measured = len(points(copy)), places(copy)
    shutil.rmtree(copy / "data" / "measured")
    command = "snakemake", "--cores", "all", "measured"
    assert kill_when(copy, *command, runs=whole // 4, what=points)
    before = {path: path.read_bytes() for path in points(copy)}
    assert whole // 4 <= len(before) < whole
    run(copy, *command)
    assert places(copy) == measured
    quiet = [path for path, data in before.items() if not json.loads(data).get("flags")]
    assert quiet and all(path.read_bytes() == before[path] for path in quiet)


def test_two_starts_in_one_folder(copy: Path) -> None:
    configure(copy, TINY | {"seeds": [4]})
    holder = "import sys, time; from pathlib import Path; from seqbench import files\n"
    holder += "with files.lock(Path('data/.lock')): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], cwd=copy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        output = snakemake(copy, code=5)
        other.communicate("")
    assert "error: another seqbench is at work in this folder" in output
    snakemake(copy)


def test_bad_configuration_is_three_lines(finished: Path) -> None:
    output = snakemake(finished, "--config", 'tasks=["digitz"]', code=2)
    lines = [line for line in output.splitlines() if line.startswith(("error:", "where:", "fix:"))]
    assert lines[0] == "error: unknown task 'digitz'" and "did you mean 'digits'" in lines[2]
    assert "Traceback" not in output


def test_a_tampered_result_is_refused_and_nothing_is_lost(copy: Path) -> None:
    path = copy / "data" / "runs" / "digits" / "lstm" / "results.json"
    whole = path.read_text()
    data = json.loads(whole)
    data["results"][0]["learning_rate"] = 0.5
    path.write_text(json.dumps(data))
    before = results(copy)
    output = run(copy, "python", "-m", "seqbench", "analyse", "--plan", "data/summary/plan.json", code=3)
    assert "results.json" in output and "Traceback" not in output
    assert results(copy) == before


def test_a_failed_job_shows_its_three_lines_and_the_others_go_on(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone", TINY | {"tasks": ["digits"], "seeds": [1]})
    broken = "VERSION = 1\nSETTINGS = {}\n\n\ndef Core(*_, **__):\n    raise ValueError('no')\n"
    (folder / "seqbench" / "archs" / "broken.py").write_text(broken)
    configure(folder, TINY | {"tasks": ["digits"], "seeds": [1], "architectures": ["broken", "lstm"]})
    output = snakemake(folder, code=1)
    assert "error: " in output and "broken.py" in output
    assert (folder / "data" / "runs" / "digits" / "lstm" / "results.json").exists()
    assert not (folder / "data" / "tuned" / "digits" / "broken.json").exists()


BESIDE: dict[str, Any] = TINY | {
    "architectures": ["rnn"],
    "tasks": ["digits"],
    "seeds": [1],
    "ablations": {"quick": ["unclipped"], "full": ["none"]},
    "published": ["some"],
    "overrides": TINY["overrides"]
    | {"ablations": {"unclipped": {"tasks": ["adding"], "architectures": ["rnn"], "train": {"clip": 0.0}}}},
}
ROWS = """
some: {control: {task: parity, data: {modulus: 3, train: 64, valid: 16, test: 16}, name: uniform guess}}
"""


def test_ablations_and_published_controls_run_beside_the_grid(tmp_path: Path) -> None:
    """Cells outside the grid with their bases, made by the same rules; a change of one makes nothing else again."""
    folder = clone(tmp_path / "clone", BESIDE)
    (folder / "workflow" / "published.yaml").write_text(ROWS)
    ran = jobs(snakemake(folder, "--", "trained"))
    cells = ["adding-8 rnn", "adding-8 rnn+unclipped", "digits rnn"]
    tasks = ["adding-8", "digits", "parity-3"]
    made = [f"{what} {cell}" for what in ("train", "tune") for cell in cells]
    assert ran == sorted([*made, *(f"{what} {task}" for what in ("controls of", "prepare") for task in tasks)])
    for label, clip in (("rnn", 1.0), ("rnn+unclipped", 0.0)):
        (run,) = json.loads((folder / f"data/runs/adding-8/{label}/results.json").read_text())["results"]
        assert (run["setting"]["train"]["clip"], run["status"]) == (clip, "ok")
    assert "Nothing to be done" in snakemake(folder, "--", "trained")

    changed = json.loads(json.dumps(BESIDE))
    changed["overrides"]["ablations"]["unclipped"]["train"] = {"clip": 5.0}
    configure(folder, changed)
    assert jobs(snakemake(folder, "--", "trained")) == ["train adding-8 rnn+unclipped", "tune adding-8 rnn+unclipped"]


# ---------------------------------------------------------------- DVC


def test_dvc_repro_push_pull(finished: Path, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    run(folder, "dvc", "repro")
    assert results(folder) == results(finished)
    again = run(folder, "dvc", "repro")
    assert "Data and pipelines are up to date." in again
    assert "Running stage" not in again

    run(folder, "dvc", "remote", "modify", "local", "url", str(tmp_path / "remote"))
    commit(folder)
    run(folder, "dvc", "push")
    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "--quiet", str(folder), str(other))
    run(other, "dvc", "pull")
    assert "Nothing to be done" in snakemake(other)
    (other / "reports" / "index.html").unlink()
    assert jobs(snakemake(other)) == ["render reports/index.html"]
    assert (other / "reports" / "index.html").read_bytes() == (folder / "reports" / "index.html").read_bytes()

    metrics = json.loads(run(folder, "dvc", "metrics", "show", "--json"))
    shown = next(iter(metrics.values()))["data"]
    assert set(next(iter(shown.values()))["data"]) >= {"adding-8", "digits"}
    run(folder, "dvc", "plots", "show", "--out", "plots")
    assert (folder / "plots" / "index.html").exists()

    changed = json.loads(json.dumps(TINY))
    changed["overrides"]["tasks"]["digits"] = {"train": {"steps": 10}}
    configure(folder, changed)
    ran = jobs(run(folder, "dvc", "repro"))
    assert {"train digits lstm", "train digits rnn"} <= set(ran)
    assert not [job for job in ran if re.search("adding|speed|gates|count", job)]


def test_a_killed_dvc_repro_goes_on(finished: Path, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")

    assert kill_when(folder, "dvc", "repro", runs=2)
    before = {path: path.read_bytes() for path in done(folder)}
    run(folder, "dvc", "repro")
    assert results(folder) == results(finished)
    assert {path: path.read_bytes() for path in before} == before


# ---------------------------------------------------------------- real data

REAL: dict[str, Any] = TINY | {
    "architectures": ["rnn", "lstm", "gru", "transformer"],
    "tasks": ["smnist", "etth1", "sst2"],
    "overrides": {
        **TINY["overrides"],
        "parameters": 20000,
        "tasks": {
            "smnist": {"data": {"pool": 4, "train": 500, "valid": 100, "test": 200}},
            "etth1": {"data": {"horizon": [96], "stride": 50}},
        },
    },
}


@pytest.mark.mirror
def test_real_data_from_bytes_to_report(mirror: str, tmp_path: Path) -> None:
    """Downloads over HTTP, all four architectures, each beside its controls."""
    folder = clone(tmp_path / "clone", REAL)
    snakemake(folder, SEQBENCH_MIRROR=mirror)
    table = pd.read_csv(folder / "reports" / "results.csv")
    assert set(table["task"]) == {"smnist", "etth1-96", "sst2"}
    assert set(table["status"]) == {"ok"} and len(table) == 3 * 4 * 2
    page = (folder / "reports" / "index.html").read_text(encoding="utf-8")
    for control in ("majority", "repeat", "linear", "bag of words"):
        assert control in page.lower()
    # Without the mirror and without network nothing is asked for again, since nothing is missing.
    assert "Nothing to be done" in snakemake(folder)


def test_no_network_is_said_at_once(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone", REAL | {"tasks": ["etth1"]})
    dead = "http://127.0.0.1:9"
    output = snakemake(folder, "--", "prepared", code=1, SEQBENCH_MIRROR=dead, HTTPS_PROXY=dead)
    assert "SEQBENCH_MIRROR" in output and "etth1" in output.lower()
    assert not list(folder.glob("data/raw/**/*.csv"))
