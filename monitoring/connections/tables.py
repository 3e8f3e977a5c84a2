"""The tables of a snapshot, as CSV files."""

from __future__ import annotations

from lab.csv_files import Table
from monitoring.connections.tracker import Snapshot


def csv_tables(snapshot: Snapshot) -> list[Table]:
    """Give them."""
    table = snapshot.table
    figures = [
        ("entries", table.entries),
        ("limit", table.limit),
        ("fill_percent", round(100 * table.fill, 3)),
    ]
    return [
        Table(
            "connections",
            ("source", "destination", "protocol", "port", "state", "connections"),
            [(*pair, count) for pair, count in snapshot.pairs.most_common()],
        ),
        Table(
            "established_by_service",
            ("service", "incoming", "outgoing"),
            [(each.service, each.incoming, each.outgoing) for each in snapshot.established],
        ),
        Table(
            "nat_translations",
            ("kind", "protocol", "state", "sent", "answered"),
            [
                (each.kind, each.protocol, each.state, each.sent, each.answered)
                for each in snapshot.translations
            ],
        ),
        Table("tracking_table", ("metric", "value"), [*figures, *sorted(table.counters.items())]),
    ]
