"""Imports go one way, and what must be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "seqbench"

# A module may import those of lower rank; tasks and archs never their siblings.
RANK = {
    "errors": 0,
    "files": 1,
    "records": 2,
    "music": 3,
    "prepared": 3,
    "tasks": 4,
    "archs": 4,
    "measurements": 3,
    "scaling": 3,
    "sets": 3,
    "sources": 4,
    "transfer": 5,
    "gather": 6,
    "fetch": 7,
    "schedule": 4,
    "presets": 3,
    "cells": 5,
    "variants": 6,
    "config": 7,
    "prepare": 5,
    "batches": 5,
    "checkpoint": 5,
    "device": 5,
    "status": 8,
    "analyse": 8,
    "report": 9,
    "vision": 5,
    "frontend": 6,
    "parts": 6,
    "seq2seq": 7,
    "model": 8,
    "decode": 9,
    "evaluate": 10,
    "train": 11,
    "gates": 11,
    "measure": 12,
    "horizon": 13,
    "apply": 12,
    "tune": 12,
    "cli": 14,
    "__main__": 15,
}


def imports(path: Path) -> set[str]:
    """Full names of what a file imports from seqbench, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("seqbench.")}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = parts[0]
    if own == "__init__":
        return
    for name in imports(path):
        words = name.split(".")[1:]
        if words[0] not in RANK:  # seqbench.__version__
            continue
        if words[0] == own:
            private = len(words) > 1 and (
                words[1].startswith("_") or own in ("analyse", "report", "cli", "gates", "horizon", "measure")
            )
            upwards = len(parts) > 1 and not (PACKAGE / own / f"{words[1]}.py").exists()
            assert private or upwards, f"{path.name} imports its sibling {name}"
        else:
            assert RANK[words[0]] < RANK[own], f"{own} must not import {words[0]}"


@pytest.mark.parametrize(
    "module", ["config", "tasks", "analyse", "report", "status", "cli", "sources", "fetch", "prepare"]
)
def test_torch_free_modules_do_not_load_torch(module: str) -> None:
    code = f"import sys, seqbench.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_pickle_anywhere() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not calls & {"torch.load", "torch.save", "numpy.load"}, path
        assert not modules & {"pickle", "joblib", "dill", "cloudpickle"}, path
