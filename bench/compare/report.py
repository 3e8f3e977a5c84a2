"""What the comparison found: bench.csv, bench.png and bench_report.pdf, whose sentences follow from the numbers."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common.intervals import ALIKE, CONFIDENCE, NO_DIFFERENCE, UNKNOWN, Interval, interval, ratios
from bench.common.sides import CPUS, DOCKER, LAB, MEMORY, PROJECT, Contender, Side
from bench.compare.picture import draw
from lab.csv_files import write_rows
from lab.document import Document, Picture, Rows, Section, write

if TYPE_CHECKING:
    from bench.compare.measure import Run

_WHOLE = 100  # greater values are shown without decimals
_MOST_TIMES = 100  # an interval that reaches further is not shown in numbers
# Ways that are the same but for who made them.
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
class Figure:
    """A figure of a run: its name, its load, its unit, and how to take it from a run."""

    name: str
    load: str
    unit: str
    of: Callable[[Run], float]


FIGURES = (
    Figure("good answers a second", "closed loop", "/s", lambda run: run.per_second),
    Figure("p50", "open loop", "ms", lambda run: run.p50),
    Figure("p95", "open loop", "ms", lambda run: run.p95),
    Figure("p99", "open loop", "ms", lambda run: run.p99),
    Figure("CPU of the services a request", "closed loop", "ms", lambda run: run.cpu_services),
    Figure("CPU of the machine a request", "closed loop", "ms", lambda run: run.cpu_machine),
    Figure("memory of all services", "closed loop", "MB", lambda run: run.memory),
)
COSTS = FIGURES[:2]  # of an element: throughput and p50


class Results:
    """All runs, by contender and figure."""

    def __init__(self, runs: Sequence[Run], order: Sequence[str] = ()) -> None:
        """Take the runs; `order` is that of the ways, which each round has shuffled."""
        self._runs = runs
        found = dict.fromkeys(run.contender for run in sorted(runs, key=lambda run: run.side != LAB))
        self.contenders = [name for name in order if name in found] or list(found)
        self.bad = sum(run.bad for run in runs)
        self.requests = sum(run.requests for run in runs)
        self.rounds = max(run.round for run in runs)
        compared = list(self._compared())
        intervals = ratios(
            [(self.values(one, figure), self.values(other, figure)) for one, other, figure in compared]
        )
        self._ratios = dict(zip(compared, intervals, strict=True))

    def _compared(self) -> Iterator[tuple[str, str, Figure]]:
        """Yield all comparisons (one, other, figure); they are judged together."""
        for lab, docker in PAIRS:
            if self.has(lab, docker):
                yield from ((docker, lab, figure) for figure in FIGURES)
        for _, with_it, without in ELEMENTS:
            if self.has(with_it, without):
                yield from ((with_it, without, figure) for figure in COSTS)

    def values(self, contender: str, figure: Figure) -> list[float]:
        """Return a contender's figure of each round, in order."""
        mine = [run for run in self._runs if run.contender == contender and run.load == figure.load]
        return [figure.of(run) for run in sorted(mine, key=lambda run: run.round)]

    def interval(self, contender: str, figure: Figure) -> Interval:
        """Return the mean of a contender's figure with its 95 % interval."""
        return interval(self.values(contender, figure))

    def ratio(self, one: str, other: str, figure: Figure) -> Interval:
        """Return the ratio of one to other, with an interval that holds for all comparisons together."""
        return self._ratios[one, other, figure]

    @property
    def comparisons(self) -> int:
        """Return the number of comparisons that are judged together."""
        return len(self._ratios)

    def has(self, *names: str) -> bool:
        """Tell whether all of these contenders were measured."""
        return all(name in self.contenders for name in names)


