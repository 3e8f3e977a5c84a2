"""The ordinary probes of a proof: flows that the policy names, and flows that it does not; bypasses: attacks.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from ipaddress import ip_address
from itertools import product

from lab.network.facts import mac_of
from lab.topology import Address, Bridge, Node, Publication
from security.policy.drops import LOG_BURST
from security.policy.model import (
    ACCEPT,
    BUILT_IN,
    DIRECT,
    DROP,
    HOST,
    LAST_PORT,
    WORLD,
    Decision,
    Flow,
    Line,
    Policy,
    Rate,
)
from security.proof.family import IPV4, IPV6, Family, families_of
from security.proof.packets import Build, packet
from security.proof.probe import Burst, Outside, Probe

CLOSED_PORTS = {"tcp": {22}, "udp": {9}}
FLOOD = LOG_BURST + 20  # more packets than a drop chain logs at once
BY_HOST = "by the host's port"
_SMTP = 25
_STORES = ("redis", "postgres")


def cases_of(policy: Policy, outside: Outside) -> list[Cases]:
    """Return the cases of each family that the table has."""
    return [Cases(policy, outside, family) for family in families_of(policy.topology)]


class Cases:
    """The ordinary probes of one policy in one family, between all places that have an address: nodes, host, world."""

    def __init__(self, policy: Policy, outside: Outside, family: Family = IPV4) -> None:
        self.policy = policy
        self.family = family
        self.world_address, self.host_address = outside.ends(family)
        self.is_forwarded = family is IPV4 or outside.forwards6
        self.topology = policy.topology
        self.is_first = family is families_of(policy.topology)[0]  # what has no family is tried with it, once
        self.nodes = [node for node, _ in family.rules.addresses(policy.topology.nodes)]
        self.bridges = [bridge for bridge, _ in family.rules.addresses(policy.topology.bridges)]
        self.node_names = [node.name for node in self.nodes]
        self.names = [*self.node_names, HOST, WORLD]

    def probes(self) -> list[Probe]:
        """Return the flows between all places, and the ports that the host publishes."""
        return [*self._matrix(), *self._published_ports()]

    # --- places ---

    def interface(self, one: Node | Bridge) -> Address:
        """Return the address of a node or a bridge with its network. Raise StopIteration if it has none."""
        return next(address for address in one.addresses if address.version == self.family.version)

    def own(self, one: Node | Bridge) -> str:
        """Return the address of a node or a bridge. Raise StopIteration if it has none."""
        return str(self.interface(one).ip)

    def passes_lab(self, source: str, destination: str) -> bool:
        """Decide whether packets leave the source's namespace, and come from or go to a node."""
        one, other = self.topology.node(source), self.topology.node(destination)
        if one and other:
            return one.namespace != other.namespace and self.is_reachable(source, destination)
        return bool(one or other) and self.is_reachable(source, destination)

    def is_reachable(self, source: str, destination: str) -> bool:
        """Decide whether packets need no forwarding, or the host forwards them."""
        nodes = [node for name in (source, destination) if (node := self.topology.node(name))]
        is_one_link = WORLD not in (source, destination) and len({node.bridge for node in nodes}) < 2  # noqa: PLR2004
        return self.is_forwarded or is_one_link

    def address(self, name: str, peer: str) -> str:
        """Return the address of a node, the world, or the host as its peer sees it."""
        if node := self.topology.node(name):
            return self.own(node)
        if name == WORLD:
            return self.world_address
        return self.gateway(self.topology.node(peer) or self.nodes[0])

    def addresses(self, source: str, destination: str) -> tuple[str, str]:
        """Return the addresses of both ends."""
        return self.address(source, destination), self.address(destination, source)

    def gateway(self, node: Node) -> str:
        """Return the host's address on the node's bridge."""
        return self.own(self.topology.bridge_of(node))

    def mac(self, node: Node) -> str:
        """Return the MAC of a node's veth pair."""
        return mac_of(self.topology.node_of_wire(node).address.ip)

    def other_node(self, node: Node) -> Node | None:
        """Find a node in another namespace, on the same bridge if possible."""
        others = [other for other in self.nodes if other.namespace != node.namespace]
        near = [other for other in others if other.bridge == node.bridge]
        return next(iter(near or others), None)

    def next_node(self, node: Node) -> Node | None:
        """Find the next node of the same bridge in another namespace, in a ring; None if there is none."""
        on_bridge = [other for other in self.nodes if other.bridge == node.bridge]
        at = on_bridge.index(node)
        others = (*on_bridge[at + 1 :], *on_bridge[:at])
        return next((other for other in others if other.namespace != node.namespace), None)

    def link_neighbour(self, node: Node) -> tuple[str, str]:
        """Return name and MAC of a place that a frame of the node can reach: a node on its bridge, else the host."""
        other = self.other_node(node)
        if other and other.bridge == node.bridge:
            return other.name, self.mac(other)
        return HOST, mac_of(self.topology.bridge_of(node).address.ip)

    def free_address(self, bridge: Bridge) -> str:
        """Return the last unused address of a bridge's network; empty if the network is full."""
        taken = {self.own(bridge), *map(self.own, self.nodes)}
        network = self.interface(bridge).network
        free = (str(network[number]) for number in range(-2, -network.num_addresses, -1))
        return next((address for address in free if address not in taken), "")

    # --- the matrix ---

    def decide(self, source: str, destination: str, protocol: str, port: int = 0) -> Decision:
        """Return the policy's decision; packets from the world straight to a node are always dropped."""
        if source == WORLD:
            return Decision(DROP, DIRECT, BUILT_IN[DIRECT])
        return self.policy.decide(source, destination, protocol, port)

    def ports(self, protocol: str, destination: str) -> list[int]:
        """Return the ports to try: any that a node listens on or the policy names, their neighbours, a closed one."""
        ports = set(CLOSED_PORTS[protocol])
        ports |= {
            listener.port for node in self.nodes for listener in node.listens if listener.protocol == protocol
        }
        if destination == WORLD and protocol == "tcp":
            ports.add(_SMTP)
        for line in self.policy.lines:
            if destination in line.destinations and protocol in line.protocols:
                for first, last in line.ports:
                    ports |= {first - 1, first, last, last + 1}
        return sorted(ports - {0, LAST_PORT + 1})

    def flow_probe(self, source: str, destination: str, protocol: str, port: int = 0) -> Probe:
        """Return the probe for one cell of the matrix."""
        flow = Flow(source, destination, protocol, port)
        own, to = self.addresses(source, destination)
        seen_as = self.host_address if destination == WORLD else own
        return self.probe_for(self.decide(*astuple(flow)), flow, packet(protocol, own, to, port), to, seen_as)

    def probe_for(self, decision: Decision, flow: Flow, build: Build, to: str, seen_as: str) -> Probe:
        """Return a probe that expects a decision of the policy."""
        refill = decision.rate.refill_seconds if decision.rate else 0
        probe = Probe(flow, decision.verdict, decision.id, build, to, refill_seconds=refill, seen_as=seen_as)
        return replace(probe, family=self.family)

    def _pairs(self, sources: Iterable[str], destinations: Iterable[str]) -> Iterator[tuple[str, str]]:
        return (pair for pair in product(sources, destinations) if self.passes_lab(*pair))

    def _matrix(self) -> Iterator[Probe]:
        for source, destination in self._pairs(self.names, self.names):
            for protocol in ("tcp", "udp"):
                for port in self.ports(protocol, destination):
                    yield self.flow_probe(source, destination, protocol, port)
            yield self.flow_probe(source, destination, "icmp")
            yield self.flow_probe(source, destination, "other")

    def _published_ports(self) -> Iterator[Probe]:
        """Try each published port by the host's address: from outside, from nodes, from the host itself."""
        for node in self.nodes if self.is_forwarded else ():
            for publication in node.publishes:
                for source in (HOST, WORLD, *self.node_names):
                    yield self._published_port(source, node, publication)

    def _published_port(self, source: str, node: Node, published: Publication) -> Probe:
        # The host itself uses localhost. In IPv6 it cannot: br_netfilter translates the reply to ::1 while it still is
        # on the wire, where the kernel accepts no ::1 (ip6_rcv_core; RFC 4291, section 2.5.3).
        own_address = self.host_address if self.family is IPV6 else self.family.rules.localhost
        to = own_address if source == HOST else self.host_address
        own = own_address if source == HOST else self.address(source, node.name)
        decision = self.policy.decide(source, node.name, published.protocol, published.port)
        flow = Flow(source, node.name, published.protocol, published.host_port)
        build = packet(published.protocol, own, to, published.host_port)
        bridge = self.interface(self.topology.bridge_of(node))
        # Packets from the node's own network are masqueraded, so that the reply returns through the host.
        hairpin = own == self.family.rules.localhost or ip_address(own) in bridge.network
        seen_as = str(bridge.ip) if hairpin else own
        return replace(self.probe_for(decision, flow, build, to, seen_as), attack=BY_HOST)

    # --- rates and limits ---

    def rate_bursts(self) -> list[Burst]:
        """Return the bursts for each rate: it must limit all sources except those that an earlier line allows."""
        lines = ((line, line.rate) for line in self.policy.lines)
        return [burst for line, rate in lines if rate for burst in self._bursts_of(line, rate)]

    def _bursts_of(self, line: Line, rate: Rate) -> Iterator[Burst]:
        """Return a burst from one limited source, and a burst from each source that an earlier line allows."""
        limited = False
        sources, destinations = (
            [name for name in self.node_names if name in names] for names in (line.sources, line.destinations)
        )
        for source, destination in self._pairs(sources, destinations):
            port = line.ports[0][0] if line.ports else min(CLOSED_PORTS["tcp"])
            probe = self.flow_probe(source, destination, line.protocols[0], port)
            exempt = probe.expected == ACCEPT and probe.expected_id != line.id
            if exempt or (probe.expected_id == line.id and not limited):
                limited = limited or not exempt
                yield Burst(probe, rate.burst + FLOOD, None if exempt else rate.burst, line.id)

    def limit_bursts(self) -> list[Burst]:
        """Return a burst for each limit: one node opens more connections than it may have."""
        probes = ((limit, next(self._limited_probes(limit), None)) for limit in self.policy.limits)
        return [
            Burst(probe, limit.max_connections + FLOOD, limit.max_connections, limit.id)
            for limit, probe in probes
            if probe
        ]

    def _limited_probes(self, limit: Line) -> Iterator[Probe]:
        """Return allowed flows of limited nodes: those to the world, by UDP, and from stores first."""
        idle_first = sorted(self.nodes, key=lambda node: node.runs not in (None, *_STORES))
        sources = [node.name for node in idle_first if node.name in limit.sources]
        for destination in (WORLD, HOST, *self.node_names):
            flows = [*(("udp", port) for port in self.ports("udp", destination)), ("icmp", 0)]
            for source, _ in self._pairs(sources, [destination]):
                for protocol, port in flows:
                    decision = self.decide(source, destination, protocol, port)
                    if decision.verdict == ACCEPT and not decision.rate:
                        yield self.flow_probe(source, destination, protocol, port)
