"""Bytes of captured frames -> packets, a batch at once: each field is gathered for all frames in one step.

Layouts: IEEE 802.3 and 802.1Q, RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), and the link types of
https://www.tcpdump.org/linktypes.html. Nothing is read beyond what was captured of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from numpy.typing import NDArray

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
    Unread,
)

PADDING = 64  # zero bytes that must follow the data, so that looking ahead is safe
ETHERNET = 1
_SCTP, _UDP_LITE = 132, 136
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_MOST_TAGS = 4
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_EXTENSIONS = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION)
_MOST_EXTENSIONS = 8
_IPV4_HEADER, _IPV6_HEADER, _PORTS, _TCP_FLAGS = 20, 40, 4, 14
_WORD_BITS = 32


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


@dataclass(frozen=True)
class Frames:
    """Where frames lie in `data`, and what the capture says of each."""

    data: Bytes
    at: Integers
    captured: Integers  # bytes that are there
    size: Integers  # bytes that there were
    time: Integers
    link_type: int

    def byte(self, at: Integers) -> Integers:
        """Gather a byte for each position; positions beyond the data give what is last in it: padding."""
        return np.asarray(self.data[np.minimum(at, len(self.data) - 1)], dtype=np.int64)

    def short(self, at: Integers) -> Integers:
        """Gather 16 bits in network order."""
        return (self.byte(at) << 8) | self.byte(at + 1)

    def word(self, at: Integers) -> Integers:
        """Gather 32 bits in network order."""
        return (self.short(at) << 16) | self.short(at + 2)


class Decoder:
    """Decodes batches; it remembers addresses it has met."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self._unread = unread
        self._ipv4 = _Numbers(lambda value: book.number(str(IPv4Address(value))))
        self._book = book
        self._ipv6: dict[bytes, int] = {}

    def decode(self, frames: Frames) -> Packets:
        """Give the packets of frames; what cannot be read is noted, and counted as far as it is known."""
        found = Packets.empty(len(frames.at))
        found.time, found.size = frames.time, frames.size
        link = LINKS.get(frames.link_type)
        if link is None:
            self._unread.note(
                f"link type {frames.link_type} is not known", "the first such frame", len(found)
            )
            return found
        kind, at = link(frames)
        end = frames.at + frames.captured
        whole = at <= end
        self._unread.note("frame shorter than its link header", "", int((~whole).sum()))
        found.network = np.where(whole, kind, UNKNOWN)
        found.protocol = found.network.copy()
        self._decode_ipv4(frames, found, at, end)
        self._decode_ipv6(frames, found, at, end)
        return found

    def _decode_ipv4(self, frames: Frames, found: Packets, at: Integers, end: Integers) -> None:
        here = np.flatnonzero(found.network == IPV4)
        at, end = at[here], end[here]
        first = frames.byte(at)
        header = (first & 15) * 4
        whole = (at + _IPV4_HEADER <= end) & (first >> 4 == 4) & (header >= _IPV4_HEADER)  # noqa: PLR2004 - version 4
        self._unread.note("IPv4 header cut short or damaged", "", int((~whole).sum()))
        here, at, header = here[whole], at[whole], header[whole]
        found.protocol[here] = frames.byte(at + 9)
        found.source[here] = self._ipv4.of(frames.word(at + 12))
        found.destination[here] = self._ipv4.of(frames.word(at + 16))
        found.fragment[here] = (frames.short(at + 6) & 0x1FFF) != 0
        length = frames.short(at + 2)
        length = np.where(length == 0, frames.size[here] - (at - frames.at[here]), length)  # left to the card
        _decode_transport(frames, found, here, at + header, length - header)

    def _decode_ipv6(self, frames: Frames, found: Packets, at: Integers, end: Integers) -> None:
        here = np.flatnonzero(found.network == IPV6)
        if not len(here):
            return
        at, end = at[here], end[here]
        whole = (at + _IPV6_HEADER <= end) & (frames.byte(at) >> 4 == 6)  # noqa: PLR2004 - version 6
        self._unread.note("IPv6 header cut short or damaged", "", int((~whole).sum()))
        here, at, end = here[whole], at[whole], end[whole]
        found.source[here] = self._numbers_of_ipv6(frames, at + 8)
        found.destination[here] = self._numbers_of_ipv6(frames, at + 24)
        protocol, start, fragment = _after_extensions(frames, at, end)
        found.protocol[here], found.fragment[here] = protocol, fragment
        length = frames.short(at + 4) + _IPV6_HEADER - (start - at)
        _decode_transport(frames, found, here, start, length)

    def _numbers_of_ipv6(self, frames: Frames, at: Integers) -> Integers:
        raw = frames.data[at[:, None] + np.arange(16)]
        values, inverse = np.unique(raw, axis=0, return_inverse=True)
        return np.array([self._number_of_ipv6(value.tobytes()) for value in values], np.int64)[
            inverse.ravel()
        ]

    def _number_of_ipv6(self, raw: bytes) -> int:
        if raw not in self._ipv6:
            number = self._book.number(str(IPv6Address(raw)))
            if len(self._ipv6) >= AddressBook.MOST:
                return number
            self._ipv6[raw] = number
        return self._ipv6[raw]


