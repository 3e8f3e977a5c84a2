"""Asks each service whether it is well, all at once: one that is dead or slow delays none of the others.

HTTP services answer /health; Redis a PING (its protocol: redis.io/docs/latest/develop/reference/protocol-spec);
PostgreSQL whether it encrypts (its protocol's SSLRequest); anything else takes a TCP connection.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from monitoring.exchange import Exchange, http_connection
from scripts.topology import Node, Topology

TIMEOUT_SECONDS = 2.0
_HTTP_OK = 200
_SSL_REQUEST = 80877103  # PostgreSQL's code for it
_CLOSED = "it closed the connection"


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
    """Ask one; the whole exchange takes `timeout` seconds at most."""
    now, begin = time.time(), time.perf_counter()
    why = ""
    try:
        target.ask(target.address, target.port, timeout)
    except Exception as error:  # whatever one service does, the others are told of
        why = _reason(error)
    return Check(target.node, now, not why, (time.perf_counter() - begin) * 1000, why)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def ask_http(address: str, port: int, timeout: float) -> None:
    """Ask /health, and read all of the answer. Raises Unwell, OSError or HTTPException."""
    with closing(http_connection(address, port, timeout)) as connection:
        connection.request("GET", "/health", headers={"Connection": "close"})
        response = connection.getresponse()
        response.read()
    if response.status != _HTTP_OK:
        raise Unwell(f"/health answered {response.status}")


def ask_tcp(address: str, port: int, timeout: float) -> None:
    """Connect. Raises OSError."""
    Exchange(address, port, timeout).close()


def ask_redis(address: str, port: int, timeout: float) -> None:
    """Ask for a PONG; to be asked for a password is as good. Raises Unwell or OSError."""
    with Exchange(address, port, timeout) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.read_line()
    if not answer.startswith((b"+PONG", b"-NOAUTH")):
        raise Unwell(answer[:60].decode("ascii", "replace").strip() or _CLOSED)


def ask_postgres(address: str, port: int, timeout: float) -> None:
    """Ask for encryption: yes and no are as good, and neither leaves a line in its log. Raises Unwell or OSError."""
    with Exchange(address, port, timeout) as connection:
        connection.sendall(struct.pack("!II", 8, _SSL_REQUEST))
        answer = connection.recv(1024)
    if answer[:1] not in (b"S", b"N"):
        raise Unwell(answer[:60].decode("utf-8", "replace") or _CLOSED)
