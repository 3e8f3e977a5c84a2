"""Strategies of captures: frames with times, written as pcap and pcapng in every form there is."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from oracle_packets import LINKS, USER0, Frame, frames

NANOSECONDS = 10**9
EVERYTHING, _NANO = 1 << 18, 9
_START = 1_700_000_000 * NANOSECONDS
_GAPS = (0, 0, 1, 1000, 250_000, 999_999_999, NANOSECONDS, 7 * NANOSECONDS, 90_000 * NANOSECONDS,
         -1000, -NANOSECONDS, -40 * NANOSECONDS)  # fmt: skip
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _NAMES, _STATISTICS, _PACKET, _CUSTOM = (
    0x0A0D0D0A, 1, 2, 3, 4, 5, 6, 0x0BAD,
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A frame as a capture has it."""

    frame: Frame
    kept: bytes
    nanoseconds: int | None  # as the capture tells it


@dataclass(frozen=True)
class Capture:
    """A file, and the records that are in it."""

    data: bytes
    records: Sequence[Record]


_gaps = st.lists(st.sampled_from(_GAPS), min_size=1, max_size=12)
_kept = st.one_of(st.just(EVERYTHING), st.just(EVERYTHING), st.just(EVERYTHING), st.integers(1, 120))


def _times(gaps: Sequence[int]) -> list[int]:
    return [_START + 123_456_789 + sum(gaps[: number + 1]) for number in range(len(gaps))]


@st.composite
def pcaps(
    draw: st.DrawFn,
    links: Sequence[int] = LINKS,
    kept: st.SearchStrategy[int] = _kept,
    *,
    nano: bool | None = None,
) -> Capture:
    """Make pcaps: both byte orders, micro- and nanoseconds."""
    link, order = draw(st.sampled_from(links)), draw(st.sampled_from("<>"))
    is_nano = draw(st.booleans()) if nano is None else nano
    magic, unit = (0xA1B23C4D, 1) if is_nano else (0xA1B2C3D4, 1000)
    records = []
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, EVERYTHING, link)]
    for time in _times(draw(_gaps)):
        frame = draw(frames(link))
        data = frame.data[: draw(kept)]
        seconds, rest = divmod(time, NANOSECONDS)
        out.append(struct.pack(order + "IIII", seconds, rest // unit, len(data), len(frame.data)) + data)
        records.append(Record(frame, data, time // unit * unit))
    return Capture(b"".join(out), records)


@dataclass(frozen=True)
class _Interface:
    """An interface of a section; `resolution` as in its option if_tsresol."""

    link: int
    longest: int
    resolution: int | None
    offset: int

    def ticks(self, nanoseconds: int) -> int:
        return (nanoseconds - self.offset * NANOSECONDS) * self._a_second // NANOSECONDS

    def told(self, nanoseconds: int) -> int:
        return self.offset * NANOSECONDS + self.ticks(nanoseconds) * NANOSECONDS // self._a_second

    @property
    def _a_second(self) -> int:
        resolution = 6 if self.resolution is None else self.resolution
        return 1 << resolution - 0x80 if resolution >= 0x80 else 10**resolution


_CLOCKS = (  # resolution, offset in seconds; ticks must fit in 63 bits
    (None, 0), (None, 1000), (0, 0), (3, -5), (6, 0), (9, 0), (9, 1_600_000_000), (12, 1_699_000_000),
    (0x80 | 10, 0), (0x80 | 20, 0), (0x80 | 30, 0), (0x80 | 32, 0), (0x80 | 40, 1_699_000_000),
)  # fmt: skip
_interfaces = st.lists(
    st.builds(
        lambda link, longest, clock: _Interface(link, longest, *clock),
        st.sampled_from((*LINKS, USER0)), st.sampled_from((0, 0, 0, 20, 60, 96)), st.sampled_from(_CLOCKS),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


class _Section:
    """Writes the blocks of one section."""

    def __init__(self, order: str, interfaces: Sequence[_Interface]) -> None:
        self._order, self._interfaces = order, interfaces

    def block(self, kind: int, body: bytes) -> bytes:
        size = struct.pack(self._order + "I", len(body) + 12)
        return struct.pack(self._order + "I", kind) + size + body + size

    def option(self, code: int, value: bytes) -> bytes:
        return struct.pack(self._order + "HH", code, len(value)) + _whole_words(value)

    def head(self) -> Iterator[bytes]:
        comment = self.option(1, b"a comment") + self.option(0, b"")
        yield self.block(_SECTION, struct.pack(self._order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + comment)
        for number, each in enumerate(self._interfaces):
            options = self.option(2, b"eth%d" % number)
            if each.resolution is not None:
                options += self.option(9, bytes((each.resolution,)))
            if each.offset:
                options += self.option(14, struct.pack(self._order + "q", each.offset))
            body = struct.pack(self._order + "HHI", each.link, 0, each.longest)
            yield self.block(_INTERFACE, body + options + self.option(0, b""))

    def packet(
        self, kind: int, number: int, frame: Frame, kept: int, nanoseconds: int
    ) -> tuple[bytes, Record]:
        interface = self._interfaces[number]
        data = frame.data[: min(kept, interface.longest or EVERYTHING)]
        if kind == _SIMPLE_PACKET:
            data = frame.data[: interface.longest or EVERYTHING]
            body = struct.pack(self._order + "I", len(frame.data)) + _whole_words(data)
            return self.block(kind, body), Record(frame, data, None)
        ticks = interface.ticks(nanoseconds)
        begin = struct.pack(
            self._order + ("I" if kind == _PACKET else "HH"), *(number, 7)[: 1 + (kind == _OLD_PACKET)]
        )
        body = struct.pack(self._order + "IIII", ticks >> 32, ticks % 2**32, len(data), len(frame.data))
        comment = self.option(1, b"seen") + self.option(0, b"") if kept % 2 else b""
        block = self.block(kind, begin + body + _whole_words(data) + comment)
        return block, Record(frame, data, interface.told(nanoseconds))


def _whole_words(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@st.composite
def pcapngs(draw: st.DrawFn) -> Capture:
    """Make pcapngs: several sections, interfaces, link types and clocks; blocks of all kinds."""
    out: list[bytes] = []
    records: list[Record] = []
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        interfaces = draw(_interfaces)
        section = _Section(draw(st.sampled_from("<>")), interfaces)
        out += section.head()
        for time in _times(draw(_gaps)):
            kind = draw(
                st.sampled_from(
                    (_PACKET, _PACKET, _PACKET, _OLD_PACKET, _SIMPLE_PACKET, _CUSTOM, _STATISTICS)
                )
            )
            number = 0 if kind == _SIMPLE_PACKET else draw(st.integers(0, len(interfaces) - 1))
            if kind in (_CUSTOM, _STATISTICS):
                out.append(section.block(kind, bytes(20)))
                continue
            frame = draw(frames(interfaces[number].link))
            block, record = section.packet(kind, number, frame, draw(_kept), time)
            out.append(block)
            records.append(record)
    return Capture(b"".join(out), records)


def joined(records: Sequence[Record]) -> Capture:
    """Write one pcapng with an interface for each link type, times in nanoseconds, of all records that have one."""
    links = sorted({each.frame.link for each in records})
    section = _Section("<", [_Interface(link, 0, _NANO, 0) for link in links])
    out = [*section.head()]
    written = []
    for each in records:
        if each.nanoseconds is not None:
            number = links.index(each.frame.link)
            block, record = section.packet(_PACKET, number, each.frame, len(each.kept), each.nanoseconds)
            out.append(block)
            written.append(record)
    return Capture(b"".join(out), written)
