"""The runs of the comparison, by way and figure, with intervals and ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from bench.common.intervals import Interval, interval, ratios
from bench.common.sides import LAB

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


@dataclass(frozen=True)
class Run:
    """One load on one way; latencies in ms, CPU in ms per request, memory in MB of all services."""

    round: int
    contender: str
    side: str
    load: str
    requests: int
    bad: int
    per_second: float
    p50: float
    p95: float
    p99: float
    cpu_services: float
    cpu_machine: float
    memory: float


@dataclass(frozen=True)
class Figure:
    """A figure of a run: its name, its load, its unit, and the field of Run."""

    name: str
    load: str
    unit: str
    field: str


FIGURES = (
    Figure("good answers a second", CLOSED, "/s", "per_second"),
    Figure("p50", OPEN, "ms", "p50"),
    Figure("p95", OPEN, "ms", "p95"),
    Figure("p99", OPEN, "ms", "p99"),
    Figure("CPU of the services a request", CLOSED, "ms", "cpu_services"),
    Figure("CPU of the machine a request", CLOSED, "ms", "cpu_machine"),
    Figure("memory of all services", CLOSED, "MB", "memory"),
)
COSTS = FIGURES[:2]  # of an element: throughput and p50


class Results:
    """All runs, by way and figure."""

    def __init__(self, runs: Sequence[Run], order: Sequence[str] = ()) -> None:
        """Sort the runs; `order` is that of the ways, because each round has another."""
        self._runs = sorted(runs, key=attrgetter("round"))
        found = dict.fromkeys(run.contender for run in sorted(runs, key=lambda run: run.side != LAB))
        self.contenders = [name for name in order if name in found] or list(found)
        self.bad = sum(run.bad for run in runs)
        self.requests = sum(run.requests for run in runs)
        self.rounds = self._runs[-1].round
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
        """Yield all comparisons (one, other, figure); they are judged together."""
        for lab, docker in self.pairs:
            yield from ((docker, lab, figure) for figure in FIGURES)
        for _, with_it, without in self.elements:
            yield from ((with_it, without, figure) for figure in COSTS)

    def values(self, contender: str, figure: Figure) -> list[float]:
        """Return a way's figure of each round, in order."""
        mine = [run for run in self._runs if (run.contender, run.load) == (contender, figure.load)]
        return [getattr(run, figure.field) for run in mine]

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
