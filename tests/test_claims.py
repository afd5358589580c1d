"""Claims: what is planted comes out in words, noise and disturbed measurements decide nothing, gaps say what to run."""

from __future__ import annotations

import json
import random
import types
from pathlib import Path
from typing import Any

import claimed
import planted
import pytest
import yaml
from claimed import about, cells, evidence, known, mse, plant, task

from seqbench import archs, sources
from seqbench.analyse import claims, costs, reach, statistics, verdicts
from seqbench.analyse import evidence as read
from seqbench.analyse.claims import MEASURES, Folklore
from seqbench.analyse.conclusions import Claim
from seqbench.analyse.grounds import Hypothesis, Known, OnTasks, ends
from seqbench.analyse.grounds_costs import Meets, Pace, Ratio, Slope
from seqbench.analyse.grounds_reach import Decay, Level, Longer, Reach
from seqbench.analyse.grounds_runs import Diverged, Parameters, Score, Share, TimeToTarget
from seqbench.errors import InputError

REGISTER = claims.read(Path(__file__).parent.parent / claims.PATH)
PARTS = [(one.number, part) for one in REGISTER for part in one.parts]
IDS = [f"{number}-{part.NAME}-{n}" for n, (number, part) in enumerate(PARTS)]
BETTER = Score(part="An LSTM scores better", a="lstm", b="rnn", tasks=("adding",), above=0.02)


def decide(known: Known, *parts: Hypothesis) -> tuple[Claim, ...]:
    return claims.decide([Folklore(1, "A claim", parts)], known)


def two(a: list[float | None], b: list[float | None], word: str = "adding", **more: Any) -> Known:
    """An LSTM and an RNN on one task, by how far they go of the way to the best score."""
    one = task(word)
    scores = [[None if v is None else mse([v])[0] for v in side] for side in (a, b)]
    return known([one], cells(one, evidence(one, "lstm", scores[0]), evidence(one, "rnn", scores[1])), **more)


# ---------------------------------------------------------------- the register


def test_the_register_has_every_claim_and_every_measure_is_used() -> None:
    assert [one.number for one in REGISTER] == list(range(1, 17))
    assert {part.NAME for _, part in PARTS} == set(MEASURES)
    assert all(one.title and one.parts for one in REGISTER)
    labels = {name for _, part in PARTS for name in part.names()}
    assert {label.partition("+")[0] for label in labels} <= set(archs.names())
    assert len({part.part + str(number) for number, part in PARTS}) == len(PARTS)


@pytest.mark.parametrize(("number", "part"), PARTS, ids=IDS)
def test_every_part_can_be_supported_refuted_and_undecided(number: int, part: Hypothesis) -> None:
    verdicts = {}
    for truth in (True, False) if isinstance(part, Parameters) else (True, False, None):
        (claim,) = decide(plant(part, truth), part)
        verdicts[truth] = claim.verdict
        assert claim.text.startswith(claim.verdict.capitalize()), claim.text
        assert claim.grounds
    (verdicts["nothing"],) = (claim.verdict for claim in decide(Known([], []), part))
    expected = {True: "supported", False: "refuted", None: "undecided", "nothing": "undecided"}
    assert verdicts == {truth: expected[truth] for truth in verdicts}


@pytest.mark.parametrize(("number", "part"), PARTS, ids=IDS)
def test_where_nothing_was_run_a_part_says_what_to_run(number: int, part: Hypothesis) -> None:
    (claim,) = decide(Known([], []), part)
    (ground,) = claim.grounds
    assert (claim.effect, ground.supports) == (None, "missing")
    assert any(word in claim.text for word in ("run ", "seqbench ")), claim.text
    ablations = {name.partition("+")[2].removesuffix("_base") for name in part.names()} - {""}
    tasks = part.tasks if isinstance(part, OnTasks) else ()
    assert all(word in claim.text for word in (*ablations, *tasks, *(() if ablations else part.names()[:1])))


MEASURED = (Slope, Ratio, Meets, Pace, TimeToTarget)


@pytest.mark.parametrize("part", [part for _, part in PARTS if isinstance(part, MEASURED)])
@pytest.mark.parametrize("truth", [True, False])
def test_nothing_is_decided_on_a_disturbed_measurement(part: Hypothesis, truth: bool) -> None:
    (claim,) = decide(plant(part, truth, ("contended",)), part)
    assert claim.verdict == "undecided"
    assert "contended" in claim.text
    assert "again" in claim.text


