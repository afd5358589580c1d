"""Across tasks: planted orders are found and worded, noise is not; intervals, ranks and choices against known cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from test_certificates import cell, task

from seqbench.analyse import across, rank_tests
from seqbench.analyse.certificates import certificates
from seqbench.analyse.conclusions import Certificate, Matched, RankPair
from seqbench.analyse.sensitivity import sensitivity
from seqbench.analyse.summary import Cell

ARCHS = ("rnn", "lstm", "gru", "transformer")
LETTERS = "abcdefghijkl"


def counts(id: str, grey: str = "", trivial: float = 0.0, ceiling: float = 1.0) -> Certificate:
    """Of a task whose scores are rescaled already."""
    return Certificate(
        task=id,
        trivial=trivial,
        strong=None,
        ceiling=ceiling,
        ceiling_of="planted",
        between=0.1,
        within=0.01,
        discriminates=not grey,
        saturated=False,
        grey=grey,
    )


def planted(means: dict[str, Sequence[float]], ids: Sequence[str], spread: float = 0.01, seeds: int = 5) -> list[Cell]:
    """Cells of every architecture on every task id, with normal seeds around those means."""
    generator = np.random.default_rng(1)
    return [
        cell(id, arch, (own[place] + spread * generator.normal(size=seeds)).tolist())
        for place, id in enumerate(ids)
        for arch, own in means.items()
    ]


def ordered(ids: Sequence[str]) -> list[Cell]:
    """transformer > gru > lstm > rnn on every task, by margins that differ from task to task."""
    means = {arch: [0.2 * (place + 1) + 0.007 * n * place for n in range(len(ids))] for place, arch in enumerate(ARCHS)}
    return planted(means, ids)


def noise(ids: Sequence[str]) -> list[Cell]:
    return planted({arch: [0.5] * len(ids) for arch in ARCHS}, ids, spread=0.2)


# ---------------------------------------------------------------- pooled scores


def test_aggregates_by_hand() -> None:
    cells = [
        cell("a", "rnn", [0.1, 0.3]),
        cell("a", "gru", [0.8, 0.6]),
        cell("b", "rnn", [0.5, 0.9]),
        cell("b", "gru", [0.4, 0.2]),
    ]
    rnn, gru = across.aggregates([counts("a"), counts("b")], cells)
    assert (rnn.arch, rnn.tasks, gru.arch) == ("rnn", 2, "gru")
    assert (rnn.mean, gru.mean) == (pytest.approx(0.45), pytest.approx(0.5))
    assert rnn.interquartile_mean == pytest.approx((0.3 + 0.5) / 2)
    assert (rnn.mean_rank, gru.mean_rank) == (1.5, 1.5)
    assert rnn.best + gru.best == pytest.approx(1.0)
    assert rnn.mean_interval is not None and rnn.mean_interval[0] < 0.45 < rnn.mean_interval[1]


def test_scores_are_rescaled_and_grey_tasks_left_out() -> None:
    cells = [cell("a", "rnn", [2.0, 4.0]), cell("b", "rnn", [0.9, 0.9])]
    (rnn,) = across.aggregates([counts("a", trivial=5.0, ceiling=1.0), counts("b", grey="saturated")], cells)
    assert (rnn.mean, rnn.tasks, rnn.best) == (pytest.approx(0.5), 1, 1.0)


def test_levels_of_one_task_are_averaged_before_tasks_are() -> None:
    cells = [cell("a-1", "rnn", [0.0, 0.2]), cell("a-2", "rnn", [0.4, 0.6]), cell("b", "rnn", [0.9, 0.9])]
    (rnn,) = across.aggregates([counts("a-1"), counts("a-2"), counts("b")], cells)
    assert (rnn.tasks, rnn.mean) == (2, pytest.approx((0.3 + 0.9) / 2))
    (profile,) = across.profiles([counts("a-1"), counts("a-2"), counts("b")], cells)
    assert dict(zip(profile.thresholds, profile.shares, strict=True))[0.5] == pytest.approx(1 / 8 + 1 / 2)


def test_failed_seeds_pull_the_mean_down_and_a_cell_without_a_run_has_the_worst() -> None:
    cells = [cell("a", "rnn", [0.8, None], worst=-0.2), cell("a", "gru", [None, None]), cell("a", "lstm", [0.5, 0.7])]
    rnn, gru, lstm = across.aggregates([counts("a")], cells)
    assert (rnn.mean, gru.mean, lstm.mean) == (pytest.approx(0.3), pytest.approx(-0.2), pytest.approx(0.6))
    assert gru.mean_interval == pytest.approx((-0.2, -0.2))
    assert (lstm.mean_rank, gru.mean_rank) == (1.0, 3.0)


def test_an_architecture_refused_on_a_task_that_counts_is_left_out_and_named() -> None:
    cells = [*ordered("ab"), cell("a", "cheat", [1.0] * 5, refused="sees the future"), cell("b", "cheat", [1.0] * 5)]
    of = [counts("a"), counts("b")]
    assert [one.arch for one in across.aggregates(of, cells)] == list(ARCHS)
    assert "Left out: cheat, which is not ranked on every task that counts." in across.ranking(of, cells).text
    assert across.aggregates(of[1:], cells)[-1].arch == "cheat"
    nobody = [cell("a", arch, [0.5] * 5, refused="sees the future") for arch in ARCHS]
    text = across.ranking(of[:1], nobody).text
    assert text.startswith("Nothing to rank: no architecture is ranked on every task that counts. Left out: rnn, lstm")


def test_who_is_best_by_far_is_best_in_every_draw() -> None:
    found = {one.arch: one for one in across.aggregates([counts(id) for id in "abc"], ordered("abc"))}
    assert (found["transformer"].best, found["gru"].best, found["transformer"].mean_rank) == (1.0, 0.0, 1.0)


def test_level_architectures_share_the_draws_evenly() -> None:
    cells = [cell(id, arch, [0.7, 0.7, 0.7]) for id in "abc" for arch in ("rnn", "gru")]
    assert [one.best for one in across.aggregates([counts(id) for id in "abc"], cells)] == [0.5, 0.5]


def test_draws_are_those_of_seeds_drawn_within_each_task() -> None:
    values = np.random.default_rng(2).normal(size=(2, 3, 5))
    means, middles = across.draws(values)
    factor, drawn = across.stretch(values), across._counts(values)[7].astype(int)
    for place, own in enumerate(values):
        assert (drawn[place].sum(axis=1) == 5).all()
        again = np.repeat(own.ravel(), drawn[place].ravel())
        for at, estimate, found in (
            (again.mean(), own.mean(), means),
            (stats.trim_mean(again, 0.25), stats.trim_mean(own.ravel(), 0.25), middles),
        ):
            assert found[7, place] == pytest.approx(estimate + factor[place] * (at - estimate))


def test_stretch_is_students_with_the_freedom_of_all_tasks_that_vary() -> None:
    seeds = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    values = np.stack([np.tile(seeds, (4, 1)), np.outer([1, 0, 0, 0], seeds), np.zeros((4, 5))])
    expected = [math.sqrt(5 / 4) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975) for freedom in (16, 4, 16)]
    assert across.stretch(values) == pytest.approx(expected)
    assert across.stretch(values[..., :1]).tolist() == [1.0, 1.0, 1.0]


def test_intervals_of_many_tasks_are_near_those_of_student() -> None:
    values = np.random.default_rng(4).normal(size=(1, 12, 5))
    found = across.interval(values, across.draws(values)[0])[0]
    half = stats.t.ppf(0.975, 48) * math.sqrt(float(values.var(axis=2, ddof=1).mean()) / 60)
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.2 * half)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(6)
    found = []
    for _ in range(5):
        truth = generator.uniform(size=(40, 6, 1))
        values = truth + generator.lognormal(-3, 0.5, size=(40, 6, 1)) * generator.normal(size=(40, 6, 5))
        ends = across.interval(values, across.draws(values)[0])
        found += [end is not None and end[0] <= at <= end[1] for at, end in zip(truth.mean((1, 2)), ends, strict=True)]
    assert 0.92 <= np.mean(found) <= 0.98


def test_one_seed_has_no_interval() -> None:
    (rnn,) = across.aggregates([counts("a")], [cell("a", "rnn", [0.5])])
    assert (rnn.mean, rnn.mean_interval, rnn.interquartile_interval) == (0.5, None, None)
    (profile,) = across.profiles([counts("a")], [cell("a", "rnn", [0.5])])
    assert (set(profile.low), set(profile.high)) == ({0.0}, {1.0})


def test_profiles_are_shares_of_runs_above_each_threshold_with_a_band() -> None:
    runs = [0.1, 0.3, 0.5, 0.7, 0.95]
    (profile,) = across.profiles([counts("a")], [cell("a", "rnn", runs)])
    shares = [np.mean(np.array(runs) > threshold) for threshold in profile.thresholds]
    assert profile.shares == pytest.approx(shares)
    assert (profile.thresholds[0], profile.thresholds[-1]) == (0.0, 1.0)
    for low, share, high in zip(profile.low, profile.shares, profile.high, strict=True):
        assert 0 <= low <= share <= high <= 1
    half = profile.thresholds.index(0.5)
    assert profile.low[half] < 0.2 and profile.high[half] > 0.6
    assert (profile.low[-1], profile.high[-1]) == (0.0, 0.0)


def test_without_a_task_that_counts_nothing_is_pooled() -> None:
    for of, cells in (([], []), ([counts("a", grey="saturated")], ordered("a"))):
        assert (across.aggregates(of, cells), across.profiles(of, cells)) == ((), ())
        ranking = across.ranking(of, cells)
        assert (ranking.testable, ranking.text, ranking.tasks) == (False, "Nothing to rank: no task counts.", 0)
        found = sensitivity(of, cells, ())
        assert (found.usual, found.choices, found.changed) == (None, (), None)
        assert found.text == "No task counts: nobody can be named."


def test_the_same_cells_give_the_same_numbers() -> None:
    of = [counts(id) for id in "abc"]
    assert across.aggregates(of, noise("abc")) == across.aggregates(of, noise("abc"))
    assert across.profiles(of, noise("abc")) == across.profiles(of, noise("abc"))


# ---------------------------------------------------------------- ranks

TABLE_6 = """4 3 2 1; 1 2 3 4; 4 1 2 3; 4 1 3 2; 4 2 3 1; 1 2.5 4 2.5; 3 2 4 1; 2.5 2.5 4 1; 4 3 2 1;
2.5 2.5 2.5 2.5; 4 2.5 1 2.5; 3 2 4 1; 4 1 2 3; 3 1 4 2"""
"""Ranks of four learners on 14 data sets (Demšar 2006, table 6)."""
TABLE_2 = (0.005, -0.008, 0.017, 0.033, 0.006, -0.005, 0.007, 0.0, 0.063, 0.0, 0.022, 0.047, 0.009, 0.021)
"""Differences of two learners on 14 data sets (Demšar 2006, table 2)."""


def test_friedman_and_nemenyi_are_those_of_demsar() -> None:
    placed = np.array([row.split() for row in TABLE_6.split(";")], dtype=float)
    assert placed.mean(axis=0).round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    tied = sum(float(n**3 - n) for row in placed for n in np.unique(row, return_counts=True)[1])
    plain = stats.friedmanchisquare(*placed.T).statistic * (1 - tied / (14 * 4 * 15))  # the paper ignores ties
    assert plain == pytest.approx(9.28, abs=0.005)
    assert rank_tests.iman_davenport(plain, 4, 14) == pytest.approx(3.69, abs=0.005)
    assert rank_tests.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert stats.f.ppf(0.95, 3, 39) == pytest.approx(2.85, abs=0.005)
    assert 0.005 < rank_tests.friedman(placed) < stats.f.sf(3.69, 3, 39)


def test_signed_ranks_are_those_of_demsar() -> None:
    p, side = rank_tests.signed_ranks(np.array(TABLE_2))
    assert side == pytest.approx(93 - 12)
    assert stats.wilcoxon(TABLE_2, zero_method="zsplit", method="approx").statistic == 12
    sizes = stats.rankdata(np.abs(TABLE_2))
    signs = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
    sums = signs @ np.where(np.array(TABLE_2) == 0, 0, sizes)
    assert p == pytest.approx(np.mean(np.abs(sums) >= side - 1e-9))


@pytest.mark.parametrize("tasks", [5, 8, 12])
def test_signed_ranks_are_scipys_and_reach_the_smallest_p(tasks: int) -> None:
    apart = np.random.default_rng(tasks).normal(0.5, 1, size=tasks)
    assert rank_tests.signed_ranks(apart)[0] == pytest.approx(stats.wilcoxon(apart, method="exact").pvalue)
    one_sided = np.arange(1.0, tasks + 1)
    assert rank_tests.signed_ranks(one_sided)[0] == pytest.approx(rank_tests.smallest_p(2, tasks)[0])
    assert rank_tests.signed_ranks(np.zeros(tasks)) == (1.0, 0.0)


def test_friedman_of_one_order_everywhere_is_its_chance_and_of_ties_one() -> None:
    assert rank_tests.friedman(np.tile([1.0, 2.0, 3.0], (8, 1))) == pytest.approx(6.0**-7)
    assert rank_tests.friedman(np.full((8, 3), 2.0)) == 1.0


@pytest.mark.parametrize(("archs", "tasks"), [(2, 8), (4, 8), (5, 10), (7, 10), (8, 11)])
def test_tasks_needed_let_a_pair_reach_the_level(archs: int, tasks: int) -> None:
    assert rank_tests.needed(archs) == tasks
    assert rank_tests.smallest_p(archs, tasks)[1] <= 0.05


def test_cliques_are_the_longest_neighbours_without_a_difference() -> None:
    mean_ranks = {"d": 4.0, "a": 1.0, "c": 3.0, "b": 2.0}

    def pairs(*different: str) -> list[RankPair]:
        return [
            RankPair(a=two[0], b=two[1], difference=0.1, p=0.01, p_holm=0.01, verdict=f"{two[0]} better than {two[1]}")
            for two in different
        ]

    assert rank_tests.cliques(mean_ranks, pairs("ac", "ad", "bd")) == (("a", "b"), ("b", "c"), ("c", "d"))
    assert rank_tests.cliques(mean_ranks, pairs("ab", "ac", "ad")) == (("a",), ("b", "c", "d"))
    assert rank_tests.cliques(mean_ranks, []) == (("a", "b", "c", "d"),)


def test_a_planted_order_is_found_and_said() -> None:
    ids = LETTERS[:8]
    found = across.ranking([counts(id) for id in ids], ordered(ids))
    assert (found.testable, found.tasks, found.needed) == (True, 8, 8)
    assert found.mean_ranks == {"rnn": 4.0, "lstm": 3.0, "gru": 2.0, "transformer": 1.0}
    assert found.friedman_p is not None and found.friedman_p < 1e-4
    assert [pair.verdict for pair in found.pairs][:2] == ["lstm better than rnn", "gru better than rnn"]
    assert found.pairs[0].difference == pytest.approx(-0.2 - 0.007 * 3.5, abs=0.01)
    assert found.pairs[0].p == pytest.approx(2 / 256)
    assert found.cliques == (("transformer",), ("gru",), ("lstm",), ("rnn",))
    assert found.text.startswith(
        "With 8 tasks the smallest attainable p of a pair is 0.00781, 0.0469 after Holm's correction over 6 pairs. "
        "Friedman's test finds a difference (p = "
    )
    assert (
        "transformer is better than gru, lstm and rnn; gru is better than lstm and rnn; lstm is better than rnn (p ≤ "
        in found.text
    )


def test_planted_noise_gives_no_order() -> None:
    ids = LETTERS[:10]
    found = across.ranking([counts(id) for id in ids], noise(ids))
    assert found.testable and found.friedman_p is not None and found.friedman_p > 0.05
    assert {pair.verdict for pair in found.pairs} == {"no clear difference"}
    assert [sorted(clique) for clique in found.cliques] == [sorted(ARCHS)]
    assert "Friedman's test finds no difference between architectures (p = " in found.text
    assert "better" not in found.text


def test_a_pair_is_named_only_where_friedman_finds_a_difference() -> None:
    ids = LETTERS[:8]
    swing = [0.1 + 0.8 * (n % 2) for n in range(8)]
    means = {
        "rnn": swing,
        "lstm": swing[1:] + swing[:1],
        "gru": [0.5] * 8,
        "transformer": [0.55 + n / 50 for n in range(8)],
    }
    found = across.ranking([counts(id) for id in ids], planted(means, ids, spread=0.001))
    assert found.friedman_p is not None and found.friedman_p > 0.05
    assert min(pair.p_holm for pair in found.pairs) <= 0.05
    assert {pair.verdict for pair in found.pairs} == {"no clear difference"}


def test_with_too_few_tasks_nothing_is_tested_and_how_many_would_do_is_said() -> None:
    found = across.ranking([counts(id) for id in "abcde"], ordered("abcde"))
    assert (found.testable, found.friedman_p, found.cliques, found.needed) == (False, None, (), 8)
    assert found.text == (
        "With 5 tasks the smallest attainable p of a pair is 0.0625, 0.375 after Holm's correction over 6 pairs. "
        "Not testable with 5 tasks: 8 would do."
    )
    assert {pair.verdict for pair in found.pairs} == {"not testable with 5 tasks"}
    single = across.ranking([counts("a")], ordered("a"))
    assert single.text.startswith("With 1 task the smallest attainable p of a pair is 1, 1 after")


def test_levels_of_one_task_are_no_tasks_more() -> None:
    ids = [f"a-{n}" for n in range(6)] + list("bcd")
    found = across.ranking([counts(id) for id in ids], ordered(ids))
    assert (found.tasks, found.testable) == (4, False)
    assert "9 task ids are 4 tasks, since levels of one task are not independent and are averaged first." in found.text


def test_two_architectures_are_ranked_without_friedman_and_one_is_not() -> None:
    ids = LETTERS[:8]
    two = [one for one in ordered(ids) if one.arch in ("rnn", "gru")]
    found = across.ranking([counts(id) for id in ids], two)
    assert (found.friedman_p, found.pairs[0].verdict) == (None, "gru better than rnn")
    assert found.text == (
        "With 8 tasks the smallest attainable p of a pair is 0.00781. "
        "By Wilcoxon's test over tasks gru is better than rnn (p ≤ 0.00781 after Holm)."
    )
    alone = [one for one in two if one.arch == "gru"]
    assert across.ranking([counts(id) for id in ids], alone).text == "Nothing to rank: gru is alone."
    assert sensitivity([counts(id) for id in ids], alone, ()).text == "gru is alone: no choice can change the winner."


# ---------------------------------------------------------------- sensitivity


def test_a_winner_everywhere_wins_by_every_choice() -> None:
    found = sensitivity([counts(id) for id in "abc"], ordered("abc"), ())
    assert (found.usual, found.changed) == ("transformer", 0.0)
    names = [choice.name for choice in found.choices]
    assert names[:5] == [
        "interquartile mean",
        "mean rank",
        "mean without a",
        "interquartile mean without a",
        "mean rank without a",
    ]
    assert len(names) == 2 + 3 * 3
    assert found.text.startswith("transformer has the highest mean rescaled score. All 11 other choices")
    assert found.text.endswith("a winner within the noise of seeds is still a winner.")


def test_a_winner_by_one_task_alone_loses_where_that_task_or_its_size_does_not_count() -> None:
    means = {"rnn": [1.0, 0.4, 0.4], "gru": [0.1, 0.5, 0.5]}
    found = sensitivity([counts(id) for id in "abc"], planted(means, "abc", spread=0.001), ())
    winners = {choice.name: choice.winner for choice in found.choices}
    assert found.usual == "rnn"
    assert {name for name, winner in winners.items() if winner == "gru"} >= {"mean without a", "mean rank"}
    assert (winners["mean without b"], winners["mean rank without b"]) == ("rnn", None)
    named = [winner for winner in winners.values() if winner]
    assert found.changed == pytest.approx(named.count("gru") / len(named))
    assert f"{named.count('gru')} of {len(named)} other choices that name a winner name another: gru by " in found.text


def rule(name: str, id: str, ranks: dict[str, int], note: str = "") -> Matched:
    return Matched(
        task=id,
        rule=name,  # type: ignore[arg-type]
        scores={},
        ranks=ranks,
        changed=(),
        budget="",
        note=note,
    )


def test_matching_rules_count_where_they_were_tried() -> None:
    means = {"rnn": [0.9, 0.9, 0.4], "gru": [0.5, 0.5, 0.5]}
    of, cells = [counts(id) for id in "abc"], planted(means, "abc", spread=0.001)
    turned = {"rnn": 2, "gru": 1}
    matched = [rule("training time", "a", turned), rule("state bytes", "a", {}, "needs widths")]
    found = {choice.name: choice for choice in sensitivity(of, cells, matched).choices}
    time = found["mean rank at equal training time"]
    assert (time.winner, time.note) == ("gru", "on 1 of 3 task ids, at equal parameters on the others")
    state = found["mean rank at equal state bytes"]
    assert (state.winner, state.note) == (None, "needs widths")
    grey = [counts("a", grey="saturated"), *of[1:]]
    left = {choice.name: choice for choice in sensitivity(grey, cells, matched[:1]).choices}
    assert left["mean rank at equal training time"].note == "no task that counts was matched so"


def test_level_winners_and_one_task_name_nobody() -> None:
    cells = [cell("a", "rnn", [0.5, 0.6]), cell("a", "gru", [0.6, 0.5])]
    found = sensitivity([counts("a")], cells, ())
    assert (found.usual, found.changed) == (None, None)
    assert found.text == "Nobody has the highest mean rescaled score alone: rnn and gru are level."
    assert {choice.note for choice in found.choices[2:]} == {"no task is left"}


# ---------------------------------------------------------------- all together


def test_from_tasks_to_the_winner_with_noise_saturation_failures_and_refusals() -> None:
    ids = [*LETTERS[:9], "y", "z"]
    tasks = [task(id, trivial=0.0) for id in ids]
    cells = [
        *ordered(LETTERS[:9]),
        *planted({arch: [0.9999] for arch in ARCHS}, "y", spread=1e-5),
        *(cell("z", arch, [0.5, 0.6, 0.4, 0.55 + n / 1000, 0.45]) for n, arch in enumerate(ARCHS)),
    ]
    cells = [one if (one.task, one.arch) != ("b", "rnn") else cell("b", "rnn", [None] * 5) for one in cells]
    of = certificates(tasks, cells, {})
    assert [one.task for one in of if one.grey] == ["y", "z"]
    found = across.ranking(of, cells)
    assert (found.tasks, found.testable) == (9, True)
    assert sensitivity(of, cells, ()).usual == "transformer"
    assert [one.tasks for one in across.aggregates(of, cells)] == [9] * 4
