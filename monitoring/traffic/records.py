"""Reads a stream of records of any format in blocks; an incomplete record at the end of a block begins the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from lab.unread import Unread
from monitoring.traffic.frames import Frames

BLOCK_BYTES = 4 << 20  # read at once


class Stream(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


class Damaged(Exception):
    """A record is damaged, and so where the next begins is unknown; `at` is its position in the data."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.at = at


class Format(Protocol):
    """A format of records."""

    def frames(self, data: bytes) -> Iterator[Frames]:
        """Yield the frames of all whole records in the data. Raises Damaged after those before the damage."""

    @property
    def used(self) -> int:
        """Return the number of bytes of the whole records in the last data."""


def read(stream: Stream, head: bytes, position: int, records: Format, unread: Unread) -> Iterator[Frames]:
    """Yield the frames of a stream; `head` was read from it already, and begins at byte `position`."""
    data = head
    while (block := stream.read(BLOCK_BYTES)) or head:
        data, head = data + block, b""
        try:
            for frames in records.frames(data):
                yield _possible(frames, position, unread)
        except Damaged as damage:
            unread.note(f"damaged from some byte on: {damage}", f"byte {position + damage.at}")
            return
        position += records.used
        data = data[records.used :]
    unread.note("the capture ends in the middle of a record", f"byte {position}", len(data) > 0)


def _possible(frames: Frames, position: int, unread: Unread) -> Frames:
    """Mend the sizes of frames of which more is there than there was; the data begin at a position of the stream."""
    wrong = np.flatnonzero(frames.size < frames.captured)
    if not len(wrong):
        return frames
    where = f"byte {position + int(frames.at[wrong[0]])}"
    unread.note("original length below the captured", where, len(wrong))
    return replace(frames, size=np.maximum(frames.size, frames.captured))


def exactly(stream: Stream, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end."""
    data = stream.read(size)
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
