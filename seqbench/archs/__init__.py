"""Architectures: the compared part. One file per architecture, found by its name.

An architecture file holds a literal `VERSION = 1`, a literal `SETTINGS = {...}` (defaults, one
per setting the core takes; read without running the file, so that planning never waits for
torch) and a class `Core(torch.nn.Module)`:

    Core(width: int, *, length: int, causal: bool, **SETTINGS)
    forward(x, lengths=None): (batch, time, width) -> (batch, time, width)
    step(x_t, state): (batch, width), state -> (batch, width), state; the first state is None

`length` is the longest sequence. `lengths` (batch,), on the CPU, says how many steps of each
item count; what stands after them must not change what comes out before them. A core of a task
that is not causal reads both ways and has no `step`. Every tensor of a state has the batch first.

Three things more that a core may have:

    carry(x, state): (batch, time, width), state -> (batch, time, width), state; forward, on from a
    state of `step`, for one of fixed size: then training on a stream carries it between windows
    plain(x): forward of a causal core written out in plain operators, for the reference track of the
    measurements; a core without it is measured as its forward is, with attention written out
    MEMORY = True: it attends to an encoder by itself. Then Core takes memory=True, forward takes
    memory=(batch, memory steps, width) and memory_lengths=(batch,), `begin(memory, lengths)`
    gives the first state, `attention(x, memory)` what is looked at, (batch, time, memory steps)
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

from seqbench.errors import InputError, nearest

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of all architectures: the files beside this one."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def literal(name: str, constant: str) -> Any:
    """The value of a top-level literal of an architecture's file, without importing it."""
    if name not in names():
        raise InputError(f"unknown architecture '{name}'", "architectures", nearest(name, names()))
    path = FOLDER / f"{name}.py"
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and any(ast.unparse(target) == constant for target in node.targets):
                return ast.literal_eval(node.value)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"cannot read {constant} ({error})", str(path), f"write {constant} as a literal") from None
    raise InputError(f"{constant} is missing", str(path), f"add a top-level literal, e.g. {constant} = ...")


def version(name: str) -> int:
    """The integer that a change of the core's numbers raises."""
    value = literal(name, "VERSION")
    if not isinstance(value, int):
        raise InputError("VERSION is not an integer", str(FOLDER / f"{name}.py"), "write VERSION = 1")
    return value


def defaults(name: str) -> dict[str, Any]:
    """The core's settings with their default values."""
    value = literal(name, "SETTINGS")
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError("SETTINGS is not a dict of names", str(FOLDER / f"{name}.py"), "write SETTINGS = {}")
    return value


def find(name: str) -> Any:
    """The `Core` class of an architecture (imports torch)."""
    if name not in names():
        raise InputError(f"unknown architecture '{name}'", "architectures", nearest(name, names()))
    module = importlib.import_module(f"seqbench.archs.{name}")
    try:
        return module.Core
    except AttributeError:
        raise InputError("an architecture file must define 'class Core'", str(module.__file__), "add it") from None
