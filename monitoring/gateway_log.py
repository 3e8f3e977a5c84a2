"""The gateway's log as records: answers of instances, and changes of the instances in rotation."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.topology import Topology
from lab.unread import Unread

LOGS = Path("/var/opt/cnet/log")
ROUTED = "Routing request to: "


@dataclass(frozen=True)
class Routed:
    """A request that an instance answered; `time` in seconds since 1970."""

    time: float
    url: str
    instance: str
    path: str
    status: int


@dataclass(frozen=True)
class Change:
    """An instance left rotation ("out") or came back ("back"), as one worker of the gateway saw it."""

    time: float
    change: str
    instance: str
    worker: int
    reason: str


def log_of_gateway(topology: Topology) -> Path:
    """Return where the supervisor writes the gateway's log."""
    gateways = topology.nodes_running("api-gateway")
    return LOGS / f"{gateways[0].name if gateways else 'api-gateway'}.log"


def to_products(routed: Iterable[Routed]) -> list[Routed]:
    """Return the requests for products, which have several instances to go to."""
    return [request for request in routed if request.path.startswith("/api/products")]


def lines_of(log: Path) -> Iterator[str]:
    """Yield the lines of a log and its rotated predecessors (log.2, log.1), the oldest first."""
    rotated = [path for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdecimal()]
    for path in (*sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True), log):
        with path.open(encoding="utf-8", errors="replace") as stream:
            yield from stream


def read(lines: Iterable[str], unread: Unread) -> tuple[list[Routed], list[Change]]:
    """Return routed requests and changes of rotation; note lines that cannot be read in `unread`."""
    routed: list[Routed] = []
    changes: list[Change] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            unread.note(
                "a line that is no record, as programs print when they start and stop", f"line {number}"
            )
            continue
        try:
            entry = _entry(record)
        except (ValueError, KeyError, TypeError):
            unread.note("a record with a value that is missing or cannot be read", f"line {number}")
            continue
        if isinstance(entry, Routed):
            routed.append(entry)
        elif entry:
            changes.append(entry)
    return routed, changes


def _entry(record: Any) -> Routed | Change | None:
    """Return a record as Routed or Change, None for another kind. Raises ValueError, KeyError, TypeError."""
    when = datetime.fromisoformat(record["time"])
    if when.tzinfo is None:
        raise ValueError
    message, time = str(record["message"]), when.timestamp()
    if message.startswith(ROUTED):
        url = message.removeprefix(ROUTED)
        return Routed(time, url, str(record["upstream"]), str(record["path"]), int(record["status"]))
    if "event" in record:
        reason = message.partition(": ")[2]
        return Change(time, str(record["event"]), str(record["upstream"]), int(record["worker"]), reason)
    return None
