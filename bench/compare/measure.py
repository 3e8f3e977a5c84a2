"""Measure the lab and Docker in turn; write each run to reports/bench_raw.csv and reports/bench_raw/.

bench/compare/run.sh brings both sides up and calls: python -m bench.compare.measure --lab PID --reports FOLDER ...
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import pandas as pd

from bench.common.cgroups import busy_seconds
from bench.common.loads import BenchError, Result, closed_loop, open_loop
from bench.common.sides import Contender, Side, docker_side, lab_side
from bench.compare.report import write_report
from bench.compare.results import CLOSED, COLUMNS, OPEN
from lab.csv_files import write_rows
from lab.topology import load

PATH = "/api/products"
SEED = 8080
SHARE_OF_SLOWEST = 0.5  # the open loop's rate, as a share of the slowest path's throughput


class Bench:
    """All ways, and where the results go."""

    def __init__(self, sides: list[Side], requests: int, seconds: float, folder: Path) -> None:
        self._pairs = [(side, contender) for side in sides for contender in side.contenders]
        self._requests, self._seconds, self._folder = requests, seconds, folder
        self._random = random.Random(SEED)  # noqa: S311  an order, no secret
        self.rate = 0.0
        self.runs: list[tuple[object, ...]] = []  # COLUMNS
        folder.mkdir(parents=True, exist_ok=True)

    def warm_up(self) -> None:
        """Run each contender once without recording; find the open loop's rate."""
        slowest = min(self._run(0, *pair, CLOSED) for pair in self._pairs)
        self.rate = max(5.0, round(slowest * SHARE_OF_SLOWEST, -1))
        self.runs.clear()

    def round(self, number: int) -> None:
        """Run each contender once under each load, in random order."""
        for pair in self._random.sample(self._pairs, len(self._pairs)):
            for kind in (CLOSED, OPEN):
                self._run(number, *pair, kind)

    def _run(self, number: int, side: Side, contender: Contender, load: str) -> float:
        """Add a run; return its good answers a second."""
        with _policy_in_force(contender):
            used, busy = side.cpu_seconds(), busy_seconds()
            result = self._load(number, contender, load)
            used, busy = side.cpu_seconds() - used, busy_seconds() - busy
            memory = side.memory_bytes() / 1e6
        cpu = (1000 * seconds / result.requests for seconds in (used, busy))
        run = (number, contender.name, side.name, load, *astuple(result), *cpu, memory)
        self.runs.append(run)
        shown = f"{result.per_second:8.1f}/s  p50 {result.p50:7.1f} ms  p99 {result.p99:7.1f} ms  {result.bad} bad"
        print(f"  {number}  {contender.name:28} {load:12} {shown}", file=sys.stderr)
        return result.per_second

    def _load(self, number: int, contender: Contender, kind: str) -> Result:
        name = f"{number}_{re.sub('[^0-9A-Za-z]', '_', contender.name)}"
        if kind == CLOSED:
            raw = self._folder / f"{name}_ab.csv"
            return closed_loop(contender.enter, contender.base + PATH, self._requests, raw)
        raw = self._folder / f"{name}_open.csv"
        return open_loop(contender.enter, contender.base, self.rate, self._seconds, raw)


@contextmanager
def _policy_in_force(contender: Contender) -> Iterator[None]:
    """Load the contender's policy, if it has one, and remove it at the end."""
    if contender.policy:
        subprocess.run([*contender.policy, "up"], stdout=subprocess.DEVNULL, check=True)
    try:
        yield
    finally:
        if contender.policy:
            subprocess.run([*contender.policy, "down"], stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Measure, write, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--lab", type=int, required=True, metavar="PID", help="first process of the lab's sandbox"
    )
    parser.add_argument("--docker", type=int, nargs=2, metavar=("PORT", "HOST_PORT"))
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
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
                f"round {number} of {options.rounds}; the open loop sends {bench.rate:.0f}/s", file=sys.stderr
            )
            bench.round(number)
    except BenchError as failure:
        raise SystemExit(f"bench: {failure}") from None
    rows = ([f"{value:.4f}" if isinstance(value, float) else value for value in run] for run in bench.runs)
    write_rows(options.reports / "bench_raw.csv", COLUMNS, rows)
    runs = pd.DataFrame(bench.runs, columns=COLUMNS)
    write_report(runs, sides, bench.rate, options.reports, as_json=options.json)


if __name__ == "__main__":
    main()
