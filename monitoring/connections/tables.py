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
    "metric": "figure", "fill_percent": "% of the limit", "state": "in which states", "meaning": "what it counts",
    "entries": "tracked now",
}  # fmt: skip

# What `conntrack -S` counts since the host started, on all CPUs (net/netfilter/nf_conntrack_core.c).
COUNTERS = {
    "entries": "connections that are tracked now",
    "limit": "connections that the kernel tracks at most (nf_conntrack_max); it drops the packets of further ones",
    "fill_percent": "share of the limit that is used",
    "found": "addresses and ports that NAT could not choose because another connection has them; harmless",
    "invalid": "packets that belong to no connection and begin none, such as a reply after its connection was deleted",
    "insert": "entries that programs added, such as conntrack -I; not the tracked connections",
    "insert_failed": "connections that could not be added: another one has their addresses and ports, or chaintoolong",
    "drop": "packets dropped because no entry could be created",
    "early_drop": "connections that were not ASSURED, deleted to make room in a full table",
    "error": "packets with errors, such as a bad checksum or an ICMP error for an unknown connection",
    "icmp_error": "ICMP errors that belong to no tracked connection",
    "search_restart": "lookups that were repeated because an entry moved during the search; harmless",
    "clash_resolve": "first packets of one connection that came at the same time, and were both kept; harmless",
    "chaintoolong": "connections refused because their hash chain was too long",
}


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
