"""The tables of a snapshot: as CSV files, on the screen and in the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields

from lab.csv_files import Table
from monitoring.connections.tracker import Established, Snapshot, Translation

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


def csv_tables(snapshot: Snapshot) -> list[Table]:
    """Return the tables, the most connections first."""
    table = snapshot.table
    fill = [("entries", table.entries), ("limit", table.limit), ("fill_percent", round(100 * table.fill, 3))]
    pairs = [(*pair, count) for pair, count in snapshot.pairs.most_common()]
    return [
        Table("connections", ("source", "destination", "protocol", "port", "state", "connections"), pairs),
        _table_of("established_by_service", Established, snapshot.established),
        _table_of("nat_translations", Translation, snapshot.translations),
        Table("tracking_table", ("metric", "value"), [*fill, *sorted(table.counters.items())]),
    ]


def _table_of(name: str, record: type, records: Iterable[Established | Translation]) -> Table:
    return Table(name, [field.name for field in fields(record)], [astuple(one) for one in records])
