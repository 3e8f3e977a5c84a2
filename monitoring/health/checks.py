"""Asks each service whether it is well, all at once: one that is dead delays none of the others.

HTTP services answer /health; Redis a PING (its protocol: redis.io/docs/latest/develop/reference/protocol-spec);
PostgreSQL whether it encrypts (its protocol's SSLRequest); anything else takes a TCP connection.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from scripts.topology import Node, Topology

TIMEOUT_SECONDS = 2.0
_HTTP_OK = 200
_SSL_REQUEST = 80877103  # PostgreSQL's code for it


class Unwell(Exception):
    """Why a service is not well."""


@dataclass(frozen=True)
class Check:
    """One answer, or none: `time` in seconds since 1970, `milliseconds` until it was known."""

    node: str
    time: float
    up: bool
    milliseconds: float
    why: str = ""


@dataclass(frozen=True)
class Target:
    """A service to ask."""

    node: str
    address: str
    port: int
    ask: Callable[[str, int, float], None]


def targets(topology: Topology) -> list[Target]:
    """Give a target for each node that listens."""
    return [
        Target(node.name, str(node.address.ip), port, _way_to_ask(node))
        for node in topology.nodes
        for port in [listener.port for listener in node.listens if listener.protocol == "tcp"][:1]
    ]


def _way_to_ask(node: Node) -> Callable[[str, int, float], None]:
    if node.runs is None:
        return ask_tcp
    return {"redis": ask_redis, "postgres": ask_postgres}.get(node.runs, ask_http)


def check_all(wanted: Iterable[Target], timeout: float = TIMEOUT_SECONDS) -> list[Check]:
    """Ask all at once; takes as long as the slowest, `timeout` seconds at most."""
    wanted = list(wanted)
    with ThreadPoolExecutor(max(len(wanted), 1)) as pool:
        return list(pool.map(lambda target: check(target, timeout), wanted))


def check(target: Target, timeout: float = TIMEOUT_SECONDS) -> Check:
    """Ask one."""
    now, begin = time.time(), time.perf_counter()
    why = ""
    try:
        target.ask(target.address, target.port, timeout)
    except (OSError, http.client.HTTPException, Unwell) as error:
        why = _reason(error)
    return Check(target.node, now, not why, (time.perf_counter() - begin) * 1000, why)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def ask_http(address: str, port: int, timeout: float) -> None:
    """Ask /health. Raises Unwell, OSError or HTTPException."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", "/health", headers={"Connection": "close"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != _HTTP_OK:
        raise Unwell(f"/health answered {status}")


def ask_tcp(address: str, port: int, timeout: float) -> None:
    """Connect. Raises OSError."""
    socket.create_connection((address, port), timeout).close()


def ask_redis(address: str, port: int, timeout: float) -> None:
    """Ask for a PONG; to be asked for a password is as good. Raises Unwell or OSError."""
    answer = _exchange(address, port, timeout, b"PING\r\n")
    if not answer.startswith((b"+PONG", b"-NOAUTH")):
        raise Unwell(answer[:60].decode("ascii", "replace").strip() or "it closed the connection")


def ask_postgres(address: str, port: int, timeout: float) -> None:
    """Ask for encryption: yes and no are as good, and neither leaves a line in its log. Raises Unwell or OSError."""
    answer = _exchange(address, port, timeout, struct.pack("!II", 8, _SSL_REQUEST))
    if answer[:1] not in (b"S", b"N"):
        raise Unwell(answer[:60].decode("utf-8", "replace") or "it closed the connection")


def _exchange(address: str, port: int, timeout: float, question: bytes) -> bytes:
    with socket.create_connection((address, port), timeout) as connection:
        connection.sendall(question)
        return connection.recv(1024)
