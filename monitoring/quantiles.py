"""Quantiles of what was measured: the nearest rank, everywhere in the lab.

A quantile is the least value that at least this share of all values do not exceed (numpy: method "inverted_cdf"). So it
is a value that was measured, what a report says of it is literally true in the smallest sample, and a histogram can
follow it. Interpolation (numpy's default) invents a latency between two, and of three values one in three exceeds their
interpolated p95. The middle of a few repeated rounds is another thing: statistics.median, which takes the mean of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_DIGITS = 9  # 0.07 * 100 is 7.000000000000001, whose rank is 7


def rank(share: float, count: int) -> int:
    """Give which of `count` ordered values, from 1, is the quantile of a share from 0 to 1."""
    return max(1, math.ceil(round(share * count, _DIGITS)))


def quantile(values: Iterable[float], share: float) -> float | None:
    """Give the least value that `share` (0 to 1) of the values do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[rank(share, len(ordered)) - 1] if ordered else None
