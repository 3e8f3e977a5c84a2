"""Find the number of a probe in a packet that was received, or that a rule logged."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from security.proof.discovery import ADVERTISEMENT, NUMBER_MASK, SOLICITATION, WORD_MARK, WORD_MASK
from security.proof.family import FAMILIES, IPV4, IPV6, Family
from security.proof.packets import ACK, ARP, EXTENSIONS, FRAGMENT, MARK, MAX_PROBES, SEQUENCE, SYN, TCP

_TCP_BYTES, _ARP_BYTES = 20, 28
_FIRST_BYTES = 8  # of a header: the least that a fragment has
FAMILY_OF = {family.ethertype: family for family in FAMILIES.values()}


@dataclass(frozen=True)
class Seen:
    """A packet of the proof that was received: its number, and whether it is the reply to the probe."""

    number: int
    answer: bool


def source_of(packet: bytes, family: Family) -> str:
    """Return the source address of a packet."""
    return str(ip_address(packet[12:16] if family is IPV4 else packet[8:24]))


def recognise(payload: bytes, kind: int = IPV4.ethertype) -> Seen | None:
    """Find a probe's number in a packet of EtherType `kind`, without its Ethernet header; None without a number."""
    if kind == ARP:
        return _in_arp(payload)
    family = FAMILY_OF.get(kind)
    protocol, begin = _upper_layer(payload, family) if family else (0, 0)
    if family and protocol == TCP:
        return _in_tcp(payload[begin:])
    if family is IPV6 and protocol == IPV6.icmp and payload[begin] in (SOLICITATION, ADVERTISEMENT):
        return _in_discovery(payload[begin:])
    at = payload.find(MARK)
    if at < 0 or len(payload) < at + len(MARK) + 4:
        return None
    answer = family is not None and (protocol, payload[begin]) == (family.icmp, family.rules.echo[1])
    return Seen(struct.unpack_from("!I", payload, at + len(MARK))[0], answer)


def _upper_layer(packet: bytes, family: Family) -> tuple[int, int]:
    """Return the protocol after the IP header and its extensions, and where it begins; protocol 0 if it is cut off."""
    if len(packet) <= family.header_bytes:
        return 0, 0
    if family is not IPV6:
        return packet[9], (packet[0] & 15) * 4
    protocol, at = packet[6], family.header_bytes
    while protocol in EXTENSIONS and len(packet) > at + 1:
        length = 8 if protocol == FRAGMENT else (packet[at + 1] + 1) * 8  # RFC 8200, section 4
        protocol, at = packet[at], at + length
    return (protocol, at) if at < len(packet) else (0, 0)


def _in_arp(payload: bytes) -> Seen | None:
    if len(payload) < _ARP_BYTES or payload[18:20] != b"cn":
        return None
    return Seen(struct.unpack_from("!I", payload, 20)[0], answer=False)


def _in_discovery(message: bytes) -> Seen | None:
    word = struct.unpack_from("!I", message, 4)[0] if len(message) >= _FIRST_BYTES else 0
    return Seen(word & NUMBER_MASK, answer=False) if word & WORD_MASK == WORD_MARK else None


def _in_tcp(segment: bytes) -> Seen | None:
    if len(segment) < _FIRST_BYTES:
        return None
    sequence = struct.unpack_from("!I", segment, 4)[0]
    acknowledged, flags = 0, SYN  # the first fragment ends before these fields
    if len(segment) >= _TCP_BYTES:
        acknowledged, flags = struct.unpack_from("!I", segment, 8)[0], segment[13]
    if flags & SYN and not flags & ACK and 0 <= sequence - SEQUENCE < MAX_PROBES:
        return Seen(sequence - SEQUENCE, answer=False)
    if flags & ACK and 0 <= acknowledged - 1 - SEQUENCE < MAX_PROBES:
        return Seen(acknowledged - 1 - SEQUENCE, answer=True)
    return None
