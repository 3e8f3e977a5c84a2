"""Measure the lab and Docker in turn; write each run to reports/bench_raw.csv and reports/bench_raw/.

bench/compare/run.sh brings both sides up and calls: python -m bench.compare.measure --lab PID --reports FOLDER ...
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from bench.common.cgroups import busy_seconds
from bench.common.loads import BenchError, Result, closed_loop, open_loop
from bench.common.sides import Contender, Side, docker_side, lab_side
from bench.compare.report import write_report
from lab.csv_files import write_rows
from lab.topology import load

CLOSED, OPEN = "closed loop", "open loop"
PATH = "/api/products"
Load = Callable[[], Result]
SEED = 8080
SHARE_OF_SLOWEST = 0.5  # the open loop's rate: what even the slowest answers with ease


@dataclass(frozen=True)
class Run:
    """One load on one contender; CPU in ms a request, memory in MB of all services."""

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


class Bench:
    """All contenders, and where the results go."""

    def __init__(self, sides: list[Side], requests: int, seconds: float, folder: Path) -> None:
        self._pairs = [(side, contender) for side in sides for contender in side.contenders]
        self._requests, self._seconds, self._folder = requests, seconds, folder
        self._random = random.Random(SEED)  # noqa: S311  an order, no secret
        self.rate = 0.0
        self.runs: list[Run] = []
        folder.mkdir(parents=True, exist_ok=True)

    def warm_up(self) -> None:
        """Run each once without counting; find the open loop's rate."""
        slowest = min(self._closed(0, side, contender).per_second for side, contender in self._pairs)
        self.rate = max(5.0, round(slowest * SHARE_OF_SLOWEST, -1))
        self.runs.clear()

    def round(self, number: int) -> None:
        """Run each once, in another order each time."""
        for side, contender in self._random.sample(self._pairs, len(self._pairs)):
            self._closed(number, side, contender)
            self._open(number, side, contender)

    def _closed(self, number: int, side: Side, contender: Contender) -> Run:
        raw = self._raw(number, contender, "ab")
        with _prepared(contender):
            return self._measured(
                number,
                side,
                contender,
                CLOSED,
                lambda: closed_loop(contender.enter, contender.base + PATH, self._requests, raw),
            )

    def _open(self, number: int, side: Side, contender: Contender) -> Run:
        raw = self._raw(number, contender, "open")
        with _prepared(contender):
            return self._measured(
                number,
                side,
                contender,
                OPEN,
                lambda: open_loop(contender.enter, contender.base, self.rate, self._seconds, raw),
            )

    def _raw(self, number: int, contender: Contender, kind: str) -> Path:
        name = "".join(character if character.isalnum() else "_" for character in contender.name)
        return self._folder / f"{number}_{name}_{kind}.csv"

    def _measured(self, number: int, side: Side, contender: Contender, kind: str, load: Load) -> Run:
        used, busy = side.cpu_seconds(), busy_seconds()
        result = load()
        used, busy = side.cpu_seconds() - used, busy_seconds() - busy
        run = Run(
            number,
            contender.name,
            side.name,
            kind,
            result.requests,
            result.bad,
            result.per_second,
            result.p50,
            result.p95,
            result.p99,
            1000 * used / result.requests,
            1000 * busy / result.requests,
            side.memory_bytes() / 1e6,
        )
        self.runs.append(run)
        said = f"{run.per_second:8.1f}/s  p50 {run.p50:7.1f} ms  p99 {run.p99:7.1f} ms  {run.bad} bad"
        print(f"  {number}  {contender.name:28} {kind:12} {said}", file=sys.stderr)
        return run


@contextmanager
def _prepared(contender: Contender) -> Iterator[None]:
    if contender.before:
        subprocess.run(contender.before, stdout=subprocess.DEVNULL, check=True)
    try:
        yield
    finally:
        if contender.after:
            subprocess.run(contender.after, stdout=subprocess.DEVNULL, check=True)


def write_runs(runs: list[Run], path: Path) -> None:
    """Write a line a run."""
    names = [field.name for field in fields(Run)]
    rows = ([getattr(run, name) for name in names] for run in runs)
    write_rows(
        path,
        names,
        ([f"{value:.4f}" if isinstance(value, float) else value for value in row] for row in rows),
    )


def main() -> None:
    """Measure, write, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--lab", type=int, required=True, metavar="PID", help="first process of the lab's sandbox"
    )
    parser.add_argument("--docker", type=int, nargs=2, metavar=("PORT", "HOST_PORT"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--reports", type=Path, required=True)
    options = parser.parse_args()
    sides = [lab_side(load(), options.lab)]
    if options.docker:
        sides.append(docker_side(*options.docker))
    bench = Bench(sides, options.requests, options.seconds, options.reports / "bench_raw")
    try:
        print("warming up", file=sys.stderr)
        bench.warm_up()
        for number in range(1, options.rounds + 1):
            print(
                f"round {number} of {options.rounds}; the open loop asks {bench.rate:.0f}/s", file=sys.stderr
            )
            bench.round(number)
    except BenchError as failure:
        raise SystemExit(f"bench: {failure}") from None
    write_runs(bench.runs, options.reports / "bench_raw.csv")
    write_report(bench.runs, sides, bench.rate, options.reports)


if __name__ == "__main__":
    main()
