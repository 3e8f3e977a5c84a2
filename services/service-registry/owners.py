"""The instances that may register at each address, from the topology table. scripts/lib/owners.sh writes the file.

A line has ADDRESS, PORT, PROGRAM and LABEL of a node, separated by tabs. The file is read again after it was replaced.
Without a file every address may register under any name.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from cnet_service.errors import UnavailableError
from instances import Instance

log = logging.getLogger("service")


class NotOwnerError(Exception):
    """The topology table gives this address or this name to another node."""


@dataclass(frozen=True)
class Place:
    """A line of the table: the instance `label` of `program` at `port` of an address."""

    address: str
    port: int
    program: str
    label: str

    def is_same_node(self, other: "Place | None") -> bool:
        """Return whether another line is of the same node; a label is of one node only."""
        return other is not None and other.label == self.label


class Owners:
    """The names and addresses of the table's nodes; `path` is None without a table."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._places: dict[str, Place] | None = None
        self._failed = False

    def check(self, instance: Instance) -> bool:
        """Return whether the table contains this instance; False if it has neither the address nor the name.

        Raise NotOwnerError if one of them is another node's, or if `ip6` is not of the same node as `ip`;
        UnavailableError if no table could be read yet.
        """
        if self._path is None:
            places: dict[str, Place] = {}
        else:
            self._read_again(self._path)
            if self._places is None:
                raise UnavailableError("The topology table cannot be read; try again")
            places = self._places
        place = places.get(instance.ip)
        if instance.ip6 and (place is None or not place.is_same_node(places.get(instance.ip6))):
            raise NotOwnerError(
                f"the topology table has no node with both addresses {instance.ip} and {instance.ip6}"
            )
        if place is None:
            if any(instance.name in (other.program, other.label) for other in places.values()):
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
                state = "using the table read before" if self._places else "no instance can register"
                log.error("cannot read %s (%s): %s; repair with scripts/services.sh up", path, failure, state)
            self._failed = True


def read_place(line: str) -> Place:
    """Return the node of a line; raise ValueError if it is not one."""
    address, port, program, label = line.rstrip("\n").split("\t")
    return Place(address, int(port), program, label)
