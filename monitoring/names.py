"""Names of addresses, as the topology has them."""

from __future__ import annotations

from scripts.topology import Topology

HOST = "host"
_LOOPBACK = "127."  # whom the host's own connections to a published port are answered to


class Names:
    """A node's address is the node, a bridge's is the host, others are as they are."""

    def __init__(self, topology: Topology) -> None:
        self._known = {str(bridge.address.ip): HOST for bridge in topology.bridges}
        self._known |= {str(node.address.ip): node.name for node in topology.nodes}
        self._registries = {node.name for node in topology.nodes_running("service-registry")}
        self._behind = {node.name for node in topology.nodes if not node.publishes}

    def of(self, address: str) -> str:
        """Give it."""
        return HOST if address.startswith(_LOOPBACK) else self._known.get(address, address)

    def are_checking(self, one: str, other: str) -> bool:
        """Tell whether packets between two are the lab's own checks.

        The registry tries its services and hears their heartbeats. The health checks come from the host; to a node
        with a published port come customers from there, too.
        """
        ends = {one, other}
        return bool(ends & self._registries) or (HOST in ends and bool(ends & self._behind))
