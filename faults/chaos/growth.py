"""Judge the samples of a process: whether it has ended, and whether it grows."""

from collections.abc import Iterator

import pandas as pd
from scipy.stats import theilslopes

WARM_UP_SECONDS = 120.0  # caches, pools and PostgreSQL's memory fill
MIN_MINUTES = 4  # minimum duration after the warm-up
# A process that does not grow stays below 0.1 MB a minute here; the leak that this check was made for had 0.35.
MAX_MB = 0.15  # a minute: fills a limit of 128 MB in 14 hours
MAX_DESCRIPTORS = 0.5  # a minute: a pool of connections that grows once by a few is no leak


def growth_of(values: pd.Series) -> float | None:
    """Return the growth a minute after the warm-up, of values by second; None when there is too little to judge by.

    It is the lesser of the growth in the first and in the second half: a leak grows in both, a single event (the first
    checkpoint of PostgreSQL after five minutes maps 2 MB of shared memory) in one. In each half it is the median
    slope (Theil and Sen) between the least values of each minute: the sawtooth of a garbage collector and a single
    peak do not count, a leak raises each minute's least value.
    """
    judged = values[values.index >= WARM_UP_SECONDS]
    least = judged.groupby(judged.index // 60).min()
    if len(least) < MIN_MINUTES:
        return None
    half = len(least) // 2
    halves = (least.iloc[:half], least.iloc[half:])
    return min(float(theilslopes(part, part.index)[0]) for part in halves)


def problems_of(title: str, samples: pd.DataFrame, end: float) -> Iterator[str]:
    """Yield the problems of a process, a sentence each; `samples` are by second, the run's last was made at `end`."""
    last = samples.index[-1]
    if last < end and ": postgres:" not in title:  # a connection's process ends with it
        yield f"{title} ended after {last:.0f} s"
    limits = (("pss_mb", MAX_MB, "MB"), ("descriptors", MAX_DESCRIPTORS, "descriptors"))
    for column, most, unit in limits:
        growth = growth_of(samples[column])
        if growth is not None and growth > most:
            yield f"{title} grows by {growth:.2f} {unit} a minute; {most} are allowed"
