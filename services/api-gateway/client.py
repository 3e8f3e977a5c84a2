"""The HTTP client of an instance: pooled connections, each answer limited in bytes, headers included.

geventhttpclient limits neither headers nor what a chunked body has between its chunks, and a peer that sends
without a pause never lets gevent's timer run.
"""

import socket
from typing import Any

import gevent.socket
from geventhttpclient import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool

MOST_BYTES = 1024 * 1024  # so that a faulty instance cannot exhaust memory
CONNECT_SECONDS = 0.25
CONNECTIONS = 64


class BoundedSocket(gevent.socket.socket):
    """Counts what it receives since it was taken from the pool."""

    received = 0

    def recv(self, *arguments: Any) -> bytes:
        """Return some bytes; raise ConnectionError when one answer has too many."""
        part: bytes = super().recv(*arguments)
        self.received += len(part)
        if self.received > MOST_BYTES:
            raise ConnectionError(f"answers more than {MOST_BYTES} bytes")
        return part

    def sendall(self, data: Any, flags: int = 0) -> Any:
        """Send all; mostly at once, and then without the question for the kernel's buffer that gevent begins with."""
        sent = self.send(data, flags)
        if sent < len(data):
            super().sendall(memoryview(data)[sent:], flags)

    @property
    def is_idle(self) -> bool:
        """Return whether it is connected and has nothing to read; never waits."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # type: ignore[attr-defined]  # what gevent wraps
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # closed by the other side, or bytes that nobody asked for


class BoundedPool(ConnectionPool):
    """Makes such sockets, and counts anew for each request.

    Whether a connection is still good is asked by one recv(2): gevent's select() takes several times as long.
    """

    def _create_tcp_socket(self, family: int, socktype: int, protocol: int) -> gevent.socket.socket:
        return BoundedSocket(family, socktype, protocol)

    def _is_socket_alive(self, sock: gevent.socket.socket | None) -> bool:
        return isinstance(sock, BoundedSocket) and sock.is_idle

    def get_socket(self) -> gevent.socket.socket:
        """Return a connection; wait while all are in use."""
        connection = super().get_socket()
        if isinstance(connection, BoundedSocket):
            connection.received = 0
        return connection


def connect(url: str, read_seconds: float) -> HTTPClient:
    """Return a client for an instance's URL; it connects when it is used."""
    client = HTTPClient.from_url(
        url, concurrency=CONNECTIONS, connection_timeout=CONNECT_SECONDS, network_timeout=read_seconds
    )
    host, port = client.host, client.port or 80
    client._connection_pool = BoundedPool(
        *(host, port, host, port),
        size=CONNECTIONS,
        connection_timeout=CONNECT_SECONDS,
        network_timeout=read_seconds,
    )
    return client
