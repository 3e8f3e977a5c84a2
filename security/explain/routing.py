"""Stages of the host's routing, of the two ends, and of delivery. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import NoReturn

from lab.network.inside import route_words
from lab.topology import Node
from security.explain.advice import REPAIR, outcome_of_delivery, outcome_without_listener, sysctl_key
from security.explain.host_rules import filter_frame_between_ports
from security.explain.result import Kind, Outcome
from security.explain.snapshot import is_discarding, network_of
from security.explain.trace import PacketTrace
from security.explain.wiring import find_bridge_fault, find_problems, find_shared_address, missing_namespace
from security.policy.model import HOST, WORLD

# --- the start of the path ------------------------------------------------------------------------


def check_namespaces(trace: PacketTrace) -> None:
    """Check that both namespaces exist, and record the problems of both nodes."""
    for node in filter(None, (trace.sender, trace.target)):
        trace.warnings += find_problems(trace.lab, node)
        if not trace.lab.place(node).exists:
            trace.end(missing_namespace(node), f"namespace {node.namespace}")


def cross_loopback(trace: PacketTrace, node: Node) -> NoReturn:
    """Stay in the namespace that sender and receiver share."""
    namespace = node.namespace
    both = f"{trace.packet.source} and {trace.packet.destination}"
    what = f"{both} are addresses of this namespace: the packet does not leave it and meets no rule"
    trace.hop(f"namespace {namespace}", what)
    if not trace.lab.place(node).is_up("lo"):
        fix = f"sudo ip -n {namespace} link set lo up"
        trace.end(Outcome(Kind.LINK_DOWN, f"lo in namespace {namespace} is down", fix))
    check_reply_route(trace, node)
    find_listener(trace)


def arrive_from_outside(trace: PacketTrace) -> None:
    """Enter the host by its uplink."""
    own, to = trace.packet.source, trace.packet.destination
    trace.packet = replace(trace.packet, into=trace.lab.interface_to(own))
    trace.hop(WORLD, f"{own}, outside the lab, sends to {to}")


# --- in the host ----------------------------------------------------------------------------------


def switch_frame(trace: PacketTrace, node: Node) -> None:
    """Pass the frame from port to port of a bridge that passes nothing to iptables."""
    what = "passes no packets to iptables (nf_call_iptables 0): no rule filters traffic from port to port"
    trace.hop(f"bridge {node.bridge}", what, f"ip -d link show {node.bridge}")
    filter_frame_between_ports(trace)


def decide_route(trace: PacketTrace) -> None:
    """Decide whether the packet is delivered to the host or forwarded."""
    to = trace.packet.destination
    _find_receiver(trace)
    if trace.receiver == HOST:
        trace.hop("routing decision", f"{to} is an address of the host", f"ip route get {to}")
        return
    out = trace.target.bridge if trace.target else trace.lab.interface_to(to)
    if not out:
        trace.end(Outcome(Kind.NO_ROUTE, f"the host has no route to {to}", "ip route add ..."))
    trace.packet = replace(trace.packet, out=out)
    if trace.is_switched:
        what = "sender and receiver are its ports; it passes packets to iptables (nf_call_iptables 1)"
        trace.hop(f"bridge {out}", what, f"ip -d link show {out}")
    else:
        trace.hop("routing decision", f"to {to} by {out}", f"ip route get {to}")


def _find_receiver(trace: PacketTrace) -> None:
    """Set the receiver by the destination, which DNAT may have changed."""
    to = trace.packet.destination
    trace.target = trace.lab.topology.node_at(to)
    trace.receiver = trace.target.name if trace.target else WORLD
    if trace.lab.is_host_address(to) and not trace.is_switched:
        trace.target, trace.receiver = None, HOST


def check_forwarding(trace: PacketTrace) -> None:
    """Check that the interfaces by which the packet and its reply enter the host forward."""
    host = trace.lab.host
    for node in (trace.sender, trace.target) if not trace.is_switched else ():
        for name in [node.bridge] if node else host.default_interfaces():
            if name not in host.forwards:
                key = sysctl_key(name, "forwarding")
                fix = f"sudo sysctl -w {key}=1 (or sudo make network)"
                trace.end(Outcome(Kind.NOT_FORWARDED, f"{key} is 0", fix))


def check_route_to_node(trace: PacketTrace) -> None:
    """Check that the host sends to the receiver by its bridge."""
    lab, target = trace.lab, trace.target
    if target is None or trace.is_switched:
        return
    if fault := find_shared_address(lab, target) or find_bridge_fault(lab, target):
        trace.end(fault, HOST)
    to = str(target.address.ip)
    if lab.interface_to(to) == target.bridge:
        return
    entry, fix = lab.host.route_in_table(to), f"see ip route get {to} and ip rule; {REPAIR}"
    if entry and network_of(entry).prefixlen >= target.address.network.prefixlen:
        fix = f"sudo ip route del {route_words(entry)}"
    listed = route_words(entry) if entry else "there is none"
    why = f"the host's route to {to} is not by {target.bridge}: {listed}"
    trace.end(Outcome(Kind.WRONG_ROUTE, why, fix), HOST)


def leave_host_by_route(trace: PacketTrace) -> None:
    """Choose the host's route; to an address of the host it is by lo, also for a published port."""
    packet, to = trace.packet, trace.packet.destination
    if trace.lab.is_host_address(to):
        packet = replace(packet, source=to, out="lo")
    else:
        packet = replace(packet, out=trace.lab.interface_to(to))
    if not packet.out:
        trace.end(Outcome(Kind.NO_ROUTE, f"the host has no route to {to}", REPAIR))
    trace.packet = packet
    trace.hop(HOST, f"{packet.source} sends to {to} by {packet.out}", f"ip route get {to}")


