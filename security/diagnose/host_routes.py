"""Findings in the host's own routing: routes and rules that send packets for the lab elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from lab.network.conflicts import VPN_HALVES
from lab.network.inside import is_kernel_rule, masked, route_words, rule_words
from lab.network.reading import Object
from lab.topology import LINK_GROUP, Bridge, Node
from security.diagnose.differences import HOST
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed

_ALL = ("all", "default", "0.0.0.0/0", "0/0")
_KERNEL_RULES = {0: "local", 32766: "main", 32767: "default"}
_MAX_ASKED = 3


def check_host_routes(seen: Observed) -> Iterator[Finding]:
    """Yield each route and routing rule of the host that catches packets to or from the lab."""
    for rule in seen.live.host.rules:
        if not is_kernel_rule(rule) and (caught := _caught_by(seen, rule)):
            yield _of_rule(seen, rule, caught)
    yield from _missing_rules(seen)
    for route in seen.live.host.routes:
        bridges = [bridge for bridge in seen.topology.bridges if _catches(seen, route, bridge)]
        if bridges:
            yield _of_route(seen, route, bridges)


# --- rules ----------------------------------------------------------------------------------------


def _caught_by(seen: Observed, rule: Object) -> str:
    """Say which packets of the lab a rule catches; empty if it catches none."""
    if "fwmark" in rule and "not" not in rule:
        return ""  # of marked packets; the lab marks none
    for bridge in seen.topology.bridges:
        network = str(bridge.address.network)
        if bridge.name in (rule.get("iif"), rule.get("oif")):
            return f"packets by {bridge.name}"
        if (source := _selected(rule, "src", bridge)) and source not in _ALL:
            return f"packets from {network}"
        if (destination := _selected(rule, "dst", bridge)) and not _is_reached(seen, bridge, destination):
            return f"packets to {network if destination in _ALL else destination}"
    return ""


def _selected(rule: Object, key: str, bridge: Bridge) -> str:
    """Return a rule's source or destination if it overlaps with the bridge's network; else an empty text."""
    text = masked(rule, key, f"{key}len") if key in rule else "all"
    return text if text in _ALL or _overlaps(text, bridge) else ""


def _overlaps(text: str, bridge: Bridge) -> bool:
    network = ip_network(text, strict=False)
    return any(network.overlaps(address.network) for address in bridge.addresses)


def _is_reached(seen: Observed, bridge: Bridge, destination: str) -> bool:
    """Ask the kernel whether the host sends to a bridge's nodes, as far as a rule selects them, by the bridge."""
    addresses = [node.address.ip for node in seen.topology.nodes if node.bridge == bridge.name]
    if destination not in _ALL:
        addresses = [one for one in addresses if one in ip_network(destination, strict=False)]
    for address in addresses[:_MAX_ASKED]:
        answer = json.loads(seen.run("ip", "-j", "route", "get", str(address)) or "[{}]")
        if answer[0].get("dev") != bridge.name:
            return False
    return True


def _of_rule(seen: Observed, rule: Object, caught: str) -> Finding:
    words, table = rule_words(rule), str(rule.get("table", "main"))
    routes = [
        route_words(route).removesuffix(f" table {table}")
        for route in seen.live.host.routes
        if table != "main" and str(route.get("table", "main")) == table and ":" not in route["dst"]
    ]
    listed = f"; table {table} has: {', '.join(routes[:_MAX_ASKED])}" if routes else ""
    return Finding(
        kind=Kind.ROUTING_RULE,
        object=str(rule["priority"]),
        place=HOST,
        cause=f"a routing rule of the host that is not the lab's catches {caught}: {words}{listed}",
        breaks="packets between the host, or another network, and the nodes; nodes of one bridge reach each other",
        repair=(f"sudo ip rule del {words}",),
        evidence=(
            Evidence(command="ip rule show", line=_line(seen, ("ip", "rule"), f"{rule['priority']}:")),
        ),
    )


def _missing_rules(seen: Observed) -> Iterator[Finding]:
    """Yield each routing rule of the kernel that the host does not have."""
    live = {rule["priority"] for rule in seen.live.host.rules if is_kernel_rule(rule)}
    for priority, table in _KERNEL_RULES.items():
        if priority not in live:
            yield Finding(
                kind=Kind.ROUTING_RULE,
                object=str(priority),
                place=HOST,
                cause=f"the host does not have the routing rule {priority}: routing table {table} is not used",
                breaks="everything that the host routes",
                repair=(f"sudo ip rule add priority {priority} table {table}",),
                evidence=(
                    Evidence(command="ip rule show", line=_line(seen, ("ip", "rule"), f"{priority}:")),
                ),
            )


# --- routes ---------------------------------------------------------------------------------------


def _catches(seen: Observed, route: Object, bridge: Bridge) -> bool:
    """Decide whether a route that is not the lab's covers addresses of a bridge's network, and is preferred there."""
    if route["dst"] in (*_ALL, *VPN_HALVES) or route.get("table", "main") not in ("main", "local"):
        return False
    is_kernels = route.get("protocol") == "kernel" and route.get("dev") in _links_of_lab(seen)
    if is_kernels or not _overlaps(route["dst"], bridge):
        return False
    network = ip_network(route["dst"], strict=False)
    if not any(node.bridge == bridge.name for node in _nodes_in(seen, network)):
        return False
    own = (address.network for address in bridge.addresses if address.version == network.version)
    return all(network.prefixlen >= one.prefixlen for one in own)


def _nodes_in(seen: Observed, network: IPv4Network | IPv6Network) -> list[Node]:
    nodes = seen.topology.nodes
    return [node for node in nodes if any(address.ip in network for address in node.addresses)]


def _links_of_lab(seen: Observed) -> set[str]:
    return {link["ifname"] for link in seen.live.host.links if link.get("group") == str(LINK_GROUP)}


def _of_route(seen: Observed, route: Object, bridges: list[Bridge]) -> Finding:
    words, destination = route_words(route), route["dst"]
    names = ", ".join(node.name for node in _nodes_in(seen, ip_network(destination, strict=False)))
    ip = ("ip", "-6") if ":" in destination else ("ip",)
    by = f"by {route['dev']}" if "dev" in route else f"nowhere ({route.get('type')})"
    return Finding(
        kind=Kind.ROUTE_SURPLUS,
        object=destination,
        place=HOST,
        cause=f"the host has a route that is not the lab's: {words}; it sends packets for {names} {by}, "
        f"not by {' or '.join(bridge.name for bridge in bridges)}",
        breaks=f"what the host sends or forwards to {names}; neighbours on the same bridge reach them",
        repair=(f"sudo ip route del {words}",),
        evidence=(
            Evidence(
                command=f"{' '.join(ip)} route show {destination}",
                line=_line(seen, (*ip, "route"), destination.removesuffix("/128")),
            ),
        ),
    )


def _line(seen: Observed, command: tuple[str, ...], part: str) -> str:
    lines = seen.run(*command).splitlines()
    return next((" ".join(line.split()) for line in lines if part in line), f"(no line with {part})")