# ---------------------------------------------------------------- scores


def test_a_planted_difference_comes_out_in_words_with_its_numbers() -> None:
    (claim,) = decide(two(about(0.8), about(0.3)), BETTER)
    assert claim.verdict == "supported"
    assert claim.effect == pytest.approx(0.5)
    assert claim.interval is not None
    assert claim.interval[0] < 0.5 < claim.interval[1]
    (ground,) = claim.grounds
    assert ground.p == pytest.approx(statistics.smallest_p(8, 8))
    assert claim.text == f"Supported: {ground.text}."
    assert (
        "adding-300, lstm less rnn: 0.5 [0.474, 0.526], 8 seeds each, P(better) 1, p = 0.000155 against the margin"
        in ground.text
    )
    assert claim.margin == "difference of scores above 0.02"


def test_a_difference_the_other_way_or_too_small_refutes() -> None:
    (worse,) = decide(two(about(0.3), about(0.8)), BETTER)
    (alike,) = decide(two(about(0.5, 0.001), about(0.5, 0.0011)), BETTER)
    assert (worse.verdict, alike.verdict) == ("refuted", "refuted")
    assert alike.effect == pytest.approx(0.0, abs=1e-9)


def test_planted_noise_decides_nothing() -> None:
    decided = 0
    for world in range(60):
        draw = random.Random(world)
        a, b = ([draw.gauss(0.5, 0.1) for _ in range(8)] for _ in range(2))
        (claim,) = decide(two(a, b), BETTER)
        decided += claim.verdict == "supported"
    assert decided <= 3


def test_an_interval_that_spans_the_margin_says_how_many_seeds_may_tell() -> None:
    (claim,) = decide(two(about(0.56, 0.05), about(0.5, 0.051)), BETTER)
    assert claim.verdict == "undecided"
    assert "the interval spans 0.02: if the effect stays, about" in claim.text
    (near,) = decide(two(about(0.521, 0.05), about(0.5, 0.051)), BETTER)
    assert "too near it for 100 seeds" in near.text


def test_too_few_seeds_say_how_many_would_do() -> None:
    (claim,) = decide(two(about(0.8, seeds=3), about(0.3, seeds=3)), BETTER)
    assert claim.verdict == "undecided"
    assert "with 3 a side the exact test reaches p = 0.1 at best over 1 comparison; 4 would do" in claim.text
    (one,) = decide(two([0.8], [0.3]), BETTER)
    assert one.verdict == "undecided"


def test_all_comparisons_of_a_claim_are_one_family() -> None:
    of = two(about(0.8, seeds=5), about(0.3, seeds=5))
    (alone,) = decide(of, BETTER)
    assert alone.verdict == "supported"
    many = decide(of, *[BETTER] * 7)
    assert {claim.verdict for claim in many} == {"undecided"}
    assert "over 7 comparisons; 6 would do" in many[0].text
    assert [ground.p for claim in many for ground in claim.grounds] == pytest.approx([7 * 2 / 252] * 7)


def test_one_exception_refutes_what_is_said_of_all_tasks() -> None:
    first, second = two(about(0.8), about(0.3)), two(about(0.3), about(0.8), "copy_memory")
    both = Known([*first.tasks, *second.tasks], [*first.cells, *second.cells])
    part = BETTER.model_copy(update={"tasks": ("adding", "copy_memory")})
    (claim,) = decide(both, part)
    assert claim.verdict == "refuted"
    assert claim.text.startswith("Refuted: it does not hold on all tasks. Against it: copy_memory-300")
    assert "For it: adding-300" in claim.text
    assert claim.effect == pytest.approx(-0.5)


def test_tasks_that_were_not_run_are_named() -> None:
    part = BETTER.model_copy(update={"tasks": ("adding", "psmnist")})
    (claim,) = decide(two(about(0.8), about(0.3)), part)
    assert claim.verdict == "supported"
    assert claim.text.endswith("Not run: psmnist.")


