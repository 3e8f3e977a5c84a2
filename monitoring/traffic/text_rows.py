"""Packets of tcpdump's text -> columns: the plainest lines at once, other TCP and UDP by a pattern, the rest singly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address
from itertools import islice

import numpy as np

from lab.unread import Unread
from monitoring.traffic import lines
from monitoring.traffic.clock import Clock
from monitoring.traffic.memory import PORT, PORT_BITS, Ends, Memory
from monitoring.traffic.packets import (
    IPV4,
    IPV6,
    TCP,
    UDP,
    UNKNOWN,
    AddressBook,
    Integers,
    Packets,
    Truths,
    distinct,
)
from monitoring.traffic.plain_lines import PlainLines, plain_lines
from monitoring.traffic.singles import Single, Singles, flag_bits
from monitoring.traffic.text_ip import HEADERS, LARGEST_WHOLE, UDP_HEADER, options_size
from monitoring.traffic.text_link import COOKED_2, ETHERNET

_TCP_HEADER = 20
_STRANGE = 4  # more than one unmatched packet in four: the text may have another style

Columns = Mapping[str, Sequence[bytes]]  # by the names of a pattern's groups
Row = tuple[bytes, ...]


class Rows:
    """Reads pieces of one text; `begin` is the pattern of the start of a packet."""

    def __init__(self, book: AddressBook, unread: Unread, begin: bytes) -> None:
        self._clock, self._ends = Clock(unread), Ends(book, unread)
        self._singles = Singles(self._ends, unread, begin)
        self._styles = lines.styles(begin)
        self._style: int | None = None
        self._flags, self._numbers = Memory(flag_bits), Memory(_number)

    def packets(self, text: bytes, line: int) -> Packets:
        """Return the packets of a piece that holds whole packets and begins at a line's number."""
        plain = None if self._style else plain_lines(text)
        if plain and np.count_nonzero(plain.fits) * 2 > len(plain.fits):
            self._style = 0
            return self._beside_plain(plain, text, line)
        rows = self._rows(text)
        if not rows:
            return Packets.empty(0)
        names = self._styles[self._style or 0].groupindex
        columns: Columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        if all(columns["destination"]):
            batch = Packets.empty(len(rows))
            batch.time = self._clock.times(columns["time"])
            self._put(batch, columns, np.arange(len(rows)))
            return batch
        matched = np.array([*map(bool, columns["destination"])])
        singles: dict[int, Single] = {}
        for index in np.flatnonzero(~matched).tolist():
            single = self._singles.read(columns["other"][index], partial(self._line_of, text, line, index))
            if single is not None:
                singles[index] = single
        keep = matched.copy()
        keep[list(singles)] = True
        stamps = [singles[index][0] if index in singles else columns["time"][index]
                  for index in np.flatnonzero(keep).tolist()]  # fmt: skip
        batch = Packets.empty(len(stamps))
        batch.time = self._clock.times(stamps)
        number = np.cumsum(keep) - 1
        if matched.any():
            at = np.flatnonzero(matched)
            self._put(batch, _picked(columns, at), number[at])
        for index, single in singles.items():
            self._singles.put(batch, int(number[index]), single)
        return batch

    def _beside_plain(self, plain: PlainLines, text: bytes, line: int) -> Packets:
        """Return the packets of a piece with a packet on each line, most of which are plain."""
        batch = Packets.empty(len(plain.fits))
        batch.time = self._clock.times_of(plain.stamps)
        at = np.flatnonzero(plain.fits)
        self._put_plain_lines(batch, plain, at)
        others = np.flatnonzero(~plain.fits)
        if not len(others):
            return batch
        text = b"".join(text[plain.begins[row] : plain.ends[row]] for row in others.tolist())
        rows = self._styles[0].findall(text)
        columns: Columns = dict(zip(self._styles[0].groupindex, zip(*rows, strict=True), strict=True))
        matched = np.array([*map(bool, columns["destination"])])
        if matched.any():
            self._put(batch, _picked(columns, np.flatnonzero(matched)), others[matched])
        for index in np.flatnonzero(~matched).tolist():
            row = int(others[index])
            single = self._singles.read(columns["other"][index], partial(line.__add__, row))
            if single is not None:
                self._singles.put(batch, row, single)
        return batch

    def _put_plain_lines(self, batch: Packets, plain: PlainLines, at: Integers) -> None:
        batch.protocol[at], batch.network[at] = TCP, IPV4
        for ends, ports, address, port in (
            (batch.source, batch.source_port, plain.source, plain.source_port),
            (batch.destination, batch.destination_port, plain.destination, plain.destination_port),
        ):
            found, inverse = distinct(address[at])
            ends[at] = np.array([*map(self._address, found.tolist())], np.int64)[inverse]
            ports[at] = port[at]
        batch.flags[at], batch.sequence[at], batch.payload[at] = (
            column[at] for column in (plain.flags, plain.sequence, plain.payload)
        )
        header = ETHERNET + HEADERS[IPV4] + _TCP_HEADER
        options = plain.options[at]
        batch.size[at] = np.where(options == UNKNOWN, UNKNOWN, header + options + plain.payload[at])

    def _address(self, address: int) -> int:
        return self._ends.addresses[str(IPv4Address(address)).encode()]

    def _rows(self, text: bytes) -> list[Row]:
        """Match a piece. The first piece decides the style, and so the quickest pattern that reads it."""
        if self._style is not None:
            return self._styles[self._style].findall(text)
        by_style: list[list[Row]] = []
        strange: list[int] = []
        for pattern in self._styles:
            by_style.append(pattern.findall(text))
            end = pattern.groupindex["destination"] - 1
            strange.append(sum(not row[end] for row in by_style[-1]))
            if strange[-1] * _STRANGE <= len(by_style[-1]):
                break
        self._style = strange.index(min(strange))
        return by_style[self._style]

    def _line_of(self, text: bytes, first: int, index: int) -> int:
        """Return the number of a row's line; the text begins at line `first`."""
        row = next(islice(self._styles[self._style or 0].finditer(text), index, None))
        return first + text.count(b"\n", 0, row.start())

    def _put(self, batch: Packets, columns: Columns, at: Integers) -> None:
        nothing = (b"",) * len(at)

        def column(name: str) -> Sequence[bytes]:
            return columns.get(name, nothing)

        network = _computed(_network, *map(column, ("network", "tagged", "kind")))
        batch.protocol[at], batch.network[at] = TCP, network
        source, destination = (_looked_up(self._ends, column(name)) for name in ("source", "destination"))
        batch.source[at], batch.source_port[at] = source >> PORT_BITS, source & PORT
        batch.destination[at], batch.destination_port[at] = destination >> PORT_BITS, destination & PORT
        batch.flags[at] = _looked_up(self._flags, column("flags"))
        batch.sequence[at] = _map_columns(_sequence if b"" in column("sequence") else int, column("sequence"))
        batch.payload[at] = payload = _looked_up(self._numbers, column("length"))
        size = _computed(_printed_size, *map(column, ("frame", "total", "payload", "interface", "tags")))
        sized = size != UNKNOWN
        if not sized.all():
            options = _map_columns(_options, column("options")) if any(column("options")) else 0
            link = _computed(_link_size, column("interface"), column("tags"))
            header = np.where(network == IPV6, HEADERS[IPV6], HEADERS[IPV4]) + _TCP_HEADER + options
            computed = np.where(options == UNKNOWN, UNKNOWN, link + header + payload)
            size = np.where(size == UNKNOWN, computed, size)
        batch.size[at] = size
        if any(column("plain")):
            self._put_plain(batch, columns, at, sized=sized)

    def _put_plain(self, batch: Packets, columns: Columns, at: Integers, *, sized: Truths) -> None:
        """Write the fields of UDP datagrams, and of TCP with -q, whose header is not printed."""
        plain = np.array([bool(text) for text in columns["plain"]])
        udp = np.array([text.startswith(b"UDP") for text in columns["plain"]])
        amount = _looked_up(self._numbers, columns["amount"])
        batch.protocol[at[udp]] = UDP
        batch.payload[at[plain]] = np.where(udp[plain], 0, UNKNOWN)
        packet = np.where(batch.network[at] == IPV6, HEADERS[IPV6], HEADERS[IPV4]) + UDP_HEADER + amount
        link = _computed(_link_size, *(columns.get(name, (b"",) * len(at)) for name in ("interface", "tags")))
        computed = np.where(udp & (packet <= LARGEST_WHOLE), packet + link, UNKNOWN)
        batch.size[at[plain & ~sized]] = computed[plain & ~sized]


