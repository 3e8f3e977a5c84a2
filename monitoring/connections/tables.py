"""The tables of a snapshot: CSV files, and what the screen and the report print."""

from __future__ import annotations

from dataclasses import astuple

from lab.csv_files import Table
from monitoring.connections.tracker import Snapshot

TITLES = {
    "connections": "Connections by service and state",
    "established_by_service": "Established connections of each service",
    "nat_translations": "Address translations, both ways",
    "tracking_table": "The tracking table",
}
HEADINGS = {
    "source": "from", "destination": "to", "sent": "as it was sent", "answered": "as answers come back",
    "metric": "figure", "fill_percent": "% of the limit",
}  # fmt: skip
_COLUMNS = {
    "connections": ("source", "destination", "protocol", "port", "state", "connections"),
    "established_by_service": ("service", "incoming", "outgoing"),
    "nat_translations": ("kind", "protocol", "state", "sent", "answered"),
    "tracking_table": ("metric", "value"),
}


def csv_tables(snapshot: Snapshot) -> list[Table]:
    """Return the tables, the most connections first."""
    table = snapshot.table
    rows: dict[str, list[tuple[object, ...]]] = {
        "connections": [(*pair, count) for pair, count in snapshot.pairs.most_common()],
        "established_by_service": [astuple(service) for service in snapshot.established],
        "nat_translations": [astuple(translation) for translation in snapshot.translations],
        "tracking_table": [
            ("entries", table.entries),
            ("limit", table.limit),
            ("fill_percent", round(100 * table.fill, 3)),
            *sorted(table.counters.items()),
        ],
    }
    return [Table(name, columns, rows[name]) for name, columns in _COLUMNS.items()]
