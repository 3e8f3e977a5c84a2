"""Times and peak memory of reading one capture: ours against tshark and a regular expression a line, in turn.

python -m bench.analysis FOLDER ROUNDS CSV    (bench/analysis.sh makes the folder's capture.pcap and capture.txt)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from scripts.csv_files import write_rows
from scripts.terminal import Console

ROOT = Path(__file__).resolve().parent.parent
OURS, OURS_OF_TEXT, TSHARK, REGEX = "ours, pcap", "ours, text", "tshark -z conv,ip", "a regex a line, text"


def commands(folder: Path) -> dict[str, list[str]]:
    """Give each contender's command."""
    ours = [
        sys.executable,
        "-m",
        "monitoring.traffic",
        "--only-csv",
        "--topology",
        "flat",
        "--reports",
        str(folder),
    ]
    pcap, text = str(folder / "capture.pcap"), str(folder / "capture.txt")
    return {
        OURS: [*ours, pcap],
        TSHARK: ["tshark", "-nqr", pcap, "-z", "conv,ip"],
        OURS_OF_TEXT: [*ours, text],
        REGEX: [sys.executable, str(ROOT / "bench/original/text_reader.py"), text],
    }


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Run it; give its seconds and its peak memory in MB."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"bench: {command[0]} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main(folder: Path, rounds: int, path: Path) -> None:
    """Measure in turn, show, and write each run to a CSV."""
    runs: list[tuple[int, str, float, float]] = []
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        runs += [(number, name, *measured(command)) for name, command in commands(folder).items()]
    rows = [(number, name, f"{seconds:.3f}", f"{memory:.1f}") for number, name, seconds, memory in runs]
    write_rows(path, ("round", "contender", "seconds", "peak_mb"), rows)
    show(runs, folder)


def show(runs: Sequence[tuple[int, str, float, float]], folder: Path) -> None:
    """Print medians with their spread, and ratios by round."""
    packets = int((folder / "packets").read_text())
    lines = int((folder / "lines").read_text())
    seconds = {name: [run[2] for run in runs if run[1] == name] for name in commands(folder)}
    table = Table("contender", title=f"{packets:,} packets, {lines:,} lines of text", title_justify="left")
    for heading in ("seconds", "per second", "peak MB"):
        table.add_column(heading, justify="right")
    for name, taken in seconds.items():
        many, of_what = (lines, "lines") if name in (OURS_OF_TEXT, REGEX) else (packets, "packets")
        rate = f"{many / statistics.median(taken):,.0f} {of_what}"
        peak = max(run[3] for run in runs if run[1] == name)
        table.add_row(name, _spread(taken), rate, f"{peak:.0f}")
    Console().print(table)
    for one, other in ((TSHARK, OURS), (REGEX, OURS_OF_TEXT)):
        ratios = [slow / quick for slow, quick in zip(seconds[one], seconds[other], strict=True)]
        print(f"{other} is {_spread(ratios)} times as fast as {one}")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
