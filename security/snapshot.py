"""The state that decides what becomes of a packet, as the system tells it; as a file it can be asked later.

Host and namespaces: links and addresses, routes, listeners, rules; of the host also whether it forwards, what
its rates have left, and the state of its bridges.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from scripts.conntrack import connections
from security.iptables import Saved, parse
from security.tracked import open_by_source

HOST_PLACE = ""
_RATES = Path("/proc/net/ipt_hashlimit")
_LOOKERS = 8
_TABLES_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security", "broute")


@dataclass(frozen=True)
class Route:
    """A route: where to, by which interface, through whom; without a gateway it is direct."""

    network: IPv4Network
    interface: str
    gateway: str


@dataclass(frozen=True)
class Listener:
    """A socket that takes what arrives."""

    protocol: str
    address: str
    port: int
    program: str

    def takes(self, protocol: str, address: str, port: int) -> bool:
        """Tell whether a packet to an address and port is for it."""
        at = self.address in (address, "0.0.0.0", "*", "[::]")  # noqa: S104 - what ss shows
        return at and (protocol, port) == (self.protocol, self.port)


@dataclass(frozen=True)
class Place:
    """One network namespace, in the words of ip(8), ss(8) and iptables-save(8)."""

    links: list[dict[str, Any]] = field(default_factory=list)
    route_lines: list[dict[str, Any]] = field(default_factory=list)
    listener_lines: str = ""
    rules: str = ""
    frames: str = ""
    forwards: list[str] = field(default_factory=list)  # interfaces: what enters by them goes on
    unread: list[str] = field(default_factory=list)  # base chains of nft that iptables does not show
    rates: dict[str, str] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)  # connections tracked, by the address that opened them

    def link(self, name: str) -> dict[str, Any] | None:
        """Find an interface by its name."""
        return next((link for link in self.links if link.get("ifname") == name), None)

    def is_up(self, name: str) -> bool:
        """Tell whether an interface is there and carries packets."""
        link = self.link(name)
        return link is not None and "UP" in link["flags"] and link.get("operstate") != "DOWN"

    def addresses(self) -> dict[str, str]:
        """Give each IPv4 address and its interface."""
        return {
            address["local"]: link["ifname"]
            for link in self.links
            for address in link.get("addr_info", ())
            if address.get("family") == "inet"
        }

    def has(self, address: str) -> bool:
        """Tell whether an address is this place's own."""
        return address in self.addresses() or IPv4Address(address).is_loopback

    def route(self, address: str) -> Route | None:
        """Find the way to an address: the longest prefix, whose interface is up."""
        wanted = IPv4Address(address)
        routes = [route for route in map(_route, self.route_lines) if route and wanted in route.network]
        usable = [route for route in routes if (self.link(route.interface) or {}).get("operstate") != "DOWN"]
        return max(usable or routes, key=lambda route: route.network.prefixlen, default=None)

    def ways_out(self) -> list[str]:
        """Name the interfaces of the default routes."""
        return [line["dev"] for line in self.route_lines if line.get("dst") == "default" and "dev" in line]

    def listeners(self) -> list[Listener]:
        """Give what listens here."""
        return [_listener(line) for line in self.listener_lines.splitlines() if line.strip()]

    def saved(self) -> Saved:
        """Give the rules."""
        return parse(self.rules)


@dataclass(frozen=True)
class Snapshot:
    """The host and namespaces, by their names."""

    host: Place
    namespaces: dict[str, Place]

    def save(self, path: Path) -> None:
        """Write it; it has no secrets, but tells all of the network."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_snapshot(path: Path) -> Snapshot:
    """Read what save() wrote. Raises OSError, and ValueError when it is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        namespaces = {name: Place(**place) for name, place in content["namespaces"].items()}
        return Snapshot(Place(**content["host"]), namespaces)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a state that explain has saved: {error}") from error


def take_snapshot(namespaces: Iterable[str]) -> Snapshot:
    """Look at the host and at namespaces; needs root."""
    wanted = list(dict.fromkeys(namespaces))
    with ThreadPoolExecutor(_LOOKERS) as pool:
        host = pool.submit(_look_at_host)
        places = list(pool.map(_look, wanted))
    return Snapshot(host.result(), dict(zip(wanted, places, strict=True)))


def _look(namespace: str) -> Place:
    inside = ("nsenter", f"--net=/run/netns/{namespace}", "--") if namespace else ()
    return Place(
        links=json.loads(_run(*inside, "ip", "-j", "-d", "addr") or "[]"),
        route_lines=json.loads(_run(*inside, "ip", "-j", "-4", "route", "show", "table", "main") or "[]"),
        listener_lines=_run(*inside, "ss", "-Hlntup"),
        rules=_run(*inside, "iptables-save", "-c"),
    )


def _look_at_host() -> Place:
    place = _look(HOST_PLACE)
    settings = Path("/proc/sys/net/ipv4/conf").glob("*/forwarding")
    forwards = [path.parent.name for path in settings if path.read_text(encoding="ascii").strip() == "1"]
    rates = (
        {path.name: path.read_text(encoding="ascii") for path in _RATES.glob("*")} if _RATES.is_dir() else {}
    )
    return Place(
        place.links,
        place.route_lines,
        place.listener_lines,
        place.rules,
        _run("ebtables-save", "-c"),
        forwards,
        _chains_of_nft(),
        rates,
        open_by_source(connections(_run("conntrack", "-L").splitlines())),
    )


def _chains_of_nft() -> list[str]:
    """Name what nft itself made (firewalld, libvirt): iptables keeps its own in tables of its names."""
    listed = json.loads(_run("nft", "-j", "list", "chains") or '{"nftables": []}')["nftables"]
    chains = [item["chain"] for item in listed if "hook" in item.get("chain", {})]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if not (chain["family"] in ("ip", "ip6", "bridge", "arp") and chain["table"] in _TABLES_OF_IPTABLES)
    ]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout if done.returncode == 0 else ""


def _route(line: dict[str, Any]) -> Route | None:
    if "dev" not in line:
        return None
    destination = "0.0.0.0/0" if line["dst"] == "default" else line["dst"]
    return Route(IPv4Network(destination, strict=False), line["dev"], line.get("gateway", ""))


def _listener(line: str) -> Listener:
    words = line.split(maxsplit=6)
    address, _, port = words[4].rpartition(":")
    program = words[6].split('"')[1] if len(words) > 6 and '"' in words[6] else "a program"  # noqa: PLR2004 - ss
    return Listener(words[0], address.partition("%")[0], int(port), program)
