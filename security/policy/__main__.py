"""Commands on the policy, for the scripts.

python -m security.policy check              silent when good; else FILE:LINE: COLUMN: reason, exit 1
python -m security.policy path               the table's path; nothing when there is none
python -m security.policy compile [STATE]    the rules, one TOOL TABLE -A CHAIN ... a line
python -m security.policy allowed [TO:]PROTOCOL[/PORT]...   what nodes may send to TO (default: every node),
                                             one FROM TO PROTOCOL[/PORT] a line
python -m security.policy stale              read `conntrack -L`, print arguments of `conntrack -D`
python -m security.policy help
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from lab import netlink
from lab.conntrack import connections
from lab.table import TableError
from lab.topology import load as load_topology
from lab.unread import Unread
from security.policy.compiler import compile_rules
from security.policy.model import Policy
from security.policy.stale import as_arguments, stale_connections
from security.policy.table import load, policy_path


def main(words: Sequence[str]) -> int:
    """Run a command; return 0 done, 1 refused, 2 bad usage."""
    lines: Iterable[str] = ()
    try:
        match words:
            case ["check"]:
                load()
            case ["path"]:
                path = policy_path(load_topology())
                lines = [str(path)] if path else []
            case ["compile"] | ["compile", _]:
                lines = compile_rules(load(), *words[1:])
            case ["allowed", *flows]:
                lines = allowed(load(), flows)
            case ["stale"]:
                lines = stale(load())
            case [] | ["help"]:
                print(__doc__)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
        for line in lines:
            print(line)
    except (TableError, OSError) as error:
        print(f"policy: {error}", file=sys.stderr)
        return 1
    return 0


def allowed(policy: Policy, flows: Iterable[str]) -> Iterator[str]:
    """Return the allowed flows of nodes: all within a namespace, and those that the policy accepts."""
    nodes = {node.name: node for node in policy.topology.nodes}
    for item in flows:
        to, _, what = item.rpartition(":")
        protocol, _, port = what.partition("/")
        for source, destination in product(nodes, [to] if to else nodes):
            inside = destination in nodes and nodes[source].namespace == nodes[destination].namespace
            if inside or policy.allows(source, destination, protocol, int(port or 0)):
                yield f"{source} {destination} {what}"


def stale(policy: Policy) -> Iterator[str]:
    """Return the arguments of `conntrack -D` for each connection on standard input that the policy denies."""
    unread = Unread()
    own = {address for ipv6 in (False, True) for address, _, _ in netlink.addresses(ipv6=ipv6)}
    for connection in stale_connections(policy, connections(sys.stdin, unread), own):
        yield as_arguments(connection)
    for sentence in unread.sentences():
        print(f"policy: conntrack -L: {sentence}; such connections are left as they are", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
