"""Stages of the host's routing, of the two ends, and of delivery. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from lab.topology import Node
from security.explain import wiring
from security.explain.advice import (
    REPAIR,
    outcome_of_delivery,
    outcome_without_listener,
    sysctl_key,
)
from security.explain.host_rules import filter_frame_between_ports
from security.explain.lab_state import Lab
from security.explain.result import Kind, Outcome
from security.explain.trace import At, PacketTrace, Step
from security.policy.model import HOST, WORLD

# --- where it starts ------------------------------------------------------------------------------


def check_namespaces(trace: PacketTrace, lab: Lab) -> Step:
    """Check that both namespaces exist, and record the problems of both nodes."""
    for node in filter(None, (trace.sender, trace.target)):
        trace = trace.warn(*wiring.find_problems(lab, node))
        if missing := wiring.check_namespace(lab, node):
            return trace.end(missing, f"namespace {node.namespace}")
    return trace


def cross_loopback(trace: PacketTrace, lab: Lab) -> Step:
    """Stay in the namespace that sender and receiver share."""
    namespace = trace.receiving_node.namespace
    both = f"{trace.packet.source} and {trace.packet.destination}"
    what = f"{both} are addresses of this namespace: the packet does not leave it and meets no rule"
    trace = trace.hop(f"namespace {namespace}", what)
    if lab.place(trace.receiving_node).is_up("lo"):
        return trace
    fix = f"sudo ip -n {namespace} link set lo up"
    return trace.end(Outcome(Kind.LINK_DOWN, f"lo in namespace {namespace} is down", fix))


def arrive_from_outside(trace: PacketTrace, lab: Lab) -> Step:
    """Enter the host by its uplink."""
    own, to = trace.packet.source, trace.packet.destination
    packet = replace(trace.packet, into=lab.interface_to(own))
    return replace(trace, packet=packet).hop(WORLD, f"{own}, outside the lab, sends to {to}")


def check_sender_wire(trace: PacketTrace, lab: Lab) -> Step:
    """Check the sender's veth pair."""
    node = trace.sending_node
    broken = wiring.check_wire(lab, node)
    if not broken:
        return trace
    what = f"{trace.packet.source} cannot send: {broken.why}"
    return trace.hop(f"namespace {node.namespace}", what).end(broken)


def check_sender_addresses(trace: PacketTrace, lab: Lab) -> Step:
    """Check the sender's MAC and IPv4 address."""
    node = trace.sending_node
    wrong = wiring.check_addresses(lab, node)
    return trace.end(wrong, node.interface) if wrong else trace


# --- in the host ----------------------------------------------------------------------------------


def switch_frame(trace: PacketTrace, lab: Lab) -> Step:
    """Pass the frame from port to port if the bridge passes nothing to iptables."""
    bridge = trace.sending_node.bridge
    if not trace.is_switched or lab.passes_to_iptables(bridge):
        return trace
    what = "passes no packets to iptables (nf_call_iptables 0): no rule filters traffic from port to port"
    trace = trace.hop(f"bridge {bridge}", what, f"ip -d link show {bridge}")
    return filter_frame_between_ports(replace(trace, at=At.VETH), lab)


def decide_route(trace: PacketTrace, lab: Lab) -> Step:
    """Decide whether the packet is delivered to the host or forwarded."""
    to = trace.packet.destination
    trace = _find_receiver(trace, lab)
    if trace.receiver == HOST:
        what = f"{to} is an address of the host"
        return replace(trace, at=At.HOST_INPUT).hop("routing decision", what, f"ip route get {to}")
    out = trace.target.bridge if trace.target else lab.interface_to(to)
    if not out:
        return trace.end(Outcome(Kind.NO_ROUTE, f"the host has no route to {to}", "ip route add ..."))
    trace = replace(trace, at=At.FORWARD, packet=replace(trace.packet, out=out))
    if not trace.is_switched:
        return trace.hop("routing decision", f"to {to} by {out}", f"ip route get {to}")
    what = "sender and receiver are its ports; it passes packets to iptables (nf_call_iptables 1)"
    return trace.hop(f"bridge {out}", what, f"ip -d link show {out}")


def _find_receiver(trace: PacketTrace, lab: Lab) -> PacketTrace:
    """Set the receiver by the destination, which DNAT may have changed."""
    target = lab.topology.node_at(trace.packet.destination)
    trace = replace(trace, target=target, receiver=target.name if target else WORLD)
    if lab.is_host_address(trace.packet.destination) and not trace.is_switched:
        return replace(trace, target=None, receiver=HOST)
    return trace


def check_forwarding(trace: PacketTrace, lab: Lab) -> Step:
    """Check that the interfaces by which the packet and its reply enter the host forward."""
    if trace.is_switched:
        return trace
    ends = [[node.bridge] if node else lab.host.default_interfaces() for node in (trace.sender, trace.target)]
    closed = next((name for end in ends for name in end if name not in lab.host.forwards), None)
    if closed is None:
        return trace
    key = sysctl_key(closed, "forwarding")
    fix = f"sudo sysctl -w {key}=1 (or sudo make network)"
    return trace.end(Outcome(Kind.NOT_FORWARDED, f"{key} is 0", fix))


