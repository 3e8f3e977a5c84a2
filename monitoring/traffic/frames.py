"""Where frames lie in the bytes of a capture, and their fields: each is gathered for all frames in one step."""

from __future__ import annotations

from dataclasses import dataclass

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
    value = np.zeros(len(at), np.int64)
    for index in range(width):
        shift = 8 * (index if order == "<" else width - 1 - index)
        value |= data[at + index].astype(np.int64) << shift
    return value


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
        return np.asarray(self.data[np.minimum(at, len(self.data) - 1)], dtype=np.int64)

    def short(self, at: Integers) -> Integers:
        """Gather 16 bits in network order."""
        return (self.byte(at) << 8) | self.byte(at + 1)

    def word(self, at: Integers) -> Integers:
        """Gather 32 bits in network order."""
        return (self.short(at) << 16) | self.short(at + 2)
