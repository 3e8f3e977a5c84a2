"""Quantiles of measured values by the nearest rank: the only definition in the lab.

A quantile is the least value that at least this share of all values do not exceed (numpy: method "inverted_cdf"). So it
is a measured value, is correct for small samples too, and can be computed from a histogram.
Interpolation (numpy's default) gives a latency that was not measured; one of three values exceeds the interpolated p95.
The median of a few repeated rounds is another figure: statistics.median, the mean of the middle two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_DIGITS = 9  # 0.07 * 100 is 7.000000000000001, whose rank is 7


def rank(share: float, count: int) -> int:
    """Return the rank (from 1) of the quantile `share` (0 to 1) among `count` sorted values."""
    return max(1, math.ceil(round(share * count, _DIGITS)))


def quantile(values: Iterable[float], share: float) -> float | None:
    """Return the least value that `share` (0 to 1) of the values do not exceed; None without values."""
    ordered = sorted(values)
    return ordered[rank(share, len(ordered)) - 1] if ordered else None
