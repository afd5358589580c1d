"""The summary, flat: results.csv, metrics and curves for `dvc`. No clock, no host, no path.

Scores on validation are those that epochs and learning rates were chosen by. They need not be the
score that ranks: `valid_metric` and `valid_direction` say which they are.
"""

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
    "valid_metric",
    "valid_direction",
    "steps",
    "best_step",
    "examples",
    "learning_rate",
    "width",
    "parameters_embedding",
    "parameters_encoder",
    "parameters_frontend",
    "parameters_core",
    "parameters_head",
    "state_bytes",
    "scorer",
    "key",
    "weights_sha256",
    "data_digest",
]


def table(summary: Summary) -> pd.DataFrame:
    """One row per run, sorted; equal results give equal bytes.

    `score` is the test metric that ranks, named by `metric`. Every test metric, that one too, has a column
    `test_<name>`: `test_bleu`, `test_accuracy`; it is empty where the task has no such metric, or the run failed.
    """
    watched = {task.id: task.spec.watched for task in summary.tasks}
    rows = [_row(result, *watched[result.task]) for cell in summary.cells for result in cell.runs]
    tests = sorted({name for row in rows for name in row if name.startswith("test_")})
    place = COLUMNS.index("steps")
    frame = pd.DataFrame(rows, columns=[*COLUMNS[:place], *tests, *COLUMNS[place:]])
    return frame.sort_values(["task", "arch", "seed"], ignore_index=True)


def _row(result: Result, watched: str, direction: str) -> dict[str, Any]:
    done = result.status == "ok"
    return {
        **{name: getattr(result, name) for name in COLUMNS if hasattr(result, name)},
        "score": result.score if done else None,
        "valid_score": result.valid.get(watched),
        "valid_metric": watched,
        "valid_direction": direction,
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
    """Learning curves for `dvc plots`: one row per look at the validation split, sorted.

    `valid` is the score named by `valid_metric`, `loss` the mean training loss since the look before.
    """
    watched = {task.id: task.spec.watched for task in summary.tasks}
    rows = [
        (result.task, result.arch, result.seed, point.step, point.valid, point.loss, *watched[result.task])
        for cell in summary.cells
        for result in cell.runs
        for point in result.curve
    ]
    columns = ["task", "arch", "seed", "step", "valid", "loss", "valid_metric", "valid_direction"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(["task", "arch", "seed", "step"], ignore_index=True)
