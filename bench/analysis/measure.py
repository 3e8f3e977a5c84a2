"""Time and peak memory of reading captures: ours, tshark, and a regular expression on each line, in turn.

    python -m bench.analysis.measure FOLDER ROUNDS REPORTS

bench/analysis/run.sh makes FOLDER: capture.pcap and capture.txt of the same packets, hex_MEGABYTES.txt (tcpdump -X),
and with BEFORE=COMMIT before/, the tree of that commit. Writes REPORTS/bench_analysis.csv for report.py.
This process has to stay small, because its memory counts for the peak of a child (exec keeps ru_maxrss).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.csv_files import write_rows
from lab.topology import ROOT

OURS, OURS_OF_TEXT, TSHARK, REGEX = "ours, pcap", "ours, text", "tshark -z conv,ip", "a regex a line, text"
BEFORE, BEFORE_OF_TEXT = "before, pcap", "before, text"
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Contender:
    """A command that reads a capture; `megabytes` are those of a text with -X, else 0."""

    name: str
    command: Sequence[str]
    tree: Path = ROOT
    megabytes: float = 0


def contenders(folder: Path) -> list[Contender]:
    """Return the contenders; those of an earlier commit only if FOLDER/before exists."""
    pcap, text, before = folder / "capture.pcap", folder / "capture.txt", folder / "before"
    regex = [sys.executable, str(ROOT / "bench/analysis/original/text_reader.py"), str(text)]
    found = [
        Contender(OURS, _analysis_command(folder, pcap)),
        Contender(TSHARK, ["tshark", "-nqr", str(pcap), "-z", "conv,ip"]),
        Contender(OURS_OF_TEXT, _analysis_command(folder, text)),
        Contender(REGEX, regex),
    ]
    if before.is_dir():
        found.insert(1, Contender(BEFORE, _analysis_command(folder, pcap), before))
        found.insert(4, Contender(BEFORE_OF_TEXT, _analysis_command(folder, text), before))
    for path in sorted(folder.glob("hex_*.txt"), key=lambda file: file.stat().st_size):
        size = path.stat().st_size / _MEGABYTE
        found.append(
            Contender(f"ours, text with -X, {size:.0f} MB", _analysis_command(folder, path), megabytes=size)
        )
    return found


def _analysis_command(folder: Path, capture: Path) -> list[str]:
    options = ["--only-csv", "--topology", "flat", "--reports", str(folder)]
    return [sys.executable, "-m", "monitoring.traffic", *options, str(capture)]


def measure(contender: Contender) -> tuple[float, float]:
    """Run a contender once; return its seconds and its peak memory in MB. Ends the benchmark if it fails."""
    begin = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(contender.command, cwd=contender.tree, stdout=quiet, stderr=quiet)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"bench: {contender.name} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main(folder: Path, rounds: int, reports: Path) -> None:
    """Measure in turn, and write a line for each run."""
    rows = []
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        for one in contenders(folder):
            seconds, peak = measure(one)
            rows.append((number, one.name, f"{seconds:.3f}", f"{peak:.1f}", f"{one.megabytes:.1f}"))
    columns = ("round", "contender", "seconds", "peak_mb", "megabytes")
    write_rows(reports / "bench_analysis.csv", columns, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
