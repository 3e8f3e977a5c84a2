"""Transactions in PostgreSQL over a few connections, which are replaced when they break."""

import logging
import queue
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
from cnet_service import families
from cnet_service.errors import UnavailableError
from psycopg2 import errors
from psycopg2.extensions import POLL_OK, POLL_READ, set_wait_callback
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

log = logging.getLogger("service")

CONNECTIONS = 8
SECONDS = 1.9  # the deadline of a transaction with its retries; the gateway waits 3 s for an order
UNANSWERED_MILLISECONDS = 1500  # until unanswered data breaks the connection (RFC 5482)
REST_SECONDS = 0.5  # no new connection for so long after a failure
SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_LOCK = 20260101  # the same number in each worker, so that only one creates the tables
UNAVAILABLE = "The database is unavailable; try again"

Result = TypeVar("Result")


class RefusedError(Exception):
    """`work` raises this to roll its transaction back; the database itself did not fail."""


class BrokenError(Exception):
    """The connection broke before the commit; see the cause."""


class LateError(psycopg2.OperationalError):
    """PostgreSQL did not answer before the deadline."""


_deadline = threading.local()


def set_deadline(seconds: float) -> None:
    """Set the deadline of all exchanges of this thread with PostgreSQL, in seconds from now."""
    _deadline.at = time.monotonic() + seconds


def wait_for_server(connection: Connection) -> None:
    """Wait until libpq has finished an operation; psycopg2 calls this wherever it would block.

    libpq has no deadline for an answer, and the kernel of a frozen PostgreSQL still accepts data.
    """
    while (state := connection.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        milliseconds = (_deadline.at - time.monotonic()) * 1000
        if milliseconds <= 0 or not poller.poll(milliseconds):
            raise LateError("no answer in time")


class Database:
    """Runs transactions; raises UnavailableError within `SECONDS` for any failure of PostgreSQL."""

    def __init__(self, host: str, port: int, name: str, user: str, password: str, *, ip6: str = "") -> None:
        self._hosts = list(filter(None, (ip6, host)))
        self._settings: dict[str, Any] = {
            "port": port,
            "dbname": name,
            "user": user,
            "password": password,
            "options": "-c statement_timeout=1500 -c lock_timeout=1500",
            "application_name": "order-service",
        }
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue(CONNECTIONS)
        self._rest_until = 0.0
        set_wait_callback(wait_for_server)

    def run(self, work: Callable[[Cursor], Result]) -> Result:
        """Return the result of `work` after its transaction is committed.

        A connection that breaks before the commit is replaced. If it breaks during the commit the outcome is
        unknown: UnavailableError; a retry with the same Idempotency-Key gets the answer. Every failure except
        RefusedError becomes UnavailableError, because a list of PostgreSQL's errors would be incomplete.
        """
        set_deadline(SECONDS)
        try:
            return self._run(work)
        except (RefusedError, UnavailableError):
            raise
        except (psycopg2.Error, BrokenError) as failure:
            log.warning("PostgreSQL refused a transaction: %s", describe(failure))
            raise UnavailableError(UNAVAILABLE) from failure
        except Exception as failure:
            log.warning("PostgreSQL's answer cannot be read", exc_info=failure)
            raise UnavailableError(UNAVAILABLE) from failure

    def _run(self, work: Callable[[Cursor], Result]) -> Result:
        for _ in range(2):  # two repeats: broken connection, missing tables
            try:
                return self._attempt(self._take(), work)
            except errors.UndefinedTable:  # a new database (not checked at the start: it may be read-only)
                log.info("creating the tables")
                self._attempt(self._take(), create_tables)
            except BrokenError as failure:
                log.warning("a database connection broke, trying a new one: %s", describe(failure))
                self._close_idle()
        return self._attempt(self._take(), work)

    def _attempt(self, connection: Connection, work: Callable[[Cursor], Result]) -> Result:
        try:
            with connection.cursor() as cursor:
                result = work(cursor)
        except RefusedError:
            connection.rollback()
            self._release(connection)
            raise
        except psycopg2.Error as failure:
            self._close(connection, failure)
            raise
        except BaseException:
            connection.close()
            raise
        try:
            connection.commit()
        except Exception as failure:
            log.warning("PostgreSQL does not confirm a commit: %s", describe(failure))
            connection.close()
            raise UnavailableError(
                "The outcome is unknown; try again with the same Idempotency-Key"
            ) from failure
        self._release(connection)
        return result

    def _close(self, connection: Connection, failure: psycopg2.Error) -> None:
        """Close a connection on which a query failed; raise BrokenError if it broke, so that a new one is tried.

        Close it in any case, because a new connection reads settings that may have been repaired.
        """
        if isinstance(failure, LateError):
            self._rest_until = time.monotonic() + REST_SECONDS
        elif not is_alive(connection):
            families.note_failure(failure)
            raise BrokenError from failure
        connection.close()

    def _take(self) -> Connection:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return self._connect()
            if not families.is_host_resting(connection.info.host):
                return connection
            connection.close()

    def _release(self, connection: Connection) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()

    def _close_idle(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _connect(self) -> Connection:
        if time.monotonic() < self._rest_until:
            raise UnavailableError(UNAVAILABLE)
        try:
            connection: Connection = psycopg2.connect(**self._settings, **self._choose_host())
        except Exception as failure:
            self._rest_until = time.monotonic() + REST_SECONDS
            log.warning("no connection to the database: %s", describe(failure))
            raise UnavailableError(UNAVAILABLE) from failure
        return connection

    def _choose_host(self) -> dict[str, Any]:
        """Return the host, and for an IPv6 address the milliseconds until unanswered data breaks the connection."""
        host = families.choose(self._hosts, self._settings["port"], _deadline.at)
        has_other = len(self._hosts) > 1 and ":" in host
        milliseconds = families.UNANSWERED_MILLISECONDS if has_other else UNANSWERED_MILLISECONDS
        return {"host": host, "tcp_user_timeout": milliseconds}


def is_alive(connection: Connection) -> bool:
    """Return whether the server still answers on this connection."""
    try:
        connection.rollback()
    except psycopg2.Error:
        connection.close()
        return False
    return True


def create_tables(cursor: Cursor) -> None:
    """Create the missing tables."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
    cursor.execute(SCHEMA.read_text())


def describe(failure: BaseException) -> str:
    """Return a failure in one line: its type, PostgreSQL's code if there is one, its first line."""
    if isinstance(failure, BrokenError) and failure.__cause__:
        failure = failure.__cause__
    code = getattr(failure, "pgcode", None)
    first = (str(failure).strip() or "no message").splitlines()[0]
    return f"{type(failure).__name__}{f' ({code})' if code else ''}: {first}"
