"""Who listens on which port of a network namespace, from ss(8)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SS = ("ss", "-Hlntup")
_USER = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=(\d+)')
_ANY = ("0.0.0.0", "*", "[::]")  # noqa: S104 - as ss writes them


@dataclass(frozen=True)
class Listening:
    """A socket that accepts connections or datagrams."""

    protocol: str
    address: str
    port: int
    pids: tuple[int, ...]
    programs: tuple[str, ...]
    line: str  # of ss

    def is_at(self, address: str) -> bool:
        """Return whether a packet to the address reaches the socket."""
        return self.address == address or self.address in _ANY


def parse_listening(printed: str) -> list[Listening]:
    """Parse the output of `ss -Hlntup`."""
    found = []
    for line in printed.splitlines():
        words = line.split(maxsplit=6)
        if len(words) < 6:  # noqa: PLR2004 - protocol, state, two queues, two places
            continue
        address, _, port = words[4].rpartition(":")
        users = _USER.findall(words[6]) if len(words) > 6 else []  # noqa: PLR2004
        if port.isdigit():
            found.append(
                Listening(
                    words[0],
                    address.partition("%")[0],
                    int(port),
                    tuple(int(pid) for _, pid in users),
                    tuple(dict.fromkeys(name for name, _ in users)),
                    " ".join(words[:5] + words[6:]),
                )
            )
    return found


def others(sockets: Iterable[Listening], pids: Iterable[int]) -> list[Listening]:
    """Return the sockets that none of these processes has."""
    own = set(pids)
    return [one for one in sockets if not own & set(one.pids)]
