"""The connection report: summary and observations drawn from a snapshot, and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lab.csv_files import Table
from lab.document import Document, Rows, Section
from lab.document_files import write
from monitoring.connections.tables import COUNTERS, HEADINGS, TITLES, csv_tables
from monitoring.connections.tracker import Snapshot

_WIDE = {"source", "destination", "sent", "answered", "service", "metric", "state", "meaning"}
_MAX_ROWS, _MANY_WAITING, _HALF = 20, 10, 0.5
_CHECKING = ("host", "service-registry")  # health checks and heartbeats open a connection each, and should


def report(snapshot: Snapshot, folder: Path) -> Path:
    """Write connection_report.pdf and its Markdown; return the PDF's path."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    unread = snapshot.unread.remarks()
    observations = [*snapshot.alarms(), *_observations(snapshot)]
    sections = [
        Section("Executive summary", [_summary(snapshot)]),
        Section("Observations", observations or ["No problem was found."]),
        *([Section("What could not be read", unread)] if unread else []),
        *(_section(table) for table in csv_tables(snapshot) if table.rows),
    ]
    path = folder / "connection_report.pdf"
    made = f"Generated on {when} by python -m monitoring.connections --reports {folder.name}"
    write(Document("Connection tracking", made, sections), path.with_suffix(".md"), path)
    return path


def _frame(table: Table) -> pd.DataFrame:
    return pd.DataFrame(table.rows, columns=list(table.columns))


def _section(table: Table) -> Section:
    frame = _shown(table)
    rows = [row.tolist() for _, row in frame.head(_MAX_ROWS).astype(object).iterrows()]
    headings = [HEADINGS.get(column, column) for column in frame.columns]
    widths = [3 if column in _WIDE else 1.3 for column in frame.columns]
    more = len(frame) - _MAX_ROWS
    note = [f"{more:,} more rows are not shown; {table.name}.csv has everything."] if more > 0 else []
    return Section(TITLES[table.name], [Rows(headings, rows, widths), *note])


def _shown(table: Table) -> pd.DataFrame:
    """Return a table for people: rows that differ only in the client's port or the state are merged."""
    if table.name == "tracking_table":
        return _explained(table)
    frame = _frame(table)
    if table.name == "nat_translations":
        frame = _without_client_ports(frame)
    if table.name == "connections":
        frame = _with_states(frame)
    if "port" in frame:
        frame["port"] = frame["port"].astype(str)  # no separators of thousands
    return frame


def _with_states(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each pair of nodes, protocol and port, with the number of connections in each state."""
    pairs["state"] = [
        f"{count:,} {state}" for count, state in zip(pairs["connections"], pairs["state"], strict=True)
    ]
    ends = pairs.groupby(["source", "destination", "protocol", "port"], sort=False)
    whole = ends.agg(connections=("connections", "sum"), state=("state", ", ".join)).reset_index()
    return whole.sort_values("connections", ascending=False, kind="stable")


def _explained(table: Table) -> pd.DataFrame:
    """Return the figures that are not 0, each with what it counts, and a row that names those that are 0."""
    rows: list[tuple[str, str, str]] = []
    zeros = []
    for name, value in table.rows:
        words = str(name).replace("_", " ")
        if value or name in ("entries", "limit", "fill_percent"):
            shown = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
            rows.append(
                (HEADINGS.get(str(name), words), shown, COUNTERS.get(str(name), "a counter of the kernel"))
            )
        else:
            zeros.append(words)
    if zeros:
        rows.append(("all others", "0", ", ".join(zeros)))
    return pd.DataFrame(rows, columns=["metric", "value", "meaning"])


def _without_client_ports(translations: pd.DataFrame) -> pd.DataFrame:
    """Count translations that differ only in the client's port as one."""
    sent = translations["sent"].str.replace(r":\d+(?= )", "", n=1, regex=True)
    answered = translations["answered"].str.replace(r":\d+$", "", regex=True)
    return translations.assign(sent=sent, answered=answered).value_counts().reset_index(name="connections")


def _summary(snapshot: Snapshot) -> str:
    pairs, services = (_frame(table) for table in csv_tables(snapshot)[:2])
    counts = pairs[pairs["state"] != "-"].groupby("state")["connections"].sum().sort_values(ascending=False)
    states = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    return (
        f"The host tracks {snapshot.table.entries:,} connections of at most {snapshot.table.limit:,}"
        f"{': ' + states if states else ''}. Services have {services['incoming'].sum():,} established connections that "
        f"others opened, and {len(snapshot.translations):,} connections have their addresses rewritten."
    )


def _observations(snapshot: Snapshot) -> Iterator[str]:
    pairs = _frame(csv_tables(snapshot)[0])
    if pairs.empty:
        yield (
            "No connection between nodes is tracked: without a policy in force, traffic across a bridge is not "
            "passed to iptables. sudo make policies"
        )
    for pair in pairs[pairs["state"] == "SYN_SENT"].itertuples():
        yield (
            f"{pair.connections:,} connections from {pair.source} to {pair.destination} wait for an answer: they were "
            f"dropped, or nothing listens. sudo make explain FROM={pair.source} TO={pair.destination} PORT={pair.port}"
        )
    open_ones = pairs[(pairs["state"] == "CLOSE_WAIT") & (pairs["connections"] >= _MANY_WAITING)]
    for pair in open_ones.itertuples():
        yield (
            f"{pair.connections:,} connections from {pair.source} to {pair.destination} wait for one side's program to "
            "close them."
        )
    yield from _many_closed(pairs)
    busiest = max(snapshot.established, key=lambda service: service.incoming, default=None)
    if busiest and busiest.incoming:
        yield f"{busiest.service} holds most of the established connections: {busiest.incoming:,} that others opened."


def _many_closed(pairs: pd.DataFrame) -> Iterator[str]:
    """Yield an observation when most connections are closed ones of clients that keep none open."""
    is_check = pairs["source"].isin(_CHECKING) | pairs["destination"].isin(_CHECKING)
    closed = pairs[(pairs["state"] == "TIME_WAIT") & ~is_check]
    ends = closed.groupby(["source", "destination"])["connections"].sum().sort_values(ascending=False)
    waiting, total = ends.sum(), pairs["connections"].sum()
    if total >= _MANY_WAITING and waiting > _HALF * total:
        pair = ends.reset_index().iloc[0]
        yield (
            f"{waiting:,} of {total:,} connections are closed already (TIME_WAIT), {pair['connections']:,} of them "
            f"from {pair['source']} to {pair['destination']}: it seems to open one for each request. "
            "A pool of connections, or keep-alive, would save the handshakes."
        )
