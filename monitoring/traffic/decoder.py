"""Decode frames to packets, a batch at a time: each field is gathered for all frames in one step.

Layouts: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP). No field is read beyond the captured bytes of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from lab.unread import Unread
from monitoring.traffic.frames import Frames
from monitoring.traffic.links import carried
from monitoring.traffic.packets import IPV4, IPV6, TCP, UDP, UNKNOWN, AddressBook, Integers, Packets, Truths

_SCTP, _UDP_LITE = 132, 136
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_EXTENSIONS = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION)
_MAX_EXTENSIONS = 8
_IPV4_HEADER, _IPV6_HEADER, _PORTS, _TCP_FLAGS = 20, 40, 4, 14
_WORD_BITS = 32


class Decoder:
    """Decodes batches; remembers the numbers of addresses."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self._unread = unread
        self._ipv4 = _Numbers(lambda value: book.number(str(IPv4Address(value))))
        self._ipv6 = lru_cache(AddressBook.MAX)(lambda raw: book.number(str(IPv6Address(raw))))

    def decode(self, frames: Frames) -> Packets:
        """Return the packets of frames; note headers that cannot be read, and keep the fields before them."""
        batch = Packets.empty(len(frames.at))
        batch.time, batch.size = frames.time, frames.size
        batch.network, at = carried(frames, self._unread)
        is_ip = (batch.network == IPV4) | (batch.network == IPV6)
        batch.protocol = np.where(is_ip, UNKNOWN, batch.network)
        self._decode_ipv4(frames, batch, at)
        self._decode_ipv6(frames, batch, at)
        return batch

    def _decode_ipv4(self, frames: Frames, batch: Packets, at: Integers) -> None:
        here = np.flatnonzero(batch.network == IPV4)
        at, end = at[here], frames.end[here]
        first, length = frames.byte(at), frames.short(at + 2)
        header = (first & 15) * 4
        length = np.where(length == 0, frames.size[here] - (at - frames.at[here]), length)  # 0: TSO
        whole = (at + _IPV4_HEADER <= end) & (first >> 4 == 4) & (header >= _IPV4_HEADER) & (length >= header)  # noqa: PLR2004 - version 4
        self._unread.note("IPv4 header cut short or damaged", "", int((~whole).sum()))
        here, at, header, length = here[whole], at[whole], header[whole], length[whole]
        batch.protocol[here] = frames.byte(at + 9)
        batch.source[here] = self._ipv4.of(frames.word(at + 12))
        batch.destination[here] = self._ipv4.of(frames.word(at + 16))
        batch.fragment[here] = (frames.short(at + 6) & 0x1FFF) != 0
        self._decode_transport(frames, batch, here, at + header, length - header)

    def _decode_ipv6(self, frames: Frames, batch: Packets, at: Integers) -> None:
        here = np.flatnonzero(batch.network == IPV6)
        if not len(here):
            return
        at, end = at[here], frames.end[here]
        whole = (at + _IPV6_HEADER <= end) & (frames.byte(at) >> 4 == 6)  # noqa: PLR2004 - version 6
        self._unread.note("IPv6 header cut short or damaged", "", int((~whole).sum()))
        here, at, end = here[whole], at[whole], end[whole]
        batch.source[here] = self._numbers_of_ipv6(frames, at + 8)
        batch.destination[here] = self._numbers_of_ipv6(frames, at + 24)
        protocol, start, fragment = _after_extensions(frames, at, end)
        self._unread.note("IPv6 extension headers cut short", "", int((protocol == UNKNOWN).sum()))
        batch.protocol[here], batch.fragment[here] = protocol, fragment
        length = frames.short(at + 4)
        whole_frame = frames.size[here] - (at - frames.at[here])
        # 0: the network card sets the length (TSO), or a jumbogram, too long for 16 bits
        length = np.where(length == 0, whole_frame, length + _IPV6_HEADER)
        self._decode_transport(frames, batch, here, start, length - (start - at))

    def _decode_transport(
        self, frames: Frames, batch: Packets, here: Integers, at: Integers, length: Integers
    ) -> None:
        protocol, end = batch.protocol[here], frames.end[here]
        first = ~batch.fragment[here]
        with_ports = first & np.isin(protocol, (TCP, UDP, _SCTP, _UDP_LITE)) & (at + _PORTS <= end)
        rows, starts = here[with_ports], at[with_ports]
        batch.source_port[rows], batch.destination_port[rows] = frames.short(starts), frames.short(starts + 2)
        tcp = first & (protocol == TCP)
        whole = tcp & (at + _TCP_FLAGS <= end)
        batch.payload[here[tcp & ~whole]] = UNKNOWN
        self._unread.note("TCP header cut short", "", int((tcp & ~whole).sum()))
        rows, starts = here[whole], at[whole]
        offset_and_flags = frames.short(starts + 12)
        batch.sequence[rows], batch.flags[rows] = frames.word(starts + 4), offset_and_flags & 0xFF
        batch.payload[rows] = np.maximum(length[whole] - (offset_and_flags >> 12) * 4, 0)

    def _numbers_of_ipv6(self, frames: Frames, at: Integers) -> Integers:
        raw = frames.data[at[:, None] + np.arange(16)]
        values, inverse = np.unique(raw, axis=0, return_inverse=True)
        return np.array([self._ipv6(value.tobytes()) for value in values], np.int64)[inverse.ravel()]


def _after_extensions(frames: Frames, at: Integers, end: Integers) -> tuple[Integers, Integers, Truths]:
    """Skip IPv6 extension headers; return the protocol, where its header begins, and which are later fragments."""
    protocol, start = frames.byte(at + 6), at + _IPV6_HEADER
    fragment = np.zeros(len(at), np.bool_)
    for _ in range(_MAX_EXTENSIONS):
        extended = np.isin(protocol, _EXTENSIONS) & ~fragment
        if not extended.any():
            return protocol, start, fragment
        more = extended & (start + 8 <= end)
        is_fragment = more & (protocol == _FRAGMENT)
        fragment |= is_fragment & ((frames.short(start + 2) & 0xFFF8) != 0)
        size = np.where(
            protocol == _AUTHENTICATION, (frames.byte(start + 1) + 2) * 4, (frames.byte(start + 1) + 1) * 8
        )
        size = np.where(is_fragment, 8, size)
        protocol = np.where(more, frames.byte(start), np.where(extended, UNKNOWN, protocol))
        start = np.where(more, start + size, start)
    return np.where(np.isin(protocol, _EXTENSIONS) & ~fragment, UNKNOWN, protocol), start, fragment


class _Numbers:
    """The address book's numbers of IPv4 addresses, looked up many at once."""

    def __init__(self, number: Callable[[int], int]) -> None:
        self._number = number
        self._values = np.full(1, 1 << _WORD_BITS, np.int64)  # sorted; the last is greater than any address
        self._numbers = np.zeros(1, np.int64)

    def of(self, values: Integers) -> Integers:
        where = np.searchsorted(self._values, values)
        new = np.unique(values[self._values[where] != values])
        if not len(new):
            return self._numbers[where]
        if len(self._values) + len(new) > 2 * AddressBook.MAX:
            self._values, self._numbers = self._values[-1:], self._numbers[-1:]  # kept in the book
            new = np.unique(values)
        at = np.searchsorted(self._values, new)
        numbers = np.array([self._number(int(value)) for value in new], np.int64)
        self._values = np.insert(self._values, at, new)
        self._numbers = np.insert(self._numbers, at, numbers)
        return self._numbers[np.searchsorted(self._values, values)]
