"""pcapng: blocks of sections, interfaces and packets, each with its type and length.

Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from monitoring.traffic.frames import DamagedError, Frames, padded
from monitoring.traffic.packets import NANOSECONDS, UNKNOWN
from monitoring.traffic.pcap import MAX_FRAME

MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_MIN_BLOCK, _MAX_BLOCK = 12, 16 << 20
_END_OF_OPTIONS, _TIME_RESOLUTION, _TIME_OFFSET = 0, 9, 14  # opt_endofopt, if_tsresol, if_tsoffset
_PACKET_HEADER, _SIMPLE_HEADER = 28, 12  # bytes before the frame
_MAX_INTERFACES = 1 << 16
_BINARY = 0x80  # bit of if_tsresol: the base is 2, not 10
_LATEST = (1 << 63) - 1  # nanoseconds since 1970: in the year 2262


@dataclass(frozen=True)
class Interface:
    """An interface that captured frames."""

    link_type: int
    longest: int  # bytes captured of a frame at most (snaplen)
    ticks: int  # clock ticks per second
    offset: int  # seconds to add

    def nanoseconds(self, ticks: int) -> int:
        """Return the nanoseconds since 1970 of a time of the clock; UNKNOWN before 1970 and after 2262."""
        time = ticks * NANOSECONDS // self.ticks + self.offset * NANOSECONDS
        return time if 0 <= time <= _LATEST else UNKNOWN


class Pcapng:
    """Reads the blocks of one stream."""

    def __init__(self) -> None:
        self.used = 0
        self._set_order("<")
        self._interfaces: list[Interface] = []  # interfaces of the current section

    def _set_order(self, order: str) -> None:
        self._order = order
        self._header, self._packet = struct.Struct(f"{order}II"), struct.Struct(f"{order}IIIII")

    def frames(self, data: bytes) -> tuple[Frames, DamagedError | None]:
        """Return the frames of all whole blocks in the data, up to the damage if there is any."""
        packets, damage = [], None
        try:
            for kind, at, length in self._blocks(data):
                if kind in (_PACKET, _OLD_PACKET) and length >= _PACKET_HEADER + 4:
                    packets.append(self._read_packet(data, kind, at, length - _PACKET_HEADER - 4))
                elif kind == _SIMPLE_PACKET and length >= _SIMPLE_HEADER + 4:
                    packets.append(self._read_simple_packet(data, at, length - _SIMPLE_HEADER - 4))
                elif kind == _INTERFACE and length >= 20:  # noqa: PLR2004 - its fixed part
                    if len(self._interfaces) >= _MAX_INTERFACES:
                        raise DamagedError(f"more than {_MAX_INTERFACES} interfaces", at)
                    self._interfaces.append(self._read_interface(data[at + 8 : at + length - 4]))
                elif kind == _SECTION:
                    self._interfaces.clear()
        except DamagedError as error:
            damage = error
        fields = np.array(packets, np.int64).reshape(-1, 5).T.copy()
        return Frames(padded(data), *fields), damage

    def _blocks(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield type, position and length of each whole block. Raises DamagedError."""
        at = self.used = 0
        while at + _MIN_BLOCK <= len(data):
            if data[at : at + 4] == MAGIC:
                order = _BYTE_ORDERS.get(data[at + 8 : at + 12])
                if order is None:
                    raise DamagedError("a section without a byte order", at)
                self._set_order(order)
            kind, length = self._header.unpack_from(data, at)
            if length < _MIN_BLOCK or length % 4 or length > _MAX_BLOCK:
                raise DamagedError(f"a block of {length} bytes", at)
            if at + length > len(data):
                return
            yield kind, at, length
            at = self.used = at + length

    def _read_packet(self, data: bytes, kind: int, at: int, room: int) -> tuple[int, ...]:
        """Return the fields of Frames; `room` is the size of the block without its fields."""
        number, high, low, captured, size = self._packet.unpack_from(data, at + 8)
        if kind == _OLD_PACKET:
            number = struct.unpack_from(self._order + "H", data, at + 8)[0]
        if captured > min(room, MAX_FRAME):
            raise DamagedError(f"a frame of {captured} bytes in a block with room for {room}", at)
        interface = self._interface(number, at)
        return (
            at + _PACKET_HEADER,
            captured,
            size,
            interface.nanoseconds(high << 32 | low),
            interface.link_type,
        )

    def _read_simple_packet(self, data: bytes, at: int, room: int) -> tuple[int, ...]:
        interface, size = self._interface(0, at), struct.unpack_from(self._order + "I", data, at + 8)[0]
        return at + _SIMPLE_HEADER, min(size, room, interface.longest), size, UNKNOWN, interface.link_type

    def _interface(self, number: int, at: int) -> Interface:
        if number >= len(self._interfaces):
            raise DamagedError(f"a packet of interface {number}, which was not described", at)
        return self._interfaces[number]

    def _read_interface(self, body: bytes) -> Interface:
        link_type, longest = struct.unpack_from(self._order + "HxxI", body)
        options = dict(self._options(body[8:]))
        resolution = options.get(_TIME_RESOLUTION, b"\x06")[0]
        ticks = (2 if resolution & _BINARY else 10) ** (resolution & ~_BINARY)
        offset = options.get(_TIME_OFFSET, bytes(8))
        seconds = struct.unpack(self._order + "q", offset)[0] if len(offset) == 8 else 0  # noqa: PLR2004 - 64 bits
        return Interface(link_type, longest or MAX_FRAME, ticks, seconds)

    def _options(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            if code == _END_OF_OPTIONS:
                return
            if value := body[at + 4 : at + 4 + length]:
                yield code, value
            at += 4 + (length + 3) // 4 * 4
