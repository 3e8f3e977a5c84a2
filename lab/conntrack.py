"""Parse the output of `conntrack -L` (conntrack-tools, also with -o extended): one connection a line. Pure.

tcp 6 431999 ESTABLISHED src=A dst=B sport=1 dport=2 src=B dst=C sport=2 dport=3 [ASSURED] mark=0 use=1
                         original direction          reply direction
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from lab.unread import Unread

# An event line begins with its time and kind, a line of -o extended with the network protocol. An offloaded connection
# has no timeout, and many protocols have no state.
_HEAD = re.compile(
    r"""(?:\[[\d.]+\]\s+)? (?:\[(?:NEW|UPDATE|DESTROY)\]\s+)? (?:ipv[46]\s+\d+\s+)?
        (?P<name>[a-z]\w*)\s+(?P<number>\d+)\s+ (?:\d+\s+)? (?:(?P<state>[A-Z][A-Z0-9_]*)\s+)? (?=[\w-]+=)""",
    re.VERBOSE,
)
_PAIR = re.compile(r"(src|dst|sport|dport|type)=(\S+)")
_TOTAL = re.compile(r"conntrack v\S+ \(conntrack-tools\): \d+ flow entries have been shown\.")
_NAMELESS = "unknown"
_TUPLES = 2


@dataclass(frozen=True)
class Tuple:
    """Addresses and ports of one direction; the port is 0 for protocols without ports."""

    source: str
    destination: str
    source_port: int
    destination_port: int


@dataclass(frozen=True)
class Connection:
    """An entry of the connection tracking table."""

    protocol: str  # name or number; `conntrack -D -p` accepts both
    state: str
    original: Tuple
    reply: Tuple


def connections(lines: Iterable[str], unread: Unread | None = None) -> Iterator[Connection]:
    """Yield the connections of `conntrack -L`; note lines that cannot be read in `unread`."""
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or _TOTAL.fullmatch(line):
            continue
        try:
            yield _connection(line)
        except _LineError as error:
            if unread is not None:
                unread.note(str(error), f"line {number}")


def count_open_by_source(tracked: Iterable[Connection]) -> Counter[str]:
    """Count connections as connlimit does (nf_conncount.c, already_closed), by the address that opened them."""
    return Counter(each.original.source for each in tracked if each.state not in ("TIME_WAIT", "CLOSE"))


class _LineError(ValueError):
    """A line that cannot be read as a connection, and the reason."""


def _connection(line: str) -> Connection:
    head = _HEAD.match(line)
    tuples = [dict(_PAIR.findall(f"src={rest}")) for rest in line.split("src=")[1:]]
    if not head or not tuples:
        raise _LineError("a line that is not a connection")
    if len(tuples) != _TUPLES or tuples[0].keys() != tuples[1].keys() or "dst" not in tuples[0]:
        raise _LineError("a truncated connection entry")
    protocol = head["number"] if head["name"] == _NAMELESS else head["name"]
    try:
        return Connection(protocol, head["state"] or "", *map(_tuple, tuples))
    except ValueError:
        raise _LineError("a connection with an invalid address or port") from None


def _tuple(found: dict[str, str]) -> Tuple:
    source, destination = (str(ip_address(found[key])) for key in ("src", "dst"))
    return Tuple(source, destination, *(int(found.get(key, "0")) for key in ("sport", "dport")))
