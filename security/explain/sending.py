"""Stages in the sender's namespace: route, rules, ARP, and the veth pair to the bridge. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from lab.network.inside import route_words
from lab.topology import Node
from security.explain.advice import REPAIR
from security.explain.host_rules import filter_in_namespace
from security.explain.lab_state import Lab
from security.explain.result import Kind, Outcome, Problem
from security.explain.snapshot import Object, is_discarding
from security.explain.trace import PacketTrace
from security.explain.wiring import find_bridge_fault, find_fault, find_shared_address

NOT_IN_TABLE = "that is not in the table"


def leave_node(trace: PacketTrace, node: Node) -> None:
    """Send from a node to the port of its bridge."""
    if fault := find_fault(trace.lab, node):
        trace.end(fault, f"namespace {node.namespace}")
    next_hop = _choose_route(trace, node)
    filter_in_namespace(trace, node, "OUTPUT", trace.packet)
    _resolve_next_hop(trace, node, next_hop)
    trace.packet = replace(trace.packet, into=node.bridge, out="")
    cross_veth(trace, node, node.interface, node.bridge_interface)


def cross_veth(trace: PacketTrace, node: Node, begin: str, end: str) -> None:
    """Cross a node's veth pair."""
    trace.hop(end, f"veth pair from {begin} to {end}", f"tcpdump -ni {node.bridge_interface}")


def _choose_route(trace: PacketTrace, node: Node) -> str:
    """Choose the route; return the address of the next hop."""
    lab, to, own = trace.lab, trace.packet.destination, trace.packet.source
    place, where, shown = (
        lab.place(node),
        f"namespace {node.namespace}",
        f"ip -n {node.namespace} route get {to}",
    )
    route = place.route(to, own)
    _check_routing_rules(trace, node)
    if route is None:
        _end_without_route(trace, node, shown)
    gateway, interface = route.get("gateway", ""), route.get("dev", "")
    trace.packet = replace(trace.packet, out=interface)
    listed = place.route_in_table(to) if route.get("table", "main") == "main" else None
    removal = f"sudo ip -n {node.namespace} route del {route_words(listed or route)}"
    if is_discarding(route):
        discards = route_words(route)
        trace.hop(where, f"{own} sends to {to}: a route {NOT_IN_TABLE} discards it: {discards}", shown)
        why = f"{where} has a route {NOT_IN_TABLE} and discards the packet: {discards}"
        trace.end(Outcome(Kind.WRONG_ROUTE, why, removal))
    if _is_from_table(lab, node, route, to):
        through = f"via {gateway}" if gateway else "directly, on the same network"
        trace.hop(where, f"{own} sends to {to} {through}", shown)
        return gateway or to
    through = f"via {gateway}" if gateway else f"dev {interface}"
    trace.hop(where, f"{own} sends to {to} by a route {NOT_IN_TABLE}: {through}", shown)
    why = f"{where} has a route to {to} {NOT_IN_TABLE}: {through}"
    if dead_end := _find_dead_end(lab, node, route, to):
        trace.end(Outcome(Kind.WRONG_ROUTE, f"{why}; {dead_end}", removal))
    trace.warnings.append(Problem(why, removal))
    return gateway or to


def _check_routing_rules(trace: PacketTrace, node: Node) -> None:
    """Record each added `ip rule`. Only the running kernel can apply it; it is not simulated for a saved state."""
    place = trace.lab.place(node)
    for rule in place.added_routing_rules():
        what = f"namespace {node.namespace} has a routing rule {NOT_IN_TABLE}: {rule}"
        if place.answers:
            trace.warnings.append(Problem(what, f"sudo ip -n {node.namespace} rule del {rule}"))
        else:
            trace.not_simulated.append(what)


