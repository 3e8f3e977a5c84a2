"""Statistics: each figure is what numpy and scipy define, in every reader of the tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from monitoring.quantiles import quantile, rank
from monitoring.traffic.durations import Durations

SHARES = st.integers(0, 1000).map(lambda thousandth: thousandth / 1000)
VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=300)


@given(values=VALUES, share=SHARES)
def test_a_quantile_is_numpys_inverse_of_the_distribution(values: list[float], share: float) -> None:
    exact = share * len(values)
    assume(exact == round(exact, 9))  # numpy takes 0.07 * 100 = 7.000000000000001 for the eighth
    assert quantile(values, share) == np.quantile(values, share, method="inverted_cdf")


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
