"""The connection report: summary and observations drawn from a snapshot, and its tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lab.csv_files import Table
from lab.document import Document, Rows, Section, write
from monitoring.connections.tables import csv_tables
from monitoring.connections.tracker import Snapshot

_TITLES = {
    "connections": "Connections by service and state",
    "established_by_service": "Established connections of each service",
    "nat_translations": "Address translations, both ways",
    "tracking_table": "The tracking table",
}
_WIDE = {"source", "destination", "sent", "answered", "service", "metric"}
_HEADINGS = {
    "source": "from", "destination": "to", "sent": "as it was sent", "answered": "as answers come back",
    "metric": "figure", "fill_percent": "% of the limit",
}  # fmt: skip
_CLIENT_PORT, _CLIENT_PORT_BACK = re.compile(r"^(.*?):\d+(?= )"), re.compile(r":\d+$")
_MOST_ROWS, _MANY_WAITING, _HALF = 30, 10, 0.5
_CHECKING = {"host", "service-registry"}  # health checks and heartbeats open a connection each, and should


def report(snapshot: Snapshot, folder: Path) -> Path:
    """Write connection_report.pdf and its Markdown; give the PDF's path."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    unread = snapshot.unread.remarks()
    sections = [
        Section("Executive summary", [_summary(snapshot)]),
        Section(
            "Observations", [*snapshot.alarms(), *_observations(snapshot)] or ["Nothing deserves attention."]
        ),
        *([Section("What could not be read", unread)] if unread else []),
    ]
    for table in csv_tables(snapshot):
        if table.rows:
            sections.append(_section(_alike(table) if table.name == "nat_translations" else table))
    path = folder / "connection_report.pdf"
    made = f"Generated on {when} by python -m monitoring.connections --reports {folder.name}"
    write(Document("Connection tracking", made, sections), path.with_suffix(".md"), path)
    return path


def _section(table: Table) -> Section:
    headings = [_HEADINGS.get(column, column) for column in table.columns]
    ports = [number for number, column in enumerate(table.columns) if column == "port"]
    rows = [
        tuple(str(cell) if at in ports else cell for at, cell in enumerate(row))
        for row in table.rows[:_MOST_ROWS]
    ]
    widths = [3 if column in _WIDE else 1.3 for column in table.columns]
    more = len(table.rows) - _MOST_ROWS
    note = [f"{more:,} more rows like these are in the CSV file."] if more > 0 else []
    return Section(_TITLES[table.name], [Rows(headings, rows, widths), *note])


def _alike(translations: Table) -> Table:
    """Count translations that differ in the client's port alone as one."""
    counts = Counter(
        (*kind, _CLIENT_PORT.sub(r"\1", sent), _CLIENT_PORT_BACK.sub("", back))
        for *kind, sent, back in (map(str, row) for row in translations.rows)
    )
    rows = [(*alike, count) for alike, count in counts.most_common()]
    return Table(translations.name, (*translations.columns, "connections"), rows)


def _states(snapshot: Snapshot) -> Counter[str]:
    states: Counter[str] = Counter()
    for (*_, state), count in snapshot.pairs.items():
        states[state] += count
    return states


def _summary(snapshot: Snapshot) -> str:
    states = ", ".join(
        f"{count:,} {state}" for state, count in _states(snapshot).most_common() if state != "-"
    )
    open_ones = sum(each.incoming for each in snapshot.established)
    return (
        f"The host tracks {snapshot.table.entries:,} connections of at most {snapshot.table.limit:,}"
        f"{': ' + states if states else ''}. Services have {open_ones:,} established connections that others opened, "
        f"and {len(snapshot.translations):,} connections have their addresses rewritten."
    )


def _observations(snapshot: Snapshot) -> Iterator[str]:
    if not snapshot.pairs:
        yield (
            "No connection between nodes is tracked: without a policy in force, what crosses a bridge is not handed "
            "to iptables. sudo make policies"
        )
    for (source, destination, _, port, state), count in snapshot.pairs.most_common():
        if state == "SYN_SENT":
            yield (
                f"{count:,} connections from {source} to {destination} wait for an answer: dropped, or nobody listens. "
                f"sudo make explain FROM={source} TO={destination} PORT={port}"
            )
        elif state == "CLOSE_WAIT" and count >= _MANY_WAITING:
            yield f"{count:,} connections from {source} to {destination} wait for one side's program to close them."
    ends = Counter[tuple[str, str]]()
    for (source, destination, _, _, state), count in snapshot.pairs.items():
        if state == "TIME_WAIT" and not _CHECKING & {source, destination}:
            ends[source, destination] += count
    waiting, total = sum(ends.values()), sum(snapshot.pairs.values())
    if total >= _MANY_WAITING and waiting > _HALF * total:
        (source, destination), count = ends.most_common(1)[0]
        yield (
            f"{waiting:,} of {total:,} connections are closed already (TIME_WAIT), {count:,} of them from {source} to "
            f"{destination}: it seems to open one for each request. "
            "A pool of connections, or keep-alive, would spare the handshakes."
        )
    busiest = max(snapshot.established, key=lambda each: each.incoming, default=None)
    if busiest and busiest.incoming:
        yield f"{busiest.service} holds most of the established connections: {busiest.incoming:,} that others opened."
