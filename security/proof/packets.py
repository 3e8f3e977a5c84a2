"""Packets of the proof, built by hand. Each contains a number that identifies its probe wherever it is received.

It is in the sequence number of a TCP segment (RFC 9293), so that the reply has it too, and in the payload of others.
IPv4: RFC 791, TCP: RFC 9293, ICMP: RFC 792, ARP: RFC 826, IPv6: RFC 8200, 802.1Q: a tag of four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
_MORE_FRAGMENTS, _DO_NOT_FRAGMENT = 0x2000, 0x4000
OTHER_PROTOCOLS = (253, 254)  # RFC 3692 numbers: stand for all protocols without a name in policies

Build = Callable[
    [int], bytes
]  # a packet from the probe's number; the functions below, with functools.partial


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


def packet(protocol: str, source: str, to: str, port: int = 0) -> Build:
    """Build an IPv4 packet of tcp, udp, icmp (a ping) or another protocol."""
    if protocol in ("tcp", "udp"):
        return partial(tcp if protocol == "tcp" else udp, source, to, port)
    return partial(echo if protocol == "icmp" else other, source, to)


def ipv4(
    source: str, to: str, protocol: int, payload: bytes, number: int, *, flags_and_offset: int = 0
) -> bytes:
    """Add an IPv4 header."""
    size, identity = _IP_BYTES + len(payload), identification(number)
    header = struct.pack("!BBHHHBBH", 0x45, 0, size, identity, flags_and_offset, 64, protocol, 0)
    return _with_checksum(header + _packed(source) + _packed(to), 10) + payload


def tcp(source: str, to: str, port: int, number: int, *, own_port: int = 0, size: int = 0) -> bytes:
    """Build a SYN; own_port 0: from the probe's own port; size: bytes of the packet at least, not to be fragmented."""
    segment = struct.pack(
        "!HHIIBBHHH", own_port or source_port(number), port, _SEQUENCE + number, 0, 0x50, SYN, 1024, 0, 0
    ).ljust(size - _IP_BYTES, b".")
    pseudo_header = _packed(source) + _packed(to) + struct.pack("!BBH", 0, TCP, len(segment))
    flags = _DO_NOT_FRAGMENT if size else 0
    return ipv4(source, to, TCP, _with_checksum(segment, 16, pseudo_header), number, flags_and_offset=flags)


def fragment(source: str, to: str, port: int, number: int, *, is_last: bool) -> bytes:
    """Build one of the two fragments of a SYN: the last one has the rest of the TCP header (RFC 791, section 3.2)."""
    segment = tcp(source, to, port, number)[_IP_BYTES:]
    if is_last:
        return ipv4(source, to, TCP, segment[_FRAGMENT_BYTES:], number, flags_and_offset=_FRAGMENT_BYTES // 8)
    return ipv4(source, to, TCP, segment[:_FRAGMENT_BYTES], number, flags_and_offset=_MORE_FRAGMENTS)


def udp(
    source: str, to: str, port: int, number: int, *, tagged: bool = True, size: int = 0, reply: bool = False
) -> bytes:
    """Build a datagram, or the reply to it, without a checksum, which IPv4 allows (RFC 768)."""
    payload = _payload(number, size, tagged=tagged)
    ports = (port, source_port(number)) if reply else (source_port(number), port)
    return ipv4(source, to, UDP, struct.pack("!HHHH", *ports, _UDP_BYTES + len(payload), 0) + payload, number)


def echo(
    source: str, to: str, number: int, *, kind: int = ECHO_REQUEST, size: int = 0, tagged: bool = True
) -> bytes:
    """Build a ping, or another ICMP message, with at least `size` bytes of payload."""
    message = struct.pack("!BBHHH", kind, 0, 0, source_port(number), 1) + _payload(
        number, size, tagged=tagged
    )
    return ipv4(source, to, ICMP, _with_checksum(message, 2), number)


def unasked_reply(source: str, to: str, number: int) -> bytes:
    """Build a ping reply whose id no ping of any proof has: conntrack remembers those of an earlier proof for 30 s."""
    reply = bytearray(echo(source, to, number, kind=ECHO_REPLY))
    reply[_IP_BYTES + 2 : _IP_BYTES + 6] = struct.pack("!HH", 0, FIRST_PORT - 1 - number % FIRST_PORT)
    return bytes(reply[:_IP_BYTES]) + _with_checksum(bytes(reply[_IP_BYTES:]), 2)


def damaged_echo(source: str, to: str, number: int) -> bytes:
    """Build a ping with a wrong checksum."""
    ping = echo(source, to, number)
    return ping[:22] + bytes((ping[22] ^ 0xFF,)) + ping[23:]


def port_unreachable(source: str, to: str, opening: Build, size: int, number: int) -> bytes:
    """Build the ICMP error for an opening packet, at least `size` bytes (RFC 792, RFC 1812)."""
    payload = (opening(number) + tag(number)).ljust(size, b".")
    return ipv4(source, to, ICMP, _with_checksum(struct.pack("!BBHI", 3, 3, 0, 0) + payload, 2), number)


def other(source: str, to: str, number: int) -> bytes:
    """Build a packet of a protocol without ports; each direction has its own, or one would be the other's reply."""
    protocol = OTHER_PROTOCOLS[IPv4Address(source) < IPv4Address(to)]
    return ipv4(source, to, protocol, tag(number), number)


def arp_reply(mac: str, address: str, to: str, number: int) -> bytes:
    """Build an ARP reply: `address` is at `mac`. The number is in the target's MAC, which receivers ignore."""
    sender = struct.pack("!HHBBH6s4s", 1, IPV4, 6, 4, 2, _mac(mac), _packed(address))
    return sender + b"cn" + struct.pack("!I", number) + _packed(to)


def ipv6_echo(number: int) -> bytes:
    """Build an IPv6 ping between link-local addresses, which need no configuration."""
    message = struct.pack("!BBHHH", 128, 0, 0, 1, 1) + tag(number)
    addresses = IPv6Address("fe80::1").packed + IPv6Address("fe80::2").packed
    message = _with_checksum(message, 2, addresses + struct.pack("!II", len(message), ICMPV6))
    return struct.pack("!IHBB", 0x60000000, len(message), ICMPV6, 255) + addresses + message


def in_vlan(build: Build, number: int) -> bytes:
    """Add a VLAN tag to an IPv4 packet; the frame itself has EtherType VLAN."""
    return struct.pack("!HH", 7, IPV4) + build(number)


def framed(source: str, to: str, kind: int, build: Build, number: int) -> bytes:
    """Build a payload in a frame of EtherType `kind`."""
    return frame(source, to, kind, build(number))


def frame(source: str, to: str, kind: int, payload: bytes) -> bytes:
    """Add an Ethernet header."""
    return _mac(to) + _mac(source) + struct.pack("!H", kind) + payload


def tag(number: int) -> bytes:
    """Return the bytes that recognise() looks for, with the number."""
    return MARK + struct.pack("!I", number)


def _payload(number: int, size: int, *, tagged: bool) -> bytes:
    return (tag(number) if tagged else b"").ljust(size, b".")


def source_of(packet: bytes) -> str:
    """Return the source address of an IPv4 packet."""
    return str(IPv4Address(packet[12:16]))


def recognise(payload: bytes, kind: int = IPV4) -> Seen | None:
    """Find a probe's number in a packet of EtherType `kind`, without its Ethernet header; None without a number."""
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
    acknowledged, flags = 0, SYN  # the first fragment ends before these fields
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


def _packed(address: str) -> bytes:
    return IPv4Address(address).packed


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