def test_a_missing_cell_is_named_with_what_brings_it() -> None:
    one = task("adding")
    alone = known([one], cells(one, evidence(one, "lstm", mse(about(0.8)))))
    (claim,) = decide(alone, BETTER)
    assert (claim.verdict, claim.grounds[0].supports) == ("undecided", "missing")
    assert "no cell rnn on adding-300: add rnn to the architectures" in claim.text


def test_an_ablation_is_asked_for_by_name_and_counts_where_it_ran() -> None:
    part = Score(part="…", a="lstm+plain_init_base", b="lstm+plain_init", tasks=("adding", "jsb"), above=0.02)
    one, other = task("adding"), task("jsb")
    plain = cells(one, evidence(one, "lstm", mse(about(0.8))))
    (claim,) = decide(known([one, other], plain), part)
    assert "run the ablation plain_init on the tasks adding and jsb" in claim.text
    both = cells(one, evidence(one, "lstm", mse(about(0.8))), evidence(one, "lstm+plain_init", mse(about(0.5))))
    (claim,) = decide(known([one, other], [*both, *cells(other, evidence(other, "lstm", mse(about(0.5))))]), part)
    assert claim.verdict == "supported"
    assert "lstm less lstm+plain_init" in claim.text
    assert claim.text.endswith("Not run: jsb.")
    base = cells(one, *(evidence(one, f"lstm{v}", mse(about(m))) for v, m in (("+plain_init_base", 0.2), ("", 0.8))))
    (claim,) = decide(known([one], [*base, *[c for c in both if c.evidence.setting.variant]]), part)
    assert claim.verdict == "refuted", "a base of its own goes before the plain cell"


def test_a_base_beside_the_grid_is_no_cell_of_the_grid() -> None:
    of, one = two(about(0.8), about(0.3)), task("adding", 200)
    own = cells(one, evidence(one, "lstm", mse(about(0.5))), evidence(one, "lstm+plain_init", mse(about(0.5))))
    (claim,) = decide(of._replace(tasks=[*of.tasks, one], variants=own), BETTER)
    assert (claim.verdict, len(claim.grounds)) == ("supported", 1)


def test_limits_of_length_choose_the_tasks() -> None:
    short = BETTER.model_copy(update={"longest": 299})
    of = two(about(0.8), about(0.3))
    assert "run the task adding of 299 steps at most" in decide(of, short)[0].text
    assert decide(of, BETTER.model_copy(update={"shortest": 300}))[0].verdict == "supported"


def test_an_architecture_that_failed_a_gate_decides_nothing() -> None:
    one = task("adding")
    runs = evidence(one, "lstm", mse(about(0.8))), evidence(one, "rnn", mse(about(0.3)))
    (claim,) = decide(known([one], cells(one, *runs, failed={"lstm": ""})), BETTER)
    assert claim.verdict == "undecided"
    assert "lstm is not ranked: lstm fails the gate 'causality'" in claim.text


def test_runs_that_all_failed_count_as_the_trivial_control() -> None:
    (claim,) = decide(two(about(0.8), [None] * 8), BETTER)
    assert claim.verdict == "supported"
    assert claim.effect == pytest.approx(0.8)


def test_a_task_on_which_nothing_beats_the_control_has_no_scale() -> None:
    one = task("adding")
    one = one.model_copy(update={"controls": one.controls[:1]})
    runs = [evidence(one, arch, [1.0 + n / 100 for n in range(8)]) for arch in ("lstm", "rnn")]
    (claim,) = decide(known([one], cells(one, *runs)), BETTER)
    assert "there is no scale" in claim.text


# ---------------------------------------------------------------- where two could hardly differ


BOTH = BETTER.model_copy(update={"tasks": ("adding", "copy_memory")})


def on_two(first: Known, second: Known) -> Known:
    return Known([*first.tasks, *second.tasks], [*first.cells, *second.cells])


def test_two_that_did_not_learn_the_task_decide_nothing() -> None:
    (claim,) = decide(two(about(0.003, 0.0001), about(0.001, 0.00011)), BETTER)
    assert (claim.verdict, claim.grounds[0].supports, claim.grounds[0].p) == ("undecided", "undecided", None)
    assert (
        "neither learned adding-300 (0.003 and 0.001 of the way from the trivial control to the ceiling)" in claim.text
    )
    assert claim.text.endswith("a task or a training with which one of them does would decide.")
    (learned,) = decide(two(about(0.06, 0.0001), about(0.06, 0.00011)), BETTER)
    assert learned.verdict == "refuted", "one of them learned a little: then they can be compared"


