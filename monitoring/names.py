"""Names for addresses, by the topology table."""

from __future__ import annotations

from lab.network.facts import ROUTER6
from lab.topology import Topology, bracketed

HOST = "host"
_LOOPBACK = "127."  # source address if the host connects to localhost:PUBLISHED_PORT; in IPv6 it is ::1


class Names:
    """Returns the name of an address: the node, the host (bridges, loopback), or else the address itself."""

    def __init__(self, topology: Topology) -> None:
        self._known = {"::1": HOST} | ({str(ROUTER6.ip): HOST} if topology.has_ipv6 else {})
        self._known |= {str(own.ip): HOST for bridge in topology.bridges for own in bridge.addresses}
        self._known |= {str(own.ip): node.name for node in topology.nodes for own in node.addresses}
        self._registries = {node.name for node in topology.nodes_running("service-registry")}
        self._behind = {node.name for node in topology.nodes if not node.publishes}

    def of(self, address: str) -> str:
        """Return the name of an address."""
        return HOST if address.startswith(_LOOPBACK) else self._known.get(address, address)

    def with_port(self, address: str, port: int) -> str:
        """Return NAME:PORT, or [ADDRESS]:PORT for an IPv6 address without a name."""
        return f"{bracketed(self.of(address))}:{port}"

    def are_checking(self, one: str, other: str) -> bool:
        """Return whether packets between two names are the lab's own checks.

        These are packets of a registry (probes, heartbeats, discovery), and packets between the host and a node that
        publishes no port: health checks. To a node with a published port, customers' requests come from the host, too.
        """
        ends = {one, other}
        return bool(ends & self._registries) or (HOST in ends and bool(ends & self._behind))
