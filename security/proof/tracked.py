"""Connections that the host tracks (conntrack(8)): how many a source has open, and how to forget some."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable

from lab.conntrack import Connection, connections

_CLOSED = ("TIME_WAIT", "CLOSE")  # that a limit does not count (nf_conncount.c, already_closed)


def open_by_source(known: Iterable[Connection]) -> Counter[str]:
    """Count the connections that a limit counts, by the address that opened them."""
    return Counter(each.original.source for each in known if each.state not in _CLOSED)


def tracked() -> list[Connection]:
    """Read all connections of this network namespace; needs root."""
    shown = subprocess.run(["conntrack", "-L"], capture_output=True, text=True, check=True).stdout
    return list(connections(shown.splitlines()))


def forget(protocol: str, source: str, destination: str) -> None:
    """Forget the connections that a source opened to one destination; there may be none."""
    command = ["conntrack", "-D", "-p", protocol, "-s", source, "-d", destination]
    subprocess.run(command, capture_output=True, check=False)
