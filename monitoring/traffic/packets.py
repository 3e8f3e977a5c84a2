"""Packets as columns: one numpy array a field, one row a packet, some ten thousand rows at a time.

However long a capture is, only one such batch is in memory. Addresses are numbers of an address book, so that the
same small columns hold IPv4, IPv6 and host names, from text and from pcap.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Truths = NDArray[np.bool_]

UNKNOWN = -1  # a time, size or protocol that the capture does not have
NO_ADDRESS = 0
NANOSECONDS = 1_000_000_000  # nanoseconds per second
# Protocols are numbers of one space: those of IP (IANA), up to 255; EtherTypes, from 0x600; and the service access
# points of frames of IEEE 802.3, which have a length in an EtherType's place: LLC + DSAP (IEEE 802.2).
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
LLC = 0x10000
FIN, SYN, RST, PUSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20  # RFC 9293, 3.1

_NAMES = {
    ICMP: "ICMP", 2: "IGMP", 4: "IPIP", TCP: "TCP", UDP: "UDP", 41: "IPv6-in-IP", 47: "GRE", 50: "ESP", 51: "AH",
    ICMP6: "ICMPv6", 59: "no next header", 88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP",
    136: "UDP-Lite", ARP: "ARP", 0x8035: "RARP", 0x88CC: "LLDP", 0x888E: "EAPOL", 0x8847: "MPLS", 0x8863: "PPPoE",
    0x8864: "PPPoE", LLC + 0x42: "STP", LLC + 0xAA: "802.3 SNAP", UNKNOWN: "unknown",
}  # fmt: skip
_LAST_PROTOCOL = 255
_NARROW = 1 << 17  # up to this range of values, counting is faster than sorting


def protocol_name(number: int) -> str:
    """Name a protocol's number."""
    if name := _NAMES.get(number):
        return name
    if number <= _LAST_PROTOCOL:
        return f"IP protocol {number}"
    return f"EtherType 0x{number:04x}" if number < LLC else f"802.3 LLC 0x{number - LLC:02x}"


def distinct(values: Integers) -> tuple[Integers, Integers]:
    """Return the sorted distinct values, and the index of each value in them: np.unique, quicker for a small range."""
    lowest = int(values.min(initial=0))
    highest = int(values.max(initial=0))
    if highest - lowest > _NARROW:
        found, inverse = np.unique(values, return_inverse=True)
        return found, inverse
    shifted = values - lowest
    is_present = np.bincount(shifted) > 0
    number = np.cumsum(is_present) - 1
    return np.flatnonzero(is_present) + lowest, number[shifted]


class AddressBook:
    """Numbers addresses with 16 bits. When it is full, all new addresses share the last number: memory is bounded."""

    MAX = 0xFFFF
    OTHERS = "others"

    def __init__(self) -> None:
        self.names = [""]  # number 0: no address
        self._numbers: dict[str, int] = {"": NO_ADDRESS}

    def number(self, name: str) -> int:
        """Return the number of an address, a new one for a new address."""
        known = self._numbers.get(name)
        if known is not None:
            return known
        if len(self.names) >= self.MAX:
            self.names[self.MAX :] = [self.OTHERS]
            return self.MAX
        self._numbers[name] = len(self.names)
        self.names.append(name)
        return self._numbers[name]


@dataclass
class Packets:
    """One batch, in the order of the source."""

    time: Integers  # nanoseconds since 1970, or since some moment; UNKNOWN
    size: Integers  # bytes of the frame on the wire, UNKNOWN
    protocol: Integers  # innermost protocol outside of tunnels; UNKNOWN
    network: Integers  # network protocol: IPV4, IPV6, ARP, LLC + DSAP...; UNKNOWN
    source: Integers  # numbers in the address book; NO_ADDRESS if the packet is not IP
    destination: Integers
    source_port: Integers  # 0: no port
    destination_port: Integers
    flags: Integers  # TCP flags
    sequence: Integers  # TCP sequence number, 32 bits
    payload: Integers  # bytes of TCP payload; UNKNOWN if the TCP header is incomplete
    fragment: Truths  # any but the first fragment of a datagram

    def __len__(self) -> int:
        """Return the number of packets."""
        return len(self.time)

    @classmethod
    def empty(cls, count: int) -> Packets:
        """Return a batch of `count` packets with every field unknown, absent or zero."""
        unknown = [np.full(count, UNKNOWN, np.int64) for _ in ("time", "size", "protocol", "network")]
        others = [np.zeros(count, np.int64) for _ in range(len(fields(cls)) - len(unknown) - 1)]
        return cls(*unknown, *others, fragment=np.zeros(count, np.bool_))  # type: ignore[arg-type, misc] # in this order

    @property
    def addressed(self) -> Truths:
        """Return a mask of packets with IP addresses."""
        return np.asarray(self.source != NO_ADDRESS)
