"""Certificates: what tasks can tell is found where it was planted, and nowhere else."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from seqbench.analyse.certificates import certificates, contexts, discrimination, rescaled
from seqbench.analyse.conclusions import Certificate
from seqbench.analyse.summary import Cell, TaskSummary
from seqbench.measurements import Allowed, Reaches
from seqbench.records import Control, Spec

SEEDS = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""What seeds add to a score."""


def task(
    id: str = "a", *, metric: str = "accuracy", direction: str = "max", trivial: float = 0.2, **changes: Any
) -> TaskSummary:
    """With the ceiling 1 unless `ceiling` says otherwise, and the strong control that `strong` gives."""
    strong = changes.pop("strong", None)
    of = {"inputs": "tokens", "input_size": 8, "outputs": "classes", "output_size": 8, "length": 64, "ceiling": 1.0}
    controls = [Control(name="guess", kind="trivial", metrics={metric: trivial})]
    if strong is not None:
        controls.append(Control(name="linear", kind="strong", metrics={metric: strong}))
    spec = Spec(**(of | {"metric": metric, "direction": direction} | changes))
    return TaskSummary.model_construct(id=id, name=id.split("-")[0], spec=spec, controls=tuple(controls))


def cell(task: str, arch: str, scores: Sequence[float | None], refused: str = "", worst: float = 0.2) -> Cell:
    """As analysis makes it; `worst` is what a failed seed counts as."""
    finished = any(score is not None for score in scores)
    counted = tuple(worst if score is None else score for score in scores) if finished else ()
    setting = types.SimpleNamespace(task=task.split("-")[0])
    return Cell.model_construct(
        evidence=types.SimpleNamespace(task=task, arch=arch, setting=setting),
        scores=tuple(scores),
        counted=counted,
        mean=float(np.mean(counted)) if finished else None,
        refused=refused,
        rank=0 if refused else 1,
    )


def around(means: Mapping[str, float], id: str = "a") -> list[Cell]:
    """Cells with those means, and the spread of `SEEDS`."""
    return [cell(id, arch, [mean + seed for seed in SEEDS]) for arch, mean in means.items()]


def one(of: TaskSummary, cells: Sequence[Cell], seen: Any = None) -> Certificate:
    return certificates([of], cells, {of.id: seen} if seen else {})[0]


APART = {"rnn": 0.4, "lstm": 0.6, "gru": 0.8}


# ---------------------------------------------------------------- scale


def test_a_task_with_planted_differences_counts_and_has_their_spread() -> None:
    of = one(task(), around(APART))
    assert (of.grey, of.discriminates, of.saturated) == ("", True, False)
    assert (of.trivial, of.ceiling, of.ceiling_of) == (0.2, 1.0, "the task: best known or possible score")
    assert of.between == pytest.approx(0.2 / 0.8)
    assert of.within == pytest.approx(np.std(SEEDS, ddof=1) / 0.8)


def test_scores_are_rescaled_also_where_less_is_better() -> None:
    of = task(metric="mse", direction="min", trivial=0.9, ceiling=0.1)
    cells = [cell("a", "rnn", [0.9, 0.5]), cell("a", "lstm", [0.1, 1.7])]
    found = rescaled(one(of, cells), cells)
    assert found["rnn"] == pytest.approx([0.0, 0.5])
    assert found["lstm"] == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize(
    ("strong", "ceiling", "words"),
    [(0.9, 0.9, "the strong control linear"), (0.7, 0.8, "the mean of gru"), (None, 0.8, "the mean of gru")],
)
def test_without_a_known_ceiling_the_best_seen_is_taken_and_named(strong: Any, ceiling: float, words: str) -> None:
    of = one(task(ceiling=None, strong=strong), around(APART))
    assert of.ceiling == pytest.approx(ceiling)
    assert of.ceiling_of == f"best seen: {words}"