def test_two_that_solve_the_task_decide_nothing() -> None:
    (claim,) = decide(two(about(0.999, 0.0001), about(0.995, 0.00011)), BETTER)
    assert claim.verdict == "undecided"
    assert "less than the 0.02 that counts; both solve adding-300 (0.999 and 0.995 of the way" in claim.text
    assert claim.text.endswith("a harder task would decide.")
    (solved,) = decide(two(about(0.999, 0.0001), about(0.9, 0.00011)), BETTER)
    assert solved.verdict == "supported"
    (split,) = decide(two(about(0.999, 0.0001), about(0.001, 0.00011)), BETTER)
    assert split.verdict == "supported"


def test_what_is_set_aside_leaves_the_verdict_to_the_others() -> None:
    chance = two(about(0.003, 0.0001), about(0.003, 0.00011), "copy_memory")
    (claim,) = decide(on_two(two(about(0.8), about(0.3)), chance), BOTH)
    assert claim.verdict == "supported"
    assert claim.text.startswith("Supported: adding-300")
    assert claim.text.endswith("Set aside: neither learned copy_memory-300.")
    assert [ground.supports for ground in claim.grounds] == ["supports", "undecided"]
    assert claim.grounds[0].p == pytest.approx(statistics.smallest_p(8, 8)), "no part of the family"
    (claim,) = decide(on_two(two(about(0.3), about(0.8)), chance), BOTH)
    assert claim.verdict == "refuted"
    (claim,) = decide(on_two(two(about(0.001), about(0.001)), chance), BOTH)
    assert claim.verdict == "undecided"
    assert "Set aside" not in claim.text


def test_who_is_said_to_be_alike_or_to_fail_may_be_so_at_chance() -> None:
    alike = BETTER.model_copy(update={"above": None, "between": (-0.02, 0.02)})
    for share in (0.001, 0.999):
        assert decide(two(about(share, 0.0001), about(share, 0.00011)), alike)[0].verdict == "supported"
    fails = Share(part="…", a="rnn", tasks=("adding",), below=0.5)
    assert decide(two(about(0.001, 0.0001), about(0.001, 0.00011)), fails)[0].verdict == "supported"


def test_horizons_of_trained_models_that_learned_nothing_are_set_aside() -> None:
    part = Reach(part="…", a="lstm", b="rnn", tasks=("adding",), above=1.5)
    chance = two(about(0.001, 0.0001), about(0.001, 0.00011))
    (claim,) = decide(plant(part, True)._replace(cells=chance.cells), part)
    assert (claim.verdict, "neither learned adding-300" in claim.text) == ("undecided", True)
    (claim,) = decide(plant(part, True)._replace(cells=two(about(0.9), about(0.001)).cells), part)
    assert claim.verdict == "supported"
    fresh = part.model_copy(update={"trained": False})
    assert decide(plant(fresh, True)._replace(cells=chance.cells), fresh)[0].verdict == "supported"


def test_longer_sequences_on_which_neither_gets_anywhere_are_set_aside() -> None:
    part = Longer(part="…", a="lstm", b="rnn", times=2, tasks=("adding",), above=0.02)
    of = plant(part, False)
    worst = [one.model_copy(update={"mean": claimed.TRIVIAL, "interval": (0.89, 0.91)}) for one in of.stretches]
    (claim,) = decide(of._replace(stretches=worst), part)
    assert claim.verdict == "undecided"
    assert "neither goes 5 % of the way on adding-300 at 2 times the length" in claim.text


def test_a_setting_that_never_acted_is_said_and_decides_nothing() -> None:
    part = Score(part="…", a="lstm+plain_init_base", b="lstm+plain_init", tasks=("adding",), above=0.02)
    one = task("adding")
    base, changed = (evidence(one, label, mse(about(0.5, 0.001))) for label in ("lstm", "lstm+plain_init"))
    hashes = {run.seed: run.weights_sha256 for run in base.results}
    alike = [run.model_copy(update={"weights_sha256": hashes[run.seed]}) for run in changed.results]
    same = changed.model_copy(update={"results": tuple(alike)})
    (claim,) = decide(known([one], [*cells(one, base), *cells(one, same)]), part)
    assert claim.verdict == "undecided"
    assert "the setting never took effect in these runs" in claim.text
    assert "seeds would tell" not in claim.text
    (claim,) = decide(known([one], [*cells(one, base), *cells(one, changed)]), part)
    assert claim.verdict == "refuted", "equal scores of other weights are no accident of the setting"


