"""pcap: a file header, then a header before each frame, of 16 bytes or, in Kuznetsov's form, of 24.

Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html; other forms: libpcap's sf-pcap.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from monitoring.traffic import lanes
from monitoring.traffic.frames import Bytes, Frames, gathered_rows, padded
from monitoring.traffic.packets import NANOSECONDS, UNKNOWN, Integers
from monitoring.traffic.records import DamagedError


@dataclass(frozen=True)
class Form:
    """The form of a pcap, as its first four bytes tell."""

    order: str  # of bytes: "<" or ">"
    unit: int  # nanoseconds of one unit in which fractions of a second are counted
    header: int = 16  # bytes before each frame


MAGICS = {
    b"\xd4\xc3\xb2\xa1": Form("<", 1000),
    b"\xa1\xb2\xc3\xd4": Form(">", 1000),
    b"\x4d\x3c\xb2\xa1": Form("<", 1),
    b"\xa1\xb2\x3c\x4d": Form(">", 1),
    b"\x34\xcd\xb2\xa1": Form("<", 1000, 24),
    b"\xa1\xb2\xcd\x34": Form(">", 1000, 24),
}
FILE_HEADER = 24
MAX_FRAME = 1 << 20  # bytes; a longer one is damage
_LINK_TYPE = 0x03FFFFFF  # the bits above give the length of the frame check sequence
_SWAPPED_VERSIONS = ((2, 0), (2, 1), (2, 2))  # which have the size of a frame before its captured length


class Pcap:
    """Reads the records of one file, whose file header is `header`."""

    def __init__(self, header: bytes) -> None:
        self._form = MAGICS[header[:4]]
        self.order = self._form.order
        self.link_type = struct.unpack_from(self.order + "I", header, 20)[0] & _LINK_TYPE
        self._swapped = struct.unpack_from(self.order + "HH", header, 4) in _SWAPPED_VERSIONS
        self.used = 0

    def frames(self, data: bytes) -> Iterator[Frames]:
        """Yield the frames of all whole records, at once. Raises DamagedError after those before the damage."""
        view, damage = padded(data), None
        header = self._form.header
        quickly = not self._swapped and lanes.positions(view, len(data), self.order, MAX_FRAME, header)
        if quickly:
            at, self.used = quickly
        else:
            found, damage = self._positions(data)
            at = np.array(found, np.int64)
        yield self._frames_at(view, at)
        if damage:
            raise damage

    def _positions(self, data: bytes) -> tuple[list[int], DamagedError | None]:
        captured_length = struct.Struct(self.order + "I").unpack_from
        header, place = self._form.header, 12 if self._swapped else 8
        found: list[int] = []
        at, last = 0, len(data) - header
        end = len(data)
        damage = None
        while at <= last:
            captured = captured_length(data, at + place)[0]
            if captured > MAX_FRAME:
                damage = DamagedError(f"a frame of {captured} bytes", at)
                break
            following = at + header + captured
            if following > end:
                break
            found.append(at)
            at = following
        self.used = at
        return found, damage

    def _frames_at(self, view: Bytes, at: Integers) -> Frames:
        seconds, fraction, captured, size = gathered_rows(view, at, 4, self.order)
        if self._swapped:
            captured, size = size, captured
        fraction *= self._form.unit
        time = np.where(fraction < NANOSECONDS, seconds * NANOSECONDS + fraction, UNKNOWN)
        link_type = np.full(len(at), self.link_type, np.int64)
        return Frames(view, at + self._form.header, captured, size, time, link_type)
