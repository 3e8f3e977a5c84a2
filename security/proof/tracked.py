"""Tracked connections of the host (conntrack(8)): count those of a source, delete some."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable

from lab.conntrack import Connection, connections

_CLOSED = ("TIME_WAIT", "CLOSE")  # not counted by a limit (nf_conncount.c, already_closed)


def open_by_source(known: Iterable[Connection]) -> Counter[str]:
    """Count connections as a limit does, by the address that opened them."""
    return Counter(each.original.source for each in known if each.state not in _CLOSED)


def tracked() -> list[Connection]:
    """Return all connections of this network namespace; needs root."""
    shown = subprocess.run(["conntrack", "-L"], capture_output=True, text=True, check=True).stdout
    return list(connections(shown.splitlines()))


def forget(protocol: str, source: str, destination: str) -> None:
    """Delete the connections that a source opened to one destination, if any."""
    command = ["conntrack", "-D", "-p", protocol, "-s", source, "-d", destination]
    subprocess.run(command, capture_output=True, check=False)