def test_a_difference_on_the_claimed_side_that_is_too_small_is_said_to_be_so() -> None:
    (claim,) = decide(two(about(0.51, 0.0005), about(0.5, 0.0006)), BETTER)
    assert claim.verdict == "refuted"
    assert claim.text.startswith("Refuted at this margin: adding-300, lstm less rnn: 0.01 [")
    assert claim.text.endswith("on the claimed side, but by 0.01, less than the 0.02 that counts.")
    (worse,) = decide(two(about(0.49, 0.0005), about(0.5, 0.0006)), BETTER)
    assert worse.text.startswith("Refuted: adding-300")
    assert "claimed side" not in worse.text
    mixed = on_two(two(about(0.51, 0.0005), about(0.5, 0.0006)), two(about(0.3), about(0.8), "copy_memory"))
    assert decide(mixed, BOTH)[0].text.startswith("Refuted: adding-300")


def test_a_ratio_on_the_claimed_side_that_is_too_small_is_said_to_be_so() -> None:
    part = Ratio(part="…", quantity="train", a="gru", b="lstm", above=1.05)
    curves = {
        claimed._curve(part, arch): claimed._points(part, {64: value}, 0.001, ())
        for arch, value in (("gru", 103.0), ("lstm", 100.0))
    }
    (claim,) = decide(known([], [], curves=curves), part)
    assert claim.text.startswith("Refuted at this margin: ")
    assert claim.text.endswith("on the claimed side, but 1.03 times is short of the 1.05 that counts.")


def test_a_base_of_its_own_is_named_by_what_it_has_otherwise_than_the_grid() -> None:
    part = Score(part="…", a="lstm+wet", b="lstm+wet_base", tasks=("adding",), above=0.01)
    one = task("adding")
    runs = [evidence(one, f"lstm{v}", mse(about(m))) for v, m in (("", 0.2), ("+wet_base", 0.3), ("+wet", 0.6))]
    setting = runs[1].setting.model_copy(update={"core": dict(runs[1].setting.core) | {"dropout": 0.2}})
    runs[1] = runs[1].model_copy(update={"setting": setting})
    own = [cell for run in runs for cell in cells(one, run)]
    assert "lstm+wet less lstm (dropout 0.2): 0.3" in decide(known([one], own), part)[0].text
    assert "lstm+wet less lstm+wet_base: 0.3" in decide(known([one], own[1:]), part)[0].text, "nothing to hold it to"


# ---------------------------------------------------------------- other measures


def test_levels_say_between_which_lengths_the_limits_lie() -> None:
    part = Level(part="…", a="lstm", b="rnn", tasks=("adding",), above=1.0)
    (claim,) = decide(plant(part, True), part)
    assert "lstm holds 400 or more; rnn holds from 100 to below 200; ratio more than 2" in claim.text
    assert claim.interval is None, "an open interval stands in the words alone"
    (claim,) = decide(plant(part, None), part)
    assert "beyond, those that were run" in claim.text
    assert "nothing is known of the ratio, since the longest that was run is held by lstm and rnn: " in claim.text


def test_a_level_that_noise_hides_is_not_decided() -> None:
    part = Level(part="…", a="lstm", b="rnn", tasks=("adding",), above=1.0)
    tasks = [task("adding", n) for n in (100, 200)]
    own = [
        cell
        for one, sides in zip(tasks, ((0.97, 0.97), (0.93, 0.5)), strict=True)
        for cell in cells(
            one, *(evidence(one, a, mse(about(v, 0.03))) for a, v in zip(("lstm", "rnn"), sides, strict=True))
        )
    ]
    (claim,) = decide(known(tasks, own), part)
    assert claim.verdict == "undecided"
    same = part.model_copy(update={"b": "lstm"})
    (claim,) = decide(known(tasks, own), same)
    assert "since seeds lie on both sides of 90 % beyond 100 for lstm" in claim.text


