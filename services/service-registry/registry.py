"""Registered instances, kept in SQLite so that a restart loses none, and their health."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    name TEXT NOT NULL, ip TEXT NOT NULL, port INTEGER NOT NULL,
    registered_at TEXT NOT NULL, health TEXT NOT NULL,
    PRIMARY KEY (name, ip, port)
)"""


@dataclass(frozen=True)
class Instance:
    """One address of a service; health is "passing" or "critical", as its /health last told."""

    name: str
    ip: str
    port: int
    registered_at: str
    health: str

    def shown(self) -> dict[str, object]:
        """Return what clients see."""
        fields = asdict(self)
        del fields["name"]
        return fields


class Registry:
    """The instances of each name; all methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns: dict[str, int] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._database() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(SCHEMA)

    def register(self, name: str, ip: str, port: int, health: str) -> None:
        """Add an instance, or renew it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database() as database:
            database.execute(
                "INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?)", (name, ip, port, now, health)
            )

    def deregister(self, name: str, ip: str | None, port: int | None) -> bool:
        """Remove all instances of a name, or the ones at an address; return whether there were any."""
        with self._database() as database:
            removed = database.execute(
                "DELETE FROM instances WHERE name = ? AND ip = coalesce(?, ip) AND port = coalesce(?, port)",
                (name, ip, port),
            )
            return removed.rowcount > 0

    def set_health(self, instance: Instance, health: str) -> None:
        """Note what a check found; an instance that left meanwhile stays away."""
        with self._database() as database:
            database.execute(
                "UPDATE instances SET health = ? WHERE name = ? AND ip = ? AND port = ?",
                (health, instance.name, instance.ip, instance.port),
            )

    def instances(self, name: str | None = None) -> list[Instance]:
        """Return all instances, or those of a name, in the order of their addresses."""
        with self._database() as database:
            rows = database.execute(
                "SELECT * FROM instances WHERE name = coalesce(?, name) ORDER BY name, ip, port", (name,)
            )
            return [Instance(*row) for row in rows]

    def choose(self, name: str) -> Instance | None:
        """Return the next instance in turn, of those that are healthy while there are any."""
        known = self.instances(name)
        choice = [instance for instance in known if instance.health == "passing"] or known
        if not choice:
            return None
        with self._lock:
            turn = self._turns[name] = self._turns.get(name, -1) + 1
        return choice[turn % len(choice)]

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=5)) as database, database:
            yield database
