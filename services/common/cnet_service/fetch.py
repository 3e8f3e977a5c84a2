"""One GET with a total deadline and a limit on the bytes of its answer.

A socket's timeout applies to each read: a peer that sends a byte a second never reaches it.
"""

import http.client
import io
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from cnet_service.exchange import connect, time_left

RECEIVE_BYTES = 64 * 1024


class NoAnswerError(Exception):
    """The peer sent no complete HTTP answer within the deadline and the limit."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class _Received:
    """Bytes that http.client reads as if they came from a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def fetch(url: str, seconds: float, max_bytes: int) -> Answer:
    """Return the answer to a GET; raise NoAnswerError if it is not complete after `seconds`.

    `max_bytes` limits the answer with its headers. Resolving a host name has the resolver's own timeout.
    """
    try:
        return parse(receive(url, time.monotonic() + seconds, max_bytes))
    except Exception as failure:  # a peer may send anything
        raise NoAnswerError(f"{url}: {str(failure) or type(failure).__name__}") from failure


def receive(url: str, deadline: float, max_bytes: int) -> bytes:
    """Send a GET and return all bytes until the peer closes."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    received = bytearray()
    with connect(parts.hostname or "", parts.port or 80, deadline) as connection:
        connection.settimeout(time_left(deadline))
        connection.sendall(request.encode("ascii"))
        while True:
            connection.settimeout(time_left(deadline))
            part = connection.recv(RECEIVE_BYTES)
            if not part:
                return bytes(received)
            received += part
            if len(received) > max_bytes:
                raise ValueError(f"the answer is longer than {max_bytes} bytes")


def parse(received: bytes) -> Answer:
    """Return the HTTP answer in these bytes; raise if it is invalid or incomplete."""
    answer = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]  # it only calls makefile
    answer.begin()
    return Answer(answer.status, answer.headers, answer.read())
