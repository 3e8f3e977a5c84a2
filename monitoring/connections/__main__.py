"""Connections by service and state, address translations, and how full the tracking table is.

    python -m monitoring.connections [--watch SECONDS] [--json] [--reports FOLDER]

Runs once, or repeatedly with --watch (in place on a terminal). --reports writes the CSV files and
connection_report.pdf. Needs root. Exit status 1 on an alarm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab import csv_files
from lab.messages import print_line, print_message
from lab.terminal import Console
from lab.topology import TopologyError, load
from monitoring.connections.tables import HEADINGS, TITLES, csv_tables
from monitoring.connections.tracker import ALARM_FILL, Snapshot, take_snapshot
from monitoring.live import LiveError, need_root

_MAX_ROWS = 20


def screen(snapshot: Snapshot) -> Group:
    """Return the snapshot for a terminal: the alarms, and the first rows of each table."""
    fill = snapshot.table.fill
    head = Text(f"tracked: {snapshot.table.entries:,} of {snapshot.table.limit:,} ({100 * fill:.1f} %)")
    head.stylize("bold red" if fill >= ALARM_FILL else "bold")
    alarms = [Text(alarm, "red") for alarm in snapshot.alarms()]
    alarms += [Text(sentence, "yellow") for sentence in snapshot.unread.sentences()]
    tables = [table for table in csv_tables(snapshot) if table.rows and table.name != "tracking_table"]
    return Group(head, *alarms, *map(_for_screen, tables))


def _for_screen(table: csv_files.Table) -> Table:
    shown = Table(title=TITLES[table.name], title_justify="left")
    for name in table.columns:
        is_count = name in ("connections", "incoming", "outgoing")
        shown.add_column(HEADINGS.get(name, name), justify="right" if is_count else "left", overflow="fold")
    for row in table.rows[:_MAX_ROWS]:
        shown.add_row(*map(str, row))
    return shown


def as_json(snapshot: Snapshot) -> str:
    """Return the snapshot as one line of JSON."""
    pairs, established, translations = (
        [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        for table in csv_tables(snapshot)[:3]
    )
    return json.dumps(
        {
            "pairs": pairs,
            "established": established,
            "translations": translations,
            "table": {**asdict(snapshot.table), "fill": snapshot.table.fill},
            "alarms": list(snapshot.alarms()),
            "unread": dict(snapshot.unread.counts),
        }
    )


def watch(options: argparse.Namespace) -> Snapshot:
    """Show a snapshot, or one after the other until Ctrl+C; return the last one. Raises LiveError, TopologyError."""
    topology, console = load(options.topology), Console()
    with ExitStack() as stack:
        in_place = options.watch and console.is_terminal and not options.json
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if in_place else None
        while True:
            snapshot = take_snapshot(topology)
            if live:
                live.update(screen(snapshot), refresh=True)
            elif options.json:
                print_line(as_json(snapshot))
            else:
                console.print(screen(snapshot))
            if not options.watch:
                return snapshot
            time.sleep(options.watch)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 no alarm, 1 an alarm or an error, 2 bad usage."""
    options = _options(arguments)
    try:
        need_root()
        snapshot = watch(options)
        if options.reports:
            from monitoring.connections.report import report  # noqa: PLC0415 - pandas and reportlab are slow to load

            csv_files.write(csv_tables(snapshot), options.reports)
            written = f"report: {report(snapshot, options.reports)} and its CSVs"
            print(written, file=sys.stderr if options.json else sys.stdout)
    except BrokenPipeError:
        raise  # see lab/as_command.py
    except (LiveError, TopologyError, OSError) as error:
        print_message("connections", error)
        return 1
    except KeyboardInterrupt:
        return 0
    return 1 if snapshot.table.fill >= ALARM_FILL else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m monitoring.connections", description=description)
    parser.add_argument("--watch", type=float, default=0, metavar="SECONDS", help="repeat every SECONDS")
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    parser.add_argument("--reports", type=Path, metavar="FOLDER", help="write CSV files and a PDF there")
    parser.add_argument("--topology", default="", metavar="TABLE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
