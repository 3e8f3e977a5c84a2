"""Transactions in PostgreSQL over a few connections that are replaced when they break."""

import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from web import Unavailable, log

CONNECTIONS = 8
REST_SECONDS = 0.5
SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_LOCK = 20260101  # any number, the same in each worker: two must not make the tables at once

Result = TypeVar("Result")
Broken = (psycopg2.OperationalError, psycopg2.InterfaceError)


class Database:
    """Runs transactions; raises Unavailable, within about two seconds, when PostgreSQL is away."""

    def __init__(self, host: str, port: int, name: str, user: str, password: str) -> None:
        self._settings: dict[str, Any] = {
            "host": host,
            "port": port,
            "dbname": name,
            "user": user,
            "password": password,
            "connect_timeout": 2,
            "tcp_user_timeout": 1500,  # milliseconds until unanswered data breaks the connection (RFC 5482)
            "options": "-c statement_timeout=1500 -c lock_timeout=1500",
            "application_name": "order-service",
        }
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue(CONNECTIONS)
        self._rest_until = 0.0

    def run(self, work: Callable[[Cursor], Result]) -> Result:
        """Return what `work` returns after its transaction is committed.

        A connection that breaks before the commit is replaced once. One that breaks during it leaves
        the outcome unknown: that is Unavailable, and a retry with the same Idempotency-Key finds out.
        """
        try:
            return self._attempt(self._take(), work)
        except Broken as failure:
            log.warning("a database connection broke, trying a new one: %s", failure)
        self._forget_idle()
        try:
            return self._attempt(self._connect(), work)
        except Broken as failure:
            raise Unavailable("The database is unavailable; try again") from failure

    def _attempt(self, connection: Connection, work: Callable[[Cursor], Result]) -> Result:
        try:
            with connection.cursor() as cursor:
                result = work(cursor)
        except Broken:
            connection.close()
            raise
        except BaseException:
            self._roll_back(connection)
            raise
        try:
            connection.commit()
        except Broken as failure:
            connection.close()
            raise Unavailable("The outcome is unknown; try again with the same Idempotency-Key") from failure
        self._give_back(connection)
        return result

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except Broken:
            connection.close()
        else:
            self._give_back(connection)

    def _take(self) -> Connection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._connect()

    def _give_back(self, connection: Connection) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()

    def _forget_idle(self) -> None:
        while not self._idle.empty():
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _connect(self) -> Connection:
        if time.monotonic() < self._rest_until:
            raise Unavailable("The database is unavailable; try again")
        try:
            connection: Connection = psycopg2.connect(**self._settings)
            make_schema(connection)
        except Broken as failure:
            self._rest_until = time.monotonic() + REST_SECONDS
            log.warning("the database is away: %s", str(failure).strip())
            raise Unavailable("The database is unavailable; try again") from failure
        return connection


def make_schema(connection: Connection) -> None:
    """Make the tables where they are not; with each connection, for the database may be a new one."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        cursor.execute(SCHEMA.read_text())
