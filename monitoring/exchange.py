"""A TCP connection for one question and its answer: one deadline for the whole exchange, and a limit of bytes.

A socket's own timeout (and that of requests) is for each read: a peer that sends a byte now and then never times out.
"""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAX_BYTES = 1 << 16


class TooLongError(OSError):
    """The answer has more bytes than are read."""


class Exchange(socket.socket):
    """A connection to (host, port). Raises TimeoutError after `seconds`, TooLongError after MAX_BYTES were read."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._deadline = time.monotonic() + seconds
        self._unread = MAX_BYTES
        try:
            self._limit_wait()
            self.connect((host, port))
        except BaseException:
            self.close()
            raise

    def _limit_wait(self) -> None:
        """Set the timeout of the next call to the seconds that are left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send everything; the timeout of sendall is for all of it."""
        self._limit_wait()
        super().sendall(data, flags)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read what is there."""
        buffer = bytearray(bufsize)
        return bytes(buffer[: self.recv_into(buffer, bufsize, flags)])

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0, /) -> int:
        """Read what is there, as http.client does by a file object."""
        self._limit_wait()
        read = super().recv_into(buffer, nbytes, flags)
        self._unread -= read
        if self._unread < 0:
            raise TooLongError(f"its answer is longer than {MAX_BYTES >> 10} KiB")
        return read

    def read_line(self) -> bytes:
        """Read up to the end of a line, or of the answer."""
        with self.makefile("rb") as stream:
            return stream.readline()


def http_connection(host: str, port: int, seconds: float) -> http.client.HTTPConnection:
    """Connect for one request."""
    connection = http.client.HTTPConnection(host, port)
    connection.sock = Exchange(host, port, seconds)
    return connection
