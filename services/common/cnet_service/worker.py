"""gunicorn workers with deadlines for receiving a request and a connection limit per client; gunicorn has neither.

Without them a client that sends a byte now and then holds a connection or a thread for ever, and one client can
hold all of them.
"""

import errno
import importlib
import logging
import os
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from gunicorn.workers import gthread
from werkzeug.exceptions import RequestTimeout

HEAD_SECONDS = 4.0  # time to receive a request's head
BODY_SECONDS = 4.0
SEND_SECONDS = 10.0  # deadline of one write: a client may never read its answer
HEAD_BYTES = 16 * 1024  # the parser refuses a longer head
LINGER_SECONDS = 0.1  # the time a client has to close first
CLIENT_SHARE = 4  # one client may hold a quarter of the connections
LOG_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "::1")
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b'Content-Type: application/json\r\nContent-Length: 34\r\n\r\n{"error":"Too many connections"}\r\n'
)

log = logging.getLogger("service")


class ClientLimit:
    """Counts the places that clients hold: at most `per_client` for one client and `total` together.

    The `exempt` addresses have only the limit `total`. All methods are thread-safe.
    """

    def __init__(self, per_client: int, total: int, exempt: Collection[str] = ()) -> None:
        self._per_client = per_client
        self._total = total
        self._exempt = frozenset(exempt)
        self._held: Counter[str] = Counter()
        self._all = 0
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Take a place for this client; return whether one was free."""
        with self._lock:
            held = self._held.get(address, 0)
            if self._all >= self._total or (held >= self._per_client and address not in self._exempt):
                return False
            self._held[address] = held + 1
            self._all += 1
            return True

    def release(self, address: str) -> None:
        """Release one place of this client."""
        with self._lock:
            self._all -= 1
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]  # free the memory of past clients


class Connection:
    """A client's socket with a deadline for the whole head and the whole body, not for each byte."""

    def __init__(self, sock: socket.socket, idle_seconds: float, on_close: Callable[[], None]) -> None:
        self._sock = sock
        self._idle_seconds = idle_seconds
        self._on_close: Callable[[], None] | None = on_close
        self._timeout: float | None = None  # set by gunicorn; the deadline applies as well
        self._deadline = time.monotonic() + HEAD_SECONDS
        self._is_idle = False
        self._in_body = False
        self._begun = b""  # bytes received by has_head()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout of a single call, as for any socket."""
        self._timeout = seconds
        self._sock.settimeout(seconds)

    def setblocking(self, blocking: bool) -> None:
        """Make calls wait, or return at once."""
        self.settimeout(None if blocking else 0.0)

    def gettimeout(self) -> float | None:
        """Return the timeout of a single call."""
        return self._timeout

    def begin_body(self) -> None:
        """Start the deadline of the body; the head is complete."""
        self._in_body, self._is_idle = True, False
        self._deadline = time.monotonic() + BODY_SECONDS

    def end_request(self) -> None:
        """Start the time that the connection may be idle until the first byte of the next request."""
        self._in_body, self._is_idle = False, True
        self._deadline = time.monotonic() + self._idle_seconds

    def has_head(self) -> bool:
        """Read without waiting; return whether the head is complete or can never be."""
        try:
            data = self._sock.recv(HEAD_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._note_arrival()
        self._begun += data
        return not data or b"\r\n\r\n" in self._begun or len(self._begun) > HEAD_BYTES

    def _note_arrival(self) -> None:
        if self._is_idle:
            self._is_idle = False
            self._deadline = time.monotonic() + HEAD_SECONDS

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return received bytes. After the deadline raise RequestTimeout (408) in a body, else ConnectionResetError."""
        if self._begun:
            data, self._begun = self._begun[:size], self._begun[size:]
            return data
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left if self._timeout is None else min(left, self._timeout))
            data = self._sock.recv(size, flags)
        except TimeoutError:
            if self._timeout is not None and self._timeout < left:
                raise
            if self._in_body:
                raise RequestTimeout("The request took too long to arrive") from None
            raise ConnectionResetError(errno.ECONNRESET, "the request took too long to arrive") from None
        self._note_arrival()
        return data

    def sendall(self, data: bytes) -> None:
        """Send all data; raise ConnectionResetError if the client does not read it."""
        self._sock.settimeout(SEND_SECONDS)
        try:
            sent = self._sock.send(data)  # gevent's sendall() would first ask for the kernel's buffer
            if sent < len(data):
                self._sock.sendall(memoryview(data)[sent:])
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer") from None

    def shutdown(self, how: int) -> None:
        """Shut down one side; limit the time that gunicorn then waits for the client to close."""
        self._is_idle, self._deadline = False, time.monotonic() + LINGER_SECONDS
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket and release the client's place."""
        self._sock.close()
        if self._on_close:
            self._on_close()
            self._on_close = None


class ConnectionGate:
    """Accepts connections up to the limits; the addresses in UNLIMITED_CLIENTS have no limit of their own."""

    def __init__(self, connections: int, idle_seconds: float) -> None:
        exempt = (*LOOPBACK, *os.environ.get("UNLIMITED_CLIENTS", "").split(","))
        self._limit = ClientLimit(connections // CLIENT_SHARE, connections, exempt)
        self._idle_seconds = idle_seconds
        self._logged_at = -LOG_SECONDS

    def admit(self, sock: socket.socket, address: str) -> Connection | None:
        """Return the connection with its deadlines; above the limit answer 503, close it and return None."""
        if self._limit.take(address):
            return Connection(sock, self._idle_seconds, partial(self._limit.release, address))
        if time.monotonic() - self._logged_at > LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("%s has reached the limit of connections for one client; more are refused", address)
        with suppress(OSError):
            sock.setblocking(False)
            sock.send(REFUSAL)
        sock.close()
        return None


class ThreadWorker(gthread.ThreadWorker):
    """Assigns a thread to a request once its head is complete; until then the connection waits without one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._gate = ConnectionGate(self.cfg.worker_connections, self.cfg.keepalive)

    def enqueue_req(self, conn: Any) -> None:
        """Give the connection a thread; a new connection waits for its head first."""
        if isinstance(conn.sock, Connection):
            super().enqueue_req(conn)
            return
        admitted = self._gate.admit(conn.sock, conn.client[0])
        if admitted is None:
            self.nr_conns -= 1
            return
        conn.sock = admitted
        conn.sock.setblocking(False)
        self._wait_for_head(conn)

    def _wait_for_head(self, conn: Any) -> None:
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Read a part of a request's head."""
        if conn.sock.has_head():
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Read the first part of the next request on a connection."""
        if conn.sock.has_head():
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._wait_for_head(conn)

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer a request whose head is complete."""
        conn.sock.begin_body()
        try:
            return bool(super().handle_request(req, conn))
        finally:
            conn.sock.end_request()


def make_gevent_worker() -> type:
    """Return the gevent worker class; import gevent only here, because not every service has it."""
    importlib.import_module("gevent.thread")  # first: gunicorn_settings says why
    from gunicorn.workers import ggevent  # noqa: PLC0415  optional

    class GeventWorker(ggevent.GeventWorker):
        """Serves each connection in a greenlet."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._gate = ConnectionGate(self.worker_connections, self.cfg.keepalive)

        def timeout_ctx(self) -> Any:
            """Return no timeout for a request's head: the connection has deadlines."""
            return nullcontext()

        def handle(self, listener: Any, client: Any, addr: Any) -> None:
            """Serve a connection."""
            admitted: Any = self._gate.admit(client, addr[0])
            if admitted is not None:
                super().handle(listener, admitted, addr)

        def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> bool:
            """Answer a request whose head is complete."""
            sock.begin_body()
            try:
                return bool(super().handle_request(listener_name, req, sock, addr))
            finally:
                sock.end_request()

    return GeventWorker
