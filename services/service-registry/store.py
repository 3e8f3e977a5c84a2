"""Registrations on disk (SQLite), so that a restart of the registry, also by kill -9, loses none.

Heartbeats register every instance again, so a failure of the disk or of the file never fails a request.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from cnet_service.errors import describe_failure
from instances import Instance
from models import Registration
from pydantic import ValidationError

SCHEMA = """
CREATE TABLE IF NOT EXISTS registrations (
    name TEXT NOT NULL, instance_id TEXT NOT NULL, ip TEXT NOT NULL, port INTEGER NOT NULL,
    registered_at TEXT NOT NULL, ttl REAL,
    PRIMARY KEY (name, instance_id)
)"""
COLUMNS = ("name", "instance_id", "ip", "port", "registered_at", "ttl")
RETRY_SECONDS = 2.0
BUSY_SECONDS = 0.1
# The disk is full, read-only or missing, or another process holds the file. Every other error means a damaged file.
DISK_ERRORS = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    )
)

log = logging.getLogger("service")

Row = tuple[object, ...]
Result = TypeVar("Result")


class Store:
    """Stores registrations in a file; not health and heartbeats, which the checks determine again.

    No method raises: after a failure the registry saves again (`is_due`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._retry_at: float | None = None
        self._written: set[Row] = set()  # the rows of the file

    def load(self) -> list[Instance]:
        """Return all registrations, none if the file cannot be read."""
        try:
            rows = self._run(read_rows)
            self._written = set(rows)
        except (sqlite3.Error, OSError) as failure:
            log.error(
                "cannot read %s (%s): registrations come back with the next heartbeats", self._path, failure
            )
            return []
        return [instance for row in rows if (instance := self._restore(row))]

    def _restore(self, row: Row) -> Instance | None:
        fields = dict(zip(COLUMNS, row, strict=True))
        registered_at = fields.pop("registered_at")
        try:
            known = Registration.model_validate(fields)
        except ValidationError as failure:
            log.error("a damaged row of %s is left out: %s", self._path, describe_failure(failure))
            return None
        return Instance(known.name, known.id, known.ip, known.port, str(registered_at), known.ttl)

    def save(self, instances: Iterable[Instance], now: float) -> None:
        """Write these registrations and remove all others."""
        rows = {tuple(getattr(instance, column) for column in COLUMNS) for instance in instances}
        try:
            self._run(lambda database: write_rows(database, self._written, rows))
            self._written = rows
        except (sqlite3.Error, OSError) as failure:
            if self._retry_at is None:
                log.error(
                    "cannot write %s (%s): registrations are kept in memory until it works",
                    self._path,
                    failure,
                )
            self._retry_at = now + RETRY_SECONDS
            return
        if self._retry_at is not None:
            log.warning("%s is written again", self._path)
        self._retry_at = None

    def is_due(self, now: float) -> bool:
        """Return whether to save again after a failure."""
        return self._retry_at is not None and now >= self._retry_at

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return the result of `work` on the database; move a damaged one aside and retry with an empty one."""
        try:
            return self._run_once(work)
        except sqlite3.Error as failure:
            if (
                getattr(failure, "sqlite_errorcode", 0) & 0xFF in DISK_ERRORS
            ):  # the low byte is the kind of error
                raise
            self._move_aside(failure)
        return self._run_once(work)

    def _run_once(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as database, database:
            # No write-ahead log: its index is a mapped file, and writing to one on a full disk ends the process.
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(SCHEMA)
            return work(database)

    def _move_aside(self, failure: Exception) -> None:
        kept = f"{self._path}.damaged"
        for suffix in ("-wal", "-shm", "-journal", ""):
            if os.path.lexists(f"{self._path}{suffix}"):
                os.replace(f"{self._path}{suffix}", f"{kept}{suffix}")
        log.error("%s is damaged (%s): kept as %s, and a new one is created", self._path, failure, kept)


def read_rows(database: sqlite3.Connection) -> list[Row]:
    """Return all rows; raise sqlite3.DatabaseError if a page is damaged."""
    found = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(str(found))
    return database.execute(f"SELECT {', '.join(COLUMNS)} FROM registrations").fetchall()  # noqa: S608  our own names


def write_rows(database: sqlite3.Connection, before: set[Row], now: set[Row]) -> None:
    """Replace the rows `before` by `now` in one transaction; replace all rows if the file has other ones."""
    if database.execute("SELECT count(*) FROM registrations").fetchone() != (len(before),):
        database.execute("DELETE FROM registrations")
        before = set()
    removed = [row[:2] for row in before - now]
    database.executemany("DELETE FROM registrations WHERE name = ? AND instance_id = ?", removed)
    places = ", ".join("?" * len(COLUMNS))
    database.executemany(f"INSERT INTO registrations VALUES ({places})", now - before)  # noqa: S608
