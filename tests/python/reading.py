"""What the tests of the readers of bytes have in common: packets in their order, small captures, blocks of pcapng."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import crafted
from crafted import Captured, ipv4, ipv6, udp
from test_traffic import analysed, tables_of

from lab.unread import Unread
from monitoring.traffic import source
from monitoring.traffic.packets import AddressBook, protocol_name

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"
Row = tuple[str, str, str, int, int]


def rows_of(data: bytes) -> list[Row]:
    """Give protocol, ends, time and payload of each packet, in the order they are given."""
    book, found = AddressBook(), []
    for batch in source.read(io.BytesIO(data), book, Unread()):
        columns = (batch.protocol, batch.source, batch.destination, batch.time, batch.payload)
        for protocol, sender, receiver, time, payload in zip(*(c.tolist() for c in columns), strict=True):
            names = (protocol_name(protocol), book.names[sender], book.names[receiver])
            found.append((*names, time, payload))
    return found


def protocols_of(data: bytes) -> dict[str, int]:
    return {str(name): int(str(count)) for name, count in tables_of(analysed(data))["protocol_distribution"]}


def unread_of(data: bytes) -> dict[str, int]:
    return dict(analysed(data).tally.unread.counts)


def one(frame: bytes, link: int = 1, order: str = "<") -> bytes:
    return crafted.pcap([Captured(frame, 10**18)], link=link, order=order)


PLAIN = ipv4("10.0.0.10", "10.0.0.20", 17, udp(1, 2, b"hello"))
PLAIN_6 = ipv6("fd00::1", "fd00::2", 17, udp(1, 2, b"hello"))


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def section(order: str, *links: int, options: bytes = b"") -> bytes:
    described = [block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options) for link in links]
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)) + b"".join(described)


def enhanced(order: str, interface: int, frame: bytes, ticks: int) -> bytes:
    head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks % 2**32, len(frame), len(frame))
    return block(order, 6, head + frame)


def simple(order: str, frame: bytes) -> bytes:
    return block(order, 3, struct.pack(order + "I", len(frame)) + frame)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
