"""What a task asks of every architecture, and how each cell was set, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqbench.analyse.findings import arrow, number, words
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.records import Provenance, Result, Spec
from seqbench.report.figures import Entry, Row

POOLED = {"last": "the last step", "mean": "the mean over steps", "ends": "the final state of both directions"}
CONNECTED = {
    "none": "the final state alone",
    "additive": "all states, by additive attention",
    "attention": "all states, by attention",
}


def facts(task: TaskSummary) -> list[tuple[str, str]]:
    """Terms and what they are on this task: the same for every architecture."""
    spec = task.spec
    watched, direction = spec.watched
    found = [
        ("Ranked by", f"{spec.metric} {arrow(spec.direction)} on test" + (f", {spec.unit}" if spec.unit else "")),
        ("Epochs and rates chosen by", f"{watched} {arrow(direction)} on validation"),
        ("Reads", _reads(spec)),
        ("Says", _says(spec)),
        ("Length", f"{'windows of' if spec.outputs == 'stream' else 'at most'} {spec.length:,} steps"),
        ("Direction", "forwards (causal)" if spec.causal else "both ways"),
    ]
    if spec.outputs in ("classes", "values"):
        found.append(("Pooling", POOLED[spec.pooling]))
    if spec.outputs == "sequence":
        found.append(("The decoder sees", CONNECTED[spec.connection]))
    if spec.inputs == "tokens":
        tied = "also the last map of the head (tied), not counted in the budget" if spec.tied else "for the input alone"
        found.append(("Embedding", f"{spec.embedding} columns, {tied}"))
    found.append(("Dropout around the core", f"{spec.dropout:g}" if spec.dropout else "none"))
    if spec.ceiling is not None:
        found.append(("Best known or possible", f"{spec.ceiling:g}"))
    return found


def _reads(spec: Spec) -> str:
    if spec.inputs == "tokens":
        return f"tokens, {spec.input_size:,} different ones"
    if spec.frontend == "frames":
        channels, height, width = spec.frame
        encoder = {"small": "four small convolutions", "resnet18": "a ResNet-18"}[spec.encoder]
        kind = "colour" if channels == 3 else "grey"
        return f"{kind} frames of {width} x {height} pixels, each by {encoder}, not counted in the budget"
    if spec.frontend == "spectrogram":
        return f"{spec.input_size} frequency bands a step, by two convolutions that leave a quarter of the steps"
    return f"{spec.input_size} number{'s' if spec.input_size != 1 else ''} a step"


def _says(spec: Spec) -> str:
    one = f"one of {spec.output_size:,}"
    return {
        "classes": f"{one} classes for each sequence",
        "steps": f"{one} classes at each of the last {spec.window} steps",
        "every": f"{one} classes at each step that is asked for",
        "stream": f"{one} classes at each step of one long sequence",
        "sequence": f"at most {spec.target_length:,} tokens, each {one}",
        "ctc": f"at most {spec.target_length:,} labels, each {one}, a blank among them, aligned by CTC",
        "multilabel": f"yes or no to each of {spec.output_size:,} labels at each step",
        "values": f"{spec.output_size} number{'s' if spec.output_size != 1 else ''} for each sequence",
    }[spec.outputs]


def shared(cells: list[Cell]) -> dict[str, Any]:
    """The settings that are the same in all cells of a task: all but the core's."""
    first, *others = (cell.evidence.setting.plain() for cell in cells)
    keys = [key for key in first if key not in ("arch", "core")]
    return {key: first[key] for key in keys if all(other[key] == first[key] for other in others)}


def own(cell: Cell, common: dict[str, Any]) -> str:
    """The settings of a cell's core in one line, and whatever else is not in common."""
    plain = cell.evidence.setting.plain()
    found = plain["core"] | {key: plain[key] for key in plain if key not in (*common, "arch", "core")}
    return ", ".join(f"{key} {value}" for key, value in found.items()) or "–"


def built(cell: Cell) -> Result:
    """A run whose model was built: its sizes are those of all."""
    return next((run for run in cell.runs if run.width), cell.runs[0])


def seen(cell: Cell) -> str:
    """Training examples of a run, or the least and the most over the seeds."""
    counts = sorted({run.examples for run in cell.runs})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def commands(cell: Cell) -> list[str]:
    """What makes the runs again: one command for all seeds where they differ in the seed alone."""
    given = list(cell.evidence.commands)
    seeds = [f" --seed {run.seed} " for run in cell.runs]
    plain = {f"{command} ".replace(seed, " --seed ", 1) for command, seed in zip(given, seeds, strict=True)}
    if len(plain) > 1:
        return given
    return [plain.pop().replace(" --seed ", "".join(seed.rstrip() for seed in seeds) + " ", 1).rstrip()]


@dataclass(frozen=True)
class Runs:
    """The runs of a task: the head of their table, the rows of each cell, and what is the same for all of them."""

    head: Sequence[str]
    groups: Sequence[tuple[Cell, Sequence[Row]]]
    same: str


