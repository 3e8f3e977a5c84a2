"""Frames made by hand, and captures of them: what a test needs is what it writes down."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

ETHERNET = 1
BROADCAST = b"\xff" * 6
FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16
TIMESTAMPS = b"\x01\x01\x08\x0a" + struct.pack("!II", 1, 2)
OPENING = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + struct.pack("!II", 1, 0) + b"\x01\x03\x03\x07"


def mac(number: int) -> bytes:
    """Give a locally administered address."""
    return bytes((2, 0, 0, 0, 0, number))


def ethernet(kind: int, payload: bytes, *, tags: Sequence[int] = (), to: bytes = mac(2)) -> bytes:
    """Wrap a packet; `tags` are VLANs, the outer one first."""
    wrapped = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    return to + mac(1) + wrapped + struct.pack("!H", kind) + payload


def checksum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, destination: str, protocol: int, payload: bytes, *, offset: int = 0, more: bool = False,
         options: bytes = b"") -> bytes:  # fmt: skip
    """Make a packet; `offset` in bytes."""
    words = 5 + len(options) // 4
    fragment = offset // 8 | (0x2000 if more else 0)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | words, 0, 4 * words + len(payload), 7, fragment, 64, protocol, 0,
        ip_address(source).packed, ip_address(destination).packed,
    )  # fmt: skip
    head += options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """Make a packet."""
    ends = ip_address(source).packed + ip_address(destination).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload


def tcp(
    ports: tuple[int, int], flags: int, sequence: int, acknowledged: int = 0, payload: bytes = b"", *,
    options: bytes = TIMESTAMPS,
) -> bytes:  # fmt: skip
    """Make a segment."""
    words = 5 + len(options) // 4
    return struct.pack(
        "!HHIIBBHHH", *ports, sequence % 2**32, acknowledged % 2**32, words << 4, flags, 502, 0, 0
    ) + options + payload  # fmt: skip


def udp(source_port: int, port: int, payload: bytes) -> bytes:
    """Make a datagram."""
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def icmp(kind: int, code: int, rest: bytes) -> bytes:
    """Make a message; `rest` begins with the four bytes after the checksum."""
    return struct.pack("!BBH", kind, code, checksum(struct.pack("!BBH", kind, code, 0) + rest)) + rest


def arp(operation: int, sender: str, target: str) -> bytes:
    """Make a request (1) or a reply (2)."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + mac(1) + ip_address(sender).packed + mac(2) + ip_address(target).packed


@dataclass(frozen=True)
class Captured:
    """A frame, when it came, and how much of it was kept."""

    frame: bytes
    nanoseconds: int
    kept: int = 1 << 18