def decide_route_again(trace: PacketTrace) -> None:
    """Route a packet of the host again: DNAT in OUTPUT may have changed its destination."""
    _find_receiver(trace)
    if trace.receiver == HOST:
        find_listener(trace)
    if trace.target is None:
        return
    bridge = trace.target.bridge
    if IPv4Address(trace.packet.source).is_loopback and not {bridge, "all"} & set(trace.lab.host.localnets):
        why = f"route_localnet of {bridge} is 0: the kernel routes no packet from {trace.packet.source}"
        fix = f"sudo sysctl -w {sysctl_key(bridge, 'route_localnet')}=1 (or sudo make up)"
        trace.end(Outcome(Kind.NO_ROUTE, why, fix), HOST)
    trace.packet = replace(trace.packet, out=bridge)


# --- the end of the path --------------------------------------------------------------------------


def check_reply_route(trace: PacketTrace, node: Node) -> None:
    """Check that the receiver has a route back."""
    where, source = f"namespace {node.namespace}", trace.packet.source
    back = trace.lab.place(node).route(source)
    if back is None or is_discarding(back):
        why = f"no route back to {source}"
        fix = f"sudo ip -n {node.namespace} route del {route_words(back)}" if back else REPAIR
        trace.hop(where, f"it cannot reply: {why}")
        trace.end(Outcome(Kind.NO_REPLY, f"{where} has {why}", fix))


def find_listener(trace: PacketTrace) -> NoReturn:
    """Deliver to the program that listens on the port; the kernel itself replies to a ping."""
    lab, packet, target = trace.lab, trace.packet, trace.target
    place, where = (lab.place(target), f"namespace {target.namespace}") if target else (lab.host, HOST)
    address, port, shown = packet.destination, packet.port, "ss -lntup"
    if packet.protocol == "icmp":
        trace.hop(where, "the kernel replies to the ping")
    elif program := place.listener(packet.protocol, address, port):
        trace.hop(where, f"{program} listens on port {port} and accepts it", shown)
    else:
        trace.hop(where, f"no program listens on {address} {packet.protocol}/{port}", shown)
        why = f"the packet arrives, but no program listens on port {port} of {address}"
        trace.end(outcome_without_listener(lab, trace.flow, trace.after_nat, why))
    trace.end(outcome_of_delivery(lab, trace.flow, trace.after_nat))


def leave_lab(trace: PacketTrace) -> NoReturn:
    """Leave the lab towards the outside."""
    what = f"leaves the lab towards {trace.packet.destination}; what happens after that is unknown"
    trace.hop(WORLD, what)
    trace.end(outcome_of_delivery(trace.lab, trace.flow, trace.after_nat))
