"""Counts packets: by pair, protocol, sender and second. Its size depends on who talks, not on how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from monitoring.traffic.durations import Durations
from monitoring.traffic.packets import (
    ACK,
    FIN,
    RST,
    SYN,
    TCP,
    UNKNOWN,
    AddressBook,
    Integers,
    Packets,
    Unread,
    distinct,
)  # fmt: skip
from monitoring.traffic.sequences import HandshakeTimes, Retransmissions

NANOSECONDS = 1_000_000_000
_MOST_PAIRS = 100_000  # who comes later is counted among "others"
_MOST_SECONDS = 1_000_000
_BITS = 16


@dataclass
class PairCount:
    """What one address sent to another."""

    packets: int = 0
    bytes: int = 0
    syn: int = 0
    syn_ack: int = 0
    fin: int = 0
    rst: int = 0
    retransmissions: int = 0
    handshakes: Durations = field(default_factory=Durations)  # that the source began

    def add(self, other: PairCount) -> None:
        """Count another pair's with this one's."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.handshakes.add(other.handshakes)


COUNTS = ("packets", "bytes", "syn", "syn_ack", "fin", "rst", "retransmissions")


class Tally:
    """All counts of one capture."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self.book, self.unread = book, unread
        self.packets = self.bytes = self.without_size = self.fragments = 0
        self.protocols: Counter[int] = Counter()
        self.pairs: dict[tuple[int, int], PairCount] = {}
        self.seconds: dict[int, tuple[int, int]] = {}  # since the first packet: packets, bytes
        self.first = self.last = self.origin = UNKNOWN
        self._retransmissions, self._handshakes = Retransmissions(), HandshakeTimes()

    def add(self, batch: Packets) -> None:
        """Count a batch."""
        if not len(batch):
            return
        self.packets += len(batch)
        known = batch.size != UNKNOWN
        self.without_size += int((~known).sum())
        size = np.where(known, batch.size, 0)
        self.bytes += int(size.sum())
        self.fragments += int(batch.fragment.sum())
        values, counts = np.unique(batch.protocol, return_counts=True)
        self.protocols.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._add_pairs(batch, size)
        self._add_seconds(batch, size)

    def _add_pairs(self, batch: Packets, size: Integers) -> None:
        again = self._retransmissions.find(batch)
        rows = np.flatnonzero(batch.addressed)
        width = int(max(batch.source.max(), batch.destination.max())) + 1
        keys, inverse = distinct(batch.source[rows] * width + batch.destination[rows])
        keys = (keys // width << _BITS) | keys % width
        flags = np.where(batch.protocol[rows] == TCP, batch.flags[rows], 0)
        opening = flags & (SYN | ACK)
        columns = {
            "packets": np.ones(len(rows)),
            "bytes": size[rows],
            "syn": opening == SYN,
            "syn_ack": opening == SYN | ACK,
            "fin": flags & FIN != 0,
            "rst": flags & RST != 0,
            "retransmissions": again[rows],
        }
        sums = {name: np.bincount(inverse, column, len(keys)).astype(int) for name, column in columns.items()}
        for index, key in enumerate(keys.tolist()):
            pair = self._pair(key)
            for name, column in sums.items():
                setattr(pair, name, getattr(pair, name) + int(column[index]))
        self._add_handshakes(batch)

    def _add_handshakes(self, batch: Packets) -> None:
        found = self._handshakes.find(batch)
        keys = (found.client << _BITS) | found.server
        for key in np.unique(keys).tolist():
            self._pair(key).handshakes.note(found.duration[keys == key])

    def _pair(self, key: int) -> PairCount:
        pair = (key >> _BITS, key & AddressBook.MOST)
        known = self.pairs.get(pair)
        if known is None:
            if len(self.pairs) >= _MOST_PAIRS:
                self.unread.note(
                    "more pairs than are kept apart: counted as others", f"pair {_MOST_PAIRS + 1}"
                )
                pair = (AddressBook.MOST, AddressBook.MOST)
            known = self.pairs.setdefault(pair, PairCount())
        return known

    def _add_seconds(self, batch: Packets, size: Integers) -> None:
        rows = np.flatnonzero(batch.time != UNKNOWN)
        if not len(rows):
            return
        time = batch.time[rows]
        self.first = int(time.min()) if self.first == UNKNOWN else min(self.first, int(time.min()))
        self.last = max(self.last, int(time.max()))
        if self.origin == UNKNOWN:
            self.origin = int(time[0])
        seconds, inverse = distinct((time - self.origin) // NANOSECONDS)
        packets, weight = np.bincount(inverse), np.bincount(inverse, size[rows])
        for second, count, amount in zip(seconds.tolist(), packets.tolist(), weight.tolist(), strict=True):
            if second not in self.seconds and len(self.seconds) >= _MOST_SECONDS:
                self.unread.note("more seconds than are kept apart", f"second {second}", count)
                continue
            before = self.seconds.get(second, (0, 0))
            self.seconds[second] = (before[0] + count, before[1] + int(amount))