def pcap(frames: Iterable[Captured], *, order: str = "<", nano: bool = False, link: int = ETHERNET) -> bytes:
    """Write a pcap."""
    magic, unit = (0xA1B23C4D, 1) if nano else (0xA1B2C3D4, 1000)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for each in frames:
        data = each.frame[: each.kept]
        seconds, rest = divmod(each.nanoseconds, 10**9)
        out.append(struct.pack(order + "IIII", seconds, rest // unit, len(data), len(each.frame)) + data)
    return b"".join(out)


def pcapng(frames: Iterable[Captured], *, order: str = "<", digits: int = 6, link: int = ETHERNET) -> bytes:
    """Write a pcapng of one section and interface."""

    def block(kind: int, body: bytes) -> bytes:
        size = len(body) + 12
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    out = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    resolution = struct.pack(order + "HHBxxxHH", 9, 1, digits, 0, 0)
    out.append(block(1, struct.pack(order + "HHI", link, 0, 262144) + resolution))
    for each in frames:
        data = each.frame[: each.kept]
        ticks = each.nanoseconds // 10 ** (9 - digits)
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks % 2**32, len(data), len(each.frame))
        out.append(block(6, head + data + bytes(-len(data) % 4)))
    return b"".join(out)


def conversation(
    client: str, server: str, *, client_port: int = 40000, port: int = 80, start: int,
    request: bytes = b"GET / HTTP/1.1\r\n\r\n", answer: bytes = b"x" * 1000,
) -> list[Captured]:  # fmt: skip
    """Make a connection with one request and its answer; the request's segment is sent twice."""
    isn, other = 4_000_000_000, 1000
    ask, back = isn + 1 + len(request), other + 1 + len(answer)
    steps = [
        (True, SYN, isn, 0, b"", OPENING),
        (False, SYN | ACK, other, isn + 1, b"", OPENING),
        (True, ACK, isn + 1, other + 1, b"", TIMESTAMPS),
        (True, PUSH | ACK, isn + 1, other + 1, request, TIMESTAMPS),
        (True, PUSH | ACK, isn + 1, other + 1, request, TIMESTAMPS),
        (False, ACK, other + 1, ask, b"", TIMESTAMPS),
        (False, PUSH | ACK, other + 1, ask, answer, TIMESTAMPS),
        (True, FIN | ACK, ask, back, b"", TIMESTAMPS),
        (False, FIN | ACK, back, ask + 1, b"", TIMESTAMPS),
        (True, ACK, ask + 1, back + 1, b"", TIMESTAMPS),
    ]
    found = []
    for number, (forth, flags, sequence, acknowledged, payload, options) in enumerate(steps):
        ends, ports = (
            ((client, server), (client_port, port)) if forth else ((server, client), (port, client_port))
        )
        segment = tcp(ports, flags, sequence, acknowledged, payload, options=options)
        packet = (0x86DD, ipv6(*ends, 6, segment)) if ":" in client else (0x0800, ipv4(*ends, 6, segment))
        frame = ethernet(*packet)
        found.append(Captured(frame, start + number * 250_000))
    return found


def everything(start: int = 1_700_000_000_123_456_000) -> list[Captured]:
    """Make some of each kind that a lab may see."""
    found = conversation("10.0.0.10", "10.0.0.20", port=3000, start=start)
    found += conversation("10.0.0.20", "10.0.0.30", port=5000, client_port=40001, start=start + 3_000_000)
    found += conversation("fd00::10", "fd00::20", port=8080, start=start + 6_000_000)
    datagram = udp(5000, 6000, b"y" * 2000)
    query = (
        struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0)
        + b"\x0fproduct-service\x03lab\0"
        + struct.pack("!HH", 1, 1)
    )
    refused = ipv4("10.0.0.40", "10.0.0.60", 6, tcp((40002, 5432), SYN, 5, options=OPENING))
    frames = [
        ethernet(0x0806, arp(1, "10.0.0.10", "10.0.0.20"), to=BROADCAST),
        ethernet(0x0806, arp(2, "10.0.0.20", "10.0.0.10")),
        ethernet(0x0800, ipv4("10.0.0.40", "10.0.0.70", 17, udp(40010, 53, query))),
        ethernet(0x0800, ipv4("10.0.0.40", "10.0.0.60", 17, udp(40011, 9999, b"hello"))),
        ethernet(0x0800, ipv4("10.0.0.10", "10.0.0.50", 1, icmp(8, 0, struct.pack("!HH", 1, 1) + bytes(56)))),
        ethernet(0x0800, ipv4("10.0.0.50", "10.0.0.10", 1, icmp(0, 0, struct.pack("!HH", 1, 1) + bytes(56)))),
        ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.40", 1, icmp(3, 3, bytes(4) + refused))),
        ethernet(0x0800, refused),
        ethernet(0x0800, ipv4("10.0.0.60", "10.0.0.40", 6, tcp((5432, 40002), RST | ACK, 0, 6, options=b""))),
        ethernet(0x0800, ipv4("10.0.0.40", "10.0.0.60", 17, datagram[:1480], more=True)),
        ethernet(0x0800, ipv4("10.0.0.40", "10.0.0.60", 17, datagram[1480:], offset=1480)),
        ethernet(0x0800, ipv4("10.0.0.10", "10.0.0.20", 17, udp(1, 2, b"tagged")), tags=(5,)),
        ethernet(0x0800, ipv4("10.0.0.10", "10.0.0.20", 47, bytes(4) + b"gre?")),
        ethernet(0x86DD, ipv6("fe80::1", "ff02::2", 58, icmp(133, 0, bytes(4)))),
        ethernet(0x86DD, ipv6("fe80::1", "ff02::1:3", 17, udp(5353, 5355, b"\0" * 30))),
        ethernet(0x88CC, b"\x02\x07\x04" + mac(1) + b"\x04\x03\x02e0\x06\x02\0\x78\0\0"),
    ]
    begin = start + 20_000_000
    return found + [Captured(frame, begin + number * 1_000_000) for number, frame in enumerate(frames)]
