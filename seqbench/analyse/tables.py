"""The summary, flat: results.csv, metrics and curves for `dvc`. No clock, no host, no path."""

from __future__ import annotations

from typing import Any

import pandas as pd

from seqbench.analyse.summary import Summary
from seqbench.records import Result

COLUMNS = [
    "task",
    "arch",
    "seed",
    "status",
    "metric",
    "direction",
    "score",
    "valid_score",
    "steps",
    "best_step",
    "examples",
    "learning_rate",
    "width",
    "parameters_embedding",
    "parameters_frontend",
    "parameters_core",
    "parameters_head",
    "state_bytes",
    "key",
    "weights_sha256",
    "data_digest",
]


def table(summary: Summary) -> pd.DataFrame:
    """One row per run, sorted; equal results give equal bytes. Test metrics are columns `test_<name>`."""
    rows = [_row(result) for cell in summary.cells for result in cell.runs]
    tests = sorted({name for row in rows for name in row if name.startswith("test_")})
    frame = pd.DataFrame(rows, columns=[*COLUMNS[:8], *tests, *COLUMNS[8:]])
    return frame.sort_values(["task", "arch", "seed"], ignore_index=True)


def _row(result: Result) -> dict[str, Any]:
    done = result.status == "ok"
    return {
        **{name: getattr(result, name) for name in COLUMNS if hasattr(result, name)},
        "score": result.score if done else None,
        "valid_score": result.valid.get(result.metric),
        **{f"parameters_{part}": count for part, count in result.parameters.plain().items()},
        **({f"test_{name}": value for name, value in result.test.items()} if done else {}),
    }


def metrics(summary: Summary) -> dict[str, dict[str, float]]:
    """Mean score by task and architecture, for `dvc metrics show`; cells without a finished seed are absent."""
    found: dict[str, dict[str, float]] = {}
    for cell in summary.cells:
        if cell.mean is not None:
            found.setdefault(cell.task, {})[cell.arch] = cell.mean
    return found


def curves(summary: Summary) -> pd.DataFrame:
    """Learning curves for `dvc plots`: one row per look at the validation split, sorted."""
    rows = [
        (result.task, result.arch, result.seed, point.step, point.valid, point.loss)
        for cell in summary.cells
        for result in cell.runs
        for point in result.curve
    ]
    frame = pd.DataFrame(rows, columns=["task", "arch", "seed", "step", "valid", "loss"])
    return frame.sort_values(["task", "arch", "seed", "step"], ignore_index=True)
