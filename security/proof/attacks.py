"""Ways to bypass a policy: each bypass as a probe with its expected verdict, and an allowed counterpart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from functools import partial

from lab.network.facts import mac_of
from lab.topology import Bridge, Node
from security.policy.model import (
    ACCEPT,
    BUILT_IN,
    DEFAULT,
    DROP,
    HOST,
    ICMP_SIZE,
    INVALID,
    LAST_PORT,
    PING_BYTES,
    WORLD,
    Decision,
    Flow,
)
from security.proof import packets
from security.proof.cases import CLOSED_PORTS, Cases
from security.proof.packets import Build, echo, framed, packet, udp
from security.proof.probe import FORWARDING, LINK_LOCAL, Probe, Step

_DNS, _HTTP = 53, 80
_BROADCAST_PORTS = (_DNS, *CLOSED_PORTS["udp"], LAST_PORT)
_UNUSED_ADDRESS = "192.0.2.1"  # TEST-NET-1, RFC 5737
_MAX_PING = PING_BYTES - 28  # bytes after the headers of IPv4 and ICMP
_LARGE_BYTES = 400  # more than the ping limit, less than any link's MTU
_ANSWERS = (ACCEPT, "answers")

# Name, ICMP type, bytes of payload, and the protocol or policy id that decides.
_UNASKED = "ping reply without a request"
_PINGS = (
    ("largest allowed ping", packets.ECHO_REQUEST, _MAX_PING, "icmp"),
    ("ping over the size limit", packets.ECHO_REQUEST, _MAX_PING + 1, ICMP_SIZE),
    ("ping reply over the size limit", packets.ECHO_REPLY, _MAX_PING + 1, ICMP_SIZE),
    (_UNASKED, packets.ECHO_REPLY, 0, INVALID),
    ("timestamp request", packets.TIMESTAMP, 0, "other"),
)


def attack_probes(cases: Cases) -> list[Probe]:
    """Return all attacks except claim_probes()."""
    found = [*_pings(cases), *_large_packets(cases), *_disguises(cases)]
    for node in cases.nodes:
        found += [*_other_addresses(cases, node), *_frames(cases, node), *_broadcast(cases, node)]
        found += [*_to_unused_addresses(cases, node), _link_local(cases, node)]
    for own in (str(bridge.address.ip) for bridge in cases.topology.bridges):  # allowed: the host to itself
        flow, ping = Flow(HOST, HOST, "icmp"), partial(echo, own, own)
        found.append(Probe(flow, ACCEPT, "spoofed-address", ping, own, "host to itself"))
    return found


# --- ping sizes, and replies without a request ---


def _pings(cases: Cases) -> Iterator[Probe]:
    world_is_pinged = cases.policy.some_node_may(WORLD, "icmp")
    for source, destination in (*_pairs(cases), *((WORLD, name) for name in cases.node_names)):
        own, to = cases.addresses(source, destination)
        flow = Flow(source, destination, "icmp")
        for attack, kind, size, decider in _PINGS:
            if source == WORLD and size > _MAX_PING and not world_is_pinged:
                continue  # all pings from the world are dropped, so their size is not checked
            if decider in BUILT_IN:
                decision = Decision(DROP, decider, BUILT_IN[decider])
            else:
                decision = cases.decide(source, destination, decider)
            build = partial(echo, own, to, kind=kind, size=size)
            if attack == _UNASKED:
                build = partial(packets.unasked_reply, own, to)
            yield Probe(flow, decision.verdict, decision.id, build, to, attack)
        if source != HOST:  # conntrack does not check the checksums of packets that the host sends
            yield Probe(flow, DROP, INVALID, partial(packets.damaged_echo, own, to), to, "damaged ping")
        if source != WORLD and cases.policy.allows(source, destination, "icmp"):
            yield from _after_allowed_ping(flow, own, to)


def _after_allowed_ping(flow: Flow, own: str, to: str) -> Iterator[Probe]:
    """Send a large request, and a large reply, after a ping that was allowed."""
    ping = [Step(flow.source, to, partial(echo, own, to, tagged=False))]
    request = partial(echo, own, to, size=_MAX_PING + 1)
    reply = partial(echo, to, own, kind=packets.ECHO_REPLY, size=_MAX_PING + 1)
    back = Flow(flow.destination, flow.source, "icmp")
    yield Probe(flow, DROP, ICMP_SIZE, request, to, "large ping after a small one", first=ping)
    yield Probe(back, DROP, ICMP_SIZE, reply, own, "large reply to a small ping", first=ping)


def _pairs(cases: Cases) -> Iterator[tuple[str, str]]:
    """Yield each node with another node and the host, both ways; back from a node that may ping it, if possible."""
    for node in cases.nodes:
        if other := cases.other_node(node):
            others = (name for name in cases.node_names if cases.passes_lab(name, node.name))
            pinging = (name for name in others if cases.policy.allows(name, node.name, "icmp"))
            yield node.name, other.name
            yield next(pinging, other.name), node.name
        yield node.name, HOST
        yield HOST, node.name


# --- allowed counterparts: large packets that are not pings ---


def _large_packets(cases: Cases) -> Iterator[Probe]:
    """Send from each source to the first node, to the host and to the world that has a UDP port open to it."""
    for source in (*cases.node_names, HOST):
        for destinations in (cases.node_names, (HOST,), (WORLD,)):
            for destination in destinations:
                port = _open_udp_port(cases, source, destination)
                if port and cases.passes_lab(source, destination):
                    yield from _large(cases, source, destination, port)
                    break


def _open_udp_port(cases: Cases, source: str, destination: str) -> int:
    ports = cases.ports("udp", destination)
    return next((port for port in ports if cases.policy.allows(source, destination, "udp", port)), 0)


def _large(cases: Cases, source: str, destination: str, port: int) -> Iterator[Probe]:
    """Send a large datagram, a large reply to it, and large ICMP errors about it."""
    own, to = cases.addresses(source, destination)
    seen = cases.outside.host_address if destination == WORLD else own  # masquerade: the host's address
    first = [Step(source, to, partial(udp, own, to, port, tagged=False))]
    flow, back = Flow(source, destination, "udp", port), Flow(destination, source, "udp")
    datagram = partial(udp, own, to, port, size=_LARGE_BYTES)
    reply = partial(udp, to, seen, port, size=_LARGE_BYTES, reply=True)
    yield Probe(flow, ACCEPT, cases.policy.decide(*astuple(flow)).id, datagram, to, "large datagram")
    yield Probe(back, *_ANSWERS, reply, seen, "large reply", first=first)
    for sender, receiver in ((destination, seen), (HOST, own))[: 2 if destination == WORLD else 1]:
        opening = partial(udp, receiver, to, port, tagged=False)
        address = cases.address(sender, source)
        error = partial(packets.port_unreachable, address, receiver, opening, _MAX_PING + 1)
        yield Probe(Flow(sender, source, "icmp"), *_ANSWERS, error, receiver, "large ICMP error", first=first)


# --- allowed and denied TCP connections in disguise ---


def _disguises(cases: Cases) -> Iterator[Probe]:
    """Open connections in fragments, and from port 53, which firewalls often allow: the verdict must be the same."""
    for node in cases.nodes:
        for target in (target for target in cases.nodes if target.namespace != node.namespace):
            for listener in target.listens:
                flow = Flow(node.name, target.name, listener.protocol, listener.port)
                decision = cases.policy.decide(*astuple(flow))
                if listener.protocol != "tcp" or decision.rate:
                    continue
                own, to, port = str(node.address.ip), str(target.address.ip), listener.port
                head, rest = (
                    partial(packets.fragment, own, to, port, is_last=last) for last in (False, True)
                )
                probe = cases.probe_for(decision, flow, rest, to, seen_as=own)
                yield replace(probe, attack="in fragments", first=[Step(node.name, to, head)])
                build = partial(packets.tcp, own, to, port, own_port=_DNS)
                yield replace(probe, attack="from port 53", build=build)


# --- other nodes' addresses and MACs, and frames that are not IPv4 ---


def _other_addresses(cases: Cases, node: Node) -> Iterator[Probe]:
    """Ping the host from another node's address, from an unused one, and from the node's own outside."""
    victim, gateway = cases.other_node(node), cases.gateway(node)
    unused = cases.free_address(cases.topology.bridge_of(node))  # only the port's rules detect it
    outside = cases.outside.host_address
    for source, own, to, attack in (
        (node.name, str(victim.address.ip) if victim else "", gateway, "another node's address"),
        (node.name, unused, gateway, "unused address"),
        (WORLD, str(node.address.ip), outside, f"address of {node.name} from outside"),
    ):
        if own:
            yield Probe(
                Flow(source, HOST, "icmp"), DROP, "spoofed-address", partial(echo, own, to), to, attack
            )


def _frames(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send frames with another node's MAC or address, and frames that IPv4 rules do not match.

    The allowed counterpart is ARP about the node's own address.
    """
    near, near_mac = cases.link_neighbour(node)
    mac, own, victim = cases.mac(node), str(node.address.ip), cases.other_node(node)
    ping = partial(echo, own, cases.address(near, node.name))

    def probe(
        attack: str, protocol: str, policy_id: str, kind: int, build: Build, *, source: str = mac
    ) -> Probe:
        verdict = ACCEPT if policy_id == "answers" else DROP
        frame = partial(framed, source, near_mac, kind, build)
        return Probe(Flow(node.name, near, protocol), verdict, policy_id, frame, attack=attack)

    def arp(mac: str, address: str) -> Build:
        return partial(packets.arp_reply, mac, address, address)

    if victim:
        stolen, stolen_mac = str(victim.address.ip), cases.mac(victim)
        yield probe("another node's MAC", "icmp", "spoofed-mac", packets.IPV4, ping, source=stolen_mac)
        yield probe("another node's address in ARP", "arp", "spoofed-arp", packets.ARP, arp(mac, stolen))
        yield probe("another node's MAC in ARP", "arp", "spoofed-arp", packets.ARP, arp(stolen_mac, own))
    yield probe("its own address in ARP", "arp", "answers", packets.ARP, arp(mac, own))
    yield probe("IPv6, link-local", "ipv6", "ipv6", packets.IPV6, packets.ipv6_echo)
    yield probe("in a VLAN", "vlan", "ethertype", packets.VLAN, partial(packets.in_vlan, ping))
    yield probe("another EtherType", "ethernet", "ethertype", packets.EXPERIMENTAL, packets.tag)


