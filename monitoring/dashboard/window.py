"""Counts of the last ten minutes by second: the watchers write them, the page reads them."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from monitoring.traffic.packets import ACK, NANOSECONDS, RST, SYN, TCP, UNKNOWN, AddressBook, Packets

KEPT_SECONDS = 600
_MAX_KEYS = 2000  # keys per second: an address scan must not exhaust memory
_BITS = 16
Pair = tuple[str, str]  # addresses of source and destination
Key = TypeVar("Key")


class Seconds(Generic[Key]):
    """Counts by second and key; one thread writes, others read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, Counter[Key]] = {}

    def add(self, second: int, counts: Mapping[Key, int]) -> None:
        """Add to the counts of a second, and remove seconds older than the window."""
        with self._lock:
            known = self._counts.setdefault(second, Counter())
            for key, count in counts.items():
                if key in known or len(known) < _MAX_KEYS:
                    known[key] += count
            newest = max(self._counts)
            for old in [at for at in self._counts if at < newest - KEPT_SECONDS]:
                del self._counts[old]

    def by_second(self, begin: int, end: int) -> dict[int, Counter[Key]]:
        """Return the counts of the seconds from `begin` up to `end`."""
        with self._lock:
            return {at: Counter(counts) for at, counts in self._counts.items() if begin <= at < end}

    def between(self, begin: int, end: int) -> Counter[Key]:
        """Sum the seconds from `begin` up to `end`."""
        sums: Counter[Key] = Counter()
        for counts in self.by_second(begin, end).values():
            sums.update(counts)
        return sums


class Window:
    """Packets, bytes and new connections of each pair of addresses on the lab's links."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book
        self.packets, self.bytes, self.opened = Seconds[Pair](), Seconds[Pair](), Seconds[Pair]()

    def add(self, batch: Packets) -> None:
        """Count a batch."""
        rows = np.flatnonzero(batch.addressed & (batch.time != UNKNOWN))
        if not len(rows):
            return
        pairs = (batch.source[rows] << _BITS) | batch.destination[rows]
        keys, inverse = np.unique((batch.time[rows] // NANOSECONDS << 2 * _BITS) | pairs, return_inverse=True)
        flags = np.where(batch.protocol[rows] == TCP, batch.flags[rows], 0)
        opened = flags & (SYN | ACK | RST) == SYN
        columns = ((self.packets, np.ones(len(rows))), (self.bytes, batch.size[rows]), (self.opened, opened))
        names = self._book.names
        for seconds, column in columns:
            sums = np.bincount(inverse, column, len(keys)).astype(int).tolist()
            by_second: defaultdict[int, dict[Pair, int]] = defaultdict(dict)
            for key, count in zip(keys.tolist(), sums, strict=True):
                source, destination = names[key >> _BITS & AddressBook.MAX], names[key & AddressBook.MAX]
                by_second[key >> 2 * _BITS][source, destination] = count
            for second, counts in by_second.items():
                seconds.add(second, counts)
