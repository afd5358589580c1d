"""The ledger: equal within a declared margin is reproduced, unequal is not, and the rest is said to be neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from claimed import about, cells, evidence, known, task
from small import Real, write

from seqbench import config, tasks, variants
from seqbench.analyse import ledger
from seqbench.analyse.conclusions import Reproduction
from seqbench.analyse.grounds import Known
from seqbench.analyse.summary import Cell
from seqbench.errors import InputError
from seqbench.records import Control
from seqbench.report import claims as page

ROOT = Path(__file__).parent.parent
RUN: dict[str, Any] = {
    "source": "Somebody 2018, Table 1",
    "setting": "as published",
    "metric": "mse",
    "value": 0.5,
    "margin": 0.02,
    "cost": "an hour of one CPU core",
    "run": {"task": "adding", "data": {"length": 300}, "architecture": "lstm", "parameters": 6000},
}
CONTROL: dict[str, Any] = {
    "source": "Somebody 2023, Table 2",
    "setting": "as published",
    "metric": "mse",
    "value": 1.32,
    "digits": 3,
    "cost": "a minute",
    "control": {"task": "etth1", "data": {"horizon": 96}, "name": "repeat last value"},
}
Check = Callable[..., Reproduction]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ledger.Row, ...]]:
    """Rows of a file of that content."""

    def read(**content: Mapping[str, Any]) -> tuple[ledger.Row, ...]:
        path = tmp_path / "published.yaml"
        path.write_text(yaml.safe_dump(content))
        monkeypatch.setattr(variants, "ROWS", path)
        return ledger.read()

    return read


def remade(row: ledger.Row, scores: list[float | None], label: str = "lstm+published", **changes: Any) -> Known:
    """Runs of the row's own cell with these scores."""
    one = task(row.data.id)
    (found,) = cells(one, evidence(one, label, scores))
    setting = variants.remade()[row.name].model_copy(update={"variant": label.partition("+")[2]} | changes)
    cell: Cell = found.model_copy(update={"evidence": found.evidence.model_copy(update={"setting": setting})})
    return known([one], [cell])


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize(
    ("scores", "verdict", "words"),
    [
        (about(0.505, 0.001), "reproduced", "0.505 [0.503, 0.507] over 8 seeds, published 0.5, margin 0.02"),
        (about(0.6, 0.001), "not reproduced", "0.6 [0.598, 0.602] over 8 seeds"),
        (about(0.515, 0.01), "undecided", "the interval spans the margin: more seeds would tell"),
        (about(0.5, 0.03), "undecided", "more seeds would tell"),
        ([0.5], "undecided", "one seed gives no interval"),
        ([0.7, 0.001, 0.002], "undecided", "0.234 [0, 0.914] over 3 seeds (0.001, 0.002, 0.7), published 0.5"),
        ([None, None, *about(0.5, 0.001)], "undecided", "2 of 10 runs did not finish (2 diverged)"),
    ],
)
def test_a_planted_mean_is_reproduced_or_not_or_not_known(
    scores: list[float | None], verdict: str, words: str, rows: Callable[..., tuple[ledger.Row, ...]]
) -> None:
    (row,) = rows(somebody=RUN)
    (found,) = ledger.check((row,), remade(row, scores))
    assert found.verdict == verdict
    assert words in found.text
    assert (found.published, found.margin, found.metric) == (0.5, 0.02, "mse")


@pytest.mark.parametrize(
    ("changes", "direction", "words"),
    [
        ({"value": 0.7}, "min", "Not reproduced: better by 0.2; 0.5 ["),
        ({"value": 0.4}, "min", "Not reproduced: worse by 0.1; 0.5 ["),
        ({"value": 0.4}, "max", "Not reproduced: better by 0.1; 0.5 ["),
        ({"value": 0.7, "metric": "mse_of_a_kind"}, "min", "Not reproduced: better by 0.2; 0.5 ["),
        ({"value": 0.7, "metric": "cross_entropy"}, "max", "Not reproduced: better by 0.2; 0.5 ["),
        ({"value": 0.7, "metric": "other"}, "min", "Not reproduced: off by 0.2; 0.5 ["),
    ],
)
def test_what_is_not_reproduced_is_better_or_worse(
    changes: dict[str, Any], direction: str, words: str, rows: Callable[..., tuple[ledger.Row, ...]]
) -> None:
    (row,) = rows(somebody=RUN | changes)
    scores = about(0.5, 0.001)
    of = remade(row, scores)
    (cell,) = of.variants
    results = tuple(
        run.model_copy(update={"test": run.test | {row.published.metric: score}})
        for run, score in zip(cell.runs, scores, strict=True)
    )
    runs = cell.model_copy(update={"evidence": cell.evidence.model_copy(update={"results": results})})
    one = of.tasks[0].model_copy(update={"spec": of.tasks[0].spec.model_copy(update={"direction": direction})})
    (found,) = ledger.check((row,), of._replace(tasks=[one], variants=[runs]))
    assert found.text.startswith(words)


