"""Lines of tcpdump -> columns: TCP, which most lines are, all at once; the rest one by one (singles.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from monitoring.traffic import lines
from monitoring.traffic.clock import Clock
from monitoring.traffic.memory import PORT, PORT_BITS, Ends, Memory
from monitoring.traffic.packets import IPV4, IPV6, TCP, UNKNOWN, AddressBook, Integers, Packets, Unread
from monitoring.traffic.singles import Singles, Told
from monitoring.traffic.sizes import (
    COOKED_2,
    ETHERNET,
    HEADERS,
    TELLS_NETWORK,
    TELLS_SIZE,
    network_of,
    options_size,
    told_size,
)  # fmt: skip

_TCP_HEADER = 20
_STRANGE = 4  # a text of which every fourth line is not understood is of another style

Columns = Mapping[str, Sequence[bytes]]  # by the names of a pattern's groups


class Rows:
    """Reads pieces of one text."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self._clock, self._ends = Clock(), Ends(book)
        self._singles = Singles(self._ends, unread)
        self._style = 0
        self._flags, self._numbers = Memory(_flag_bits), Memory(int)

    def packets(self, text: bytes, line: int) -> Packets:
        """Give the packets of a piece that holds whole lines and begins at a line's number."""
        pattern = lines.STYLES[self._style]
        rows: list[tuple[bytes, ...]] = pattern.findall(text)
        if not rows:
            return Packets.empty(0)
        columns = dict(zip(pattern.groupindex, zip(*rows, strict=True), strict=True))
        if self._style + 1 < len(lines.STYLES) and columns["source"].count(b"") * _STRANGE > len(rows):
            self._style += 1  # for the rest of the text, too
            return self.packets(text, line)
        if all(columns["flags"]):
            found = Packets.empty(len(rows))
            found.time = self._clock.times(columns["time"])
            self._tcp(found, columns, np.arange(len(rows)))
            return found
        return self._mixed(rows, columns, line)

    def _mixed(self, rows: Sequence[tuple[bytes, ...]], columns: Columns, line: int) -> Packets:
        """Read a piece in which not everything is TCP."""
        tcp = np.array([*map(bool, columns["flags"])])
        singles: dict[int, Told] = {}
        keep = np.ones(len(rows), np.bool_)
        for index in np.flatnonzero(~tcp).tolist():
            told = self._singles.told(
                dict(zip(columns, rows[index], strict=True)), _line_of(index, columns, line)
            )
            if told is None:
                keep[index] = False
            else:
                singles[index] = told
        stamps = [singles[index].get("time", b"") if index in singles else columns["time"][index]
                  for index in np.flatnonzero(keep).tolist()]  # fmt: skip
        found = Packets.empty(len(stamps))
        found.time = self._clock.times(stamps)
        number = np.cumsum(keep) - 1
        if tcp.any():
            at = np.flatnonzero(tcp)
            of_tcp = {name: [column[index] for index in at.tolist()] for name, column in columns.items()}
            self._tcp(found, of_tcp, number[at])
        for index, told in singles.items():
            self._singles.put(found, int(number[index]), told)
        return found

    def _tcp(self, found: Packets, columns: Columns, at: Integers) -> None:
        nothing = (b"",) * len(at)

        def column(name: str) -> Sequence[bytes]:
            return columns.get(name, nothing)

        network = _worked_out(network_of, *map(column, TELLS_NETWORK))
        found.protocol[at], found.network[at] = TCP, network
        source, destination = (_looked_up(self._ends, column(name)) for name in ("source", "destination"))
        found.source[at], found.source_port[at] = source >> PORT_BITS, source & PORT
        found.destination[at], found.destination_port[at] = destination >> PORT_BITS, destination & PORT
        found.flags[at] = _looked_up(self._flags, column("flags"))
        found.sequence[at] = np.array([int(text) if text else 0 for text in column("sequence")])
        found.payload[at] = payload = _looked_up(self._numbers, column("length"))
        size = _worked_out(told_size, *map(column, TELLS_SIZE))
        if (size == UNKNOWN).any():
            options = np.array([options_size(text) if text else 0 for text in column("options")])
            link = np.array([COOKED_2 if name else ETHERNET for name in column("interface")])
            header = np.where(network == IPV6, HEADERS[IPV6], HEADERS[IPV4]) + _TCP_HEADER + options
            size = np.where(size == UNKNOWN, link + header + payload, size)
        found.size[at] = size


def _line_of(index: int, columns: Columns, first: int) -> int:
    """Give the number of a row's line: with -v, packets before it took two."""
    return first + index + sum(map(bool, columns.get("total", ())[:index]))


def _worked_out(work_out: Callable[..., int], *columns: Sequence[bytes]) -> Integers:
    """Work something out of several columns; where all rows are the same, once."""
    distinct = [set(column) for column in columns]
    if all(len(values) == 1 for values in distinct):
        return np.full(len(columns[0]), work_out(*(values.pop() for values in distinct)), np.int64)
    return np.fromiter(map(work_out, *columns), np.int64, len(columns[0]))


def _looked_up(memory: Memory, tokens: Iterable[bytes]) -> Integers:
    return np.array([*map(memory.__getitem__, tokens)], np.int64)


def _flag_bits(letters: bytes) -> int:
    return sum(lines.FLAG_BITS.get(letter, 0) for letter in set(letters)) if letters != b"none" else 0