def check_route_to_node(trace: PacketTrace, lab: Lab) -> Step:
    """Check that the host sends to the receiver by its bridge."""
    target = trace.target
    if target is None or trace.is_switched:
        return trace
    if wrong := wiring.check_shared_address(lab, target) or wiring.check_bridge(lab, target):
        return trace.end(wrong, HOST)
    if wrong := _check_host_route(lab, target):
        return trace.end(wrong, HOST)
    return trace


def _check_host_route(lab: Lab, target: Node) -> Outcome | None:
    to = str(target.address.ip)
    if lab.interface_to(to) == target.bridge:
        return None
    entry = lab.host.route_in_table(to)
    is_added = entry and entry.network.prefixlen >= target.address.network.prefixlen
    fix = f"sudo ip route del {entry}" if is_added else f"see ip route get {to} and ip rule; {REPAIR}"
    why = f"the host's route to {to} is not by {target.bridge}: {entry or 'there is none'}"
    return Outcome(Kind.WRONG_ROUTE, why, fix)


def leave_host_by_route(trace: PacketTrace, lab: Lab) -> Step:
    """Choose the host's route; to an address of the host it is by lo, also for a published port."""
    packet = trace.packet
    if lab.is_host_address(packet.destination):
        packet = replace(packet, source=packet.destination, out="lo")
    else:
        packet = replace(packet, out=lab.interface_to(packet.destination))
    if not packet.out:
        return trace.end(Outcome(Kind.NO_ROUTE, f"the host has no route to {packet.destination}", REPAIR))
    what = f"{packet.source} sends to {packet.destination} by {packet.out}"
    return replace(trace, packet=packet).hop(HOST, what, f"ip route get {packet.destination}")


def decide_route_again(trace: PacketTrace, lab: Lab) -> Step:
    """Route a packet of the host again: DNAT in OUTPUT may have changed its destination."""
    trace = _find_receiver(trace, lab)
    if trace.target is None:
        return replace(trace, at=At.HOST_SOCKET) if trace.receiver == HOST else trace
    bridge = trace.target.bridge
    localnet = (lab.host.settings.get(f"{name}.route_localnet", "1") for name in (bridge, "all"))
    if IPv4Address(trace.packet.source).is_loopback and "1" not in localnet:
        why = f"route_localnet of {bridge} is 0: the kernel routes no packet from {trace.packet.source}"
        fix = f"sudo sysctl -w {sysctl_key(bridge, 'route_localnet')}=1 (or sudo make up)"
        return trace.end(Outcome(Kind.NO_ROUTE, why, fix), HOST)
    return replace(trace, packet=replace(trace.packet, out=bridge))


# --- where it ends --------------------------------------------------------------------------------


def check_reply_route(trace: PacketTrace, lab: Lab) -> Step:
    """Check that the receiver has a route back."""
    node, source = trace.receiving_node, trace.packet.source
    back = lab.place(node).route(source)
    if back and not back.type:
        return trace
    where, why = f"namespace {node.namespace}", f"no route back to {source}"
    fix = f"sudo ip -n {node.namespace} route del {back}" if back else REPAIR
    return trace.hop(where, f"it cannot reply: {why}").end(Outcome(Kind.NO_REPLY, f"{where} has {why}", fix))


def find_listener(trace: PacketTrace, lab: Lab) -> Step:
    """Deliver to the program that listens on the port; the kernel itself replies to a ping."""
    packet, target = trace.packet, trace.target
    place, where = (lab.place(target), f"namespace {target.namespace}") if target else (lab.host, HOST)
    if packet.protocol == "icmp":
        trace = trace.hop(where, "the kernel replies to the ping")
        return trace.end(outcome_of_delivery(lab, trace.flow, trace.after_nat))
    address, port = packet.destination, packet.port
    listeners = (item for item in place.listeners() if item.accepts(packet.protocol, address, port))
    if listener := next(listeners, None):
        trace = trace.hop(where, f"{listener.program} listens on port {port} and accepts it", "ss -lntup")
        return trace.end(outcome_of_delivery(lab, trace.flow, trace.after_nat))
    trace = trace.hop(where, f"no program listens on {address} {packet.protocol}/{port}", "ss -lntup")
    why = f"the packet arrives, but no program listens on port {port} of {address}"
    return trace.end(outcome_without_listener(lab, trace.flow, trace.after_nat, why))


def leave_lab(trace: PacketTrace, lab: Lab) -> Step:
    """Leave for the outside."""
    what = f"leaves the lab towards {trace.packet.destination}; what happens after that is unknown"
    return trace.hop(WORLD, what).end(outcome_of_delivery(lab, trace.flow, trace.after_nat))
