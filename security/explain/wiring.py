"""Check links, addresses, routes and ARP of the lab against the topology table. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.topology import Node
from security.explain.advice import REPAIR
from security.explain.lab_state import Lab
from security.explain.result import Kind, Outcome, Problem
from security.explain.snapshot import Place, Route
from security.explain.trace import At, PacketTrace, Step

NOT_IN_TABLE = "that is not in the table"


# --- checks ---------------------------------------------------------------------------------------


def check_namespace(lab: Lab, node: Node) -> Outcome | None:
    """Check that a node's namespace exists."""
    if lab.place(node).exists:
        return None
    why = f"there is no namespace {node.namespace}"
    return Outcome(Kind.NO_NAMESPACE, why, "create it and start its program with `sudo make up`")


def _ends_of_wire(lab: Lab, node: Node) -> Iterator[tuple[Place, str, str, str]]:
    """Yield both ends of a veth pair: place, interface, where it is, command."""
    namespace = node.namespace
    yield lab.place(node), node.interface, f"in namespace {namespace}", f"ip -n {namespace} link"
    yield lab.host, node.bridge_interface, "on the host", "ip link"


def check_wire(lab: Lab, node: Node) -> Outcome | None:
    """Check that both ends of the veth pair and the bridge are up, and that they are connected."""
    for place, name, where, command in (
        *_ends_of_wire(lab, node),
        (lab.host, node.bridge, "on the host", "ip link"),
    ):
        if broken := _check_link(place, name, where, command):
            return broken
    master = (lab.host.link(node.bridge_interface) or {}).get("master")
    if master == node.bridge:
        return None
    why = f"{node.bridge_interface} is a port of {master or 'no bridge'}, not of bridge {node.bridge}"
    fix = f"sudo ip link set {node.bridge_interface} master {node.bridge}"
    return Outcome(Kind.NOT_A_PORT, why, fix)


def _check_link(place: Place, name: str, where: str, command: str) -> Outcome | None:
    if place.link(name) is None:
        return Outcome(Kind.LINK_DOWN, f"{name} {where} is missing", REPAIR)
    if not place.is_up(name):
        return Outcome(Kind.LINK_DOWN, f"{name} {where} is down", f"sudo {command} set {name} up")
    return None


def check_addresses(lab: Lab, node: Node) -> Outcome | None:
    """Compare a node's MAC and IPv4 address with the table."""
    place, address, wanted = lab.place(node), str(node.address.ip), lab.mac(node)
    where, command = f"namespace {node.namespace}", f"sudo ip -n {node.namespace}"
    mac = (place.link(node.interface) or {}).get("address")
    if mac != wanted:
        why = f"{node.interface} in {where} has MAC {mac}, the table's is {wanted}, which the rules require"
        return Outcome(Kind.WRONG_ADDRESS, why, f"{command} link set {node.interface} address {wanted}")
    if not place.has_address(address):
        fix = f"{command} addr add {node.address} dev {node.interface} (or sudo make up)"
        return Outcome(Kind.WRONG_ADDRESS, f"{address} is not an address of {where}", fix)
    return None


def check_bridge(lab: Lab, node: Node) -> Outcome | None:
    """Check that a node's bridge is up and has the address that is the node's gateway."""
    bridge = lab.topology.bridge_of(node)
    if down := _check_link(lab.host, bridge.name, "on the host", "ip link"):
        return down
    if lab.host.has_address(str(bridge.address.ip)):
        return None
    why = f"bridge {bridge.name} has no address {bridge.address}, the gateway of its nodes"
    return Outcome(Kind.WRONG_ADDRESS, why, f"sudo ip addr add {bridge.address} dev {bridge.name}")


def check_shared_address(lab: Lab, node: Node) -> Outcome | None:
    """Check that the host does not have a node's address as well."""
    address = str(node.address.ip)
    interface = lab.host.addresses().get(address)
    if interface is None:
        return None
    both = f"namespace {node.namespace} and of the host ({interface})"
    why = f"{address} is an address of {both}: the packet goes to the one that replies to ARP first"
    return Outcome(Kind.WRONG_ADDRESS, why, f"sudo ip addr del {lab.host.cidr(address)} dev {interface}")


