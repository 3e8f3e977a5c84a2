"""Findings in routes and routing rules: of the lab's namespaces, and of the host towards the lab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from lab.network import facts as kinds
from lab.network.facts import Fact
from lab.network.plan import Difference
from security.diagnose.differences import (
    NOTHING,
    Condition,
    Differences,
    Meaning,
    explain,
    in_place,
    of_family,
)
from security.diagnose.finding import Finding, Kind
from security.diagnose.observed import Observed

_DISCARDING = {
    "blackhole": "the kernel drops the packets silently",
    "unreachable": "the kernel refuses to send: no route to host",
    "prohibit": "the kernel refuses to send: permission denied",
    "throw": "the kernel behaves as if the table had no route",
}
_ALL = ("default", "::/0")
_IPV6 = 6  # its routes for an address return with the address, with the kernel's own metric
_MAX_NAMES = 3  # in a sentence
_LAYERS = {
    "0": "the namespace's own addresses",
    "32766": "all routes that `ip route` prints",
    "32767": "table default, which is empty",
}

_DEFAULT = Meaning(
    kind=Kind.ROUTE_MISSING,
    object="default",
    cause="namespace {place} has no default route ({value})",
    breaks="{nodes}: the kernel can send nothing to other networks, not even a reply; neighbours are reached",
    command="{ip} {six}route show",
    line="default",
)
_WRONG_DEFAULT = replace(
    _DEFAULT,
    cause="the default route of namespace {place} is {live}, not {value}",
    breaks="{nodes}: packets to other networks, and replies there, go to a next hop that does not forward them",
)
_ROUTE = Meaning(
    kind=Kind.ROUTE_SURPLUS,
    object="{destination}",
    cause="namespace {place} has a route that is not in the table: {value}; {effect}",
    breaks="{nodes}: packets to {towards}, requests and replies",
    command="{ip} {six}route show table all",
    line="{destination}",
)
_RULE = Meaning(
    kind=Kind.ROUTING_RULE,
    object="{priority}",
    cause="namespace {place} has a routing rule that is not in the table: {value}{routes}",
    breaks="{nodes}: packets that the rule matches do not take the routes of table main",
    command="{ip} rule show",
    line="{priority}:",
)
_NO_RULE = Meaning(
    kind=Kind.ROUTING_RULE,
    object="{value}",
    cause="namespace {place} does not have the routing rule {value}: routing table {peer} is not used",
    breaks="{nodes}: the kernel does not use {layer}",
    command="{ip} rule show",
    line="{value}:",
)
_NO_LOCAL = Meaning(
    kind=Kind.ROUTE_MISSING,
    object="{address}",
    cause="table local has no route for {address}, an address of {link} {where}",
    breaks="{nodes}: the kernel does not treat the address as its own: no answer to {question}s, no packet accepted",
    command="{ip} {six}route show table local",
    line="local {address}",
)
_NO_DIRECT = Meaning(
    kind=Kind.ROUTE_MISSING,
    object="{network}",
    cause="there is no route to {network} by {link} {where}, although it has the address {value}",
    breaks="{nodes}: packets to neighbours take another route, or none",
    command="{ip} {six}route show",
    line="{network} dev {link}",
)


def check_routes(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield what is wrong with routes and routing rules; after links and addresses, whose loss takes routes away."""
    yield from _routing_rules(seen, left)
    yield from _default_routes(seen, left)
    for fact in left.take_surplus(kinds.OWN_ROUTE):
        yield _own_route(seen, fact)
    for fact in left.take_surplus(kinds.UNCONNECTED):
        yield from _unconnected(seen, fact)


