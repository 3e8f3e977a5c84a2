"""Two loads on one URL: ApacheBench's closed loop, and an open loop at a constant rate.

ab: 50 clients, each of which waits for its answer before the next request; a new connection for each request; `-l`,
since answers may differ in length. The open loop (faults/chaos/load.py) begins each request at its scheduled time and
counts latency from then, so that a stall is not hidden ("coordinated omission"); connections are kept.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from monitoring.quantiles import quantile

CONCURRENCY = 50
OK = 200


class BenchError(Exception):
    """A load that could not be measured; as text, one line."""


@dataclass(frozen=True)
class Result:
    """The result of one load; latencies in ms."""

    requests: int
    bad: int
    per_second: float
    p50: float
    p95: float
    p99: float


def closed_loop(enter: Sequence[str], url: str, requests: int, raw: Path) -> Result:
    """Run ab; its percentiles, which are one rank above the nearest, are written to `raw`. Raises BenchError."""
    command = [*enter, "ab", "-l", "-q", "-s", "30", "-n", str(requests), "-c", str(CONCURRENCY)]
    run = subprocess.run([*command, "-e", str(raw), url], capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"ab {url}: {run.stderr.strip().splitlines()[-1:] or run.stdout[-200:]}")
    figures = dict(re.findall(r"^([^:\n]+): +([\d.]+)", run.stdout, re.MULTILINE))
    bad = int(figures["Failed requests"]) + int(figures.get("Non-2xx responses", 0))
    percentiles = pd.read_csv(raw, names=["percent", "ms"], skiprows=1, index_col="percent")["ms"]
    per_second = (int(figures["Complete requests"]) - bad) / float(figures["Time taken for tests"])
    return Result(requests, bad, per_second, *(float(percentiles[percent]) for percent in (50, 95, 99)))


def open_loop(enter: Sequence[str], base: str, rate: float, seconds: float, raw: Path) -> Result:
    """Request the catalogue `rate` times a second; each request is a line of `raw`. Raises BenchError."""
    command = [*enter, sys.executable, "-m", "faults.chaos.load", "--url", base, "--gets", str(rate)]
    command += ["--orders", "0", "--seconds", str(seconds), "--out", str(raw)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"open loop at {base}: {run.stderr.strip().splitlines()[-1:]}")
    answers = pd.read_csv(raw)
    p50, p95, p99 = (quantile(answers["latency_ms"], share) for share in (0.5, 0.95, 0.99))
    if p50 is None or p95 is None or p99 is None:
        raise BenchError(f"open loop at {base}: no request was sent; give it more time")
    bad = int((answers["status"] != OK).sum())
    return Result(len(answers), bad, (len(answers) - bad) / seconds, p50, p95, p99)
