"""Which one to use: probabilities against known ones, fronts and limits by hand, noise that nobody can tell apart."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from scipy import stats

from seqbench.analyse import across, chooser, costs
from seqbench.analyse.chooser import Costs, Limits, chances, choose, subsets
from seqbench.analyse.conclusions import Advice, Choosable, Option, Options
from seqbench.analyse.statistics import Array
from seqbench.analyse.summary import Summary
from seqbench.measurements import Measured
from seqbench.report import chooser as shown

NORMAL = np.random.default_rng(7).normal(size=(6, 8))
CHANCE = 0.02
"""Four standard errors of a share of 10,000 draws."""


# ---------------------------------------------------------------- probabilities


def test_far_apart_is_sure_and_the_same_is_a_coin() -> None:
    assert chances(np.array([NORMAL[0], NORMAL[1] + 50, NORMAL[2] + 20])) == [0.0, 1.0, 0.0]
    for k in (2, 3, 6):
        assert chances(np.array([NORMAL[0]] * k)) == pytest.approx([1 / k] * k, abs=CHANCE)


def test_ties_are_split() -> None:
    assert chances(np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.2], [0.5, 0.5]])) == pytest.approx(
        [1 / 3, 1 / 3, 0, 1 / 3]
    )


def test_with_three_seeds_it_is_the_share_of_all_possible_draws() -> None:
    """By hand: 27 equally likely draws a side, moved away from the mean as three seeds need, within their range."""
    values = np.array([[0.1, 0.4, 0.9], [0.3, 0.5, 1.1]])
    means = values.mean(axis=1)
    factor = across.stretch(values[:, None])
    assert (factor > 2).all()
    drawn = [[np.mean(draw) for draw in itertools.product(own, repeat=3)] for own in values]
    a, b = (np.clip(means[n] + factor[n] * (np.array(drawn[n]) - means[n]), *values[n, [0, 2]]) for n in (0, 1))
    exact = float(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))
    assert 0.2 < exact < 0.45
    assert chances(values) == pytest.approx([exact, 1 - exact], abs=CHANCE)


def test_seeds_that_all_lose_do_not_win_by_the_one_that_failed() -> None:
    """A third of the draws leave the failed seed out; stretched, they would lie beyond every score there is."""
    often = np.array([0.995, 0.994, 0.993, 0.992, 0.991, 0.99, 0.2])
    assert chances(np.array([often, np.linspace(0.996, 0.999, 7)])) == [0.0, 1.0]


@pytest.mark.parametrize("apart", [0.0, 0.05, 0.15])
def test_with_many_seeds_it_is_that_of_two_normal_means(apart: float) -> None:
    values = np.random.default_rng(3).normal(size=(2, 300))
    values[1] += apart
    error = np.sqrt(values.var(axis=1, ddof=1).sum() / 300)
    expected = stats.norm.cdf((values[1].mean() - values[0].mean()) / error)
    assert chances(values)[1] == pytest.approx(expected, abs=CHANCE)


def test_it_repeats() -> None:
    assert chances(NORMAL) == chances(NORMAL) and subsets(list(NORMAL[:4])) == subsets(list(NORMAL[:4]))


def test_every_subset_has_the_probabilities_of_its_members_alone() -> None:
    found = subsets(list(NORMAL[:4]))
    assert len(found) == 16 and found[0] == () and found[0b0100] == (1000,)
    assert all(abs(sum(odds) - 1000) <= 2 for odds in found[1:])
    for members in ([0, 2], [1, 2, 3]):
        own = found[sum(1 << place for place in members)]
        assert [p / 1000 for p in own] == pytest.approx(chances(NORMAL[members]), abs=CHANCE)


def test_who_is_no_candidate_is_in_no_subset() -> None:
    found = subsets([NORMAL[0], None, NORMAL[2]])
    assert [bool(odds) for odds in found] == [False, True, False, False, True, True, False, False]


def test_of_one_seed_nothing_is_said_and_of_many_architectures_one_row() -> None:
    assert subsets([np.array([0.1]), np.array([0.2])]) == () and subsets([None, None]) == ()
    (whole,) = subsets([*NORMAL, None, NORMAL[0] + 50])
    assert whole == (0, 0, 0, 0, 0, 0, 0, 1000)


# ---------------------------------------------------------------- choosing


def option(arch: str, rescaled: float = 0.5, costs: Any = (1.0, 10.0, 100.0, 64, 6000), **changes: Any) -> Option:
    fields = {"arch": arch, "rescaled": rescaled, "better_than": ()}
    return Option(**(fields | {"costs": costs} | changes))


def asked(id: str, *every: Option, seeds: int = 5, values: Array | None = None, **changes: Any) -> Options:
    """A task of these options, with the odds of `values` (else of far distances by score)."""
    apart = np.array([[one.rescaled - 1e-4, one.rescaled + 1e-4] for one in every])
    made = [None if one.out else own for one, own in zip(every, apart if values is None else values, strict=True)]
    fields = {"task": id, "name": id.split("-")[0], "family": "probe", "length": 50, "seeds": seeds, "context": 1000}
    return Options(**(fields | {"options": every, "odds": subsets(made)} | changes))


def chosen(*own: Options, **limits: float) -> Advice:
    return choose(own, "probe", "any", Limits(**limits))


def row(advice: Advice, arch: str) -> Choosable:
    return next(one for one in advice.rows if one.arch == arch)


def test_who_is_as_good_and_as_cheap_dominates() -> None:
    best, fast = option("best", 0.9), option("fast", 0.4, (0.5, 10.0, 100.0, 64, 6000))
    worse, alike = option("worse", 0.8, (1.0, 10.0, 100.0, 65, 6000)), option("alike", 0.9)
    found = chosen(asked("a", best, fast, worse, alike))
    assert {one.arch: one.out for one in found.rows[:3]} == {"best": "", "alike": "", "fast": ""}
    assert (found.rows[3].arch, found.rows[3].out) == ("worse", "behind best and alike in every mean")


def test_parameters_are_a_limit_and_no_cost_since_they_are_matched() -> None:
    found = chosen(asked("a", option("a", 0.9), option("b", 0.8, (1.0, 10.0, 100.0, 64, 5900))))
    assert row(found, "b").out == "behind a in every mean"


def test_what_was_not_measured_is_neither_lower_nor_within_a_limit() -> None:
    known, unknown = option("known", 0.9), option("unknown", 0.8, (None, 10.0, 100.0, 64, 6000))
    found = chosen(asked("a", known, unknown))
    assert [one.out for one in found.rows] == ["", ""]
    assert row(chosen(asked("a", known, unknown), latency=5), "unknown").out == "– ms per step: not measured"
    both = [option(name, score, (None, 10.0, 100.0, 64, 6000)) for name, score in (("a", 0.9), ("b", 0.8))]
    assert row(chosen(asked("a", *both)), "b").out == "behind a in every mean"


def test_a_limit_leaves_out_and_probabilities_are_made_anew() -> None:
    costs = [(n, 10.0 * n, 100.0, 64, 1000 * n) for n in (1, 2, 3)]
    own = asked("a", *(option(f"a{n}", 0.5 + 0.1 * n, costs[n]) for n in range(3)), values=NORMAL[:3])
    every = chosen(own)
    assert sum(one.best or 0 for one in every.rows) == pytest.approx(100, abs=0.2)
    for limits in ({"latency": 2.0}, {"memory": 20.5}, {"parameters": 2999.0}):
        found = chosen(own, **limits)
        assert [one.best for one in found.rows[:2]] == sorted((p / 10 for p in own.odds[0b011]), reverse=True)
        assert row(found, "a2").best is None and row(found, "a2").out.endswith(": over the limit")
    assert (
        row(chosen(own, latency=1, memory=25), "a2").out
        == "3 ms per step: over the limit; 30 MB to train: over the limit"
    )
    assert chosen(own, latency=1.0).text == "On the front, with P(best): a0 over 99 %. On a, only a0 is left."
    nobody = chosen(own, latency=0.5)
    assert nobody.text == "No architecture is left." and all(one.best is None for one in nobody.rows)


def test_of_many_architectures_those_left_share_the_probability_of_all() -> None:
    every = [option(f"a{n}", 0.5, (float(n), 10.0, 100.0, 64, 6000)) for n in range(7)]
    own = asked("a", *every, odds=((100, 300, 100, 500, 0, 0, 0),))
    best = {one.arch: one.best for one in chosen(own, latency=2.0).rows if one.best is not None}
    assert best == pytest.approx({"a0": 20.0, "a1": 60.0, "a2": 20.0})
    other = own.model_copy(update={"odds": ((0, 0, 0, 1000, 0, 0, 0),)})
    assert row(chosen(other, latency=1.0), "a0").best == 50.0


def test_levels_of_one_task_are_averaged_first_and_the_costliest_task_counts() -> None:
    levels = [
        asked(id, option("a", high), option("b", 0.5, (1.0, memory, 100.0, 64, 6000)))
        for id, high, memory in (("a-1", 0.7, 20.0), ("a-2", 0.9, 30.0), ("b", 0.1, 5.0))
    ]
    found = chosen(*levels)
    assert row(found, "a").rescaled == pytest.approx((0.8 + 0.1) / 2)
    assert (row(found, "a").best, row(found, "b").best) == (pytest.approx(50.0), pytest.approx(50.0))
    assert row(found, "b").costs[1] == 30.0 and found.tasks == ("a-1", "a-2", "b")


def test_verdicts_tell_apart_and_not_the_bootstrap() -> None:
    """The probability is near 1 throughout; only where the tests name a winner is one named."""
    sure = asked("sure", option("a", 0.9, better_than=("b", "c")), option("b"), option("c"))
    half = asked("half", option("a", 0.9, better_than=("c",)), option("b"), option("c"))
    open_ = asked("open", option("a", 0.9), option("b"), option("c"))
    found = chosen(sure, half, open_)
    assert found.text == (
        "On the front, with P(best): a over 99 %. On sure, a is better than the rest. "
        "On half, these 5 seeds cannot tell a and b apart. On open, these 5 seeds cannot tell a, b and c apart."
    )
    assert "On half and open, these" in chosen(half, open_.model_copy(update={"options": half.options})).text
    alone = asked("a", option("a"), option("b"), seeds=1, odds=())
    assert chosen(alone).text == "On the front, with P(best): a –, b –. On a, one seed cannot tell a and b apart."


def test_who_fails_a_gate_is_left_out_with_the_tasks() -> None:
    out = option("cheat", 1.0, (0.1, 1.0, 1.0, 1, 1), out="fails a gate")
    fine = option("fine", 0.5)
    found = chosen(asked("a", out, fine), asked("b", out, fine), asked("c", option("cheat", 1.0), fine))
    assert row(found, "cheat").out == "fails a gate on a and b" and row(found, "cheat").best is None
    assert row(found, "fine").best == 100.0


@pytest.mark.parametrize(
    ("best", "said"),
    [(None, "–"), (0.4, "under 1 %"), (0.5, "1 %"), (62.5, "63 %"), (99.4, "99 %"), (99.5, "over 99 %")],
)
def test_a_bootstrap_is_never_sure(best: float | None, said: str) -> None:
    assert chooser.share(best) == said


def test_bands() -> None:
    assert [chooser.BANDS.index(chooser.band(length)) for length in (1, 64, 65, 256, 1024, 1025)] == [0, 0, 1, 1, 2, 3]
    assert chooser.BANDS[2] == "257 to 1,024 steps"


# ---------------------------------------------------------------- from records

TASKS = {"adding": [{"length": 20}, {"length": 50}], "psmnist": [{}], "recall": [{"pairs": 4}]}
ARCHS = planted.ARCHS[:4]


def scores(task: str, arch: str, seed: int) -> float | None:
    """lstm is clearly best on adding, where two seeds of gru fail; on the others only chance differs."""
    noise = float(np.random.default_rng([seed, ARCHS.index(arch), len(task)]).normal())
    if not task.startswith("adding"):
        return 0.5 + 0.02 * noise
    if arch == "gru" and seed < 3:
        return None
    return 0.2 + 0.2 * ["lstm", "gru", "rnn", "transformer"].index(arch) + 0.001 * noise


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return planted.summary(tmp_path_factory.mktemp("chooser"), planted.plan(TASKS, ARCHS), scores)


def sources(summary: Summary) -> Costs:
    curves = costs.curves(summary.measured, summary.counted, summary.plan.measure)
    return Costs(curves, summary.measured, summary.counted, summary.fronts)


def test_a_planted_winner_is_named_and_noise_is_not(summary: Summary) -> None:
    assert [(one.family, one.band, one.tasks) for one in summary.advice] == [
        ("pixels", "up to 64 steps", ("psmnist",)),
        ("probe", "up to 64 steps", ("adding-20", "adding-50", "recall-4")),
    ]
    pixels, probe = summary.advice
    assert "On psmnist, these 7 seeds cannot tell rnn, lstm, gru and transformer apart." in pixels.text
    assert max(one.best or 0 for one in pixels.rows) < 90
    assert "On adding-20 and adding-50, lstm is better than the rest. On recall-4, these 7 seeds cannot" in probe.text
    adding = summary.options[0]
    assert adding.odds[0b1111] == (0, 1000, 0, 0)
    assert adding.options[1].better_than == ("rnn", "gru", "transformer")
    # levels first: adding counts once, recall once
    recall = summary.options[3].odds[0b1111][1]
    assert row(probe, "lstm").best == pytest.approx((1000 + recall) / 20)


def test_numbers_are_those_of_cells_and_measurements(summary: Summary) -> None:
    for of in summary.options:
        for place, one in enumerate(of.options):
            latency, memory, seconds, state, parameters = one.costs
            assert latency == (2.0 if one.arch == "transformer" else pytest.approx(0.05 * (place + 1)))
            assert memory == pytest.approx(50.0 * (place + 1))  # 1 MB a step and place, between 32 and 128 steps
            front = next(front for front in summary.fronts if (front.task, front.arch) == (of.task, one.arch))
            assert seconds == pytest.approx(front.seconds, rel=5e-3)
            assert (state, parameters) == (128, 5929)
        assert of.context == 1000


def test_rescaled_is_that_of_the_certificate(summary: Summary) -> None:
    for of, scale in zip(summary.options, summary.certificates, strict=True):
        assert scale.ceiling is not None
        for one in of.options:
            mean = summary.cell(of.task, one.arch).mean
            assert mean is not None
            assert one.rescaled == pytest.approx((mean - scale.trivial) / (scale.ceiling - scale.trivial), abs=1e-6)


def test_where_nobody_beats_the_control_the_worst_mean_is_minus_one(tmp_path: Path) -> None:
    of = planted.plan({"psmnist": [{}]}, ARCHS, (1, 2, 3))
    bad = planted.summary(tmp_path, of, lambda _, arch, seed: 2.0 + 0.5 * ARCHS.index(arch) + 0.01 * seed)
    certificate = bad.certificates[0].model_copy(update={"ceiling": None})
    (found,) = chooser.options(bad.tasks, bad.cells, bad.pairs, [certificate], sources(bad))
    assert [one.rescaled for one in found.options] == pytest.approx(
        [-1.12 / 2.62, -1.62 / 2.62, -2.12 / 2.62, -1.0], abs=1e-6
    )
    assert found.odds[0b1111] == (1000, 0, 0, 0)


def test_a_failed_seed_is_the_worst_and_who_never_finishes_is_out(tmp_path: Path) -> None:
    def score(_: str, arch: str, seed: int) -> float | None:
        return None if arch == "gru" or (arch == "lstm" and seed == 1) else 0.5 + 0.001 * seed

    found = planted.summary(tmp_path, planted.plan({"psmnist": [{}]}, ARCHS, (1, 2, 3, 4, 5)), score).options[0]
    rnn, lstm, gru, transformer = found.options
    assert lstm.rescaled < rnn.rescaled == transformer.rescaled
    first, second, third = found.odds[0b1011]  # of all but gru
    assert second < min(first, third) and first + second + third == pytest.approx(1000, abs=1)
    assert gru.out == "no seed finished" and found.odds[0b1111] == ()


def test_memory_of_a_length_between_and_below_those_counted(summary: Summary) -> None:
    of = sources(summary)
    assert chooser._memory(128, of) == {arch: pytest.approx(128.0 * (n + 1)) for n, arch in enumerate(ARCHS)}
    assert chooser._memory(7, of) == chooser._memory(32, of)
    assert chooser._memory(1000, of)["lstm"] == pytest.approx(2000.0)


def test_latency_is_compared_after_a_context_that_all_reached(summary: Summary) -> None:
    def without(m: Any) -> Any:
        return m.model_copy(update={"value": None}) if m.quantity == "stream" and m.length == 1000 else m

    first = summary.measured[0]
    short = first.model_copy(update={"measurements": tuple(map(without, first.measurements))})
    measured = (short, *summary.measured[1:])
    curves = costs.curves(measured, summary.counted, summary.plan.measure)
    found = chooser.streamed(Costs(curves, measured, summary.counted, summary.fronts))
    assert found.context == 100 and found.ms["transformer"] == pytest.approx(0.2)


def test_of_different_machines_no_cost_is_compared(summary: Summary) -> None:
    hardware = planted.HARDWARE.model_copy(update={"name": "another"})
    measured = (*summary.measured[:-1], planted.measured(ARCHS[-1], 3, hardware=hardware))
    counted = (*summary.counted[:-1], planted.counted(ARCHS[-1], 3, hardware=hardware))
    curves = costs.curves(measured, counted, summary.plan.measure)
    of = Costs(curves, measured, counted, ())
    assert chooser.streamed(of) == (None, {}) and chooser._memory(50, of) == {}
    (found, *_) = chooser.options(summary.tasks, summary.cells, summary.pairs, summary.certificates, of)
    assert all(one.costs[:3] == (None, None, None) for one in found.options)


# ---------------------------------------------------------------- on the page


def test_data_for_the_script_ends_no_attribute(summary: Summary) -> None:
    bad = "".join(planted.HOSTILE) + "' onload='x & y"
    options = tuple(one.model_copy(update={"task": bad, "family": bad}) for one in summary.options)
    text = shown.data(summary.model_copy(update={"options": options}))
    assert not set(text) & set("<>'") and "&amp; y" in text


def test_the_note_says_what_costs_are_of(summary: Summary) -> None:
    note = shown.note(summary)
    assert "one streamed step after 1,000 steps" in note and "8; both of causal models of 20,000 parameters on" in note
    assert "more than 6" not in note and "unsteady" not in note and "both ways" not in note
    many = summary.plan.model_copy(update={"architectures": tuple("abcdefg")})
    assert "With more than 6 architectures" in shown.note(summary.model_copy(update={"plan": many}))


def test_the_note_says_whose_times_are_unsteady_and_what_cannot_be_streamed(summary: Summary) -> None:
    def shaky(one: Measured) -> Measured:
        flags = {"stream": ("unsteady",)}
        points = tuple(m.model_copy(update={"flags": flags.get(m.quantity, m.flags)}) for m in one.measurements)
        return one.model_copy(update={"measurements": points})

    measured = tuple(shaky(one) if one.arch in ("gru", "rnn") else one for one in summary.measured)
    first, *others = summary.tasks
    both = first.model_copy(update={"spec": first.spec.model_copy(update={"causal": False})})
    note = shown.note(summary.model_copy(update={"measured": measured, "tasks": (both, *others)}))
    assert "(the time of a step was unsteady, or the machine busy, for rnn and gru)" in note
    assert note.endswith(f" Models of {first.id} read both ways: they cannot be streamed, and keep no state.")
