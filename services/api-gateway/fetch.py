"""One GET with one deadline for all of it and a limit on its bytes, whoever is on the other side.

A timeout of a socket is for each read: a peer that sends a byte a second never reaches it.
The same file lies in each service's folder that uses it, for each stands alone; a test holds the copies equal.
"""

import http.client
import io
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from exchange import connect, time_left

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


def fetch(url: str, seconds: float, most_bytes: int) -> Answer:
    """Return the answer to a GET; raise NoAnswerError when it is not complete after `seconds`.

    `most_bytes` limits the answer with its headers. Only resolving a host name has its own timeout (the
    resolver's); the lab's URLs have addresses.
    """
    try:
        return parse(receive(url, time.monotonic() + seconds, most_bytes))
    except Exception as failure:  # whatever a peer sends, it is no answer
        raise NoAnswerError(f"{url}: {str(failure) or type(failure).__name__}") from failure


def receive(url: str, deadline: float, most_bytes: int) -> bytes:
    """Send a GET and return all that comes until the peer closes."""
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
            if len(received) > most_bytes:
                raise ValueError(f"the answer is longer than {most_bytes} bytes")


def parse(received: bytes) -> Answer:
    """Return the HTTP answer in what was received; raise when it is none, or not whole."""
    answer = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]  # it only calls makefile
    answer.begin()
    return Answer(answer.status, answer.headers, answer.read())
