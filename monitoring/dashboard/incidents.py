"""Incidents: events of one service that belong together, and what happened to customers' requests meanwhile. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitoring.dashboard.events import GATEWAY, REGISTRY, Event, Request, Turn

_APART_SECONDS = 10.0  # after it recovered, an event that follows sooner belongs to the same incident
_EQUAL_SECONDS = 2.0  # each worker of the gateway reports the same; show it once


@dataclass(frozen=True)
class Incident:
    """What happened to one service, from the first bad event to the last good one."""

    node: str
    events: tuple[Event, ...]
    is_over: bool

    @property
    def begin(self) -> float:
        """Return when it began, in seconds since 1970."""
        return self.events[0].time

    @property
    def end(self) -> float:
        """Return the time of the last event."""
        return self.events[-1].time

    @property
    def retries(self) -> int:
        """Return how many requests the gateway sent again."""
        return sum(event.reporter == GATEWAY and event.turn is Turn.SAME for event in self.events)


def find_incidents(events: Iterable[Event]) -> list[Incident]:
    """Return the incidents, the one with the latest event first; a service that only started had none."""
    by_node: defaultdict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.time):
        by_node[event.node].append(event)
    found = [incident for node, ours in by_node.items() for incident in _of_node(node, ours)]
    return sorted(found, key=lambda incident: -incident.end)


def _of_node(node: str, events: Sequence[Event]) -> Iterable[Incident]:
    current: list[Event] = []
    worse: set[str] = set()  # reporters that have not reported a recovery yet
    for event in events:
        if current and not worse and event.time - current[-1].time > _APART_SECONDS:
            yield Incident(node, tuple(current), is_over=True)
            current = []
        if not current and event.turn is Turn.BETTER:
            continue
        if event.turn is Turn.WORSE:
            worse.add(event.reporter)
        elif event.turn is Turn.BETTER:
            worse.discard(event.reporter)
            if event.reporter == REGISTRY:  # the gateway follows its list, and does not report a new instance
                worse.discard(GATEWAY)
        if not _was_reported(event, current):
            current.append(event)
    if current:
        yield Incident(node, tuple(current), not worse)


def _was_reported(event: Event, earlier: Sequence[Event]) -> bool:
    if event.turn is Turn.SAME:
        return False
    last = next((one for one in reversed(earlier) if one.reporter == event.reporter), None)
    return last is not None and last.turn is event.turn and event.time - last.time < _EQUAL_SECONDS


def describe_requests(incident: Incident, requests: Iterable[Request], now: float) -> str:
    """Return what happened to customers' requests during an incident. nginx logs its times in whole seconds."""
    end = incident.end if incident.is_over else now
    failed, answered, oldest = 0, Counter[str](), now
    for request in requests:
        oldest = min(oldest, request.time)
        if request.instance and incident.begin <= request.time <= end:
            answered[request.instance] += 1
        elif not request.instance and int(incident.begin) <= request.time <= end:
            failed += 1
    if not failed and not answered:  # older requests than the oldest that is kept may have been forgotten
        known = incident.begin >= oldest
        return "No request reached the shop meanwhile." if known else "Its requests are no longer known."
    by_whom = ", ".join(f"{name} ({count})" for name, count in answered.most_common()) or "none"
    again = f" Sent again to another instance: {incident.retries}." if incident.retries else ""
    if failed:
        return (
            f"{failed} of {failed + answered.total()} requests failed. Answered meanwhile: {by_whom}.{again}"
        )
    return f"No request failed. Answered meanwhile: {by_whom}.{again}"