def find_problems(lab: Lab, node: Node) -> Iterator[Problem]:
    """Yield the problems of a node that do not affect a small packet to another namespace."""
    place, namespace = lab.place(node), node.namespace
    if not place.exists:
        return
    if not place.is_up("lo"):
        what = f"lo is down in namespace {namespace}: its programs cannot reach each other"
        yield Problem(what, f"sudo ip -n {namespace} link set lo up")
    if shared := check_shared_address(lab, node):
        yield Problem(shared.why, shared.fix)
    address = str(node.address.ip)
    for other, where in lab.owners(address).items():
        if other != namespace:
            fix = f"sudo ip -n {other} addr del {where} (or sudo make up)"
            yield Problem(f"{address} is also an address of namespace {other}", fix)
    yield from _find_small_mtus(lab, node)
    for pid in place.stopped:
        what = f"process {pid} in namespace {namespace} is stopped (SIGSTOP): it does not read what the kernel accepts"
        yield Problem(what, f"sudo kill -CONT {pid}")


def _find_small_mtus(lab: Lab, node: Node) -> Iterator[Problem]:
    """Compare the MTU of both ends of a veth pair with the largest one on the bridge."""
    ports = {other.bridge_interface for other in lab.topology.nodes if other.bridge == node.bridge}
    links = [link for link in lab.host.links if link.get("ifname") in ports]
    links += filter(None, [lab.place(node).link(node.interface)])
    largest = max((int(link["mtu"]) for link in links), default=0)
    for place, name, _, command in _ends_of_wire(lab, node):
        link = place.link(name)
        if link and int(link["mtu"]) < largest:
            mtu = link["mtu"]
            what = f"packets over {mtu} bytes are lost at {name}: its MTU is {mtu}, the others' {largest}"
            yield Problem(what, f"sudo {command} set {name} mtu {largest}")


# --- stages in the sender's namespace -------------------------------------------------------------


def leave_by_route(trace: PacketTrace, lab: Lab) -> Step:
    """Choose the route: interface and next hop."""
    node, to = trace.sending_node, trace.packet.destination
    place, where, own = lab.place(node), f"namespace {node.namespace}", trace.packet.source
    route, shown = place.route(to, own), f"ip -n {node.namespace} route get {to}"
    trace = _check_routing_rules(trace, node, place, is_live=to in place.answers or to in place.unanswered)
    if route is None:
        return _end_without_route(trace, lab, node, shown)
    trace = replace(trace, next_hop=route.gateway or to, packet=replace(trace.packet, out=route.interface))
    removal = f"sudo ip -n {node.namespace} route del {place.route_in_table(to) or route}"
    if route.type:
        trace = trace.hop(where, f"{own} sends to {to}: a route {NOT_IN_TABLE} discards it: {route}", shown)
        why = f"{where} has a route {NOT_IN_TABLE} and discards the packet: {route}"
        return trace.end(Outcome(Kind.WRONG_ROUTE, why, removal))
    if _is_from_table(lab, node, route, to):
        through = f"via {route.gateway}" if route.gateway else "directly, on the same network"
        return trace.hop(where, f"{own} sends to {to} {through}", shown)
    through = f"via {route.gateway}" if route.gateway else f"dev {route.interface}"
    trace = trace.hop(where, f"{own} sends to {to} by a route {NOT_IN_TABLE}: {through}", shown)
    why = f"{where} has a route to {to} {NOT_IN_TABLE}: {through}"
    if dead_end := _find_dead_end(lab, node, route, to):
        return trace.end(Outcome(Kind.WRONG_ROUTE, f"{why}; {dead_end}", removal))
    return trace.warn(Problem(why, removal))


def _end_without_route(trace: PacketTrace, lab: Lab, node: Node, shown: str) -> Step:
    place, own, to = lab.place(node), trace.packet.source, trace.packet.destination
    error = place.unanswered.get(f"{to} from {own}") or place.unanswered.get(to)
    error = f" (kernel: {error})" if error else ""
    why = f"namespace {node.namespace} has no route to {to}{error}"
    trace = trace.hop(f"namespace {node.namespace}", f"{own} cannot send to {to}: no route{error}", shown)
    if rules := place.added_routing_rules():
        why += f", and a routing rule {NOT_IN_TABLE}: {rules[0]}"
        return trace.end(Outcome(Kind.WRONG_ROUTE, why, _remove_routing_rule(node, rules[0])))
    fix = f"sudo ip -n {node.namespace} route add default via {lab.gateway(node)} (or sudo make up)"
    return trace.end(Outcome(Kind.NO_ROUTE, why, fix))


def _check_routing_rules(trace: PacketTrace, node: Node, place: Place, *, is_live: bool) -> PacketTrace:
    """Record each added `ip rule`. Only the running kernel can apply it; it is not simulated for a saved state."""
    for rule in place.added_routing_rules():
        what = f"namespace {node.namespace} has a routing rule {NOT_IN_TABLE}: {rule}"
        problem = Problem(what, _remove_routing_rule(node, rule))
        trace = trace.warn(problem) if is_live else trace.skip(what)
    return trace


