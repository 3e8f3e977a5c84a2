"""Where frames lie in the bytes of a capture, and their fields: each is gathered for all frames in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.traffic.packets import Integers, Truths

PADDING = 64  # zero bytes that must follow the data, so that looking ahead is safe

Bytes = NDArray[np.uint8]


def padded(data: bytes) -> Bytes:
    """See bytes as an array, with zeros behind them."""
    return np.frombuffer(data + bytes(PADDING), np.uint8)


def gathered(data: Bytes, at: Integers, width: int, order: str) -> Integers:
    """Gather an unsigned integer of `width` bytes for each position, in byte order "<" or ">"."""
    return np.asarray(_everywhere(data, f"{order}u{width}")[at], dtype=np.int64)


def gathered_rows(data: Bytes, at: Integers, columns: int, order: str) -> Integers:
    """Gather so many unsigned integers of 32 bits that follow each other, a row of the result for each of them."""
    found = _everywhere(data, f"V{4 * columns}")[at]
    return found.view(f"{order}u4").reshape(-1, columns).T.astype(np.int64, order="C")


def _everywhere(data: Bytes, kind: str) -> NDArray[Any]:
    """See data as values of some type that begin at each byte."""
    return np.ndarray((len(data) - np.dtype(kind).itemsize + 1,), kind, data, 0, (1,))


def swapped(words: Integers) -> Integers:
    """Turn the bytes of numbers of 32 bits round."""
    return np.asarray(words.astype(np.uint32).byteswap(), dtype=np.int64)


@dataclass(frozen=True)
class Frames:
    """Where frames lie in `data`, in the order of the capture, and what the capture says of each."""

    data: Bytes
    at: Integers
    captured: Integers  # bytes that are there
    size: Integers  # bytes that there were
    time: Integers
    link_type: Integers

    @property
    def end(self) -> Integers:
        """Give the position after each frame's last byte."""
        return self.at + self.captured

    def only(self, rows: Integers | Truths) -> Frames:
        """Give some of them."""
        columns = (self.at, self.captured, self.size, self.time, self.link_type)
        return Frames(self.data, *(column[rows] for column in columns))

    def byte(self, at: Integers) -> Integers:
        """Gather a byte for each position; positions beyond the data give what is last in it: padding."""
        return self.data.take(at, mode="clip").astype(np.int64)

    def short(self, at: Integers) -> Integers:
        """Gather 16 bits in network order."""
        return (self.byte(at) << 8) | self.byte(at + 1)

    def word(self, at: Integers) -> Integers:
        """Gather 32 bits in network order."""
        return gathered(self.data, np.minimum(at, len(self.data) - 4), 4, ">")
