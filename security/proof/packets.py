"""Packets of the proof, built by hand. Each contains a number that identifies its probe wherever it is received.

It is in the sequence number of a TCP segment (RFC 9293), so that the reply has it too, and in the payload of others.
The addresses choose the family. IPv4: RFC 791, IPv6: RFC 8200, ICMP: RFC 792 and 4443, 802.1Q: a tag of four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from security.proof.family import IPV4, IPV6, family_of, packed

ARP, VLAN, EXPERIMENTAL = 0x0806, 0x8100, 0x88B5  # EtherTypes beside IP; the last: IEEE 802
TCP, UDP, IN_IPV4 = 6, 17, 41  # the last: IPv6 inside IPv4 (RFC 4213)
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION)  # headers between those of IPv6 and of the payload
SYN, ACK = 0x02, 0x10
BROADCAST = "ff:ff:ff:ff:ff:ff"
# Groups that a bridge does not forward (IEEE 802.1Q, table 8-1): LACP, 802.1X, the next two bridges, LLDP.
LINK_LOCAL = tuple(f"01:80:c2:00:00:{last:02x}" for last in (0x02, 0x03, 0x0B, 0x0D, 0x0E))
FIRST_PORT, SOURCE_PORTS = 20000, 40000
MARK = b"cnet-probe"
SEQUENCE = 0x43000000
MAX_PROBES = 1 << 24  # sequence numbers that are used, from SEQUENCE on
OTHER_PROTOCOLS = (253, 254)  # RFC 3692 numbers: stand for all protocols without a name in policies
_TCP_BYTES, _UDP_BYTES, _TINY_BYTES = 20, 8, 8
_UNUSED_PORT = 22
# Bytes of TCP in the first fragment: in IPv6 it must have the whole header (RFC 8200, section 4.5).
_FIRST_BYTES = {4: 8, 6: 24}
_NO_OPERATIONS = b"\1" * 12  # TCP options, so that a last fragment has something left in both families
_MORE_FRAGMENTS, _DO_NOT_FRAGMENT = 0x2000, 0x4000

Build = Callable[
    [int], bytes
]  # a packet from the probe's number; the functions below, with functools.partial


def source_port(number: int) -> int:
    """Return the source port of a probe."""
    return FIRST_PORT + number % SOURCE_PORTS


def identification(number: int) -> int:
    """Return the IP identification of a probe; never 0, which the kernel replaces."""
    return number & 0xFFFF or 1


def packet(protocol: str, source: str, to: str, port: int = 0) -> Build:
    """Build a packet of tcp, udp, icmp (a ping) or another protocol."""
    if protocol in ("tcp", "udp"):
        return partial(tcp if protocol == "tcp" else udp, source, to, port)
    return partial(echo if protocol == "icmp" else other, source, to)


def ip(
    source: str, to: str, protocol: int, payload: bytes, number: int, *, flags: int = 0, hops: int = 64
) -> bytes:
    """Add the IP header of the addresses' family. `flags` has flags and offset of a fragment in IPv4."""
    addresses = packed(source) + packed(to)
    if family_of(source) is IPV6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + addresses + payload
    size, identity = IPV4.header_bytes + len(payload), identification(number)
    header = struct.pack("!BBHHHBBH", 0x45, 0, size, identity, flags, hops, protocol, 0)
    return _with_checksum(header + addresses, 10) + payload


def tcp(
    source: str, to: str, port: int, number: int, *, own_port: int = 0, size: int = 0, options: bytes = b""
) -> bytes:
    """Build a SYN; own_port 0: from the probe's own port; size: bytes of the packet at least, not to be fragmented."""
    begin = (_TCP_BYTES + len(options)) // 4 << 4
    ports = own_port or source_port(number), port
    segment = struct.pack("!HHIIBBHHH", *ports, SEQUENCE + number, 0, begin, SYN, 1024, 0, 0) + options
    segment = segment.ljust(size - family_of(source).header_bytes, b".")
    checked = _with_checksum(segment, 16, _pseudo_header(source, to, TCP, segment))
    return ip(source, to, TCP, checked, number, flags=_DO_NOT_FRAGMENT if size else 0)


