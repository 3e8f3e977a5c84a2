"""Lines of tcpdump -> columns. What most lines share is done for all at once, the rest one by one."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from monitoring.traffic import lines
from monitoring.traffic.clock import Clock
from monitoring.traffic.packets import (
    IPV4,
    IPV6,
    TCP,
    UDP,
    UNKNOWN,
    AddressBook,
    Integers,
    Packets,
    Unread,
)  # fmt: skip

_MEMORY = 1 << 17  # tokens remembered
_ETHERNET, _COOKED_2, _HEADERS = 14, 20, {IPV4: 20, IPV6: 40}  # bytes
_UDP_HEADER, _TCP_HEADER = 8, 20
_LARGEST_WHOLE = 1514  # bytes of a frame that is no fragment for sure
_FRAGMENT_HEADER = 44
_WORD, _IP_PROTOCOL = re.compile(rb"[^ ,:(]*"), re.compile(rb"ip-proto-(\d{1,3})")
_OPTION_SIZES = {b"nop": 1, b"eol": 1, b"mss": 4, b"wscale": 3, b"sackOK": 2, b"TS": 10}
_USUAL_OPTIONS, _USUAL_SIZE = b"nop,nop,TS val ", 12  # bytes; nothing follows timestamps in these

_GROUP = {name: number - 1 for name, number in lines.LINE.groupindex.items()}
_TIME, _FLAGS, _SOURCE, _OTHER = (_GROUP[name] for name in ("time", "flags", "source", "other"))
_PORT_BITS, _PORTS = 16, 0xFFFF

Row = Sequence[bytes]  # what the groups of lines.LINE matched


class Memory(dict[bytes, int]):
    """Remembers what was made of a token; forgets all when it is too much."""

    def __init__(self, make: Callable[[bytes], int]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, token: bytes) -> int:
        if len(self) >= _MEMORY:
            self.clear()
        value = self[token] = self._make(token)
        return value


class Rows:
    """Reads pieces of one text."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self._unread, self._clock = unread, Clock()
        # A destination has the colon that ends it.
        self._addresses = Memory(
            lambda token: book.number(token.rstrip(b":").decode("ascii", "backslashreplace"))
        )
        self._ends = Memory(
            lambda token: self._addresses[token.rpartition(b".")[0]] << _PORT_BITS | _port(token)
        )
        self._pattern = lines.PLAIN
        self._flags, self._numbers = Memory(_flag_bits), Memory(int)

    def packets(self, text: bytes, line: int) -> Packets:
        """Give the packets of a piece that holds whole lines and begins at a line's number."""
        rows: list[Row] = self._pattern.findall(text)
        columns = list(zip(*rows, strict=True))
        if rows and (any(columns[_OTHER]) or not all(columns[_SOURCE])):
            others = [index for index, row in enumerate(rows) if row[_OTHER] or not row[_SOURCE]]
            if len(others) * 4 > len(rows) and self._pattern is lines.PLAIN:
                self._pattern = lines.LINE  # for the rest of the text, too
                return self.packets(text, line)
            rows = self._with_others(rows, others, line)
            columns = list(zip(*rows, strict=True))
        found = Packets.empty(len(rows))
        if not rows:
            return found
        found.time = self._clock.times(columns[_TIME])
        if all(columns[_FLAGS]):
            self._tcp(found, columns, np.arange(len(rows)))
            return found
        tcp = np.array([*map(bool, columns[_FLAGS])])
        if tcp.any():
            at = np.flatnonzero(tcp)
            self._tcp(found, list(zip(*(rows[index] for index in at.tolist()), strict=True)), at)
        for index in np.flatnonzero(~tcp).tolist():
            self._one(found, index, rows[index])
        return found

    # --- TCP, at once ---

    def _tcp(self, found: Packets, columns: Sequence[Sequence[bytes]], at: Integers) -> None:
        def column(name: str) -> Sequence[bytes]:
            return columns[_GROUP[name]]

        network = _worked_out(_network, *map(column, _TELLS_NETWORK))
        found.protocol[at], found.network[at] = TCP, network
        source, destination = (_looked_up(self._ends, column(name)) for name in ("source", "destination"))
        found.source[at], found.source_port[at] = source >> _PORT_BITS, source & _PORTS
        found.destination[at], found.destination_port[at] = destination >> _PORT_BITS, destination & _PORTS
        found.flags[at] = _looked_up(self._flags, column("flags"))
        found.sequence[at] = np.array([int(text) if text else 0 for text in column("sequence")])
        found.payload[at] = payload = _looked_up(self._numbers, column("length"))
        size = _worked_out(_told_size, *map(column, _TELLS_SIZE))
        if (size == UNKNOWN).any():
            options = np.array([_options_size(text) if text else 0 for text in column("options")])
            link = np.array([_COOKED_2 if name else _ETHERNET for name in column("interface")])
            header = np.where(network == IPV6, _HEADERS[IPV6], _HEADERS[IPV4]) + _TCP_HEADER + options
            size = np.where(size == UNKNOWN, link + header + payload, size)
        found.size[at] = size

    # --- what is not TCP, or TCP without its flags: one by one ---

    def _one(self, found: Packets, index: int, row: Row) -> None:
        def told(name: str) -> bytes:
            return row[_GROUP[name]]

        if row[_OTHER]:
            self._not_ip(found, index, row[_OTHER])
            return
        rest, source, destination = told("rest"), told("source"), told("destination").rstrip(b":")
        network = _network(*map(told, _TELLS_NETWORK))
        word = _WORD.match(rest)[0]  # type: ignore[index] # it matches anything
        protocol = int(told("proto") or told("next") or _FRAGMENT_HEADER)
        if protocol == _FRAGMENT_HEADER:
            protocol = _protocol_of(word, rest)
        later = told("offset") not in (b"", b"0") or (word == b"frag" and not rest.startswith(b"frag (0|"))
        with_ports = protocol in (TCP, UDP) and not later and word != b"frag"
        if with_ports and not (_has_port(source) and _has_port(destination)):
            with_ports, later = False, True  # the ports are in the first fragment
        found.protocol[index], found.network[index], found.fragment[index] = protocol, network, later
        if with_ports:
            source_end, destination_end = self._ends[source], self._ends[destination]
            found.source_port[index], found.destination_port[index] = (
                source_end & _PORTS,
                destination_end & _PORTS,
            )
            found.source[index], found.destination[index] = (
                source_end >> _PORT_BITS,
                destination_end >> _PORT_BITS,
            )
        else:
            found.source[index], found.destination[index] = (
                self._addresses[source],
                self._addresses[destination],
            )
        size = _told_size(*map(told, _TELLS_SIZE))
        if size == UNKNOWN and not later:
            link = _COOKED_2 if told("interface") else _ETHERNET
            size = _worked_out_size(rest, word, protocol, link + _HEADERS[network])
        found.size[index] = size
        found.payload[index] = UNKNOWN

    # --- what is not IP, and what is no packet ---

    def _with_others(self, rows: list[Row], others: Iterable[int], line: int) -> list[Row]:
        """Sort out lines that are no packets of IP: continuations and notes go, others stay or are noted."""
        gone = set()
        for index in others:
            text = rows[index][_OTHER]
            if not text or text.startswith(lines.CONTINUED) or lines.NOTE.match(text):
                gone.add(index)
            elif self._pattern is lines.PLAIN and (row := lines.LINE.findall(text + b"\n")[0])[_SOURCE]:
                rows[index] = row
            elif (found := lines.OTHER.match(text)) and _ether_type(found) is not None:
                blank = [b""] * len(rows[index])
                blank[_TIME], blank[_OTHER] = found["time"] or b"", text
                rows[index] = blank
            else:
                gone.add(index)
                two_lines = sum(1 for row in rows[:index] if row[_GROUP["total"]])
                self._unread.note("line that is no packet", f"line {line + index + two_lines}")
        return [row for index, row in enumerate(rows) if index not in gone]

    def _not_ip(self, found: Packets, index: int, text: bytes) -> None:
        match = lines.OTHER.match(text)
        kind = _ether_type(match) if match else None
        if match is None or kind is None:
            return
        if kind in (IPV4, IPV6):
            self._unread.note(f"IPv{4 if kind == IPV4 else 6} header cut short or damaged", "")
        length = lines.LENGTH.search(match["rest"])
        worked_out = int(length[1]) + _ETHERNET if length else UNKNOWN
        found.size[index] = int(match["frame"]) if match["frame"] else worked_out
        found.protocol[index] = found.network[index] = kind


