"""What happened to the lab's services, as the logs of supervisor, registry, gateway and nginx report it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from monitoring.gateway_log import ROUTED


class Turn(Enum):
    """Whether a service is worse after an event, or better, or neither."""

    WORSE, BETTER, SAME = range(3)


@dataclass(frozen=True)
class Event:
    """One event: `time` in seconds since 1970, who reports it, and what it reports."""

    time: float
    node: str
    reporter: str
    turn: Turn
    text: str


@dataclass(frozen=True)
class Request:
    """A customer's request, and the instance that answered it; empty if it failed."""

    time: float
    instance: str


SUPERVISOR, REGISTRY, GATEWAY, HEALTH = "supervisor", "registry", "gateway", "health check"
_SUPERVISOR_LINE = re.compile(r"(\S+ \d\d:\d\d:\d\d),(\d{3}) \w+ (\w+(?: \w+)?): (.*)")
_EXITED = re.compile(r"(\S+) \((.*)\)")
_SPAWNED = re.compile(r"'(\S+)' with pid (\d+)")
_ANNOUNCED = re.compile(r"[\w.-]+: (\S+) (?:is )?(critical|passing|registered|deregistered)")
_NO_ANSWER = re.compile(r"\S+ at (http://\S+) (does not answer: .*|gave a bad answer, .*)")
_SAID_BY_REGISTRY = {
    "critical": (Turn.WORSE, "no answer to its check, or no heartbeat: no longer in its list (critical)"),
    "passing": (Turn.BETTER, "answers again: back in its list (passing)"),
    "registered": (Turn.BETTER, "registered"),
    "deregistered": (Turn.WORSE, "deregistered"),
}
_SERVER_ERROR = 500


def of_supervisor(line: str) -> Iterator[Event]:
    """Yield the event of a line of supervisord's log, which has the local time."""
    if not (found := _SUPERVISOR_LINE.match(line)):
        return
    time = datetime.fromisoformat(f"{found[1]}.{found[2]}").timestamp()
    kind, rest = found[3], found[4]
    if kind in {"exited", "stopped"} and (ended := _EXITED.match(rest)):
        yield Event(
            time, ended[1], SUPERVISOR, Turn.WORSE, f"its program ended: {ended[2].partition(';')[0]}"
        )
    elif kind == "spawned" and (begun := _SPAWNED.match(rest)):
        yield Event(time, begun[1], SUPERVISOR, Turn.BETTER, f"started it (pid {begun[2]})")


def of_registry(line: str) -> Iterator[Event]:
    """Yield the event of a line of the registry's log."""
    record = _record(line)
    if record and (found := _ANNOUNCED.fullmatch(record["message"])):
        yield Event(record["at"], found[1], REGISTRY, *_SAID_BY_REGISTRY[found[2]])


def of_gateway(line: str, names: Mapping[str, str]) -> Iterator[Event | Request]:
    """Yield the event or the customer's request of a line of the gateway's log; `names`: node by address."""
    record = _record(line)
    if not record:
        return
    time, message = record["at"], record["message"]
    if record.get("event") == "out":
        reason = message.partition(": ")[2]
        text = f"out of rotation: the other instances get its requests ({reason})"
        yield Event(time, str(record.get("upstream")), GATEWAY, Turn.WORSE, text)
    elif record.get("event") == "back":
        yield Event(time, str(record.get("upstream")), GATEWAY, Turn.BETTER, "back in rotation")
    elif found := _NO_ANSWER.match(message):
        address = found[1].removeprefix("http://").rpartition(":")[0].strip("[]")
        text = f"{found[2]}; the request goes to another instance"
        yield Event(time, names.get(address, address), GATEWAY, Turn.SAME, text)
    elif message.startswith(ROUTED) and not _failed(record):
        yield Request(time, str(record.get("upstream", "")))


def of_nginx(line: str) -> Iterator[Request]:
    """Yield a request that failed (5xx) of a line of nginx's log: also those that did not reach the gateway."""
    record = _record(line)
    if record and _failed(record):
        yield Request(record["at"], "")


def _failed(record: Mapping[str, Any]) -> bool:
    status = record.get("status")
    return isinstance(status, int) and status >= _SERVER_ERROR


def _record(line: str) -> dict[str, Any] | None:
    """Return a JSON line with its time in `at`; None for another line."""
    try:
        record = json.loads(line) if line.startswith("{") else None
        if not isinstance(record, dict):
            return None
        time = datetime.fromisoformat(str(record["time"])).timestamp()
        return record | {"at": time, "message": str(record.get("message", ""))}
    except (ValueError, KeyError, RecursionError):
        return None
