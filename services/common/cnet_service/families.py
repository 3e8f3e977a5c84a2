"""Connections to a peer with addresses of both families: IPv6 first, IPv4 soon after, the first one wins (RFC 8305).

A family that lost comes second for a while, for all peers of this process, because a fault usually affects all of them.
Most requests use an open connection, so this choice is rare.
"""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

HEAD_START_SECONDS = 0.25  # until the next address is tried too; half of a shorter deadline
REST_SECONDS = 10.0
# Until unanswered data breaks an IPv6 connection that one of IPv4 can replace (TCP_USER_TIMEOUT, RFC 5482). Linux
# counts from the first retransmission, 200 to 400 ms after the data.
UNANSWERED_MILLISECONDS = 50

_resting: dict[int, float] = {}  # family -> the time until which the other one is first


class _Place(NamedTuple):
    family: int
    address: Any


def connect(
    hosts: Sequence[str],
    port: int,
    deadline: float,
    sources: Sequence[str] = (),
    make: Callable[..., Any] | None = None,
) -> Any:
    """Return a connection to the first address of `hosts` that accepts one; raise OSError without one by `deadline`.

    `sources` are the addresses to connect from, at most one for each family; `make` replaces the socket's class.
    """
    places = _in_order(hosts, port)
    attempts = _Attempts(sources, make or socket.socket)  # gevent replaces it after this module is imported
    try:
        for place in places:
            attempts.begin(place)
            left = time_left(deadline)
            won = attempts.wait(time.monotonic() + min(HEAD_START_SECONDS, left / 2))
            if won:
                break
        else:
            won = attempts.wait(deadline)
    finally:
        attempts.close_others()
    if won is None:
        raise attempts.failure
    _remember(won.family, {place.family for place in attempts.lost})
    if won.family == socket.AF_INET6 and any(place.family == socket.AF_INET for place in places):
        won.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MILLISECONDS)
    return won


def choose(hosts: Sequence[str], port: int, deadline: float) -> str:
    """Return the host that `connect` would use, for a library that connects by itself; raise OSError."""
    if len(hosts) == 1:
        return hosts[0]
    with connect(hosts, port, deadline) as connection:
        return str(connection.getpeername()[0])


def is_resting(connection: Any) -> bool:
    """Return whether a connection's family failed a short time ago, so that a new connection is better."""
    return bool(_resting) and _is_resting(connection.family)


def is_host_resting(host: str) -> bool:
    """Return the same of a connection to a host that `choose` returned."""
    return bool(_resting) and _is_resting(socket.AF_INET6 if ":" in host else socket.AF_INET)


def note_failure(failure: BaseException) -> None:
    """Let IPv6 come second for a while if a peer did not answer in time; of some libraries only the text says so."""
    if isinstance(failure, TimeoutError) or os.strerror(errno.ETIMEDOUT) in str(failure):
        _resting[socket.AF_INET6] = time.monotonic() + REST_SECONDS


def time_left(deadline: float) -> float:
    """Return the seconds until `deadline`; raise TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _in_order(hosts: Sequence[str], port: int) -> list[_Place]:
    places = [
        _Place(found[0], found[4])
        for host in hosts
        for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]
    return sorted(places, key=lambda place: (_is_resting(place.family), place.family != socket.AF_INET6))


def _is_resting(family: int) -> bool:
    until = _resting.get(family)
    if until is not None and time.monotonic() > until:
        _resting.pop(family, None)
        return False
    return until is not None


def _remember(won: int, lost: set[int]) -> None:
    for family in lost - {won}:
        _resting[family] = time.monotonic() + REST_SECONDS
    if lost:
        _resting.pop(won, None)


class _Attempts:
    """Attempts to connect, at the same time; `lost` are those that were begun and did not win."""

    def __init__(self, sources: Sequence[str], make: Callable[..., Any]) -> None:
        self.lost: list[_Place] = []
        self.failure: OSError = TimeoutError("no answer in time")
        self._sources = sources
        self._make = make
        self._begun: dict[int, tuple[_Place, Any]] = {}  # file descriptor -> attempt
        self._poller = select.poll()

    def begin(self, place: _Place) -> None:
        """Begin an attempt."""
        try:
            connection = self._make(place.family, socket.SOCK_STREAM)
        except OSError as reason:  # a kernel without IPv6
            self._note(place, reason)
            return
        try:
            for source in self._sources:
                if (":" in source) == (place.family == socket.AF_INET6):
                    connection.bind((source, 0))
            connection.setblocking(False)
            connection.connect(place.address)
        except BlockingIOError:
            pass
        except OSError as reason:
            connection.close()
            self._note(place, reason)
            return
        self._begun[connection.fileno()] = place, connection
        self._poller.register(connection.fileno(), select.POLLOUT)

    def wait(self, until: float) -> Any:
        """Return the first connection; None if there is none by then, or if no attempt is left."""
        while self._begun and (left := until - time.monotonic()) > 0:
            for number, _ in self._poller.poll(left * 1000):
                self._poller.unregister(number)
                place, connection = self._begun.pop(number)
                error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not error:
                    return connection
                connection.close()
                self._note(place, OSError(error, f"{place.address[0]}: {os.strerror(error)}"))
        return None

    def close_others(self) -> None:
        """End the attempts that did not win."""
        for place, connection in self._begun.values():
            self.lost.append(place)
            connection.close()

    def _note(self, place: _Place, reason: OSError) -> None:
        self.lost.append(place)
        self.failure = reason
