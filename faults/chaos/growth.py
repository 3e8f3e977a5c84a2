"""Whether a series of samples grows."""

from collections.abc import Sequence

import pandas as pd
from scipy.stats import theilslopes

WARM_UP_SECONDS = 120.0  # caches, pools and PostgreSQL's memory fill
MIN_MINUTES = 4  # to judge by, after the warm-up


def growth_of(seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the growth a minute after the warm-up; None when there is too little to judge by.

    It is the lesser of the growth in the first and in the second half: a leak grows in both, a single event (the first
    checkpoint of PostgreSQL after five minutes maps 2 MB of shared memory) in one. In each half it is the median
    slope (Theil and Sen) between the least values of each minute: the sawtooth of a garbage collector and a single
    peak do not count, a leak raises each minute's least value.
    """
    series = pd.Series(values, index=pd.Index(seconds), dtype=float)
    series = series[series.index >= WARM_UP_SECONDS]
    least = series.groupby(series.index // 60).min()
    if len(least) < MIN_MINUTES:
        return None
    half = len(least) // 2
    halves = (least.iloc[:half], least.iloc[half:])
    return min(float(theilslopes(part, part.index)[0]) for part in halves)
