"""Reads what `conntrack -L` prints (conntrack-tools, also with -o extended): a connection a line. Pure.

tcp 6 431999 ESTABLISHED src=A dst=B sport=1 dport=2 src=B dst=C sport=2 dport=3 [ASSURED] mark=0 use=1
                         as it was sent              as answers come back
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PAIR = re.compile(r"(src|dst|sport|dport|type)=(\S+)")
_PROTOCOLS = ("tcp", "udp", "icmp", "sctp", "dccp", "udplite", "gre", "icmpv6")
_NAMELESS = re.compile(r"\bunknown +(\d+) ")
_TUPLES = 2


@dataclass(frozen=True)
class Tuple:
    """One direction; protocols without ports have 0."""

    source: str
    destination: str
    source_port: int
    destination_port: int


@dataclass(frozen=True)
class Connection:
    """One entry of the connection tracking table."""

    protocol: str  # a number where conntrack knows no name for it: `conntrack -D -p` takes both
    state: str
    original: Tuple
    reply: Tuple


def connections(lines: Iterable[str]) -> Iterator[Connection]:
    """Give the connections; other lines are passed over."""
    for line in lines:
        words = line.split()
        nameless = _NAMELESS.search(line)
        protocol = nameless[1] if nameless else next((word for word in words[:3] if word in _PROTOCOLS), "")
        groups = _groups(line)
        if protocol and len(groups) == _TUPLES:
            state = next((word for word in words[3:7] if word.isupper() and word.isascii()), "")
            yield Connection(protocol, state, _tuple(groups[0]), _tuple(groups[1]))


def _groups(line: str) -> list[dict[str, str]]:
    groups: list[dict[str, str]] = []
    for key, value in _PAIR.findall(line):
        if key == "src":
            groups.append({})
        if groups:
            groups[-1][key] = value
    return groups


def _tuple(group: dict[str, str]) -> Tuple:
    return Tuple(
        group["src"], group.get("dst", ""), int(group.get("sport", "0")), int(group.get("dport", "0"))
    )
