"""A service of a table with both families is checked in both."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv6Interface

import pytest

from lab.topology import ROOT, load
from monitoring.health.checks import DEGRADED, DOWN, UP, Target, check, probe_http, probe_ready, targets

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
ERROR = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def server(address: str, port: int, answer: bytes) -> Iterator[int]:
    """Answer each connection on loopback; without an answer leave it open."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server((address, port), family=family))

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                stack.enter_context(connection).recv(4096)
                connection.sendall(answer)
                if answer:
                    connection.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "answer6", "state", "why"),
    [
        (OK, OK, UP, ""),
        (OK, ERROR, DEGRADED, "IPv6: /health answered 500"),
        (OK, b"", DEGRADED, "IPv6: no answer in time"),
        (ERROR, OK, DOWN, "/health answered 500"),
    ],
)
def test_a_service_that_answers_in_ipv4_alone_is_degraded(
    answer: bytes, answer6: bytes, state: str, why: str
) -> None:
    with server("127.0.0.1", 0, answer) as port, server("::1", port, answer6):
        begin = time.monotonic()
        result = check(Target("a", "127.0.0.1", port, probe_http, probe_ready, "::1"), 0.5)
        assert (result.state, result.why) == (state, why)
        assert time.monotonic() - begin < 1


def test_a_service_that_does_not_listen_in_ipv6_is_degraded() -> None:
    with server("127.0.0.1", 0, OK) as port:
        result = check(Target("a", "127.0.0.1", port, probe_http, None, "::1"), 0.5)
    assert (result.state, result.why) == (DEGRADED, "IPv6: connection refused")


def test_a_target_has_the_addresses_of_its_node() -> None:
    topology = load(ROOT / "topology/flat.tsv")
    assert {target.address6 for target in targets(topology)} == {""}
    topology.nodes = tuple(
        node._replace(address6=IPv6Interface("2001:db8::5/64")) if node.runs == "redis" else node
        for node in topology.nodes
    )
    assert [target.node for target in targets(topology) if target.address6 == "2001:db8::5"] == [
        "redis-cache"
    ]
