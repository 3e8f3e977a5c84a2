"""Print the running lab's table with another number of instances of a program; new nodes are not checked.

python3 -m lab.topology.scaled TABLE BASE PROGRAM COUNT    TABLE was scaled from BASE, or is BASE
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from itertools import count
from pathlib import Path
from typing import TypeVar

from lab.topology import Bridge, Node, Topology, TopologyError, load
from lab.topology.__main__ import dump

_MAX_INTERFACE_LENGTH = 15
Address = TypeVar("Address", IPv4Interface, IPv6Interface)


def scaled(topology: Topology, base: Topology, program: str, number: int) -> Topology:
    """Return a table with `number` nodes that run the program, of which the first table has at least one.

    First come those of the base table, in its order, then others that are up, then new ones. All other rows stay.
    """
    known = [*base.nodes, *(node for node in topology.nodes if not base.node(node.name))]
    instances = [node for node in known if node.runs == program][:number]
    nodes = [
        node for node in known if node in instances or (node.runs != program and topology.node(node.name))
    ]
    while len(instances) < number:
        instances.append(_node_after(instances[-1], topology, nodes))
        nodes.append(instances[-1])
    return Topology(topology.path, topology.bridges, tuple(nodes))


def _node_after(node: Node, topology: Topology, nodes: Collection[Node]) -> Node:
    """Return one more instance, in its own namespace unless the node shares one."""
    things: tuple[Bridge | Node, ...] = (*topology.bridges, *nodes)
    taken = {address.ip for thing in things for address in thing.addresses}
    address6 = _free_after(node.address6, taken) if node.address6 else None
    address = _free_after(node.address, taken) if isinstance(node.address, IPv4Interface) else address6
    new = node._replace(
        name=name_after(node.name), address=address or node.address, address6=address6, publishes=()
    )
    if sum(other.namespace == node.namespace for other in nodes) > 1:
        return new
    wire = interface_after(node.interface), interface_after(node.bridge_interface)
    return new._replace(namespace=name_after(node.namespace), interface=wire[0], bridge_interface=wire[1])


def _free_after(own: Address, taken: Collection[IPv4Address | IPv6Address]) -> Address:
    free = next(own.ip + step for step in count(1) if own.ip + step not in taken)
    return type(own)((free, own.network.prefixlen))


def name_after(name: str) -> str:
    """Return the name with a number one higher, or with -2: product-3 -> product-4, api -> api-2."""
    base = name.rstrip("0123456789")
    return f"{base}{int(name.removeprefix(base)) + 1}" if base not in ("", name) else f"{name}-2"


def interface_after(name: str) -> str:
    """Return the next name of an interface, shortened if it is too long; the number goes before a -br at the end."""
    base = name.removesuffix("-br")
    suffix = name.removeprefix(base)
    longer = name_after(base) + suffix
    return longer if len(longer) <= _MAX_INTERFACE_LENGTH else name_after(base[: 10 - len(suffix)]) + suffix


if __name__ == "__main__":
    table, base, program, number = sys.argv[1:]
    try:
        print(dump(scaled(load(Path(table)), load(Path(base)), program, int(number))), end="")
    except TopologyError as error:
        sys.exit(f"{os.environ.get('SCRIPT', 'scaled.py')}: {error}")
