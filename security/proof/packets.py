"""Packets of the proof, built by hand. Each contains a number that identifies its probe wherever it is received.

It is in the sequence number of a TCP segment (RFC 9293), so that the reply has it too, and in the payload of others.
IPv4: RFC 791, ICMP: RFC 792, ARP: RFC 826, IPv6: RFC 8200, 802.1Q: a tag of four bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IPV4, ARP, VLAN, IPV6, EXPERIMENTAL = 0x0800, 0x0806, 0x8100, 0x86DD, 0x88B5  # EtherTypes; the last: IEEE 802
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SYN, ACK = 0x02, 0x10
ECHO_REPLY, ECHO_REQUEST, TIMESTAMP = 0, 8, 13
BROADCAST = "ff:ff:ff:ff:ff:ff"
# Groups that a bridge does not forward (IEEE 802.1Q, table 8-1): LACP, 802.1X, the next two bridges, LLDP.
LINK_LOCAL = tuple(f"01:80:c2:00:00:{last:02x}" for last in (0x02, 0x03, 0x0B, 0x0D, 0x0E))
FIRST_PORT, SOURCE_PORTS = 20000, 40000
MARK = b"cnet-probe"
_SEQUENCE = 0x43000000
MAX_PROBES = 1 << 24  # sequence numbers that are used, from _SEQUENCE on
_IP_BYTES, _TCP_BYTES, _UDP_BYTES, _ARP_BYTES = 20, 20, 8, 28
_FRAGMENT_BYTES = 8
_MORE_FRAGMENTS = 0x2000


@dataclass(frozen=True)
class Seen:
    """A packet of the proof that was received: its number, and whether it is the reply to the probe."""

    number: int
    answer: bool


def source_port(number: int) -> int:
    """Return the source port of a probe."""
    return FIRST_PORT + number % SOURCE_PORTS


def identification(number: int) -> int:
    """Return the IP identification of a probe; never 0, which the kernel replaces."""
    return number & 0xFFFF or 1


def ipv4(
    source: str, destination: str, protocol: int, payload: bytes, number: int, *, flags_and_offset: int = 0
) -> bytes:
    """Add an IPv4 header."""
    size, identity = _IP_BYTES + len(payload), identification(number)
    header = struct.pack("!BBHHHBBH", 0x45, 0, size, identity, flags_and_offset, 64, protocol, 0)
    return _with_checksum(header + _packed(source) + _packed(destination), 10) + payload


def fragments(source: str, destination: str, protocol: int, payload: bytes, number: int) -> list[bytes]:
    """Split a packet in two, the second half of its transport header in the second (RFC 791, section 3.2)."""
    first, rest = payload[:_FRAGMENT_BYTES], payload[_FRAGMENT_BYTES:]
    return [
        ipv4(source, destination, protocol, first, number, flags_and_offset=_MORE_FRAGMENTS),
        ipv4(source, destination, protocol, rest, number, flags_and_offset=_FRAGMENT_BYTES // 8),
    ]


def tcp(source: str, destination: str, port: int, number: int, own_port: int = 0) -> bytes:
    """Build a SYN; its checksum covers the addresses, so they must be those on the wire. 0: the probe's own port."""
    own_port = own_port or source_port(number)
    segment = struct.pack("!HHIIBBHHH", own_port, port, _SEQUENCE + number, 0, 0x50, SYN, 1024, 0, 0)
    return _with_checksum(segment, 16, _pseudo_header(source, destination, TCP, len(segment)))


def udp(port: int, number: int, *, tagged: bool = True, size: int = 0, reply: bool = False) -> bytes:
    """Build a datagram, or the reply to it, without a checksum, which IPv4 allows (RFC 768)."""
    payload = (tag(number) if tagged else b"").ljust(size, b".")
    ports = (port, source_port(number)) if reply else (source_port(number), port)
    return struct.pack("!HHHH", *ports, _UDP_BYTES + len(payload), 0) + payload


def icmp(kind: int, number: int, size: int = 0, *, tagged: bool = True, damaged: bool = False) -> bytes:
    """Build an echo request or reply with at least `size` bytes of payload; damaged: with a wrong checksum."""
    payload = (tag(number) if tagged else b"").ljust(size, b".")
    message = _with_checksum(struct.pack("!BBHHH", kind, 0, 0, source_port(number), 1) + payload, 2)
    return message[:2] + bytes((message[2] ^ 0xFF,)) + message[3:] if damaged else message