def test_an_architecture_that_fails_a_gate_sets_no_ceiling_and_is_not_compared() -> None:
    cells = [*around(APART), cell("a", "cheat", [0.99] * 5, refused="sees the future")]
    of = one(task(ceiling=None), cells)
    assert of.ceiling == pytest.approx(0.8)
    assert list(rescaled(of, cells)) == ["rnn", "lstm", "gru"]


def test_without_anything_better_than_the_trivial_control_there_is_no_scale() -> None:
    of = one(task(trivial=0.9, ceiling=None), around(APART))
    assert of.ceiling is None
    assert of.grey == "nothing seen beats the trivial control guess: there is no scale"
    assert rescaled(of, around(APART)) == {}
    known = one(task(trivial=1.0), around(APART))
    assert known.grey == "the ceiling is not beyond the trivial control guess: there is no scale"


def test_failed_seeds_count_as_the_worst_and_a_cell_without_a_finished_one_too() -> None:
    cells = [
        cell("a", "rnn", [None, 0.6], worst=0.12),
        cell("a", "lstm", [None, None]),
        cell("a", "gru", [1.0, 0.6]),
    ]
    found = rescaled(one(task(), cells), cells)
    assert found["rnn"] == pytest.approx([-0.1, 0.5])
    assert found["lstm"] == pytest.approx([-0.1, -0.1])


# ---------------------------------------------------------------- does it discriminate


def test_planted_noise_is_called_a_difference_about_as_often_as_it_should() -> None:
    generator = np.random.default_rng(3)
    p = [discrimination(list(generator.normal(size=(4, 5))))[0] for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_discrimination_is_the_permutation_test_of_scipys_kruskal() -> None:
    groups = [np.array(g) for g in ([0.1, 0.2, 0.3], [0.25, 0.5, 0.6], [0.15, 0.7, 0.3])]

    def statistic(*samples: Any) -> float:
        return float(stats.kruskal(*samples).statistic)

    exact = stats.permutation_test(
        groups, statistic, permutation_type="independent", alternative="greater", vectorized=False, n_resamples=2_000
    )
    assert len(exact.null_distribution) == 1680
    assert discrimination(groups)[0] == pytest.approx(exact.pvalue, abs=0.015)


def test_discrimination_of_two_is_the_exact_mann_whitney() -> None:
    a, b = np.array([1.0, 5.0, 6.0, 9.0]), np.array([2.0, 3.0, 7.0, 8.5])
    p, smallest = discrimination([a, b])
    assert p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)
    assert smallest == pytest.approx(2 / 70)


def test_the_smallest_attainable_p_is_that_of_complete_separation() -> None:
    p, smallest = discrimination([np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0, 6.0])])
    assert smallest == pytest.approx(6 / 90)
    assert p == pytest.approx(smallest, abs=0.01)
    assert discrimination([np.array([1.0, 2.0])]) == (1.0, 1.0)


def test_noise_makes_a_task_grey_with_its_numbers() -> None:
    scores = {"rnn": [0.5, 0.6, 0.4, 0.55, 0.45], "lstm": [0.52, 0.58, 0.42, 0.5, 0.47]}
    of = one(task(), [cell("a", arch, own) for arch, own in scores.items()])
    assert not of.discriminates
    assert of.grey.startswith("no clear difference between architectures: their means spread by ")
    assert "Kruskal-Wallis over seeds, by permutation: p = " in of.grey


def test_too_few_seeds_are_said_with_the_smallest_p() -> None:
    cells = [cell("a", arch, [mean, mean + 0.01]) for arch, mean in APART.items()]
    assert one(task(), cells).grey == (
        "not testable with 2 seeds: the smallest attainable p of a difference between 3 architectures is 0.0667"
    )
    single = one(task(), [cell("a", arch, [mean]) for arch, mean in APART.items()])
    assert single.grey.startswith("not testable with 1 seed: ")
    assert (single.within, single.discriminates) == (0.0, False)


