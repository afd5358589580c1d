"""Intervals hold the truth as often as they say, tests find nothing where nothing is, and both are SciPy's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy import stats

from seqbench.analyse import statistics

FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
"""Hours of sleep gained by ten patients with each of two drugs (Student 1908)."""
GAINED = [b - a for a, b in zip(FIRST, SECOND, strict=True)]


def percentile(*samples: Any) -> tuple[float, float]:
    """The plain percentile bootstrap of a mean, or of a difference of means."""
    rng = np.random.default_rng(0)
    drawn = [np.asarray(x)[rng.integers(0, len(x), (999, len(x)))].mean(axis=1) for x in samples]
    low, high = np.quantile(drawn[0] - sum(drawn[1:]), [0.025, 0.975])
    return float(low), float(high)


def coverage(
    method: Callable[..., Any], draws: list[Callable[[np.random.Generator], Any]], truth: float, times: int
) -> float:
    """Share of the intervals that hold the truth."""
    rng = np.random.default_rng(7)
    found = [method(*(draw(rng) for draw in draws)) for _ in range(times)]
    return float(np.mean([low <= truth <= high for low, high in found]))


# ---------------------------------------------------------------- means


def test_a_mean_has_students_interval() -> None:
    """Student's own data; R prints 0.7001142 and 2.4598858 for `t.test(sleep)`, paired."""
    assert statistics.interval(GAINED) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)


def test_a_difference_of_means_has_welchs_interval() -> None:
    """The example in R's help of `t.test`: -3.3654832 and 0.2054832."""
    assert statistics.interval(FIRST, SECOND) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 5), (8, 3)])
def test_intervals_are_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.gamma(2, size=n), rng.normal(size=m) * 5
    one = stats.ttest_1samp(a, 0).confidence_interval(0.95)
    two = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert statistics.interval(a) == pytest.approx((one.low, one.high))
    assert statistics.interval(a, b) == pytest.approx((two.low, two.high))


def test_the_side_that_does_not_vary_leaves_the_other_its_own_interval() -> None:
    low, high = statistics.interval(GAINED) or (0, 0)
    assert statistics.interval(GAINED, [1.0, 1.0]) == pytest.approx((low - 1, high - 1))
    assert statistics.interval([1.0, 1.0, 1.0], GAINED) == pytest.approx((1 - high, 1 - low))


def test_values_that_are_equal_give_a_point_however_their_mean_is_rounded() -> None:
    low, high = statistics.interval([0.1, 0.1, 0.1]) or (0, 1)
    assert low == high == pytest.approx(0.1)
    low, high = statistics.interval([0.7] * 5, [0.1] * 3) or (0, 1)
    assert low == high == pytest.approx(0.6)
    assert statistics.interquartile_interval([0.3] * 6) == pytest.approx((0.3, 0.3))


def test_one_seed_has_no_interval_of_any_kind() -> None:
    assert statistics.interval([0.5]) is None
    assert statistics.interval([0.5, 0.6], [0.1]) is None
    assert statistics.interquartile_interval([0.5]) is None
    assert statistics.improvement_interval([0.5], [0.1, 0.2]) is None
    assert statistics.equivalence([0.5], 0.5, 0.1) == (0.5, None, None)


def test_a_mean_that_cannot_be_negative_has_no_negative_end() -> None:
    assert (statistics.interval([3.0, 3.0, 9.0]) or (0, 0))[0] < 0
    low, high = statistics.interval([3.0, 3.0, 9.0], at_least=0.0) or (1, 1)
    assert (low, high) == (0.0, pytest.approx(5 + 4.302653 * 2))
    assert statistics.interval(GAINED, at_least=0.0) == statistics.interval(GAINED)


POPULATIONS = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "heavy": (lambda rng, n: rng.standard_t(5, size=n), 0.0),
    "skewed": (lambda rng, n: rng.gamma(4, size=n), 4.0),
    "accuracy": (lambda rng, n: rng.beta(45, 5, size=n), 0.9),
}
ENOUGH, TOO_MUCH = 0.90, 0.98


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize("n", [5, 8])
def test_intervals_of_means_cover(name: str, n: int) -> None:
    draw, truth = POPULATIONS[name]
    one = [lambda rng: draw(rng, n)]
    assert ENOUGH <= coverage(statistics.interval, one, truth, 1000) <= TOO_MUCH
    assert ENOUGH <= coverage(statistics.interval, one * 2, 0.0, 1000) <= TOO_MUCH


def test_the_bound_on_coverage_is_one_that_the_percentile_bootstrap_misses() -> None:
    draw, truth = POPULATIONS["normal"]
    one = [lambda rng: draw(rng, 5)]
    assert coverage(percentile, one, truth, 500) < ENOUGH
    assert coverage(percentile, one * 2, truth, 500) < ENOUGH


# ---------------------------------------------------------------- interquartile means


