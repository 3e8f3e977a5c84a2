"""What is tried to prove a policy: who sends which packet to whom, and what must become of it.

It arrives, or it is dropped under a policy id; both are watched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import NamedTuple

from security.policy.model import ACCEPT
from security.proof import packets

# For experiments (RFC 3692): stand for every protocol a policy has no name for. One for each direction: they
# have no ports, so that one direction would be the answer to the other.
OTHER_PROTOCOLS = (253, 254)

# What decides where no rule of a policy is asked: the bridge's own table, and the port's own settings.
FORWARDING, LINK_LOCAL = "forwarding-table", "link-local"

Build = Callable[[int], Sequence[bytes]]


@dataclass(frozen=True)
class Outside:
    """The world of the proof: a namespace beyond the host."""

    namespace: str
    interface: str
    address: str
    host_address: str


class Flow(NamedTuple):
    """Who speaks to whom; without ports the port is 0."""

    source: str
    destination: str
    protocol: str
    port: int = 0

    def __str__(self) -> str:
        """Write it for people."""
        what = f"{self.protocol}/{self.port}" if self.port else self.protocol
        return f"{self.source} -> {self.destination} {what}"


class Step(NamedTuple):
    """What is sent shortly before a probe; without `to`, `build` makes whole frames."""

    source: str
    to: str
    build: Build


@dataclass(frozen=True)
class Probe:
    """One attempt. `to` is an address, or empty when `build` makes whole frames."""

    flow: Flow
    expected: str
    expected_id: str
    build: Build
    to: str = ""
    attack: str = ""
    refill_seconds: float = 0  # after so long a rate that is used up lets one more pass
    first: Step | None = None
    unlogged: bool = False  # the kernel drops it by itself, and tells nobody
    by: str = ""  # the bridge of the host that a whole frame is sent by
    seen_as: str = ""  # the source address that the receiver must see; empty when any will do

    @property
    def awaits_answer(self) -> bool:
        """Tell whether an answer must come back when it arrives: the connection, or its refusal."""
        return self.flow.protocol == "tcp" and self.expected == ACCEPT and bool(self.to)

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.flow} ({self.attack})" if self.attack else str(self.flow)


@dataclass(frozen=True)
class Burst:
    """More new connections at once than the line `id` allows; of `limit` None all must arrive."""

    probe: Probe
    count: int
    limit: int | None
    id: str


def ipv6(number: int) -> Sequence[bytes]:
    """Speak IPv6."""
    return [packets.ipv6_echo("fe80::2", number)]


def bare(number: int) -> Sequence[bytes]:
    """Say nothing but the number."""
    return [packets.tag(number)]


def packet(protocol: str, source: str, to: str, port: int) -> Build:
    """Build an ordinary first packet; `other` is any protocol without a name."""
    if protocol == "tcp":
        return lambda number: [
            packets.ipv4(source, to, packets.TCP, packets.tcp(source, to, port, number), number)
        ]
    if protocol == "udp":
        return lambda number: [packets.ipv4(source, to, packets.UDP, packets.udp(port, number), number)]
    if protocol == "icmp":
        return echo(source, to, packets.ECHO_REQUEST, 0)
    other = OTHER_PROTOCOLS[IPv4Address(source) < IPv4Address(to)]
    return lambda number: [packets.ipv4(source, to, other, packets.tag(number), number)]


def echo(source: str, to: str, kind: int, size: int) -> Build:
    """Build a ping, or the answer to one."""
    return lambda number: [packets.ipv4(source, to, packets.ICMP, packets.icmp(kind, number, size), number)]


def unmarked(protocol: str, source: str, to: str, port: int = 0) -> Build:
    """Build a packet that opens a connection for the probe that follows, and is not taken for it."""
    if protocol == "udp":
        return lambda number: [
            packets.ipv4(source, to, packets.UDP, packets.udp(port, number, tagged=False), number)
        ]
    return lambda number: [
        packets.ipv4(
            source, to, packets.ICMP, packets.icmp(packets.ECHO_REQUEST, number, tagged=False), number
        )
    ]


def refusal(opening: Build, source: str, to: str, size: int) -> Build:
    """Build the ICMP error that answers an opening packet, with at least `size` bytes quoted."""
    return lambda number: [
        packets.ipv4(source, to, packets.ICMP, packets.unreachable(opening(number)[0], number, size), number)
    ]


LARGE_BYTES = 400  # more than a ping may have, less than any link takes at once


def large_datagram(source: str, to: str, port: int) -> Build:
    """Build a datagram with much in it."""
    return lambda number: [
        packets.ipv4(source, to, packets.UDP, packets.udp(port, number, size=LARGE_BYTES), number)
    ]


def large_answer(source: str, to: str, port: int) -> Build:
    """Build the answer to a datagram, with much in it."""
    return lambda number: [
        packets.ipv4(source, to, packets.UDP, packets.udp_answer(port, number, LARGE_BYTES), number)
    ]


def damaged(source: str, to: str) -> Build:
    """Build a ping whose checksum is wrong."""

    def build(number: int) -> Sequence[bytes]:
        message = packets.icmp(packets.ECHO_REQUEST, number)
        wrong = message[:2] + bytes((message[2] ^ 0xFF,)) + message[3:]
        return [packets.ipv4(source, to, packets.ICMP, wrong, number)]

    return build


def in_fragments(source: str, to: str, port: int) -> Build:
    """Begin a TCP connection in two fragments."""
    return lambda number: packets.fragments(
        source, to, packets.TCP, packets.tcp(source, to, port, number), number
    )


def from_port(source: str, to: str, port: int, own: int) -> Build:
    """Begin a TCP connection from a port of one's choice."""
    return lambda number: [
        packets.ipv4(source, to, packets.TCP, packets.tcp(source, to, port, number, own=own), number)
    ]


def framed(source: str, to: str, kind: int, build: Build) -> Build:
    """Put packets into frames of EtherType `kind`."""
    return lambda number: [packets.frame(source, to, kind, payload) for payload in build(number)]


def in_vlan(build: Build) -> Build:
    """Put a VLAN's tag before packets."""
    return lambda number: [packets.vlan(packets.IPV4, payload) for payload in build(number)]


def arp(source: str, mac: str, address: str, to: str) -> Build:
    """Claim by ARP that `address` is at `mac`, in a frame from `source`."""
    return lambda number: [
        packets.frame(source, to, packets.ARP, packets.arp_reply(mac, address, address, number))
    ]
