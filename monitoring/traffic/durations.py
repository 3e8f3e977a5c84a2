"""Quantiles (monitoring/quantiles.py) of durations in bounded memory: a histogram whose classes are 2 % wide."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from monitoring.quantiles import rank
from monitoring.traffic.packets import Integers

_RATIO = 1.02
_LOG = math.log(_RATIO)


class Durations:
    """A histogram of durations in nanoseconds."""

    def __init__(self) -> None:
        self._classes: Counter[int] = Counter()
        self.longest = 0

    @property
    def count(self) -> int:
        """Return the number of durations."""
        return self._classes.total()

    def note(self, durations: Integers) -> None:
        """Count durations, in nanoseconds."""
        if not len(durations):
            return
        self.longest = max(self.longest, int(durations.max()))
        classes, counts = np.unique(np.ceil(np.log(np.maximum(durations, 1)) / _LOG), return_counts=True)
        self._classes.update(dict(zip(classes.astype(int).tolist(), counts.tolist(), strict=True)))

    def add(self, other: Durations) -> None:
        """Add the counts of another histogram."""
        self._classes.update(other._classes)
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float:
        """Return the nanoseconds that `share` (0 to 1) of them do not exceed, at most 2 % too many; 0.0 of none."""
        wanted, seen = rank(share, self.count), 0
        for number, count in sorted(self._classes.items()):
            seen += count
            if seen >= wanted:
                return min(_RATIO**number, float(self.longest))
        return 0.0
