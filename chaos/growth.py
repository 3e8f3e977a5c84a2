"""Whether a series of samples grows."""

import statistics
from collections.abc import Sequence
from itertools import combinations

WARM_UP_SECONDS = 120.0  # caches, pools and PostgreSQL's memory fill
FEWEST_MINUTES = 4  # to judge by, after the warm-up


def growth_of(seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the growth a minute after the warm-up; None when there is too little to judge by.

    It is the median slope (Theil and Sen) between the least values of each minute: the sawtooth of a garbage collector
    and a single peak do not count, a leak raises each minute's least value.
    """
    least: dict[int, float] = {}
    for second, value in zip(seconds, values, strict=True):
        if second >= WARM_UP_SECONDS:
            minute = int(second // 60)
            least[minute] = min(value, least.get(minute, value))
    if len(least) < FEWEST_MINUTES:
        return None
    return statistics.median(
        (least[later] - least[earlier]) / (later - earlier)
        for earlier, later in combinations(sorted(least), 2)
    )
