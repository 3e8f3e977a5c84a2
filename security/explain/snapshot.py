"""The system state that decides what happens to a packet; it can be saved to a file and read later.

Host and namespaces: links and addresses, routes, neighbours, listeners, rules; of the host also which interfaces
forward, its rates, its tracked connections, and which namespace has which address.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from lab.ruleset.iptables import Saved, parse

DISCARDING = ("blackhole", "unreachable", "prohibit", "throw")


@dataclass(frozen=True)
class Route:
    """A route; without a gateway it is direct. One that discards (blackhole, ...) has a type, and no interface."""

    network: IPv4Network
    interface: str
    gateway: str
    type: str = ""
    table: str = "main"

    def __str__(self) -> str:
        """Format the route as an argument of `ip route`."""
        to = "default" if self.network.prefixlen == 0 else str(self.network).removesuffix("/32")
        words = [self.type, to, f"via {self.gateway}" if self.gateway else ""]
        words += [f"dev {self.interface}" if self.interface else ""]
        words += [f"table {self.table}" if self.table != "main" else ""]
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Listener:
    """A listening socket."""

    protocol: str
    address: str
    port: int
    program: str

    def accepts(self, protocol: str, address: str, port: int) -> bool:
        """Decide whether the socket accepts packets to an address and port."""
        at = self.address in (address, "0.0.0.0", "*", "[::]")  # noqa: S104 - what ss shows
        return at and (protocol, port) == (self.protocol, self.port)


@dataclass(frozen=True)
class Place:
    """One network namespace: the host's, or a node's. Mostly the output of `ip -j`."""

    exists: bool = True
    links: list[dict[str, Any]] = field(default_factory=list)
    route_lines: list[dict[str, Any]] = field(default_factory=list)
    rule_lines: list[dict[str, Any]] = field(default_factory=list)
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  # of `ip route get ADDRESS [from OWN]`
    unanswered: dict[str, str] = field(default_factory=dict)  # the kernel's error for the others
    listener_lines: str = ""
    rules: str = ""
    stopped: list[int] = field(default_factory=list)  # processes that are stopped (SIGSTOP)
    # Of the host alone:
    frames: str = ""
    forwards: list[str] = field(default_factory=list)  # interfaces with sysctl forwarding
    settings: dict[str, str] = field(default_factory=dict)  # sysctls
    unread: list[str] = field(default_factory=list)  # base chains that iptables-save does not show
    rates: dict[str, str] = field(default_factory=dict)  # files of /proc/net/ipt_hashlimit
    open: dict[str, int] = field(default_factory=dict)  # tracked connections by source address
    policed: bool = False  # a policy was loaded and not taken down, whether its rules are there or not
    owners: dict[str, dict[str, str]] = field(default_factory=dict)  # address: namespace: CIDR dev INTERFACE

    def link(self, name: str) -> dict[str, Any] | None:
        """Find an interface by its name."""
        return next((link for link in self.links if link.get("ifname") == name), None)

    def is_up(self, name: str) -> bool:
        """Decide whether an interface is there and up; its carrier depends on its peer."""
        link = self.link(name)
        return link is not None and "UP" in link["flags"]

    def addresses(self) -> dict[str, str]:
        """Return each IPv4 address with its interface."""
        return {
            address["local"]: link["ifname"]
            for link in self.links
            for address in link.get("addr_info", ())
            if address.get("family") == "inet"
        }

    def cidr(self, address: str) -> str:
        """Return an address with its prefix length."""
        items = (item for link in self.links for item in link.get("addr_info", ()))
        return next(
            (f"{address}/{item['prefixlen']}" for item in items if item.get("local") == address), address
        )

    def has_address(self, address: str) -> bool:
        """Decide whether the namespace has an address."""
        return address in self.addresses() or IPv4Address(address).is_loopback

    def route(self, address: str, own: str = "") -> Route | None:
        """Return the route to an address as the kernel chooses it; of a saved state, the longest prefix."""
        query = f"{address} from {own}"
        if query not in self.answers and not (own and self.has_address(own) and query in self.unanswered):
            query = address
        if line := self.answers.get(query):
            table = str(line.get("table", "main"))
            network = IPv4Network(line["dst"])
            return Route(network, line.get("dev", ""), line.get("gateway", ""), table=table)
        route = self.route_in_table(address)
        return None if query in self.unanswered and not (route and route.type) else route

    def route_in_table(self, address: str) -> Route | None:
        """Find the longest prefix in table main whose interface is up."""
        wanted = IPv4Address(address)
        routes = [route for route in map(_read_route, self.route_lines) if route and wanted in route.network]
        usable = [route for route in routes if route.type or self.is_up(route.interface)]
        return max(usable or routes, key=lambda route: route.network.prefixlen, default=None)

    def default_interfaces(self) -> list[str]:
        """Return the interfaces of the default routes."""
        return [line["dev"] for line in self.route_lines if line.get("dst") == "default" and "dev" in line]

    def added_routing_rules(self) -> list[str]:
        """Return each `ip rule` except the kernel's own three."""
        return [
            " ".join(f"{key} {value}".strip() for key, value in line.items() if key != "flags")
            for line in self.rule_lines
            if line.get("table") not in ("local", "main", "default") or line.get("src") != "all"
        ]

    def neighbour(self, address: str) -> dict[str, Any] | None:
        """Return the neighbour entry of an address, if it has a MAC."""
        return next((item for item in self.neighbours if item["dst"] == address and "lladdr" in item), None)

    def listeners(self) -> list[Listener]:
        """Return the sockets that listen here."""
        return [_read_listener(line) for line in self.listener_lines.splitlines() if line.strip()]

    @cached_property
    def saved_rules(self) -> Saved:
        """Return the rules of iptables."""
        return parse(self.rules)


NO_PLACE = Place(exists=False)


@dataclass(frozen=True)
class Snapshot:
    """The host, and namespaces by name."""

    host: Place
    namespaces: dict[str, Place]

    def save(self, path: Path) -> None:
        """Write the snapshot; it has no secrets, but shows the whole network."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_snapshot(path: Path) -> Snapshot:
    """Read what save() wrote. Raises OSError, and ValueError if it is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        namespaces = {name: Place(**place) for name, place in content["namespaces"].items()}
        return Snapshot(Place(**content["host"]), namespaces)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a state saved by explain: {error}") from error


def _read_route(line: dict[str, Any]) -> Route | None:
    kind = line.get("type", "")
    if "dev" not in line and kind not in DISCARDING:
        return None
    destination = "0.0.0.0/0" if line["dst"] == "default" else line["dst"]
    network = IPv4Network(destination, strict=False)
    discarding = kind if kind in DISCARDING else ""
    return Route(network, line.get("dev", ""), line.get("gateway", ""), discarding)


def _read_listener(line: str) -> Listener:
    words = line.split(maxsplit=6)
    address, _, port = words[4].rpartition(":")
    program = words[6].split('"')[1] if len(words) > 6 and '"' in words[6] else "a program"  # noqa: PLR2004 - ss
    return Listener(words[0], address.partition("%")[0], int(port), program)
