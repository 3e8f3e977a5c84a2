"""tcpdump's text -> packets, in every timestamp style, with and without -n, -e, -v, -q, -S, -X.

A size that is not printed (-e or -v print it) is computed from what is printed, or UNKNOWN. A text of -A is refused: it
contains the payloads unchanged, and a payload may look like other packets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np

from lab.unread import Unread
from monitoring.traffic import lines
from monitoring.traffic.packets import UNKNOWN, AddressBook, Packets
from monitoring.traffic.text_link import read_link
from monitoring.traffic.text_rows import Rows

_MAX_PACKET = 4 << 20
_NEWLINE = ord("\n")
_LINES_OF_STYLE = 1000  # decide whether a text has times
_UTF_8_MARK = b"\xef\xbb\xbf"
_LINE, _TIMED, _NUMBER = (
    re.compile(rb"^[^\n]++", re.MULTILINE),
    re.compile(lines.TIMED),
    re.compile(lines.NUMBER),
)
_BEGINS = re.compile(lines.TIMED + rb"|" + lines.UNTIMED)
# A packet within VXLAN is printed on a line of its own, without a time.
_INNER = re.compile(
    rb"(VXLAN,[ ]flags[ ]\[[^\]\n]{0,20}+\][^\n]{0,40}?[ ]vni[ ]\d++\n)(?=\S)(?!" + lines.TIMED + rb")"
)


def read(pieces: Iterator[bytes], book: AddressBook, unread: Unread) -> Iterator[Packets]:
    """Yield the packets in the pieces of a text, the first of which may be small. Raises NotACaptureError for -A."""
    text = _Text(book, unread)
    data = (next(pieces, b"") + next(pieces, b"")).removeprefix(_UTF_8_MARK)
    for following in pieces:
        piece = text.piece(data)
        yield from text.packets(piece, text.last_packet_position(piece))
        data = text.left + following
    if data:
        piece = text.piece(data)
        piece += b"" if piece.endswith(b"\n") else b"\n"
        yield from text.packets(piece, len(piece))


def _is_timed(data: bytes) -> bool | None:
    """Return whether a text's packets have times; None if it has no packet."""
    timed = untimed = 0
    for line in islice(_LINE.finditer(data), _LINES_OF_STYLE):
        if _TIMED.match(data, line.start()) and b"[Invalid header:" not in line[0]:
            timed += 1
        elif not line[0].startswith(b"\t"):
            link = read_link(line[0][_NUMBER.match(line[0]).end() :])  # type: ignore[union-attr] # it matches anything
            untimed += link.certain or link.kind != UNKNOWN
    return timed >= untimed if timed or untimed else None


class _Text:
    """One text, piece by piece; the rest of one piece is the start of the next."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        self._book, self._unread = book, unread
        self._rows: Rows | None = None
        self._line = 1
        self._line_end = b""
        self.left = b""

    def piece(self, data: bytes) -> bytes:
        """Make all line ends newlines, and indent a packet within a packet, so that it continues the outer one."""
        if not self._line_end:
            self._line_end = b"\n" if b"\n" in data else b"\r" if b"\r" in data else b""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n") if self._line_end == b"\n" else data.replace(b"\r", b"\n")
        return _INNER.sub(rb"\1\t", data) if b" vni " in data else data

    def last_packet_position(self, data: bytes) -> int:
        """Return where the last packet begins: it may continue in the next piece."""
        end = len(data)
        while (at := data.rfind(b"\n", 0, end)) >= 0:
            if _BEGINS.match(data, at + 1):
                return at + 1
            end = at
        return 0

    def packets(self, data: bytes, cut: int) -> Iterator[Packets]:
        """Yield the packets before the cut."""
        self.left, begin = data[cut:], self._line
        newlines = np.frombuffer(data, np.uint8, cut) == _NEWLINE  # quicker than data.count()
        self._line += int(np.count_nonzero(newlines))
        if len(self.left) > _MAX_PACKET:
            self._unread.note("packet of more than 4 megabytes of text", f"line {self._line}")
            self._line += self.left.count(b"\n")
            self.left = b"\t"  # skip the rest of the packet
        if not cut:
            return
        if self._rows is None:
            timed = _is_timed(data[:cut])
            self._rows = Rows(self._book, self._unread, lines.UNTIMED if timed is False else lines.TIMED)
        yield self._rows.packets(data[:cut], begin)
