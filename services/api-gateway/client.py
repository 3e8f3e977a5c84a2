"""The HTTP client of an instance: pooled connections, and a byte limit for each answer with its headers.

geventhttpclient limits neither headers nor the bytes between the chunks of a body, and gevent's timer does not run
while a peer sends without a pause.
"""

import socket
import time
from collections.abc import Sequence
from typing import Any

import gevent.socket
from cnet_service import families
from geventhttpclient import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool

MAX_BYTES = 1024 * 1024  # limit: a faulty instance must not exhaust memory
CONNECT_SECONDS = 0.25
CONNECTIONS = 64


class BoundedSocket(gevent.socket.socket):
    """Counts the bytes received since it was taken from the pool."""

    received = 0

    def recv(self, *arguments: Any) -> bytes:
        """Return received bytes; raise ConnectionError if one answer has too many."""
        part: bytes = super().recv(*arguments)
        self.received += len(part)
        if self.received > MAX_BYTES:
            raise ConnectionError(f"answers more than {MAX_BYTES} bytes")
        return part

    def sendall(self, data: Any, flags: int = 0) -> Any:
        """Send all data. It usually fits into one send(2), without reading the buffer size as gevent does."""
        sent = self.send(data, flags)
        if sent < len(data):
            super().sendall(memoryview(data)[sent:], flags)

    @property
    def is_idle(self) -> bool:
        """Return whether the socket is connected and has nothing to read, without waiting."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # type: ignore[attr-defined]  # what gevent wraps
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # closed by the peer, or bytes that belong to no request


class BoundedPool(ConnectionPool):
    """Makes bounded sockets to one of `hosts` and resets their counter for each request.

    It checks a connection with one recv(2), because gevent's select() takes several times as long.
    """

    hosts: Sequence[str] = ()

    def _create_socket(self) -> gevent.socket.socket:
        deadline = time.monotonic() + self.connection_timeout
        connection: BoundedSocket = families.connect(
            self.hosts, self._connection_port, deadline, make=BoundedSocket
        )
        connection.settimeout(self.network_timeout)
        return connection

    def _is_socket_alive(self, sock: gevent.socket.socket | None) -> bool:
        return isinstance(sock, BoundedSocket) and sock.is_idle and not families.is_resting(sock)

    def get_socket(self) -> gevent.socket.socket:
        """Return a connection; wait while all are in use."""
        connection = super().get_socket()
        if isinstance(connection, BoundedSocket):
            connection.received = 0
        return connection


def connect(url: str, read_seconds: float, ip6: str = "") -> HTTPClient:
    """Return a client for an instance's URL and other address; it connects when it is used."""
    client = HTTPClient.from_url(
        url, concurrency=CONNECTIONS, connection_timeout=CONNECT_SECONDS, network_timeout=read_seconds
    )
    host, port = client.host, client.port or 80
    client._connection_pool = pool = BoundedPool(
        *(host, port, host, port),
        size=CONNECTIONS,
        connection_timeout=CONNECT_SECONDS,
        network_timeout=read_seconds,
    )
    pool.hosts = list(filter(None, (ip6, host)))
    return client
