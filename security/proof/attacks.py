"""Ways to bypass a policy: each bypass as a probe with its expected verdict, and an allowed counterpart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace

from lab.network.facts import mac_of
from lab.topology import Bridge, Node
from security.policy.compiler import wires
from security.policy.model import (
    ACCEPT,
    DEFAULT,
    DROP,
    HOST,
    ICMP_SIZE,
    INVALID,
    LAST_PORT,
    PING_BYTES,
    WORLD,
    Flow,
)
from security.proof import builders, packets
from security.proof.builders import Build
from security.proof.cases import CLOSED_PORTS, Cases
from security.proof.probe import FORWARDING, LINK_LOCAL, Probe, Step

_DNS, _HTTP = 53, 80
_BROADCAST_PORTS = (_DNS, *CLOSED_PORTS["udp"], LAST_PORT)
_UNUSED_ADDRESS = "192.0.2.1"  # TEST-NET-1, RFC 5737
_MAX_PING = PING_BYTES - 28  # bytes after the headers of IPv4 and ICMP
_LARGE_BYTES = 400  # more than a ping may have, less than any link's MTU
_ANSWERS = (ACCEPT, "answers")

# Name, ICMP type, bytes of payload, and the protocol or policy id that decides.
_PINGS = (
    ("largest allowed ping", packets.ECHO_REQUEST, _MAX_PING, "icmp"),
    ("ping over the size limit", packets.ECHO_REQUEST, _MAX_PING + 1, ICMP_SIZE),
    ("ping reply over the size limit", packets.ECHO_REPLY, _MAX_PING + 1, ICMP_SIZE),
    ("ping reply without a request", packets.ECHO_REPLY, 0, INVALID),
    ("timestamp request", packets.TIMESTAMP, 0, "other"),
)


def attack_probes(cases: Cases) -> list[Probe]:
    """Return all attacks except claim_probes()."""
    found = [*_pings(cases), *_in_allowed_pings(cases), *_large_packets(cases), *_disguises(cases)]
    for node in cases.nodes:
        found += [*_spoofed(cases, node), *_other_ethertypes(cases, node), *_broadcast(cases, node)]
        found += [*_to_unused_addresses(cases, node), _spoofed_outside(cases, node), _link_local(cases, node)]
    for nodes in wires(cases.policy.topology).values():
        found += _from_unused_address(cases, nodes[0])
    return found + [_host_to_itself(bridge) for bridge in cases.policy.topology.bridges]


# --- ping sizes, and replies without a request ---


def _pings(cases: Cases) -> Iterator[Probe]:
    world_is_pinged = cases.policy.some_node_may(WORLD, "icmp")
    for source, destination in (*_pairs(cases), *((WORLD, name) for name in cases.places.node_names)):
        own, to = cases.places.addresses(source, destination)
        flow = Flow(source, destination, "icmp")
        for attack, kind, size, decider in _PINGS:
            if source == WORLD and size > _MAX_PING and not world_is_pinged:
                continue  # then no rule checks the size of the world's pings: all are dropped
            verdict, policy_id = DROP, decider
            if decider in ("icmp", "other"):
                decision = cases.decide(source, destination, decider)
                verdict, policy_id = decision.verdict, decision.id
            yield Probe(flow, verdict, policy_id, builders.echo(own, to, kind, size), to, attack)
        if source != HOST:  # conntrack does not check the checksums of packets that the host sends
            yield Probe(flow, DROP, INVALID, builders.echo(own, to, damaged=True), to, "damaged ping")


def _pairs(cases: Cases) -> Iterator[tuple[str, str]]:
    """Yield each node with another node and with the host, in both directions."""
    for node in cases.nodes:
        other = cases.places.other_node(node)
        if other:
            yield node.name, other.name
            yield _node_that_may_ping(cases, node, other).name, node.name
        yield node.name, HOST
        yield HOST, node.name


def _node_that_may_ping(cases: Cases, node: Node, otherwise: Node) -> Node:
    others = (other for other in cases.nodes if other.namespace != node.namespace)
    return next((other for other in others if cases.policy.allows(other.name, node.name, "icmp")), otherwise)


def _in_allowed_pings(cases: Cases) -> Iterator[Probe]:
    """Send a large request, and a large reply, after a ping that was allowed."""
    for source, destination in _pairs(cases):
        if cases.policy.allows(source, destination, "icmp"):
            own, to = cases.places.addresses(source, destination)
            ping = Step(source, to, builders.echo(own, to, tagged=False))
            request = builders.echo(own, to, packets.ECHO_REQUEST, _MAX_PING + 1)
            reply = builders.echo(to, own, packets.ECHO_REPLY, _MAX_PING + 1)
            flow, back = Flow(source, destination, "icmp"), Flow(destination, source, "icmp")
            yield Probe(flow, DROP, ICMP_SIZE, request, to, "large ping after a small one", first=ping)
            yield Probe(back, DROP, ICMP_SIZE, reply, own, "large reply to a small ping", first=ping)


# --- allowed counterparts: large packets that are not pings ---


def _large_packets(cases: Cases) -> Iterator[Probe]:
    """Send from each source to the first node, to the host and to the world that has a UDP port open to it."""
    for source in (*cases.places.node_names, HOST):
        for destinations in (cases.places.node_names, (HOST,), (WORLD,)):
            for destination in destinations:
                port = _open_udp_port(cases, source, destination)
                if port and cases.places.passes_lab(source, destination):
                    yield from _large(cases, source, destination, port)
                    break


def _open_udp_port(cases: Cases, source: str, destination: str) -> int:
    ports = cases.ports("udp", destination)
    return next((port for port in ports if cases.policy.allows(source, destination, "udp", port)), 0)


def _large(cases: Cases, source: str, destination: str, port: int) -> Iterator[Probe]:
    """Send a large datagram, a large reply to it, and large ICMP errors about it."""
    own, to = cases.places.addresses(source, destination)
    seen = cases.places.outside.host_address if destination == WORLD else own  # masqueraded
    first = Step(source, to, builders.packet("udp", own, to, port, tagged=False))
    flow, back = Flow(source, destination, "udp", port), Flow(destination, source, "udp")
    datagram = builders.packet("udp", own, to, port, size=_LARGE_BYTES)
    reply = builders.packet("udp", to, seen, port, size=_LARGE_BYTES, reply=True)
    yield Probe(flow, ACCEPT, cases.policy.decide(*astuple(flow)).id, datagram, to, "large datagram")
    yield Probe(back, *_ANSWERS, reply, seen, "large reply", first=first)
    for sender, receiver in ((destination, seen), (HOST, own))[: 2 if destination == WORLD else 1]:
        opening = builders.packet("udp", receiver, to, port, tagged=False)
        address = cases.places.address(sender, source)
        error = builders.port_unreachable(opening, address, receiver, _MAX_PING + 1)
        yield Probe(Flow(sender, source, "icmp"), *_ANSWERS, error, receiver, "large ICMP error", first=first)


# --- allowed and denied TCP connections in disguise ---


def _disguises(cases: Cases) -> Iterator[Probe]:
    """Open connections in fragments, and from port 53, which firewalls often allow: the verdict must be the same."""
    for node in cases.nodes:
        for target in (target for target in cases.nodes if target.namespace != node.namespace):
            for listener in target.listens:
                flow = Flow(node.name, target.name, listener.protocol, listener.port)
                decision = cases.policy.decide(*astuple(flow))
                if listener.protocol != "tcp" or (decision.line and decision.line.rate):
                    continue
                own, to = str(node.address.ip), str(target.address.ip)
                for attack, build in (
                    ("in fragments", builders.in_fragments(own, to, listener.port)),
                    ("from port 53", builders.packet("tcp", own, to, listener.port, own_port=_DNS)),
                ):
                    probe = cases.probe_for(decision, flow, build, to, seen_as=own)
                    yield replace(probe, attack=attack)


# --- other nodes' addresses and MACs, and frames that are not IPv4 ---


def _spoofed(cases: Cases, node: Node) -> Iterator[Probe]:
    victim = cases.places.other_node(node)
    if not victim:
        return
    near, near_mac = cases.places.link_neighbour(node)
    own_mac, stolen_mac = cases.places.mac(node), cases.places.mac(victim)
    own, stolen, gateway = str(node.address.ip), str(victim.address.ip), cases.places.gateway(node)
    flow = Flow(node.name, HOST, "icmp")
    ping = builders.echo(stolen, gateway)
    yield Probe(flow, DROP, "spoofed-address", ping, gateway, "another node's address")
    ping = builders.echo(own, cases.places.address(near, node.name))
    for attack, protocol, policy_id, build in (
        (
            "another node's MAC",
            "icmp",
            "spoofed-mac",
            builders.framed(stolen_mac, near_mac, packets.IPV4, ping),
        ),
        (
            "another node's address in ARP",
            "arp",
            "spoofed-arp",
            builders.arp_reply(own_mac, own_mac, stolen, near_mac),
        ),
        (
            "another node's MAC in ARP",
            "arp",
            "spoofed-arp",
            builders.arp_reply(own_mac, stolen_mac, own, near_mac),
        ),
    ):
        yield Probe(Flow(node.name, near, protocol), DROP, policy_id, build, attack=attack)


def _other_ethertypes(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send frames that IPv4 rules do not match, and the allowed counterpart: ARP about the node's own address."""
    near, near_mac = cases.places.link_neighbour(node)
    mac, own = cases.places.mac(node), str(node.address.ip)
    ping = builders.echo(own, cases.places.address(near, node.name))

    def frame(kind: int, build: Build) -> Build:
        return builders.framed(mac, near_mac, kind, build)

    for attack, protocol, expected, build in (
        ("its own address in ARP", "arp", _ANSWERS, builders.arp_reply(mac, mac, own, near_mac)),
        ("IPv6, link-local", "ipv6", (DROP, "ipv6"), frame(packets.IPV6, builders.ipv6_echo)),
        ("in a VLAN", "vlan", (DROP, "ethertype"), frame(packets.VLAN, builders.in_vlan(ping))),
        (
            "another EtherType",
            "ethernet",
            (DROP, "ethertype"),
            frame(packets.EXPERIMENTAL, builders.only_tag),
        ),
    ):
        yield Probe(Flow(node.name, near, protocol), *expected, build, attack=attack)


