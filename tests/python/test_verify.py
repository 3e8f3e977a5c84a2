"""The checks of the platform's endpoints: what counts as expected, and what an exchange may take."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.topology import load
from lab.verify.platform import Endpoints
from lab.verify.request import Answer, ItemCount, matches, send


@pytest.mark.parametrize(
    ("expected", "value", "result"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"b": 2}, False),
        ({"a": 1}, [1], False),
        ([{"a": 1}], [{"a": 2}, {"a": 1}], True),
        ([{"a": 1}], [{"a": 2}], False),
        ([{"a": 1}], [], False),
        (ItemCount(2), [1, 2], True),
        (ItemCount(2), [1], False),
        (re.compile("quantity"), "quantity: is missing", True),
        (re.compile("quantity"), 7, False),
        (str, "text", True),
        (int, "text", False),
        (89.97, 89.97, True),
        ({"a": {"b": [str]}}, {"a": {"b": ["x"]}}, True),
    ],
)
def test_an_answer_is_compared_field_by_field(expected: Any, value: Any, result: bool) -> None:
    assert matches(expected, value) is result


@contextmanager
def server(first: bytes, rest: bytes, pause: float) -> Iterator[str]:
    """Serve one connection: `first`, then `rest` again and again with pauses."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                try:
                    connection.sendall(first)
                    while rest:
                        connection.sendall(rest)
                        time.sleep(pause)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield "http://{}:{}/".format(*listening.getsockname())


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("first", "rest", "pause"),
    [(HEAD, b"X-Slow: a\r\n", 0.1), (HEAD + b"\r\n", b"a", 0.1), (HEAD + b"\r\n", bytes(1 << 20), 0.0)],
    ids=["the head drips", "the body drips", "the body never ends"],
)
def test_a_peer_that_never_ends_gives_no_answer_in_time(first: bytes, rest: bytes, pause: float) -> None:
    with server(first, rest, pause) as url:
        begin = time.monotonic()
        assert send(url, seconds=0.5) == Answer()
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status":"healthy"}', ["passed"]),
        (b'{"status":"ill"}', ["failed"]),
        (b"no JSON", ["failed"]),
    ],
)
def test_a_wrong_answer_is_shown_beside_what_was_expected(body: bytes, words: list[str]) -> None:
    with server(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, b"", 0) as url:
        results = list(Endpoints().expect("GET /health", url, 200, {"status": "healthy"}))
    assert [(word, name) for word, name, _ in results] == [(word, "GET /health") for word in words]
    assert body.decode() in results[0][2]


def test_a_missing_answer_names_the_explain_that_tells_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    results = Endpoints(load("flat")).expect("GET /health", f"http://127.0.0.1:{port}/health", 200, {})
    assert list(results) == [
        ("failed", "GET /health", "expected 200 and {}, got no answer"),
        ("why", f"FROM=host TO=host PORT={port}"),
    ]
