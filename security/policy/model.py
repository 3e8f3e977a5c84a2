"""A policy: the allowed connections, and their rate limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.topology import Topology

HOST, WORLD, ANY = "host", "world", "any"
ACCEPT, DROP, LIMIT = "accept", "drop", "limit"
PROTOCOLS = ("tcp", "udp", "icmp")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
WITH_PORTS = ("tcp", "udp")
LAST_PORT = 65535
PING_BYTES = 128  # largest ping, with its IPv4 header; ping sends 84 by default
PING_TOO_LARGE = "pings of more than {} bytes could be a tunnel"
DEFAULT = "default"
INVALID = "invalid"
DIRECT = "direct"
ICMP_SIZE = "icmp-size"
NEIGHBOURS = "neighbours"
SPOOFED_NEIGHBOUR = "spoofed-neighbour"
ROUTER_MESSAGE = "router-message"
ICMP_TYPE = "icmp-type"
MLD = "mld"
IPV6_MULTICAST = "ipv6-multicast"
IPV6_HEADER = "ipv6-header"
# Built-in verdicts, which have no line in the table: id -> reason.
BUILT_IN = {
    DEFAULT: "no line of the policy allows it",
    INVALID: "the packet fits no connection that conntrack knows",
    DIRECT: "from outside, a node is reachable only through a published port",
    ICMP_SIZE: PING_TOO_LARGE.format(PING_BYTES),
    "spoofed-address": "the source address is not the sender's own",
    "spoofed-mac": "the source MAC address is not the sender's own",
    "spoofed-arp": "the ARP message claims an address or a MAC that is not the sender's own",
    SPOOFED_NEIGHBOUR: "the neighbour message claims an address or a MAC that is not the sender's own",
    ROUTER_MESSAGE: "the table gives addresses and routes; a node must not announce or redirect routes",
    ICMP_TYPE: "of ICMPv6, nodes need only errors, pings and neighbour discovery",
    MLD: "the bridge does not need reports of multicast groups",
    IPV6_MULTICAST: "nodes need multicast only for neighbour discovery",
    IPV6_HEADER: "hop-by-hop, routing and destination options could bypass the rules",
    "ipv6": "the table gives the node no IPv6 address; no rule would check it",
    "ethertype": "neither IPv4, ARP nor IPv6: a VLAN tag or another protocol would bypass the rules",
    NEIGHBOURS: "neighbour discovery finds the MAC of an address, as ARP does",
    "answers": "packets of connections that are already allowed",
    "policy": "which table is in force",
}


@dataclass(frozen=True)
class Rate:
    """New connections from one source: `count` each `unit`, and `burst` at once after a pause."""

    count: int
    unit: str
    burst: int

    @property
    def refill_seconds(self) -> float:
        """Return the seconds until a source that has used up its rate may open one more connection."""
        return SECONDS[self.unit] / self.count

    def __str__(self) -> str:
        """Format as in the table."""
        return f"{self.count}/{self.unit}:{self.burst}"


@dataclass(frozen=True)
class Line:
    """One line of the table. `ports` are ranges, both ends included; none means any.

    With verdict limit, each of its sources has at most `max_connections` connections at once.
    """

    id: str
    sources: frozenset[str]
    destinations: frozenset[str]
    protocols: tuple[str, ...]
    ports: tuple[tuple[int, int], ...]
    rate: Rate | None
    verdict: str
    reason: str
    number: int
    as_written: tuple[str, str]
    max_connections: int = 0

    @property
    def any_protocol(self) -> bool:
        """Return whether the line matches every protocol, also those not in PROTOCOLS."""
        return ANY in self.protocols

    @property
    def port_ranges(self) -> tuple[tuple[int, int], ...]:
        """Return the ports as ranges; one range of all ports for any."""
        return self.ports or ((0, LAST_PORT),)

    @property
    def only_port(self) -> int:
        """Return the port if the line has exactly one, else 0."""
        first, last = self.port_ranges[0]
        return first if len(self.port_ranges) == 1 and first == last else 0

    def matches(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Decide whether a first packet matches this line."""
        return (
            source in self.sources
            and destination in self.destinations
            and (self.any_protocol or protocol in self.protocols)
            and any(first <= port <= last for first, last in self.port_ranges)
        )

    def decides_all_for(self, nodes: Set[str]) -> bool:
        """Decide whether the line matches everything that is sent to these nodes."""
        return self.any_protocol and self.rate is None and nodes <= self.destinations

    def overlaps(self, other: Line) -> bool:
        """Decide whether some packet matches both lines."""
        both_any = self.any_protocol or other.any_protocol
        return (
            not self.sources.isdisjoint(other.sources)
            and not self.destinations.isdisjoint(other.destinations)
            and (both_any or not set(self.protocols).isdisjoint(other.protocols))
            and any(a <= d and c <= b for a, b in self.port_ranges for c, d in other.port_ranges)
        )

    def covers(self, other: Line) -> bool:
        """Decide whether every packet that matches `other` matches this line."""
        return (
            self.sources >= other.sources
            and self.destinations >= other.destinations
            and (self.any_protocol or set(self.protocols) >= set(other.protocols))
            and all(any(a <= c and d <= b for a, b in self.port_ranges) for c, d in other.port_ranges)
        )


@dataclass(frozen=True, order=True)
class Flow:
    """Traffic from `source` to `destination`; the port is 0 for a protocol without ports."""

    source: str
    destination: str
    protocol: str
    port: int = 0

    @property
    def ends(self) -> tuple[str, str]:
        """Return source and destination."""
        return self.source, self.destination

    def __str__(self) -> str:
        """Format as text, such as nginx-lb -> api-gateway tcp/3000."""
        what = f"{self.protocol}/{self.port}" if self.port else self.protocol
        return f"{self.source} -> {self.destination} {what}"


@dataclass(frozen=True)
class Decision:
    """The verdict on a first packet, and the id and rate of the line that gave it, or the built-in id."""

    verdict: str
    id: str
    reason: str
    rate: Rate | None = None


@dataclass(frozen=True)
class Policy:
    """A table that passed every check, for one topology; the lines that limit are apart."""

    path: Path
    topology: Topology
    lines: tuple[Line, ...]
    limits: tuple[Line, ...] = ()

    def decide(self, source: str, destination: str, protocol: str, port: int = 0) -> Decision:
        """Decide on a first packet, rates aside. The source world means a connection through a published port."""
        for line in self._by_destination[destination]:
            if line.matches(source, destination, protocol, port):
                return Decision(line.verdict, line.id, line.reason, line.rate)
        return Decision(DROP, DEFAULT, BUILT_IN[DEFAULT])

    def allows(self, source: str, destination: str, protocol: str, port: int = 0) -> bool:
        """Decide whether a first packet is accepted."""
        return self.decide(source, destination, protocol, port).verdict == ACCEPT

    def some_node_may(self, destination: str, protocol: str) -> bool:
        """Decide whether any node may send a protocol to a destination."""
        return any(self.allows(node.name, destination, protocol) for node in self.topology.nodes)

    def reason_of(self, policy_id: str) -> str:
        """Return the reason of a line or a built-in verdict; empty if there is no such id."""
        return self._reasons.get(policy_id, "")

    @cached_property
    def _reasons(self) -> dict[str, str]:
        return BUILT_IN | {line.id: line.reason for line in self.lines + self.limits}

    @cached_property
    def _by_destination(self) -> dict[str, list[Line]]:
        found: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            for destination in line.destinations:
                found[destination].append(line)
        return found
