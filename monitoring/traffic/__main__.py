"""Analyse captures: write CSV files, PNGs and a PDF report.

    python -m monitoring.traffic [--reports FOLDER] [--only-csv] [--format json|parquet] CAPTURE...

A CAPTURE is pcap, pcapng or tcpdump's text, also compressed (gzip, bzip2, xz, zstandard), a file or a pipe; - is
standard input; several are read as one, in the order of their first packets. Unreadable parts are counted and reported;
exit status 1 if nothing could be read. The files of an earlier run are removed once all captures can be opened; a
capture that a result would overwrite is refused.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.text import Text

from lab.csv_files import write
from lab.messages import print_line, print_message
from lab.terminal import Console
from lab.topology import TopologyError, load
from lab.unread import Unread
from lab.whole_file import draft_path
from monitoring.names import Names
from monitoring.traffic import source
from monitoring.traffic.packets import AddressBook
from monitoring.traffic.tables import Tables
from monitoring.traffic.tally import Tally

# The files that a run may write.
_TABLES = (
    "packets_per_service_pair", "protocol_distribution", "top_talkers", "traffic_summary", "conversations",
    "traffic_rate", "unread",
)  # fmt: skip
_PICTURES = ("protocol_distribution", "top_service_pairs", "top_talkers", "traffic_rate")
_REPORT = "traffic_analysis_report"
OTHER_FORMATS = ("json", "parquet")
REPORTS = Path(__file__).resolve().parents[2] / "reports"
_print = partial(print_message, "traffic")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 done, 1 nothing could be read, 2 bad usage."""
    options = _options(arguments)
    existing: list[Path] = []
    try:
        for capture in options.captures:
            source.check(capture)
        _check_results(options.reports, options.captures)
        # Remove the files of an earlier run, so that they are not mistaken for new results.
        existing = [path for path in _result_files(options.reports) if path.is_file()]
        for path in _result_files(options.reports):
            path.unlink(missing_ok=True)
        return _analyse(options)
    except BrokenPipeError:
        raise
    except (OSError, TopologyError) as error:
        _print(
            f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        )
        return 1
    finally:
        if removed := [path.name for path in existing if path.name[0] != "." and not path.exists()]:
            _print(f"removed an earlier run's files from {options.reports}: {' '.join(removed)}")


def _result_files(folder: Path) -> Iterator[Path]:
    """Yield every path that a run may write in `folder`, and its draft's."""
    endings = [
        (_TABLES, (".csv", ".json", ".parquet")),
        (_PICTURES, (".png",)),
        ((_REPORT,), (".md", ".pdf")),
    ]
    for names, suffixes in endings:
        for path in (folder / f"{name}{suffix}" for name in names for suffix in suffixes):
            yield path
            yield draft_path(path)


def _check_results(folder: Path, captures: Iterable[str]) -> None:
    """Raise FileExistsError when a run would remove or overwrite one of its captures."""
    read = {(path.stat().st_dev, path.stat().st_ino): path for path in map(Path, captures) if path.is_file()}
    for path in _result_files(folder):
        if path.is_file() and (capture := read.get((path.stat().st_dev, path.stat().st_ino))):
            reason = f"this capture would be overwritten by a result; write to another folder than {folder}"
            raise FileExistsError(errno.EEXIST, reason, str(capture))


def _analyse(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    names = Names(load(options.topology))
    tally = _count(options.captures, console)
    for sentence in tally.unread.sentences():
        _print(sentence)
    if not tally.packets:
        _print(f"no packet in {' '.join(options.captures)}")
        return 1
    tables = Tables(tally, names)
    write(tables.all(), options.reports)
    if options.format in OTHER_FORMATS:
        from monitoring.traffic import data_frames  # noqa: PLC0415 - see there

        data_frames.write_frames(tables.all(), options.reports, options.format)
    if not options.only_csv:
        _draw_and_report(tables, options, console)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.traffic", description=lines[0], epilog=" ".join(lines[-4:])
    )
    parser.add_argument(
        "captures", nargs="+", metavar="CAPTURE", help="pcap, pcapng or text, also compressed; - is stdin"
    )
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help="where to write")
    parser.add_argument("--only-csv", action="store_true", help="no pictures, no PDF")
    parser.add_argument(
        "--format", default=os.environ.get("FORMAT") or "csv", metavar="csv|json|parquet",
        help="also write the tables in this format; default: the environment's FORMAT, or csv",
    )  # fmt: skip
    parser.add_argument(
        "--topology", default="", metavar="TABLE", help="the table with the names of services"
    )
    options = parser.parse_args(arguments)
    if options.format not in ("csv", *OTHER_FORMATS):
        parser.error(f"no format {options.format!r}: FORMAT and --format are csv, json or parquet")
    return options


def _count(captures: Sequence[str], console: Console) -> Tally:
    book, unread = AddressBook(), Unread()
    tally = Tally(book, unread)
    with console.status("reading") as status:
        for capture in source.in_order(captures, book, unread):
            for packets in source.read_ahead(capture.packets):
                tally.add(packets)
                progress = f"reading {capture.name}: {tally.packets:,} packets"
                status.update(Text(progress))  # a string would be markup
    return tally


def _draw_and_report(tables: Tables, options: argparse.Namespace, console: Console) -> None:
    from monitoring.traffic import pictures, report  # noqa: PLC0415 - matplotlib takes longer to load than most analyses

    with console.status("drawing"):
        pictures.draw(tables, options.reports)
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = shlex.join(["python", "-m", "monitoring.traffic", *options.captures])
        made = f"Generated on {when} by {command}"
        path = report.report(tables, options.reports, made)
    also = f", {options.format}" if options.format in OTHER_FORMATS else ""
    print_line(f"{tables.tally.packets:,} packets: {path} and its CSVs{also} and PNGs")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
