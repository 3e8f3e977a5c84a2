"""Registrations on disk (SQLite), so that a restart of the registry, also by kill -9, loses none."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from instances import Instance

SCHEMA = """
CREATE TABLE IF NOT EXISTS registrations (
    name TEXT NOT NULL, instance_id TEXT NOT NULL, ip TEXT NOT NULL, port INTEGER NOT NULL,
    registered_at TEXT NOT NULL, ttl REAL,
    PRIMARY KEY (name, instance_id)
)"""


class Store:
    """The registrations in a file; health and heartbeats are not kept, they are found out anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._database() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(SCHEMA)

    def load(self) -> list[Instance]:
        """Return all registrations."""
        with self._database() as database:
            rows = database.execute(
                "SELECT name, instance_id, ip, port, registered_at, ttl FROM registrations"
            )
            return [Instance(*row) for row in rows]

    def save(self, instance: Instance) -> None:
        """Add a registration, or put it in the place of the one with its id."""
        with self._database() as database:
            database.execute(
                "INSERT OR REPLACE INTO registrations VALUES (?, ?, ?, ?, ?, ?)",
                (
                    instance.name,
                    instance.instance_id,
                    instance.ip,
                    instance.port,
                    instance.registered_at,
                    instance.ttl,
                ),
            )

    def remove(self, instance: Instance) -> None:
        """Forget a registration."""
        with self._database() as database:
            database.execute(
                "DELETE FROM registrations WHERE name = ? AND instance_id = ?",
                (instance.name, instance.instance_id),
            )

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=5)) as database, database:
            yield database
