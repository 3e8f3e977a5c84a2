"""Frames that bypass rules for packets: forged MACs and claims, other EtherTypes; and allowed counterparts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lab.network.facts import mac_of
from lab.topology import Bridge, Node
from security.policy.model import ACCEPT, DEFAULT, DROP, HOST, LAST_PORT, WORLD, Flow
from security.proof import packets
from security.proof.cases import CLOSED_PORTS, Cases
from security.proof.family import IPV4, IPV6
from security.proof.packets import Build, echo, framed, udp
from security.proof.probe import FORWARDING, LINK_LOCAL, Probe, Step

_DNS = 53
_LINK_LOCAL_ADDRESSES = "fe80::1", "fe80::2"  # they need no configuration
_BROADCAST_PORTS = (_DNS, *CLOSED_PORTS["udp"], LAST_PORT)


def frame_probes(cases: Cases, node: Node) -> Iterator[Probe]:
    """Return the attacks of one node that are whole frames."""
    yield from _forged(cases, node)
    yield from _not_ip(cases, node)
    if cases.family is IPV4:
        yield from _broadcast(cases, node)
    yield _link_local(cases, node)


class _Frames:
    """Makes probes of frames from a node to its neighbour on the link."""

    def __init__(self, cases: Cases, node: Node) -> None:
        self.cases, self.node = cases, node
        self.near, self.near_mac = cases.link_neighbour(node)
        self.mac, self.own = cases.mac(node), cases.own(node)
        self.ping = partial(echo, self.own, cases.address(self.near, node.name))

    def probe(
        self, attack: str, protocol: str, policy_id: str, kind: int, build: Build, *, source: str = ""
    ) -> Probe:
        """Return a probe that a policy id drops; the id answers stands for accept."""
        verdict = ACCEPT if policy_id == "answers" else DROP
        frame = partial(framed, source or self.mac, self.near_mac, kind, build)
        return Probe(Flow(self.node.name, self.near, protocol), verdict, policy_id, frame, attack=attack)


def _forged(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send frames with another node's MAC or address."""
    make, victim = _Frames(cases, node), cases.other_node(node)
    if victim:
        kind, its_mac = cases.family.ethertype, cases.mac(victim)
        yield make.probe("another node's MAC", "icmp", "spoofed-mac", kind, make.ping, source=its_mac)
    if cases.family is IPV4:
        yield from _arp_claims(cases, make, victim)


def _arp_claims(cases: Cases, make: _Frames, victim: Node | None) -> Iterator[Probe]:
    """Claim another node's address or MAC. The allowed counterpart is a claim of the node's own."""

    def claim(attack: str, policy_id: str, mac: str, address: str) -> Probe:
        build = partial(packets.arp_reply, mac, address, address)
        return make.probe(attack, "arp", policy_id, packets.ARP, build)

    if victim:
        yield claim("another node's address in ARP", "spoofed-arp", make.mac, cases.own(victim))
        yield claim("another node's MAC in ARP", "spoofed-arp", cases.mac(victim), make.own)
    yield claim("its own address in ARP", "answers", make.mac, make.own)


def _not_ip(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send frames that rules for IP do not match."""
    make = _Frames(cases, node)
    in_vlan = partial(packets.in_vlan, cases.family.ethertype, make.ping)
    if cases.is_first:
        ping = partial(echo, *_LINK_LOCAL_ADDRESSES)
        policy_id = "spoofed-address" if node.address6 else "ipv6"
        yield make.probe("IPv6, link-local", "ipv6", policy_id, IPV6.ethertype, ping)
    yield make.probe("in a VLAN", "vlan", "ethertype", packets.VLAN, in_vlan)
    if cases.is_first:
        yield make.probe("another EtherType", "ethernet", "ethertype", packets.EXPERIMENTAL, packets.tag)


def _broadcast(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send a datagram to all on the bridge, to the first port that the policy closes at the host."""
    near, _ = cases.link_neighbour(node)
    closed = (port for port in _BROADCAST_PORTS if not cases.policy.allows(node.name, HOST, "udp", port))
    if port := next(closed, 0):
        network = cases.interface(cases.topology.bridge_of(node)).network
        datagram = partial(udp, cases.own(node), str(network.broadcast_address), port)
        build = partial(framed, cases.mac(node), packets.BROADCAST, IPV4.ethertype, datagram)
        # The host's socket gets a copy of the frame before the rules apply, so watch all other sockets.
        flow = Flow(node.name, WORLD if near == HOST else near, "udp")
        yield Probe(flow, DROP, DEFAULT, build, attack="broadcast")


def _link_local(cases: Cases, node: Node) -> Probe:
    """Send the host a datagram in a link-local frame, which enters through the port, not through the bridge."""
    family = cases.family
    datagram = partial(udp, family.unused_address, cases.gateway(node), _DNS)
    build = partial(framed, cases.mac(node), packets.LINK_LOCAL[-1], family.ethertype, datagram)
    flow = Flow(node.name, HOST, "udp", _DNS)
    return Probe(flow, DROP, LINK_LOCAL, build, attack="in a link-local frame", unlogged=True)


# --- claims: link-local frames that could make the bridge learn a wrong port ---


def claim_probes(cases: Cases) -> list[Probe]:
    """Let each node claim its neighbour's MAC, then send that neighbour a frame.

    The host sends the frame through the bridge, so that no rule and no reply of the neighbour corrects the table first.
    """
    probes = []
    first_nodes = [node for node in cases.nodes if cases.topology.node_of_wire(node) is node]
    for bridge in cases.topology.bridges:
        on_bridge = [node for node in first_nodes if node.bridge == bridge.name]
        for claimant, owner in zip(on_bridge, (*on_bridge[1:], *on_bridge[:1]), strict=True):
            if claimant is not owner:
                probes.append(_claim(cases, bridge, claimant, owner))
    return probes


def _claim(cases: Cases, bridge: Bridge, claimant: Node, owner: Node) -> Probe:
    mac = cases.mac(owner)
    claims = (
        partial(framed, mac, group, packets.EXPERIMENTAL, lambda _: b"claim") for group in packets.LINK_LOCAL
    )
    build = partial(framed, mac_of(bridge.address.ip), mac, packets.EXPERIMENTAL, packets.tag)
    first = [Step(claimant.name, "", claim) for claim in claims]
    attack = f"{claimant.name} sent link-local frames with its MAC"
    flow = Flow(HOST, owner.name, "ethernet")
    return Probe(flow, ACCEPT, FORWARDING, build, attack=attack, first=first, by=bridge.name)
