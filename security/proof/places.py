"""The places of a proof (nodes, host, world): their addresses, MACs and neighbours."""

from __future__ import annotations

from ipaddress import IPv4Address

from lab.network.facts import mac_of
from lab.topology import Bridge, Node, Topology
from security.policy.compiler import wires
from security.policy.model import HOST, WORLD
from security.proof.probe import Outside


class Places:
    """All places between which probes are sent."""

    def __init__(self, topology: Topology, outside: Outside) -> None:
        self.topology = topology
        self.outside = outside
        self.nodes = topology.nodes
        self.node_names = tuple(node.name for node in topology.nodes)
        self.names = (*self.node_names, HOST, WORLD)
        self._mac_of_port = {port: mac_of(nodes[0].address.ip) for port, nodes in wires(topology).items()}

    def passes_lab(self, source: str, destination: str) -> bool:
        """Decide whether packets leave the source's namespace and come from or go to a node."""
        one, other = self.topology.node(source), self.topology.node(destination)
        if one and other:
            return one.namespace != other.namespace
        return bool(one or other)

    def address(self, name: str, peer: str) -> str:
        """Return the address of a node, the world, or the host as its peer sees it."""
        if node := self.topology.node(name):
            return str(node.address.ip)
        if name == WORLD:
            return self.outside.address
        return self.gateway(self.topology.node(peer) or self.nodes[0])

    def addresses(self, source: str, destination: str) -> tuple[str, str]:
        """Return the addresses of both ends."""
        return self.address(source, destination), self.address(destination, source)

    def gateway(self, node: Node) -> str:
        """Return the host's address on the node's bridge."""
        return str(self.topology.bridge_of(node).address.ip)

    def mac(self, node: Node) -> str:
        """Return the MAC of a node's veth pair."""
        return self._mac_of_port[node.bridge_interface]

    def other_node(self, node: Node) -> Node | None:
        """Find a node in another namespace, on the same bridge if possible."""
        others = [other for other in self.nodes if other.namespace != node.namespace]
        near = [other for other in others if other.bridge == node.bridge]
        return next(iter(near or others), None)

    def link_neighbour(self, node: Node) -> tuple[str, str]:
        """Return name and MAC of a place that a frame of the node can reach: a node on its bridge, else the host."""
        other = self.other_node(node)
        if other and other.bridge == node.bridge:
            return other.name, self.mac(other)
        return HOST, mac_of(self.topology.bridge_of(node).address.ip)

    def free_address(self, bridge: Bridge) -> str:
        """Return the last unused address of a bridge's network; empty if the network is full."""
        taken = {node.address.ip for node in self.nodes} | {bridge.address.ip}
        network = bridge.address.network
        for number in range(int(network.broadcast_address) - 1, int(network.network_address), -1):
            if IPv4Address(number) not in taken:
                return str(IPv4Address(number))
        return ""
