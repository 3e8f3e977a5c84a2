"""Choose the nodes of a fault by a seed, and name them for its texts and commands.

python -m faults.exercises.targets FAULT SEED [NODE]   assignments for bash, one per line; of this node, if given

NODE PROGRAM NAMESPACE INTERFACE PORT ADDRESS CIDR MAC LISTENS   of the chosen node
BRIDGE GATEWAY BRIDGE_CIDR NETWORK   of its bridge: GATEWAY without, BRIDGE_CIDR with the prefix length
PEER PEER_...                 the second one, in another namespace, and the same of it
OTHER OTHER_...               likewise a third one, in another namespace than both if there is one
FREE_ADDRESS FREE_MAC         used by nobody in the node's network
PUBLISHED WAY_IN              the host's published port, and the node that it leads to
UPLINK UPLINK_GATEWAY         the interface of the host's default route, and its next hop
TOPOLOGY POLICY               the tables
PORT is the host's end of the node's veth pair, as in the topology table; LISTENS the number of the node's first port.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from shlex import quote

from faults.exercises.catalogue import CatalogueError, Fault, fill_in, find_fault
from lab.network.facts import mac_of
from lab.topology import ROOT, Node, Topology, base_table, load


def variables(fault: Fault, seed: int, topology: Topology, chosen: str = "") -> dict[str, str]:
    """Return the variables of a fault, of the node with this name if one is given. Raises CatalogueError."""
    choice = random.Random(f"{fault.name} {seed}")  # noqa: S311 - it only varies the exercise
    node = topology.node(chosen) or _choose(choice, fault.node, topology, [])
    peer = _choose(choice, fault.peer, topology, [node])
    other = _choose(choice, (), topology, [node, peer])
    found = {
        **_of_node("", node, topology),
        **_of_node("PEER_", peer, topology),
        **_of_node("OTHER_", other, topology),
    }
    way_in = next((one for one in topology.nodes if one.publishes), node)
    free = _free_address(choice, node, topology)
    found |= {
        "PEER": peer.name,
        "OTHER": other.name,
        "FREE_ADDRESS": str(free),
        "FREE_MAC": mac_of(free),
        "PUBLISHED": str(way_in.publishes[0].host_port) if way_in.publishes else "",
        "WAY_IN": way_in.name,
        "TOPOLOGY": str(topology.path),
        "POLICY": f"{ROOT}/security/{Path(base_table(topology.path)).name}",
        "SEED": str(seed),
    }
    found |= _uplink()
    for name, text in fault.needs.items():
        found[name] = fill_in(text, found)
    return found


def _choose(
    choice: random.Random, programs: Sequence[str], topology: Topology, others: Sequence[Node]
) -> Node:
    """Choose a node that runs one of the programs (none: any), in another namespace than the others if possible."""
    nodes = [node for node in topology.nodes if node.runs and (not programs or node.runs in programs)]
    if not nodes:
        raise CatalogueError(f"{topology.path} has no node that runs {' or '.join(programs)}")
    taken = {node.namespace for node in others}
    elsewhere = [node for node in nodes if node.namespace not in taken]
    apart = elsewhere or [node for node in nodes if node not in others] or nodes
    return choice.choice(apart)


def _of_node(prefix: str, node: Node, topology: Topology) -> dict[str, str]:
    bridge = topology.bridge_of(node)
    return {
        f"{prefix}{name}": str(value)
        for name, value in {
            "NODE": node.name,
            "PROGRAM": node.runs,
            "NAMESPACE": node.namespace,
            "INTERFACE": node.interface,
            "PORT": node.bridge_interface,
            "ADDRESS": node.address.ip,
            "CIDR": node.address,
            "MAC": mac_of(topology.node_of_wire(node).address.ip),
            "LISTENS": node.listens[0].port,
            "BRIDGE": node.bridge,
            "GATEWAY": bridge.address.ip,
            "BRIDGE_CIDR": bridge.address,
            "NETWORK": bridge.address.network,
        }.items()
    }


def _uplink() -> dict[str, str]:
    """Return the host's default route, as the kernel has it; empty texts without one."""
    command = ["ip", "-j", "route", "show", "default"]
    routes = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout or "[]")
    first = routes[0] if routes else {}
    return {"UPLINK": str(first.get("dev", "")), "UPLINK_GATEWAY": str(first.get("gateway", ""))}


def _free_address(choice: random.Random, node: Node, topology: Topology) -> IPv4Address:
    bridge = topology.bridge_of(node)
    taken = {other.address.ip for other in topology.nodes} | {bridge.address.ip}
    first = int(bridge.address.network.network_address)
    return choice.choice(
        [IPv4Address(first + at) for at in range(100, 200) if IPv4Address(first + at) not in taken]
    )


def main(arguments: Sequence[str]) -> int:
    """Print the assignments."""
    name, seed, *node = arguments
    try:
        found = variables(find_fault(name), int(seed), load(), *node)
    except CatalogueError as error:
        print(f"exercise: {error}", file=sys.stderr)
        return 1
    for key, value in found.items():
        print(f"{key}={quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
