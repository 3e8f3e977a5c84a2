"""Statistics of a few rounds: estimates with confidence intervals, and comparisons judged together by Holm's method.

With 24 independent comparisons at 5 % each and no real difference, the probability of at least one false difference is
71 %. Holm's method (1979) keeps that probability at 5 % for all of them together: of m p values in order, the first
is compared with 5 %/m, the next with 5 %/(m - 1), until one is greater; from there on all have that level. The
confidence of a comparison's interval is 1 - its level, so the interval excludes "no difference" exactly where Holm's
method finds a difference.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy import stats

CONFIDENCE: Final = 0.95  # also the joint confidence of all comparisons
ALIKE: Final = (0.9, 1.1)  # a ratio whose interval is within these limits has no difference that matters
LESS, MORE, NO_DIFFERENCE, INCONCLUSIVE = "less", "more", "no difference", "inconclusive"


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    def includes(self, value: float) -> bool:
        """Return whether a value is within the interval."""
        return self.low <= value <= self.high

    def verdict(self, neutral: float = 1, alike: tuple[float, float] = ALIKE) -> str:
        """Return LESS or MORE if the interval excludes `neutral`; else NO_DIFFERENCE if it is within `alike`."""
        if not self.includes(neutral):
            return LESS if self.high < neutral else MORE
        return NO_DIFFERENCE if alike[0] <= self.low and self.high <= alike[1] else INCONCLUSIVE


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent values with Student's interval. Raises ValueError for fewer than two values."""
    mean, error = _mean_and_error(values)
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half, confidence)


def levels(p_values: Sequence[float], confidence: float = CONFIDENCE) -> list[float]:
    """Return the level (1 - confidence) at which Holm's method judges each p value, in their order."""
    judged_at = [0.0] * len(p_values)
    left, rejected = len(p_values), True
    for at in sorted(range(len(p_values)), key=p_values.__getitem__):
        judged_at[at] = (1 - confidence) / left
        rejected = rejected and p_values[at] <= judged_at[at]
        left -= rejected
    return judged_at


def ratios(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[Interval]:
    """Return for each pair of series the ratio of the first to the second, with intervals that hold for all together.

    A ratio is the geometric mean of the ratios of each round; with a value of 0 or less it is NaN, from 0 to infinity.
    Raises ValueError for fewer than two rounds.
    """
    logarithms = [_logarithms(ones, others) for ones, others in pairs]
    intervals = []
    for values, level in zip(logarithms, levels([_p_of_0(values) for values in logarithms]), strict=True):
        limits = (math.nan, 0.0, math.inf)
        if values is not None:
            mean = interval(values, 1 - level)
            limits = (math.exp(mean.value), math.exp(mean.low), math.exp(mean.high))
        intervals.append(Interval(*limits, 1 - level))
    return intervals


def _logarithms(ones: Sequence[float], others: Sequence[float]) -> list[float] | None:
    if min((*ones, *others), default=1.0) <= 0:
        return None
    return [math.log(one / other) for one, other in zip(ones, others, strict=True)]


def _p_of_0(values: Sequence[float] | None) -> float:
    """Return the p value of a mean of 0 (Student's t test, two-sided); 1 for None."""
    if values is None:
        return 1.0
    mean, error = _mean_and_error(values)
    if not error:
        return 0.0 if mean else 1.0
    return 2 * float(stats.t.sf(abs(mean) / error, len(values) - 1))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:  # noqa: PLR2004  two have a spread
        raise ValueError("an interval takes at least two values")
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
