"""Ranks at equal time, arithmetic and state: planted curves and paces with known answers, and one small real run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import planted
import pytest
import torch

from seqbench import archs, tasks, train
from seqbench.analyse import matching, verdicts
from seqbench.analyse.conclusions import Matched
from seqbench.analyse.summary import Cell, Evidence, TaskSummary
from seqbench.config import MeasureSettings
from seqbench.measure import pace, work
from seqbench.measurements import CellTime, Pace
from seqbench.prepare import prepare
from seqbench.records import Control, Point, Result, Setting, TrainSettings, TuneSettings

ID = "adding-20"
RULES = ["parameters", "training time", "arithmetic", "state bytes"]
Curve = Mapping[int, float | None]
"""Looks at the validation split, by step."""


def setting(arch: str, variant: str = "") -> Setting:
    fields = {"task": "adding", "task_settings": {"length": 20}, "core": planted.CORE, "parameters": 6000}
    return Setting(**fields, arch=arch, train=TrainSettings(), tune=TuneSettings(), variant=variant)


def summary(trivial: float = 0.9, of: str = ID, **spec: Any) -> TaskSummary:
    """The task, with a trivial control."""
    made = planted.spec(setting("rnn")).model_copy(update=spec)
    control = Control(name="mean", kind="trivial", metrics={made.metric: trivial})
    return TaskSummary.model_construct(id=of, spec=made, controls=(control,))


def run(arch: str, curve: Curve, score: float = 0.2, seed: int = 1, variant: str = "", **changes: Any) -> Result:
    points = tuple(Point(step=step, loss=0.1, valid=valid, learning_rate=1e-3) for step, valid in curve.items())
    changes = {"curve": points, "steps": max(curve, default=0)} | changes
    return planted.result(setting(arch, variant), seed, score, planted.digest(ID), **changes)


def cells(task: TaskSummary, *runs: Result, failed_gate: str = "") -> tuple[Cell, ...]:
    """One for each architecture, with its runs."""
    names = list(dict.fromkeys(one.arch for one in runs))
    own = {name: tuple(one for one in runs if one.arch == name) for name in names}
    evidence = [
        Evidence.model_construct(task=task.id, arch=name, setting=own[name][0].setting, results=own[name])
        for name in names
    ]
    kind = task.spec.kind
    gates = {name: planted.gates(name, (kind,), {"causality": kind} if name == failed_gate else None) for name in names}
    return verdicts.cells(task, evidence, gates)


def paces(seconds: Mapping[str, float | None], flops: Mapping[str, float] | None = None, **changes: Any) -> list[Pace]:
    times = tuple(
        CellTime(
            arch=arch,
            step=planted.quantiles(value) if value else None,
            item=None,
            flops=(flops or {}).get(arch),
            **changes,
        )
        for arch, value in seconds.items()
    )
    return [planted.pace(ID, (), cells=times)]


def by_rule(found: Sequence[Matched]) -> dict[str, Matched]:
    assert [one.rule for one in found] == RULES
    return {one.rule: one for one in found}


QUICK = run("rnn", {100: 0.5, 200: 0.4, 300: 0.3})
SLOW = run("gru", {100: 0.6, 200: 0.2, 300: 0.1}, score=0.1)
"""Better in the end, and not at first."""


# ---------------------------------------------------------------- equal parameters


def test_at_equal_parameters_it_is_the_grid() -> None:
    task = summary()
    found = by_rule(matching.matched([task], cells(task, QUICK, SLOW), []))["parameters"]
    assert (found.task, found.scores, found.ranks) == (ID, {"rnn": 0.2, "gru": 0.1}, {"rnn": 2, "gru": 1})
    assert (found.changed, found.note) == ((), "")
    assert found.budget == "6,000 parameters, within 5 %; mean score on test"


# ---------------------------------------------------------------- equal time


def test_at_equal_time_a_slow_architecture_is_cut_where_the_quickest_ended() -> None:
    """The RNN's 300 steps take 3 s, as 150 of the GRU's do, of which the look after 100 counts."""
    task = summary()
    found = by_rule(matching.matched([task], cells(task, QUICK, SLOW), paces({"rnn": 0.01, "gru": 0.02})))
    time = found["training time"]
    assert time.scores == {"rnn": 0.3, "gru": 0.6}
    assert time.ranks == {"rnn": 1, "gru": 2}
    assert time.changed == ("rnn", "gru")
    assert time.budget == (
        "3 s of training within 5 %, all that rnn takes for its 300 steps; best look at validation until then, "
        "with the schedule of a whole training"
    )


def test_among_those_that_learned_nothing_no_rank_changes() -> None:
    """As above, but with a control that the RNN, of 0.88, hardly beats; the GRU goes nearly half of the way."""
    learner, idle = (dict.fromkeys(("gru", "rnn"), score) for score in (0.5, 0.88))
    for of, changed in ((learner, ("rnn", "gru")), (learner | {"rnn": 0.88}, ("gru",)), (idle, ())):
        task = summary(trivial=0.9, ceiling=0.0)
        runs = [one.model_copy(update={"test": {"mse": of[one.arch]}}) for one in (QUICK, SLOW)]
        found = by_rule(matching.matched([task], cells(task, *runs), paces({"rnn": 0.01, "gru": 0.02})))
        assert found["training time"].ranks == {"rnn": 1, "gru": 2}
        assert found["training time"].changed == changed


def test_with_a_little_more_time_the_ranks_are_the_usual_ones() -> None:
    task = summary()
    found = by_rule(matching.matched([task], cells(task, QUICK, SLOW), paces({"rnn": 0.01, "gru": 0.015})))
    time = found["training time"]
    assert (time.scores, time.changed) == ({"rnn": 0.3, "gru": 0.2}, ())  # the look after 200 of 200 steps


def test_the_best_look_counts_and_not_the_last_and_more_may_be_better() -> None:
    task = summary(trivial=0.1, metric="accuracy", direction="max")
    own = cells(
        task,
        run("rnn", {100: 0.7, 200: 0.5}, metric="accuracy", test={"accuracy": 0.6}),
        run("gru", {100: 0.4, 200: 0.9}, metric="accuracy", test={"accuracy": 0.9}),
    )
    time = by_rule(matching.matched([task], own, paces({"rnn": 0.01, "gru": 0.02})))["training time"]
    assert (time.scores, time.ranks) == ({"rnn": 0.7, "gru": 0.4}, {"rnn": 1, "gru": 2})
    assert time.changed == ("rnn", "gru")


def test_looks_are_judged_by_the_score_that_epochs_are_chosen_by() -> None:
    """Accuracy ranks, the loss selects: on validation, less is better."""
    task = summary(trivial=0.1, metric="accuracy", direction="max", selection="cross_entropy", outputs="classes")
    own = cells(
        task,
        run("rnn", {100: 0.2}, test={"accuracy": 0.3}, metric="accuracy"),
        run("gru", {100: 0.4}, test={"accuracy": 0.9}, metric="accuracy"),
    )
    found = by_rule(matching.matched([task], own, paces({"rnn": 0.01, "gru": 0.01})))
    assert found["parameters"].ranks == {"rnn": 2, "gru": 1}
    assert found["training time"].ranks == {"rnn": 1, "gru": 2}
    assert found["training time"].changed == ()  # by the same score they are in this order after whole trainings too


def test_scores_are_means_over_seeds_and_a_failed_run_counts_as_the_worst_seen() -> None:
    task = summary(trivial=0.8)
    failed = run("gru", {100: 0.01}, seed=2, status="diverged", test={}, reason="loss is not finite")
    own = cells(task, QUICK, run("rnn", {100: 0.5, 200: 0.4, 300: 0.1}, seed=2), SLOW, failed)
    time = by_rule(matching.matched([task], own, paces({"rnn": 0.01, "gru": 0.01})))["training time"]
    assert time.scores == pytest.approx({"rnn": 0.2, "gru": (0.1 + 0.8) / 2})  # 0.8: the trivial control
    assert (time.ranks, time.changed) == ({"rnn": 1, "gru": 2}, ())


def test_an_architecture_without_a_finished_run_comes_last_and_sets_no_budget() -> None:
    task = summary()
    failed = run("lstm", {10: 0.01}, status="diverged", test={}, reason="loss is not finite")
    own = cells(task, QUICK, SLOW, failed)
    found = by_rule(matching.matched([task], own, paces({"rnn": 0.01, "gru": 0.02, "lstm": 0.001})))
    time = found["training time"]
    assert time.scores["lstm"] is None
    assert time.ranks == {"rnn": 1, "gru": 2, "lstm": 3}
    assert time.changed == ("rnn", "gru")
    assert time.budget.startswith("3 s of training within 5 %, all that rnn takes")
    assert "lstm" not in time.budget


def test_what_was_not_looked_at_in_time_comes_last_and_is_named() -> None:
    task = summary()
    own = cells(task, QUICK, SLOW)
    time = by_rule(matching.matched([task], own, paces({"rnn": 0.01, "gru": 0.05})))["training time"]
    assert (time.scores, time.ranks) == ({"rnn": 0.3, "gru": None}, {"rnn": 1, "gru": 2})
    assert time.budget.endswith("; gru had none by then and comes last")


def test_equal_scores_share_a_rank() -> None:
    task = summary()
    own = cells(task, run("rnn", {100: 0.4}), run("gru", {100: 0.3}), run("lstm", {100: 0.4}))
    time = by_rule(matching.matched([task], own, paces(dict.fromkeys(("rnn", "gru", "lstm"), 0.01))))
    assert time["parameters"].ranks == {"rnn": 1, "gru": 1, "lstm": 1}
    assert time["training time"].ranks == {"rnn": 2, "gru": 1, "lstm": 2}


@pytest.mark.parametrize(("dearer", "score"), [(1.04, 0.1), (1.06, 0.2)])
def test_what_costs_a_little_more_loses_no_look(dearer: float, score: float) -> None:
    task = summary()
    of = paces({"rnn": 0.01, "gru": 0.01 * dearer})
    time = by_rule(matching.matched([task], cells(task, QUICK, SLOW), of))["training time"]
    assert time.scores == {"rnn": 0.3, "gru": score}


def test_the_quickest_architectures_longest_run_is_whole() -> None:
    """Trainings that stop early differ in steps."""
    task = summary()
    own = cells(task, run("rnn", {90: 0.5}), run("rnn", {90: 0.5, 270: 0.1}, seed=2), run("gru", {90: 0.4, 180: 0.3}))
    time = by_rule(matching.matched([task], own, paces({"rnn": 0.1, "gru": 0.3})))["training time"]
    assert time.scores == pytest.approx({"rnn": 0.3, "gru": 0.4})


@pytest.mark.parametrize(
    ("of", "note"),
    [
        ([], "the pace of rnn and gru is not known"),
        (paces({"rnn": 0.01, "gru": None}, status="out_of_memory"), "the pace of gru is not known"),
    ],
)
def test_without_a_pace_there_are_no_ranks_and_the_reason_is_given(of: list[Pace], note: str) -> None:
    task = summary()
    time = by_rule(matching.matched([task], cells(task, QUICK, SLOW), of))["training time"]
    assert (time.scores, time.ranks, time.changed, time.note) == ({}, {}, (), note)


def test_a_pace_of_a_busy_machine_is_said() -> None:
    task = summary()
    of = paces({"rnn": 0.01, "gru": 0.01}, flags=("contended",))
    found = by_rule(matching.matched([task], cells(task, QUICK, SLOW), of))
    assert found["training time"].budget.endswith("; contended: the machine was not quiet")
    assert "quiet" not in found["parameters"].budget


def test_what_fails_a_gate_is_left_out_and_needs_no_pace() -> None:
    task = summary()
    bad = run("lstm", {100: 0.001}, score=0.001)
    own = cells(task, QUICK, SLOW, bad, failed_gate="lstm")
    for one in matching.matched([task], own, paces({"rnn": 0.01, "gru": 0.02, "lstm": None})):
        assert "lstm" not in one.scores | one.ranks
    (only,) = {one.note for one in matching.matched([task], cells(task, bad, failed_gate="lstm"), [])}
    assert only == "no architecture passes the gates"


# ---------------------------------------------------------------- equal arithmetic


def test_arithmetic_is_matched_by_operations_and_not_by_time() -> None:
    task = summary()
    of = paces({"rnn": 0.02, "gru": 0.01}, {"rnn": 1e8, "gru": 2e8})
    found = by_rule(matching.matched([task], cells(task, QUICK, SLOW), of))
    assert found["training time"].scores == {"rnn": 0.5, "gru": 0.1}
    assert found["arithmetic"].scores == {"rnn": 0.3, "gru": 0.6}
    assert found["arithmetic"].changed == ("rnn", "gru")
    assert found["arithmetic"].budget.startswith(
        "30 GFLOP of training within 5 %, all that rnn takes for its 300 steps"
    )


def test_without_counted_operations_only_arithmetic_has_no_ranks() -> None:
    task = summary()
    of = paces({"rnn": 0.01, "gru": 0.01}, {"rnn": 1e8})
    found = by_rule(matching.matched([task], cells(task, QUICK, SLOW), of))
    assert found["arithmetic"].note == "the arithmetic of a training step of gru is not known"
    assert found["training time"].ranks


# ---------------------------------------------------------------- equal state


def test_states_of_the_grid_differ_and_the_note_says_what_it_would_need() -> None:
    task = summary()
    own = cells(task, run("rnn", {1: 0.1}, state_bytes=128), run("transformer", {1: 0.1}, state_bytes=6400))
    state = by_rule(matching.matched([task], own, []))["state bytes"]
    assert (state.scores, state.ranks) == ({}, {})
    assert state.budget == "states of one sequence from 128 (rnn) to 6,400 bytes (transformer)"
    assert (
        state.note == "widths are solved for equal parameters, so states differ; other widths would have to be trained"
    )


def test_variants_of_equal_state_are_ranked_against_the_grid_by_test_scores() -> None:
    task = summary()
    own = cells(
        task,
        run("rnn", {1: 0.1}, score=0.1, state_bytes=128),
        run("gru", {1: 0.1}, score=0.2, state_bytes=128),
        run("transformer", {1: 0.1}, score=0.15, state_bytes=6400),
    )
    small = cells(task, run("transformer", {1: 0.1}, score=0.4, state_bytes=124, variant="equal_state"))
    state = by_rule(matching.matched([task], own, [], small))["state bytes"]
    assert state.scores == {"rnn": 0.1, "gru": 0.2, "transformer": 0.4}
    assert (state.ranks, state.changed) == ({"rnn": 1, "gru": 2, "transformer": 3}, ("gru", "transformer"))
    assert state.budget == "124 to 128 bytes of state of one sequence; mean score on test"
    others = cells(task, run("transformer", {1: 0.1}, score=0.4, state_bytes=124, variant="no_clipping"))
    assert not by_rule(matching.matched([task], own, [], others))["state bytes"].ranks
    of_another = tuple(
        one.model_copy(update={"evidence": one.evidence.model_copy(update={"task": "x"})}) for one in small
    )
    assert not by_rule(matching.matched([task], own, [], of_another))["state bytes"].ranks


@pytest.mark.parametrize(("other", "ranked"), [(140, True), (141, False), (0, False)])
def test_states_are_alike_within_the_tolerance_of_parameters(other: int, ranked: bool) -> None:
    task = summary()
    own = cells(task, run("rnn", {1: 0.1}, state_bytes=128), run("gru", {1: 0.1}, score=0.1, state_bytes=other))
    state = by_rule(matching.matched([task], own, []))["state bytes"]
    assert (state.ranks == {"rnn": 2, "gru": 1}) == ranked == (not state.note)


def test_tasks_keep_their_order_and_their_own_cells() -> None:
    tasks_ = [summary(of="b"), summary(of="a")]
    own = [*cells(tasks_[1], QUICK, SLOW), *cells(tasks_[0], SLOW)]
    found = matching.matched(tasks_, own, [])
    assert [(one.task, one.rule) for one in found] == [(task, rule) for task in ("b", "a") for rule in RULES]
    assert (list(found[0].scores), list(found[4].scores)) == (["gru"], ["rnn", "gru"])


# ---------------------------------------------------------------- a small real run

CPU = torch.device("cpu")
FAST = MeasureSettings(repetitions=3, seconds=0.01, budget=60.0)


@pytest.mark.usefixtures("one_thread")
def test_a_real_run_is_matched_by_what_its_pace_counted(tmp_path: Path) -> None:
    names = ("rnn", "gru")
    manifest = prepare("adding", {"length": 12, "train": 200, "valid": 50, "test": 50}, tmp_path)
    settings = [
        Setting(
            task="adding",
            task_settings=manifest.settings,
            arch=arch,
            core=archs.defaults(arch) | {"layers": 1, "dropout": 0.0},
            parameters=3000,
            train=TrainSettings(batch=20, steps=60, eval_every=2, patience=0),
            tune=TuneSettings(),
        )
        for arch in names
    ]
    task_id = tasks.task_id("adding", manifest.settings)
    task = summary(of=task_id)
    runs = [train.train_cell(one, 0.01, (1, 2), tmp_path, CPU, lambda _: None).results for one in settings]
    gates = {arch: planted.gates(arch, (task.spec.kind,)) for arch in names}
    of = pace.pace(settings, FAST, gates, tmp_path, CPU, lambda _: None)
    assert Pace.from_data(of.plain()) == of
    for one, (result, _), gate_count in zip(of.cells, runs, (1, 3), strict=True):
        assert one.step is not None and one.flops is not None
        hidden = result.width
        forward = hidden * 2 + gate_count * 2 * hidden**2 + hidden / 12  # frontend and core a step, head once
        assert 0.8 < one.flops / (3 * 2 * 20 * 12 * forward) <= 1.0  # what needs no gradient has a product less
    own = cells(task, *(result for of_arch in runs for result in of_arch))
    found = by_rule(matching.matched([task], own, [of]))
    for rule, cost in (("training time", {t.arch: t.step.median for t in of.cells if t.step}),
                       ("arithmetic", {t.arch: t.flops for t in of.cells if t.flops})):  # fmt: skip
        first = min(cost, key=lambda arch: cost[arch])
        slow = next(arch for arch in names if arch != first)
        until = 1.05 * 60 * cost[first] / cost[slow]
        wanted = [
            min(p.valid for p in one.curve if p.valid is not None and p.step <= until)
            for one in runs[names.index(slow)]
        ]
        assert found[rule].scores[slow] == pytest.approx(sum(wanted) / 2)
        assert found[rule].scores[first] == pytest.approx(sum(one.valid["mse"] for one in runs[names.index(first)]) / 2)
        assert sorted(found[rule].ranks.values()) == [1, 2]


def test_operations_of_several_calls_are_their_mean() -> None:
    sizes = iter((9, 1, 2, 3))  # the first is not counted
    a = torch.ones(4, 4)
    flops, _ = work.count(lambda: torch.ones(next(sizes), 4) @ a, 3)
    assert flops == 2 * 16 * (1 + 2 + 3) / 3
