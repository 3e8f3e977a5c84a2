"""One HTTP exchange within one total deadline; only the status of the answer is read.

A socket's own timeout restarts with each byte, so a peer that sends a byte now and then could hold the caller for ever.
"""

import re
import socket
import time
from contextlib import suppress

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 4 * 1024
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])( [^\r\n]*)?\r\n")


def ask_status(host: str, port: int, request: bytes, seconds: float) -> int:
    """Send a request over a connection of its own and return the status of the answer.

    Raise OSError if there is no answer within `seconds`, ValueError if it is not HTTP or its head is too long.
    """
    deadline = time.monotonic() + seconds
    with connect(host, port, deadline) as connection:
        return exchange(connection, request, deadline)


def exchange(connection: socket.socket, request: bytes, deadline: float) -> int:
    """Send a request and return the status of the answer; raise as `ask_status` does."""
    connection.settimeout(time_left(deadline))
    connection.sendall(request)
    status = read_status(connection, deadline)
    drain(connection, deadline)
    return status


def connect(host: str, port: int, deadline: float, source: str | None = None) -> socket.socket:
    """Return a connection from `source` to the first address of `host` that accepts one."""
    failure: OSError = ConnectionError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as reason:  # a kernel without IPv6
            failure = reason
            continue
        try:
            if source:
                connection.bind((source, 0))
            connection.settimeout(time_left(deadline))
            connection.connect(address)
        except OSError as reason:
            connection.close()
            failure = reason
        else:
            return connection
    raise failure


def time_left(deadline: float) -> float:
    """Return the seconds until `deadline`; raise TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def read_status(connection: socket.socket, deadline: float) -> int:
    """Read the status line and all headers; return the status."""
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > MAX_HEAD_BYTES:
            raise ValueError(f"the answer's head is longer than {MAX_HEAD_BYTES} bytes")
        connection.settimeout(time_left(deadline))
        more = connection.recv(4096)
        if not more:
            raise ConnectionError("the connection was closed before the end of the answer's head")
        head += more
    status_line = STATUS_LINE.match(head)
    if status_line is None:
        raise ValueError("the answer is not HTTP/1")
    return int(status_line[1])


def drain(connection: socket.socket, deadline: float) -> None:
    """Read at most MAX_BODY_BYTES of the body, because closing a connection with unread bytes sends a reset."""
    unread = MAX_BODY_BYTES
    with suppress(OSError):
        while unread > 0:
            connection.settimeout(time_left(deadline))
            more = connection.recv(unread)
            if not more:
                break
            unread -= len(more)