_TELLS_NETWORK = ("network", "tagged", "ethertype", "brief", "next")
_TELLS_SIZE = ("frame", "total", "payload", "interface")


def _network(network: bytes, tagged: bytes, ethertype: bytes, brief: bytes, following: bytes) -> int:
    is_ipv6 = following or (network or tagged or ethertype or brief) in (b"IP6 ", b"86dd", b"IPv6")
    return IPV6 if is_ipv6 else IPV4


def _worked_out(work_out: Callable[..., int], *columns: Sequence[bytes]) -> Integers:
    """Work something out of several columns; where all rows are the same, once."""
    distinct = [set(column) for column in columns]
    if all(len(values) == 1 for values in distinct):
        return np.full(len(columns[0]), work_out(*(values.pop() for values in distinct)), np.int64)
    return np.fromiter(map(work_out, *columns), np.int64, len(columns[0]))


def _told_size(frame: bytes, total: bytes, payload: bytes, interface: bytes) -> int:
    """Give the frame's size, as -e or -v tell it."""
    link = _COOKED_2 if interface else _ETHERNET
    if frame:
        return int(frame)
    if total:
        return int(total) + link
    return int(payload) + _HEADERS[IPV6] + link if payload else UNKNOWN


def _looked_up(memory: Memory, tokens: Iterable[bytes]) -> Integers:
    return np.array([*map(memory.__getitem__, tokens)], np.int64)


