"""What tcpdump's text tells of a packet, in each style; and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import strategies as st
from oracle_captures import Record
from oracle_packets import ETHERNET, ONLY_IPV4, ONLY_IPV6, RAW, SLL, SLL2
from oracle_scapy import UNTOLD, Row

from monitoring.traffic.packets import ARP, ICMP, ICMP6, TCP, UDP, UNKNOWN

_IGMP, _IPIP, _SIX_IN_FOUR, _GRE, _ESP, _SCTP = 2, 4, 41, 47, 50, 132
_SURE = (ICMP, _IGMP, _IPIP, TCP, UDP, _SIX_IN_FOUR, _GRE, _ESP, ICMP6, _SCTP, ARP)
_NUMBERED = (3, 115, 136, 253, 255)  # tcpdump does not decode these: it prints a number, with -nn
_WITH_PORTS = (TCP, UDP, _SCTP)
_LAST_IP_PROTOCOL = 255
_A_DAY = 24 * 3600 * 10**9
_ENOUGH = 8  # packets that tell -ttt from -ttttt
_MICROSECOND = 1000
_RAW = (RAW, ONLY_IPV4, ONLY_IPV6)  # -e tells no size of these, and -q -e none of cooked ones
_COOKED = (SLL, SLL2)


@dataclass(frozen=True)
class Style:
    """Options of tcpdump."""

    what: str
    time: str
    nano: bool

    @property
    def options(self) -> list[str]:
        return [*self.what.split(), *self.time.split(), *(["--nano"] if self.nano else [])]

    def has(self, letter: str) -> bool:
        return letter in self.what


styles = st.builds(
    Style,
    st.sampled_from(
        (
            "-nn",
            "",
            "-e",
            "-nne",
            "-v",
            "-nnvv",
            "-nn#",
            "-nnq",
            "-q -e",
            "-nnS",
            "-nnX",
            "-n -e -# -XX -vvv",
            "-n -x -# -v -q",
        )
    ),
    st.sampled_from(("", "-t", "-tt", "-ttt", "-tttt", "-ttttt")),
    st.booleans(),
)


def told(row: Row, record: Record, style: Style) -> tuple[Row, set[str]]:
    """Give what a style tells of a packet (None: nothing), and which fields a reader may not know."""
    told, unsure = replace(row), set[str]()
    told.nanoseconds = None  # what times() is for
    if not style.has("nn") and not row.fragment:
        told.ports = None
    if _is_not_decoded(record):
        return UNTOLD, unsure
    if row.protocol not in _WITH_PORTS:
        told.ports = None
    if style.has("q"):
        told.flags = told.payload = None
    if row.protocol not in (ICMP, TCP, UDP) and not style.has("nn"):
        told.fragment = None  # a name is printed, as it may be of a whole packet
    if row.after_authentication:  # tcpdump stops there
        told.fragment = told.ports = told.flags = told.payload = None
        unsure.add("protocol")
    elif row.fragment and ":" in (row.source or ""):
        told.protocol = UNKNOWN  # its fragment header does not tell it, in no style
    elif not _protocol_is_told(row, style):
        unsure.add("protocol")
    if not style.has("e") or record.frame.link in (*_RAW, *(_COOKED if style.has("q") else ())):
        unsure.add("size")
        if not _is_plain(record, row, style):
            told.size = None
    elif _is_of_802_3(record):  # its length is printed, not the frame's
        unsure.add("size")
        told.size = None if _is_padded_802_3(record) else told.size
    return told, unsure


def _protocol_is_told(row: Row, style: Style) -> bool:
    if style.has("v") and row.source and ":" not in row.source:
        return True
    if row.protocol in _NUMBERED or (row.fragment and style.has("nn")):
        return style.has("nn")
    return row.protocol in _SURE


def _is_not_decoded(record: Record) -> bool:
    """Tell frames with Linux' cooked headers and other tags than 802.1Q's, of which tcpdump prints the bytes."""
    data, at = record.frame.data, {SLL: 14, SLL2: 0}.get(record.frame.link)
    if at is None:
        return False
    after = {14: 16, 0: 20}[at] + 2
    while data[at : at + 2] == b"\x81\0":
        at, after = after, after + 4
    return data[at : at + 2] in (b"\x88\xa8", b"\x91\0")


def _is_of_802_3(record: Record) -> bool:
    data, link = record.frame.data, record.frame.link
    return (link == ETHERNET and data[12] < 6) or (
        link in _COOKED and data[14 if link == SLL else 0 :][:2] == b"\0\4"
    )


def _is_padded_802_3(record: Record) -> bool:
    return record.frame.link == ETHERNET and int.from_bytes(record.frame.data[12:14], "big") + 14 != len(
        record.frame.data
    )


def _is_plain(record: Record, row: Row, style: Style) -> bool:
    """Tell whether a frame's size follows from what is printed: it is neither tagged nor padded nor cooked."""
    data = record.frame.data
    if record.frame.link != ETHERNET or row.fragment:
        return False
    if data[12:14] == b"\x08\0":
        is_usual = data[14] == 0x45 or style.has("v")  # without options
        return is_usual and int.from_bytes(data[16:18], "big") + 14 == len(data) and not data[20] & 0x20
    return data[12:14] == b"\x86\xdd" and int.from_bytes(data[18:20], "big") + 54 == len(data)


def times(records: Sequence[Record], style: Style) -> Sequence[int | None]:
    """Give what a style tells of times: nanoseconds since the first packet."""
    unit = 1 if style.nano else _MICROSECOND
    found = [(record.nanoseconds or 0) // unit * unit for record in records]
    steps = [0, *(after - before for before, after in pairwise(found))]
    since = [time - found[0] for time in found]
    shown = steps if style.time == "-ttt" else since
    is_clear = max(map(abs, shown)) < _A_DAY
    if style.time in ("-ttt", "-ttttt"):
        is_clear = is_clear and (len(found) <= 2 or _looks_like(shown) == style.time)
    elif style.time == "":
        is_clear = max(map(abs, steps)) < _A_DAY // 2
    else:
        is_clear = style.time != "-t"
    return list(since) if is_clear else [None] * len(found)


def _looks_like(shown: Sequence[int]) -> str:
    """Tell -ttttt, which counts from the first packet and so rises, from -ttt, which counts from the one before."""
    rises = sum(before < after for before, after in pairwise(shown))
    falls = sum(before > after for before, after in pairwise(shown))
    if rises * 2 > len(shown) - 1 and falls * 8 <= rises:
        return "-ttttt" if len(shown) >= _ENOUGH else "either"
    return "-ttt"
