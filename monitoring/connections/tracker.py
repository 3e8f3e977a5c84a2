"""Connections at one moment: the host's tracking table (conntrack) and each namespace's sockets (ss).

The host tracks traffic that it forwards. It tracks traffic across a bridge only if the bridge passes it to iptables,
as with a policy in force. Sockets are always listed. See https://www.netfilter.org/projects/conntrack-tools/ and ss(8).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lab.conntrack import Connection, connections
from lab.topology import Node, Topology
from lab.unread import Unread
from monitoring.live import LiveError, parse_sockets, run
from monitoring.names import Names

_LIMITS = Path("/proc/sys/net/netfilter")
_COUNTER = re.compile(r"(\w+)=(\d+)")
ALARM_FILL = 0.8  # alarm if the conntrack table is this full
_STATELESS = "-"
_WORKERS = 8


@dataclass(frozen=True)
class Translation:
    """A connection with NAT: its original direction, and its reply direction."""

    kind: str  # DNAT, SNAT or both
    protocol: str
    state: str
    sent: str
    answered: str


@dataclass(frozen=True)
class Established:
    """Number of a service's open TCP connections: incoming and outgoing."""

    service: str
    incoming: int
    outgoing: int


@dataclass(frozen=True)
class Table:
    """The fill level and the failed insertions of the conntrack table (conntrack -S, summed over processors)."""

    entries: int
    limit: int
    counters: dict[str, int]

    @property
    def fill(self) -> float:
        """Share of the limit, 0 to 1."""
        return self.entries / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Snapshot:
    """All connections at one moment. `pairs`: (source, destination, protocol, port, state) -> connections."""

    pairs: Counter[tuple[str, str, str, int, str]]
    established: tuple[Established, ...]
    translations: tuple[Translation, ...]
    table: Table
    unread: Unread = field(default_factory=Unread)

    def alarms(self) -> Iterator[str]:
        """Yield the alarms."""
        table = self.table
        if table.fill >= ALARM_FILL:
            yield (
                f"the tracking table is {100 * table.fill:.0f} % full ({table.entries} of {table.limit}); when it is "
                "full, new connections are dropped: sysctl -w net.netfilter.nf_conntrack_max=... makes room"
            )
        for name, meaning in (
            ("insert_failed", "connections with addresses and ports that another one has"),
            ("drop", "packets for which there was no room in the table"),
            ("early_drop", "connections evicted to make room"),
        ):
            if table.counters.get(name):
                yield f"{name}: {table.counters[name]} {meaning}, since the machine started"


def take_snapshot(topology: Topology) -> Snapshot:
    """Read conntrack and ss now. Raises LiveError when a command is missing or fails."""
    names, unread = Names(topology), Unread()
    tracked = list(connections(run("conntrack", "-L", "-o", "extended").splitlines(), unread))
    with ThreadPoolExecutor(_WORKERS) as pool:
        established = tuple(pool.map(lambda node: _established(node, unread), topology.nodes))
    return Snapshot(
        count_pairs(tracked, names),
        established,
        tuple(find_translations(tracked, names)),
        read_tracking_table(),
        unread,
    )


def count_pairs(tracked: Iterable[Connection], names: Names) -> Counter[tuple[str, str, str, int, str]]:
    """Count connections by client and server: the server that answers, not the address that the client used."""
    return Counter(
        (
            names.of(connection.original.source),
            names.of(connection.reply.source),
            connection.protocol,
            connection.reply.source_port,
            connection.state or _STATELESS,
        )
        for connection in tracked
    )


def find_translations(tracked: Iterable[Connection], names: Names) -> Iterator[Translation]:
    """Yield the connections whose reply has other addresses or ports than the original direction."""
    for connection in tracked:
        sent, back = connection.original, connection.reply
        dnat = (sent.destination, sent.destination_port) != (back.source, back.source_port)
        snat = (sent.source, sent.source_port) != (back.destination, back.destination_port)
        if dnat or snat:
            kind = " and ".join(name for name, is_used in (("DNAT", dnat), ("SNAT", snat)) if is_used)
            ends = [
                f"{names.with_port(way.source, way.source_port)} \u2192 "
                f"{names.with_port(way.destination, way.destination_port)}"
                for way in (sent, back)
            ]
            yield Translation(kind, connection.protocol, connection.state or _STATELESS, *ends)


def _established(node: Node, unread: Unread) -> Established:
    try:
        listed = run("nsenter", f"--net=/run/netns/{node.namespace}", "ss", "-Htn", "state", "established")
    except LiveError as error:
        unread.note("the connections of a namespace", f"{node.name}: {error}")
        return Established(node.name, 0, 0)
    return count_established(node, listed, unread)


def count_established(node: Node, listed: str, unread: Unread) -> Established:
    """Count the lines of `ss -Htn state established` that have an address of the node; -H: no header line."""
    own = {str(address.ip) for address in node.addresses}
    ports = {listener.port for listener in node.listens if listener.protocol == "tcp"}
    incoming = outgoing = 0
    for address, port, _ in parse_sockets(listed, unread, node.name):
        if address.strip("[]").removeprefix("::ffff:") not in own:
            continue
        if port in ports:
            incoming += 1
        else:
            outgoing += 1
    return Established(node.name, incoming, outgoing)


def read_tracking_table() -> Table:
    """Read how full the table is. Raises LiveError."""

    def limit(name: str) -> int:
        try:
            return int((_LIMITS / name).read_text())
        except OSError:
            return 0

    counters: Counter[str] = Counter()
    for line in run("conntrack", "-S").splitlines():
        counters.update({name: int(value) for name, value in _COUNTER.findall(line) if name != "cpu"})
    return Table(limit("nf_conntrack_count"), limit("nf_conntrack_max"), dict(counters))
