"""pcapng: blocks of sections, interfaces and packets, each with its type and length.

Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from monitoring.traffic.frames import Bytes, DamagedError, Frames, gathered, padded, swapped
from monitoring.traffic.packets import NANOSECONDS, UNKNOWN, Integers
from monitoring.traffic.pcap import MAX_FRAME

MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_MIN_BLOCK, _MAX_BLOCK = 12, 16 << 20
_END_OF_OPTIONS, _TIME_RESOLUTION, _TIME_OFFSET = 0, 9, 14  # opt_endofopt, if_tsresol, if_tsoffset
_PACKET_HEADER, _SIMPLE_HEADER = 28, 12  # bytes before the frame
_MAX_INTERFACES = 1 << 16
_BINARY = 0x80  # of if_tsresol: the exponent is of 2, not of 10
_NANO, _MAX_DIGITS, _MAX_BITS = 9, 27, 62
_LATEST = (1 << 63) - 1  # nanoseconds since 1970: in the year 2262


@dataclass(frozen=True)
class Interface:
    """An interface that captured frames; a tick of its clock is 2^-`bits` seconds, or 10^-`digits` when `bits` is 0."""

    link_type: int
    longest: int  # bytes captured of a frame at most (snaplen)
    order: str  # of the bytes of its section
    digits: int = 6
    bits: int = 0
    offset: int = 0  # seconds to add

    @property
    def shift(self) -> int:
        """Return the offset in nanoseconds, clipped to 64 bits."""
        return max(-_LATEST, min(self.offset * NANOSECONDS, _LATEST))


def nanoseconds(digits: int, bits: int, ticks: Integers, shift: Integers) -> Integers:
    """Return the times of 64-bit ticks in nanoseconds since 1970; UNKNOWN before 1970 and after 2262."""
    fraction = np.zeros_like(ticks)
    if bits:
        spare = max(bits - 30, 0)
        part = (ticks & ((1 << bits) - 1)) >> spare
        whole, factor, fraction = ticks >> bits, NANOSECONDS, (part * NANOSECONDS) >> (bits - spare)
    elif digits <= _NANO:
        whole, factor = ticks, 10 ** (_NANO - digits)
    else:
        whole, factor = ticks // 10 ** min(digits - _NANO, 18), 1
    possible = (ticks >= 0) & (whole < _LATEST // factor)
    time = np.where(possible, whole, 0) * factor + fraction
    possible &= time <= _LATEST - np.maximum(shift, 0)
    time = np.where(possible, time, 0) + shift
    return np.where(possible & (time >= 0), time, UNKNOWN)


class Pcapng:
    """Reads the blocks of one stream."""

    def __init__(self) -> None:
        self.order = "<"
        self.used = 0
        self._interfaces: list[Interface] = []  # of all sections in the data at hand
        self._section = 0  # index of the current section's first interface
        self._found: list[tuple[int, int, bool]] = []  # packets: interface, position, whether it has no time

    def frames(self, data: bytes) -> tuple[Frames, DamagedError | None]:
        """Return the frames of all whole blocks in the data, up to the damage if there is any."""
        self.used = 0
        del self._interfaces[: self._section]
        self._section = 0
        self._found, damage = [], None
        try:
            while (block := self._block(data)) is not None:
                self._take(data, *block)
                self.used += block[1]
        except DamagedError as error:
            damage = error
        return self._frames(padded(data)), damage

    def _block(self, data: bytes) -> tuple[int, int] | None:
        """Return type and length of the next block, None when it is not complete yet. Raises DamagedError."""
        at = self.used
        if len(data) - at < _MIN_BLOCK:
            return None
        if data[at : at + 4] == MAGIC:
            order = _BYTE_ORDERS.get(data[at + 8 : at + 12])
            if order is None:
                raise DamagedError("a section without a byte order", at)
            self.order = order
        kind, length = struct.unpack_from(self.order + "II", data, at)
        if length < _MIN_BLOCK or length % 4 or length > _MAX_BLOCK:
            raise DamagedError(f"a block of {length} bytes", at)
        return (kind, length) if at + length <= len(data) else None

    def _take(self, data: bytes, kind: int, length: int) -> None:
        at = self.used
        if kind in (_PACKET, _OLD_PACKET) and length >= _PACKET_HEADER + 4:
            interface, _, _, captured = struct.unpack_from(self.order + "IIII", data, at + 8)
            if kind == _OLD_PACKET:
                interface = struct.unpack_from(self.order + "H", data, at + 8)[0]
            if captured > min(length - _PACKET_HEADER - 4, MAX_FRAME):
                raise DamagedError(f"a frame of {captured} bytes in {length - _PACKET_HEADER - 4}", at)
            self._found.append((self._owner(interface, at), at, False))
        elif kind == _SIMPLE_PACKET and length >= _SIMPLE_HEADER + 4:
            self._found.append((self._owner(0, at), at, True))
        elif kind == _INTERFACE and length >= 20:  # noqa: PLR2004 - its fixed part
            if len(self._interfaces) - self._section >= _MAX_INTERFACES:
                raise DamagedError(f"more than {_MAX_INTERFACES} interfaces", at)
            self._interfaces.append(self._interface(data[at + 8 : at + length - 4]))
        elif kind == _SECTION:
            self._section = len(self._interfaces)

    def _owner(self, interface: int, at: int) -> int:
        if self._section + interface >= len(self._interfaces):
            raise DamagedError(f"a packet of interface {interface}, which was not described", at)
        return self._section + interface

    def _interface(self, body: bytes) -> Interface:
        link_type, longest = struct.unpack_from(self.order + "HxxI", body)
        options = dict(self._options(body[8:]))
        resolution = options.get(_TIME_RESOLUTION, b"\x06")[0]
        offset = options.get(_TIME_OFFSET, bytes(8))
        seconds = struct.unpack(self.order + "q", offset)[0] if len(offset) == 8 else 0  # noqa: PLR2004 - 64 bits
        is_binary, number = resolution & _BINARY, resolution & 0x7F
        digits, bits = (0, min(number, _MAX_BITS)) if is_binary else (min(number, _MAX_DIGITS), 0)
        return Interface(link_type, longest or MAX_FRAME, self.order, digits, bits, seconds)

    def _options(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self.order + "HH", body, at)
            if code == _END_OF_OPTIONS:
                return
            if value := body[at + 4 : at + 4 + length]:
                yield code, value
            at += 4 + (length + 3) // 4 * 4

    def _frames(self, view: Bytes) -> Frames:
        owners, at, simple = np.array(self._found, np.int64).reshape(-1, 3).T
        simple = simple == 1
        numbers, owner = np.unique(owners, return_inverse=True)
        interfaces = [self._interfaces[number] for number in numbers.tolist()]

        def of_interfaces(value: Callable[[Interface], int]) -> Integers:
            return np.array([value(interface) for interface in interfaces], np.int64)[owner]

        is_swapped = of_interfaces(lambda interface: interface.order == ">") == 1

        def word(offset: int) -> Integers:
            value = gathered(view, at + offset, 4, "<")
            return np.where(is_swapped, swapped(value), value) if is_swapped.any() else value

        room = word(4) - _SIMPLE_HEADER - 4
        size = np.where(simple, word(8), word(24))
        longest = of_interfaces(lambda interface: interface.longest)
        captured = np.where(simple, np.minimum(np.minimum(size, room), longest), word(20))
        time = _times(of_interfaces, (word(12) << 32) | word(16))
        time[simple] = UNKNOWN
        header = np.where(simple, _SIMPLE_HEADER, _PACKET_HEADER)
        return Frames(
            view, at + header, captured, size, time, of_interfaces(lambda interface: interface.link_type)
        )


def _times(of_interfaces: Callable[[Callable[[Interface], int]], Integers], ticks: Integers) -> Integers:
    """Return the times of ticks, computed together for interfaces with the same clock."""
    clock = of_interfaces(lambda interface: interface.digits << 8 | interface.bits)
    shift = of_interfaces(lambda interface: interface.shift)
    time = np.empty_like(ticks)
    for digits, bits in (divmod(number, 256) for number in np.unique(clock).tolist()):
        rows = np.flatnonzero(clock == digits << 8 | bits)
        time[rows] = nanoseconds(digits, bits, ticks[rows], shift[rows])
    return time
