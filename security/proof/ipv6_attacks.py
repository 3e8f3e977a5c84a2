"""Ways to bypass a policy that only IPv6 has: forged neighbour discovery and router messages, extension headers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from functools import partial
from typing import NamedTuple

from lab.network.facts import mac_of
from lab.topology import Node
from security.policy import model
from security.policy.model import ACCEPT, DROP, HOST, WORLD, Flow
from security.proof import discovery, packets
from security.proof.cases import CLOSED_PORTS, Cases
from security.proof.discovery import (
    ADVERTISEMENT,
    ALL_NODES,
    ALL_NODES_MAC,
    SOLICITATION,
    SOURCE_LINK_LAYER,
    TARGET_LINK_LAYER,
    UNSPECIFIED,
)
from security.proof.family import IPV4, IPV6, Family
from security.proof.packets import DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, Build, echo, framed, tcp, udp
from security.proof.probe import Probe

_ROUTER = "fe80::1"  # the link-local address that the bridge has
_PREFIX = "2001:db8:bad::"  # RFC 3849
_FAR_HOPS = 64  # of a message that may come from behind a router
_PORT = min(CLOSED_PORTS["tcp"])
_ERRORS = {"unreachable": 1, "packet too big": 2, "time exceeded": 3, "parameter problem": 4}  # RFC 4443
_HEADERS = {
    "hop-by-hop options": (HOP_BY_HOP,),
    "a routing header": (ROUTING,),
    "destination options": (DESTINATION,),
    "destination options after a fragment header": (FRAGMENT, DESTINATION),
}
_MAPPED = "::ffff:{}"  # an IPv4 address in an IPv6 packet (RFC 4291, section 2.5.5.2)
_NOBODY = "192.0.2.1"  # TEST-NET-1, RFC 5737


class _Claim(NamedTuple):
    """A message about an address and a MAC: those of the sender, or another node's."""

    name: str
    kind: int
    option: int  # 0: no MAC
    others_address: bool = False
    others_mac: bool = False


_TRUE = (
    _Claim("solicitation", SOLICITATION, SOURCE_LINK_LAYER),
    _Claim("advertisement", ADVERTISEMENT, TARGET_LINK_LAYER),
    _Claim("advertisement without a MAC", ADVERTISEMENT, 0),
)
_FORGED = (
    _Claim("advertisement of another node's address", ADVERTISEMENT, TARGET_LINK_LAYER, others_address=True),
    _Claim("advertisement of another node's MAC", ADVERTISEMENT, TARGET_LINK_LAYER, others_mac=True),
    _Claim(
        "another node's advertisement", ADVERTISEMENT, TARGET_LINK_LAYER, others_address=True, others_mac=True
    ),
    _Claim("another node's advertisement without a MAC", ADVERTISEMENT, 0, others_address=True),
    _Claim(
        "advertisement with a solicitation's option", ADVERTISEMENT, SOURCE_LINK_LAYER, others_address=True
    ),
    _Claim("solicitation from another node's MAC", SOLICITATION, SOURCE_LINK_LAYER, others_mac=True),
    _Claim("solicitation with an advertisement's option", SOLICITATION, TARGET_LINK_LAYER),
    _Claim("solicitation without a MAC", SOLICITATION, 0),
)


def ipv6_attacks(cases: Cases) -> Iterator[Probe]:
    """Return the attacks of each node, and of the host and the world on the nodes."""
    for node in cases.nodes if cases.family is IPV6 else ():
        yield from _NodeAttacks(cases, node).probes()
        yield from _routed_discovery(cases, node)


