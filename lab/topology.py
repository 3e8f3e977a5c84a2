"""The topology table's loader: checks a table and gives it to the other tools.

python -m lab.topology dump [TABLE]    the table, columns in standard order, one tab between them
python -m lab.topology check [TABLE]   silent when good; else FILE:LINE: COLUMN: reason, exit 1
python -m lab.topology help

TABLE is a name in topology/ or a path; TOPOLOGY, else what is up, else flat, when not given.
Its twin for bash is scripts/topology.sh: the same checks in the same order and words, held equal by a test.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from lab.table import TableError, TableReader

ROOT = Path(__file__).resolve().parent.parent
LINK_GROUP = 25955
SCALED = Path("/run/cnet/scaled.tsv")
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
)
NONE = "-"
NOT_FOR_BRIDGES = ("namespace", "interface", "bridge_interface", "bridge", "listens", "publishes", "runs")
OUTSIDE_THE_LAB = ("host", "world", "any")
KEPT_BY_THE_KERNEL = ("all", "default", "lo")
OUTSIDE_OF_PROOFS = "cnet-outside"
OUTSIDE_NETWORK = IPv4Network("198.51.100.0/24")
NOT_OF_THIS_REPOSITORY = ("nginx", "redis", "postgres")
INTERFACE_LENGTH = 15
LAST_PORT = 65535

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}/([1-9]|[12][0-9]|30)")
_NO_HOST = re.compile(r"(0|127|22[4-9]|2[3-5][0-9])\..*")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_INTERFACE = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")
_PORT = re.compile("[1-9][0-9]{0,4}")
_PROGRAM = re.compile("[a-z0-9-]+")


class TopologyError(TableError):
    """A topology table that is refused."""


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
        """Write it as the table does: `80/tcp`."""
        return f"{self.port}/{self.protocol}"


@dataclass(frozen=True)
class Publication:
    """A port of the host that is forwarded to the node's."""

    host_port: int
    port: int
    protocol: str

    def __str__(self) -> str:
        """Write it as the table does: `8080:80/tcp`."""
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


@dataclass(frozen=True)
class Topology:
    """A table that passed every check."""

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
        """Nodes that run the program, in the table's order."""
        return tuple(node for node in self.nodes if node.runs == program)

    def bridge(self, name: str) -> Bridge | None:
        """Find a bridge by its name."""
        return self._bridges.get(name)

    def bridge_of(self, node: Node) -> Bridge:
        """Give the bridge that a node of this table is joined to."""
        return self._bridges[node.bridge]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _by_address(self) -> dict[str, Node]:
        return {str(node.address.ip): node for node in self.nodes}

    @cached_property
    def _by_namespace(self) -> dict[str, Node]:
        return {node.namespace: node for node in self.nodes}

    @cached_property
    def _bridges(self) -> dict[str, Bridge]:
        return {bridge.name: bridge for bridge in self.bridges}


def load(name_or_path: str | Path = "") -> Topology:
    """Read a table, or raise TopologyError; without a name it is the one table_path() names."""
    path = table_path(name_or_path)
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        known = " ".join(sorted(table.name for table in (ROOT / "topology").glob("[!.]*.tsv")))
        raise TopologyError(f"{path}: no such table; topology/ has {known}, or give a path: TOPOLOGY=my.tsv")
    return _Reader(path).read()


def table_path(name_or_path: str | Path = "") -> Path:
    """Path of a table: as named, else by TOPOLOGY, else of the running lab, else flat."""
    table = str(name_or_path) or os.environ.get("TOPOLOGY") or running_table() or "flat"
    if "/" not in table and not table.endswith(".tsv"):
        table = f"{ROOT}/topology/{table}.tsv"
    return Path(os.path.realpath(table))


def base_table(path: Path) -> Path:
    """Table that a scaled copy was made from, which its second line names; any other table is its own."""
    if path != SCALED:
        return path
    with path.open(encoding="utf-8") as lines:
        next(lines)
        return Path(next(lines).removeprefix("# ").rstrip("\n"))


def running_table() -> str:
    """Table the running lab was made from, by the first bridge that carries it as its alias; else empty."""
    command = ["ip", "-j", "link", "show", "group", str(LINK_GROUP), "type", "bridge"]
    try:
        links = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return ""
    aliases = [str(link["ifalias"]) for link in links if "ifalias" in link]
    return next((alias.removeprefix("cnet ") for alias in aliases if alias.startswith("cnet /")), "")


