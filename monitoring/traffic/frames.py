"""Frames in the bytes of a capture: read in blocks of whole records, each field gathered for all frames in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lab.unread import Unread
from monitoring.traffic.packets import Integers, Truths

BLOCK_BYTES = 4 << 20  # bytes per read
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
    """Positions of frames in `data`, in the order of the capture, and the fields of their records."""

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


class DamagedError(Exception):
    """A record is damaged, and so where the next begins is unknown; `at` is its position in the data."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.at = at


class Format(Protocol):
    """A format of records."""

    def frames(self, data: bytes) -> tuple[Frames, DamagedError | None]:
        """Return the frames of all whole records in the data, up to the damage if there is any."""

    @property
    def used(self) -> int:
        """Return the number of bytes of the whole records in the last data."""


def read(pieces: Iterable[bytes], position: int, form: Format, unread: Unread) -> Iterator[Frames]:
    """Yield the frames in pieces of a capture; the first piece begins at byte `position` of the capture."""
    data = b""
    for piece in pieces:
        data += piece
        frames, damage = form.frames(data)
        yield _possible(frames, position, unread)
        if damage:
            unread.note(f"damaged from some byte on: {damage}", f"byte {position + damage.at}")
            return
        position += form.used
        data = data[form.used :]
    unread.note("the capture ends in the middle of a record", f"byte {position}", len(data) > 0)


def _possible(frames: Frames, position: int, unread: Unread) -> Frames:
    """Correct sizes below the captured length; `position` is where the data begin in the stream."""
    wrong = np.flatnonzero(frames.size < frames.captured)
    if not len(wrong):
        return frames
    where = f"byte {position + int(frames.at[wrong[0]])}"
    unread.note("original length below the captured", where, len(wrong))
    return replace(frames, size=np.maximum(frames.size, frames.captured))


def first_bytes(pieces: Iterator[bytes], size: int) -> bytes:
    """Take the first pieces and join them to at least `size` bytes, fewer only at the end."""
    data = b""
    while len(data) < size and (more := next(pieces, b"")):
        data += more
    return data