def write_report(runs: Sequence[Run], sides: Sequence[Side], rate: float, folder: Path) -> None:
    """Write all files, and print the conclusions."""
    results = Results(runs, [contender.name for side in sides for contender in side.contenders])
    write_table(results, folder / "bench.csv")
    draw(results, FIGURES, folder / "bench.png")
    sentences = conclusions(results)
    document = Document(
        "Namespaces against Docker",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, by make bench; {results.rounds} rounds, each in another order",
        [
            Section("What was found", sentences),
            Section("In one picture", [Picture(folder / "bench.png", "throughput and latency by way", 120)]),
            Section("Each way", [_ways(sides), _figures(results)]),
            *(
                [Section("The same way, two makers: Docker in terms of the lab", [_pairs(results)])]
                * _both(results)
            ),
            Section("How it was measured", _method(rate, results)),
        ],
    )
    write(document, folder / "bench_report.md", folder / "bench_report.pdf")
    print("\n".join(("", *sentences)))
    print(f"\n{folder}/bench_report.pdf, bench.png, bench.csv, bench_raw.csv, bench_raw/", file=sys.stderr)


def conclusions(results: Results) -> list[str]:
    """Return the conclusions as sentences."""
    said = []
    for lab, docker in PAIRS:
        if results.has(lab, docker):
            said.append(_compared(results, lab, docker))
    for what, with_it, without in ELEMENTS:
        if results.has(with_it, without):
            said.append(_cost(results, what, with_it, without))
    if not _both(results):
        said.append("No Docker engine answered: nothing is said about Docker.")
    said.append(
        f"{results.bad:,} of {results.requests:,} answers were bad."
        if results.bad
        else f"All {results.requests:,} requests were answered well."
    )
    return said


def _both(results: Results) -> bool:
    return any(results.has(*pair) for pair in PAIRS)


def _compared(results: Results, lab: str, docker: str) -> str:
    """Say which figures of a way differ between Docker and the lab, and which do not."""
    more, alike, unknown = [], [], []
    for figure in FIGURES:
        times = results.ratio(docker, lab, figure)
        theirs, ours = results.interval(docker, figure).mean, results.interval(lab, figure).mean
        said = f"{figure.name} ({_digits_of(theirs)} against {_digits_of(ours)} {figure.unit})"
        if times.verdict() == NO_DIFFERENCE:
            alike.append(said)
        elif times.includes(1):
            unknown.append(f"{said}: {_untold(results, times)}")
        else:
            more.append(f"{said}: {_shown(times)}")
    same = [f"{NO_DIFFERENCE} in {_listed(alike)}"] if alike else []
    return f"{docker} against {lab}: {'; '.join((*more, *same, *unknown))}."


def _untold(results: Results, times: Interval) -> str:
    said = f"{UNKNOWN} in {results.rounds} rounds"
    if times.high > _MOST_TIMES:
        return said
    return f"{said}, anything from {times.low:.2f} to {times.high:.2f} times"


def _listed(items: Sequence[str]) -> str:
    *others, last = items
    return f"{', '.join(others)} or {last}" if others else last


def _cost(results: Results, what: str, with_it: str, without: str) -> str:
    parts = []
    for name, figure in zip(("throughput", "p50"), COSTS, strict=True):
        times = results.ratio(with_it, without, figure)
        verdict = times.verdict()
        told = f"{verdict}, {_shown(times)}" if verdict != UNKNOWN else _untold(results, times)
        parts.append(f"{name}: {told}")
    return f"With {what}, against without: {'; '.join(parts)}."


def _digits_of(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"


def _shown(value: Interval) -> str:
    return f"{value.mean:.2f} times ({value.low:.2f} to {value.high:.2f})"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.4g} %"


def write_table(results: Results, path: Path) -> None:
    """Write each figure of each contender, and each ratio of Docker to the lab, with their intervals."""
    rows = []
    for figure in FIGURES:
        for contender in results.contenders:
            found = results.interval(contender, figure)
            rows.append((contender, figure.name, figure.unit, *_digits(found)))
        for lab, docker in PAIRS:
            if results.has(lab, docker):
                times = results.ratio(docker, lab, figure)
                rows.append((f"{docker} / {lab}", figure.name, "times", *_digits(times)))
    write_rows(path, ("what", "figure", "unit", "mean", "low", "high", "confidence"), rows)


