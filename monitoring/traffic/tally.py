"""Count packets by pair, protocol and second, in bounded memory however long the capture is."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from lab.unread import Unread
from monitoring.quantiles import rank
from monitoring.traffic.packets import (
    ACK,
    FIN,
    NANOSECONDS,
    RST,
    SYN,
    TCP,
    UNKNOWN,
    AddressBook,
    Integers,
    Packets,
    distinct,
)
from monitoring.traffic.sequences import HandshakeTimes, Retransmissions

_MAX_PAIRS = 100_000  # later pairs are counted together, as "others"
STEPS = (1, 10, 60, 600, 3600, 86_400, 864_000)  # seconds; each step is a multiple of the step before
_MAX_STEPS = 100_000  # longest table: 28 hours in steps of 1 s
_BITS = 16  # bits of an address' number
Rates = dict[int, tuple[int, int]]  # packets and bytes by the number of the step since the first packet
_RATIO = 1.02  # upper limit / lower limit of a class of durations
_LOG = math.log(_RATIO)


class Durations:
    """A histogram of durations in nanoseconds, in bounded memory: its classes are 2 % wide."""

    def __init__(self) -> None:
        self._classes: Counter[int] = Counter()
        self.longest = 0

    @property
    def count(self) -> int:
        """Return the number of durations."""
        return self._classes.total()

    def note(self, durations: Integers) -> None:
        """Count durations, in nanoseconds."""
        if not len(durations):
            return
        self.longest = max(self.longest, int(durations.max()))
        classes, counts = np.unique(np.ceil(np.log(np.maximum(durations, 1)) / _LOG), return_counts=True)
        self._classes.update(dict(zip(classes.astype(int).tolist(), counts.tolist(), strict=True)))

    def add(self, other: Durations) -> None:
        """Add the counts of another histogram."""
        self._classes.update(other._classes)
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float:
        """Return the nanoseconds that `share` (0 to 1) of them do not exceed, at most 2 % too many; 0.0 of none."""
        wanted, seen = rank(share, self.count), 0
        for number, count in sorted(self._classes.items()):
            seen += count
            if seen >= wanted:
                return min(_RATIO**number, float(self.longest))
        return 0.0


@dataclass
class PairCount:
    """Counts of the packets from one address to another."""

    packets: int = 0
    bytes: int = 0
    syn: int = 0
    syn_ack: int = 0
    fin: int = 0
    rst: int = 0
    retransmissions: int = 0
    syn_again: int = 0  # retransmitted SYNs
    syn_ack_again: int = 0
    handshakes: Durations = field(default_factory=Durations)  # durations of handshakes that the source began

    @property
    def asked(self) -> int:
        """Return the connections asked for: SYNs without retransmissions."""
        return self.syn - self.syn_again

    @property
    def answered(self) -> int:
        """Return the connections answered: SYN-ACKs without retransmissions."""
        return self.syn_ack - self.syn_ack_again

    def add(self, other: PairCount) -> None:
        """Add the counts of another pair to this one's."""
        for name in (*COUNTS, "syn_again", "syn_ack_again"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.handshakes.add(other.handshakes)


COUNTS = ("packets", "bytes", "syn", "syn_ack", "fin", "rst", "retransmissions")


class Tally:
    """All counts of one capture; times are nanoseconds."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self.book, self.unread = book, unread
        self.packets = self.bytes = self.without_size = self.fragments = 0
        self.protocols: Counter[int] = Counter()
        self.pairs: dict[tuple[int, int], PairCount] = {}
        self.step = STEPS[0]  # seconds
        self.rates: Rates = {}
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
            "syn_again": (opening == SYN) & again[rows],
            "syn_ack_again": (opening == SYN | ACK) & again[rows],
        }
        sums = {name: np.bincount(inverse, column, len(keys)).astype(int) for name, column in columns.items()}
        for index, key in enumerate(keys.tolist()):
            pair = self._pair(key)
            for name, column in sums.items():
                setattr(pair, name, getattr(pair, name) + int(column[index]))
        self._add_handshakes(batch)

    def _add_handshakes(self, batch: Packets) -> None:
        client, server, duration = self._handshakes.find(batch)
        keys = (client << _BITS) | server
        for key in np.unique(keys).tolist():
            self._pair(key).handshakes.note(duration[keys == key])

    def _pair(self, key: int) -> PairCount:
        pair = (key >> _BITS, key & AddressBook.MAX)
        known = self.pairs.get(pair)
        if known is None:
            if len(self.pairs) >= _MAX_PAIRS:
                self.unread.note("more pairs than are counted: counted as others", f"pair {_MAX_PAIRS + 1}")
                pair = (AddressBook.MAX, AddressBook.MAX)
            known = self.pairs.setdefault(pair, PairCount())
        return known

    def _add_seconds(self, batch: Packets, size: Integers) -> None:
        rows = np.flatnonzero(batch.time != UNKNOWN)
        if not len(rows):
            return
        time = batch.time[rows]
        lowest, highest = int(time.min()), int(time.max())
        if self.origin == UNKNOWN:
            self.origin, self.first, self.last = int(time[0]), lowest, highest
        self.first, self.last = min(self.first, lowest), max(self.last, highest)
        self._widen_step()
        steps, inverse = distinct((time - self.origin) // (self.step * NANOSECONDS))
        packets, weight = np.bincount(inverse), np.bincount(inverse, size[rows])
        for number, count, amount in zip(
            steps.tolist(), packets.tolist(), weight.astype(int).tolist(), strict=True
        ):
            before = self.rates.get(number, (0, 0))
            self.rates[number] = (before[0] + count, before[1] + amount)

    def _widen_step(self) -> None:
        """Choose the least step that divides the capture into at most _MAX_STEPS, and merge the counts so far."""
        seconds = (self.last - self.first) // NANOSECONDS
        step = next((step for step in STEPS if seconds // step < _MAX_STEPS), STEPS[-1])
        self.step, self.rates = step, merged(self.rates, step // self.step)


def merged(rates: Rates, count: int) -> Rates:
    """Return rates with `count` steps merged into one."""
    if count == 1:
        return rates
    found: Rates = {}
    for number, (packets, size) in rates.items():
        before = found.get(number // count, (0, 0))
        found[number // count] = (before[0] + packets, before[1] + size)
    return found
