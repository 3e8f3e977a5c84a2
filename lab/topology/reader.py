"""Read a topology table and check every value; errors have the form `FILE:LINE: COLUMN: reason`."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from lab.table import TableError, TableReader
from lab.topology.model import Bridge, Listener, Node, Publication, Topology

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (
    "kind",
    "name",
    "namespace",
    "address",
    "interface",
    "bridge_interface",
    "bridge",
    "listens",
    "publishes",
    "runs",
    "mtu",
)
OPTIONAL_COLUMNS = ("mtu",)
NONE = "-"
NOT_FOR_BRIDGES = tuple(column for column in COLUMNS if column not in ("kind", "name", "address"))
RESERVED_NAMES = ("host", "world", "any")
KERNEL_NAMES = ("all", "default", "lo")
OUTSIDE_NAMESPACE = "cnet-outside"
OUTSIDE_NETWORK = IPv4Network("198.51.100.0/24")
_MAX_INTERFACE_LENGTH = 15
_MAX_PORT = 65535
_MTUS = range(1280, 65536)  # below 1280 the kernel removes IPv6, and its settings, from a link

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}/([1-9]|[12][0-9]|30)")
_NOT_A_HOST = re.compile(r"(0|127|22[4-9]|2[3-5][0-9])\..*")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_INTERFACE = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")
_PORT = re.compile("[1-9][0-9]{0,4}")
_PROGRAM = re.compile("[a-z0-9-]+")


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
        if not self.bridges:
            self.refuse("kind", "the table has no bridge")
        for node in self.nodes:
            self._check_bridge_of(node)
        return Topology(self.path, tuple(self.bridges.values()), tuple(self.nodes))

    def add_row(self) -> None:
        """Check the current line and add its bridge or node."""
        self.check_unique("name", self.row["name"])
        self.check_unique("address", self.row["address"].rpartition("/")[0] or self.row["address"])
        match self.row["kind"]:
            case "bridge":
                self._add_bridge()
            case "node":
                self._add_node()
            case kind:
                self.refuse("kind", f'"{kind}" is neither bridge nor node')

    def _add_bridge(self) -> None:
        name = self.row["name"]
        for column in NOT_FOR_BRIDGES:
            if self.row[column] != NONE:
                self.refuse(column, "a bridge has none, write -")
        self._check_interface("name", name)
        self.check_unique("name", name, "interface of the host")
        address = self._checked_address()
        for other in self.bridges.values():
            if address.network.overlaps(other.address.network):
                self.refuse("address", f"{address} overlaps with {other.address} of {other.name}")
        self.bridges[name] = Bridge(name, address, self.line_number)

    def _add_node(self) -> None:
        self._check_names_of_node()
        row = self.row
        address, listens = self._checked_address(), self._checked_listens()
        self.nodes.append(
            Node(
                name=row["name"],
                namespace=row["namespace"],
                interface=row["interface"],
                bridge_interface=row["bridge_interface"],
                bridge=row["bridge"],
                address=address,
                listens=listens,
                publishes=self._checked_publishes(listens),
                runs=self._checked_runs(),
                mtu=self._checked_mtu(),
                line=self.line_number,
            )
        )

    def _check_names_of_node(self) -> None:
        row = self.row
        self._check_name("name", row["name"])
        if row["name"] in RESERVED_NAMES:
            self.refuse("name", f'"{row["name"]}" is reserved for destinations outside the lab')
        self._check_name("namespace", row["namespace"])
        self._check_reserved("namespace", row["namespace"])
        self._check_interface("interface", row["interface"])
        self._check_interface("bridge_interface", row["bridge_interface"])
        self._check_interface("bridge", row["bridge"])
        self._check_wire()

    def _check_wire(self) -> None:
        """Refuse a second wire: nodes that share a namespace are addresses on the same wire."""
        wire = tuple(
            self.row[column] for column in ("namespace", "interface", "bridge_interface", "bridge", "mtu")
        )
        if wire not in self.wires:
            self.check_unique("namespace", wire[0])
            self.check_unique("bridge_interface", wire[2], "interface of the host")
            self.wires.add(wire)

    def _check_name(self, column: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            self.refuse(column, f'"{name}" is not a name: letters, digits, - and _, at most 63 characters')

    def _check_interface(self, column: str, name: str) -> None:
        if len(name) > _MAX_INTERFACE_LENGTH:
            self.refuse(
                column,
                f'"{name}" has {len(name)} characters, the kernel allows at most {_MAX_INTERFACE_LENGTH}',
            )
        if not _INTERFACE.fullmatch(name):
            self.refuse(column, f'"{name}" is not an interface name: letters, digits, - _ and .')
        if name in KERNEL_NAMES:
            self.refuse(column, f'"{name}" is reserved by the kernel')
        self._check_reserved(column, name)

    def _check_reserved(self, column: str, name: str) -> None:
        if name == OUTSIDE_NAMESPACE:
            self.refuse(column, f'"{name}" is reserved for the outside namespace of the proofs')

    def _checked_address(self) -> IPv4Interface:
        text = self.row["address"]
        if not _ADDRESS.fullmatch(text):
            self.refuse("address", f'"{text}" is not an IPv4 address with a prefix length from 1 to 30')
        if _NOT_A_HOST.fullmatch(text):
            self.refuse("address", f"{text} is in 0/8, 127/8 or 224/3, which cannot be a host's address")
        address = IPv4Interface(text)
        if address.ip in (address.network.network_address, address.network.broadcast_address):
            self.refuse("address", f"{text} is the network's own or broadcast address, not a host's")
        if address.network.overlaps(OUTSIDE_NETWORK):
            self.refuse(
                "address",
                f"{text} overlaps with {OUTSIDE_NETWORK}, the outside network of the proofs (TEST-NET-2, RFC 5737)",
            )
        return address

    def _checked_port(self, column: str, port: str) -> int:
        if not _PORT.fullmatch(port) or int(port) > _MAX_PORT:
            self.refuse(column, f'"{port}" is not a port from 1 to {_MAX_PORT}')
        return int(port)

    def _checked_listens(self) -> tuple[Listener, ...]:
        return tuple(self._checked_listener(item) for item in self.items("listens"))

    def _checked_listener(self, item: str) -> Listener:
        port, _, protocol = item.rpartition("/")
        if protocol not in ("tcp", "udp") or "/" not in item:
            self.refuse("listens", f'"{item}" is not PORT/tcp or PORT/udp')
        listener = Listener(self._checked_port("listens", port), protocol)
        self.check_unique("listens", item, f"listens of {self.row['name']}")
        return listener

    def _checked_publishes(self, listens: tuple[Listener, ...]) -> tuple[Publication, ...]:
        return tuple(self._checked_publication(item, listens) for item in self.items("publishes"))

    def _checked_publication(self, item: str, listens: tuple[Listener, ...]) -> Publication:
        host_port, _, target = item.partition(":")
        if "/" not in target:
            self.refuse("publishes", f'"{item}" is not HOST_PORT:PORT/protocol')
        number = self._checked_port("publishes", host_port)
        listener = next((listener for listener in listens if str(listener) == target), None)
        if listener is None:
            self.refuse("publishes", f"the node does not listen on {target}")
        self.check_unique("publishes", f"{host_port}/{listener.protocol}", "host port")
        return Publication(number, listener.port, listener.protocol)

    def _checked_runs(self) -> str | None:
        program = self.row["runs"]
        if program == NONE:
            return None
        if not _PROGRAM.fullmatch(program) or not os.path.isfile(f"{ROOT}/services/{program}/service.toml"):
            self.refuse("runs", f'"{program}" is not a folder of services/ with a service.toml')
        return program

    def _checked_mtu(self) -> int | None:
        text = self.row["mtu"]
        if text == NONE:
            return None
        if not _PORT.fullmatch(text) or int(text) not in _MTUS:
            self.refuse("mtu", f'"{text}" is not an MTU from {_MTUS.start} to {_MTUS.stop - 1}')
        return int(text)

    def _check_bridge_of(self, node: Node) -> None:
        self.line_number = node.line
        bridge = self.bridges.get(node.bridge)
        if bridge is None:
            self.refuse("bridge", f'there is no bridge "{node.bridge}" in the table')
        if node.address.ip not in bridge.address.network:
            self.refuse("address", f"{node.address} is outside {bridge.address} of {bridge.name}")
        if node.address.network != bridge.address.network:
            self.refuse(
                "address",
                f"{node.address} has another prefix length than {bridge.address} of {bridge.name}",
            )