def test_a_ratio_of_horizons_for_which_a_sequence_is_too_short_is_set_aside() -> None:
    part = Reach(part="…", a="lstm", b="rnn", tasks=("adding",), above=1.5)
    of = plant(part, False)
    assert decide(of, part)[0].verdict == "refuted"
    rnn = next(h for h in of.horizons if h.arch == "rnn")
    assert rnn.interval
    longest = int(1.5 * rnn.interval[0])  # the lags end where 1.5 times the horizon of the RNN does
    short = [h.model_copy(update={"lags": (0, longest)}) for h in of.horizons]
    (claim,) = decide(of._replace(horizons=short), part)
    assert (
        claim.verdict == "undecided"
        and f"there is no room for such a ratio on adding-300, of {longest} lags" in claim.text
    )
    room = [h.model_copy(update={"lags": (0, longest + 2)}) for h in of.horizons]
    assert decide(of._replace(horizons=room), part)[0].verdict == "refuted"


def test_the_scale_does_not_hang_on_published_rows_that_were_run() -> None:
    """Without a ceiling, 1 is the best of strong control and grid; a published row has a size of its own."""
    of = task("adding")
    of = of.model_copy(update={"spec": of.spec.model_copy(update={"ceiling": None})})
    ours, theirs = (evidence(of, label, mse([share] * 3)) for label, share in (("gru", 1.2), ("gru+published", 1.5)))
    both = known([of], cells(of, ours, theirs))
    assert len(both.variants) == 1
    assert ends(both, of) == ends(known([of], cells(of, ours)), of) == (claimed.TRIVIAL, pytest.approx(mse([1.2])[0]))
    changed = cells(of, evidence(of, "gru+no_clipping", mse([1.3] * 3)), theirs)
    assert ends(known([of], changed), of) == (claimed.TRIVIAL, pytest.approx(mse([1.3])[0]))


def test_a_horizon_beyond_the_sequence_is_at_least_that_long() -> None:
    part = Reach(part="…", a="lstm", b="rnn", tasks=("adding",), above=1.5)
    of = plant(part, True)
    beyond = [h.model_copy(update={"beyond": 3}) if h.arch == "lstm" else h for h in of.horizons]
    (claim,) = decide(of._replace(horizons=beyond), part)
    assert (claim.verdict, claim.effect, claim.interval) == ("supported", None, None)  # its end is no estimate
    assert "or more and 100" in claim.text
    beyond = [h.model_copy(update={"beyond": 3}) if h.arch == "rnn" else h for h in of.horizons]
    assert decide(of._replace(horizons=beyond), part)[0].verdict == "undecided"
    beyond = [h.model_copy(update={"beyond": 3}) for h in of.horizons]
    (claim,) = decide(of._replace(horizons=beyond), part)
    assert "nothing is known of the ratio, since it lies beyond the sequence for seeds of lstm and rnn" in claim.text


def test_a_gradient_that_falls_as_a_power_of_the_lag_is_no_exponential() -> None:
    part = Decay(part="…", arch="rnn", above=1.0)
    norms = {lag: (lag + 1.0) ** -3 for lag in range(0, 201, 5)}
    (claim,) = decide(known([], [], counted=[claimed.gradient(norms, "rnn")]), part)
    assert claim.verdict == "refuted"
    assert "a power of the lag fits" in claim.text
    steps = {lag: (lag + 1.0) ** -3 * (1e-4 if lag > 100 else 1.0 + 30 * (lag % 2)) for lag in range(0, 201, 5)}
    (claim,) = decide(known([], [], counted=[claimed.gradient(steps, "rnn")]), part)
    assert claim.verdict == "undecided" and "R² is below 0.9, as of a power" in claim.text
    norms = {lag: 10 ** (-0.03 * lag) for lag in range(0, 201, 5)}
    (claim,) = decide(known([], [], counted=[claimed.gradient(norms, "rnn")]), part)
    assert claim.verdict == "supported"
    assert claim.effect == pytest.approx(3.0)