class _NodeAttacks:
    """The attacks of one node: whole frames to its neighbour on the link."""

    def __init__(self, cases: Cases, node: Node) -> None:
        self._cases, self._node = cases, node
        self._near, _ = cases.link_neighbour(node)
        self._mac, self._own = cases.mac(node), cases.own(node)
        self._to = cases.address(self._near, node.name)

    def probes(self) -> Iterator[Probe]:
        """Return all of them."""
        yield from self._claims()
        yield from self._router_messages()
        yield from self._groups()
        yield from self._headers()
        yield from self._errors()
        yield from self._other_sources()

    def _probe(
        self, attack: str, policy_id: str, build: Build, *, protocol: str = "icmp", mac: str = ""
    ) -> Probe:
        """Return the probe of a packet to the neighbour, or to the MAC of a group."""
        verdict = ACCEPT if policy_id == model.NEIGHBOURS else DROP
        flow = Flow(self._node.name, self._near, protocol)
        build, to = _sent(self._cases, self._node, IPV6, build, mac)
        return Probe(flow, verdict, policy_id, build, to, attack)

    def _claims(self) -> Iterator[Probe]:
        """Send true messages of neighbour discovery, also with a hop limit that a router leaves, and forged ones."""
        for claim in _TRUE:
            far = _claim(self._cases, self._node, claim, self._to, hops=_FAR_HOPS)
            near = _claim(self._cases, self._node, claim, self._to)
            yield self._probe(claim.name, model.NEIGHBOURS, near)
            yield self._probe(f"{claim.name}, forwarded", model.SPOOFED_NEIGHBOUR, far)
        for claim in _FORGED:
            if self._cases.next_node(self._node):
                build = _claim(self._cases, self._node, claim, self._to)
                yield self._probe(claim.name, model.SPOOFED_NEIGHBOUR, build)

    def _router_messages(self) -> Iterator[Probe]:
        """Ask for routers, announce one and redirect: from the node's own address, and from the router's."""
        asks = partial(discovery.router_solicitation, self._own)
        yield self._probe("router solicitation", model.ROUTER_MESSAGE, asks)
        for source, policy_id, who in (
            (self._own, model.ROUTER_MESSAGE, ""),
            (_ROUTER, "spoofed-address", " from the router's address"),
        ):
            to_all = partial(discovery.router_advertisement, source, ALL_NODES, self._mac, _PREFIX)
            to_one = partial(discovery.router_advertisement, source, self._to, self._mac, _PREFIX)
            redirect = partial(
                discovery.redirect, source, self._to, self._cases.gateway(self._node), self._mac
            )
            yield self._probe(f"router advertisement{who}", policy_id, to_one)
            yield self._probe(f"router advertisement to all{who}", policy_id, to_all, mac=ALL_NODES_MAC)
            yield self._probe(f"redirect{who}", policy_id, redirect)

    def _groups(self) -> Iterator[Probe]:
        """Send to all nodes of the link, and report a group."""
        for name, build in (
            ("datagram", partial(udp, self._own, ALL_NODES, _PORT)),
            ("ping", partial(echo, self._own, ALL_NODES)),
        ):
            protocol = "udp" if name == "datagram" else "icmp"
            yield self._probe(
                f"{name} to all nodes", model.IPV6_MULTICAST, build, protocol=protocol, mac=ALL_NODES_MAC
            )
        for source, policy_id, who in (
            (UNSPECIFIED, model.MLD, "no address"),
            (self._own, model.ICMP_TYPE, "its own address"),
        ):
            report = partial(discovery.group_report, source)
            yield self._probe(f"multicast report from {who}", policy_id, report, mac=ALL_NODES_MAC)

    def _headers(self) -> Iterator[Probe]:
        """Put extension headers before a TCP header, which a filter may then not find."""
        segment = partial(tcp, self._own, self._to, _PORT)
        for name, headers in _HEADERS.items():
            build = partial(packets.extended, headers, segment)
            yield self._probe(f"after {name}", model.IPV6_HEADER, build, protocol="tcp")
        for name, policy_id, following in (
            ("a first fragment without the whole TCP header", model.INVALID, packets.TCP),
            ("a first fragment without a TCP header", model.IPV6_HEADER, DESTINATION),
        ):
            build = partial(packets.first_fragment, self._own, self._to, following=following)
            yield self._probe(name, policy_id, build, protocol="tcp")
        announced = partial(discovery.router_advertisement, self._own, self._to, self._mac, _PREFIX)
        build = partial(packets.extended, (DESTINATION,), announced)
        yield self._probe("router advertisement after destination options", model.IPV6_HEADER, build)
        yield self._after_fragment_header()

    def _after_fragment_header(self) -> Probe:
        """Put only a fragment header before a TCP header: the policy decides as without it."""
        flow = Flow(self._node.name, self._near, "tcp", _PORT)
        decision = self._cases.decide(*astuple(flow))
        segment = partial(packets.extended, (FRAGMENT,), partial(tcp, self._own, self._to, _PORT))
        build, to = _sent(self._cases, self._node, IPV6, segment)
        return Probe(flow, decision.verdict, decision.id, build, to, "after a fragment header")

    def _errors(self) -> Iterator[Probe]:
        """Send each ICMPv6 error about a packet that nobody sent."""
        opening = partial(udp, self._to, self._own, _PORT)
        for name, kind in _ERRORS.items():
            build = partial(packets.icmp_error, (self._own, self._to), (kind, 0), opening, 0)
            yield self._probe(f"{name}, of no connection", model.INVALID, build)

    def _other_sources(self) -> Iterator[Probe]:
        """Ping from addresses that are no node's."""
        own = self._node.address_of(4)
        mapped = _MAPPED.format(own.ip if own else _NOBODY)
        for source in (mapped, IPV6.rules.localhost, _ROUTER):
            yield self._probe(f"from {source}", "spoofed-address", partial(echo, source, self._to))


