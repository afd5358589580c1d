"""One result set as `seqbench diff` reads it: from a summary, or from a table of runs (results.csv). No torch.

A summary tells settings, versions, machines, verdicts and costs. A table tells the runs alone, but any version of
seqbench reads it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from seqbench.analyse import statistics
from seqbench.analyse.summary import Cell, Summary
from seqbench.errors import DataError, InputError
from seqbench.records import Setting

PLACES = ("data/summary/summary.json", "summary/summary.json", "summary.json", "reports/results.csv", "results.csv")
"""Where a folder may have its results, best first: a clone, its data/, data/summary/, a clone again, its reports/."""
NEEDED = ("task", "arch", "seed", "status", "metric", "direction", "score", "learning_rate", "key", "weights_sha256")
"""Columns of a table without which it is not compared; `data_digest`, the last one, too."""
AGAIN = "copy the file again, or make it again: snakemake --cores all"
OTHER = "if another version of seqbench wrote it, give its reports/results.csv, which all versions read"

Name = tuple[str, str]
"""Task id, and the label of a cell on it: its architecture, with the name of its variant."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run, as far as both forms know it."""

    seed: int
    status: str
    score: float | None
    """None: it failed."""
    key: str
    weights: str
    """sha256; empty where the run left no weights."""
    data: str
    """Digest of the prepared data."""
    rate: float
    scorer: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """One cell: its runs by seed, and its rank on the task (0: none)."""

    task: str
    label: str
    metric: str
    direction: Literal["max", "min"]
    runs: Mapping[int, Run]
    rank: int
    setting: Setting | None
    """None: a table does not tell."""
    versions: Mapping[str, int]
    """Of the task's file, the architecture's file and the training loop; empty: a table does not tell."""

    @property
    def name(self) -> Name:
        """Task id and label."""
        return self.task, self.label

    @property
    def scored(self) -> tuple[str, str]:
        """Metric and direction."""
        return self.metric, self.direction

    @property
    def finished(self) -> list[float]:
        """The scores of the runs that did not fail."""
        return [run.score for run in self.runs.values() if run.score is not None]


@dataclasses.dataclass(frozen=True)
class ResultSet:
    """All cells of one set, in its order."""

    path: Path
    cells: Mapping[Name, Entry]
    winners: Mapping[tuple[str, frozenset[str]], str | None]
    """By task id and two architectures: the better one after Holm's correction over the set; None: not told."""
    summary: Summary | None
    """None: it is a table."""

    @property
    def tasks(self) -> list[str]:
        """Task ids, of the grid and beside it."""
        return list(dict.fromkeys(task for task, _ in self.cells))

    @property
    def runs(self) -> int:
        """How many there are."""
        return sum(len(cell.runs) for cell in self.cells.values())

    def order(self, task: str) -> list[str]:
        """The ranked architectures of a task, best first."""
        ranked = [cell for cell in self.cells.values() if cell.task == task and cell.rank]
        return [cell.label for cell in sorted(ranked, key=lambda cell: cell.rank)]


# ---------------------------------------------------------------- reading


def read(path: Path) -> ResultSet:
    """The result set at a path: a clone, its data/ or reports/ folder, a summary.json or a results.csv.

    InputError: there is nothing of the kind; DataError: there is, and it is damaged.
    """
    place = path
    if path.is_dir():
        found = [path / name for name in PLACES if (path / name).is_file()]
        if not found:
            raise DataError(
                "no results are in this folder (neither summary.json nor results.csv)",
                str(path),
                "make them there (snakemake --cores all), fetch them (dvc pull), or give another folder",
            )
        place = found[0]
    elif not path.exists():
        raise InputError(
            "no such file or folder", str(path), "give a clone, its data/ or reports/, a summary.json or a results.csv"
        )
    if place.suffix == ".csv":
        return _table(place)
    if place.suffix == ".json":
        return _summary(place)
    raise InputError("neither a folder nor .json nor .csv", str(place), "give a summary.json or a results.csv")


def without_variants(of: ResultSet) -> ResultSet:
    """The grid alone: a table has nothing else."""
    return dataclasses.replace(of, cells={name: cell for name, cell in of.cells.items() if "+" not in name[1]})


def _summary(path: Path) -> ResultSet:
    summary = Summary.read(path, f"{AGAIN}; {OTHER}")
    winners = {(pair.task, frozenset((pair.a, pair.b))): pair.winner for pair in summary.pairs}
    return ResultSet(
        path, _named((_cell(cell, path) for cell in (*summary.cells, *summary.variants)), path), winners, summary
    )


def _cell(cell: Cell, path: Path) -> Entry:
    if not cell.runs:
        raise DataError(f"the cell {cell.task} {cell.evidence.setting.label} has no runs", str(path), AGAIN)
    runs = [
        Run(
            seed=run.seed,
            status=run.status,
            score=score,
            key=run.key,
            weights=run.weights_sha256,
            data=run.data_digest,
            rate=run.learning_rate,
            scorer=run.scorer,
        )
        for run, score in zip(cell.runs, cell.scores, strict=True)
    ]
    first, setting = cell.runs[0], cell.evidence.setting
    seeds = {run.seed: run for run in runs}
    versions = first.versions.plain()
    return Entry(cell.task, setting.label, first.metric, first.direction, seeds, cell.rank, setting, versions)


def _named(cells: Iterable[Entry], path: Path) -> dict[Name, Entry]:
    found: dict[Name, Entry] = {}
    for cell in cells:
        if cell.name in found:
            raise DataError(f"the cell {cell.task} {cell.label} is there twice", str(path), AGAIN)
        found[cell.name] = cell
    return found


