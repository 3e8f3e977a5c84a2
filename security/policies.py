"""What the scripts ask of the policy.

python -m security.policies check              silent when good; else FILE:LINE: COLUMN: reason, exit 1
python -m security.policies path               the table's path; nothing when there is none
python -m security.policies compile [MEMORY]   the rules, TOOL TABLE -A CHAIN ... a line each
python -m security.policies pings              pairs of nodes, FROM TO a line each, that may ping each other
python -m security.policies stale              `conntrack -L` -> arguments of `conntrack -D`
python -m security.policies help
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from scripts.conntrack import connections
from scripts.table import TableError
from scripts.topology import load as load_topology
from security.compiler import compiled
from security.policy import ACCEPT
from security.policy_table import load, policy_path
from security.stale import addresses_of_host, arguments, stale


def main(words: Sequence[str]) -> int:
    """Do what the command line asks; 0 done, 1 refused, 2 bad usage."""
    command, memory = [*words, "", ""][:2]
    if command not in _COMMANDS:
        asked = command in ("", "help")
        print(
            __doc__ if asked else f'policies.py: unknown command "{command}"',
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    try:
        for line in _COMMANDS[command](memory):
            print(line)
    except (TableError, OSError) as error:
        print(f"policies.py: {error}", file=sys.stderr)
        return 1
    return 0


def _check(_: str) -> Iterator[str]:
    load()
    yield from ()


def _path(_: str) -> Iterator[str]:
    path = policy_path(load_topology())
    if path:
        yield str(path)


def _compile(memory: str) -> Iterator[str]:
    yield from compiled(load(), memory)


def _pings(_: str) -> Iterator[str]:
    policy = load()
    for source in policy.topology.nodes:
        for destination in policy.topology.nodes:
            inside = source.namespace == destination.namespace
            if inside or policy.decide(source.name, destination.name, "icmp").verdict == ACCEPT:
                yield f"{source.name} {destination.name}"


def _stale(_: str) -> Iterator[str]:
    for connection in stale(load(), connections(sys.stdin), addresses_of_host()):
        yield arguments(connection)


_COMMANDS = {"check": _check, "path": _path, "compile": _compile, "pings": _pings, "stale": _stale}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
