"""Ways to bypass a policy: each bypass as a probe with its expected verdict, and an allowed counterpart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from functools import partial

from lab.topology import Node
from security.policy.model import (
    ACCEPT,
    BUILT_IN,
    DEFAULT,
    DROP,
    HOST,
    ICMP_SIZE,
    ICMP_TYPE,
    INVALID,
    PING_BYTES,
    WORLD,
    Decision,
    Flow,
)
from security.proof import packets
from security.proof.cases import Cases
from security.proof.family import IPV4, IPV6
from security.proof.frames import frame_probes
from security.proof.ipv6_attacks import ipv6_attacks, tunnels
from security.proof.packets import echo, packet, udp
from security.proof.probe import Probe, Step

_DNS, _HTTP = 53, 80
_ICMP_BYTES = 8
_MAX_PING = PING_BYTES - IPV4.header_bytes - _ICMP_BYTES  # bytes after the headers, in both families
_LARGE_BYTES = 400  # more than the ping limit, less than any link's MTU
_ANSWERS = (ACCEPT, "answers")

_UNASKED = "ping reply without a request"


def attack_probes(cases: Cases) -> list[Probe]:
    """Return all attacks of a family except claim_probes()."""
    found = [*_pings(cases), *_large_packets(cases), *_disguises(cases)]
    for node in cases.nodes:
        found += [*_other_addresses(cases, node), *frame_probes(cases, node)]
        found += _to_unused_addresses(cases, node)
    found += ipv6_attacks(cases)
    for own in map(cases.own, cases.bridges):  # allowed: the host to itself
        flow, ping = Flow(HOST, HOST, "icmp"), partial(echo, own, own)
        found.append(Probe(flow, ACCEPT, "spoofed-address", ping, own, "host to itself"))
    of_family = (replace(probe, family=cases.family) for probe in found)
    return [*(probe for probe in of_family if cases.is_reachable(*probe.flow.ends)), *tunnels(cases)]


# --- ping sizes, and replies without a request ---


def _ping_kinds(cases: Cases, source: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield name, ICMP type, bytes of payload, and the protocol or policy id that decides."""
    (request, reply), most = cases.family.rules.echo, _MAX_PING
    yield "largest allowed ping", request, most, "icmp"
    yield "ping over the size limit", request, most + 1, ICMP_SIZE
    yield "ping reply over the size limit", reply, most + 1, ICMP_SIZE
    yield _UNASKED, reply, 0, INVALID
    is_checked = cases.family is IPV6 and cases.topology.node(source)  # the port allows few types
    yield cases.family.unused_request, cases.family.unused_type, 0, ICMP_TYPE if is_checked else "other"


def _pings(cases: Cases) -> Iterator[Probe]:
    world_is_pinged = cases.policy.some_node_may(WORLD, "icmp")
    for source, destination in (*_pairs(cases), *((WORLD, name) for name in cases.node_names)):
        own, to = cases.addresses(source, destination)
        flow = Flow(source, destination, "icmp")
        for attack, kind, size, decider in _ping_kinds(cases, source):
            if source == WORLD and decider == ICMP_SIZE and not world_is_pinged:
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
            yield from _after_allowed_ping(cases, flow, own, to)


def _after_allowed_ping(cases: Cases, flow: Flow, own: str, to: str) -> Iterator[Probe]:
    """Send a large request, and a large reply, after a ping that was allowed."""
    ping = [Step(flow.source, to, partial(echo, own, to, tagged=False))]
    size = _MAX_PING + 1
    request = partial(echo, own, to, size=size)
    reply = partial(echo, to, own, kind=cases.family.rules.echo[1], size=size)
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
    seen = cases.host_address if destination == WORLD else own  # masquerade: the host's address
    first = [Step(source, to, partial(udp, own, to, port, tagged=False))]
    flow, back = Flow(source, destination, "udp", port), Flow(destination, source, "udp")
    datagram = partial(udp, own, to, port, size=_LARGE_BYTES)
    reply = partial(udp, to, seen, port, size=_LARGE_BYTES, reply=True)
    yield Probe(flow, ACCEPT, cases.policy.decide(*astuple(flow)).id, datagram, to, "large datagram")
    yield Probe(back, *_ANSWERS, reply, seen, "large reply", first=first)
    for sender, receiver in ((destination, seen), (HOST, own))[: 2 if destination == WORLD else 1]:
        opening = partial(udp, receiver, to, port, tagged=False)
        address = cases.address(sender, source)
        kind, size = cases.family.port_unreachable, _MAX_PING + 1
        error = partial(packets.icmp_error, (address, receiver), kind, opening, size)
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
                own, to, port = cases.own(node), cases.own(target), listener.port
                head, rest = (
                    partial(packets.fragment, own, to, port, is_last=last) for last in (False, True)
                )
                probe = cases.probe_for(decision, flow, rest, to, seen_as=own)
                yield replace(probe, attack="in fragments", first=[Step(node.name, to, head)])
                build = partial(packets.tcp, own, to, port, own_port=_DNS)
                yield replace(probe, attack="from port 53", build=build)


# --- other nodes' addresses, and addresses that no node has ---


def _other_addresses(cases: Cases, node: Node) -> Iterator[Probe]:
    """Ping the host from another node's address, from an unused one, and from the node's own outside."""
    victim, gateway = cases.other_node(node), cases.gateway(node)
    unused = cases.free_address(cases.topology.bridge_of(node))  # only the port's rules detect it
    for source, own, to, attack in (
        (node.name, cases.own(victim) if victim else "", gateway, "another node's address"),
        (node.name, unused, gateway, "unused address"),
        (WORLD, cases.own(node), cases.host_address, f"address of {node.name} from outside"),
    ):
        if own:
            yield Probe(
                Flow(source, HOST, "icmp"), DROP, "spoofed-address", partial(echo, own, to), to, attack
            )


def _to_unused_addresses(cases: Cases, node: Node) -> Iterator[Probe]:
    """Send to an address of each other bridge that no node has."""
    for bridge in cases.bridges:
        unused = cases.free_address(bridge)
        if unused and bridge.name != node.bridge:
            build = packet("tcp", cases.own(node), unused, _HTTP)
            flow = Flow(node.name, WORLD, "tcp", _HTTP)
            yield Probe(flow, DROP, DEFAULT, build, unused, f"unused address on {bridge.name}")