def _broadcast(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send a datagram to all on the bridge, to the first port that the policy closes at the host."""
    near, _ = cases.link_neighbour(node)
    closed = (port for port in _BROADCAST_PORTS if not cases.policy.allows(node.name, HOST, "udp", port))
    if port := next(closed, 0):
        network = cases.topology.bridge_of(node).address.network
        datagram = partial(udp, str(node.address.ip), str(network.broadcast_address), port)
        build = partial(framed, cases.mac(node), packets.BROADCAST, packets.IPV4, datagram)
        # The host's socket gets a copy of the frame before the rules apply, so watch all other sockets.
        flow = Flow(node.name, WORLD if near == HOST else near, "udp")
        yield Probe(flow, DROP, DEFAULT, build, attack="broadcast")


def _to_unused_addresses(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send to an address of each other bridge that no node has."""
    for bridge in cases.topology.bridges:
        unused = cases.free_address(bridge)
        if unused and bridge.name != node.bridge:
            build = packet("tcp", str(node.address.ip), unused, _HTTP)
            flow = Flow(node.name, WORLD, "tcp", _HTTP)
            yield Probe(flow, DROP, DEFAULT, build, unused, f"unused address on {bridge.name}")


def _link_local(cases: Cases, node: Node) -> Probe:
    """Send the host a datagram in a link-local frame, which enters through the port, not through the bridge."""
    datagram = partial(udp, _UNUSED_ADDRESS, cases.gateway(node), _DNS)
    build = partial(framed, cases.mac(node), packets.LINK_LOCAL[-1], packets.IPV4, datagram)
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
