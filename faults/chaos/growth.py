"""Whether a series of samples grows."""

import statistics
from collections.abc import Sequence
from itertools import combinations

WARM_UP_SECONDS = 120.0  # caches, pools and PostgreSQL's memory fill
FEWEST_MINUTES = 4  # to judge by, after the warm-up


def growth_of(seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the growth a minute after the warm-up; None when there is too little to judge by.

    It is the lesser of the growth in the first and in the second half: a leak grows in both, what happens once (the
    first checkpoint of PostgreSQL after five minutes maps 2 MB of shared memory) in one. In each half it is the median
    slope (Theil and Sen) between the least values of each minute: the sawtooth of a garbage collector and a single
    peak do not count, a leak raises each minute's least value.
    """
    least: dict[int, float] = {}
    for second, value in zip(seconds, values, strict=True):
        if second >= WARM_UP_SECONDS:
            minute = int(second // 60)
            least[minute] = min(value, least.get(minute, value))
    if len(least) < FEWEST_MINUTES:
        return None
    minutes = sorted(least.items())
    half = len(minutes) // 2
    return min(median_slope(minutes[:half]), median_slope(minutes[half:]))


def median_slope(points: Sequence[tuple[int, float]]) -> float:
    """Return the median slope between each two of the points."""
    return statistics.median(
        (later - earlier) / (last - first) for (first, earlier), (last, later) in combinations(points, 2)
    )