def _remove_routing_rule(node: Node, rule: str) -> str:
    return f"sudo ip -n {node.namespace} rule del {rule.replace('priority', 'pref', 1).split(' src')[0]}"


def _is_from_table(lab: Lab, node: Node, route: Route, to: str) -> bool:
    """Decide whether a route is the node's route in the topology table."""
    other, gateway = lab.topology.node_at(to), lab.gateway(node)
    is_near = to == gateway or bool(other and other.bridge == node.bridge)
    wanted = (node.interface, "" if is_near else gateway)
    return (route.interface, route.gateway) == wanted or route.interface == "lo"


def _find_dead_end(lab: Lab, node: Node, route: Route, to: str) -> str:
    """Return why packets on a route cannot arrive; empty if they may."""
    if route.interface != node.interface:
        return f"{route.interface} is not an interface of the lab"
    if route.gateway in ("", lab.gateway(node)):
        return ""
    if not lab.owners(route.gateway):
        return f"no reply to ARP for {route.gateway}"
    return f"{route.gateway} is a node, and nodes do not forward" if route.gateway != to else ""


def resolve_next_hop(trace: PacketTrace, lab: Lab) -> Step:
    """Find the MAC of the next hop: by ARP, or in the neighbour table."""
    node, hop, target = trace.sending_node, trace.next_hop, lab.topology.node_at(trace.next_hop)
    where, shown = f"ARP of namespace {node.namespace}", f"ip -n {node.namespace} neigh show {hop}"
    bridge_mac = (lab.host.link(node.bridge) or {}).get("address", "")
    real = lab.mac(target) if target else bridge_mac
    entry = lab.place(node).neighbour(hop)
    shared = check_shared_address(lab, target) if target else None
    if entry and shared and entry["lladdr"] == bridge_mac:
        return trace.hop(where, f"{hop} is at {bridge_mac}, the host; the node is at {real}", shown).end(
            shared
        )
    if entry:
        return _use_neighbour(trace, entry, real, shown)
    broken = _check_node(lab, target) if target else check_bridge(lab, node)
    if broken or not (target or lab.host.has_address(hop)):
        trace = trace.hop(where, f"who has {hop}? no reply", shown)
        return trace.end(broken or Outcome(Kind.NO_NEIGHBOUR, f"{hop} is not in use", REPAIR))
    if shared:
        return trace.hop(where, f"who has {hop}? two reply: {bridge_mac} (the host), {real}", shown).end(
            shared
        )
    return trace.hop(where, f"who has {hop}? it is at {real}", shown)


def _check_node(lab: Lab, node: Node) -> Outcome | None:
    """Find why a node cannot reply to ARP."""
    return check_namespace(lab, node) or check_wire(lab, node) or check_addresses(lab, node)


def _use_neighbour(trace: PacketTrace, entry: dict[str, str], real: str, shown: str) -> Step:
    node, hop, mac = trace.sending_node, entry["dst"], entry["lladdr"]
    where = f"namespace {node.namespace}"
    how = "permanent" if "PERMANENT" in entry.get("state", ()) else "in the neighbour table"
    if mac == real:
        return trace.hop(f"ARP of {where}", f"{hop} is at {mac} ({how})", shown)
    trace = trace.hop(f"ARP of {where}", f"{hop} is at {mac} ({how}; its real one is {real})", shown)
    why = f"{where} sends to {hop} at MAC {mac} ({how}); its real one is {real}: no node accepts the frame"
    fix = f"sudo ip -n {node.namespace} neigh del {hop} dev {node.interface}"
    return trace.end(Outcome(Kind.WRONG_ADDRESS, why, fix))


def enter_bridge(trace: PacketTrace, lab: Lab) -> Step:
    """Cross the veth pair to the bridge's port."""
    node = trace.sending_node
    packet = replace(trace.packet, into=lab.topology.bridge_of(node).name, out="")
    return _cross(
        replace(trace, at=At.BRIDGE_PORT, packet=packet), node, node.interface, node.bridge_interface
    )


def enter_node(trace: PacketTrace, lab: Lab) -> Step:
    """Cross the veth pair into the receiver's namespace."""
    node = trace.receiving_node
    for broken, where in (
        (check_namespace(lab, node), node.bridge_interface),
        (check_wire(lab, node), node.interface),
    ):
        if broken:
            return trace.end(broken, where)
    trace = _cross(replace(trace, at=At.RECEIVER), node, node.bridge_interface, node.interface)
    if wrong := check_addresses(lab, node):
        return trace.end(wrong, f"namespace {node.namespace}")
    return trace


def _cross(trace: PacketTrace, node: Node, begin: str, end: str) -> PacketTrace:
    return trace.hop(end, f"veth pair from {begin} to {end}", f"tcpdump -ni {node.bridge_interface}")
