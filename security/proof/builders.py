"""Builders of packets for probes: each returns a function from the probe's number to the packets to send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Any

from security.proof import packets

Build = Callable[[int], Sequence[bytes]]

# Numbers for experiments (RFC 3692), for all protocols without a name in policies. They have no ports, so each
# direction has its own number; otherwise one direction would be the reply to the other.
OTHER_PROTOCOLS = (253, 254)


def packet(protocol: str, source: str, to: str, port: int = 0, **options: Any) -> Build:
    """Build an IPv4 packet of tcp, udp, icmp (a ping) or another protocol; options are those of packets.py."""
    if protocol == "icmp":
        return echo(source, to, **options)

    def build(number: int) -> Sequence[bytes]:
        if protocol == "tcp":
            payload = packets.tcp(source, to, port, number, **options)
            return [packets.ipv4(source, to, packets.TCP, payload, number)]
        if protocol == "udp":
            return [packets.ipv4(source, to, packets.UDP, packets.udp(port, number, **options), number)]
        other = OTHER_PROTOCOLS[IPv4Address(source) < IPv4Address(to)]
        return [packets.ipv4(source, to, other, packets.tag(number), number)]

    return build


def echo(source: str, to: str, kind: int = packets.ECHO_REQUEST, size: int = 0, **options: Any) -> Build:
    """Build a ping, its reply, or another ICMP message of `kind`."""
    return lambda number: [
        packets.ipv4(source, to, packets.ICMP, packets.icmp(kind, number, size, **options), number)
    ]


def port_unreachable(opening: Build, source: str, to: str, size: int) -> Build:
    """Build the ICMP error for an opening packet, at least `size` bytes."""
    return lambda number: [
        packets.ipv4(source, to, packets.ICMP, packets.unreachable(opening(number)[0], number, size), number)
    ]


def in_fragments(source: str, to: str, port: int) -> Build:
    """Build a SYN in two fragments."""
    return lambda number: packets.fragments(
        source, to, packets.TCP, packets.tcp(source, to, port, number), number
    )


def framed(source: str, to: str, kind: int, build: Build) -> Build:
    """Build the packets in frames of EtherType `kind`."""
    return lambda number: [packets.frame(source, to, kind, payload) for payload in build(number)]


def in_vlan(build: Build) -> Build:
    """Build the packets with a VLAN tag."""
    return lambda number: [packets.vlan(packets.IPV4, payload) for payload in build(number)]


def arp_reply(source: str, mac: str, address: str, to: str) -> Build:
    """Build an ARP reply, in a frame from `source`: `address` is at `mac`."""
    return lambda number: [
        packets.frame(source, to, packets.ARP, packets.arp_reply(mac, address, address, number))
    ]


def ipv6_echo(number: int) -> Sequence[bytes]:
    """Build an IPv6 ping."""
    return [packets.ipv6_echo("fe80::2", number)]


def only_tag(number: int) -> Sequence[bytes]:
    """Build a payload of the number alone."""
    return [packets.tag(number)]
