"""What the supervisor reports of each program, by XML-RPC over its Unix socket, and which of them ended lately."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, dumps, loads

_SECONDS = 1.0
_TAIL_BYTES = 16 * 1024
# supervisord.log: 2026-01-31 10:20:30,400 WARN exited: NODE (exit status 3; not expected)
_EXITED = re.compile(r"^(\S+ \S+),\d+ \w+ exited: (\S+) \(.*; not expected\)", re.MULTILINE)


@dataclass(frozen=True)
class Supervised:
    """A program as the supervisor reports it; `pid` is its container's first process outside, 0 for none."""

    node: str
    state: str  # RUNNING, STOPPED, BACKOFF ...
    pid: int
    started: float  # seconds since 1970
    why: str  # what the supervisor says of the last end


class _Socket(HTTPConnection):
    """HTTP over a Unix socket, with a deadline for each step."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def read_supervised(path: Path) -> dict[str, Supervised] | None:
    """Ask the supervisor at a Unix socket for its programs, by node; None if it gives no answer."""
    try:
        with closing(_Socket(path)) as connection:
            body = dumps((), "supervisor.getAllProcessInfo")
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            found, _ = loads(connection.getresponse().read())
        return {item.node: item for item in map(_supervised, _rows(found))}
    except (OSError, HTTPException, Error, ValueError, LookupError, TypeError):
        return None


def _rows(found: tuple[Any, ...]) -> Iterable[dict[str, Any]]:
    rows: Iterable[dict[str, Any]] = found[0]
    return rows


def _supervised(row: dict[str, Any]) -> Supervised:
    return Supervised(
        row["name"], row["statename"], int(row["pid"]), float(row["start"]), str(row["spawnerr"])
    )


def read_unexpected_ends(log: Path, seconds: float) -> Counter[str]:
    """Count by node how often a program ended by itself in the last seconds, from the supervisor's log."""
    return Counter(_unexpected_ends(read_tail(log, _TAIL_BYTES), time.time() - seconds))  # noqa: TID251 - a date in a log


def _unexpected_ends(text: str, since: float) -> Iterator[str]:
    for when, node in _EXITED.findall(text):
        if datetime.strptime(when, "%Y-%m-%d %H:%M:%S").astimezone().timestamp() >= since:
            yield node


def read_tail(log: Path, size: int) -> str:
    """Return the last bytes of a log, at most `size`; empty if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
