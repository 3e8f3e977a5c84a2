"""Connections by service and state, address translations, and how full the tracking table is.

    python -m monitoring.connections [--watch SECONDS] [--json] [--reports FOLDER]

Once, or with --watch again and again (in place on a terminal). --reports writes the CSV files and
connection_report.pdf. Needs root. Exit status 1 when an alarm must be acted on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.csv_files import write
from lab.messages import print_line, print_message
from lab.terminal import Console
from lab.topology import TopologyError, load
from monitoring.connections.tables import csv_tables
from monitoring.connections.tracker import ALARM_FILL, Snapshot, take
from monitoring.live import LiveError, need_root

_MOST_ROWS = 20


def screen(snapshot: Snapshot) -> Group:
    """Lay it out for a terminal."""
    fill = snapshot.table.fill
    head = Text(f"tracked: {snapshot.table.entries:,} of {snapshot.table.limit:,} ({100 * fill:.1f} %)")
    head.stylize("bold red" if fill >= ALARM_FILL else "bold")
    alarms = [Text(alarm, "red") for alarm in snapshot.alarms()]
    alarms += [Text(said, "yellow") for said in snapshot.unread.sentences()]
    pairs = Table("from", "to", "protocol", "port", "state", title="Connections", title_justify="left")
    pairs.add_column("count", justify="right")
    for (source, destination, protocol, port, state), count in snapshot.pairs.most_common(_MOST_ROWS):
        pairs.add_row(source, destination, protocol, str(port), state, f"{count:,}")
    services = Table("service", title="Established (ss)", title_justify="left")
    for heading in ("incoming", "outgoing"):
        services.add_column(heading, justify="right")
    for each in snapshot.established:
        services.add_row(each.service, f"{each.incoming:,}", f"{each.outgoing:,}")
    rewritten = Table(
        "kind", "state", "as it was sent", "as answers come back", title="NAT", title_justify="left"
    )
    for translation in snapshot.translations[:_MOST_ROWS]:
        rewritten.add_row(translation.kind, translation.state, translation.sent, translation.answered)
    return Group(head, *alarms, pairs, services, *([rewritten] if snapshot.translations else []))


def as_json(snapshot: Snapshot) -> str:
    """Give it as one line of JSON."""
    columns = ("source", "destination", "protocol", "port", "state")
    return json.dumps(
        {
            "pairs": [
                {**dict(zip(columns, pair, strict=True)), "connections": n}
                for pair, n in snapshot.pairs.items()
            ],
            "established": [asdict(each) for each in snapshot.established],
            "translations": [asdict(each) for each in snapshot.translations],
            "table": {**asdict(snapshot.table), "fill": snapshot.table.fill},
            "alarms": list(snapshot.alarms()),
            "unread": dict(snapshot.unread.counts),
        }
    )


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; 0 well, 1 an alarm or nothing can be seen, 2 bad usage."""
    options = _options(arguments)
    console = Console(highlight=False)
    try:
        need_root()
        topology = load(options.topology)
        snapshot = take(topology)
        if options.watch and console.is_terminal and not options.json:
            with Live(screen(snapshot), console=console, auto_refresh=False) as live:
                while True:
                    time.sleep(options.watch)
                    live.update(screen(take(topology)), refresh=True)
        while True:
            print(as_json(snapshot), flush=True) if options.json else console.print(screen(snapshot))
            if not options.watch:
                break
            time.sleep(options.watch)
            snapshot = take(topology)
        if options.reports:
            _report(snapshot, options.reports)
    except BrokenPipeError:
        raise  # see lab/as_command.py
    except (LiveError, TopologyError, OSError) as error:
        print_message("connections", error)
        return 1
    except KeyboardInterrupt:
        return 0
    return 1 if snapshot.table.fill >= ALARM_FILL else 0


def _report(snapshot: Snapshot, folder: Path) -> None:
    from monitoring.connections import report  # noqa: PLC0415 - reportlab takes a while to load

    write(csv_tables(snapshot), folder)
    print_line(f"report: {report.report(snapshot, folder)} and its CSVs")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m monitoring.connections", description=description)
    parser.add_argument("--watch", type=float, default=0, metavar="SECONDS", help="look again so often")
    parser.add_argument("--json", action="store_true", help="a line of JSON each time")
    parser.add_argument("--reports", type=Path, metavar="FOLDER", help="write CSV files and a PDF there")
    parser.add_argument("--topology", default="", metavar="TABLE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
