"""How far architectures remember: statistics over seeds and words, from records made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import planted
import pytest

from seqbench import tasks
from seqbench.analyse import reach, statistics
from seqbench.analyse.summary import Cell, Evidence, Held, TaskSummary
from seqbench.measurements import Extrapolation, Reach, Reaches
from seqbench.records import Control, Spec

LAGS = (0, 1, 3, 9)


def one(seed: int, effects: tuple[float, ...], horizon: int | None, **changes: Any) -> Reach:
    fields = {"kind": "gradient", "trained": True, "lags": LAGS} | changes
    return Reach(seed=seed, effects=effects, horizon=horizon, **fields)


def cell(*seeds: Reach, **changes: Any) -> Reaches:
    fields: dict[str, Any] = {"task": "copy_memory-5", "arch": "gru", "trained_length": 25, "extrapolations": ()}
    fields |= {"keys": {}, "bits": {}, "state_bytes": 100, "provenance": planted.provenance()}
    return Reaches(**(fields | {"reaches": seeds} | changes))


# ---------------------------------------------------------------- horizons


def test_a_horizon_is_the_mean_over_seeds_and_says_how_many_lie_beyond() -> None:
    seeds = one(1, (8.0, 4.0, 2.0, 0.0), 3), one(2, (1.0, 0.5, 0.4, 0.1), 3), one(3, (2.0, 0.0, 2.0, 3.0), None)
    (found,) = reach.horizons([cell(*seeds)])
    assert (found.task, found.arch, found.kind, found.trained) == ("copy_memory-5", "gru", "gradient", True)
    assert (found.horizon, found.seeds, found.beyond) == (5.0, 3, 1)  # of 3, 3 and, beyond the longest lag, 9
    assert found.interval == statistics.interval([3.0, 3.0, 9.0], at_least=0.0)
    assert found.lags == LAGS
    np.testing.assert_allclose(found.effects, (1.0, 0.5, 0.4, 0.1))
    np.testing.assert_allclose(found.low, (2 / 3, 0.0, 0.25, 0.0))
    np.testing.assert_allclose(found.high, (1.0, 0.5, 2 / 3, 1.0))


def test_the_interval_of_a_horizon_is_no_narrower_than_the_gap_between_lags() -> None:
    (found,) = reach.horizons([cell(*(one(seed, (4.0, 4.0, 1.0, 0.0), 3) for seed in (1, 2, 3)))])
    assert (found.lags, found.horizon, found.interval) == ((0, 1, 3, 9), 3.0, (2.0, 3.0))  # 2 was not looked at


def test_kinds_and_stages_are_kept_apart_and_what_was_not_measured_has_none() -> None:
    seeds = [
        one(1, (1.0, 0.0, 0.0, 0.0), place, kind=kind, trained=trained)
        for place, (kind, trained) in {
            0: ("gradient", False),
            1: ("gradient", True),
            3: ("intervention", False),
            9: ("intervention", True),
        }.items()
    ]
    found = reach.horizons([cell(*seeds[::-1]), cell(skipped="no run finished")])
    assert [(of.kind, of.trained, of.horizon) for of in found] == [
        ("gradient", False, 0.0),
        ("gradient", True, 1.0),
        ("intervention", False, 3.0),
        ("intervention", True, 9.0),
    ]
    assert {of.interval for of in found} == {None}  # one seed


def test_a_seed_without_any_effect_is_a_curve_of_zeros() -> None:
    (found,) = reach.horizons([cell(one(1, (0.0,) * 4, 0), one(2, (0.0, 2.0, 0.0, 0.0), 3))])
    assert found.effects == (0.0, 0.5, 0.0, 0.0)
    assert (found.horizon, found.beyond) == (1.5, 0)


# ---------------------------------------------------------------- longer sequences, bits


def test_scores_of_longer_sequences_are_means_over_the_seeds_that_read_them() -> None:
    scores = {(1, 90): None, (2, 90): None, (1, 60): 0.5, (2, 60): None, (3, 60): 0.7}
    made = tuple(Extrapolation(seed=seed, length=length, score=score) for (seed, length), score in scores.items())
    short, long = reach.stretches([cell(extrapolations=made), cell()])
    assert (short.trained_length, short.length, short.seeds, long.length, long.seeds) == (25, 60, 2, 90, 0)
    assert short.mean == pytest.approx(0.6)
    assert short.interval == statistics.interval([0.5, 0.7])
    assert (long.mean, long.interval) == (None, None)


def test_bits_are_set_against_the_bytes_that_carry_them() -> None:
    (found,) = reach.recalls(
        [cell(bits={"1": 10.0, "2": 20.0, "3": 30.0}), cell(), cell(bits={"1": 1.0}, state_bytes=0)]
    )
    assert (found.bits, found.state_bytes, found.per_byte, found.seeds) == (20.0, 100, 0.2, 3)
    assert found.interval == statistics.interval([10.0, 20.0, 30.0], at_least=0.0)


# ---------------------------------------------------------------- levels held


def task(
    level: float | None, name: str = "copy_memory", knob: str = "delay", trivial: float = 0.2, **changes: Any
) -> TaskSummary:
    spec = {"inputs": "tokens", "input_size": 9, "outputs": "steps", "output_size": 8, "length": 30, "window": 10}
    spec |= {"metric": "accuracy", "direction": "max", "ceiling": 1.0, "embedding": 4}
    strong = changes.pop("strong", None)
    made = Spec(**spec | changes)
    controls = [Control(name="guess", kind="trivial", metrics={"accuracy": trivial})]
    controls += [Control(name="linear", kind="strong", metrics={"accuracy": s}) for s in strong or ()]
    fields = {"id": f"{name}-{level}", "name": name, "knob": knob, "level": level, "memory": True, "spec": made}
    return TaskSummary.model_construct(**fields, controls=tuple(controls))


def scored(
    arch: str, means: Mapping[float, float | None], name: str = "copy_memory", spread: float = 0.0
) -> list[Cell]:
    """Cells of three seeds each, so far apart; None: none finished."""
    return [
        Cell.model_construct(
            mean=mean,
            scores=(None,) * 3 if mean is None else (mean - spread, mean + spread / 2, mean + spread / 2),
            interval=None if mean is None else (mean - spread, mean + spread),
            evidence=Evidence.model_construct(task=f"{name}-{level}", arch=arch),
        )
        for level, mean in means.items()
    ]


def words(means: Mapping[float, float | None], spread: float = 0.0, **changes: Any) -> Held:
    levels = [task(level, **changes) for level in means]
    (found,) = reach.held(levels[::-1], scored("lstm", means, spread=spread))
    assert found.levels == tuple(means)
    return found


@pytest.mark.parametrize(
    ("means", "level", "text"),
    [
        ({5: 1.0, 20: 0.92, 40: 0.93}, 40, "holds 90 % up to 40 steps, the longest that was run"),
        ({5: 1.0, 20: 0.92, 40: 0.91}, 20, "holds 90 % up to 20 steps, not at 40"),
        ({5: 1.0, 20: 0.5, 40: 0.3}, 5, "holds 90 % up to 5 steps, not at 20"),
        ({5: 0.9, 20: 0.5, 40: None}, None, "does not hold 90 %, not even at 5 steps"),
        ({5: 0.5, 20: 1.0, 40: None}, 20, "holds 90 % up to 20 steps, not at 5 and 40"),
        ({5: 0.5, 20: None, 40: 0.95}, 40, "holds 90 % up to 40 steps, the longest that was run, but not at 5 and 20"),
        ({1: 0.93}, 1, "holds 90 % up to 1 step, the longest that was run"),
    ],
)
def test_the_longest_level_held(means: dict[float, float | None], level: float | None, text: str) -> None:
    found = words(means)
    assert (found.task, found.arch, found.level, found.text) == ("copy_memory", "lstm", level, f"lstm {text}")
    assert found.reference == pytest.approx(0.92)  # 0.2 + 0.9 * (1 - 0.2)


@pytest.mark.parametrize(
    ("means", "text"),
    [
        ({5: 1.0, 20: 0.91}, "holds 90 % up to 5 steps, not shown at 20 (2 of 3 seeds reach it)"),
        ({5: 1.0, 20: 0.93}, "holds 90 % up to 20 steps (2 of 3 seeds reach it), the longest that was run"),
        (
            {5: 0.5, 20: 0.91, 40: 1.0},
            "holds 90 % up to 40 steps, the longest that was run, but not at 5 and not "
            "shown at 20 (2 of 3 seeds reach it)",
        ),
        ({5: 0.91, 20: 0.5}, "is not shown to hold 90 %, not even at 5 steps (2 of 3 seeds reach it)"),
    ],
)
def test_a_level_that_seeds_lie_on_both_sides_of_is_not_shown_either_way(means: dict[float, float], text: str) -> None:
    assert words(means, spread=0.05).text == f"lstm {text}"


def test_how_far_ahead_is_forecast_is_no_memory() -> None:
    ahead = [task(level, "etth1", "horizon").model_copy(update={"memory": False}) for level in (24, 96)]
    assert reach.held(ahead, scored("gru", {24: 1.0, 96: 0.5}, "etth1")) == ()
    assert [name for name in tasks.names() if not tasks.find(name).MEMORY] == ["etth1"]


def test_a_knob_that_counts_no_steps_is_named() -> None:
    assert words({2: 1.0, 3: 0.5}, knob="pairs").text == "lstm holds 90 % up to pairs 2, not at 3"
    assert words({2: 1.0, 3: 1.0}, knob="pairs").text == "lstm holds 90 % up to pairs 3, the largest that was run"
    assert words({2: 0.0, 3: 1.0}, knob="pairs").text == (
        "lstm holds 90 % up to pairs 3, the largest that was run, but not at 2"
    )


def test_less_may_be_better_and_every_level_has_its_own_reference() -> None:
    levels = [
        task(level, "adding", "length", trivial, direction="min", ceiling=0.0)
        for level, trivial in ((9, 2.0), (30, 1.0))
    ]
    (held,) = reach.held(levels, scored("gru", {9: 0.19, 30: 0.1}, "adding"))
    assert (held.level, held.reference) == (30, pytest.approx(0.1))
    (held,) = reach.held(levels, scored("gru", {9: 0.19, 30: 0.15}, "adding"))
    assert (held.level, held.reference) == (9, pytest.approx(0.2))


def test_without_a_ceiling_the_strong_control_is_what_can_be_reached() -> None:
    (held,) = reach.held([task(5, ceiling=None, strong=[0.3, 0.7])], scored("gru", {5: 0.66}))
    assert (held.level, held.reference) == (5, pytest.approx(0.65))
    no_way = [task(5, ceiling=None), task(20, ceiling=None, strong=[0.1]), task(None, name="smnist")]
    assert reach.held(no_way, scored("gru", {5: 0.6, 20: 0.6})) == ()


def test_architectures_and_tasks_keep_their_order() -> None:
    levels = [task(5), task(9, "adding", "length"), task(20)]
    cells = [*scored("rnn", {5: 1.0, 20: 1.0}), *scored("gru", {5: 1.0, 20: 0.0}), *scored("gru", {9: 0.0}, "adding")]
    found = [(one.task, one.arch, one.level) for one in reach.held(levels, cells)]
    assert found == [("copy_memory", "rnn", 20), ("copy_memory", "gru", 5), ("adding", "gru", None)]
