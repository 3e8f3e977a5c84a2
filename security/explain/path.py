"""Predict what happens to a packet from the state of the system alone; nothing is sent. Pure."""

from __future__ import annotations

from security.explain import host_rules, routing, wiring
from security.explain.host_rules import Stage
from security.explain.lab_state import Lab
from security.explain.result import Result
from security.explain.trace import At, PacketTrace
from security.policy.model import HOST, Flow
from security.rules.matches import Packet

# The stages in the kernel's order. Each takes the packet's trace and the lab, and returns the next trace or the
# result. A stage is called if the packet is at the place beside it.
_FROM_LINK = At.BRIDGE_PORT | At.UPLINK
STAGES: tuple[tuple[At, Stage], ...] = (
    (~At(0), routing.check_namespaces),
    (At.LOOPBACK, routing.cross_loopback),
    # The sender's namespace: route, OUTPUT, ARP, veth.
    (At.SENDER, routing.check_sender_wire),
    (At.SENDER, wiring.leave_by_route),
    (At.SENDER, routing.check_sender_addresses),
    (At.SENDER, host_rules.filter_in_sender),
    (At.SENDER, wiring.resolve_next_hop),
    (At.SENDER, wiring.enter_bridge),
    # The host: bridge and ebtables, iptables through br_netfilter, conntrack and nat, routing decision.
    (At.UPLINK, routing.arrive_from_outside),
    (At.BRIDGE_PORT, host_rules.filter_frame_from_node),
    (At.BRIDGE_PORT, routing.switch_frame),
    (_FROM_LINK, host_rules.iptables("PREROUTING")),
    (_FROM_LINK, routing.decide_route),
    (At.HOST_INPUT, host_rules.iptables("INPUT")),
    (At.FORWARD, routing.check_forwarding),
    (At.FORWARD, routing.check_route_to_node),
    (At.FORWARD, host_rules.filter_frame_between_ports),
    (At.FORWARD, host_rules.iptables("FORWARD")),
    # What the host itself sends.
    (At.HOST_OUTPUT, routing.check_route_to_node),
    (At.HOST_OUTPUT, routing.leave_host_by_route),
    (At.HOST_OUTPUT, host_rules.iptables("OUTPUT")),
    (At.HOST_OUTPUT, routing.decide_route_again),
    (At.HOST_OUTPUT, routing.check_route_to_node),
    (At.FORWARD | At.HOST_OUTPUT, host_rules.translate_source),
    # The receiver: veth, INPUT, socket, and the way back.
    (At.VETH, wiring.enter_node),
    (At.RECEIVER, host_rules.filter_in_receiver),
    (At.RECEIVER | At.LOOPBACK, routing.check_reply_route),
    (At.RECEIVER, host_rules.filter_reply),
    (At.RECEIVER | At.LOOPBACK | At.HOST_INPUT | At.HOST_SOCKET, routing.find_listener),
    (At.WORLD, routing.leave_lab),
)


def predict_path(lab: Lab, flow: Flow) -> Result:
    """Follow a packet through the stages."""
    trace = start_packet(lab, flow)
    for at, stage in STAGES:
        step = stage(trace, lab) if trace.at in at else trace
        if isinstance(step, Result):
            return step
        trace = step
    raise AssertionError(f"{flow}: no stage ends at {trace.at}")


def start_packet(lab: Lab, flow: Flow) -> PacketTrace:
    """Return the first packet of a flow, before it is sent."""
    sender, target = lab.topology.node(flow.source), lab.topology.node(flow.destination)
    own, to = lab.address(flow.source, flow.destination), lab.address(flow.destination, flow.source)
    at = At.SENDER if sender else At.HOST_OUTPUT if flow.source == HOST else At.UPLINK
    if sender and target and sender.namespace == target.namespace:
        at = At.LOOPBACK
    packet = Packet(flow.protocol, own, to, flow.port)
    return PacketTrace(flow, packet, at, flow.destination, sender, target)
