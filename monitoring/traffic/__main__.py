"""Analyses captures: CSV files, PNGs and a PDF report.

    python -m monitoring.traffic [--reports FOLDER] [--only-csv] CAPTURE...

A CAPTURE is pcap, pcapng or tcpdump's text, also compressed (gzip, bzip2, xz, zstandard), a file or a pipe; - is
standard input; several are read as one, in the order of their first packets. What cannot be read is counted, named and
reported; exit status 1 when nothing could. The files of an earlier run are removed first.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from monitoring.csv_files import write
from monitoring.names import Names
from monitoring.traffic import earlier
from monitoring.traffic.ahead import ahead
from monitoring.traffic.captures import in_order
from monitoring.traffic.packets import AddressBook, Unread
from monitoring.traffic.tables import Tables, unread_table
from monitoring.traffic.tally import Tally
from scripts.topology import TopologyError, load

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; 0 done, 1 nothing could be read, 2 bad usage."""
    options = _options(arguments)
    removed: list[Path] = []
    try:
        removed = earlier.remove(options.reports)
        return _analysed(options)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"traffic: {_one_line(error)}", file=sys.stderr)
        return 1
    finally:
        if gone := [path.name for path in removed if not path.exists()]:
            print(
                f"traffic: removed an earlier run's files from {options.reports}: {' '.join(gone)}",
                file=sys.stderr,
            )


def _analysed(options: argparse.Namespace) -> int:
    console = Console(stderr=True, highlight=False)
    try:
        names = Names(load(options.topology))
        tally = _counted(options.captures, console)
    except TopologyError as error:
        print(f"traffic: {_one_line(error)}", file=sys.stderr)
        return 1
    for reason, count in tally.unread.counts.most_common():
        first = f" (first at {tally.unread.first[reason]})" if tally.unread.first[reason] else ""
        print(f"traffic: not read: {reason}, {count} times{first}", file=sys.stderr)
    if not tally.packets:
        print(f"traffic: no packet in {' '.join(options.captures)}", file=sys.stderr)
        return 1
    tables = Tables(tally, names)
    written = [*tables.all(), unread_table(tally)]
    write(written, options.reports)
    if not options.only_csv:
        _draw_and_report(tables, written, options, console)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.traffic", description=lines[0], epilog=" ".join(lines[-3:])
    )
    parser.add_argument(
        "captures", nargs="+", metavar="CAPTURE", help="pcap, pcapng or text, also compressed; - is stdin"
    )
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help="where to write")
    parser.add_argument("--only-csv", action="store_true", help="no pictures, no PDF")
    parser.add_argument("--topology", default="", metavar="TABLE", help="whose names to use")
    return parser.parse_args(arguments)


def _counted(captures: Sequence[str], console: Console) -> Tally:
    book, unread = AddressBook(), Unread()
    tally = Tally(book, unread)
    with console.status("reading") as status:
        for capture in in_order(captures, book, unread):
            for packets in ahead(capture.packets):
                tally.add(packets)
                status.update(f"reading {capture.name}: {tally.packets:,} packets")
    return tally


def _draw_and_report(
    tables: Tables, written: Sequence[object], options: argparse.Namespace, console: Console
) -> None:
    from monitoring.traffic import pictures, report  # noqa: PLC0415 - matplotlib takes longer to load than most analyses

    with console.status("drawing"):
        pictures.draw(tables, options.reports)
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = shlex.join(["python", "-m", "monitoring.traffic", *options.captures])
        made = f"Generated on {when} by {command}"
        path = report.report(tables, written, options.reports, made)  # type: ignore[arg-type] # tables of tables.py
    print(f"{tables.tally.packets:,} packets: {path} and its CSVs and PNGs")


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