# ---------------------------------------------------------------- tables


def _table(path: Path) -> ResultSet:
    """Ranks and winners are not in a table: they are made again by the rules of the page, without its gates."""
    runs: dict[Name, dict[int, Run]] = {}
    scored: dict[Name, tuple[str, Literal["max", "min"]]] = {}
    for number, row in _rows(path):
        name, run = (row["task"], row["arch"]), _run(row, f"{path}, line {number}")
        own = runs.setdefault(name, {})
        if run.seed in own:
            raise DataError(f"the run {' '.join(name)} seed {run.seed} is there twice", f"{path}, line {number}", AGAIN)
        own[run.seed] = run
        direction: Literal["max", "min"] = "max" if row["direction"] == "max" else "min"
        if scored.setdefault(name, (row["metric"], direction)) != (row["metric"], direction):
            raise DataError(f"the runs of {' '.join(name)} have different metrics", f"{path}, line {number}", AGAIN)
    cells = {name: Entry(*name, *scored[name], own, 0, None, {}) for name, own in runs.items()}
    ranks = {name: rank for task in dict.fromkeys(t for t, _ in cells) for name, rank in _ranks(task, cells).items()}
    return ResultSet(
        path,
        {name: dataclasses.replace(cell, rank=ranks[name]) for name, cell in cells.items()},
        _winners(cells),
        None,
    )


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers. DataError: a column is missing, or a row has other columns than the head."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not a text in UTF-8 ({error.reason})", str(path), AGAIN) from None
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        head = next(lines, [])
        missing = [name for name in (*NEEDED, "data_digest") if name not in head]
        if missing:
            raise DataError(f"no column '{missing[0]}': not a table of runs", str(path), "give a results.csv")
        found = []
        for values in lines:
            if len(values) != len(head):
                what = f"{len(values)} values where the head has {len(head)} columns: cut short?"
                raise DataError(what, f"{path}, line {lines.line_num}", AGAIN)
            found.append((lines.line_num, dict(zip(head, values, strict=True))))
    except csv.Error as error:
        raise DataError(f"not a csv file ({error})", f"{path}, line {lines.line_num}", AGAIN) from None
    if not found:
        raise DataError("a table without runs", str(path), AGAIN)
    return found


def _run(row: Mapping[str, str], where: str) -> Run:
    """One row. DataError: a value that no run has."""
    digests = [row["key"], row["data_digest"], *([row["weights_sha256"]] if row["weights_sha256"] else [])]
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests) or row["direction"] not in ("max", "min"):
        raise DataError("a digest, or the direction, is not whole: cut short?", where, AGAIN)
    try:
        seed, rate = int(row["seed"]), float(row["learning_rate"])
        score = float(row["score"]) if row["status"] == "ok" else None
    except ValueError as error:
        raise DataError(f"not a number ({error})", where, AGAIN) from None
    if score is not None and not math.isfinite(score):
        raise DataError("a score is not finite", where, AGAIN)
    return Run(
        seed=seed,
        status=row["status"],
        score=score,
        key=row["key"],
        weights=row["weights_sha256"],
        data=row["data_digest"],
        rate=rate,
        scorer=row.get("scorer", ""),
    )


def worst(cells: Iterable[Entry], trivial: Iterable[float] = ()) -> float | None:
    """The worst score seen of these cells' runs (all of one metric) and trivial controls; None: no run finished."""
    known = list(cells)
    seen = [score for cell in known for score in cell.finished]
    if not seen:
        return None
    return (min if known[0].direction == "max" else max)([*seen, *trivial])


def counted(cell: Entry, failed: float | None) -> dict[int, float]:
    """By seed, the scores with those of failed runs at `failed`; empty where none finished."""
    if failed is None or not cell.finished:
        return {}
    return {seed: failed if run.score is None else run.score for seed, run in cell.runs.items()}


def _ranks(task: str, cells: Mapping[Name, Entry]) -> dict[Name, int]:
    """By mean, failed runs counting as the worst seen; cells without a finished run come last."""
    own = [cell for cell in cells.values() if cell.task == task]
    failed = worst(own)

    def place(cell: Entry) -> float:
        scores = list(counted(cell, failed).values())
        sign = -1.0 if cell.direction == "max" else 1.0
        return sign * float(np.mean(scores)) if scores else math.inf

    return {cell.name: rank for rank, cell in enumerate(sorted(own, key=place), 1)}


def _winners(cells: Mapping[Name, Entry]) -> dict[tuple[str, frozenset[str]], str | None]:
    """As the page decides: exact tests over seeds, Holm's correction over all pairs."""

    def ranked(cell: Entry) -> list[float]:
        sign = 1.0 if cell.direction == "max" else -1.0
        return [-math.inf if run.score is None else sign * run.score for run in cell.runs.values()]

    pairs = [(a, b) for a, b in combinations(cells.values(), 2) if a.task == b.task]
    adjusted = statistics.holm([statistics.exact_p(ranked(a), ranked(b)) for a, b in pairs])
    found: dict[tuple[str, frozenset[str]], str | None] = {}
    for (a, b), p in zip(pairs, adjusted, strict=True):
        better = a if statistics.improvement(ranked(a), ranked(b)) > 0.5 else b
        found[a.task, frozenset((a.label, b.label))] = better.label if p <= statistics.LEVEL else None
    return found
