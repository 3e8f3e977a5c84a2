"""Steps of a waterfall: each hop's total, what it adds to the hop before, both with bootstrap intervals.

All steps that are shown together are judged together, by Holm's method (bench/common/intervals.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bench.common.intervals import ALIKE, CONFIDENCE, LESS, MORE, NO_DIFFERENCE, UNKNOWN, levels
from monitoring.quantiles import quantile

FIRST = "first"
_Key = TypeVar("_Key", bound=Hashable)
Figures = npt.NDArray[np.float64]
_DRAWS = 10_000
_SEED = 1


@dataclass(frozen=True)
class Estimate:
    """A figure and its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Step:
    """A hop on the way; `added` is None for the first."""

    hop: str
    total: Estimate
    added: Estimate | None

    @property
    def verdict(self) -> str:
        """Return MORE or LESS if the interval, rounded to tenths as it is shown, excludes 0; FIRST for the first hop.

        Else NO_DIFFERENCE if the interval is within ALIKE of the total before, or UNKNOWN if it is wider.
        """
        if self.added is None:
            return FIRST
        if round(self.added.low, 1) > 0:
            return MORE
        if round(self.added.high, 1) < 0:
            return LESS
        before = self.total.value - self.added.value
        alike = (ALIKE[0] - 1) * before <= self.added.low and self.added.high <= (ALIKE[1] - 1) * before
        return NO_DIFFERENCE if alike else UNKNOWN


def steps_of(hops: Sequence[str], tables: Mapping[_Key, Figures]) -> dict[_Key, list[Step]]:
    """Return the steps of each table, all judged together; a table has a row for each hop, a column for each round."""
    drawn = {key: drawn_totals(figures) for key, figures in tables.items()}
    differences = (difference for totals in drawn.values() for difference in np.diff(totals, axis=0))
    level_of = iter(levels([_p_of_0(difference) for difference in differences]))
    found = {}
    for key, figures in tables.items():
        totals = np.median(figures, axis=1)
        steps = [Step(hops[0], _estimate(totals[0], drawn[key][0]), None)]
        for at, hop in enumerate(hops[1:], start=1):
            difference = drawn[key][at] - drawn[key][at - 1]
            added = _estimate(totals[at] - totals[at - 1], difference, 1 - next(level_of))
            steps.append(Step(hop, _estimate(totals[at], drawn[key][at]), added))
        found[key] = steps
    return found


def drawn_totals(figures: Figures) -> Figures:
    """Return each hop's total in _DRAWS bootstrap samples: rounds drawn with replacement, the same for all hops."""
    rounds = figures.shape[1]
    chosen = np.random.default_rng(_SEED).integers(0, rounds, size=(_DRAWS, rounds))
    return np.array([np.median(row[chosen], axis=1) for row in figures])


def _p_of_0(drawn: Figures) -> float:
    """Return the two-sided bootstrap p value of a difference of 0; it is never 0, because samples are finite."""
    fewer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(drawn) + 1))


def _estimate(value: float, drawn: Figures, confidence: float = CONFIDENCE) -> Estimate:
    tail = (1 - confidence) / 2
    low, high = (quantile(drawn.tolist(), share) or 0.0 for share in (tail, 1 - tail))
    return Estimate(float(value), low, high, confidence)


def floating_bars(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """Return each bar's beginning and signed length: from the total before to the total after."""
    before = [0.0, *(step.total.value for step in steps)]
    return [(begin, step.total.value - begin) for begin, step in zip(before, steps, strict=False)]


_NAMES = {
    "veth": "veth pair",
    "routed": "routing",
    "dnat": "DNAT",
    "rules-10": "10 rules",
    "rules-100": "100 rules",
    "rules-1000": "1,000 rules",
    "gateway": "api-gateway",
    "product": "product-service",
}
_MANY = 1000


def name_of(hop: str) -> str:
    """Return a hop's name for people."""
    return _NAMES.get(hop, hop)


def amount(value: float) -> str:
    """Format microseconds, with tenths below a millisecond."""
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:.1f}"


def signed(value: float) -> str:
    """Format microseconds with their sign."""
    return f"{'-' if round(value, 1) < 0 else '+'}{amount(abs(value))}"
