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
from pathlib import Path

from rich.text import Text

from lab.csv_files import Table, write
from lab.messages import print_line, print_message
from lab.terminal import Console
from lab.topology import TopologyError, load
from lab.unread import Unread
from lab.whole_file import draft_path
from monitoring.names import Names
from monitoring.traffic import source
from monitoring.traffic.packets import AddressBook
from monitoring.traffic.tables import Tables, unread_table
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


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 done, 1 nothing could be read, 2 bad usage."""
    options = _options(arguments)
    removed: list[Path] = []
    try:
        for capture in options.captures:
            source.check(capture)
        _check_results(options.reports, options.captures)
        removed = _remove_results(options.reports)
        return _analyse(options)
    except BrokenPipeError:
        raise
    except (OSError, TopologyError) as error:
        _print(_one_line(error))
        return 1
    finally:
        if removed_names := [path.name for path in removed if not path.exists()]:
            _print(f"removed an earlier run's files from {options.reports}: {' '.join(removed_names)}")


def _result_files(folder: Path) -> Iterator[Path]:
    """Yield every path that a run may write in `folder`."""
    yield from (folder / f"{name}{ending}" for name in _TABLES for ending in (".csv", ".json", ".parquet"))
    yield from (folder / f"{name}.png" for name in _PICTURES)
    yield from (folder / f"{_REPORT}{ending}" for ending in (".md", ".pdf"))


def _check_results(folder: Path, captures: Iterable[str]) -> None:
    """Raise FileExistsError when a run would remove or overwrite one of its captures."""
    read = {(path.stat().st_dev, path.stat().st_ino): path for path in map(Path, captures) if path.is_file()}
    for result in _result_files(folder):
        for path in (result, draft_path(result)):
            if path.is_file() and (capture := read.get((path.stat().st_dev, path.stat().st_ino))):
                raise FileExistsError(
                    errno.EEXIST,
                    f"this capture would be overwritten by a result; write to another folder than {folder}",
                    str(capture),
                )


def _remove_results(folder: Path) -> list[Path]:
    """Remove the files and drafts of an earlier run from `folder`, so that they are not mistaken for new results.

    Return the files that existed.
    """
    existing = [path for path in _result_files(folder) if path.is_file()]
    for path in _result_files(folder):
        path.unlink(missing_ok=True)
        draft_path(path).unlink(missing_ok=True)
    return existing


def _print(sentence: str) -> None:
    print_message("traffic", sentence)


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
    written = [*tables.all(), unread_table(tally)]
    write(written, options.reports)
    _write_frames(written, options)
    if not options.only_csv:
        _draw_and_report(tables, written, options, console)
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


def _write_frames(written: Sequence[Table], options: argparse.Namespace) -> None:
    """Also write the tables as JSON or parquet if --format asks for it."""
    if options.format in OTHER_FORMATS:
        from monitoring.traffic import data_frames  # noqa: PLC0415 - see there

        data_frames.write_frames(written, options.reports, options.format)


def _draw_and_report(
    tables: Tables, written: Sequence[Table], options: argparse.Namespace, console: Console
) -> None:
    from monitoring.traffic import pictures, report  # noqa: PLC0415 - matplotlib takes longer to load than most analyses

    with console.status("drawing"):
        pictures.draw(tables, options.reports)
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = shlex.join(["python", "-m", "monitoring.traffic", *options.captures])
        made = f"Generated on {when} by {command}"
        path = report.report(tables, written, options.reports, made)
    also = f", {options.format}" if options.format in OTHER_FORMATS else ""
    print_line(f"{tables.tally.packets:,} packets: {path} and its CSVs{also} and PNGs")


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