def _end_without_route(trace: PacketTrace, node: Node, shown: str) -> NoReturn:
    place, own, to = trace.lab.place(node), trace.packet.source, trace.packet.destination
    error = place.answer(to, own).get("error", "")
    error = f" (kernel: {error})" if error else ""
    why = f"namespace {node.namespace} has no route to {to}{error}"
    trace.hop(f"namespace {node.namespace}", f"{own} cannot send to {to}: no route{error}", shown)
    for rule in place.added_routing_rules():
        why += f", and a routing rule {NOT_IN_TABLE}: {rule}"
        trace.end(Outcome(Kind.WRONG_ROUTE, why, f"sudo ip -n {node.namespace} rule del {rule}"))
    fix = f"sudo ip -n {node.namespace} route add default via {trace.lab.gateway(node)} (or sudo make up)"
    trace.end(Outcome(Kind.NO_ROUTE, why, fix))


def _is_from_table(lab: Lab, node: Node, route: Object, to: str) -> bool:
    """Decide whether a route is the node's route in the topology table."""
    other, gateway = lab.topology.node_at(to), lab.gateway(node)
    is_near = to == gateway or bool(other and other.bridge == node.bridge)
    wanted = (node.interface, "" if is_near else gateway)
    return (route["dev"], route.get("gateway", "")) == wanted or route["dev"] == "lo"


def _find_dead_end(lab: Lab, node: Node, route: Object, to: str) -> str:
    """Return why packets on a route cannot arrive; empty if they may."""
    gateway = route.get("gateway", "")
    if route["dev"] != node.interface:
        return f"{route['dev']} is not an interface of the lab"
    if gateway in ("", lab.gateway(node)):
        return ""
    if not lab.owners(gateway):
        return f"no reply to ARP for {gateway}"
    return f"{gateway} is a node, and nodes do not forward" if gateway != to else ""


def _resolve_next_hop(trace: PacketTrace, node: Node, hop: str) -> None:
    """Find the MAC of the next hop: by ARP, or in the neighbour table."""
    lab, target = trace.lab, trace.lab.topology.node_at(hop)
    where, shown = f"ARP of namespace {node.namespace}", f"ip -n {node.namespace} neigh show {hop}"
    bridge_mac = lab.host.link(node.bridge).get("address", "")
    real = lab.mac(target) if target else bridge_mac
    entry = lab.place(node).neighbour(hop)
    shared = find_shared_address(lab, target) if target else None
    if entry and shared and entry["lladdr"] == bridge_mac:
        trace.hop(where, f"{hop} is at {bridge_mac}, the host; the node is at {real}", shown)
        trace.end(shared)
    if entry:
        _use_neighbour(trace, node, entry, real)
        return
    fault = find_fault(lab, target) if target else find_bridge_fault(lab, node)
    if fault or not (target or lab.host.has_address(hop)):
        trace.hop(where, f"who has {hop}? no reply", shown)
        trace.end(fault or Outcome(Kind.NO_NEIGHBOUR, f"{hop} is not in use", REPAIR))
    if shared:
        trace.hop(where, f"who has {hop}? two reply: {bridge_mac} (the host), {real}", shown)
        trace.end(shared)
    trace.hop(where, f"who has {hop}? it is at {real}", shown)


def _use_neighbour(trace: PacketTrace, node: Node, entry: Object, real: str) -> None:
    hop, mac, where = entry["dst"], entry["lladdr"], f"namespace {node.namespace}"
    how = "permanent" if "PERMANENT" in entry.get("state", ()) else "in the neighbour table"
    found = f"{how}; its real one is {real}" if mac != real else how
    trace.hop(f"ARP of {where}", f"{hop} is at {mac} ({found})", f"ip -n {node.namespace} neigh show {hop}")
    if mac != real:
        why = f"{where} sends to {hop} at MAC {mac} ({found}): no node accepts the frame"
        fix = f"sudo ip -n {node.namespace} neigh del {hop} dev {node.interface}"
        trace.end(Outcome(Kind.WRONG_ADDRESS, why, fix))
