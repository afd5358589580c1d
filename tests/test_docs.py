"""The documents say what is true: commands parse, files exist, examples run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import seqbench
from seqbench import cli, config, sources, tasks
from seqbench.measure.kept import DECIDE
from seqbench.measurements import Gate
from seqbench.records import Result

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
MADE = ("my_", "dvc_plots/", "dvc.lock", "logs/", "reports/index.html", "reports/results.csv")
"""Paths that a run, or the reader, makes."""
CONFIGURATION = """
preset: quick
device: cpu
architectures: [my_arch, rnn]
tasks: [adding, my_task]
overrides:
  parameters: 3000
  train: {steps: 20, eval_every: 10, batch: 16}
  tune: {steps: 10, learning_rates: [0.01]}
  tasks:
    adding: {data: {length: [6], train: 64, valid: 16, test: 16}}
    my_task: {data: {length: [6], train: 64, valid: 16, test: 16}}
"""


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def spans(text: str) -> list[str]:
    """Inline code outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL))


def commands(text: str) -> list[str]:
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()] + spans(text)
    return [line for line in lines if re.match(r"seqbench [a-z]", line)]


EVERY = sorted({command for text in DOCS.values() for command in commands(text)})


def test_there_are_commands() -> None:
    assert {shlex.split(command)[1] for command in EVERY} >= {"train", "status", "fetch", "control", "plan"}
    assert len(mentioned(ROOT / "README.md")) > 20


@pytest.mark.parametrize("command", EVERY)
def test_every_seqbench_command_parses(command: str) -> None:
    args = cli.parser().parse_args(shlex.split(command)[1:])
    assert args.command in cli.COMMANDS
    if args.command in ("tune", "train") and "my_" not in command:
        assert cli.plans.settings(args), "no such cell"
    elif args.command == "train" and "my_task" not in command:
        assert cli.plans.plan(args).expand(args.task), "no such task id"


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {name for text in DOCS.values() for name in re.findall(r"^make (\w+)|`make (\w+)", text, re.MULTILINE)}
    targets = {a or b for a, b in named}
    assert targets == {"run", "test", "lock"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def mentioned(path: Path) -> set[str]:
    """What a document names that looks like a file or folder of the repository, seen from its top."""
    links = re.findall(r"(?:\]\(|src(?:set)?=\")([^)\"]+)", DOCS[path])
    found = {os.path.relpath(path.parent / link, ROOT) for link in links if "://" not in link}
    words = {word for span in spans(DOCS[path]) for word in span.split("::")[0].split()}
    tops = "|".join(re.escape(entry.name) for entry in ROOT.iterdir())
    return found | {word for word in words if re.fullmatch(rf"(?:{tops})(?:/[\w.*/-]*)?|[\w-]+\.(?:md|toml|cff)", word)}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_file_mentioned_exists(path: Path) -> None:
    for name in mentioned(path):
        inside = [ROOT / name, ROOT / "docs" / name]
        made = any(part.startswith(MADE) for part in (name, Path(name).name))
        assert made or any(place.exists() for place in inside), f"{path.name} mentions {name}"


@pytest.mark.parametrize("name", ["report-light.png", "report-dark.png"])
def test_pictures_are_small(name: str) -> None:
    assert f"docs/{name}" in README
    content = (ROOT / "docs" / name).read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) < 250_000


# ---------------------------------------------------------------- the examples


def example(name: str) -> str:
    """The block of the README that is all of a file."""
    return blocks(README[README.index(f"all of `{name}`") :], "python")[0]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, and what it reads, with both examples added."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "seqbench", folder / "seqbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("seqbench/archs/my_arch.py", "seqbench/tasks/my_task.py"):
        (folder / name).write_text(example(name), encoding="utf-8")
    (folder / "params.yaml").write_text(CONFIGURATION, encoding="utf-8")
    return folder


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_architecture_is_short() -> None:
    assert len(example("seqbench/archs/my_arch.py").splitlines()) < 40


def test_the_examples_train(copy: Path) -> None:
    cells = [("adding-6", "my_arch"), ("my_task-6", "rnn")]
    code = f"from seqbench import cli; [cli.main(['train', *cell, '--seed', '1']) for cell in {cells}]"
    run(copy, "-c", code)
    for task, arch in cells:
        (path,) = copy.glob(f"data/runs/{task}/{arch}/seed-1/*/result.json")
        result = Result.read(path, "")
        assert (result.task, result.arch, result.status, result.steps) == (task, arch, "ok", 20)


def test_the_example_keeps_the_contract_of_cores(copy: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-k", "my_arch", "--rootdir", str(copy)]
    (copy / "tests").mkdir()
    helpers = [path for path in (ROOT / "tests").glob("*.py") if not path.name.startswith("test_")]
    for path in (*helpers, ROOT / "tests" / "test_archs.py"):
        shutil.copy(path, copy / "tests")
    said = run(copy, "-m", "pytest", *options, "tests/test_archs.py")
    assert re.search(r"\b1\d passed", said) and "failed" not in said


def test_the_examples_are_in_the_style_of_the_house(copy: Path) -> None:
    names = ["seqbench/archs/my_arch.py", "seqbench/tasks/my_task.py"]
    run(copy, "-m", "ruff", "check", "--no-cache", *names)
    run(copy, "-m", "ruff", "format", "--no-cache", "--check", *names)


# ---------------------------------------------------------------- what is said elsewhere


def test_every_task_and_source_is_described() -> None:
    text = DOCS[ROOT / "docs" / "data.md"]
    sections = re.findall(r"^## `(\w+)`$", text, re.MULTILINE)
    assert sorted(sections) == tasks.names()
    flat = " ".join(text.split())
    for source in sources.read(ROOT / "data" / "sources.toml").values():
        assert f"`{source.name}`" in text
        assert f"Licence: {source.licence}." in flat


def test_every_test_named_as_evidence_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCS[ROOT / "docs" / "evidence.md"]))
    assert len(named) > 40
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading of the page on measuring, without its head."""
    (section,) = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", DOCS[ROOT / "docs/measuring.md"], re.MULTILINE | re.DOTALL
    )
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_gate_is_described() -> None:
    assert sorted(row[0].strip("`") for row in rows("Gates")) == sorted(get_args(Gate))


def said(key: str, value: Any) -> str:
    """A setting as the table has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in ("memory", "fits"):
        return f"{value / 2**20:g} MiB"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def test_every_setting_of_measuring_stands_with_its_values_in_both_presets() -> None:
    quick, full = (
        config.typed(config.Preset, config.read(ROOT / "workflow" / "presets" / f"{name}.yaml"), name).measure
        for name in ("quick", "full")
    )
    expected = [
        [f"`{key}`{' *' if key in DECIDE else ''}", said(key, getattr(quick, key)), said(key, getattr(full, key))]
        for key in config.MeasureSettings.model_fields
    ]
    assert [[row[0], *row[2:]] for row in rows("Settings")] == expected


def test_citation_and_changelog_have_the_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == seqbench.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0" and cited["license"] == "MIT"
    assert f"## [{seqbench.__version__}]" in DOCS[ROOT / "CHANGELOG.md"]
