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
    """How many durations of which length, in nanoseconds."""

    def __init__(self) -> None:
        self._classes: Counter[int] = Counter()
        self.longest = 0

    @property
    def count(self) -> int:
        """Give their number."""
        return self._classes.total()

    def note(self, durations: Integers) -> None:
        """Count some."""
        if not len(durations):
            return
        self.longest = max(self.longest, int(durations.max()))
        classes, counts = np.unique(np.ceil(np.log(np.maximum(durations, 1)) / _LOG), return_counts=True)
        self._classes.update(dict(zip(classes.astype(int).tolist(), counts.tolist(), strict=True)))

    def add(self, other: Durations) -> None:
        """Count another's too."""
        self._classes.update(other._classes)
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float:
        """Give what this share (0 to 1) does not exceed, at most 2 % too long; 0.0 when there are none."""
        wanted, seen = rank(share, self.count), 0
        for number, count in sorted(self._classes.items()):
            seen += count
            if seen >= wanted:
                return min(_RATIO**number, float(self.longest))
        return 0.0
