"""Registrations on disk (SQLite), so that a restart of the registry, also by kill -9, loses none.

Heartbeats bring every registration back, so no failure of the disk or of the file is a failure of the registry.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from cnet_service.errors import InvalidError
from fields import read_instance
from instances import Instance

SCHEMA = """
CREATE TABLE IF NOT EXISTS registrations (
    name TEXT NOT NULL, instance_id TEXT NOT NULL, ip TEXT NOT NULL, port INTEGER NOT NULL,
    registered_at TEXT NOT NULL, ttl REAL,
    PRIMARY KEY (name, instance_id)
)"""
COLUMNS = ("name", "instance_id", "ip", "port", "registered_at", "ttl")
RETRY_SECONDS = 2.0
BUSY_SECONDS = 0.1
# The disk is full, read-only or away, or somebody else holds the file. All other errors mean that the file is damaged.
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
    """The registrations in a file; health and heartbeats are not kept, they are found out anew.

    No method raises: what cannot be saved is due again after a while.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._retry_at: float | None = None
        self._written: set[Row] = set()  # what the file has, as far as is known

    def load(self) -> list[Instance]:
        """Return all registrations; none when the file cannot be read."""
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
            instance = read_instance(fields)
        except InvalidError as failure:
            log.error("a damaged row of %s is left out: %s", self._path, failure)
            return None
        instance.registered_at = str(registered_at)
        return instance

    def save(self, instances: Iterable[Instance], now: float) -> None:
        """Make the file hold these registrations and no others."""
        rows = {tuple(getattr(instance, column) for column in COLUMNS) for instance in instances}
        try:
            self._run(lambda database: write_rows(database, self._written, rows))
            self._written = rows
        except (sqlite3.Error, OSError) as failure:
            if self._retry_at is None:
                log.error(
                    "cannot write %s (%s): registrations are in memory until it can", self._path, failure
                )
            self._retry_at = now + RETRY_SECONDS
            return
        if self._retry_at is not None:
            log.warning("%s is written again", self._path)
        self._retry_at = None

    def is_due(self, now: float) -> bool:
        """Return whether it is time to save again after a failure."""
        return self._retry_at is not None and now >= self._retry_at

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what `work` returns of the database; a damaged one is set aside, and `work` gets an empty one."""
        try:
            return self._run_once(work)
        except sqlite3.Error as failure:
            if (
                getattr(failure, "sqlite_errorcode", 0) & 0xFF in DISK_ERRORS
            ):  # the rest of the number is detail
                raise
            self._set_aside(failure)
        return self._run_once(work)

    def _run_once(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as database, database:
            # No write-ahead log: its index is a mapped file, and a full disk ends a process that writes to one.
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(SCHEMA)
            return work(database)

    def _set_aside(self, failure: Exception) -> None:
        kept = f"{self._path}.damaged"
        for suffix in ("-wal", "-shm", "-journal", ""):
            if os.path.lexists(f"{self._path}{suffix}"):
                os.replace(f"{self._path}{suffix}", f"{kept}{suffix}")
        log.error("%s is damaged (%s): kept as %s, and a new one is made", self._path, failure, kept)


def read_rows(database: sqlite3.Connection) -> list[Row]:
    """Return all rows; raises sqlite3.DatabaseError when a page is damaged."""
    found = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(str(found))
    return database.execute(f"SELECT {', '.join(COLUMNS)} FROM registrations").fetchall()  # noqa: S608  our own names


def write_rows(database: sqlite3.Connection, before: set[Row], now: set[Row]) -> None:
    """Replace the rows `before` by `now` in one transaction; all rows, when the file has others."""
    if database.execute("SELECT count(*) FROM registrations").fetchone() != (len(before),):
        database.execute("DELETE FROM registrations")
        before = set()
    gone = [row[:2] for row in before - now]
    database.executemany("DELETE FROM registrations WHERE name = ? AND instance_id = ?", gone)
    places = ", ".join("?" * len(COLUMNS))
    database.executemany(f"INSERT INTO registrations VALUES ({places})", now - before)  # noqa: S608