def _routing_rules(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each rule that was added, with the routes of its table, and each of the kernel's that was deleted."""
    for fact in left.take_surplus(kinds.OWN_RULE):
        words = fact.value.split()
        table = words[words.index("table") + 1] if "table" in words else ""
        routes = left.take_surplus(kinds.OWN_ROUTE, where=_is_in_table(fact.place, table)) if table else []
        listed = ", ".join(route.value.removesuffix(f" table {table}") for route in routes)
        shown = f"; table {table} has: {listed}" if listed else ""
        yield explain(seen, _RULE, fact, Difference([], [fact, *routes]), priority=words[1], routes=shown)
    for fact in left.take_surplus(kinds.NO_RULE):
        found = explain(seen, _NO_RULE, fact, NOTHING, layer=_LAYERS.get(fact.value, "its routes"))
        command = f"sudo ip -n {fact.place} rule add priority {fact.value} table {fact.peer}"
        yield replace(found, repair=(command,))


def _is_in_table(place: str, table: str) -> Condition:
    return lambda fact: fact.place == place and fact.value.endswith(f" table {table}")


def _default_routes(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each namespace without its default route; one by another hop is of the same cause."""
    for fact in left.take_missing(kinds.ROUTE):
        live = left.take_surplus(kinds.ROUTE, where=of_family(fact, in_place(fact.place)))
        live += left.take_surplus(kinds.OWN_ROUTE, where=of_family(fact, _is_default_in(fact.place)))
        words = {"live": ", ".join(one.value for one in live)}
        yield explain(seen, _WRONG_DEFAULT if live else _DEFAULT, fact, Difference([fact], live), **words)


def _is_default_in(place: str) -> Condition:
    return lambda fact: fact.place == place and _destination(fact.value) in _ALL and _is_main(fact.value)


def _is_main(route: str) -> bool:
    return " table " not in route


def _destination(route: str) -> str:
    """Return the destination of a route: `blackhole 192.0.2.0/24` -> 192.0.2.0/24."""
    first, *rest = route.split()
    return rest[0] if first in _DISCARDING and rest else first


def _own_route(seen: Observed, fact: Fact) -> Finding:
    destination = _destination(fact.value)
    words = {
        "destination": "default" if destination in _ALL else destination,
        "effect": _effect(seen, fact),
        "towards": _towards(seen, destination),
    }
    return explain(seen, _ROUTE, fact, Difference([], [fact]), **words)


def _effect(seen: Observed, fact: Fact) -> str:
    """Say what the kernel does with packets on a route that is not in the table."""
    words = fact.value.split()
    if words[0] in _DISCARDING:
        return _DISCARDING[words[0]]
    node = seen.topology.node_in(fact.place)
    if "via" not in words:
        question = "neighbour discovery" if ":" in words[0] else "ARP"
        return f"the kernel asks for the destination by {question} on the link, without a gateway"
    hop = words[words.index("via") + 1]
    if node and hop in {str(address.ip) for address in seen.topology.bridge_of(node).addresses}:
        return f"the packets go to the gateway {hop}"
    owner = seen.topology.node_at(hop)
    return f"the packets go to {hop}, {f'{owner.name}, which does not forward' if owner else 'which no node has'}"


def _towards(seen: Observed, destination: str) -> str:
    """Name the nodes at a destination."""
    try:
        network = ip_network("0.0.0.0/0" if destination == "default" else destination, strict=False)
    except ValueError:
        return destination
    names = [
        node.name for node in seen.topology.nodes if any(address.ip in network for address in node.addresses)
    ]
    if len(names) > _MAX_NAMES:
        return f"{len(names)} nodes ({', '.join(names[:_MAX_NAMES])} ...)"
    return ", ".join(names) or destination


def _unconnected(seen: Observed, fact: Fact) -> Iterator[Finding]:
    """Yield which of the two routes that the kernel makes for an address is missing."""
    at = ip_interface(fact.value)
    shown = seen.run(*_ip(fact), f"-{at.version}", "-j", "route", "show", "table", "all", "dev", fact.link)
    routes = json.loads(shown or "[]")
    words = {"address": str(at.ip), "network": str(at.network)}
    ip = f"sudo {' '.join(_ip(fact))}"
    command = f"{ip} route add"
    again = (f"{ip} addr del {at} dev {fact.link}", f"{ip} addr add {at} nodad dev {fact.link}")
    if not any(one.get("type") == "local" and one["dst"] == str(at.ip) for one in routes):
        local = f"local {at.ip} dev {fact.link} table local proto kernel scope host src {at.ip}"
        repair = again if at.version == _IPV6 else (f"{command} {local}",)
        yield replace(explain(seen, _NO_LOCAL, fact, NOTHING, **words), repair=repair)
    if not any(one.get("type", "unicast") == "unicast" and one["dst"] == str(at.network) for one in routes):
        direct = f"{at.network} dev {fact.link} proto kernel scope link src {at.ip}"
        repair = again if at.version == _IPV6 else (f"{command} {direct}",)
        yield replace(explain(seen, _NO_DIRECT, fact, NOTHING, **words), repair=repair)


def _ip(fact: Fact) -> tuple[str, ...]:
    return ("ip", "-n", fact.place) if fact.place else ("ip",)