def test_a_number_that_is_equal_at_chance_is_said_to_be_so(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    (row,) = rows(somebody=RUN | {"value": 0.9})  # the trivial control of every planted task
    (found,) = ledger.check((row,), remade(row, about(0.895, 0.001)))
    assert found.text.startswith("Reproduced, both at chance: 0.895 [")
    (row,) = rows(somebody=RUN)
    assert ledger.check((row,), remade(row, about(0.5, 0.001)))[0].text.startswith("Reproduced: 0.5 [")


def test_no_difference_seen_is_no_reproduction(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    """Wide noise around the published value: a t test sees nothing, but that is not equal."""
    (row,) = rows(somebody=RUN)
    (found,) = ledger.check((row,), remade(row, [0.1, 0.9, 0.3, 0.7]))
    assert found.verdict == "undecided"
    assert found.interval is not None
    assert found.interval[0] < 0.5 < found.interval[1]


def test_planted_values_on_the_edge_of_the_margin_are_rarely_called_equal(
    rows: Callable[..., tuple[ledger.Row, ...]],
) -> None:
    """The test's error: a true mean as far off as the margin is called equal in 5 % of cases at most."""
    (row,) = rows(somebody=RUN)
    random = np.random.default_rng(3)
    draws = [random.normal(0.52, 0.01, 5).tolist() for _ in range(200)]
    found = [ledger.check((row,), remade(row, draw))[0].verdict for draw in draws]
    assert found.count("reproduced") <= 18  # 10 expected, 3 deviations
    assert found.count("undecided") > 100


def test_the_metric_is_brought_to_the_published_unit(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    (row,) = rows(somebody=RUN | {"factor": 100, "value": 50.5, "margin": 1.0, "unit": "%"})
    (found,) = ledger.check((row,), remade(row, about(0.505, 0.001)))
    assert (found.verdict, found.metric) == ("reproduced", "mse (%)")
    assert found.found == pytest.approx(50.5)


def test_a_row_that_was_not_run_says_what_it_costs(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    (row,) = rows(somebody=RUN)
    (found,) = ledger.check((row,), Known([], []))
    assert found.verdict == "not run here"
    assert found.text == "Not run here: it takes an hour of one CPU core."


def test_only_the_cell_of_the_row_counts_whatever_it_is_called(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    (row,) = rows(somebody=RUN)
    scores = about(0.505, 0.001)
    for label in ("lstm+published_2", "lstm"):
        assert ledger.check((row,), remade(row, scores, label))[0].verdict == "reproduced"
    other = ledger.check((row,), remade(row, scores, parameters=7000))
    assert other[0].verdict == "not run here"


def test_a_metric_that_no_run_has_is_said(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    (row,) = rows(somebody=RUN | {"metric": "loss"})
    (found,) = ledger.check((row,), remade(row, about(0.5)))
    assert found.verdict == "undecided"
    assert "8 of 8 runs have no test metric loss" in found.text


# ---------------------------------------------------------------- controls


def controlled(**metrics: float) -> Known:
    control = Control(name="repeat last value", kind="trivial", metrics=metrics)
    one = task("etth1-96")
    return known([one.model_copy(update={"controls": (control,)})], [])


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.3204, "reproduced"), (1.3196, "reproduced"), (1.3206, "not reproduced"), (1.3194, "not reproduced")],
)
def test_a_control_must_have_the_published_digits(
    value: float, verdict: str, rows: Callable[..., tuple[ledger.Row, ...]]
) -> None:
    (found,) = ledger.check(rows(somebody=CONTROL), controlled(mse=value))
    assert found.verdict == verdict
    assert f"{value:.3f}, published 1.320" in found.text
    assert page.found(found) == f"{value:.3f}", "as many digits as were published"
    assert found.margin == pytest.approx(0.0005)


def test_a_control_or_metric_that_is_not_there_is_said(rows: Callable[..., tuple[ledger.Row, ...]]) -> None:
    (found,) = ledger.check(rows(somebody=CONTROL), controlled(mae=1.0))
    assert "the control 'repeat last value' of etth1-96 has no metric mse" in found.text
    (found,) = ledger.check(rows(somebody=CONTROL), known([task("etth1-96")], []))
    assert "etth1-96 has no control 'repeat last value'" in found.text
    (found,) = ledger.check(rows(somebody=CONTROL), Known([], []))
    assert found.text == "Not run here: it takes a minute."
    assert found.verdict == "not run here"


@pytest.mark.mirror
@pytest.mark.parametrize("horizon", [96, 192, 336, 720])
def test_the_last_value_again_has_the_published_digits_on_real_data(
    horizon: int, real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the windows that were published; on all of them it has other digits at 96, 336 and 720."""
    monkeypatch.chdir(ROOT)
    job = tasks.build("etth1", {"horizon": horizon})
    data = write("etth1", {"horizon": horizon}, real("etth1"), tmp_path)
    x, y = (data.split("test")[part] for part in "xy")
    whole = len(x) // 32 * 32
    scored = [job.score(np.tile(x[:n, -1], horizon), y[:n], data.spec)["mse"] for n in (whole, len(x))]
    one = task(f"etth1-{horizon}")
    rows = [row for row in ledger.read() if row.data.id == one.id]
    verdicts = []
    for value in scored:
        control = Control(name="repeat last value", kind="trivial", metrics={"mse_whole_batches": value})
        (found,) = ledger.check(rows, known([one.model_copy(update={"controls": (control,)})], []))
        verdicts.append(found.verdict)
    assert verdicts == ["reproduced", "reproduced" if horizon == 192 else "not reproduced"]


# ---------------------------------------------------------------- the file


def test_every_published_row_can_be_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = ledger.read()
    assert {row.name.split("_")[0] for row in found} == {"bai", "cooijmans", "zeng", "dai"}
    assert sum(row.published.run is not None for row in found) == 21
    for row in found:
        assert "20" in row.published.source
        assert row.published.cost
        assert (row.published.margin is None) == (row.published.run is None)
        metrics = {"mse", "accuracy", "nll", "cross_entropy", "mse_whole_batches"}
        assert row.published.metric in metrics
    assert {row.verdict for row in ledger.check(found, Known([], []))} == {"not run here"}


def test_every_published_row_can_stand_beside_the_full_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its data are those of the preset, where both have the task id: else a plan with both would be refused."""
    monkeypatch.chdir(ROOT)
    names = [row.name for row in ledger.read()]
    plan = config.load({"preset": "full", "published": {"full": names, "quick": []}})
    assert set(plan.published) == set(names)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (RUN | {"margn": 1}, ("unknown key 'margn'", "did you mean 'margin'?")),
        ({**RUN, "run": RUN["run"] | {"data": {"lenght": 9}}}, ("unknown key 'lenght'", "did you mean 'length'?")),
        ({**RUN, "run": RUN["run"] | {"parametres": 1}}, ("unknown key 'parametres'", "did you mean 'parameters'?")),
        ({**RUN, "run": RUN["run"] | {"task": "ading"}}, ("'ading'", "did you mean 'adding'?")),
        ({**RUN, "margin": 0.0}, ("a run needs a margin", "margin: 0.01")),
        ({key: value for key, value in RUN.items() if key != "run"}, ("one of 'run' and 'control'", "made again")),
        (RUN | {"control": CONTROL["control"]}, ("one of 'run' and 'control'", "made again")),
        ({key: value for key, value in CONTROL.items() if key != "digits"}, ("published decimals", "digits: 3")),
    ],
)
def test_a_bad_row_is_three_lines(
    row: dict[str, Any], says: tuple[str, str], rows: Callable[..., tuple[ledger.Row, ...]]
) -> None:
    with pytest.raises(InputError) as error:
        rows(somebody=row)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "somebody" in lines[1] or "tasks" in lines[1]
    assert all(word in str(error.value) for word in says)
