"""List, count and delete the host's tracked connections (conntrack(8))."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable

from lab.conntrack import Connection, connections

_CLOSED = ("TIME_WAIT", "CLOSE")  # not counted by a limit (nf_conncount.c, already_closed)


def count_open_by_source(tracked: Iterable[Connection]) -> Counter[str]:
    """Count connections as a limit does, by the address that opened them."""
    return Counter(connection.original.source for connection in tracked if connection.state not in _CLOSED)


def list_connections() -> list[Connection]:
    """Return all connections of this network namespace; needs root."""
    output = subprocess.run(["conntrack", "-L"], capture_output=True, text=True, check=True).stdout
    return list(connections(output.splitlines()))


def delete_connections(protocol: str, source: str, destination: str) -> None:
    """Delete the connections that a source opened to one destination, if any."""
    command = ["conntrack", "-D", "-p", protocol, "-s", source, "-d", destination]
    subprocess.run(command, capture_output=True, check=False)
