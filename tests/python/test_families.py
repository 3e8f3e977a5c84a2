"""A peer with addresses of both families: IPv6 first, IPv4 soon after, the first connection wins."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import pytest

V4, V6 = "127.0.0.1", "::1"
BOTH = [V6, V4]
AT_ONCE = 0.1


@pytest.fixture
def families(registry: Callable[[str], ModuleType]) -> Any:
    return registry("cnet_service.families")


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(address: str, port: int = 0, backlog: int = 20) -> socket.socket:
    return socket.create_server((address, port), family=family_of(address), backlog=backlog)


@contextmanager
def full(address: str, port: int) -> Iterator[None]:
    """Listen without a place for another connection: the kernel drops each further SYN."""
    with ExitStack() as stack:
        stack.enter_context(listen(address, port, backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket(family_of(address)))
            filler.setblocking(False)
            filler.connect_ex((address, port))
        time.sleep(0.05)
        yield


def connect(families: Any, port: int, seconds: float = 1.0, hosts: Any = BOTH) -> tuple[str, float, int]:
    """Connect; return the address, the seconds that it took, and the connection's TCP_USER_TIMEOUT."""
    begin = time.monotonic()
    with families.connect(hosts, port, begin + seconds) as connection:
        timeout = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        return connection.getpeername()[0], time.monotonic() - begin, timeout


def test_ipv6_is_first_whatever_the_order_of_the_hosts(families: Any) -> None:
    with listen(V4) as server, listen(V6, port_of(server)):
        for hosts in (BOTH, [V4, V6]):
            assert connect(families, port_of(server), hosts=hosts)[0] == V6


def test_without_an_answer_in_ipv6_ipv4_follows_in_250_ms_and_then_is_first_for_a_while(
    families: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "REST_SECONDS", 0.3)
    with listen(V4) as server, full(V6, port_of(server)):
        address, seconds, _ = connect(families, port_of(server))
        assert address == V4
        assert 0.2 < seconds < 0.25 + AT_ONCE
        address, seconds, _ = connect(families, port_of(server))
        assert address == V4
        assert seconds < AT_ONCE
        time.sleep(0.4)
        assert connect(families, port_of(server))[1] > 0.2  # IPv6 is tried first again


def test_with_a_short_deadline_ipv4_has_half_of_it(families: Any) -> None:
    with listen(V4) as server, full(V6, port_of(server)):
        assert connect(families, port_of(server), seconds=0.2)[0] == V4


def test_when_ipv6_is_refused_ipv4_follows_at_once(families: Any) -> None:
    with listen(V4) as server:
        address, seconds, _ = connect(families, port_of(server))
    assert address == V4
    assert seconds < AT_ONCE


def test_ipv6_takes_over_from_an_ipv4_that_was_first(families: Any) -> None:
    with listen(V4) as server:
        connect(families, port_of(server))
    with listen(V6) as server, full(V4, port_of(server)):
        address, seconds, _ = connect(families, port_of(server))
        assert address == V6
        assert seconds < 0.25 + AT_ONCE
        begin = time.monotonic()
        with families.connect(BOTH, port_of(server), begin + 1) as connection:
            assert time.monotonic() - begin < AT_ONCE
            assert not families.is_resting(connection)


def test_without_any_answer_the_deadline_ends_it(families: Any) -> None:
    with listen(V4, backlog=0) as server:
        port = port_of(server)
    with full(V4, port), full(V6, port):
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            families.connect(BOTH, port, begin + 0.5)
        assert 0.4 < time.monotonic() - begin < 0.5 + AT_ONCE
    with pytest.raises(ConnectionRefusedError):
        families.connect(BOTH, port, time.monotonic() + 0.5)


def test_unanswered_data_soon_breaks_only_a_connection_that_ipv4_can_replace(families: Any) -> None:
    with listen(V4) as server, listen(V6, port_of(server)):
        port = port_of(server)
        assert connect(families, port)[2] == families.UNANSWERED_MILLISECONDS
        assert connect(families, port, hosts=[V6])[2] == 0
        assert connect(families, port, hosts=[V4])[2] == 0
        families.note_failure(TimeoutError())
        address, _, timeout = connect(families, port)
        assert (address, timeout) == (V4, 0)


def test_an_open_connection_of_a_family_that_failed_is_not_used(families: Any) -> None:
    with (
        listen(V4) as server,
        listen(V6, port_of(server)),
        families.connect(BOTH, port_of(server), time.monotonic() + 1) as connection,
    ):
        assert not families.is_resting(connection)
        families.note_failure(ConnectionResetError())  # its process ended, which says nothing of the network
        assert not families.is_resting(connection)
        families.note_failure(TimeoutError())
        assert families.is_resting(connection)


def test_each_family_has_its_own_source(families: Any) -> None:
    with listen("127.0.0.1") as server, listen(V6, port_of(server)):
        deadline = time.monotonic() + 1
        for hosts, source in ((BOTH, V6), ([V4], "127.0.0.9")):
            with families.connect(hosts, port_of(server), deadline, ["::1", "127.0.0.9"]) as connection:
                assert connection.getsockname()[0] == source


def test_a_single_host_is_chosen_without_a_connection_and_of_two_the_one_that_answers(families: Any) -> None:
    with listen(V4) as server:
        deadline = time.monotonic() + 1
        assert families.choose(["name"], port_of(server), deadline) == "name"
        assert families.choose(BOTH, port_of(server), deadline) == V4