def _resampled(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Interquartile means of all resamples, sorted, and the share of resamples up to each."""
    n = len(values)
    drawn = np.array(list(itertools.combinations_with_replacement(range(n), n)))
    counts = (drawn[:, :, None] == np.arange(n)).sum(axis=1)
    weights = math.factorial(n) / np.array([[math.factorial(c) for c in row] for row in counts]).prod(axis=1) / n**n
    means = stats.trim_mean(np.array(values)[drawn], 0.25, axis=1)
    order = np.argsort(means)
    return means[order], np.cumsum(weights[order])


@pytest.mark.parametrize("n", [4, 5, 7, 8])
def test_the_interquartile_interval_has_the_expanded_tails_of_all_resamples(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n).tolist()
    means, share = _resampled(values)
    tail = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(0.025, n - 1))
    low, high = statistics.interquartile_interval(values) or (0, 0)
    assert means[np.searchsorted(share, 0.5 * tail)] <= low <= means[np.searchsorted(share, 1.6 * tail)]
    assert means[np.searchsorted(share, 1 - 1.6 * tail)] <= high <= means[np.searchsorted(share, 1 - 0.5 * tail)]


def test_of_fewer_than_four_values_nothing_is_trimmed() -> None:
    assert statistics.interquartile_interval([1.0, 2.0, 6.0]) == statistics.interval([1.0, 2.0, 6.0])
    assert statistics.interquartile_interval([1.0, 2.0]) == statistics.interval([1.0, 2.0])


def test_intervals_of_interquartile_means_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    found = coverage(statistics.interquartile_interval, [lambda rng: rng.normal(size=5)], 0.0, 200)
    assert ENOUGH <= found <= TOO_MUCH


# ---------------------------------------------------------------- equivalence


def test_equivalence_of_a_worked_example() -> None:
    """Student's data against no difference, margin 0.5, as in the vignette of R's package TOSTER: 0.8670 and 2.2930."""
    found = statistics.equivalence(GAINED, 0.0, 0.5)
    assert found.mean == pytest.approx(1.58)
    assert found.interval == pytest.approx((0.8670, 2.2930), abs=5e-5)
    assert found.equal is False


def test_equal_is_what_two_one_sided_tests_say() -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(100):
        sample, margin = rng.normal(0.5, 0.3, size=6), 0.4
        below = stats.ttest_1samp(sample, 0.3 - margin, alternative="greater").pvalue
        above = stats.ttest_1samp(sample, 0.3 + margin, alternative="less").pvalue
        found = statistics.equivalence(sample, 0.3, margin)
        assert (found.equal is True) == (max(below, above) <= 0.05)
        low, high = found.interval or (0, 0)
        assert (found.equal is False) == (high < 0.3 - margin or low > 0.3 + margin)
        seen.add(found.equal)
    assert {True, None} <= seen


def test_seeds_that_agree_exactly_are_equal_or_not() -> None:
    assert statistics.equivalence([0.25] * 3, 0.2, 0.1) == (0.25, (0.25, 0.25), True)
    assert statistics.equivalence([0.25] * 3, 0.5, 0.1) == (0.25, (0.25, 0.25), False)


def test_equality_is_claimed_wrongly_in_one_of_twenty_at_most() -> None:
    """The mean lies just on the margin, so it is not within it."""
    rng = np.random.default_rng(3)
    claims = [statistics.equivalence(rng.normal(0.1, 0.05, 5), 0.0, 0.1).equal is True for _ in range(1000)]
    assert 0.02 < np.mean(claims) < 0.08


# ---------------------------------------------------------------- probability of improvement


def test_improvement_of_a_worked_example() -> None:
    """Bonett's example of `ci.mann` in R's package statpsych: 0.86875."""
    a = [9.4, 10.3, 58.3, 106.0, 31.0, 46.2, 12.0, 19.0, 135.0, 159.0]
    b = [14.6, 5.1, 8.1, 22.7, 6.4, 4.4, 19.0, 3.2]
    assert statistics.improvement(a, b) == pytest.approx(0.86875)
    low, high = statistics.improvement_interval(a, b) or (0, 0)
    assert 0.5 < low < 0.86875 < high < 1


def _roots(seen: float, n: int, m: int) -> list[float]:
    """Ends by the polynomial of fourth degree that (p - seen)^2 = z^2 V(p) becomes (Newcombe 2006, sec. 2)."""
    p, others, z = Polynomial([0, 1]), (n + m) / 2 - 1, stats.norm.ppf(0.975)
    spread = p * (1 - p) * ((2 - p) * (1 + p) + others * (1 - p) * (1 + p) + others * p * (2 - p))
    roots = (n * m * (p - seen) ** 2 * (2 - p) * (1 + p) - z**2 * spread).roots()
    return sorted(float(root.real) for root in roots if abs(root.imag) < 1e-9 and -1e-9 <= root.real <= 1 + 1e-9)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (8, 8), (3, 10)])
def test_improvement_interval_solves_newcombes_equation(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (-1.0, 0.0, 0.3, 1.5):
        a, b = rng.normal(shift, 1, n), rng.normal(0, 1, m)
        seen = statistics.improvement(a, b)
        ends = statistics.improvement_interval(a, b)
        assert ends == pytest.approx((_roots(seen, n, m)[0], _roots(seen, n, m)[-1]), abs=1e-9)


def test_samples_that_lie_apart_leave_the_probability_a_width() -> None:
    low, high = statistics.improvement_interval([5, 6, 7, 8, 9], [0, 1, 2, 3, 4]) or (0, 0)
    assert (low, high) == (pytest.approx(_roots(1.0, 5, 5)[0]), 1.0)
    assert statistics.improvement_interval([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]) == pytest.approx((0.0, 1 - low))
    more = statistics.improvement_interval(list(range(10, 18)), list(range(8))) or (0, 0)
    assert 0.5 < low < more[0] < 1


def test_failed_runs_and_ties_count_in_the_improvement_interval_by_rank_alone() -> None:
    failed = statistics.improvement_interval([-math.inf, 1.0, 2.0], [-math.inf, 0.0, 0.5])
    assert failed == statistics.improvement_interval([-9.0, 1.0, 2.0], [-9.0, 0.0, 0.5])
    low, high = statistics.improvement_interval([1.0] * 5, [1.0] * 5) or (0, 0)
    assert 0 < low < 0.5 < high < 1 and low + high == pytest.approx(1)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_improvement_intervals_cover(shift: float) -> None:
    truth = float(stats.norm.cdf(shift / math.sqrt(2)))
    draws = [lambda rng: rng.normal(shift, 1, 5), lambda rng: rng.normal(0, 1, 5)]
    assert ENOUGH <= coverage(statistics.improvement_interval, draws, truth, 1000) <= 0.99


# ---------------------------------------------------------------- what a design can show


@pytest.mark.parametrize(("comparisons", "seeds"), [(0, 4), (1, 4), (2, 5), (6, 5), (7, 6), (30, 7), (180, 8)])
def test_seeds_needed_is_the_smallest_number_that_can_reach_the_level(comparisons: int, seeds: int) -> None:
    assert statistics.seeds_needed(comparisons, 0.05) == seeds
    apart = [statistics.exact_p(range(n), range(10, 10 + n)) * max(1, comparisons) for n in (seeds - 1, seeds)]
    assert apart[0] > 0.05 >= apart[1]


def test_a_stricter_level_needs_more_seeds() -> None:
    assert [statistics.seeds_needed(1, level) for level in (0.05, 0.01, 0.001)] == [4, 5, 7]


def test_a_winner_among_equals_is_named_in_one_of_twenty_families_at_most() -> None:
    runs = np.random.default_rng(11).normal(size=(4, 1000, 7))
    pairs = list(itertools.combinations(range(4), 2))
    p = np.array([stats.mannwhitneyu(runs[a], runs[b], axis=1, method="exact").pvalue for a, b in pairs])
    assert p[:, 0] == pytest.approx([statistics.exact_p(runs[a, 0], runs[b, 0]) for a, b in pairs])
    named = np.mean([min(statistics.holm(family)) <= statistics.LEVEL for family in p.T])
    assert 0 < named <= 0.06 < np.mean(p.min(axis=0) <= statistics.LEVEL)


def test_holm_of_a_worked_example() -> None:
    """Holm (1979) as in R's help of `p.adjust`'s method: sorted p times 4, 3, 2, 1, never falling."""
    assert statistics.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])


# ---------------------------------------------------------------- expected best of a search


@pytest.mark.parametrize("direction", ["max", "min"])
def test_expected_best_is_the_mean_over_all_draws(direction: Any) -> None:
    scores = [0.3, 0.9, 0.5, 0.5]
    best = max if direction == "max" else min
    found = statistics.expected_best(scores, direction)
    assert len(found) == 4
    for trials, value in enumerate(found, start=1):
        every = [best(drawn) for drawn in itertools.product(scores, repeat=trials)]
        assert value == pytest.approx(np.mean(every))


def test_expected_best_of_a_failed_trial_is_the_worst_that_finished() -> None:
    assert statistics.expected_best([0.2, None, 0.8], "max") == statistics.expected_best([0.2, 0.2, 0.8], "max")
    assert statistics.expected_best([0.2, None, 0.8], "min") == statistics.expected_best([0.2, 0.8, 0.8], "min")
    assert statistics.expected_best([None, None], "max") == (None, None)
    assert statistics.expected_best([], "max") == ()


def test_fewest_wins_are_those_of_the_exact_test() -> None:
    """By hand: of 3,432 orders of 7 and 7 runs one has 49 wins, one 48, two 47; both sides count."""
    assert [statistics.fewest_wins(7, 7, p / 3432) for p in (2, 3.9, 4, 8)] == [49, 49, 48, 47]
    assert statistics.fewest_wins(7, 7, 1 / 3432) is None and statistics.fewest_wins(3, 3, 0.05) is None
