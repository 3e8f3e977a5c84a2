"""Findings in what the kernel remembers of connections: entries that contradict the rules, and used-up rates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.conntrack import Connection, connections
from lab.topology import Topology
from security.diagnose.differences import HOST
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed
from security.policy.matches import rate_name

_RATES = Path("/proc/net/ipt_hashlimit")
# xt_hashlimit: seconds until it expires, source and destination, then credit, its maximum, and the cost of a packet.
_RATE = re.compile(
    r"^\d+ (?P<source>[\d.]+):\d+->\S+ (?P<credit>\d+) (?P<most>\d+) (?P<cost>\d+)$", re.MULTILINE
)
_TIMEOUT = re.compile(r"^\s*\S+\s+\d+\s+(\d+)")
_LONGEST = {"udp": 180, "icmp": 60}  # seconds: the kernel gives no entry more, so such an entry was loaded


@dataclass(frozen=True)
class Tracked:
    """An entry, as conntrack prints it."""

    connection: Connection
    line: str

    @property
    def keeps_working(self) -> bool:
        """Whether packets can still use it: not one of a connection that is ending, or that the kernel forgets soon."""
        if self.connection.protocol == "tcp":
            return self.connection.state == "ESTABLISHED"
        found = _TIMEOUT.match(self.line)
        return found is not None and int(found[1]) > _LONGEST.get(self.connection.protocol, 0)


def check_tracked(seen: Observed) -> Iterator[Finding]:
    """Yield a finding for each destination whose entries lead elsewhere than the rules, and for each used-up rate."""
    yield from _old_translations(seen)
    yield from _used_up(seen)


def _old_translations(seen: Observed) -> Iterator[Finding]:
    lines = [line for line in seen.conntrack.splitlines() if _is_translated(line)]
    tracked = (Tracked(found, line) for line in lines for found in connections([line]))
    wrong = [
        one
        for one in tracked
        if one.keeps_working and _wanted_end(one.connection, seen) not in (None, _end_of(one.connection))
    ]
    counts = Counter(_key(one.connection) for one in wrong)
    for key, count in counts.items():
        first = next(one for one in wrong if _key(one.connection) == key)
        yield _entry_finding(key, count, first, seen)


def _is_translated(line: str) -> bool:
    """Decide whether the source of the answers is another one than the destination. Most entries are not."""
    ends = re.findall(r"(?:dst|src)=(\S+)", line)
    return len(ends) == 4 and ends[1] != ends[2]  # noqa: PLR2004 - source, destination, and those of the answer


def _end_of(connection: Connection) -> tuple[str, int]:
    return connection.reply.source, connection.reply.source_port


def _wanted_end(connection: Connection, seen: Observed) -> tuple[str, int] | None:
    """Return where the lab's rules send a connection; None if they do not translate its destination."""
    asked = connection.original
    if seen.topology.node_at(asked.destination):
        return asked.destination, asked.destination_port
    if asked.destination in seen.host_addresses or asked.destination.startswith("127."):
        for node in seen.topology.nodes:
            for published in node.publishes:
                if (published.protocol, published.host_port) == (connection.protocol, asked.destination_port):
                    return str(node.address.ip), published.port
    return None


def _key(connection: Connection) -> str:
    return f"{connection.protocol} {connection.original.destination}:{connection.original.destination_port}"


def _entry_finding(key: str, count: int, first: Tracked, seen: Observed) -> Finding:
    asked, end = first.connection.original, ":".join(map(str, _end_of(first.connection)))
    node = seen.topology.node_at(asked.destination)
    protocol = first.connection.protocol
    what = f"-p {protocol} --orig-dst {asked.destination} --dport {asked.destination_port}"
    sources = _names(seen.topology, [asked.source])
    return Finding(
        kind=Kind.CONNTRACK_ENTRY,
        object=key,
        place=HOST,
        cause=f"{count} conntrack entries send {key} to {end}; the rules send new connections elsewhere",
        breaks=f"packets of {sources} and others to {node.name if node else 'the published port'} that such an entry "
        "matches: table nat sees only the first packet of a connection",
        repair=(f"sudo conntrack -D {what}",),
        evidence=(Evidence(command=f"sudo conntrack -L {what}", line=" ".join(first.line.split())),),
    )


def _names(topology: Topology, addresses: Iterable[str]) -> str:
    nodes = ((address, topology.node_at(address)) for address in addresses)
    return ", ".join(node.name if node else address for address, node in nodes)


def _is_used_up(credit: int, most: int, cost: int) -> bool:
    """Decide whether at most one connection is left of a rate that allows several: one more comes every moment."""
    return credit < (cost if most < 3 * cost else 2 * cost)


def _used_up(seen: Observed) -> Iterator[Finding]:
    """Yield each node that has used up its rate of new connections."""
    lines = seen.policy.lines if seen.policy and seen.policy_is_in_force else ()
    for line in lines:
        path = _RATES / rate_name(line.id, line.rate) if line.rate else None
        if path is None or not path.exists():
            continue
        for found in _RATE.finditer(path.read_text(encoding="ascii")):
            node = seen.topology.node_at(found["source"])
            if node and _is_used_up(*map(int, found.group("credit", "most", "cost"))):
                yield Finding(
                    kind=Kind.RATE_EXHAUSTED,
                    object=line.id,
                    place=node.name,
                    cause=f'{node.name} has used up its rate of new connections in line "{line.id}" of the policy: '
                    f"{line.rate} (count/unit:burst)",
                    breaks=f"new connections of {node.name} that this line allows: {line.reason}",
                    repair=(
                        f"find what opens so many connections in namespace {node.namespace}, and stop it: "
                        f"sudo ip netns exec {node.namespace} ss -tnp",
                    ),
                    evidence=(Evidence(command=f"sudo cat {path}", line=found[0]),),
                )