def _picked(columns: Columns, at: Integers) -> Columns:
    return {name: [column[index] for index in at.tolist()] for name, column in columns.items()}


def _sequence(text: bytes) -> int:
    return int(text or 0)


def _options(text: bytes) -> int:
    return options_size(text) if text else 0


def _number(text: bytes) -> int:
    return int(text) if text else UNKNOWN


def _network(network: bytes, tagged: bytes, kind: bytes) -> int:
    return IPV6 if (network or tagged or kind) in (b"IP6", b"IPv6") else IPV4


def _link_size(interface: bytes, tags: bytes) -> int:
    """Return the bytes of the link header, without -e."""
    if interface:
        return COOKED_2 + (4 if tags else 0)
    return 20 if tags else ETHERNET  # only -i any, in its first form, prints tags without -e


def _printed_size(frame: bytes, total: bytes, payload: bytes, interface: bytes, tags: bytes) -> int:
    """Return the frame's size, if -e or -v print it."""
    if frame:
        return int(frame)
    if total and total != b"0":
        return int(total) + _link_size(interface, tags)
    if payload and payload != b"0":
        return int(payload) + HEADERS[IPV6] + _link_size(interface, tags)
    return UNKNOWN


def _computed(function: Callable[..., int], *columns: Sequence[bytes]) -> Integers:
    """Apply a function to several columns; only once if all rows are the same."""
    distinct = [set(column) for column in columns]
    if all(len(values) == 1 for values in distinct):
        return np.full(len(columns[0]), function(*(values.pop() for values in distinct)), np.int64)
    return _map_columns(function, *columns)


def _looked_up(memory: Memory, tokens: Sequence[bytes]) -> Integers:
    return _map_columns(memory.__getitem__, tokens)


def _map_columns(function: Callable[..., int], *columns: Sequence[bytes]) -> Integers:
    return np.fromiter(map(function, *columns), np.int64, len(columns[0]))
