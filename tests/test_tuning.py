"""What tuning tried, what it cost and what more of it would bring, from records made by hand."""

from __future__ import annotations

from itertools import product
from statistics import fmean
from typing import Any

import planted
import pytest

from seqbench.analyse import tuning
from seqbench.analyse.conclusions import Search
from seqbench.analyse.summary import Cell, Evidence, TaskSummary
from seqbench.measurements import CellTime
from seqbench.records import Setting, Spec, Trial, Tuned, TuneSettings

RATES = (1e-3, 1e-2, 1e-1)
STEPS = 200
Scores = dict[float, list[float | None]]
"""By rate, the validation score of each tuning seed; None: the trial diverged."""


def task(**changes: Any) -> TaskSummary:
    fields = {"inputs": "values", "input_size": 2, "outputs": "values", "output_size": 1, "length": 20}
    spec = Spec(**fields | {"metric": "mse", "direction": "min"} | changes)
    return TaskSummary.model_construct(id="adding-20", spec=spec)


def cell(scores: Scores, arch: str = "gru", **changes: Any) -> Cell:
    trials = tuple(
        Trial(learning_rate=rate, seed=1000 + place, status="ok" if score is not None else "diverged", valid=score)
        for rate, of in scores.items()
        for place, score in enumerate(of)
    )
    fields: dict[str, Any] = {"learning_rate": 1e-2, "border": False, "trials": trials} | changes
    tuned = Tuned(key="0" * 64, task="adding-20", arch=arch, **fields)
    setting = Setting.model_construct(tune=TuneSettings(learning_rates=RATES, steps=STEPS))
    return Cell.model_construct(
        evidence=Evidence.model_construct(task="adding-20", arch=arch, setting=setting, tuned=tuned)
    )


def search(scores: Scores, of: TaskSummary | None = None, **changes: Any) -> Search:
    (found,) = tuning.searches([of or task()], [cell(scores, **changes)], [planted.pace("adding-20", ("gru",))])
    return found


def test_rates_come_in_order_each_with_its_mean_over_tuning_seeds() -> None:
    found = search({1e-1: [0.5, 0.7], 1e-3: [0.3, 0.5], 1e-2: [0.1, 0.3]})
    assert (found.task, found.arch, found.rates) == ("adding-20", "gru", RATES)
    assert found.scores == pytest.approx((0.4, 0.2, 0.6))


def test_the_cost_is_that_of_all_trials_at_the_pace_of_the_cell() -> None:
    found = search({rate: [0.1, 0.2] for rate in RATES})
    assert found.steps == 6 * STEPS
    assert found.seconds == pytest.approx(6 * STEPS * 0.01)  # planted: 10 ms a step


def test_without_a_pace_the_seconds_are_not_known() -> None:
    scores: Scores = {rate: [0.1] for rate in RATES}
    out = planted.pace("adding-20", (), cells=(CellTime(arch="gru", step=None, item=None, status="out_of_memory"),))
    for paces in ([], [out], [planted.pace("adding-50", ("gru",))], [planted.pace("adding-20", ("rnn",))]):
        (found,) = tuning.searches([task()], [cell(scores)], paces)
        assert (found.steps, found.seconds) == (3 * STEPS, None)


@pytest.mark.parametrize(("direction", "best"), [("max", max), ("min", min)])
def test_the_expected_best_is_the_mean_over_all_draws_of_so_many_rates(direction: Any, best: Any) -> None:
    scores = (0.4, 0.25, 0.9)
    found = search(dict(zip(RATES, ([s] for s in scores), strict=True)), task(direction=direction))
    for trials, expected in enumerate(found.expected, 1):
        assert expected == pytest.approx(fmean(map(best, product(scores, repeat=trials))))
    assert len(found.expected) == 3


def test_better_is_by_the_score_that_rates_are_chosen_by() -> None:
    chosen_by_loss = task(metric="accuracy", direction="max", selection="cross_entropy", outputs="classes")
    found = search({1e-3: [3.0], 1e-2: [1.0]}, chosen_by_loss)
    assert found.expected == pytest.approx((2.0, 1.5))  # less is better


@pytest.mark.parametrize("valid", [None, 0.01])
def test_a_rate_with_a_failed_trial_has_no_score_and_counts_as_the_worst(valid: float | None) -> None:
    of = cell({1e-3: [0.4, 0.4], 1e-2: [0.2, 0.2], 1e-1: [0.1, None]})
    trials = (*of.evidence.tuned.trials[:-1], of.evidence.tuned.trials[-1].model_copy(update={"valid": valid}))
    tuned = of.evidence.tuned.model_copy(update={"trials": trials})
    of = of.model_copy(update={"evidence": of.evidence.model_copy(update={"tuned": tuned})})
    (found,) = tuning.searches([task()], [of], [])
    assert found.scores == pytest.approx((0.4, 0.2, None))
    assert found.expected[0] == pytest.approx((0.4 + 0.2 + 0.4) / 3)


def test_where_every_trial_failed_nothing_is_expected() -> None:
    found = search({rate: [None] for rate in RATES})
    assert (found.scores, found.expected) == ((None,) * 3, (None,) * 3)


def test_one_rate_leaves_nothing_to_expect_of_more() -> None:
    found = search({1e-2: [0.3]})
    assert (found.scores, found.expected, found.border) == ((0.3,), (pytest.approx(0.3),), False)


def test_an_optimum_on_the_border_is_flagged_and_cells_keep_their_order() -> None:
    cells = [cell({rate: [rate] for rate in RATES}, arch, border=arch == "lstm") for arch in ("rnn", "lstm", "gru")]
    found = tuning.searches([task()], cells, [])
    assert [(one.arch, one.border) for one in found] == [("rnn", False), ("lstm", True), ("gru", False)]
    assert tuning.searches([task()], [], []) == ()