def _broadcast(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send a datagram to all on the bridge, to the first port that the policy closes at the host."""
    near, _ = cases.places.link_neighbour(node)
    closed = (port for port in _BROADCAST_PORTS if not cases.policy.allows(node.name, HOST, "udp", port))
    if port := next(closed, 0):
        network = cases.policy.topology.bridge_of(node).address.network
        datagram = builders.packet("udp", str(node.address.ip), str(network.broadcast_address), port)
        build = builders.framed(cases.places.mac(node), packets.BROADCAST, packets.IPV4, datagram)
        # The host's socket gets a copy of the frame before the rules apply, so watch for it anywhere else.
        flow = Flow(node.name, WORLD if near == HOST else near, "udp")
        yield Probe(flow, DROP, DEFAULT, build, attack="broadcast")


def _to_unused_addresses(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send to an address of each other bridge that no node has."""
    for bridge in cases.policy.topology.bridges:
        unused = cases.places.free_address(bridge)
        if unused and bridge.name != node.bridge:
            build = builders.packet("tcp", str(node.address.ip), unused, _HTTP)
            flow = Flow(node.name, WORLD, "tcp", _HTTP)
            yield Probe(flow, DROP, DEFAULT, build, unused, f"unused address on {bridge.name}")


def _from_unused_address(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send from an address of the own bridge that no node has: only the port's own rules can detect it."""
    if unused := cases.places.free_address(cases.policy.topology.bridge_of(node)):
        gateway = cases.places.gateway(node)
        flow = Flow(node.name, HOST, "icmp")
        yield Probe(flow, DROP, "spoofed-address", builders.echo(unused, gateway), gateway, "unused address")


def _spoofed_outside(cases: Cases, node: Node) -> Probe:
    to = cases.places.outside.host_address
    build = builders.echo(str(node.address.ip), to)
    attack = f"address of {node.name} from outside"
    return Probe(Flow(WORLD, HOST, "icmp"), DROP, "spoofed-address", build, to, attack)


def _link_local(cases: Cases, node: Node) -> Probe:
    """Send the host a datagram in a link-local frame, which enters through the port, not through the bridge."""
    datagram = builders.packet("udp", _UNUSED_ADDRESS, cases.places.gateway(node), _DNS)
    build = builders.framed(cases.places.mac(node), packets.LINK_LOCAL[-1], packets.IPV4, datagram)
    flow = Flow(node.name, HOST, "udp", _DNS)
    return Probe(flow, DROP, LINK_LOCAL, build, attack="in a link-local frame", unlogged=True)


def _host_to_itself(bridge: Bridge) -> Probe:
    """Send from the host to its own address on a bridge, which is allowed."""
    address = str(bridge.address.ip)
    build = builders.echo(address, address)
    return Probe(Flow(HOST, HOST, "icmp"), ACCEPT, "spoofed-address", build, address, "host to itself")


# --- claims: link-local frames that could make the bridge learn a wrong port ---


def claim_probes(cases: Cases) -> list[Probe]:
    """Let each node claim its neighbour's MAC, then send that neighbour a frame.

    The host sends the frame through the bridge, so that no rule and no reply of the neighbour corrects the table first.
    """
    probes = []
    for bridge in cases.policy.topology.bridges:
        on_bridge = [
            nodes[0] for nodes in wires(cases.policy.topology).values() if nodes[0].bridge == bridge.name
        ]
        for claimant, owner in zip(on_bridge, (*on_bridge[1:], *on_bridge[:1]), strict=True):
            if claimant is not owner:
                probes.append(_claim(cases, bridge, claimant, owner))
    return probes


def _claim(cases: Cases, bridge: Bridge, claimant: Node, owner: Node) -> Probe:
    mac = cases.places.mac(owner)
    frames = [packets.frame(mac, group, packets.EXPERIMENTAL, b"claim") for group in packets.LINK_LOCAL]
    build = builders.framed(mac_of(bridge.address.ip), mac, packets.EXPERIMENTAL, builders.only_tag)
    first = Step(claimant.name, "", lambda _: frames)
    attack = f"{claimant.name} sent link-local frames with its MAC"
    flow = Flow(HOST, owner.name, "ethernet")
    return Probe(flow, ACCEPT, FORWARDING, build, attack=attack, first=first, by=bridge.name)
