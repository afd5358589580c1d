"""The configuration in force: what params.yaml and a command's options say together; and lines of progress."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import yaml

from seqbench import config, tasks
from seqbench.errors import InputError
from seqbench.records import Setting


def say(text: str) -> None:
    """One line of progress, with the time, into the job's log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def plan(args: argparse.Namespace) -> config.Plan:
    """The plan of params.yaml, or of --config, with --preset and --set applied.

    A task that the command line names need not be among those of params.yaml; nor need what the label of a cell
    names (lstm+no_clipping), and nothing else that runs beside the grid is then looked at.
    """
    word = getattr(args, "task", "")
    changes = config.alone(word, args.arch) if "arch" in args else {}
    found = _planned(args, changes)
    named = tasks.name_of(word)
    if named in tasks.names() and named not in map(tasks.name_of, found.task_ids):
        return _planned(args, changes | {"tasks": [named]})
    return found


def _planned(args: argparse.Namespace, changes: dict[str, Any]) -> config.Plan:
    if args.preset:
        changes = changes | {"preset": args.preset}
    for text in args.set:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"not KEY=VALUE: '{text}'", "--set", "e.g. --set train.steps=100")
        inner: Any = yaml.safe_load(value)
        for part in reversed(["overrides", *key.split(".")]):
            inner = {part: inner}
        changes = config.merge(changes, inner)
    if args.config is not None:
        return config.resolve(config.merge(read_json(args.config, "--config"), changes))
    return config.load(changes)


def cores(args: argparse.Namespace, named: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings of cores outside any task: of the architectures named, whether the plan has them or not, or of all."""
    return (_planned(args, {"architectures": list(dict.fromkeys(named))}) if named else plan(args)).cores


def read_json(text: str, option: str) -> dict[str, Any]:
    """The JSON object that an option gives."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON ({error})", option, "leave it out to use params.yaml") from None
    if not isinstance(data, dict):
        raise InputError("not a JSON object", option, "leave it out to use params.yaml")
    return data


def settings(args: argparse.Namespace) -> list[Setting]:
    """The cells meant by TASK and ARCH or its variant: of --setting (one cell, as the DAG calls it) or of the plan."""
    if args.setting is not None:
        return [config.typed(Setting, read_json(args.setting, "--setting"), "--setting")]
    return plan(args).cells_of(args.task, args.arch)


def by_task(args: argparse.Namespace) -> dict[str, list[Setting]]:
    """The cells of each task id that TASK means: of --cells (JSON by architecture, as the DAG calls it) or the plan."""
    if args.cells is not None:
        given = read_json(args.cells, "--cells")
        return {args.task: [config.typed(Setting, one, f"--cells, {arch}") for arch, one in given.items()]}
    found = plan(args)
    return {task: found.measured_on(task) for task in found.expand(args.task)}


def device(args: argparse.Namespace) -> str:
    """The DAG resolves the device once and hands it down in the environment."""
    return os.environ.get("SEQBENCH_DEVICE") or plan(args).device


def mirror(args: argparse.Namespace) -> str | None:
    """The mirror that is tried first: of the command line, the environment, the configuration."""
    return getattr(args, "mirror", None) or os.environ.get("SEQBENCH_MIRROR") or plan(args).mirror
