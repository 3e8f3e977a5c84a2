"""What went over the bridges in the last ten minutes, by second and by pair of addresses."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from monitoring.traffic.packets import ACK, NANOSECONDS, RST, SYN, TCP, UNKNOWN, AddressBook, Packets

KEPT_SECONDS = 600
_MAX_PAIRS = 2000  # in a second; a scan of addresses fills no memory
_BITS = 16
_PAIR = (1 << 2 * _BITS) - 1


@dataclass
class Count:
    """What one sent to another in some time."""

    packets: int = 0
    bytes: int = 0
    opened: int = 0  # connections asked for
    resets: int = 0

    def add(self, other: Count) -> None:
        """Count another's too."""
        self.packets += other.packets
        self.bytes += other.bytes
        self.opened += other.opened
        self.resets += other.resets


class Window:
    """Counts by second; written by the readers of captures, read by the page."""

    def __init__(self, book: AddressBook) -> None:
        self._book, self._lock = book, threading.Lock()
        self._seconds: dict[int, dict[int, Count]] = {}

    def add(self, batch: Packets) -> None:
        """Count a batch."""
        rows = np.flatnonzero(batch.addressed & (batch.time != UNKNOWN))
        if not len(rows):
            return
        pairs = (batch.source[rows] << _BITS) | batch.destination[rows]
        keys, inverse = np.unique((batch.time[rows] // NANOSECONDS << 2 * _BITS) | pairs, return_inverse=True)
        flags = np.where(batch.protocol[rows] == TCP, batch.flags[rows], 0)
        columns = (np.ones(len(rows)), batch.size[rows], flags & (SYN | ACK) == SYN, flags & RST != 0)
        sums = [np.bincount(inverse, column, len(keys)).astype(int).tolist() for column in columns]
        with self._lock:
            for index, key in enumerate(keys.tolist()):
                second = self._seconds.setdefault(key >> 2 * _BITS, {})
                if key & _PAIR in second or len(second) < _MAX_PAIRS:
                    count = Count(*(column[index] for column in sums))
                    second.setdefault(key & _PAIR, Count()).add(count)
            newest = max(self._seconds)
            for old in [second for second in self._seconds if second < newest - KEPT_SECONDS]:
                del self._seconds[old]

    def pairs(self, begin: int, end: int) -> dict[tuple[str, str], Count]:
        """Sum the seconds from `begin` up to `end`, by addresses."""
        found: defaultdict[int, Count] = defaultdict(Count)
        with self._lock:
            for _, counts in self._between(begin, end):
                for key, count in counts.items():
                    found[key].add(count)
            names = self._book.names
            return {
                (names[key >> _BITS], names[key & AddressBook.MAX]): count for key, count in found.items()
            }

    def by_second(self, begin: int, end: int) -> dict[int, dict[tuple[str, str], int]]:
        """Return the packets of each second, by addresses."""
        with self._lock:
            names = self._book.names
            return {
                second: {
                    (names[key >> _BITS], names[key & AddressBook.MAX]): count.packets
                    for key, count in counts.items()
                }
                for second, counts in self._between(begin, end)
            }

    def _between(self, begin: int, end: int) -> Iterator[tuple[int, dict[int, Count]]]:
        return ((second, counts) for second, counts in self._seconds.items() if begin <= second < end)
