"""Predict a packet's path from the system's state, without sending anything. Pure.

Each stage takes the packet's trace and changes it, or ends the path.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from lab.topology import Node
from security.explain import host_rules, routing, sending
from security.explain.lab_state import Lab
from security.explain.result import Result
from security.explain.trace import PacketTrace, PathEndError
from security.explain.wiring import find_fault
from security.policy.model import HOST, WORLD, Flow
from security.rules.matches import Packet


def predict_path(lab: Lab, flow: Flow) -> Result:
    """Follow the first packet of a flow until its path ends."""
    own, to = lab.address(flow.source, flow.destination), lab.address(flow.destination, flow.source)
    packet = Packet(flow.protocol, own, to, flow.port)
    sender, target = map(lab.topology.node, flow.ends)
    trace = PacketTrace(lab, flow, packet, flow.destination, sender, target)
    try:
        _follow(trace)
    except PathEndError as end:
        return trace.result(end.outcome)


def _follow(trace: PacketTrace) -> NoReturn:
    """Pass the stages in the kernel's order."""
    sender, target = trace.sender, trace.target
    routing.check_namespaces(trace)
    if sender and target and sender.namespace == target.namespace:
        routing.cross_loopback(trace, target)
    if sender:
        sending.leave_node(trace, sender)
        host_rules.filter_frame_from_node(trace, sender)
    elif trace.flow.source == WORLD:
        routing.arrive_from_outside(trace)
    if sender and trace.is_switched and not trace.lab.passes_to_iptables(sender.bridge):
        routing.switch_frame(trace, sender)
    elif trace.flow.source == HOST:
        _leave_host(trace)
    else:
        _cross_host(trace)
    if trace.target:
        _enter_node(trace, trace.target)
    routing.leave_lab(trace)


def _cross_host(trace: PacketTrace) -> None:
    """Cross the host: iptables (of a bridge through br_netfilter), conntrack and nat, routing decision."""
    host_rules.filter_packet(trace, "PREROUTING")
    routing.decide_route(trace)
    if trace.receiver == HOST:
        host_rules.filter_packet(trace, "INPUT")
        routing.find_listener(trace)
    routing.check_forwarding(trace)
    routing.check_route_to_node(trace)
    host_rules.filter_frame_between_ports(trace)
    host_rules.filter_packet(trace, "FORWARD")
    host_rules.translate_source(trace)


def _leave_host(trace: PacketTrace) -> None:
    """Send from the host itself."""
    routing.check_route_to_node(trace)
    routing.leave_host_by_route(trace)
    host_rules.filter_packet(trace, "OUTPUT")
    routing.decide_route_again(trace)
    routing.check_route_to_node(trace)
    host_rules.translate_source(trace)


def _enter_node(trace: PacketTrace, node: Node) -> NoReturn:
    """Enter the receiver's namespace: veth pair, INPUT, socket, and the way back."""
    if fault := find_fault(trace.lab, node):
        trace.end(fault, node.interface)
    sending.cross_veth(trace, node, node.bridge_interface, node.interface)
    host_rules.filter_in_namespace(trace, node, "INPUT", replace(trace.packet, into=node.interface))
    routing.check_reply_route(trace, node)
    host_rules.filter_reply(trace, node)
    routing.find_listener(trace)