def test_norms_that_underflow_are_left_out_of_the_fit() -> None:
    part = Decay(part="…", arch="rnn", above=1.0)
    norms = {lag: 10 ** (-0.03 * lag) if lag < 50 else 0.0 for lag in range(0, 201, 5)}
    (claim,) = decide(known([], [], counted=[claimed.gradient(norms, "rnn")]), part)
    assert claim.effect == pytest.approx(3.0)
    (claim,) = decide(known([], [], counted=[claimed.gradient({0: 1.0, 5: 0.5, 10: 0.0}, "rnn")]), part)
    assert "fewer than four lags" in claim.text


def test_failures_are_compared_by_fishers_test_with_newcombes_interval() -> None:
    part = Diverged(part="…", a="rnn+no_clipping", b="rnn+no_clipping_base", tasks=("adding",), above=0.0)
    (claim,) = decide(plant(part, True), part)
    assert "rnn+no_clipping diverged in 6 of 8 runs, rnn+no_clipping_base in 0 of 8" in claim.text
    assert claim.grounds[0].p == pytest.approx(0.00699, abs=1e-5)
    assert claim.interval == pytest.approx((0.2795, 0.9285), abs=1e-4)
    one = task("adding")
    runs = [evidence(one, label, about(0.5)) for label in ("rnn", "rnn+no_clipping")]
    none = decide(known([one], cells(one, *runs)), part)[0]
    assert none.verdict == "undecided", "eight runs without a failure do not show that there are none"


def test_newcombes_interval_is_the_published_one() -> None:
    """Newcombe 1998, Statistics in Medicine 17:873, Table II: 56/70 - 48/80, method 10."""
    from seqbench.analyse.grounds_runs import _newcombe

    assert _newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_crossover_is_read_with_who_is_better_at_the_longest_length() -> None:
    part = Meets(part="…", quantity="train", a="transformer", b="lstm", below=512)
    of = plant(part, True)
    (crossing,) = of.crossovers
    never = crossing.model_copy(update={"length": None, "interval": None})
    slower = {
        curve: claimed._points(
            part, dict.fromkeys((64, 4096), 50.0 if curve.arch == "transformer" else 100.0), 0.01, ()
        )
        for curve in of.curves
    }
    faster = {
        curve: claimed._points(part, dict.fromkeys((64, 4096), 90.0 if curve.arch == "lstm" else 200.0), 0.01, ())
        for curve in of.curves
    }
    assert decide(of._replace(crossovers=[never], curves=slower), part)[0].verdict == "refuted"
    assert decide(of._replace(crossovers=[never], curves=faster), part)[0].verdict == "supported"
    assert decide(of._replace(curves=slower), part)[0].verdict == "refuted"
    last = part.model_copy(update={"below": 4096})
    assert decide(of._replace(crossovers=[never], curves=slower), last)[0].verdict == "refuted", "slower there too"
    alike = {curve: claimed._points(part, {64: 100.0, 4096: 100.0}, 0.1, ()) for curve in of.curves}
    assert decide(of._replace(crossovers=[never], curves=alike), part)[0].verdict == "undecided"


def test_two_machines_are_not_compared() -> None:
    part = Ratio(part="…", quantity="train", a="gru", b="lstm", above=1.05)
    other = planted.HARDWARE.model_copy(update={"name": "Another CPU"})
    measured = [planted.measured("gru", 0), planted.measured("lstm", 1, hardware=other)]
    (claim,) = decide(plant(part, True)._replace(measured=measured), part)
    assert claim.verdict == "undecided"
    assert "different machines" in claim.text


def test_runs_that_never_reach_the_target_are_said() -> None:
    part = TimeToTarget(part="…", a="gru", b="lstm", tasks=("adding",), below=0.95)
    of = plant(part, True)
    harder = [front.model_copy(update={"target": 0.01}) for front in of.fronts]
    (claim,) = decide(of._replace(fronts=harder), part)
    assert "adding-300, gru against lstm: 8 of 8 runs of gru never reach the target: train longer" in claim.text


# ---------------------------------------------------------------- a whole summary