def test_a_task_that_all_solve_is_saturated_even_if_seeds_tell_them_apart() -> None:
    cells = [cell("a", "rnn", [0.993] * 5), cell("a", "lstm", [0.999] * 5), cell("a", "gru", [1.0] * 5)]
    of = one(task(), cells)
    assert (of.saturated, of.discriminates) == (True, True)
    assert of.grey == "saturated: rnn, lstm and gru lie within a hundredth of the ceiling"
    assert not one(task(), [*cells[:2], cell("a", "gru", [0.98] * 5)]).saturated


def test_a_task_that_nobody_learned_does_not_count() -> None:
    of = one(task(), around({"rnn": 0.02, "lstm": 0.1, "gru": 0.17}))
    assert of.discriminates
    assert of.grey == "no architecture's mean is better than the trivial control guess"


def test_one_architecture_no_finished_run_and_refused_cells_work() -> None:
    alone = one(task(), around({"gru": 0.6}))
    assert (alone.grey, alone.discriminates, alone.between) == ("", False, 0.0)
    failed = one(task(), [cell("a", arch, [None] * 5) for arch in APART])
    assert failed.grey == "no run finished"
    refused = [cell("a", arch, [0.5] * 5, refused="sees the future") for arch in APART]
    assert one(task(), refused).grey == "no architecture is ranked on it"
    assert one(task(), [*around({"gru": 0.6}), *refused[:1]]).grey == "only gru is ranked on it"
    assert certificates([], [], {}) == ()


# ---------------------------------------------------------------- range


def test_what_is_needed_is_where_the_best_holds_95_percent_from_there_on() -> None:
    seen = {
        "rnn": {1: [0.3, 0.3], 4: [0.3, 0.3], 16: [0.3, 0.3], 64: [0.4, 0.4]},
        "gru": {64: [0.8, 0.9], 16: [0.81, 0.83], 4: [0.2, 0.4], 1: [0.84, 0.84], 32: [0.1]},
    }
    of = one(task(), around(APART), seen)
    assert of.contexts == (1, 4, 16, 64)
    assert of.allowed["gru"] == pytest.approx((0.84, 0.3, 0.82, 0.85))
    assert of.needs == 16  # 0.62 of 0.65; one step holds by chance, four do not
    seen["gru"][16] = [0.81, 0.81]
    assert one(task(), around(APART), seen).needs == 64


def test_range_is_not_known_without_measurements_or_where_the_best_is_no_better_than_the_control() -> None:
    bare = one(task(), around(APART))
    assert (bare.contexts, bare.allowed, bare.needs) == ((), {}, None)
    of = one(task(), around(APART), {"gru": {1: [0.1], 64: [0.2]}})
    assert (of.contexts, of.needs) == ((1, 64), None)
    assert one(task(), around(APART), {"gru": {1: []}}).contexts == ()


def test_contexts_are_scores_by_the_tasks_metric_or_turned_into_it() -> None:
    tasks = [
        task("a"),
        task("b", metric="bits_per_character", direction="min", trivial=5.0, ceiling=1.0),
        task("c", metric="bleu"),
    ]

    def reaches(of: str, metric: str, *scores: float | None) -> Reaches:
        found = tuple(Allowed(seed=n, steps=4, metric=metric, score=score) for n, score in enumerate(scores))
        return Reaches.model_construct(task=of, arch="gru", contexts=found)

    found = contexts(
        tasks,
        [
            reaches("a", "accuracy", 0.5, None, 0.7),
            reaches("b", "cross_entropy", math.log(2), math.log(8)),
            reaches("c", "cross_entropy", 1.0),
            reaches("d", "accuracy", 1.0),
        ],
    )
    assert found["a"]["gru"][4] == [0.5, 0.7]
    assert found["b"]["gru"][4] == pytest.approx([1.0, 3.0])
    assert set(found) == {"a", "b"}
