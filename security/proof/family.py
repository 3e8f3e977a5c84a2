"""What differs between the packets of IPv4 and of IPv6, beside what lab/family.py has for rules."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from lab import family as of_rules
from lab.topology import Topology


class Family(NamedTuple):
    """Numbers of one family."""

    rules: of_rules.Family
    name: str
    sockets: socket.AddressFamily
    ethertype: int
    icmp: int
    unused_type: int  # of an ICMP request that policies do not name: RFC 792, RFC 4620
    unused_request: str
    port_unreachable: tuple[int, int]  # type and code of the ICMP error
    unused_address: str  # for documentation: RFC 5737, RFC 3849

    @property
    def version(self) -> int:
        """The IP version."""
        return self.rules.version

    @property
    def header_bytes(self) -> int:
        """The size of an IP header without options or extensions."""
        return self.rules.header


IPV4 = Family(
    rules=of_rules.IPV4,
    name="IPv4",
    sockets=socket.AF_INET,
    ethertype=0x0800,
    icmp=1,
    unused_type=13,
    unused_request="timestamp request",
    port_unreachable=(3, 3),
    unused_address="192.0.2.1",
)
IPV6 = Family(
    rules=of_rules.IPV6,
    name="IPv6",
    sockets=socket.AF_INET6,
    ethertype=0x86DD,
    icmp=58,
    unused_type=139,
    unused_request="node information query",
    port_unreachable=(1, 4),
    unused_address="2001:db8:ffff::1",
)
FAMILIES = {family.version: family for family in (IPV4, IPV6)}


def families_of(topology: Topology) -> list[Family]:
    """Return the families in which the table gives a bridge an address; IPv4 first."""
    return [family for family in FAMILIES.values() if any(family.rules.addresses(topology.bridges))]


@lru_cache(4096)
def family_of(address: str) -> Family:
    """Return the family of an address. Raise ValueError for another text."""
    return FAMILIES[ip_address(address).version]


@lru_cache(4096)
def packed(address: str) -> bytes:
    """Return the bytes of an address. Raise ValueError for another text."""
    return ip_address(address).packed
