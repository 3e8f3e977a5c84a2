"""pcap: a file header, then a header before each frame, of 16 bytes or, in Kuznetsov's form, of 24.

Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html; other forms: libpcap's sf-pcap.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lab.unread import Unread
from monitoring.traffic import frames
from monitoring.traffic.frames import Bytes, DamagedError, Frames, gathered, gathered_rows, padded
from monitoring.traffic.packets import NANOSECONDS, UNKNOWN, Integers


@dataclass(frozen=True)
class Form:
    """The form of a pcap, by its first four bytes."""

    order: str  # byte order: "<" or ">"
    unit: int  # nanoseconds per unit of a second's fraction
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
MAX_FRAME = 1 << 20  # bytes; a longer frame means that the file is damaged
_LANES, _WINDOW = 512, 640  # parallel lanes; bytes that each lane searches for its first record
_MIN_BYTES = 1 << 19  # fewer bytes are read sooner record by record
_MAX_STEPS = 4096
_LINK_TYPE = 0x03FFFFFF  # the bits above give the length of the frame check sequence
_SWAPPED_VERSIONS = ((2, 0), (2, 1), (2, 2))  # these versions swap the two lengths of a frame


def read(pieces: Iterator[bytes], unread: Unread) -> Iterator[Frames]:
    """Yield the frames in pieces of a capture, the first of which has the whole file header."""
    first = next(pieces)
    form = Pcap(first[:FILE_HEADER])
    return frames.read(chain([first[FILE_HEADER:]], pieces), FILE_HEADER, form, unread)


class Pcap:
    """Reads the records of one file, whose file header is `header`."""

    def __init__(self, header: bytes) -> None:
        self._form = MAGICS[header[:4]]
        self.order = self._form.order
        self.link_type = struct.unpack_from(self.order + "I", header, 20)[0] & _LINK_TYPE
        self._swapped = struct.unpack_from(self.order + "HH", header, 4) in _SWAPPED_VERSIONS
        self.used = 0

    def frames(self, data: bytes) -> tuple[Frames, DamagedError | None]:
        """Return the frames of all whole records in the data, up to the damage if there is any."""
        view, damage = padded(data), None
        quickly = not self._swapped and positions(view, len(data), self.order, MAX_FRAME, self._form.header)
        if quickly:
            at, self.used = quickly
        else:
            found, damage = self._positions(data)
            at = np.array(found, np.int64)
        return self._frames_at(view, at), damage

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


def positions(view: Bytes, size: int, order: str, longest: int, header: int) -> tuple[Integers, int] | None:
    """Return the position of each whole record and the end of the last one, or None when the lanes do not join.

    The length in a record's header gives the position of the next record. To follow many records at once, each of many
    lanes guesses its first record: the first bytes that look like a header. Each lane must then end exactly where the
    next one began, and the last one where no whole record follows: so all lanes are one chain from the first byte on.
    """
    if size < _MIN_BYTES:
        return None
    starts = _starts(view, size, order, longest, header)
    ends = np.append(starts[1:], size)
    rows = []
    at = starts.copy()
    for _ in range(_MAX_STEPS):
        going = (at < ends) & (at + header <= size)
        length = np.where(going, gathered(view, np.where(going, at + 8, 0), 4, order), 0)
        if (length > longest).any():
            return None
        following = at + header + length
        taken = going & (following <= size)
        if not taken.any():
            break
        rows.append(np.where(taken, at, -1))
        at = np.where(taken, following, at)
    else:  # some lane has not reached its end
        return None
    if not rows or (at[:-1] != ends[:-1]).any():
        return None
    found = np.array(rows).T.ravel()
    return found[found >= 0], int(at[-1])


def _starts(view: Bytes, size: int, order: str, longest: int, header: int) -> Integers:
    """Return the start of each lane: 0, then the first place in its window that looks like a record's header."""
    nominal = np.arange(1, _LANES) * (size // _LANES)
    candidates = nominal[:, None] + np.arange(_WINDOW)
    day = slice(2, 4) if order == "<" else slice(0, 2)  # bytes of the seconds that change every 18 hours
    first, second = (int(byte) for byte in view[day])
    alike = (view[candidates + day.start] == first) & (view[candidates + day.start + 1] == second)
    lanes, offsets = np.nonzero(alike)
    at = nominal[lanes] + offsets
    captured, whole = (gathered(view, at + offset, 4, order) for offset in (8, 12))
    following = at + header + captured
    inside = (captured <= longest) & (captured <= whole) & (following + header < size)
    following = np.where(inside, following, 0)
    good = inside & (view[following + day.start] == first) & (view[following + day.start + 1] == second)
    _, earliest = np.unique(lanes[good], return_index=True)
    return np.concatenate(([0], at[good][earliest])).astype(np.int64)