def runs(cells: Sequence[Cell], task: TaskSummary) -> Runs:
    """One row per seed of each cell; what is the same for all of several runs is no column."""
    others = list(dict.fromkeys(name for cell in cells for name in cell.others))
    columns = [_columns(cell, task, others) for cell in cells]
    every = {name: [value for of in columns for value in of[name]] for name in columns[0]}
    same = {
        name: values[0]
        for name, values in every.items()
        if name in SAID_ONCE and len(values) > 1 and all(value == values[0] for value in values)
    }
    names = [name for name in every if name not in same and (others or not name.startswith("Other test metrics"))]
    groups = [
        (cell, [[str(run.seed), *(of[name][place] for name in names)] for place, run in enumerate(cell.runs)])
        for cell, of in zip(cells, columns, strict=True)
    ]
    said = [f"{name.lower()} {value if isinstance(value, str) else _words(value)}" for name, value in same.items()]
    return Runs(["Seed", *names], groups, ", ".join(said))


def _columns(cell: Cell, task: TaskSummary, others: Sequence[str]) -> dict[str, list[str | Entry]]:
    """What each run of the cell has under each head."""
    watched, direction = task.spec.watched
    made = cell.evidence.provenances
    found: dict[str, list[str | Entry]] = {
        "Status": [Entry(run.status.replace("_", " "), run.reason) for run in cell.runs],
        f"{task.spec.metric} {arrow(task.spec.direction)}, test": [
            "–" if score is None else Entry(number(score), full=repr(score)) for score in cell.scores
        ],
        f"{watched} {arrow(direction)}, validation": [_value(run.valid, watched) for run in cell.runs],
        f"Other test metrics: {', '.join(others)}": [
            ", ".join(_value(run.test, name) for name in others if run.test) or "–" for run in cell.runs
        ],
        "Steps": [f"{run.steps:,}" for run in cell.runs],
        "Best step": [f"{run.best_step:,}" for run in cell.runs],
        "Labels seen" if task.spec.outputs == "stream" else "Examples seen": [f"{run.examples:,}" for run in cell.runs],
        "Started, UTC": [one.started for one in made],
        "Seconds": [number(one.seconds) for one in made],
        "Load before, after": [f"{number(one.load_before)}, {number(one.load_after)}" for one in made],
        "Key": [run.key[:12] for run in cell.runs],
        "Weights": [run.weights_sha256[:12] or "–" for run in cell.runs],
    }
    return found


def planned(cells: Sequence[Cell], order: Iterable[str]) -> list[Cell]:
    """Cells of a task in the plan's order of architectures."""
    by_arch = {cell.arch: cell for cell in cells}
    return [by_arch[arch] for arch in order]


SAID_ONCE = ("Status", "Steps", "Best step", "Labels seen", "Examples seen", "Seconds", "Load before, after")
"""Columns of runs that are no column where all runs agree."""


def _value(values: Mapping[str, float], name: str) -> str:
    return number(values[name]) if name in values else "–"


def _words(entry: Entry) -> str:
    return f"{entry.text} ({entry.sub})" if entry.sub else entry.text


def places(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Where the runs of a task were made: commit, machine, threads, kernel; before it the runs that share it.

    "all runs" where all do.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        for run, made in zip(cell.runs, cell.evidence.provenances, strict=True):
            found.setdefault(place(made), {}).setdefault(cell.arch, []).append(str(run.seed))
    if len(found) == 1:
        return [("All runs", where) for where in found]
    return [(", ".join(_seeds(cells, arch, own) for arch, own in by.items()), where) for where, by in found.items()]


def place(made: Provenance) -> str:
    """Where something was made, in words."""
    dirty = " with local changes" if made.dirty else ""
    threads = f"{made.threads} thread{'s' if made.threads != 1 else ''}"
    return f"commit {made.commit[:12]}{dirty}, {made.hardware.name}, {threads}; {made.kernel}"


def again(provenances: Sequence[Provenance]) -> list[tuple[str, list[str]]]:
    """Where measurements were made, and the commands that make them again there, each once."""
    found: dict[str, dict[str, None]] = {}
    for made in provenances:
        found.setdefault(place(made), {})[made.command] = None
    return [(where, list(commands)) for where, commands in found.items()]


def _seeds(cells: Sequence[Cell], arch: str, seeds: list[str]) -> str:
    every = next(len(cell.runs) for cell in cells if cell.arch == arch)
    return arch if len(seeds) == every else f"{arch} seed{'s' if len(seeds) != 1 else ''} {words(seeds)}"


def metrics(task: TaskSummary, cells: list[Cell]) -> list[str]:
    """Names of all test metrics of cells and controls, the ranking one first."""
    names = {name for cell in cells for name in cell.others}
    names |= {name for control in task.controls for name in control.metrics}
    return [task.spec.metric, *sorted(names - {task.spec.metric})]
