"""One HTTP exchange over a connection of its own, with a total deadline and a limit on the bytes of its answer.

A socket's own timeout restarts with each byte, so a peer that sends a byte now and then could hold the caller for ever.
"""

import io
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from urllib.parse import urlsplit

from cnet_service.families import connect, time_left

MAX_HEAD_BYTES = 16 * 1024  # maximum answer size if only the status is read
MAX_DRAINED_BYTES = 4 * 1024


class NoAnswerError(Exception):
    """The peer sent no complete HTTP answer within the deadline and the limit."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: HTTPMessage
    body: bytes


class _Received(io.RawIOBase):
    """Bytes received before the deadline; more than `max_bytes`, or an incomplete head, is an error."""

    def __init__(self, connection: socket.socket, deadline: float, max_bytes: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._max_bytes = self._left = max_bytes
        self.is_head = True

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of a BufferedReader
        self._connection.settimeout(time_left(self._deadline))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise ValueError(f"the answer is longer than {self._max_bytes} bytes")
        if not count and self.is_head:  # http.client accepts EOF as the end of the headers
            raise ConnectionError("the connection was closed before the end of the answer's head")
        return count


def fetch(url: str, seconds: float, max_bytes: int, ip6: str = "") -> Answer:
    """Return the answer to a GET; raise NoAnswerError if it is not complete after `seconds`.

    `ip6` is another address of the URL's host. `max_bytes` limits the answer with its headers. Resolving a host
    name has the resolver's own timeout.
    """
    deadline = time.monotonic() + seconds
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        with connect(list(filter(None, (ip6, parts.hostname))), parts.port or 80, deadline) as connection:
            answer = _begin(connection, format_request("GET", target, parts.netloc), deadline, max_bytes)
            return Answer(answer.status, answer.headers, answer.read())
    except Exception as failure:  # a peer may send anything
        raise NoAnswerError(f"{url}: {str(failure) or type(failure).__name__}") from failure


def ask_status(connection: socket.socket, request: bytes, deadline: float) -> int:
    """Send a request and return the status of the answer, whatever its body; raise OSError, ValueError, HTTPException.

    A part of the body is read, because closing a connection with unread bytes sends a reset.
    """
    answer = _begin(connection, request, deadline, MAX_HEAD_BYTES)
    with suppress(OSError, ValueError, HTTPException):
        answer.read(MAX_DRAINED_BYTES)
    return answer.status


def format_request(method: str, target: str, host: str, headers: str = "", body: str = "") -> bytes:
    """Return a request after whose answer the peer closes; each of `headers` ends with CRLF."""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n{body}".encode("ascii")


def _begin(connection: socket.socket, request: bytes, deadline: float, max_bytes: int) -> HTTPResponse:
    connection.settimeout(time_left(deadline))
    connection.sendall(request)
    received = _Received(connection, deadline, max_bytes)
    answer = HTTPResponse(received)  # type: ignore[arg-type]  # it only calls makefile
    answer.begin()
    received.is_head = False
    return answer