def unreachable(quoted: bytes, number: int, size: int) -> bytes:
    """Build a port-unreachable error of at least `size` bytes that quotes a packet (RFC 792, RFC 1812)."""
    payload = (quoted + tag(number)).ljust(size, b".")
    return _with_checksum(struct.pack("!BBHI", 3, 3, 0, 0) + payload, 2)


def arp_reply(mac: str, source: str, destination: str, number: int) -> bytes:
    """Build an ARP reply: `source` is at `mac`. The number is in the target's MAC, which receivers ignore."""
    sender = struct.pack("!HHBBH6s4s", 1, IPV4, 6, 4, 2, _mac(mac), _packed(source))
    return sender + b"cn" + struct.pack("!I", number) + _packed(destination)


def ipv6_echo(destination: str, number: int) -> bytes:
    """Build an echo request from a link-local address that needs no configuration."""
    payload = tag(number)
    message = struct.pack("!BBHHH", 128, 0, 0, 1, 1) + payload
    addresses = IPv6Address("fe80::1").packed + IPv6Address(destination).packed
    message = _with_checksum(message, 2, addresses + struct.pack("!II", len(message), ICMPV6))
    return struct.pack("!IHBB", 0x60000000, len(message), ICMPV6, 255) + addresses + message


def vlan(kind: int, payload: bytes, vlan_id: int = 7) -> bytes:
    """Add a VLAN tag to a payload of EtherType `kind`; the frame itself has EtherType VLAN."""
    return struct.pack("!HH", vlan_id, kind) + payload


def frame(source: str, destination: str, kind: int, payload: bytes) -> bytes:
    """Add an Ethernet header."""
    return _mac(destination) + _mac(source) + struct.pack("!H", kind) + payload


def tag(number: int) -> bytes:
    """Return the bytes that recognise() looks for, with the number."""
    return MARK + struct.pack("!I", number)


def source_of(packet: bytes) -> str:
    """Return the source address of an IPv4 packet."""
    return str(IPv4Address(packet[12:16]))


def recognise(payload: bytes, kind: int = IPV4) -> Seen | None:
    """Find a probe's number in a packet of EtherType `kind`, without its Ethernet header; None if it has none."""
    if kind == ARP:
        return _in_arp(payload)
    if kind == IPV4 and payload[9:10] == bytes((TCP,)):
        return _in_tcp(payload)
    at = payload.find(MARK)
    if at < 0 or len(payload) < at + len(MARK) + 4:
        return None
    answer = kind == IPV4 and payload[9] == ICMP and payload[(payload[0] & 15) * 4] == ECHO_REPLY
    return Seen(struct.unpack_from("!I", payload, at + len(MARK))[0], answer)


def _in_arp(payload: bytes) -> Seen | None:
    if len(payload) < _ARP_BYTES or payload[18:20] != b"cn":
        return None
    return Seen(struct.unpack_from("!I", payload, 20)[0], answer=False)


def _in_tcp(payload: bytes) -> Seen | None:
    begin = (payload[0] & 15) * 4
    if len(payload) < begin + _FRAGMENT_BYTES:
        return None
    sequence = struct.unpack_from("!I", payload, begin + 4)[0]
    acknowledged, flags = 0, SYN  # the first of our fragments ends here
    if len(payload) >= begin + _TCP_BYTES:
        acknowledged, flags = struct.unpack_from("!I", payload, begin + 8)[0], payload[begin + 13]
    if flags & SYN and not flags & ACK and 0 <= sequence - _SEQUENCE < MAX_PROBES:
        return Seen(sequence - _SEQUENCE, answer=False)
    if flags & ACK and 0 <= acknowledged - 1 - _SEQUENCE < MAX_PROBES:
        return Seen(acknowledged - 1 - _SEQUENCE, answer=True)
    return None


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data if len(data) % 2 == 0 else data[:-1]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _with_checksum(data: bytes, at: int, before: bytes = b"") -> bytes:
    return data[:at] + struct.pack("!H", checksum(before + data)) + data[at + 2 :]


def _pseudo_header(source: str, destination: str, protocol: int, size: int) -> bytes:
    return _packed(source) + _packed(destination) + struct.pack("!BBH", 0, protocol, size)


def _packed(address: str) -> bytes:
    return IPv4Address(address).packed


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
