"""What differs between architectures beside their equations: read from their files, which are not run."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from seqbench import archs
from seqbench.analyse.findings import words
from seqbench.records import Spec


def differences(spec: Spec, architectures: Sequence[str]) -> tuple[str, ...]:
    """In which ways the task treats these architectures differently, in sentences (rule 8 of docs/evidence.md)."""
    if spec.outputs == "stream":
        return _carried(spec, architectures)
    if spec.outputs == "sequence" and spec.connection == "attention":
        return _attention(architectures)
    return ()


def _carried(spec: Spec, architectures: Sequence[str]) -> tuple[str, ...]:
    carry = [arch for arch in architectures if has(arch, "carry")]
    anew = [arch for arch in architectures if arch not in carry]
    found = []
    if carry:
        found.append(
            f"State carried from window to window: {words(carry)}. Gradients end where a window of {spec.length} "
            "steps begins (truncated back-propagation through time); the test split is read in one go."
        )
    if anew:
        found.append(
            f"Every window begun anew: {words(anew)}. In training at most {spec.length} steps are seen; the test "
            f"split is read in windows of {spec.length} steps that overlap by half, so that "
            f"{max(spec.length // 2, 1)} to {spec.length} steps stand behind each label but those of the first window."
        )
    return tuple(found)


def _attention(architectures: Sequence[str]) -> tuple[str, ...]:
    own = [arch for arch in architectures if has(arch, "MEMORY")]
    additive = [arch for arch in architectures if arch not in own]
    found = []
    if own:
        found.append(f"Attention to the source by the core itself, in every layer of the decoder: {words(own)}.")
    if additive:
        found.append(
            f"Additive attention after the decoder's core, which is also given the encoder's final state: "
            f"{words(additive)}."
        )
    return tuple(found)


def has(arch: str, name: str) -> bool:
    """Whether the `Core` of an architecture, or a class it inherits from, defines `name` as a method or as true."""
    return _defines(archs.FOLDER / f"{arch}.py", "Core", name)


def _defines(path: Path, class_name: str, name: str) -> bool:
    """Looked for in the class, then in its bases, as far as they stand in `path` or in files beside it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name), None)
    if found is None:
        return False
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return True
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(ast.unparse, _targets(node)):
            return node.value is not None and ast.unparse(node.value) not in ("False", "None")
    places = (_base(path, tree, ast.unparse(base)) for base in found.bases)
    return any(_defines(*place, name) for place in places if place and place != (path, class_name))


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _base(path: Path, tree: ast.Module, base: str) -> tuple[Path, str] | None:
    """The file and name of a base class; None for one from elsewhere, which knows nothing of this project."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == base:
            return path, base
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seqbench.archs."):
            for alias in node.names:
                if base == (alias.asname or alias.name):
                    return archs.FOLDER / f"{(node.module or '').split('.')[-1]}.py", alias.name
    return None