def tunnels(cases: Cases) -> Iterator[Probe]:
    """Send an IPv6 packet inside an IPv4 packet from each node with an IPv6 address: rules for IPv4 decide."""
    for node in cases.nodes if cases.family is IPV6 else ():
        name, _ = cases.link_neighbour(node)
        one = cases.topology.node(name) or cases.topology.bridge_of(node)
        own, other = node.address_of(4), one.address_of(4)
        if not own or not other:
            continue
        ends = str(own.ip), str(other.ip)
        inner = partial(udp, cases.own(node), cases.address(name, node.name), _PORT)
        build, to = _sent(cases, node, IPV4, partial(packets.inside_ipv4, *ends, inner))
        decision, flow = cases.decide(node.name, name, "other"), Flow(node.name, name, "other")
        yield Probe(flow, decision.verdict, decision.id, build, to and ends[1], "IPv6 inside IPv4")


def _sent(cases: Cases, node: Node, family: Family, packet: Build, mac: str = "") -> tuple[Build, str]:
    """Return what a node sends to its neighbour on the link, and the address; a whole frame has none.

    A packet to the host is no frame, of which the host's socket gets a copy before the rules for packets to the host.
    """
    near, near_mac = cases.link_neighbour(node)
    if near == HOST and not mac:
        return packet, cases.gateway(node)
    return partial(framed, cases.mac(node), mac or near_mac, family.ethertype, packet), ""


def _claim(cases: Cases, node: Node, claim: _Claim, to: str, hops: int = discovery.HOPS) -> Build:
    """Build a message of neighbour discovery to an address."""
    other = cases.next_node(node) or node
    target = cases.own(other if claim.others_address else node)
    if (claim.kind, claim.option) == (SOLICITATION, SOURCE_LINK_LAYER):
        target = to
    mac = cases.mac(other if claim.others_mac else node)
    link = (claim.option, mac) if claim.option else None
    return partial(discovery.neighbour, (cases.own(node), to), claim.kind, target, link, hops=hops)


def _routed_discovery(cases: Cases, node: Node) -> Iterator[Probe]:
    """Exchange neighbour discovery with the host, and send it through the host, where it is no neighbour's."""
    gateway, own = cases.gateway(node), cases.own(node)
    for claim in _TRUE:
        to_host, to_world = (_claim(cases, node, claim, to) for to in (gateway, cases.world_address))
        yield Probe(
            Flow(node.name, HOST, "icmp"),
            ACCEPT,
            model.NEIGHBOURS,
            to_host,
            gateway,
            f"{claim.name} to the host",
        )
        decision = cases.decide(node.name, WORLD, "other")
        flow = Flow(node.name, WORLD, "icmp")
        yield Probe(
            flow, decision.verdict, decision.id, to_world, cases.world_address, f"{claim.name} to the world"
        )
    for source, ends, policy_id in (
        (HOST, (gateway, own), model.NEIGHBOURS),
        (WORLD, (cases.world_address, own), model.DIRECT),
    ):
        for kind, option, target in (
            (SOLICITATION, SOURCE_LINK_LAYER, own),
            (ADVERTISEMENT, TARGET_LINK_LAYER, ends[0]),
        ):
            link = (option, mac_of(cases.topology.bridge_of(node).address.ip))
            build = partial(discovery.neighbour, ends, kind, target, link)
            verdict = ACCEPT if source == HOST else DROP
            name = "solicitation" if kind == SOLICITATION else "advertisement"
            yield Probe(
                Flow(source, node.name, "icmp"), verdict, policy_id, build, own, f"{name} from {source}"
            )
