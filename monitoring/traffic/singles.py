"""Read packets that the TCP pattern does not match, one by one: UDP, ICMP, ARP, tunnels, -q; and other lines."""

from __future__ import annotations

import re
from collections.abc import Callable

from lab.unread import Unread
from monitoring.traffic import lines
from monitoring.traffic.foreign import NotACaptureError
from monitoring.traffic.memory import PORT, PORT_BITS, Ends
from monitoring.traffic.packets import ARP, IPV4, IPV6, TCP, UNKNOWN, Packets
from monitoring.traffic.text_ip import Datagram, read_datagram
from monitoring.traffic.text_link import Link, read_link

_MAX_QUOTE = 80
_BARE_IP = re.compile(rb"\S++[ ]>[ ]\S++(?<=:)[ ]|\(tos[ ]|\((?:class|flowlabel|hlim)[ ]")
_LENGTH = re.compile(rb"\A[^\n]*?, length (" + lines.LENGTH + rb")")
_TOO_LARGE = re.compile(rb"[ ](?:length:?|tcp)[ ]\d{10}|[ ]seq[ ](?:\d{1,10}+:)?\d{11}")
_HEADERS = 4000  # the headers are in the first 4000 bytes of a packet's text
_WHOLE_LENGTH = (ARP, 0x88CC)  # ARP and LLDP: the printed length is that of the whole payload
# -A prints the payload of IP as it is, line ends too: a request may forge a packet's line. Such text has an IP header
# in letters: IPv4 begins with E (F to O with options), then length, flags, lifetime and protocol; IPv6 with `.
_LETTERS = re.compile(rb"(?s)(?:.{0,18}\.\.)?(?:[E-O]\..{4}[.@ ].{2}\.|`.{3}..[.:,][@.\w].{0,31}\.{4})")


def quoted(text: bytes) -> str:
    """Quote a line's beginning; characters that do not print are escaped."""
    line = text.split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
    shown = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line[:200]
    )
    return shown if len(shown) <= _MAX_QUOTE else shown[: _MAX_QUOTE - 3] + "..."


Single = tuple[bytes, Link, Datagram | None]  # the time of a packet, its link header, and its packet of IP


class Singles:
    """Reads the packets of one text that the TCP pattern does not match."""

    def __init__(self, ends: Ends, unread: Unread, begin: bytes) -> None:
        self._ends, self._unread = ends, unread
        self._timed = begin == lines.TIMED
        self._begin = re.compile(
            lines.NUMBER + rb"(?P<time>" + (lines.TIME if self._timed else b"") + rb")"
            + (b"" if self._timed else lines.FLUSH)
        )  # fmt: skip

    def read(self, row: bytes, line: Callable[[], int]) -> Single | None:
        """Read a packet; None for tcpdump's notes and unreadable lines. Raises NotACaptureError for a text of -A."""
        begin = self._begin.match(row)
        if begin:
            link = read_link(row[begin.end() :])
            if self._timed or link.certain or link.kind != UNKNOWN:
                return self._packet(begin["time"], link, line)
        if not row or lines.NOTE.match(row):
            return None
        if _LETTERS.match(row):
            raise NotACaptureError(
                f"this is text of tcpdump -A (line {line()} is an IP header in letters), in which a payload can "
                "forge packets; print it with -X instead, or give the capture itself"
            )
        self._note("line that is no packet", row, line)
        return None

    def _packet(self, time: bytes, link: Link, line: Callable[[], int]) -> Single:
        if link.kind not in (IPV4, IPV6) and not (link.kind == UNKNOWN and _BARE_IP.match(link.rest)):
            if link.kind == UNKNOWN:
                self._note("unknown protocol", link.rest, line)
            return time, link, None
        datagram = read_datagram(link.rest, link.kind)
        if datagram.damaged and not link.rest.startswith(b"bad-len "):
            version = 4 if datagram.network == IPV4 else 6
            self._note(f"IPv{version} header cut short or damaged", link.rest, line)
        elif datagram.protocol == UNKNOWN:
            self._note("unknown protocol", link.rest, line)
        elif _TOO_LARGE.search(link.rest, 0, _HEADERS):
            self._note("number that is too large", link.rest, line)
        return time, link, datagram

    def _note(self, reason: str, text: bytes, line: Callable[[], int]) -> None:
        where = "" if reason in self._unread.first else f"line {line()}: {quoted(text)}"
        self._unread.note(reason, where)

    def put(self, batch: Packets, index: int, single: Single) -> None:
        """Write the packets into a batch."""
        _, link, datagram = single
        batch.protocol[index] = batch.network[index] = link.kind
        batch.size[index] = link.size
        can_add = link.size == UNKNOWN and link.header != UNKNOWN
        if datagram is None:
            if can_add and link.kind in _WHOLE_LENGTH and (length := _LENGTH.search(link.rest)):
                batch.size[index] = int(length[1]) + link.header
            return
        batch.network[index] = datagram.network
        if datagram.damaged:
            batch.protocol[index] = UNKNOWN
            return
        batch.protocol[index], batch.fragment[index] = datagram.protocol, datagram.later
        if can_add and datagram.size != UNKNOWN:
            batch.size[index] = datagram.size + link.header
        if datagram.with_ports:
            batch.source[index], batch.source_port[index] = _split(self._ends[datagram.source])
            batch.destination[index], batch.destination_port[index] = _split(self._ends[datagram.destination])
        else:
            batch.source[index] = self._ends.addresses[datagram.source]
            batch.destination[index] = self._ends.addresses[datagram.destination]
        if datagram.protocol == TCP:
            batch.payload[index] = UNKNOWN
        if datagram.segment:
            _put_segment(batch, index, datagram.segment)


def _split(end: int) -> tuple[int, int]:
    return end >> PORT_BITS, end & PORT


def flag_bits(letters: bytes) -> int:
    """Return TCP's flags by their letters."""
    return sum(lines.FLAG_BITS.get(letter, 0) for letter in set(letters)) if letters != b"none" else 0


def _put_segment(batch: Packets, index: int, segment: re.Match[bytes]) -> None:
    """Write TCP's flags and numbers; a length that is cut off is computed from the sequence numbers."""
    batch.flags[index] = flag_bits(segment["flags"])
    batch.sequence[index] = int(segment["sequence"] or 0)
    if segment["length"]:
        batch.payload[index] = int(segment["length"])
    elif segment["options"] is not None or segment["end"]:
        batch.payload[index] = (
            (int(segment["end"]) - int(segment["sequence"])) % 2**32 if segment["end"] else 0
        )
