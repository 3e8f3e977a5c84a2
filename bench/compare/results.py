"""The runs of the comparison, by way and figure, with intervals and ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.common.intervals import Interval, interval, ratios
from bench.common.spread import by_round

CLOSED, OPEN = "closed loop", "open loop"
# The same path in the lab and in Docker.
PAIRS = (
    ("lab, published port", "Docker, published port"),
    ("lab, node's address", "Docker, container's address"),
)
# An element, the way with it, and the way without it: the difference is its cost.
ELEMENTS = (
    ("the policy's rules", "lab, under its policy", "lab, node's address"),
    ("the lab's DNAT", "lab, published port", "lab, node's address"),
    ("Docker's DNAT", "Docker, published port", "Docker, container's address"),
    ("docker-proxy", "Docker, docker-proxy", "Docker, published port"),
    ("nginx's own namespace in Docker", "Docker, container's address", "Docker, host network"),
)


# A run is one load on one way: latencies in ms, CPU in ms per request, memory in MB of all services.
COLUMNS = (
    *("round", "contender", "side", "load", "requests", "bad", "per_second", "p50", "p95", "p99"),
    *("cpu_services", "cpu_machine", "memory"),
)


@dataclass(frozen=True)
class Figure:
    """A figure of a run: its name, its load, its unit, and its column."""

    name: str
    load: str
    unit: str
    column: str


FIGURES = (
    Figure("good answers a second", CLOSED, "/s", "per_second"),
    Figure("p50", OPEN, "ms", "p50"),
    Figure("p95", OPEN, "ms", "p95"),
    Figure("p99", OPEN, "ms", "p99"),
    Figure("CPU of the services a request", CLOSED, "ms", "cpu_services"),
    Figure("CPU of the machine a request", CLOSED, "ms", "cpu_machine"),
    Figure("memory of all services", CLOSED, "MB", "memory"),
)
COSTS = FIGURES[:2]  # an element's cost: throughput and p50


class Results:
    """All runs, by way and figure."""

    def __init__(self, runs: pd.DataFrame, contenders: Sequence[str]) -> None:
        """Compare the runs, which have COLUMNS; `contenders` are all ways, in the order of the report."""
        self._runs = runs
        self.contenders = contenders
        self.bad, self.requests = int(runs["bad"].sum()), int(runs["requests"].sum())
        self.rounds = int(runs["round"].max())
        self.pairs = [pair for pair in PAIRS if self._has(*pair)]
        self.elements = [element for element in ELEMENTS if self._has(*element[1:])]
        compared = list(self._compared())
        intervals = ratios(
            [(self.values(one, figure), self.values(other, figure)) for one, other, figure in compared]
        )
        self._ratios = dict(zip(compared, intervals, strict=True))

    def _has(self, *names: str) -> bool:
        return all(name in self.contenders for name in names)

    def _compared(self) -> Iterator[tuple[str, str, Figure]]:
        """Yield all comparisons (one, other, figure), which Holm's method judges together."""
        for lab, docker in self.pairs:
            yield from ((docker, lab, figure) for figure in FIGURES)
        for _, with_it, without in self.elements:
            yield from ((with_it, without, figure) for figure in COSTS)

    def values(self, contender: str, figure: Figure) -> list[float]:
        """Return a way's figure of each round, in order."""
        runs = self._runs[self._runs["load"] == figure.load]
        return by_round(runs, figure.column)[contender].tolist()

    def interval(self, contender: str, figure: Figure) -> Interval:
        """Return the mean of a way's figure with its 95 % interval."""
        return interval(self.values(contender, figure))

    def ratio(self, one: str, other: str, figure: Figure) -> Interval:
        """Return the ratio of one way to another, with an interval that holds for all comparisons together."""
        return self._ratios[one, other, figure]

    @property
    def comparisons(self) -> int:
        """Return the number of comparisons that are judged together."""
        return len(self._ratios)