def fragment(source: str, to: str, port: int, number: int, *, is_last: bool) -> bytes:
    """Build one of the two fragments of a SYN: the last one has the rest of the TCP header."""
    family = family_of(source)
    segment = tcp(source, to, port, number, options=_NO_OPERATIONS)[family.header_bytes :]
    length = _FIRST_BYTES[family.version]
    part, offset = (segment[length:], length) if is_last else (segment[:length], 0)
    if family is IPV4:
        flags = offset // 8 if is_last else _MORE_FRAGMENTS
        return ip(source, to, TCP, part, number, flags=flags)
    header = fragment_header(TCP, number, offset=offset, is_last=is_last)
    return ip(source, to, FRAGMENT, header + part, number)


def first_fragment(source: str, to: str, number: int, *, following: int) -> bytes:
    """Build the first fragment of an IPv6 packet, with only 8 bytes of a TCP header, or an option without one."""
    part = tcp(source, to, _UNUSED_PORT, number)[IPV6.header_bytes :][:_TINY_BYTES]
    if following == DESTINATION:  # next header, 24 bytes, then padding
        part = struct.pack("!BBBB", TCP, 2, 1, 20) + tag(number).ljust(20, b"\0")
    header = fragment_header(following, number, is_last=False)
    return ip(source, to, FRAGMENT, header + part, number)


def fragment_header(following: int, number: int, *, offset: int = 0, is_last: bool = True) -> bytes:
    """Build the fragment header of IPv6 (RFC 8200, section 4.5); the offset counts bytes."""
    return struct.pack("!BBHI", following, 0, offset | (not is_last), number)


def udp(
    source: str, to: str, port: int, number: int, *, tagged: bool = True, size: int = 0, reply: bool = False
) -> bytes:
    """Build a datagram, or the reply to it (RFC 768)."""
    payload = _payload(number, size, tagged=tagged)
    ports = (port, source_port(number)) if reply else (source_port(number), port)
    datagram = struct.pack("!HHHH", *ports, _UDP_BYTES + len(payload), 0) + payload
    checked = _with_checksum(datagram, 6, _pseudo_header(source, to, UDP, datagram))
    return ip(source, to, UDP, checked, number)


def icmp(source: str, to: str, message: bytes, number: int, *, hops: int = 64) -> bytes:
    """Add the checksum and the IP header to a message of ICMP or ICMPv6."""
    family = family_of(source)
    before = _pseudo_header(source, to, family.icmp, message) if family is IPV6 else b""
    return ip(source, to, family.icmp, _with_checksum(message, 2, before), number, hops=hops)


def echo(
    source: str,
    to: str,
    number: int,
    *,
    kind: int | None = None,
    size: int = 0,
    tagged: bool = True,
    identity: int | None = None,
) -> bytes:
    """Build a ping, or another ICMP message, with at least `size` bytes of payload."""
    own = source_port(number) if identity is None else identity
    type_of = family_of(source).rules.echo[0] if kind is None else kind
    message = struct.pack("!BBHHH", type_of, 0, 0, own, 1) + _payload(number, size, tagged=tagged)
    return icmp(source, to, message, number)


def unasked_reply(source: str, to: str, number: int) -> bytes:
    """Build a ping reply whose id no ping of any proof has: conntrack remembers those of an earlier proof for 30 s."""
    unused = FIRST_PORT - 1 - number % FIRST_PORT
    return echo(source, to, number, kind=family_of(source).rules.echo[1], identity=unused)


def damaged_echo(source: str, to: str, number: int) -> bytes:
    """Build a ping with a wrong checksum."""
    ping, at = echo(source, to, number), family_of(source).header_bytes + 2
    return ping[:at] + bytes((ping[at] ^ 0xFF,)) + ping[at + 1 :]


