"""Lines that are not TCP's with its flags, one by one: UDP, ICMP, fragments, ARP, -q; and what is no packet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from monitoring.traffic import lines
from monitoring.traffic.memory import PORT, Ends
from monitoring.traffic.packets import IPV4, IPV6, TCP, UDP, UNKNOWN, Packets, Unread
from monitoring.traffic.sizes import (
    COOKED_2,
    ETHERNET,
    HEADERS,
    TELLS_NETWORK,
    TELLS_SIZE,
    network_of,
    told_size,
    worked_out_size,
)  # fmt: skip

_FRAGMENT_HEADER = 44
_WORD, _IP_PROTOCOL = re.compile(rb"[^ ,:(]*"), re.compile(rb"ip-proto-(\d{1,3})")

Told = Mapping[str, bytes]  # what a pattern's groups matched, by name


class Singles:
    """Reads such lines of one text."""

    def __init__(self, ends: Ends, unread: Unread) -> None:
        self._ends, self._unread = ends, unread

    def told(self, row: Told, line: int) -> Told | None:
        """Give what a line tells; None for what continues a packet, for notes, and for what is noted as unread."""
        if row["source"]:
            return row
        text = row["other"]
        if not text or text.startswith(lines.CONTINUED) or lines.NOTE.match(text):
            return None
        fuller = lines.LINE.match(text + b"\n")
        if fuller and fuller["source"]:
            return fuller.groupdict(b"")
        found = lines.OTHER.match(text)
        if found and _ether_type(found) is not None:
            return {"time": found["time"] or b"", "other": text}
        self._unread.note("line that is no packet", f"line {line}")
        return None

    def put(self, found: Packets, index: int, told: Told) -> None:
        """Write what was told into a batch."""
        if told.get("other"):
            self._put_not_ip(found, index, told["other"])
            return
        rest, source, destination = told["rest"], told["source"], told["destination"].rstrip(b":")
        network = network_of(*(told.get(name, b"") for name in TELLS_NETWORK))
        word = _WORD.match(rest)[0]  # type: ignore[index] # it matches anything
        protocol = int(told.get("proto") or told.get("next") or _FRAGMENT_HEADER)
        if protocol == _FRAGMENT_HEADER:
            protocol = _protocol_of(word, rest)
        later = told.get("offset", b"") not in (b"", b"0") or (
            word == b"frag" and not rest.startswith(b"frag (0|")
        )
        with_ports = protocol in (TCP, UDP) and not later and word != b"frag"
        if with_ports and not (_has_port(source) and _has_port(destination)):
            with_ports, later = False, True  # the ports are in the first fragment
        found.protocol[index], found.network[index], found.fragment[index] = protocol, network, later
        if with_ports:
            found.source[index], found.source_port[index] = divmod(self._ends[source], PORT + 1)
            found.destination[index], found.destination_port[index] = divmod(
                self._ends[destination], PORT + 1
            )
        else:
            found.source[index] = self._ends.addresses[source]
            found.destination[index] = self._ends.addresses[destination]
        size = told_size(*(told.get(name, b"") for name in TELLS_SIZE))
        if size == UNKNOWN and not later:
            link = COOKED_2 if told.get("interface") else ETHERNET
            size = worked_out_size(rest, word, protocol, link + HEADERS[network])
        found.size[index], found.payload[index] = size, UNKNOWN

    def _put_not_ip(self, found: Packets, index: int, text: bytes) -> None:
        match = lines.OTHER.match(text)
        kind = _ether_type(match) if match else None
        if match is None or kind is None:
            return
        if kind in (IPV4, IPV6):
            self._unread.note(f"IPv{4 if kind == IPV4 else 6} header cut short or damaged", "")
        length = lines.LENGTH.search(match["rest"])
        worked_out = int(length[1]) + ETHERNET if length else UNKNOWN
        found.size[index] = int(match["frame"]) if match["frame"] else worked_out
        found.protocol[index] = found.network[index] = kind


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


def _ether_type(found: re.Match[bytes]) -> int | None:
    told = found["tagged"] or found["ethertype"]
    if told:
        return int(told, 16)
    known = lines.ETHER_NAMES.get(found["name"])
    return 0 if known is None and found["time"] and found["name"] in (b"STP", b"802.3", b"LLC") else known
