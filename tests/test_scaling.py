"""Laws of growth, crossovers and curves of memory: known answers, and noise that must not be taken for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from seqbench.errors import DataError
from seqbench.scaling import Band, Polynomial, PowerLaw, crossover, power_law

DOUBLED = [2**n for n in range(6, 13)]  # 64 .. 4096


def law(cost: Callable[[int], float], lengths: Sequence[int] = DOUBLED) -> PowerLaw:
    return power_law(lengths, [cost(n) for n in lengths])


def noisy(generator: np.random.Generator, spread: float, lengths: Sequence[int] = DOUBLED) -> list[float]:
    """Costs of slope 1.3 with log-normal noise."""
    return [float(n**1.3 * math.exp(generator.normal(0, spread))) for n in lengths]


# ---------------------------------------------------------------- power laws


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0, -0.3])
def test_an_exact_power_law_is_found_over_all_lengths(slope: float) -> None:
    found = law(lambda n: 3e-4 * n**slope)
    assert found.slope == pytest.approx(slope, abs=1e-9)
    assert found.interval == pytest.approx((slope, slope), abs=1e-9)
    assert (found.fit, found.low, found.high, found.points) == (pytest.approx(1.0), 64, 4096, 7)


def test_slope_interval_and_fit_are_those_of_scipy() -> None:
    costs = noisy(np.random.default_rng(4), 0.02)
    found = power_law(DOUBLED, costs)
    reference = stats.linregress(np.log(DOUBLED), np.log(costs))
    half = stats.t.ppf(0.975, len(costs) - 2) * reference.stderr
    assert found.points == len(costs)
    assert found.slope == pytest.approx(reference.slope)
    assert found.interval == pytest.approx((reference.slope - half, reference.slope + half))
    assert found.fit == pytest.approx(reference.rvalue**2)


@pytest.mark.parametrize("spread", [0.003, 0.03])
@pytest.mark.parametrize("lengths", [DOUBLED[:5], DOUBLED])
def test_the_interval_covers_the_true_slope_about_as_often_as_it_says(spread: float, lengths: list[int]) -> None:
    generator = np.random.default_rng(11)
    found = [power_law(lengths, noisy(generator, spread, lengths)).interval or (0.0, 0.0) for _ in range(400)]
    assert 0.92 <= np.mean([low <= 1.3 <= high for low, high in found]) <= 0.98


def test_noise_alone_seldom_costs_points() -> None:
    generator = np.random.default_rng(3)
    found = [power_law(DOUBLED, noisy(generator, 0.03)).points for _ in range(200)]
    assert np.mean([points == len(DOUBLED) for points in found]) > 0.9


def test_overhead_is_left_out_and_the_slope_of_the_tail_found() -> None:
    lengths = [2**n for n in range(4, 18)]
    found = law(lambda n: 5000 + n, lengths)
    everything = stats.linregress(np.log(lengths), [math.log(5000 + n) for n in lengths])
    assert everything.slope < 0.4
    assert 0.88 < found.slope < 1 and (found.low, found.high) == (2**14, 2**17)
    longer = law(lambda n: 5000 + n, [2**n for n in range(4, 24)])
    assert longer.slope == pytest.approx(1.0, abs=0.01)


def test_a_flat_part_up_to_some_length_is_left_out_whatever_the_noise() -> None:
    generator = np.random.default_rng(8)
    for _ in range(100):
        found = law(lambda n: max(n, 512) * math.exp(generator.normal(0, 0.01)))
        assert found.low >= 256 and found.slope == pytest.approx(1.0, abs=0.25)
    assert law(lambda n: float(max(n, 512))).low == 512


def test_a_quadratic_term_that_shows_only_in_long_sequences_is_found_there() -> None:
    lengths = [2**n for n in range(6, 20)]
    found = law(lambda n: 1e3 * n + n**2, lengths)
    assert found.slope == pytest.approx(2.0, abs=0.02) and found.low >= 2**13


def test_two_points_give_no_interval_and_three_are_all_taken() -> None:
    two = power_law([10, 1000], [1.0, 100.0])
    assert (two.slope, two.interval, two.points) == (pytest.approx(1.0), None, 2)
    three = power_law([10, 100, 1000], [5.0, 6.0, 100.0])
    assert (three.points, three.low, three.high) == (3, 10, 1000)
    assert three.interval is not None and three.interval[1] - three.interval[0] > 1


def test_what_does_not_grow_has_slope_zero_and_fits() -> None:
    found = law(lambda n: 0.1)
    assert (found.slope, found.interval, found.fit, found.points) == (0.0, (0.0, 0.0), 1.0, 7)


def test_the_order_of_points_does_not_matter() -> None:
    costs = noisy(np.random.default_rng(2), 0.05)
    assert power_law(DOUBLED[::-1], costs[::-1]) == power_law(DOUBLED, costs)


@pytest.mark.parametrize(
    ("lengths", "costs"),
    [([1], [1.0]), ([1, 2], [1.0]), ([1, 1], [1.0, 2.0]), ([1, 2], [0.0, 1.0]), ([0, 2], [1.0, 1.0])],
)
def test_what_is_no_curve_is_refused(lengths: list[int], costs: list[float]) -> None:
    with pytest.raises(DataError, match="no power law"):
        power_law(lengths, costs)
    with pytest.raises(DataError, match="no power law"):
        power_law([1, 2], [math.nan, 1.0])


# ---------------------------------------------------------------- crossovers


def curve(cost: Callable[[int], float], lengths: Sequence[int] = DOUBLED, spread: float = 0.0) -> list[Band]:
    return [Band(n, cost(n) * (1 - spread), cost(n), cost(n) * (1 + spread)) for n in lengths]


def test_two_power_laws_meet_where_they_are_equal() -> None:
    found = crossover(curve(lambda n: n**2.0), curve(lambda n: 300.0 * n))
    assert found is not None
    assert found.length == pytest.approx(300)
    assert found.interval == pytest.approx((300, 300))
    assert (found.below, found.above, found.times) == ("a", "b", 1)
    assert found.lengths == tuple(DOUBLED) == found.clear
    turned = crossover(curve(lambda n: 300.0 * n), curve(lambda n: n**2.0))
    assert turned is not None and (turned.below, turned.above) == ("b", "a")


def test_the_interval_is_where_the_bands_overlap() -> None:
    found = crossover(curve(lambda n: n**2.0, spread=0.1), curve(lambda n: 300.0 * n, spread=0.1))
    assert found is not None
    assert found.length == pytest.approx(300)
    # n^2 * 1.1 = 300 n * 0.9, and the other way round; the bands are parallel to the curves
    assert found.interval == pytest.approx((300 * 0.9 / 1.1, 300 * 1.1 / 0.9))
    assert 256 not in found.clear and {64, 128, 512} <= set(found.clear)


def test_curves_that_meet_beyond_what_was_measured_do_not_meet() -> None:
    found = crossover(curve(lambda n: n**2.0), curve(lambda n: 5000.0 * n))
    assert found is not None
    assert (found.length, found.interval, found.times) == (None, None, 0)
    assert (found.below, found.above) == ("a", "a")


def test_only_common_lengths_count() -> None:
    a = curve(lambda n: n**2.0, [100, 200, 400])
    b = curve(lambda n: 300.0 * n, [100, 400, 800])
    found = crossover(a, b)
    assert found is not None and found.lengths == (100, 400)
    assert found.length == pytest.approx(300)
    assert crossover(a, curve(float, [100, 800])) is None


def test_of_several_crossings_the_last_one_counts() -> None:
    one = [Band(n, 1.0, 1.0, 1.0) for n in (10, 100, 1000)]
    other = [Band(10, 2.0, 2.0, 2.0), Band(100, 0.5, 0.5, 0.5), Band(1000, 2.0, 2.0, 2.0)]
    found = crossover(one, other)
    assert found is not None
    assert (found.times, found.below, found.above) == (2, "b", "a")
    assert found.length == pytest.approx(10**2.5)


def test_what_the_spread_may_explain_is_no_crossing() -> None:
    a = [Band(10, 0.8, 1.0, 1.2), Band(100, 0.8, 1.0, 1.2), Band(1000, 0.8, 1.0, 1.2)]
    b = [Band(10, 0.9, 1.1, 1.3), Band(100, 0.7, 0.9, 1.1), Band(1000, 0.9, 1.1, 1.3)]
    found = crossover(a, b)
    assert found is not None
    assert (found.length, found.below, found.above, found.clear) == (None, None, None, ())
    partly = crossover(a, [*b[:2], Band(1000, 5.0, 6.0, 7.0)])
    assert partly is not None
    assert (partly.length, partly.below, partly.above, partly.clear) == (None, "a", "a", (1000,))


def test_a_crossing_between_unclear_lengths_lies_between_the_clear_ones() -> None:
    a = [Band(n, 0.9, 1.0, 1.1) for n in (10, 100, 1000, 10000)]
    b = [Band(10, 3.0, 3.3, 3.6), Band(100, 0.9, 1.05, 1.2), Band(1000, 0.8, 0.95, 1.2), Band(10000, 0.2, 0.3, 0.4)]
    found = crossover(a, b)
    assert found is not None and found.length is not None and found.interval is not None
    assert 10 < found.interval[0] < 100 < found.length < 1000 < found.interval[1] < 10000


def test_curves_that_touch_do_not_cross() -> None:
    one = [Band(n, 1.0, 1.0, 1.0) for n in (10, 100, 1000)]
    other = [Band(10, 2.0, 2.0, 2.0), Band(100, 1.0, 1.0, 1.0), Band(1000, 2.0, 2.0, 2.0)]
    found = crossover(one, other)
    assert found is not None and found.length is None
    assert (found.above, found.clear) == ("a", (10, 1000))


# ---------------------------------------------------------------- memory


LENGTHS = [64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    "planted",
    [
        Polynomial(1.6e6, 5e4, 0.0),
        Polynomial(1.6e6, 0.0, 300.0),
        Polynomial(0.0, 5e4, 30.0),
        Polynomial(1.6e6, 5e4, 30.0),
        Polynomial(4e8, 2e6, 1.5),
    ],
)
@pytest.mark.parametrize("block", [1, 512])
def test_the_largest_length_is_predicted_within_a_percent(planted: Polynomial, block: int) -> None:
    fitted = Polynomial.fit(LENGTHS, [math.ceil(planted.at(n) / block) * block for n in LENGTHS])
    assert min(fitted.constant, fitted.linear, fitted.quadratic) >= 0
    for limit in (planted.at(2000.5), planted.at(20_000.5)):
        assert fitted.largest(limit) == pytest.approx(planted.largest(limit), rel=0.01)
    assert planted.largest(planted.at(20_000.5)) == 20_000


def test_the_largest_length_is_the_last_that_fits() -> None:
    for of in (Polynomial(1000.0, 10.0, 0.0), Polynomial(1000.0, 0.0, 10.0), Polynomial(1000.0, 3.0, 7.0)):
        for limit in range(900, 1400):
            length = of.largest(limit)
            assert (length == 0 or of.at(length) <= limit) and of.at(length + 1) > limit
        assert of.largest(of.at(7)) == 7


def test_rounding_does_not_cost_a_length() -> None:
    generator = np.random.default_rng(1)
    for constant, linear, quadratic in generator.uniform(0, (1e6, 1e4, 30.0), (300, 3)):
        of = Polynomial(constant, linear, quadratic)
        for length in generator.integers(1, 20_000, 5).tolist():
            assert of.largest(of.at(length)) == length


def test_no_term_is_negative_whatever_the_noise() -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        fitted = Polynomial.fit(LENGTHS, [5e4 * n * math.exp(generator.normal(0, 0.02)) for n in LENGTHS])
        assert min(fitted.constant, fitted.linear, fitted.quadratic) >= 0
        for length in LENGTHS[-3:]:  # shorter ones may have been left out
            assert fitted.at(length) == pytest.approx(5e4 * length, rel=0.06)


def test_a_peak_of_another_phase_at_short_lengths_is_left_out() -> None:
    of = Polynomial(1e6, 3e4, 0.0)
    fitted = Polynomial.fit(LENGTHS, [max(5e6, of.at(n)) for n in LENGTHS])
    assert fitted.largest(2**28) == pytest.approx(of.largest(2**28), rel=0.01)


def test_the_order_of_lengths_does_not_matter() -> None:
    of = Polynomial(1e6, 3e4, 2.0)
    counts = [max(5e6, of.at(n)) for n in LENGTHS]
    assert Polynomial.fit(LENGTHS[::-1], counts[::-1]) == Polynomial.fit(LENGTHS, counts)


@pytest.mark.parametrize("lengths", [LENGTHS, [32, 100, 333, 1001]])
def test_memory_that_does_not_grow_predicts_nothing(lengths: list[int]) -> None:
    flat = Polynomial.fit(lengths, [1e6] * len(lengths))
    assert flat.at(10**6) == pytest.approx(1e6)
    with pytest.raises(DataError, match="no largest length"):
        flat.largest(2e6)


@pytest.mark.parametrize(
    ("lengths", "counts"), [([1, 2], [1.0, 2.0]), ([1, 2, 2], [1.0, 2.0, 2.0]), ([1, 2, 3], [1.0, 0.0, 2.0])]
)
def test_too_few_or_senseless_points_of_memory_are_refused(lengths: list[int], counts: list[float]) -> None:
    with pytest.raises(DataError, match="no curve of memory"):
        Polynomial.fit(lengths, counts)
