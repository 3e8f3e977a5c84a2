"""Connections at one moment: the host's tracking table (conntrack) and each namespace's sockets (ss).

The host tracks what it forwards, and what crosses a bridge only where bridge traffic is handed to iptables: with a
policy in force. Sockets are there always. See https://www.netfilter.org/projects/conntrack-tools/ and ss(8).
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
from monitoring.live import LiveError, run
from monitoring.names import Names

_LIMITS = Path("/proc/sys/net/netfilter")
_COUNTER = re.compile(r"(\w+)=(\d+)")
ALARM_FILL = 0.8  # of the table: the next burst may not fit
_STATELESS = "-"
_LOCAL = 2  # column of ss: the address and port of this side
_WORKERS = 8


@dataclass(frozen=True)
class Translation:
    """A connection whose addresses are rewritten: as it was sent, and as answers come back."""

    kind: str  # DNAT, SNAT or both
    protocol: str
    state: str
    sent: str
    answered: str


@dataclass(frozen=True)
class Established:
    """Open TCP connections of a service: that others opened to it, and that it opened to others."""

    service: str
    incoming: int
    outgoing: int


@dataclass(frozen=True)
class Table:
    """How full the tracking table is, and what did not fit (conntrack -S, summed over processors)."""

    entries: int
    limit: int
    counters: dict[str, int]

    @property
    def fill(self) -> float:
        """Share of the limit, 0 to 1."""
        return self.entries / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Snapshot:
    """All of one moment. `pairs`: (source, destination, protocol, port, state) -> connections."""

    pairs: Counter[tuple[str, str, str, int, str]]
    established: tuple[Established, ...]
    translations: tuple[Translation, ...]
    table: Table
    unread: Unread = field(default_factory=Unread)

    def alarms(self) -> Iterator[str]:
        """Say what must be acted on."""
        table = self.table
        if table.fill >= ALARM_FILL:
            yield (
                f"the tracking table is {100 * table.fill:.0f} % full ({table.entries} of {table.limit}); when it is "
                "full, new connections are dropped: sysctl -w net.netfilter.nf_conntrack_max=... makes room"
            )
        for name, meaning in (
            ("insert_failed", "connections that clashed with another one's addresses and ports"),
            ("drop", "packets for which there was no room in the table"),
            ("early_drop", "connections thrown out to make room"),
        ):
            if table.counters.get(name):
                yield f"{name}: {table.counters[name]} {meaning}, since the machine started"


def take(topology: Topology) -> Snapshot:
    """Look at everything now. Raises LiveError when a command is missing or fails."""
    names, unread = Names(topology), Unread()
    tracked = list(connections(run("conntrack", "-L", "-o", "extended").splitlines(), unread))
    with ThreadPoolExecutor(_WORKERS) as pool:
        established = tuple(pool.map(lambda node: _established(node, unread), topology.nodes))
    return Snapshot(
        by_pair(tracked, names), established, tuple(translations(tracked, names)), tracking_table(), unread
    )


def by_pair(tracked: Iterable[Connection], names: Names) -> Counter[tuple[str, str, str, int, str]]:
    """Count connections by who opened them to whom: the service that answers, not the address that was asked for."""
    found: Counter[tuple[str, str, str, int, str]] = Counter()
    for each in tracked:
        port = each.reply.source_port
        ends = (names.of(each.original.source), names.of(each.reply.source))
        found[*ends, each.protocol, port, each.state or _STATELESS] += 1
    return found


def translations(tracked: Iterable[Connection], names: Names) -> Iterator[Translation]:
    """Give the connections that are answered from, or to, another address than was asked."""
    for each in tracked:
        sent, back = each.original, each.reply
        dnat = (sent.destination, sent.destination_port) != (back.source, back.source_port)
        snat = (sent.source, sent.source_port) != (back.destination, back.destination_port)
        if dnat or snat:
            kind = " and ".join(name for name, is_it in (("DNAT", dnat), ("SNAT", snat)) if is_it)
            ends = [
                f"{names.of(each_way.source)}:{each_way.source_port} \u2192 "
                f"{names.of(each_way.destination)}:{each_way.destination_port}"
                for each_way in (sent, back)
            ]
            yield Translation(kind, each.protocol, each.state or _STATELESS, *ends)


def _established(node: Node, unread: Unread) -> Established:
    try:
        listed = run("nsenter", f"--net=/run/netns/{node.namespace}", "ss", "-Htn", "state", "established")
    except LiveError as error:
        unread.note("the connections of a namespace", f"{node.name}: {error}")
        return Established(node.name, 0, 0)
    return count_established(node, listed, unread)


def count_established(node: Node, listed: str, unread: Unread) -> Established:
    """Count the lines of `ss -Htn state established` that have the node's address; -H: no header line."""
    ports = {listener.port for listener in node.listens if listener.protocol == "tcp"}
    incoming = outgoing = 0
    for line in listed.splitlines():
        words = line.split()
        address, _, port = words[_LOCAL].rpartition(":") if len(words) > _LOCAL else ("", "", "")
        if not port.isdigit():
            unread.note("a line of ss", f"{node.name}: {line}")
        elif address.strip("[]").removeprefix("::ffff:") != str(node.address.ip):
            continue
        elif int(port) in ports:
            incoming += 1
        else:
            outgoing += 1
    return Established(node.name, incoming, outgoing)


def tracking_table() -> Table:
    """Look at the table. Raises LiveError."""

    def limit(name: str) -> int:
        try:
            return int((_LIMITS / name).read_text())
        except OSError:
            return 0

    counters: Counter[str] = Counter()
    for line in run("conntrack", "-S").splitlines():
        counters.update({name: int(value) for name, value in _COUNTER.findall(line) if name != "cpu"})
    return Table(limit("nf_conntrack_count"), limit("nf_conntrack_max"), dict(counters))
