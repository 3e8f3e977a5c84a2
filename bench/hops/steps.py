"""Steps of a waterfall: each hop's total, what it adds to the hop before, both with bootstrap intervals.

All steps that are shown together are judged together, by Holm's method (bench/common/intervals.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bench.common.intervals import ALIKE, CONFIDENCE, Interval, levels
from monitoring.quantiles import quantile

FIRST = "first"
_Key = TypeVar("_Key", bound=Hashable)
Figures = npt.NDArray[np.float64]
_RESAMPLES = 10_000
_SEED = 1


@dataclass(frozen=True)
class Step:
    """A hop on the path; `added` is None for the first."""

    hop: str
    total: Interval
    added: Interval | None

    @property
    def verdict(self) -> str:
        """Return the verdict on the hop's cost, by the interval rounded as printed; FIRST for the first hop."""
        if self.added is None:
            return FIRST
        tenth = (1 - ALIKE[0]) * (self.total.value - self.added.value)
        shown = replace(self.added, low=round(self.added.low, 1), high=round(self.added.high, 1))
        return shown.verdict(0, (-tenth, tenth))


def steps_of(hops: Sequence[str], tables: Mapping[_Key, Figures]) -> dict[_Key, list[Step]]:
    """Return the steps of each table, all judged together; a table has a row for each hop, a column for each round."""
    resampled = {key: resampled_totals(figures) for key, figures in tables.items()}
    differences = (difference for totals in resampled.values() for difference in np.diff(totals, axis=0))
    level_of = iter(levels([_p_of_0(difference) for difference in differences]))
    steps_by_key = {}
    for key, figures in tables.items():
        totals, samples = np.median(figures, axis=1), resampled[key]
        steps = [Step(hops[0], _interval(totals[0], samples[0]), None)]
        for at, hop in enumerate(hops[1:], start=1):
            difference = samples[at] - samples[at - 1]
            added = _interval(totals[at] - totals[at - 1], difference, 1 - next(level_of))
            steps.append(Step(hop, _interval(totals[at], samples[at]), added))
        steps_by_key[key] = steps
    return steps_by_key


def resampled_totals(figures: Figures) -> Figures:
    """Return each hop's total in bootstrap samples: rounds drawn with replacement, the same ones for all hops."""
    rounds = figures.shape[1]
    drawn = np.random.default_rng(_SEED).integers(rounds, size=(_RESAMPLES, rounds))
    totals: Figures = np.median(figures[:, drawn], axis=2)
    return totals


def _p_of_0(samples: Figures) -> float:
    """Return the two-sided bootstrap p value of a difference of 0; it is never 0, because samples are finite."""
    fewer = min(int((samples <= 0).sum()), int((samples >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(samples) + 1))


def _interval(value: float, samples: Figures, confidence: float = CONFIDENCE) -> Interval:
    tail = (1 - confidence) / 2
    low, high = (quantile(samples.tolist(), share) or 0.0 for share in (tail, 1 - tail))
    return Interval(float(value), low, high, confidence)


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
    """Return a hop's name as a readable text."""
    return _NAMES.get(hop, hop)


def amount(value: float) -> str:
    """Format microseconds, with tenths below a millisecond."""
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:.1f}"


def signed(value: float) -> str:
    """Format microseconds with their sign."""
    return f"{'-' if round(value, 1) < 0 else '+'}{amount(abs(value))}"


def limits(interval: Interval) -> str:
    """Format an interval of a difference, without its value."""
    return f"({signed(interval.low)} to {signed(interval.high)})"
