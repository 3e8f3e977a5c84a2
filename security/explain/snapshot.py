"""The system state that determines a packet's path; it can be saved to a file and read later.

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

from lab.network.inside import cidrs, is_kernel_rule, rule_words
from lab.ruleset.iptables import Saved, parse

Object = dict[str, Any]  # JSON object from ip(8)
_DISCARDING = ("blackhole", "unreachable", "prohibit", "throw")
_ANY_ADDRESS = ("0.0.0.0", "*", "[::]")  # noqa: S104 - as ss(8) writes it


@dataclass(frozen=True)
class Place:
    """One network namespace: the host's, or a node's. Mostly the output of `ip -j`."""

    exists: bool = True
    links: list[Object] = field(default_factory=list)
    route_lines: list[Object] = field(default_factory=list)
    rule_lines: list[Object] = field(default_factory=list)
    neighbours: list[Object] = field(default_factory=list)
    answers: dict[str, Object] = field(
        default_factory=dict
    )  # output of `ip route get ADDRESS [from OWN]`, or its "error"
    listener_lines: str = ""
    rules: str = ""
    stopped: list[int] = field(default_factory=list)  # processes that are stopped (SIGSTOP)
    # Of the host alone:
    frames: str = ""
    forwards: list[str] = field(default_factory=list)  # interfaces with sysctl forwarding
    localnets: list[str] = field(default_factory=list)  # interfaces with sysctl route_localnet
    unread: dict[str, list[str]] = field(
        default_factory=dict
    )  # hook -> chains that iptables-save does not show
    rates: dict[str, str] = field(default_factory=dict)  # files of /proc/net/ipt_hashlimit
    open: dict[str, int] = field(default_factory=dict)  # tracked connections by source address
    policed: bool = False  # a policy was loaded and not taken down; its rules may be deleted
    owners: dict[str, dict[str, str]] = field(default_factory=dict)  # address: namespace: CIDR dev INTERFACE

    def link(self, name: str) -> Object:
        """Find an interface by its name; empty if it is missing."""
        return next((link for link in self.links if link.get("ifname") == name), {})

    def is_up(self, name: str) -> bool:
        """Decide whether an interface is there and up; its carrier depends on its peer."""
        return "UP" in self.link(name).get("flags", ())

    @cached_property
    def addresses(self) -> dict[str, tuple[str, str]]:
        """Return each address with its prefix length (ADDRESS/LENGTH) and its interface."""
        return {
            cidr.partition("/")[0]: (cidr, link["ifname"])
            for link in self.links
            if "ifname" in link
            for cidr in cidrs(link)
        }

    def has_address(self, address: str) -> bool:
        """Decide whether the namespace has an address."""
        return address in self.addresses or IPv4Address(address).is_loopback

    def answer(self, address: str, own: str = "") -> Object:
        """Return the kernel's answer to `ip route get`; it refuses a source that is not an address here."""
        query = f"{address} from {own}" if own and self.has_address(own) else address
        return self.answers.get(query, {})

    def route(self, address: str, own: str = "") -> Object | None:
        """Return the route to an address as the kernel chooses it; of a saved state, the longest prefix."""
        answer = self.answer(address, own)
        if "dst" in answer:
            return answer
        route = self.route_in_table(address)
        return route if route and (not answer or is_discarding(route)) else None

    def route_in_table(self, address: str) -> Object | None:
        """Find the longest prefix in table main whose interface is up."""
        wanted = IPv4Address(address)
        lines = [line for line in self.route_lines if "dev" in line or is_discarding(line)]
        routes = [line for line in lines if wanted in network_of(line)]
        usable = [line for line in routes if is_discarding(line) or self.is_up(line["dev"])]
        return max(usable or routes, key=lambda line: network_of(line).prefixlen, default=None)

    def default_interfaces(self) -> list[str]:
        """Return the interfaces of the default routes."""
        return [line["dev"] for line in self.route_lines if line.get("dst") == "default" and "dev" in line]

    def added_routing_rules(self) -> list[str]:
        """Return each `ip rule` except the kernel's own three."""
        return [rule_words(line) for line in self.rule_lines if not is_kernel_rule(line)]

    def neighbour(self, address: str) -> Object | None:
        """Return the neighbour entry of an address, if it has a MAC."""
        return next((item for item in self.neighbours if item["dst"] == address and "lladdr" in item), None)

    def listener(self, protocol: str, address: str, port: int) -> str:
        """Name the program that listens on a port of an address (columns of `ss -Hlntup`); empty if none does."""
        for line in self.listener_lines.splitlines():
            found, _, _, _, place, _, *program = line.split(maxsplit=6)
            at, _, number = place.rpartition(":")
            is_here = at.partition("%")[0] in (address, *_ANY_ADDRESS)
            if is_here and (found, int(number)) == (protocol, port):
                return program[0].split('"')[1] if '"' in "".join(program) else "a program"
        return ""

    @cached_property
    def saved_rules(self) -> Saved:
        """Return the rules of iptables."""
        return parse(self.rules)


def network_of(route: Object) -> IPv4Network:
    """Return the destination of a route."""
    return IPv4Network("0.0.0.0/0" if route["dst"] == "default" else route["dst"], strict=False)


def is_discarding(route: Object) -> bool:
    """Decide whether a route discards packets (blackhole, ...); it has no interface."""
    return route.get("type") in _DISCARDING


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
    """Read a file of save(). Raises OSError, and ValueError for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        namespaces = {name: Place(**place) for name, place in content["namespaces"].items()}
        return Snapshot(Place(**content["host"]), namespaces)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a state saved by explain: {error}") from error
