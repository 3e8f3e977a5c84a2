"""Registrations on disk, so that a restart of the registry, also by kill -9, loses none.

Heartbeats register every instance again, so a failure of the disk or of the file never fails a request.
"""

import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cnet_service.errors import describe_failure
from cnet_service.saved_file import SavedFile
from instances import Instance
from models import Registration
from pydantic import ValidationError

FIELDS = ("name", "instance_id", "ip", "ip6", "port", "registered_at", "ttl")

log = logging.getLogger("service")


class Store:
    """Stores registrations as a JSON list; not health and heartbeats, which the checks determine again.

    No method raises: after a failure (`can_write` is false) the registry saves again.
    """

    def __init__(self, path: Path) -> None:
        self._file = SavedFile(path)

    @property
    def can_write(self) -> bool:
        """Return whether the last registrations are on disk."""
        return self._file.can_write

    def load(self) -> list[Instance]:
        """Return all registrations; move a damaged file aside and return none."""
        body = self._file.read()
        if body is None:
            return []
        try:
            rows = json.loads(body)
            if not isinstance(rows, list):
                raise ValueError("not a list")
        except (ValueError, RecursionError) as failure:
            self._move_aside(failure)
            return []
        return [instance for row in rows if (instance := self._restore(row))]

    def _restore(self, row: object) -> Instance | None:
        try:
            fields = dict(row)  # type: ignore[call-overload]  # a damaged one raises
            registered_at = str(fields.pop("registered_at"))
            known = Registration.model_validate(fields)
        except ValidationError as failure:
            log.error("a damaged row of %s is left out: %s", self._file.path, describe_failure(failure))
        except (TypeError, ValueError, KeyError) as failure:
            log.error("a damaged row of %s is left out: %r", self._file.path, failure)
        else:
            return Instance(
                known.name, known.id, known.ip, known.port, registered_at, known.ttl, ip6=known.ip6
            )
        return None

    def _move_aside(self, failure: Exception) -> None:
        kept = self._file.path.with_name(f"{self._file.path.name}.damaged")
        log.error("%s is damaged (%s): kept as %s; heartbeats register again", self._file.path, failure, kept)
        with suppress(OSError):
            self._file.path.replace(kept)

    def save(self, instances: Iterable[Instance]) -> None:
        """Write these registrations."""
        rows = [{field: getattr(instance, field) for field in FIELDS} for instance in instances]
        for row in rows:
            if not row["ip6"]:
                del row["ip6"]
        self._file.write(json.dumps(rows).encode())
