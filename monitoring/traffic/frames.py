"""Positions of frames in the bytes of a capture, and functions that gather a field of all frames in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.traffic.packets import Integers, Truths

PADDING = 64  # zero bytes after the data, so that reading a header beyond a frame's end is safe

Bytes = NDArray[np.uint8]


def padded(data: bytes) -> Bytes:
    """Return bytes as an array, with zeros after them."""
    return np.frombuffer(data + bytes(PADDING), np.uint8)


def gathered(data: Bytes, at: Integers, width: int, order: str) -> Integers:
    """Gather an unsigned integer of `width` bytes for each position, in byte order "<" or ">"."""
    return np.asarray(_everywhere(data, f"{order}u{width}")[at], dtype=np.int64)


def gathered_rows(data: Bytes, at: Integers, columns: int, order: str) -> Integers:
    """Gather `columns` consecutive unsigned 32-bit integers for each position; row i has the i-th of each."""
    found = _everywhere(data, f"V{4 * columns}")[at]
    return found.view(f"{order}u4").reshape(-1, columns).T.astype(np.int64, order="C")


def _everywhere(data: Bytes, kind: str) -> NDArray[Any]:
    """Return a view of data as overlapping values of type `kind`, one at each byte."""
    return np.ndarray((len(data) - np.dtype(kind).itemsize + 1,), kind, data, 0, (1,))


def swapped(words: Integers) -> Integers:
    """Reverse the byte order of 32-bit numbers."""
    return np.asarray(words.astype(np.uint32).byteswap(), dtype=np.int64)


@dataclass(frozen=True)
class Frames:
    """Where frames lie in `data`, in the order of the capture, and what its records say of each."""

    data: Bytes
    at: Integers  # position of the first byte
    captured: Integers  # bytes in the capture
    size: Integers  # bytes on the wire
    time: Integers  # nanoseconds since 1970, or UNKNOWN
    link_type: Integers

    @property
    def end(self) -> Integers:
        """Return the position after each frame's last captured byte."""
        return self.at + self.captured

    def only(self, rows: Integers | Truths) -> Frames:
        """Return the frames of these rows."""
        columns = (self.at, self.captured, self.size, self.time, self.link_type)
        return Frames(self.data, *(column[rows] for column in columns))

    def byte(self, at: Integers) -> Integers:
        """Gather a byte for each position; beyond the data it is 0, the padding."""
        return self.data.take(at, mode="clip").astype(np.int64)

    def short(self, at: Integers) -> Integers:
        """Gather 16 bits in network byte order for each position."""
        return (self.byte(at) << 8) | self.byte(at + 1)

    def word(self, at: Integers) -> Integers:
        """Gather 32 bits in network byte order for each position."""
        return gathered(self.data, np.minimum(at, len(self.data) - 4), 4, ">")
