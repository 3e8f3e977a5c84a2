"""A topology table that passed every check: its bridges, nodes and ports.

The records are NamedTuples: `up` starts this module often, and the import of dataclasses takes longer than its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import NamedTuple

Address = IPv4Interface | IPv6Interface


def bracketed(address: object) -> str:
    """Return an address as URLs and ss write it before a port: an IPv6 address in brackets (RFC 3986)."""
    text = str(address)
    return f"[{text}]" if ":" in text else text


class Bridge(NamedTuple):
    """A bridge of the host; its addresses are the default gateways of its nodes."""

    name: str
    address: Address  # the IPv4 address; the IPv6 address if the table gives no other
    address6: IPv6Interface | None
    line: int

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses that the table gives, IPv4 first."""
        return _distinct(self.address, self.address6)

    def address_of(self, version: int) -> Address | None:
        """Return the address of an IP version, if the table gives one."""
        return next((own for own in self.addresses if own.version == version), None)


class Listener(NamedTuple):
    """A port that must answer in the node."""

    port: int
    protocol: str

    def __str__(self) -> str:
        """Format as in the table: `80/tcp`."""
        return f"{self.port}/{self.protocol}"


class Publication(NamedTuple):
    """A port of the host that is forwarded to the node's."""

    host_port: int
    port: int
    protocol: str

    def __str__(self) -> str:
        """Format as in the table: `8080:80/tcp`."""
        return f"{self.host_port}:{self.port}/{self.protocol}"


class Node(NamedTuple):
    """A network namespace, joined by a veth pair to a bridge."""

    name: str
    namespace: str
    address: Address  # the IPv4 address; the IPv6 address if the table gives no other
    address6: IPv6Interface | None
    interface: str
    bridge_interface: str
    bridge: str
    listens: tuple[Listener, ...]
    publishes: tuple[Publication, ...]
    runs: str | None
    mtu: int | None  # MTU of both ends of the veth pair; None: the kernel's default
    line: int

    @property
    def second_address(self) -> IPv6Interface | None:
        """The IPv6 address of a node that has an IPv4 address, too."""
        return self.address6 if self.address_of(4) else None

    @property
    def host(self) -> str:
        """The node's address as a URL writes it."""
        return bracketed(self.address.ip)

    @property
    def label(self) -> str:
        """The name in DNS: one label (RFC 1123), without the characters that only tables allow."""
        return self.name.lower().replace("_", "-")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses that the table gives, IPv4 first."""
        return _distinct(self.address, self.address6)

    def address_of(self, version: int) -> Address | None:
        """Return the address of an IP version, if the table gives one."""
        return next((own for own in self.addresses if own.version == version), None)


def _distinct(address: Address, address6: IPv6Interface | None) -> tuple[Address, ...]:
    return (address,) if address6 in (None, address) else (address, address6)


class Topology:
    """All bridges and nodes of one table."""

    def __init__(self, path: Path, bridges: Sequence[Bridge], nodes: Sequence[Node]) -> None:
        self.path, self.bridges, self.nodes = path, tuple(bridges), tuple(nodes)
        self._bridges = {bridge.name: bridge for bridge in bridges}
        self._by_name = {node.name: node for node in nodes}
        self._by_address = {str(address.ip): node for node in nodes for address in node.addresses}
        self._by_namespace = {node.namespace: node for node in reversed(nodes)}
        self._publishing = {node.namespace for node in nodes if node.publishes}

    def node(self, name: str) -> Node | None:
        """Find a node by its name."""
        return self._by_name.get(name)

    def node_at(self, address: IPv4Address | IPv6Address | str) -> Node | None:
        """Find a node by its address of either family, written without a prefix length."""
        return self._by_address.get(str(address))

    def node_in(self, namespace: str) -> Node | None:
        """Find the first node of a network namespace."""
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

    def entry_host(self, node: Node) -> str:
        """Return the host's name or address, as a URL writes it, at which the host itself reaches a published port."""
        return "localhost" if node.address_of(4) else bracketed(self.bridge_of(node).address.ip)

    def node_of_wire(self, node: Node) -> Node:
        """Return the first node of its namespace: the one that its veth pair is made for."""
        return self._by_namespace[node.namespace]

    def publishes_in(self, namespace: str) -> bool:
        """Decide whether a node of the namespace publishes a port."""
        return namespace in self._publishing

    @property
    def has_ipv6(self) -> bool:
        """Return whether the table has an IPv6 address; a node has one only on a bridge that has one."""
        return any(bridge.address6 for bridge in self.bridges)
