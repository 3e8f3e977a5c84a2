"""Time and peak memory of reading captures: ours, tshark, and a regular expression on each line, in turn.

    python -m bench.analysis.measure FOLDER ROUNDS REPORTS

bench/analysis/run.sh makes FOLDER: capture.pcap and capture.txt of the same packets, hex_MEGABYTES.txt (tcpdump -X),
and before/, the tree of an earlier commit, if one is asked for. Writes bench_analysis.csv, a row a run, and bench_analysis.png.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench.analysis import picture as analysis_picture
from lab.csv_files import write_rows
from lab.terminal import Console
from lab.topology import ROOT

OURS, OURS_OF_TEXT, TSHARK, REGEX = "ours, pcap", "ours, text", "tshark -z conv,ip", "a regex a line, text"
BEFORE, BEFORE_OF_TEXT = "before, pcap", "before, text"
_OF_LINES = (OURS_OF_TEXT, REGEX, BEFORE_OF_TEXT)
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Contender:
    """A command that reads a capture; `megabytes` are those of a text with -X, else 0."""

    name: str
    command: Sequence[str]
    tree: Path = ROOT
    megabytes: float = 0


@dataclass(frozen=True)
class Run:
    """One run of a contender."""

    round: int
    contender: Contender
    seconds: float
    peak: float  # MB


def contenders(folder: Path) -> list[Contender]:
    """Return the contenders; those of an earlier commit only if FOLDER/before exists."""
    pcap, text, before = folder / "capture.pcap", folder / "capture.txt", folder / "before"
    regex = [sys.executable, str(ROOT / "bench/analysis/original/text_reader.py"), str(text)]
    found = [
        Contender(OURS, _analysis(folder, pcap)),
        Contender(TSHARK, ["tshark", "-nqr", str(pcap), "-z", "conv,ip"]),
        Contender(OURS_OF_TEXT, _analysis(folder, text)),
        Contender(REGEX, regex),
    ]
    if before.is_dir():
        found.insert(1, Contender(BEFORE, _analysis(folder, pcap), before))
        found.insert(4, Contender(BEFORE_OF_TEXT, _analysis(folder, text), before))
    for path in sorted(folder.glob("hex_*.txt"), key=lambda each: each.stat().st_size):
        size = path.stat().st_size / _MEGABYTE
        found.append(Contender(f"ours, text with -X, {size:.0f} MB", _analysis(folder, path), megabytes=size))
    return found


def _analysis(folder: Path, capture: Path) -> list[str]:
    options = ["--only-csv", "--topology", "flat", "--reports", str(folder)]
    return [sys.executable, "-m", "monitoring.traffic", *options, str(capture)]


def measured(number: int, contender: Contender) -> Run:
    """Run a contender once, in round `number`. Ends the benchmark if it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        contender.command, cwd=contender.tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"bench: {contender.name} ended with status {os.waitstatus_to_exitcode(status)}")
    return Run(number, contender, time.perf_counter() - begin, usage.ru_maxrss / 1024)


def main(folder: Path, rounds: int, reports: Path) -> None:
    """Measure in turn, write, draw and show."""
    runs: list[Run] = []
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        runs += [measured(number, contender) for contender in contenders(folder)]
    rows = [(run.round, run.contender.name, f"{run.seconds:.3f}", f"{run.peak:.1f}") for run in runs]
    write_rows(reports / "bench_analysis.csv", ("round", "contender", "seconds", "peak_mb"), rows)
    with_hex = [run for run in runs if run.contender.megabytes]
    points = [(run.contender.megabytes, run.seconds, run.peak) for run in with_hex]
    analysis_picture.draw(points, reports / "bench_analysis.png")
    show(runs, int((folder / "packets").read_text()), int((folder / "lines").read_text()))


def show(runs: Sequence[Run], packets: int, lines: int) -> None:
    """Print medians with their spread, and ratios by round."""
    table = Table("contender", title=f"{packets:,} packets, {lines:,} lines of text", title_justify="left")
    for heading in ("seconds", "per second", "peak MB"):
        table.add_column(heading, justify="right")
    seconds: dict[str, list[float]] = {}
    for run in runs:
        seconds.setdefault(run.contender.name, []).append(run.seconds)
    for name, taken in seconds.items():
        its = [run for run in runs if run.contender.name == name]
        table.add_row(
            name,
            _spread(taken),
            _rate(its[0].contender, statistics.median(taken), packets, lines),
            f"{max(run.peak for run in its):.0f}",
        )
    Console().print(table)
    for line in _ratios(seconds, runs):
        print(line)


def _rate(contender: Contender, seconds: float, packets: int, lines: int) -> str:
    if contender.megabytes:
        return f"{contender.megabytes / seconds:,.0f} MB"
    many, of_what = (lines, "lines") if contender.name in _OF_LINES else (packets, "packets")
    return f"{many / seconds:,.0f} {of_what}"


def _ratios(seconds: dict[str, list[float]], runs: Sequence[Run]) -> Iterator[str]:
    pairs = ((TSHARK, OURS), (REGEX, OURS_OF_TEXT), (BEFORE, OURS), (BEFORE_OF_TEXT, OURS_OF_TEXT))
    for other, ours in pairs:
        if other in seconds:
            by_round = [slow / quick for slow, quick in zip(seconds[other], seconds[ours], strict=True)]
            yield f"{ours} is {_spread(by_round)} times as fast as {other}"
    sizes = sorted({run.contender.megabytes for run in runs} - {0})
    if len(sizes) > 1:
        small, large = (
            [run.seconds / size for run in runs if run.contender.megabytes == size]
            for size in (sizes[0], sizes[-1])
        )
        each = [of_large / of_small for of_large, of_small in zip(large, small, strict=True)]
        yield (
            f"with -X, a megabyte of {sizes[-1]:.0f} takes {_spread(each)} times as long as one of {sizes[0]:.0f}: "
            "1 is linear"
        )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
