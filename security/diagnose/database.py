"""PostgreSQL as its superuser sees it: who is connected, the limits, and settings that were changed by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

QUERY = """
SELECT json_build_object(
  'max', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  'sessions', (SELECT json_agg(json_build_object('user', usename, 'program', application_name,
      'waits_for', pg_blocking_pids(pid), 'pid', pid,
      'holds_table', (SELECT coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0) WHERE EXISTS (
          SELECT FROM pg_locks WHERE pg_locks.pid = pg_stat_activity.pid AND granted AND relation >= 16384
          AND mode = 'AccessExclusiveLock')),
      'seconds', coalesce(extract(epoch FROM clock_timestamp() - query_start), 0), 'query', left(query, 80)))
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
  'limits', (SELECT json_object_agg(rolname, rolconnlimit) FROM pg_roles WHERE rolcanlogin),
  'changed', (SELECT json_agg(json_build_object('where', array_to_string(array[
      CASE WHEN setrole <> 0 THEN 'ROLE ' || pg_get_userbyid(setrole) END,
      (SELECT 'DATABASE ' || datname FROM pg_database WHERE oid = setdatabase)], ' IN '), 'settings', setconfig))
    FROM pg_db_role_setting),
  'system', (SELECT json_object_agg(name, setting) FROM pg_file_settings WHERE sourcefile LIKE '%.auto.conf'))
"""
_PATIENCE_SECONDS = 1.0
_ROLE_SETTING = re.compile(r"ALTER ROLE \S+ SET (\w+) TO", re.IGNORECASE)


@dataclass(frozen=True)
class Session:
    """A client's connection."""

    pid: int
    user: str
    program: str
    waits_for: tuple[int, ...]  # the sessions that hold the lock it waits for
    query: str  # the running one, or the last one
    seconds: float  # since its begin
    holds_table: float  # for so many seconds its transaction has locked a whole table; 0 if it has not


@dataclass(frozen=True)
class Change:
    """A setting that somebody changed inside the database; `where` is SYSTEM, ROLE NAME or DATABASE NAME."""

    where: str
    name: str
    value: str


@dataclass(frozen=True)
class Database:
    """One PostgreSQL server."""

    max_sessions: int  # of users that are not superusers
    limits: Mapping[str, int]  # of roles; -1 for none
    sessions: tuple[Session, ...]
    changes: tuple[Change, ...]

    def full_for(self) -> str:
        """Return what is full: a role's limit or the server's; empty if neither is."""
        for role, limit in self.limits.items():
            if 0 <= limit <= sum(session.user == role for session in self.sessions):
                return f"role {role}: {limit}"
        return f"all roles: {self.max_sessions}" if len(self.sessions) >= self.max_sessions else ""

    def blockers(self) -> list[Session]:
        """Return the sessions that others must wait for, and that wait for none."""
        late = [session for session in self.sessions if session.seconds > _PATIENCE_SECONDS]
        holding = {pid for session in late for pid in session.waits_for}
        holding |= {one.pid for one in self.sessions if one.holds_table > _PATIENCE_SECONDS}
        return [session for session in self.sessions if session.pid in holding and not session.waits_for]


def parse_database(printed: str) -> Database | None:
    """Parse the answer to QUERY; None if it is none."""
    with suppress(ValueError, LookupError, TypeError):
        row = json.loads(printed)
        return Database(int(row["max"]), row["limits"] or {}, tuple(_sessions(row)), tuple(_changes(row)))
    return None


def _sessions(row: dict[str, Any]) -> Iterator[Session]:
    for item in row["sessions"] or []:
        yield Session(
            int(item["pid"]),
            item["user"],
            item["program"],
            tuple(item["waits_for"]),
            item["query"],
            float(item["seconds"]),
            float(item["holds_table"] or 0),
        )


def _changes(row: dict[str, Any]) -> Iterator[Change]:
    for name, value in (row["system"] or {}).items():
        yield Change("SYSTEM", name, value)
    for item in row["changed"] or []:
        for setting in item["settings"]:
            name, _, value = setting.partition("=")
            yield Change(item["where"], name, value)


def own_role_settings(start_script: str) -> set[str]:
    """Return the settings that the lab gives a role at each start, from PostgreSQL's start.sh."""
    return set(_ROLE_SETTING.findall(start_script.replace("\\", "")))
