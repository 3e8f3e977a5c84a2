"""Check all services at once, so that a dead or slow one delays no other.

HTTP services: GET /health, then /ready, which lists missing dependencies. Redis: PING
(redis.io/docs/latest/develop/reference/protocol-spec). PostgreSQL: SSLRequest. Any other service: a TCP connection.
The shop is checked as a customer uses it: the catalogue, through the published port. A service with an IPv6 address is
asked there, too: one that answers in IPv4 alone is degraded.

A probe returns what is wrong, "" for nothing. It has one deadline, however slowly bytes arrive, and a limit of bytes.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BytesIO

from lab.escape import on_one_line, shortened
from lab.topology import Node, Topology, bracketed

TIMEOUT_SECONDS = 2.0
SHOP = "the shop"  # a node's name has no blank
UP, DEGRADED, DOWN = "up", "degraded", "down"
Probe = Callable[[str, int, float], str]  # address, port, timeout in seconds
_HTTP_OK = 200
_SSL_REQUEST = 80877103  # code of PostgreSQL's SSLRequest message
_CLOSED = "it closed the connection"
_MAX_BYTES = 1 << 16  # longest answer
_MAX_CHARACTERS = 120  # longest explanation from a service


@dataclass(frozen=True)
class Check:
    """The result of one check: `time` in seconds since 1970, `milliseconds` until the answer or the failure.

    `why`: why the service is down, or its missing dependencies.
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
    """A service to check."""

    node: str
    address: str
    port: int
    probe: Probe
    probe_ready: Probe | None = None  # runs after the first probe passes
    address6: str = ""  # where the first probe runs again


def check_all(wanted: Iterable[Target], timeout: float = TIMEOUT_SECONDS) -> list[Check]:
    """Check all at once; takes as long as the slowest, at most `timeout` seconds."""
    wanted = list(wanted)
    with ThreadPoolExecutor(max(len(wanted), 1)) as pool:
        return list(pool.map(lambda target: check(target, timeout), wanted))


def check(target: Target, timeout: float = TIMEOUT_SECONDS) -> Check:
    """Check a service within `timeout` seconds; the milliseconds do not include /ready and IPv6."""
    now, begin = time.time(), time.perf_counter()  # noqa: TID251  to be shown
    why = _failure(target.probe, target.address, target.port, timeout)
    seconds, up = time.perf_counter() - begin, not why
    if up:
        why = "; ".join(_partial_failures(target, begin + timeout))
    return Check(target.node, now, up, seconds * 1000, why)


def _partial_failures(target: Target, deadline: float) -> Iterator[str]:
    """Yield the problems of a service that is up; `deadline` is a time of perf_counter()."""
    if target.probe_ready:
        left = deadline - time.perf_counter()
        why = _failure(target.probe_ready, target.address, target.port, left, "/ready: ")
        if why:
            yield why
    if target.address6:
        why = _failure(target.probe, target.address6, target.port, deadline - time.perf_counter())
        if why:
            yield f"IPv6: {why}"


def _failure(probe: Probe, address: str, port: int, timeout: float, prefix: str = "") -> str:
    """Return the problem that a probe found; an exception in one probe must not end the others."""
    try:
        why = probe(address, port, timeout)
    except TimeoutError:
        why = f"{prefix}no answer in time"
    except Exception as error:
        known = (error.strerror or "").lower() if isinstance(error, OSError) else ""
        why = prefix + (known or str(error) or type(error).__name__)
    return shortened(on_one_line(why), _MAX_CHARACTERS)


def _ask(
    address: str, port: int, timeout: float, question: bytes, is_whole: Callable[[bytes], bool]
) -> bytes:
    """Send a question, and read until the answer is whole or the connection is closed. Raises OSError."""
    deadline = time.monotonic() + timeout
    answer = b""
    with socket.create_connection((address, port), max(timeout, 0.001)) as connection:
        connection.sendall(question)
        while not is_whole(answer):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            part = connection.recv(_MAX_BYTES)
            if not part:
                break
            answer += part
            if len(answer) > _MAX_BYTES:
                raise OSError(f"the answer is longer than {_MAX_BYTES >> 10} KiB")
    return answer


class _Received(BytesIO):
    """An answer in memory that http.client reads like a socket."""

    def makefile(self, _: str) -> BytesIO:
        return self


def _get(address: str, port: int, timeout: float, path: str) -> tuple[int, bytes]:
    """GET a path. Raises OSError or HTTPException."""
    question = f"GET {path} HTTP/1.1\r\nHost: {bracketed(address)}:{port}\r\nConnection: close\r\n\r\n"
    answer = _ask(address, port, timeout, question.encode(), lambda _: False)
    response = HTTPResponse(_Received(answer))  # type: ignore[arg-type] # it uses makefile only
    response.begin()
    return response.status, response.read()


def probe_http(address: str, port: int, timeout: float) -> str:
    """GET /health, and read the whole answer."""
    status, _ = _get(address, port, timeout, "/health")
    return "" if status == _HTTP_OK else f"/health answered {status}"


def probe_ready(address: str, port: int, timeout: float) -> str:
    """GET /ready; return the missing dependencies."""
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
    return "; ".join(reasons) or ("" if status == _HTTP_OK else f"/ready answered {status}")


def probe_shop(address: str, port: int, timeout: float) -> str:
    """GET the catalogue as a customer does."""
    status, body = _get(address, port, timeout, "/api/products")
    if status != _HTTP_OK:
        return f"GET /api/products answered {status}"
    return "" if json.loads(body).get("products") else "GET /api/products has no products"


def probe_tcp(address: str, port: int, timeout: float) -> str:
    """Connect."""
    _ask(address, port, timeout, b"", lambda _: True)
    return ""


def probe_redis(address: str, port: int, timeout: float) -> str:
    """Send PING; a request for a password is a good answer too."""
    answer = _ask(address, port, timeout, b"PING\r\n", lambda answer: b"\n" in answer)
    good = answer.startswith((b"+PONG", b"-NOAUTH"))
    return "" if good else answer[:60].decode("ascii", "replace").strip() or _CLOSED


def probe_postgres(address: str, port: int, timeout: float) -> str:
    """Send SSLRequest; both answers are good, and PostgreSQL logs neither."""
    answer = _ask(address, port, timeout, struct.pack("!II", 8, _SSL_REQUEST), bool)
    return "" if answer[:1] in (b"S", b"N") else answer[:60].decode("utf-8", "replace") or _CLOSED


_PROBES: dict[str | None, tuple[Probe, Probe | None]] = {
    None: (probe_tcp, None),
    "nginx": (probe_http, None),
    "redis": (probe_redis, None),
    "postgres": (probe_postgres, None),
}


def _entry(topology: Topology, node: Node) -> str:
    """Return an address of the host itself, at which its published ports are reached."""
    return "127.0.0.1" if node.address_of(4) else str(topology.bridge_of(node).address.ip)


def targets(topology: Topology) -> list[Target]:
    """Return the shop, if nginx publishes a port, and a target for each node that listens on TCP."""
    shops = [
        Target(SHOP, _entry(topology, node), published.host_port, probe_shop)
        for node in topology.nodes_running("nginx")
        for published in node.publishes
        if published.protocol == "tcp"
    ]
    services = [
        Target(
            node.name,
            str(node.address.ip),
            port,
            *_PROBES.get(node.runs, (probe_http, probe_ready)),
            str(node.second_address.ip) if node.second_address else "",
        )
        for node in topology.nodes
        for port in [listener.port for listener in node.listens if listener.protocol == "tcp"][:1]
    ]
    return shops[:1] + services
