"""pcap: a file header, then a header of 16 bytes before each frame.

Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from monitoring.traffic import lanes
from monitoring.traffic.frames import Bytes, Frames, gathered, padded
from monitoring.traffic.packets import Integers
from monitoring.traffic.records import Damaged

MAGICS = {  # the byte order, and nanoseconds a unit of the fractions of seconds
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
FILE_HEADER = 24
LONGEST_FRAME = 1 << 20  # bytes; no interface has longer ones
NANOSECONDS = 1_000_000_000
_RECORD_HEADER = 16
_LINK_TYPE = 0x0FFFFFFF


class Pcap:
    """The records of one file, known by its header."""

    def __init__(self, header: bytes) -> None:
        self.order, self.unit = MAGICS[header[:4]]
        self.link_type = struct.unpack_from(self.order + "I", header, 20)[0] & _LINK_TYPE
        self.used = 0

    def frames(self, data: bytes) -> Iterator[Frames]:
        """Give the frames of all whole records, at once."""
        view, damage = padded(data), None
        quickly = lanes.positions(view, len(data), self.order, LONGEST_FRAME)
        if quickly:
            at, self.used = quickly
        else:
            found, damage = self._positions(data)
            at = np.array(found, np.int64)
        yield self._frames_at(view, at)
        if damage:
            raise damage

    def _positions(self, data: bytes) -> tuple[list[int], Damaged | None]:
        captured_length = struct.Struct(self.order + "I").unpack_from
        found: list[int] = []
        at, last = 0, len(data) - _RECORD_HEADER
        end = len(data)
        damage = None
        while at <= last:
            captured = captured_length(data, at + 8)[0]
            if captured > LONGEST_FRAME:
                damage = Damaged(f"a frame of {captured} bytes", at)
                break
            following = at + _RECORD_HEADER + captured
            if following > end:
                break
            found.append(at)
            at = following
        self.used = at
        return found, damage

    def _frames_at(self, view: Bytes, at: Integers) -> Frames:
        seconds, fraction, captured, size = (
            gathered(view, at + offset, 4, self.order) for offset in range(0, _RECORD_HEADER, 4)
        )
        time = seconds * NANOSECONDS + fraction * self.unit
        return Frames(view, at + _RECORD_HEADER, captured, size, time, self.link_type)
