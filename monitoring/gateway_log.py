"""The gateway's log as records: which instance answered when, and who left rotation and came back."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

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


def lines_of(log: Path) -> Iterator[str]:
    """Yield the lines of a log and its rotated predecessors (log.2, log.1), the oldest first."""
    numbered = sorted(log.parent.glob(f"{log.name}.*"), key=lambda path: path.suffix, reverse=True)
    for path in (*numbered, log):
        with path.open(encoding="utf-8", errors="replace") as stream:
            yield from stream


def read(lines: Iterable[str]) -> tuple[list[Routed], list[Change], int]:
    """Return what was routed, what changed, and how many lines were no record."""
    routed: list[Routed] = []
    changes: list[Change] = []
    unread = 0
    for line in lines:
        try:
            record = json.loads(line)
            time = datetime.fromisoformat(record["time"]).timestamp()
            message = str(record["message"])
            if message.startswith(ROUTED):
                url = message.removeprefix(ROUTED)
                routed.append(
                    Routed(time, url, str(record["upstream"]), str(record["path"]), int(record["status"]))
                )
            elif "event" in record:
                reason = message.partition(": ")[2]
                changes.append(
                    Change(time, str(record["event"]), str(record["upstream"]), int(record["worker"]), reason)
                )
        except (ValueError, KeyError, TypeError):
            unread += 1
    return routed, changes, unread
