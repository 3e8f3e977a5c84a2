"""Statistics: each figure is what numpy and scipy define, in every reader of the tree."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.common.intervals import INCONCLUSIVE, LESS, MORE, NO_DIFFERENCE, interval, levels, ratios
from monitoring.quantiles import quantile, rank
from monitoring.traffic.tally import Durations

SHARES = st.integers(0, 1000).map(lambda thousandth: thousandth / 1000)
VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=300)


@given(values=VALUES, share=SHARES)
def test_a_quantile_is_numpys_inverse_of_the_distribution(values: list[float], share: float) -> None:
    exact = share * len(values)
    assume(exact == round(exact, 9))  # numpy takes 0.07 * 100 = 7.000000000000001 for the eighth
    assert quantile(values, share) == np.quantile(values, share, method="inverted_cdf")  # noqa: TID251  the definition


@given(values=VALUES, share=SHARES)
def test_the_quantile_is_the_least_value_that_this_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    found = quantile(values, share)
    assert found is not None
    thousandths = round(share * 1000)
    assert 1000 * sum(value <= found for value in values) >= thousandths * len(values)
    assert 1000 * sum(value < found for value in values) < max(thousandths * len(values), 1)


def test_the_rank_of_a_share_does_not_suffer_from_floating_point() -> None:
    assert [rank(percent / 100, 100) for percent in range(1, 101)] == list(range(1, 101))
    assert quantile(range(1, 101), 0.95) == 95
    assert quantile([], 0.5) is None


@given(values=st.lists(st.integers(1, 10**11), min_size=1, max_size=200), share=SHARES)
def test_the_histogram_of_durations_follows_the_same_definition_within_2_percent(
    values: list[int], share: float
) -> None:
    durations = Durations()
    durations.note(np.array(values, np.int64))
    exact = quantile(values, share)
    assert exact is not None
    assert durations.quantile(share) == pytest.approx(exact * 1.01, rel=0.0101)


# --- intervals -------------------------------------------------------------------------------------

ROUNDS = st.lists(st.floats(0.1, 100), min_size=2, max_size=60)


@given(values=ROUNDS, confidence=st.sampled_from([0.9, 0.95, 0.999]))
def test_an_interval_is_scipys_of_student_for_any_number_of_rounds(
    values: list[float], confidence: float
) -> None:
    assume(max(values) - min(values) > 1e-6)
    found = interval(values, confidence)
    expected = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_an_interval_by_the_book() -> None:
    found = interval([9.0, 10.0, 11.0])  # mean 10, s = 1, t = 4.303 for two degrees of freedom
    assert found.value == 10
    assert (
        found.high - found.value == found.value - found.low == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    )
    many = interval([float(number % 2) for number in range(32)])  # t = 2.040 for 31 degrees
    assert many.high - many.value == pytest.approx(2.040 * math.sqrt(8 / 31 / 32), rel=1e-3)


def test_one_value_has_no_interval() -> None:
    for ask in (lambda: interval([1.0]), lambda: ratios([([1.0], [2.0])])):
        with pytest.raises(ValueError, match="two values"):
            ask()


@given(values=ROUNDS)
def test_the_ratio_of_a_series_to_itself_is_1_and_to_its_double_one_half(values: list[float]) -> None:
    same, half = ratios([(values, values), (values, [2 * value for value in values])])
    assert same.includes(1)
    assert half.value == pytest.approx(0.5, rel=1e-9)
    assert not half.includes(1)


@given(p_values=st.lists(st.floats(0, 0.2), min_size=1, max_size=7))
def test_holms_method_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    everything = range(len(p_values))
    subsets = [each for size in everything for each in combinations(everything, size + 1)]
    rejected = [each for each in subsets if min(p_values[at] for at in each) <= (1 - 0.95) / len(each)]
    for at, level in enumerate(levels(p_values)):
        assert (p_values[at] <= level) == all(each in rejected for each in subsets if at in each)


@given(seed=st.integers(0, 10_000))
def test_an_interval_leaves_out_1_where_holms_method_rejects_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    pairs = [
        (chance.lognormal(shift, 0.1, 5).tolist(), chance.lognormal(0, 0.1, 5).tolist())
        for shift in chance.choice([0.0, 0.2, 0.5], 6)
    ]
    p_values = [float(stats.ttest_1samp(np.log(np.divide(*pair)), 0).pvalue) for pair in pairs]
    for found, p_value, level in zip(ratios(pairs), p_values, levels(p_values), strict=True):
        assert found.includes(1) == (p_value > level)


def test_of_24_comparisons_of_nothing_one_family_in_twenty_finds_a_difference() -> None:
    chance = np.random.default_rng(1)
    mistaken = 0
    for _ in range(400):
        rounds = chance.lognormal(0, 0.1, (24, 2, 5)).tolist()
        said = {found.verdict() for found in ratios([(ones, others) for ones, others in rounds])}
        mistaken += bool(said & {LESS, MORE})
    assert mistaken <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)  # each for itself at 5 %: 71 in 100


def test_a_wide_interval_tells_nothing_a_narrow_one_no_difference() -> None:
    steady, wild = [1.0, 1.01, 0.99, 1.0], [0.5, 2.0, 1.0, 1.3]
    assert [found.verdict() for found in ratios([(steady, steady[::-1]), (wild, steady)])] == [
        NO_DIFFERENCE,
        INCONCLUSIVE,
    ]