def icmp_error(ends: tuple[str, str], kind: tuple[int, int], opening: Build, size: int, number: int) -> bytes:
    """Build an ICMP error (type, code) about an opening packet, at least `size` bytes (RFC 1812, RFC 4443)."""
    payload = (opening(number) + tag(number)).ljust(size, b".")
    return icmp(*ends, struct.pack("!BBHI", *kind, 0, 0) + payload, number)


def other(source: str, to: str, number: int) -> bytes:
    """Build a packet of a protocol without ports; each direction has its own, or one would be the other's reply."""
    protocol = OTHER_PROTOCOLS[packed(source) < packed(to)]
    return ip(source, to, protocol, tag(number), number)


def inside_ipv4(source: str, to: str, build: Build, number: int) -> bytes:
    """Build a tunnel: an IPv6 packet in an IPv4 packet (6in4)."""
    return ip(source, to, IN_IPV4, build(number), number)


def extended(headers: Sequence[int], build: Build, number: int) -> bytes:
    """Put extension headers between the header of an IPv6 packet and its payload (RFC 8200, section 4)."""
    whole = build(number)
    begin, kinds = IPV6.header_bytes, (*headers, whole[6])
    chain = b"".join(_extension(kind, following, number) for kind, following in pairwise(kinds))
    size = struct.pack("!H", len(whole) - begin + len(chain))
    return whole[:4] + size + bytes((kinds[0],)) + whole[7:begin] + chain + whole[begin:]


def _extension(kind: int, following: int, number: int) -> bytes:
    """Build an extension header of 8 bytes that changes nothing: padding, no segments left, the only fragment."""
    if kind == FRAGMENT:
        return fragment_header(following, number)
    return struct.pack("!BB", following, 0) + (b"\0" * 6 if kind == ROUTING else b"\1\4\0\0\0\0")


def arp_reply(mac: str, address: str, to: str, number: int) -> bytes:
    """Build an ARP reply (RFC 826): `address` is at `mac`. Receivers ignore the target's MAC, so it has the number."""
    sender = struct.pack("!HHBBH6s4s", 1, IPV4.ethertype, 6, 4, 2, mac_bytes(mac), packed(address))
    return sender + b"cn" + struct.pack("!I", number) + packed(to)


def in_vlan(kind: int, build: Build, number: int) -> bytes:
    """Add a VLAN tag to a packet of EtherType `kind`; the frame itself has EtherType VLAN."""
    return struct.pack("!HH", 7, kind) + build(number)


def framed(source: str, to: str, kind: int, build: Build, number: int) -> bytes:
    """Build a payload in a frame of EtherType `kind`."""
    return frame(source, to, kind, build(number))


def frame(source: str, to: str, kind: int, payload: bytes) -> bytes:
    """Add an Ethernet header."""
    return mac_bytes(to) + mac_bytes(source) + struct.pack("!H", kind) + payload


def tag(number: int) -> bytes:
    """Return the bytes that recognise() looks for, with the number."""
    return MARK + struct.pack("!I", number)


def _payload(number: int, size: int, *, tagged: bool) -> bytes:
    return (tag(number) if tagged else b"").ljust(size, b".")


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data if len(data) % 2 == 0 else data[:-1]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo_header(source: str, to: str, protocol: int, payload: bytes) -> bytes:
    """Return the pseudo header of RFC 8200, section 8.1; with IPv4 addresses its sum is that of RFC 9293."""
    return packed(source) + packed(to) + struct.pack("!II", len(payload), protocol)


def _with_checksum(data: bytes, at: int, before: bytes = b"") -> bytes:
    value = checksum(before + data) or 0xFFFF  # in UDP, 0 means no checksum; to others both are the same
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]


def mac_bytes(text: str) -> bytes:
    """Return the six bytes of a MAC."""
    return bytes.fromhex(text.replace(":", ""))
