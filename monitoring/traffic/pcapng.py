"""pcapng: blocks, each with its type and length; sections, interfaces, packets.

Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from monitoring.traffic.frames import Frames, gathered, padded
from monitoring.traffic.packets import UNKNOWN, Integers
from monitoring.traffic.pcap import LONGEST_FRAME, NANOSECONDS
from monitoring.traffic.records import Damaged

MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SHORTEST_BLOCK, _LONGEST_BLOCK = 12, 16 << 20
_END_OF_OPTIONS, _TIME_RESOLUTION, _TIME_OFFSET = 0, 9, 14
_PACKET_HEADER, _SIMPLE_HEADER = 28, 12  # bytes before the frame
_BINARY = 0x80
_NANO = 9


@dataclass(frozen=True)
class Interface:
    """Where frames were taken; a tick of its clock is 10^-`digits` or 2^-`bits` seconds."""

    link_type: int
    longest: int  # bytes taken of a frame, 0: all
    digits: int = 6
    bits: int = 0
    offset: int = 0  # seconds to add

    def nanoseconds(self, high: Integers, low: Integers) -> Integers:
        """Give times for its ticks, of which there are 64 bits; UNKNOWN for such as cannot be."""
        ticks = ((high & 0x7FFFFFFF) << 32) | low
        if self.bits:
            part = ticks & ((1 << self.bits) - 1)
            spare = max(self.bits - 30, 0)
            fraction = ((part >> spare) * NANOSECONDS) >> (self.bits - spare)
            time = (ticks >> self.bits) * NANOSECONDS + fraction
        elif self.digits <= _NANO:
            time = ticks * 10 ** (_NANO - self.digits)
        else:
            time = ticks // 10 ** (self.digits - _NANO)
        time = time + self.offset * NANOSECONDS
        return np.where((high >> 31 == 0) & (time >= 0), time, UNKNOWN)


@dataclass
class _Found:
    """Blocks of packets that wait to be read together."""

    interfaces: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    simple: list[int] = field(default_factory=list)


class Pcapng:
    """The blocks of one stream."""

    def __init__(self) -> None:
        self.order = "<"
        self.used = 0
        self._interfaces: list[Interface] = []

    def frames(self, data: bytes) -> Iterator[Frames]:
        """Give the frames of all whole blocks."""
        self.used = 0
        found = _Found()
        view = padded(data)
        try:
            while (block := self._block(data)) is not None:
                kind, length = block
                if kind == _SECTION:
                    yield from self._give(view, found)
                    found = _Found()
                    self._interfaces = []
                else:
                    self._take(data, kind, length, found)
                self.used += length
        except Damaged:
            yield from self._give(view, found)
            raise
        yield from self._give(view, found)

    def _block(self, data: bytes) -> tuple[int, int] | None:
        """Give type and length of the next block, None when it is not there wholly."""
        at = self.used
        if len(data) - at < _SHORTEST_BLOCK:
            return None
        if data[at : at + 4] == MAGIC:
            order = _BYTE_ORDERS.get(data[at + 8 : at + 12])
            if order is None:
                raise Damaged("a section without a byte order", at)
            self.order = order
        kind, length = struct.unpack_from(self.order + "II", data, at)
        if length < _SHORTEST_BLOCK or length % 4 or length > _LONGEST_BLOCK:
            raise Damaged(f"a block of {length} bytes", at)
        return (kind, length) if at + length <= len(data) else None

    def _take(self, data: bytes, kind: int, length: int, found: _Found) -> None:
        at = self.used
        if kind == _INTERFACE and length >= 20:  # noqa: PLR2004 - its fixed part
            self._interfaces.append(self._interface(data[at + 8 : at + length - 4]))
        elif kind in (_PACKET, _OLD_PACKET) and length >= _PACKET_HEADER + 4:
            form = "I" if kind == _PACKET else "H"
            interface = struct.unpack_from(self.order + form, data, at + 8)[0]
            captured = struct.unpack_from(self.order + "I", data, at + 20)[0]
            self._check(interface, captured, length - _PACKET_HEADER - 4, at)
            found.interfaces.append(interface)
            found.at.append(at)
        elif kind == _SIMPLE_PACKET and length >= _SIMPLE_HEADER + 4:
            self._check(0, 0, 0, at)
            found.simple.append(at)

    def _check(self, interface: int, captured: int, room: int, at: int) -> None:
        if interface >= len(self._interfaces):
            raise Damaged(f"a packet of interface {interface}, which was not described", at)
        if captured > min(room, LONGEST_FRAME):
            raise Damaged(f"a frame of {captured} bytes in {room}", at)

    def _interface(self, body: bytes) -> Interface:
        link_type, longest = struct.unpack_from(self.order + "HxxI", body)
        options = dict(self._options(body[8:]))
        resolution = options.get(_TIME_RESOLUTION, b"\x06")[0]
        offset = options.get(_TIME_OFFSET, bytes(8))
        seconds = struct.unpack(self.order + "q", offset)[0] if len(offset) == 8 else 0  # noqa: PLR2004 - 64 bits
        if resolution & _BINARY:
            return Interface(link_type, longest, bits=min(resolution & 0x7F, 62), offset=seconds)
        return Interface(link_type, longest, digits=min(resolution, 27), offset=seconds)

    def _options(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self.order + "HH", body, at)
            if code == _END_OF_OPTIONS:
                return
            if value := body[at + 4 : at + 4 + length]:
                yield code, value
            at += 4 + (length + 3) // 4 * 4

    def _give(self, view: np.ndarray[tuple[int], np.dtype[np.uint8]], found: _Found) -> Iterator[Frames]:
        """Read the packets found, those of one interface at a time."""
        owners, at = np.array(found.interfaces, np.int64), np.array(found.at, np.int64)
        for number in np.unique(owners):
            interface, here = self._interfaces[number], at[owners == number]
            high, low, captured, size = (
                gathered(view, here + offset, 4, self.order) for offset in (12, 16, 20, 24)
            )
            time = interface.nanoseconds(high, low)
            yield Frames(view, here + _PACKET_HEADER, captured, size, time, interface.link_type)
        if found.simple:
            yield self._simple(view, np.array(found.simple, np.int64))

    def _simple(self, view: np.ndarray[tuple[int], np.dtype[np.uint8]], at: Integers) -> Frames:
        interface = self._interfaces[0]
        room = gathered(view, at + 4, 4, self.order) - _SIMPLE_HEADER - 4
        size = gathered(view, at + 8, 4, self.order)
        captured = np.minimum(np.minimum(size, room), interface.longest or LONGEST_FRAME)
        unknown = np.full(len(at), UNKNOWN, np.int64)
        return Frames(view, at + _SIMPLE_HEADER, captured, size, unknown, interface.link_type)
