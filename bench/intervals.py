"""What a few rounds allow to be said: means with their 95 % intervals (Student's t), ratios by round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t, two-sided 95 %, by degrees of freedom: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
_T_OF_MANY = 1.96
LEAST_ROUNDS = 2
ALIKE = (0.9, 1.1)  # an interval of a ratio within these says that there is no difference that matters


@dataclass(frozen=True)
class Interval:
    """A mean, and where it is with 95 % confidence."""

    mean: float
    low: float
    high: float

    def includes(self, value: float) -> bool:
        """Tell whether a value is not excluded."""
        return self.low <= value <= self.high

    def verdict(self) -> str:
        """Say in words what a ratio's interval allows; a wide one that has 1 in it tells nothing."""
        if not self.includes(1):
            return "less" if self.mean < 1 else "more"
        return "no difference" if ALIKE[0] <= self.low and self.high <= ALIKE[1] else "cannot be told"


def interval(values: Sequence[float]) -> Interval:
    """Give the mean of values that scatter by chance. Raises ValueError for less than two."""
    if len(values) < LEAST_ROUNDS:
        raise ValueError("an interval takes two values at least")
    mean = statistics.fmean(values)
    freedom = len(values) - 1
    t = _T[freedom - 1] if freedom <= len(_T) else _T_OF_MANY
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def ratio(ones: Sequence[float], others: Sequence[float]) -> Interval:
    """Give how many times the others the ones are, round by round (geometric mean; both must be above 0)."""
    logarithms = interval([math.log(one / other) for one, other in zip(ones, others, strict=True)])
    return Interval(*map(math.exp, (logarithms.mean, logarithms.low, logarithms.high)))
