"""What a few rounds allow to be said: means with Student's t intervals, and ratios judged together by Holm's method.

Of 24 comparisons at 5 % each, one is called a difference by chance more often than not. Holm's method (1979) keeps the
chance of any such mistake at 5 % for all of them together: of m p values in order, the first is held against 5 %/m, the
next against 5 %/(m - 1), until one is greater; from there on all share that level. A comparison's interval is as wide
as its level asks, so it leaves out "no difference" exactly where Holm's method calls it one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy import stats

CONFIDENCE: Final = 0.95  # of a single interval, and of all comparisons together
LEAST_ROUNDS = 2
ALIKE = (0.9, 1.1)  # an interval of a ratio within these says that there is no difference that matters
LESS, MORE, NO_DIFFERENCE, UNKNOWN = "less", "more", "no difference", "cannot be told"


@dataclass(frozen=True)
class Interval:
    """A mean, and where it is with this confidence."""

    mean: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    def includes(self, value: float) -> bool:
        """Tell whether a value is not excluded."""
        return self.low <= value <= self.high

    def verdict(self) -> str:
        """Say in words what a ratio's interval allows; a wide one that has 1 in it tells nothing."""
        if not self.includes(1):
            return LESS if self.mean < 1 else MORE
        return NO_DIFFERENCE if ALIKE[0] <= self.low and self.high <= ALIKE[1] else UNKNOWN


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Give the mean of values that scatter by chance. Raises ValueError for less than two."""
    if len(values) < LEAST_ROUNDS:
        raise ValueError("an interval takes two values at least")
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half, confidence)


def levels(p_values: Sequence[float], confidence: float = CONFIDENCE) -> list[float]:
    """Give the level, 1 - confidence, at which Holm's method judges each of these p values."""
    found = [0.0] * len(p_values)
    left, rejected = len(p_values), True
    for at in sorted(range(len(p_values)), key=p_values.__getitem__):
        found[at] = (1 - confidence) / left
        rejected = rejected and p_values[at] <= found[at]
        left -= rejected
    return found


def ratios(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[Interval]:
    """Give how many times the others the ones are, for pairs that are judged together.

    A ratio is taken round by round, and is their geometric mean; nothing is known of one with a 0. Raises ValueError
    for less than two rounds.
    """
    logarithms = [_logarithms(ones, others) for ones, others in pairs]
    found = []
    for values, level in zip(logarithms, levels([_p_of_0(values) for values in logarithms]), strict=True):
        if values is None:
            found.append(Interval(math.nan, 0.0, math.inf, 1 - level))
            continue
        mean = interval(values, 1 - level)
        found.append(Interval(math.exp(mean.mean), math.exp(mean.low), math.exp(mean.high), 1 - level))
    return found


def _logarithms(ones: Sequence[float], others: Sequence[float]) -> list[float] | None:
    if min((*ones, *others), default=1.0) <= 0:
        return None
    return [math.log(one / other) for one, other in zip(ones, others, strict=True)]


def _p_of_0(values: Sequence[float] | None) -> float:
    """Give how probable values so far from 0 are by chance: Student's t test, two-sided."""
    if values is None:
        return 1.0
    if len(values) < LEAST_ROUNDS:
        raise ValueError("an interval takes two values at least")
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    if not deviation:
        return 0.0 if mean else 1.0
    return 2 * float(stats.t.sf(abs(mean) / deviation * math.sqrt(len(values)), len(values) - 1))
