"""A topology table that passed every check: its bridges, nodes and ports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path


@dataclass(frozen=True)
class Bridge:
    """A bridge of the host; its address is the default gateway of its nodes."""

    name: str
    address: IPv4Interface
    line: int


@dataclass(frozen=True)
class Listener:
    """A port that must answer in the node."""

    port: int
    protocol: str

    def __str__(self) -> str:
        """Format as in the table: `80/tcp`."""
        return f"{self.port}/{self.protocol}"


@dataclass(frozen=True)
class Publication:
    """A port of the host that is forwarded to the node's."""

    host_port: int
    port: int
    protocol: str

    def __str__(self) -> str:
        """Format as in the table: `8080:80/tcp`."""
        return f"{self.host_port}:{self.port}/{self.protocol}"


@dataclass(frozen=True)
class Node:
    """A network namespace, joined by a veth pair to a bridge."""

    name: str
    namespace: str
    address: IPv4Interface
    interface: str
    bridge_interface: str
    bridge: str
    listens: tuple[Listener, ...]
    publishes: tuple[Publication, ...]
    runs: str | None
    line: int
    mtu: int | None = None  # of both ends of the veth pair; None: the kernel's

    @property
    def label(self) -> str:
        """The name in DNS: one label (RFC 1123), without the characters that only tables allow."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True)
class Topology:
    """All bridges and nodes of one table."""

    path: Path
    bridges: tuple[Bridge, ...]
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node | None:
        """Find a node by its name."""
        return self._by_name.get(name)

    def node_at(self, address: IPv4Address | str) -> Node | None:
        """Find a node by its address, written without a prefix length."""
        return self._by_address.get(str(address))

    def node_in(self, namespace: str) -> Node | None:
        """Find a node by its network namespace."""
        return self._by_namespace.get(namespace)

    def nodes_running(self, program: str) -> tuple[Node, ...]:
        """Return the nodes that run the program, in the table's order."""
        return tuple(node for node in self.nodes if node.runs == program)

    def bridge(self, name: str) -> Bridge | None:
        """Find a bridge by its name."""
        return self._bridges.get(name)

    def bridge_of(self, node: Node) -> Bridge:
        """Return the bridge that a node of this table is joined to."""
        return self._bridges[node.bridge]

    def node_of_wire(self, node: Node) -> Node:
        """Return the first node of its namespace: the one that its veth pair is made for."""
        return self._by_namespace[node.namespace]

    def publishes_in(self, namespace: str) -> bool:
        """Decide whether a node of the namespace publishes a port."""
        return namespace in self._publishing

    @cached_property
    def _publishing(self) -> frozenset[str]:
        return frozenset(node.namespace for node in self.nodes if node.publishes)

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _by_address(self) -> dict[str, Node]:
        return {str(node.address.ip): node for node in self.nodes}

    @cached_property
    def _by_namespace(self) -> dict[str, Node]:
        return {node.namespace: node for node in reversed(self.nodes)}

    @cached_property
    def _bridges(self) -> dict[str, Bridge]:
        return {bridge.name: bridge for bridge in self.bridges}