def _digits(value: Interval) -> list[str]:
    return [f"{number:.4f}" for number in (value.mean, value.low, value.high, value.confidence)]


def _ways(sides: Sequence[Side]) -> Rows:
    contenders: list[Contender] = [contender for side in sides for contender in side.contenders]
    return Rows(
        ("way", "asked at", "what lies between"),
        [(one.name, one.base, one.path) for one in contenders],
        (2, 2, 4),
    )


def _figures(results: Results) -> Rows:
    rows = []
    for contender in results.contenders:
        cells = []
        for figure in FIGURES:
            found = results.interval(contender, figure)
            cells.append(
                f"{_digits_of(found.mean)} ({_digits_of(max(0.0, found.low))} to {_digits_of(found.high)})"
            )
        rows.append((contender, *cells))
    headings = ("way", *(f"{figure.name}, {figure.unit} ({figure.load})" for figure in FIGURES))
    return Rows(headings, rows, (3, *[2] * len(FIGURES)))


def _pairs(results: Results) -> Rows:
    rows = []
    for lab, docker in PAIRS:
        for figure in FIGURES:
            times = results.ratio(docker, lab, figure)
            shown = _shown(times) if times.high <= _MOST_TIMES else "-"
            rows.append((f"{docker} / {lab}", figure.name, shown, times.verdict()))
    return Rows(("ways", "figure", "times (interval)", "in words"), rows, (4, 3, 3, 1.5))


def _method(rate: float, results: Results) -> list[str]:
    return [
        f"GET /api/products: nginx, gateway, product service, Redis. Each service of either side has {CPUS} CPU and "
        f"{MEMORY >> 20} MB by its control group, as many workers and instances, and the same code. Health checks of "
        "Docker are off; the registry's are on, on both sides.",
        "Closed loop: ApacheBench, 50 at a time, a new connection for each request, -l. Open loop: "
        f"{rate:.0f} requests a second, whether or not earlier ones were answered; latency from the intended moment; "
        f"connections kept. {results.rounds} rounds after one that does not count.",
        f"An interval is Student's, of the rounds' values, {_percent(CONFIDENCE)} for a single figure. A ratio is "
        f"taken in each round and its logarithms averaged. The {results.comparisons} ratios are judged together by "
        f"Holm's method: the chance that any of them is called more or less by chance is {_percent(1 - CONFIDENCE)} in "
        "all, so their intervals are wider. Where the interval of a ratio has 1 in it and lies within "
        f"{ALIKE[0]} and {ALIKE[1]}, that is no difference; where it is wider, these rounds cannot tell.",
        "CPU of the machine has the client and the kernel's own work in it, and docker-proxy's; CPU of the services is "
        "their control groups'. Memory is what their processes hold (PSS); the limit counts what they ask for after "
        "they joined their group, in the lab when all is up.",
        f"Machine: {os.cpu_count()} CPUs, Linux {platform.release()}; the lab's Python is {platform.python_version()}, "
        f"Docker's {_in_docker('python', '--version')}; the lab's nginx is {_said('nginx', '-v')}, "
        f"Docker's {_in_docker('nginx', '-v')}; Docker is "
        f"{_said('docker', 'version', '--format', '{{.Server.Version}}')}. "
        "Another interpreter or another build of it is a difference of the application, not of the network.",
    ]


def _in_docker(*command: str) -> str:
    service = "nginx" if command[0] == "nginx" else "api-gateway"
    return _said("docker", "exec", f"{PROJECT}-{service}-1", *command)


def _said(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not there"
    return (run.stdout + run.stderr).strip().removeprefix("nginx version: ")


__all__ = ["DOCKER", "FIGURES", "Results", "conclusions", "write_report"]