class _Reader(TableReader):
    """One reading of one table; its methods are the functions of topology.sh."""

    columns = COLUMNS
    error = TopologyError

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bridges: dict[str, Bridge] = {}
        self.nodes: list[Node] = []
        self.wires: set[tuple[str, ...]] = set()

    def read(self) -> Topology:
        self.read_lines()
        if not self.bridges:
            self.refuse("kind", "the table has no bridge")
        for node in self.nodes:
            self.check_bridge_of(node)
        return Topology(self.path, tuple(self.bridges.values()), tuple(self.nodes))

    def add_row(self) -> None:
        self.check_unique("name", self.row["name"])
        self.check_unique("address", self.row["address"].rpartition("/")[0] or self.row["address"])
        match self.row["kind"]:
            case "bridge":
                self.add_bridge()
            case "node":
                self.add_node()
            case kind:
                self.refuse("kind", f'"{kind}" is neither bridge nor node')

    def add_bridge(self) -> None:
        name = self.row["name"]
        for column in NOT_FOR_BRIDGES:
            if self.row[column] != NONE:
                self.refuse(column, "a bridge has none, write -")
        self.check_interface("name", name)
        self.check_unique("name", name, "interface of the host")
        address = self.checked_address()
        for other in self.bridges.values():
            if address.network.overlaps(other.address.network):
                self.refuse("address", f"{address} overlaps with {other.address} of {other.name}")
        self.bridges[name] = Bridge(name, address, self.line_number)

    def add_node(self) -> None:
        self.check_names_of_node()
        row = self.row
        address, listens = self.checked_address(), self.checked_listens()
        self.nodes.append(
            Node(
                name=row["name"],
                namespace=row["namespace"],
                interface=row["interface"],
                bridge_interface=row["bridge_interface"],
                bridge=row["bridge"],
                address=address,
                listens=listens,
                publishes=self.checked_publishes(listens),
                runs=self.checked_runs(),
                line=self.line_number,
            )
        )

    def check_names_of_node(self) -> None:
        row = self.row
        self.check_name("name", row["name"])
        if row["name"] in OUTSIDE_THE_LAB:
            self.refuse("name", f'"{row["name"]}" is kept for what is outside the lab')
        self.check_name("namespace", row["namespace"])
        self.check_reserved("namespace", row["namespace"])
        self.check_interface("interface", row["interface"])
        self.check_interface("bridge_interface", row["bridge_interface"])
        self.check_interface("bridge", row["bridge"])
        self.check_wire()

    def check_wire(self) -> None:
        """Refuse a second wire: nodes that share a namespace are addresses on the same one."""
        wire = tuple(self.row[column] for column in ("namespace", "interface", "bridge_interface", "bridge"))
        if wire not in self.wires:
            self.check_unique("namespace", wire[0])
            self.check_unique("bridge_interface", wire[2], "interface of the host")
            self.wires.add(wire)

    def check_name(self, column: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            self.refuse(column, f'"{name}" is not a name: letters, digits, - and _, at most 63 characters')

    def check_interface(self, column: str, name: str) -> None:
        if len(name) > INTERFACE_LENGTH:
            self.refuse(
                column, f'"{name}" has {len(name)} characters, the kernel takes at most {INTERFACE_LENGTH}'
            )
        if not _INTERFACE.fullmatch(name):
            self.refuse(column, f'"{name}" is not an interface name: letters, digits, - _ and .')
        if name in KEPT_BY_THE_KERNEL:
            self.refuse(column, f'"{name}" is kept by the kernel')
        self.check_reserved(column, name)

    def check_reserved(self, column: str, name: str) -> None:
        if name == OUTSIDE_OF_PROOFS:
            self.refuse(column, f'"{name}" is kept for the outside that the proofs make')

    def checked_address(self) -> IPv4Interface:
        text = self.row["address"]
        if not _ADDRESS.fullmatch(text):
            self.refuse("address", f'"{text}" is not an IPv4 address with a prefix length from 1 to 30')
        if _NO_HOST.fullmatch(text):
            self.refuse("address", f"{text} is in 0/8, 127/8 or 224/3, where no host's address can be")
        address = IPv4Interface(text)
        if address.ip in (address.network.network_address, address.network.broadcast_address):
            self.refuse("address", f"{text} is the network's own or broadcast address, not a host's")
        if address.network.overlaps(OUTSIDE_NETWORK):
            self.refuse(
                "address",
                f"{text} overlaps with {OUTSIDE_NETWORK}, where the proofs put their outside (TEST-NET-2, RFC 5737)",
            )
        return address

    def checked_port(self, column: str, port: str) -> int:
        if not _PORT.fullmatch(port) or int(port) > LAST_PORT:
            self.refuse(column, f'"{port}" is not a port from 1 to {LAST_PORT}')
        return int(port)

    def checked_listens(self) -> tuple[Listener, ...]:
        return tuple(self.checked_listener(item) for item in self.items("listens"))

    def checked_listener(self, item: str) -> Listener:
        port, _, protocol = item.rpartition("/")
        if protocol not in ("tcp", "udp") or "/" not in item:
            self.refuse("listens", f'"{item}" is not PORT/tcp or PORT/udp')
        listener = Listener(self.checked_port("listens", port), protocol)
        self.check_unique("listens", item, f"listens of {self.row['name']}")
        return listener

    def checked_publishes(self, listens: tuple[Listener, ...]) -> tuple[Publication, ...]:
        return tuple(self.checked_publication(item, listens) for item in self.items("publishes"))

    def checked_publication(self, item: str, listens: tuple[Listener, ...]) -> Publication:
        host_port, _, target = item.partition(":")
        if "/" not in target:
            self.refuse("publishes", f'"{item}" is not HOST_PORT:PORT/protocol')
        number = self.checked_port("publishes", host_port)
        listener = next((listener for listener in listens if str(listener) == target), None)
        if listener is None:
            self.refuse("publishes", f"the node does not listen on {target}")
        self.check_unique("publishes", f"{host_port}/{listener.protocol}", "host port")
        return Publication(number, listener.port, listener.protocol)

    def checked_runs(self) -> str | None:
        program = self.row["runs"]
        if program == NONE:
            return None
        if program not in NOT_OF_THIS_REPOSITORY and not _is_service(program):
            self.refuse("runs", f'"{program}" is neither nginx, redis, postgres nor a folder of services/')
        return program

    def check_bridge_of(self, node: Node) -> None:
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


def _is_service(program: str) -> bool:
    return bool(_PROGRAM.fullmatch(program)) and os.path.isfile(ROOT / "services" / program / "app.py")


def dump(topology: Topology) -> str:
    """Write the table: columns in standard order, one tab between them, bridges first."""
    rows: list[Sequence[str]] = [COLUMNS]
    rows += [
        ("bridge", bridge.name, NONE, str(bridge.address), NONE, NONE, NONE, NONE, NONE, NONE)
        for bridge in topology.bridges
    ]
    rows += [_fields_of(node) for node in topology.nodes]
    return "".join("\t".join(row) + "\n" for row in rows)


def _fields_of(node: Node) -> Sequence[str]:
    return (
        "node",
        node.name,
        node.namespace,
        str(node.address),
        node.interface,
        node.bridge_interface,
        node.bridge,
        ",".join(map(str, node.listens)) or NONE,
        ",".join(map(str, node.publishes)) or NONE,
        node.runs or NONE,
    )


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; 0 done, 1 refused, 2 bad usage."""
    command, table = [*arguments, "", ""][:2]
    try:
        match command:
            case "dump":
                print(dump(load(table)), end="", flush=True)
            case "check":
                load(table)
            case "" | "help":
                print(__doc__, end="", flush=True)
            case _:
                print(f'topology.py: unknown command "{command}"\n{__doc__}', end="", file=sys.stderr)
                return 2
    except (TopologyError, OSError) as error:
        print(f"topology.py: {error}", file=sys.stderr)
        return 1
    return 0


def _behave_like_a_shell_script() -> None:
    """End without a word when the reader of a pipe has gone; give paths back byte for byte."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="surrogateescape")


if __name__ == "__main__":
    _behave_like_a_shell_script()
    sys.exit(main(sys.argv[1:]))