def _port(token: bytes) -> int:
    """Give the port of `address.port`; a port's name has some number of its own."""
    port = token.rstrip(b":").rpartition(b".")[2]
    return int(port[:9]) & 0xFFFF if port.isdigit() else zlib.crc32(port) & 0xFFFF


def _flag_bits(letters: bytes) -> int:
    return sum(lines.FLAG_BITS.get(letter, 0) for letter in set(letters)) if letters != b"none" else 0


def _protocol_of(word: bytes, rest: bytes) -> int:
    if word == b"frag":
        return TCP if b"Flags [" in rest else UDP if b"UDP," in rest else _FRAGMENT_HEADER
    number = _IP_PROTOCOL.fullmatch(word)
    return int(number[1]) & 0xFF if number else lines.PROTOCOLS.get(word, UDP)


def _has_port(end: bytes) -> bool:
    """Tell whether an address is followed by a port; a host's name may end in what looks like one."""
    if b":" in end:
        return end.rpartition(b":")[2].count(b".") in (1, 4)
    dots = end.count(b".")
    return dots == 4 if end.replace(b".", b"").isdigit() else dots > 0  # noqa: PLR2004 - four numbers and a port


def _worked_out_size(rest: bytes, word: bytes, protocol: int, headers: int) -> int:
    """Work out a frame's size from what is printed of its content."""
    if word in (b"frag", b"tcp") or word.startswith((b"ip-proto", b"[")):
        return UNKNOWN
    said = (lines.IN_BRACKETS.search(rest) if protocol == UDP else None) or lines.LENGTH.search(rest)
    if not said:
        return UNKNOWN
    size = headers + int(said[1]) + (_UDP_HEADER if protocol == UDP else 0)
    return size if size <= _LARGEST_WHOLE else UNKNOWN  # a first fragment tells the whole datagram's length


def _options_size(options: bytes) -> int:
    """Give the bytes of TCP's options, padded to words."""
    if options[:15] == _USUAL_OPTIONS:
        return _USUAL_SIZE
    size = 0
    for option in options.split(b","):
        name = option.split(b" ", 1)[0]
        size += 2 + 8 * option.count(b"{") if name == b"sack" else _OPTION_SIZES.get(name, 0)
    return (size + 3) // 4 * 4


def _ether_type(found: re.Match[bytes]) -> int | None:
    told = found["tagged"] or found["ethertype"]
    if told:
        return int(told, 16)
    known = lines.ETHER_NAMES.get(found["name"])
    return 0 if known is None and found["time"] and found["name"] in (b"STP", b"802.3", b"LLC") else known
