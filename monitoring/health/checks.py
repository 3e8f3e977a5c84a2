"""Check all services at once, so that a dead or slow one delays no other.

HTTP services: GET /health, then /ready, which lists missing dependencies. Redis: PING
(redis.io/docs/latest/develop/reference/protocol-spec). PostgreSQL: SSLRequest. Any other service: a TCP connection.
The shop is checked as a customer uses it: the catalogue, through the published port.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from lab.topology import Node, Topology
from monitoring.exchange import Exchange, http_connection

TIMEOUT_SECONDS = 2.0
SHOP = "the shop"  # a node's name has no blank
UP, DEGRADED, DOWN = "up", "degraded", "down"
_HTTP_OK = 200
_SSL_REQUEST = 80877103  # PostgreSQL's code for it
_CLOSED = "it closed the connection"
_MAX_CHARACTERS = 120  # of a service's own explanation


class UnhealthyError(Exception):
    """A service answered that it is unhealthy, or not as expected; the message is its answer."""


@dataclass(frozen=True)
class Check:
    """The result of one check: `time` in seconds since 1970, `milliseconds` until the answer or the failure.

    `why`: why the service is down, or what is missing while it is up.
    """

    node: str
    time: float
    up: bool
    milliseconds: float
    why: str = ""

    @property
    def state(self) -> str:
        """Return UP, DEGRADED (up, but something that it needs or uses is not) or DOWN."""
        if not self.up:
            return DOWN
        return DEGRADED if self.why else UP


@dataclass(frozen=True)
class Target:
    """A service to check; both functions take address, port and timeout in seconds."""

    node: str
    address: str
    port: int
    probe: Callable[[str, int, float], None]
    probe_ready: Callable[[str, int, float], str] | None = None  # returns what is missing


def targets(topology: Topology) -> list[Target]:
    """Return the shop, if nginx publishes a port, and a target for each node that listens on TCP."""
    shops = [
        Target(SHOP, "127.0.0.1", published.host_port, probe_shop)
        for node in topology.nodes
        if node.runs == "nginx"
        for published in node.publishes
        if published.protocol == "tcp"
    ]
    return [
        *shops[:1],
        *(
            Target(node.name, str(node.address.ip), port, *_probes_of(node))
            for node in topology.nodes
            for port in [listener.port for listener in node.listens if listener.protocol == "tcp"][:1]
        ),
    ]


def _probes_of(
    node: Node,
) -> tuple[Callable[[str, int, float], None], Callable[[str, int, float], str] | None]:
    if node.runs is None:
        return probe_tcp, None
    others = {"redis": probe_redis, "postgres": probe_postgres, "nginx": probe_http}
    return (others[node.runs], None) if node.runs in others else (probe_http, probe_ready)


def check_all(wanted: Iterable[Target], timeout: float = TIMEOUT_SECONDS) -> list[Check]:
    """Check all at once; takes as long as the slowest, at most `timeout` seconds."""
    wanted = list(wanted)
    with ThreadPoolExecutor(max(len(wanted), 1)) as pool:
        return list(pool.map(lambda target: check(target, timeout), wanted))


def check(target: Target, timeout: float = TIMEOUT_SECONDS) -> Check:
    """Check one within `timeout` seconds; its milliseconds do not include /ready."""
    now, begin = time.time(), time.perf_counter()  # noqa: TID251  to be shown
    try:
        target.probe(target.address, target.port, timeout)
    except Exception as error:  # a failed check must not end the others
        return Check(target.node, now, up=False, milliseconds=_since(begin), why=_reason(error))
    milliseconds = _since(begin)
    return Check(
        target.node,
        now,
        up=True,
        milliseconds=milliseconds,
        why=_missing(target, timeout - milliseconds / 1000),
    )


def _since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000


def _missing(target: Target, seconds: float) -> str:
    if target.probe_ready is None:
        return ""
    try:
        return target.probe_ready(target.address, target.port, seconds)
    except Exception as error:
        return f"/ready: {_reason(error)}"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    """Shorten a service's explanation, and replace control characters."""
    return "".join(character if character.isprintable() else "?" for character in text[:_MAX_CHARACTERS])


def _get(address: str, port: int, timeout: float, path: str) -> tuple[int, bytes]:
    with closing(http_connection(address, port, timeout)) as connection:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()


def probe_http(address: str, port: int, timeout: float) -> None:
    """GET /health, and read the whole answer. Raises UnhealthyError, OSError or HTTPException."""
    status, _ = _get(address, port, timeout, "/health")
    if status != _HTTP_OK:
        raise UnhealthyError(f"/health answered {status}")


def probe_ready(address: str, port: int, timeout: float) -> str:
    """GET /ready; return what the service is missing, "" for nothing. Raises OSError or HTTPException."""
    status, body = _get(address, port, timeout, "/ready")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    missing, degraded = answer.get("dependencies"), answer.get("degraded")
    reasons = [f"without {', '.join(map(str, missing))}"] if isinstance(missing, list) and missing else []
    if isinstance(degraded, dict):
        reasons += [f"{name}: {trouble}" for name, trouble in degraded.items()]
    return _one_line("; ".join(reasons) or ("" if status == _HTTP_OK else f"/ready answered {status}"))


def probe_shop(address: str, port: int, timeout: float) -> None:
    """GET the catalogue as a customer does. Raises UnhealthyError, OSError or HTTPException."""
    status, body = _get(address, port, timeout, "/api/products")
    if status != _HTTP_OK:
        raise UnhealthyError(f"GET /api/products answered {status}")
    if not json.loads(body).get("products"):
        raise UnhealthyError("GET /api/products has no products")


def probe_tcp(address: str, port: int, timeout: float) -> None:
    """Connect. Raises OSError."""
    Exchange(address, port, timeout).close()


def probe_redis(address: str, port: int, timeout: float) -> None:
    """Send PING; a request for a password is a good answer too. Raises UnhealthyError or OSError."""
    with Exchange(address, port, timeout) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.read_line()
    if not answer.startswith((b"+PONG", b"-NOAUTH")):
        raise UnhealthyError(answer[:60].decode("ascii", "replace").strip() or _CLOSED)


def probe_postgres(address: str, port: int, timeout: float) -> None:
    """Send SSLRequest; both answers are good, and PostgreSQL logs neither. Raises UnhealthyError, OSError."""
    with Exchange(address, port, timeout) as connection:
        connection.sendall(struct.pack("!II", 8, _SSL_REQUEST))
        answer = connection.recv(1024)
    if answer[:1] not in (b"S", b"N"):
        raise UnhealthyError(answer[:60].decode("utf-8", "replace") or _CLOSED)
