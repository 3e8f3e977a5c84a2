"""Steps of a waterfall: each hop's total, what it adds to the hop before, both with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FIRST, MORE, LESS, NO_DIFFERENCE = "first", "more", "less", "no difference"
_DRAWS = 10_000
_SEED = 1
_TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure, and where it is with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Step:
    """A hop on the way; `added` is None for the first."""

    hop: str
    total: Estimate
    added: Estimate | None

    @property
    def verdict(self) -> str:
        """Tell whether the hop makes a difference: its interval, to the tenth that is written, does not include 0."""
        if self.added is None:
            return FIRST
        if round(self.added.low, 1) > 0:
            return MORE
        return LESS if round(self.added.high, 1) < 0 else NO_DIFFERENCE


def steps_of(hops: Sequence[str], figures: npt.NDArray[np.float64]) -> list[Step]:
    """Give the steps; `figures` has a row for each hop and a column for each round."""
    totals = np.median(figures, axis=1)
    drawn = drawn_totals(figures)
    steps = [Step(hops[0], _estimate(totals[0], drawn[0]), None)]
    for at, hop in enumerate(hops[1:], start=1):
        added = _estimate(totals[at] - totals[at - 1], drawn[at] - drawn[at - 1])
        steps.append(Step(hop, _estimate(totals[at], drawn[at]), added))
    return steps


def drawn_totals(figures: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give each hop's total in as many worlds as are drawn: rounds with replacement, the same for all hops."""
    rounds = figures.shape[1]
    chosen = np.random.default_rng(_SEED).integers(0, rounds, size=(_DRAWS, rounds))
    return np.array([np.median(row[chosen], axis=1) for row in figures])


def _estimate(value: float, drawn: npt.NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(drawn, _TAILS)
    return Estimate(float(value), float(low), float(high))


def floating_bars(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """Give each bar's beginning and (signed) length: from the total before to the total after."""
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
    """Give a hop's name as people read it."""
    return _NAMES.get(hop, hop)


def amount(value: float) -> str:
    """Write microseconds: tenths, but not of milliseconds."""
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:.1f}"


def signed(value: float) -> str:
    """Write what is added."""
    return f"{'-' if round(value, 1) < 0 else '+'}{amount(abs(value))}"