def _after_extensions(frames: Frames, at: Integers, end: Integers) -> tuple[Integers, Integers, Truths]:
    """Walk IPv6's extension headers: the protocol, where its header is, and who is a later fragment."""
    protocol, start = frames.byte(at + 6), at + _IPV6_HEADER
    fragment = np.zeros(len(at), np.bool_)
    for _ in range(_MOST_EXTENSIONS):
        more = np.isin(protocol, _EXTENSIONS) & (start + 8 <= end) & ~fragment
        if not more.any():
            break
        is_fragment = more & (protocol == _FRAGMENT)
        fragment |= is_fragment & ((frames.short(start + 2) & 0xFFF8) != 0)
        size = np.where(
            protocol == _AUTHENTICATION, (frames.byte(start + 1) + 2) * 4, (frames.byte(start + 1) + 1) * 8
        )
        size = np.where(is_fragment, 8, size)
        protocol, start = np.where(more, frames.byte(start), protocol), np.where(more, start + size, start)
    return protocol, start, fragment


def _decode_transport(frames: Frames, found: Packets, here: Integers, at: Integers, length: Integers) -> None:
    protocol, end = found.protocol[here], frames.at[here] + frames.captured[here]
    first = ~found.fragment[here]
    with_ports = first & np.isin(protocol, (TCP, UDP, _SCTP, _UDP_LITE)) & (at + _PORTS <= end)
    rows, starts = here[with_ports], at[with_ports]
    found.source_port[rows], found.destination_port[rows] = frames.short(starts), frames.short(starts + 2)
    tcp = first & (protocol == TCP) & (at + _TCP_FLAGS <= end)
    rows, starts = here[tcp], at[tcp]
    offset_and_flags = frames.short(starts + 12)
    found.sequence[rows], found.flags[rows] = frames.word(starts + 4), offset_and_flags & 0xFF
    found.payload[rows] = np.maximum(length[tcp] - (offset_and_flags >> 12) * 4, 0)


class _Numbers:
    """The address book's numbers for 32-bit values, many at once."""

    def __init__(self, number: Callable[[int], int]) -> None:
        self._number = number
        self._values = np.full(1, 1 << _WORD_BITS, np.int64)  # sorted; a last one, greater than any
        self._numbers = np.zeros(1, np.int64)

    def of(self, values: Integers) -> Integers:
        where = np.searchsorted(self._values, values)
        new = np.unique(values[self._values[where] != values])
        if len(new):
            numbers = np.array([self._number(int(value)) for value in new], np.int64)
            if len(self._values) + len(new) > 2 * AddressBook.MOST:
                self._values, self._numbers = self._values[-1:], self._numbers[-1:]  # the book remembers them
            at = np.searchsorted(self._values, new)
            self._values, self._numbers = (
                np.insert(self._values, at, new),
                np.insert(self._numbers, at, numbers),
            )
            where = np.searchsorted(self._values, values)
            if (self._values[where] != values).any():
                return self.of(values)
        return self._numbers[where]


# --- link layers: the EtherType of each frame, and where its network header begins ---------------


def _ethernet(frames: Frames) -> tuple[Integers, Integers]:
    kind, at = frames.short(frames.at + 12), frames.at + 14
    end = frames.at + frames.captured
    for _ in range(_MOST_TAGS):
        tagged = np.isin(kind, _VLAN_TAGS) & (at + 4 <= end)
        if not tagged.any():
            break
        kind, at = np.where(tagged, frames.short(at + 2), kind), np.where(tagged, at + 4, at)
    return kind, at


def _raw(frames: Frames) -> tuple[Integers, Integers]:
    version = frames.byte(frames.at) >> 4
    return np.where(version == 6, IPV6, IPV4), frames.at  # noqa: PLR2004 - IP's version


def _linux_cooked(frames: Frames) -> tuple[Integers, Integers]:
    return frames.short(frames.at + 14), frames.at + 16


def _linux_cooked_2(frames: Frames) -> tuple[Integers, Integers]:
    return frames.short(frames.at), frames.at + 20


def _bsd_loopback(frames: Frames) -> tuple[Integers, Integers]:
    family = frames.byte(frames.at) + frames.byte(frames.at + 3)  # the one or the other byte order
    return np.where(family == 2, IPV4, np.where(np.isin(family, (10, 24, 28, 30)), IPV6, 0)), frames.at + 4  # noqa: PLR2004 - AF_INET


LINKS: dict[int, Callable[[Frames], tuple[Integers, Integers]]] = {
    0: _bsd_loopback,
    ETHERNET: _ethernet,
    12: _raw,  # LINKTYPE_RAW as some BSDs wrote it
    14: _raw,
    101: _raw,
    108: _bsd_loopback,
    113: _linux_cooked,
    228: _raw,
    229: _raw,
    276: _linux_cooked_2,
}
