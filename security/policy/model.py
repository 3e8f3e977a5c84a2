"""A policy: who may open a connection to whom, and how often."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.topology import Topology

HOST, WORLD, ANY = "host", "world", "any"
ACCEPT, DROP, LIMIT = "accept", "drop", "limit"
PROTOCOLS = ("tcp", "udp", "icmp")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
WITH_PORTS = ("tcp", "udp")
PING_BYTES = 128  # of a whole IP packet: what ping sends has 84; more would be a tunnel
DEFAULT = "default"
INVALID = "invalid"
DIRECT = "direct"
ICMP_SIZE = "icmp-size"
# Ids of what no line of a table decides, each with its reason.
BUILT_IN = {
    DEFAULT: "no line of the policy allows it",
    INVALID: "it belongs to no connection that could be",
    DIRECT: "from outside, a node is reached only through a port that the host publishes",
    ICMP_SIZE: f"a ping of more than {PING_BYTES} bytes asks for more than whether somebody is there",
    "spoofed-address": "a source address that is not the sender's own",
    "spoofed-mac": "a source MAC address that is not the sender's own",
    "spoofed-arp": "an ARP message that speaks for somebody else's address",
    "ipv6": "the lab speaks IPv4; IPv6 would pass by its rules",
    "ethertype": "neither IPv4 nor ARP: a VLAN tag or another protocol would pass by the rules",
    "answers": "what a connection that was allowed brings back",
    "policy": "which table is in force",
}


@dataclass(frozen=True)
class Rate:
    """New connections from one source: `count` each `unit`, and `burst` at once after a silence."""

    count: int
    unit: str
    burst: int

    @property
    def refill_seconds(self) -> float:
        """After so long a source that used everything up may open one more."""
        return SECONDS[self.unit] / self.count

    def __str__(self) -> str:
        """Write it as the table does."""
        return f"{self.count}/{self.unit}:{self.burst}"


@dataclass(frozen=True)
class Line:
    """One line of the table. `ports` are ranges, both ends included; none means any."""

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

    @property
    def any_protocol(self) -> bool:
        """Tell whether it speaks of every protocol, also those that have no name here."""
        return ANY in self.protocols

    def speaks_of(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Tell whether a first packet is this line's."""
        return (
            source in self.sources
            and destination in self.destinations
            and (self.any_protocol or protocol in self.protocols)
            and (not self.ports or any(first <= port <= last for first, last in self.ports))
        )


@dataclass(frozen=True)
class Limit:
    """A line of the table that limits: each of its sources has at most so many connections at once."""

    id: str
    sources: frozenset[str]
    most: int
    reason: str
    number: int
    as_written: str


@dataclass(frozen=True)
class Decision:
    """What becomes of a first packet, and by which line; of `None` nobody speaks: the default."""

    verdict: str
    id: str
    reason: str
    line: Line | None = None


@dataclass(frozen=True)
class Policy:
    """A table that passed every check, for one topology."""

    path: Path
    topology: Topology
    lines: tuple[Line, ...]
    limits: tuple[Limit, ...] = ()

    def decide(self, source: str, destination: str, protocol: str, port: int = 0) -> Decision:
        """Judge a first packet; a rate is not looked at. World means: through a published port."""
        for line in self._by_destination[destination]:
            if line.speaks_of(source, destination, protocol, port):
                return Decision(line.verdict, line.id, line.reason, line)
        return Decision(DROP, DEFAULT, BUILT_IN[DEFAULT])

    def some_node_may(self, destination: str, protocol: str) -> bool:
        """Tell whether any node may send a protocol there."""
        return any(
            self.decide(node.name, destination, protocol).verdict == ACCEPT for node in self.topology.nodes
        )

    def reason_of(self, policy_id: str) -> str:
        """Give the reason for a line or for what is built in; empty when there is no such id."""
        reasons = {line.id: line.reason for line in self.lines} | {
            each.id: each.reason for each in self.limits
        }
        return reasons.get(policy_id, BUILT_IN.get(policy_id, ""))

    @cached_property
    def _by_destination(self) -> dict[str, list[Line]]:
        found: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            for destination in line.destinations:
                found[destination].append(line)
        return found