def gathered(root: Path) -> Known:
    """What the analysis knows of a planted run of the pipeline, read from its files."""
    scores = {"rnn": 0.7, "lstm": 0.3, "gru": 0.3, "transformer": 0.1, "my_arch": 0.95}
    plan = planted.plan()
    planted.write(root, plan, lambda t, a, s: scores[a] + random.Random(f"{t} {a} {s}").gauss(0, 0.01))
    names = plan.architectures
    tasks = [read.task(plan, one, root) for one in plan.task_ids]
    gates = {arch: read.gates(plan, arch, root) for arch in names}
    runs = [[read.cell(plan, one, arch, root) for arch in names] for one in tasks]
    own = [cell for one, some in zip(tasks, runs, strict=True) for cell in verdicts.cells(one, some, gates)]
    measured, counted = ([kind(plan, arch, root) for arch in names] for kind in (read.measured, read.counted))
    curves = costs.curves(measured, counted, plan.measure)
    reaches = [one for of, some in zip(tasks, runs, strict=True) for one in read.reaches(plan, of.id, some, root)]
    paces = [read.pace(plan, one, root) for one in plan.task_ids]
    return Known(
        tasks=tasks,
        cells=own,
        laws=costs.laws(curves),
        crossovers=costs.crossovers(curves, names, measured, counted),
        curves=curves,
        measured=measured,
        counted=counted,
        horizons=reach.horizons(reaches),
        held=reach.held(tasks, own),
        fronts=costs.fronts(tasks, own, paces),
        stretches=reach.stretches(reaches),
        pairs=verdicts.pairs(tasks, own, verdicts.design(plan)),
        paces=paces,
    )


def test_a_whole_run_is_decided_and_survives_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archs, "FOLDER", planted.fake_archs(tmp_path / "archs", planted.ARCHS))
    url = types.SimpleNamespace(url="https://example.org", licence="none", citation="LeCun", defects=("none",))
    monkeypatch.setattr(sources, "read", lambda path: dict.fromkeys(("mnist",), url))
    found = claims.decide(REGISTER, gathered(tmp_path))
    assert len(found) == len(PARTS)
    assert {claim.verdict for claim in found} == {"supported", "refuted", "undecided"}
    assert [Claim.from_data(json.loads(json.dumps(claim.plain()))) for claim in found] == list(found)
    by_part = {claim.part: claim for claim in found}
    streamed = by_part["After 1,000 steps a GRU takes the next step in less time than a Transformer"]
    assert streamed.effect == pytest.approx(2.0 / 0.15)  # as planted
    squared = by_part["With attention written out, training memory of a Transformer grows as the square"]
    assert squared.verdict == "supported"
    assert squared.effect == pytest.approx(2.0, abs=0.01)
    assert by_part["An LSTM holds longer sequences than an RNN"].verdict == "undecided", "neither holds any"


# ---------------------------------------------------------------- bad files


def file(tmp_path: Path, *parts: dict[str, Any], number: int = 1, **more: Any) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [{"number": number, "title": "…", "parts": list(parts)} | more]}))
    return path


GOOD = {"part": "…", "measure": "score", "a": "lstm", "b": "rnn", "tasks": ["adding"], "above": 0.1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"measure": "scores"}, ("unknown measure 'scores'", "did you mean 'score'?")),
        ({"measure": None}, ("without a measure", "known: ")),
        ({"abov": 0.1}, ("unknown key 'abov'", "did you mean 'above'?")),
        ({"tasks": ["ading"]}, ("unknown task 'ading'", "did you mean 'adding'?")),
        ({"below": 0.2}, ("2 of above, below, between", "one of them")),
        ({"above": None}, ("0 of above, below, between", "one of them")),
        ({"above": None, "between": [0.2, 0.1]}, ("the smaller number first", "")),
        ({"shortest": "long"}, ("integer", "shortest")),
    ],
)
def test_a_bad_part_is_three_lines_with_its_place(
    changes: dict[str, Any], says: tuple[str, str], tmp_path: Path
) -> None:
    part = {key: value for key, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(InputError) as error:
        claims.read(file(tmp_path, part))
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "claim 1, part 1" in lines[1]
    assert all(word in str(error.value) for word in says)


def test_a_bad_entry_is_three_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="titel"):
        claims.read(file(tmp_path, GOOD, titel="…"))
    path = file(tmp_path, GOOD)
    twice = yaml.safe_load(path.read_text())["claims"] * 2
    path.write_text(yaml.safe_dump({"claims": twice}))
    with pytest.raises(InputError, match="number 1"):
        claims.read(path)
    with pytest.raises(InputError, match="missing"):
        claims.read(tmp_path / "none.yaml")
