"""Who may register at which address, as the topology table says. scripts/owners.sh writes the file.

Each line is ADDRESS, PORT, PROGRAM, LABEL of a node, with tabs between them. The file is replaced, not changed, and is
read again when it is another. Without a file every address may register itself under any name.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from cnet_service.errors import UnavailableError
from instances import Instance

log = logging.getLogger("service")


class NotOwnerError(Exception):
    """The topology table gives this address, or this name, to somebody else."""


@dataclass(frozen=True)
class Place:
    """What the table runs at an address: the instance `label` of `program`, at `port`."""

    address: str
    port: int
    program: str
    label: str


class Owners:
    """The table's claims on names and addresses; `path` is None where there is no table."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._places: dict[str, Place] | None = None
        self._failed = False

    def check(self, instance: Instance) -> bool:
        """Return whether the table names this instance; False when the table speaks of neither address nor name.

        Raises NotOwnerError when one of them is somebody else's, Unavailable when no table could ever be read.
        """
        if self._path is None:
            return False
        self._read_again(self._path)
        if self._places is None:
            raise UnavailableError("The table of who may register cannot be read; try again")
        place = self._places.get(instance.ip)
        if place is None:
            if any(instance.name in (other.program, other.label) for other in self._places.values()):
                raise NotOwnerError(
                    f"{instance.name} is in the topology table, at other addresses than {instance.ip}"
                )
            return False
        if (instance.name, instance.instance_id, instance.port) != (place.program, place.label, place.port):
            raise NotOwnerError(
                f"{place.address} may register only what the topology table runs there: "
                f"{place.program} as {place.label} at port {place.port}"
            )
        return True

    def _read_again(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8") as file:
                found = os.fstat(file.fileno())
                version = (found.st_ino, found.st_size, found.st_mtime_ns)
                if version != self._version:
                    places = {place.address: place for place in map(read_place, file)}
                    if not places:
                        raise ValueError("it is empty")
                    self._places = places
                    self._version = version
                    self._failed = False
        except (OSError, ValueError) as failure:
            self._version = None
            if not self._failed:
                known = "going on with what was read before" if self._places else "nobody can register"
                log.error("cannot read %s (%s): %s; repair with scripts/services.sh up", path, failure, known)
            self._failed = True


def read_place(line: str) -> Place:
    """Return the node of a line; raises ValueError for what is none."""
    address, port, program, label = line.rstrip("\n").split("\t")
    return Place(address, int(port), program, label)
