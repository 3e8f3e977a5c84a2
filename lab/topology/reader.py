"""Read a topology table and check every value; errors have the form `FILE:LINE: COLUMN: reason`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from lab.table import TableError, TableReader
from lab.topology.model import Address, Bridge, Listener, Node, Publication, Topology

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("kind", *(field for field in Node._fields if field != "line"))
OPTIONAL_COLUMNS = ("address6", "mtu")
NONE = "-"
OUTSIDE_NAMESPACE = "cnet-outside"
_OUTSIDE_NETWORK = IPv4Network("198.51.100.0/24")
_SPECIAL_NETWORKS6 = tuple(map(IPv6Network, ("::/8", "fe80::/10", "ff00::/8")))  # RFC 4291, 2.4
_OUTSIDE_THE_LAB = ("host", "world", "any")
_KERNEL_NAMES = ("all", "default", "lo")
_MAX_INTERFACE_LENGTH = 15
_PORTS = range(1, 65536)
_MTUS = range(1280, 65536)  # below 1280 the kernel removes IPv6 from the link
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_INTERFACE = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")


class TopologyError(TableError):
    """A topology table is not valid."""


class TopologyReader(TableReader):
    """Reads one table."""

    columns = COLUMNS
    optional = OPTIONAL_COLUMNS
    error = TopologyError

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bridges: dict[str, Bridge] = {}
        self.nodes: list[Node] = []
        self.wires: set[tuple[str, ...]] = set()

    def read(self) -> Topology:
        """Return the whole table. Raises TopologyError."""
        self.read_lines()
        self.require(self.bridges, "kind", "the table has no bridge")
        for node in self.nodes:
            self._check_bridge_of(node)
        return Topology(self.path, tuple(self.bridges.values()), self.nodes)

    def add_row(self) -> None:
        """Check the current line and add its bridge or node."""
        kind = self.row["kind"]
        self.check_unique("name", self.row["name"])
        for column in ("address", "address6"):
            if self.row[column] != NONE:
                self.check_unique(column, self.row[column].partition("/")[0])
        self.require(kind in ("bridge", "node"), "kind", f'"{kind}" is neither bridge nor node')
        if kind == "bridge":
            self._add_bridge()
        else:
            self._add_node()

    def _add_bridge(self) -> None:
        name = self.row["name"]
        for column in COLUMNS:
            is_empty = column in ("kind", "name", "address", "address6") or self.row[column] == NONE
            self.require(is_empty, column, "a bridge has none, write -")
        self._check_interface("name")
        self.check_unique("name", name, "interface of the host")
        bridge = Bridge(name, *self._checked_addresses(), self.line_number)
        for other in self.bridges.values():
            for column, own, taken in _both_families(bridge, other):
                if own and taken and own.network.overlaps(taken.network):
                    self.refuse(column, f"{own} overlaps with {taken} of {other.name}")
        self.bridges[name] = bridge

    def _add_node(self) -> None:
        row = self.row
        self._check_name("name")
        is_inside = row["name"] not in _OUTSIDE_THE_LAB
        self.require(is_inside, "name", f'"{row["name"]}" is reserved for destinations outside the lab')
        self._check_name("namespace")
        self._check_reserved("namespace")
        for column in ("interface", "bridge_interface", "bridge"):
            self._check_interface(column)
        self._check_wire()
        address, address6 = self._checked_addresses()
        listens = tuple(map(self._checked_listener, self.items("listens")))
        self.nodes.append(
            Node(
                name=row["name"],
                namespace=row["namespace"],
                address=address,
                address6=address6,
                interface=row["interface"],
                bridge_interface=row["bridge_interface"],
                bridge=row["bridge"],
                listens=listens,
                publishes=tuple(self._checked_publication(item, listens) for item in self.items("publishes")),
                runs=self._checked_runs(),
                mtu=None if row["mtu"] == NONE else self._checked_number("mtu", row["mtu"], "an MTU", _MTUS),
                line=self.line_number,
            )
        )

    def _check_wire(self) -> None:
        """Refuse a second wire: nodes that share a namespace are addresses on the same wire."""
        columns = ("namespace", "interface", "bridge_interface", "bridge", "mtu")
        wire = tuple(self.row[column] for column in columns)
        if wire not in self.wires:
            self.check_unique("namespace", wire[0])
            self.check_unique("bridge_interface", wire[2], "interface of the host")
            self.wires.add(wire)

    def _check_name(self, column: str) -> None:
        name = self.row[column]
        reason = f'"{name}" is not a name: letters, digits, - and _, at most 63 characters'
        self.require(_NAME.fullmatch(name), column, reason)

    def _check_interface(self, column: str) -> None:
        name, length = self.row[column], len(self.row[column])
        reason = f'"{name}" has {length} characters, the kernel allows at most {_MAX_INTERFACE_LENGTH}'
        self.require(length <= _MAX_INTERFACE_LENGTH, column, reason)
        is_name = _INTERFACE.fullmatch(name)
        self.require(is_name, column, f'"{name}" is not an interface name: letters, digits, - _ and .')
        self.require(name not in _KERNEL_NAMES, column, f'"{name}" is reserved by the kernel')
        self._check_reserved(column)

    def _check_reserved(self, column: str) -> None:
        reason = f'"{OUTSIDE_NAMESPACE}" is reserved for the outside namespace of the proofs'
        self.require(self.row[column] != OUTSIDE_NAMESPACE, column, reason)

    def _checked_addresses(self) -> tuple[Address, IPv6Interface | None]:
        address6 = self._checked_address6()
        if address6 and self.row["address"] == NONE:
            return address6, address6
        return self._checked_address(), address6

    def _checked_address(self) -> IPv4Interface:
        text = self.row["address"]
        try:
            address = IPv4Interface(text)
        except ValueError:
            address = None
        if address is None or address.with_prefixlen != text or not 1 <= address.network.prefixlen <= 30:  # noqa: PLR2004
            self.refuse("address", f'"{text}" is not an IPv4 address with a prefix length from 1 to 30')
        network, first = address.network, address.packed[0]
        reason = f"{text} is in 0/8, 127/8 or 224/3, which cannot be a host's address"
        self.require(first not in (0, 127) and first < 224, "address", reason)  # noqa: PLR2004
        is_host = address.ip not in (network.network_address, network.broadcast_address)
        self.require(is_host, "address", f"{text} is the network's own or broadcast address, not a host's")
        if network.overlaps(_OUTSIDE_NETWORK):
            whose = "the outside network of the proofs (TEST-NET-2, RFC 5737)"
            self.refuse("address", f"{text} overlaps with {_OUTSIDE_NETWORK}, {whose}")
        return address

    def _checked_address6(self) -> IPv6Interface | None:
        text = self.row["address6"]
        if text == NONE:
            return None
        try:
            address = IPv6Interface(text)
        except ValueError:
            address = None
        if address is None or address.with_prefixlen != text or not 1 <= address.network.prefixlen <= 126:  # noqa: PLR2004
            how = f", written as {address}" if address and address.with_prefixlen != text else ""
            reason = f'"{text}" is not an IPv6 address with a prefix length from 1 to 126{how}'
            self.refuse("address6", reason)
        reason = f"{text} is in a network with link-local, multicast, loopback, IPv4-mapped or unspecified addresses"
        is_special = any(address.network.overlaps(special) for special in _SPECIAL_NETWORKS6)
        self.require(not is_special, "address6", reason)
        reason = f"{text} is the anycast address of all routers (RFC 4291), not a host's"
        self.require(address.ip != address.network.network_address, "address6", reason)
        return address

    def _checked_number(self, column: str, text: str, what: str, allowed: range) -> int:
        number = int(text) if text.isdigit() and len(text) <= len(str(allowed[-1])) else -1
        if str(number) != text or number not in allowed:
            self.refuse(column, f'"{text}" is not {what} from {allowed[0]} to {allowed[-1]}')
        return number

    def _checked_listener(self, item: str) -> Listener:
        port, slash, protocol = item.rpartition("/")
        is_written = slash and protocol in ("tcp", "udp")
        self.require(is_written, "listens", f'"{item}" is not PORT/tcp or PORT/udp')
        listener = Listener(self._checked_number("listens", port, "a port", _PORTS), protocol)
        self.check_unique("listens", item, f"listens of {self.row['name']}")
        return listener

    def _checked_publication(self, item: str, listens: tuple[Listener, ...]) -> Publication:
        port, _, target = item.partition(":")
        self.require("/" in target, "publishes", f'"{item}" is not HOST_PORT:PORT/protocol')
        host_port = self._checked_number("publishes", port, "a port", _PORTS)
        for listener in listens:
            if str(listener) == target:
                self.check_unique("publishes", f"{host_port}/{listener.protocol}", "host port")
                return Publication(host_port, *listener)
        self.refuse("publishes", f"the node does not listen on {target}")

    def _checked_runs(self) -> str | None:
        program = self.row["runs"]
        settings = ROOT / "services" / program / "service.toml"
        is_known = program == NONE or (_NAME.fullmatch(program) and os.path.isfile(settings))
        self.require(is_known, "runs", f'"{program}" is not a folder of services/ with a service.toml')
        return None if program == NONE else program

    def _check_bridge_of(self, node: Node) -> None:
        self.line_number = node.line
        bridge = self.bridges.get(node.bridge)
        if bridge is None:
            self.refuse("bridge", f'there is no bridge "{node.bridge}" in the table')
        for column, own, router in _both_families(node, bridge):
            if own is None:
                continue
            if router is None:
                self.refuse(column, f"bridge {bridge.name} has none, so {own} would have no router")
            if own.ip not in router.network:
                self.refuse(column, f"{own} is outside {router} of {bridge.name}")
            if own.network != router.network:
                reason = f"{own} has another prefix length than {router} of {bridge.name}"
                self.refuse(column, reason)


def _both_families(
    one: Bridge | Node, other: Bridge | Node
) -> Iterator[tuple[str, Address | None, Address | None]]:
    """Yield a column of the table and its two values, for IPv4 and for IPv6."""
    for version, column in ((4, "address"), (6, "address6")):
        yield column, one.address_of(version), other.address_of(version)
