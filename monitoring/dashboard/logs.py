"""Threads that follow logs: the gateway's for the balance of its instances, and those that report events."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from lab.topology import Topology
from lab.unread import Unread
from monitoring import gateway_log
from monitoring.dashboard import events
from monitoring.dashboard.events import Event, Request, Turn
from monitoring.dashboard.incidents import Incident, describe_requests, find_incidents
from monitoring.dashboard.watchers import Watcher
from monitoring.dashboard.window import KEPT_SECONDS, Seconds
from monitoring.health.checks import SHOP, UP, Check

_READ_SECONDS = 0.5
_PAST_BYTES = 1 << 18  # of a log, read at the start
_MAX_EVENTS, _MAX_REQUESTS = 500, 20_000
_SETTLED_SECONDS = 3.0  # after an incident; by then each log has been read
Parse = Callable[[str], Iterable[Event | Request]]


class LogWatcher(Watcher):
    """Follows a log, and gives its new lines to note()."""

    def __init__(self, path: Path, past_bytes: int = 0) -> None:
        super().__init__()
        self._path, self._past, self._rest = path, past_bytes, b""

    def watch(self) -> None:
        """Follow the file until it is rotated."""
        with self._path.open("rb") as log:
            begin = max(log.seek(0, os.SEEK_END) - self._past, 0)
            log.seek(begin)
            self._rest, self._past = b"", _PAST_BYTES  # the next file is read from its beginning
            self.trouble = ""
            while _is_same_file(self._path, log.fileno()):
                whole, _, self._rest = (self._rest + log.read()).rpartition(b"\n")
                if whole:
                    self.note(whole.decode("utf-8", "replace").splitlines())
                time.sleep(_READ_SECONDS)

    def note(self, lines: Sequence[str]) -> None:
        """Use new lines."""
        raise NotImplementedError


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class BalanceWatcher(LogWatcher):
    """Counts the requests for products by instance."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(gateway_log.log_of_gateway(topology))
        self._unread = Unread()
        self.counts = Seconds[str]()  # requests by instance

    def note(self, lines: Sequence[str]) -> None:
        """Count the requests of these lines."""
        routed, _ = gateway_log.read(lines, self._unread)
        for request in gateway_log.to_products(routed):
            self.counts.add(int(request.time), {request.instance: 1})


class EventWatcher(LogWatcher):
    """Reads events and requests from a log."""

    def __init__(self, path: Path, parse: Parse, story: Story) -> None:
        super().__init__(path, _PAST_BYTES)
        self._parse, self._story = parse, story

    def watch(self) -> None:
        """Follow the file; if it is missing there is no event, and the balance says so."""
        if self._path.exists():
            super().watch()

    def note(self, lines: Sequence[str]) -> None:
        """Add the events and requests of these lines."""
        for line in lines:
            for found in self._parse(line):
                self._story.add(found)


class Story:
    """Events and requests of the kept time, and the incidents that they make."""

    def __init__(self, topology: Topology) -> None:
        self._nodes = {node.name for node in topology.nodes}
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._requests: deque[Request] = deque(maxlen=_MAX_REQUESTS)
        self._states: dict[str, str] = {}  # by node, of the health check before
        self._described: dict[tuple[str, float], str] = {}
        self.watchers = [EventWatcher(path, parse, self) for path, parse in _logs(topology)]

    def add(self, found: Event | Request) -> None:
        """Add an event of one of the lab's nodes, or a request."""
        if isinstance(found, Request):
            self._requests.append(found)
        elif found.node in self._nodes:
            self._events.append(found)

    def add_checks(self, checks: Iterable[Check]) -> None:
        """Add each change of a node's health as an event."""
        for check in checks:
            before = self._states.get(check.node, UP)
            self._states[check.node] = check.state
            if check.state != before and check.node != SHOP:
                turn = Turn.BETTER if check.state == UP else Turn.WORSE
                text = f"{check.state}: {check.why}".removesuffix(": ")
                self.add(Event(check.time, check.node, events.HEALTH, turn, text))

    def incidents(self) -> list[tuple[Incident, str]]:
        """Return the incidents of the kept time, the latest first, and what happened to requests meanwhile."""
        now = time.time()  # noqa: TID251  logs have the time of day
        recent = [event for event in list(self._events) if event.time > now - KEPT_SECONDS]
        return [(incident, self._describe(incident, now)) for incident in find_incidents(recent)]

    def _describe(self, incident: Incident, now: float) -> str:
        """Describe the requests during an incident; keep the words, because later the requests are forgotten."""
        key = incident.node, incident.end
        if key in self._described:
            return self._described[key]
        words = describe_requests(incident, list(self._requests), now)
        if incident.is_over and incident.end < now - _SETTLED_SECONDS:
            self._described[key] = words
        return words


def _logs(topology: Topology) -> Iterable[tuple[Path, Parse]]:
    """Yield the logs that report events, and how to read a line of each."""
    names = {str(address.ip): node.name for node in topology.nodes for address in node.addresses}
    parsers: dict[str, Parse] = {
        "service-registry": events.of_registry,
        "api-gateway": partial(events.of_gateway, names=names),
        "nginx": events.of_nginx,
    }
    yield gateway_log.LOGS / "supervisord.log", events.of_supervisor
    for node in topology.nodes:
        if parser := parsers.get(node.runs or ""):
            yield gateway_log.LOGS / f"{node.name}.log", parser
