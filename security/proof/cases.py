"""The plan of a proof: every flow that a policy speaks of, and every one that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from lab.topology import Node, Publication
from security.policy.compiler import LOG_BURST
from security.policy.model import ACCEPT, DIRECT, DROP, HOST, WORLD, Decision, Limit, Line, Policy, Rate
from security.proof import probe as probes
from security.proof.probe import Build, Burst, Flow, Outside, Probe

CLOSED = {"tcp": {22}, "udp": {9}}
MAIL = 25
FLOOD = LOG_BURST + 20  # more than a drop chain logs at once
BY_HOST = "by the host's port"
LOCALHOST = "127.0.0.1"
LAST_PORT = 65535


class Plan:
    """All ordinary probes of one policy; attacks.py has the others."""

    def __init__(self, policy: Policy, outside: Outside) -> None:
        self.policy = policy
        self.topology = policy.topology
        self.outside = outside
        self.nodes = policy.topology.nodes

    def probes(self) -> list[Probe]:
        """Give the whole matrix, and the ports that the host publishes."""
        return [*self.matrix(), *self.published()]

    def matrix(self) -> Iterator[Probe]:
        """Every source, destination, protocol and port."""
        for source in (*(node.name for node in self.nodes), HOST, WORLD):
            for destination in (*(node.name for node in self.nodes), HOST, WORLD):
                if self.passes_the_lab(source, destination):
                    yield from self.flows(source, destination)

    def passes_the_lab(self, source: str, destination: str) -> bool:
        """Tell whether what is sent leaves the sender's namespace, and is the lab's concern."""
        one, other = self.topology.node(source), self.topology.node(destination)
        if one and other:
            return one.namespace != other.namespace
        return bool(one or other)

    def flows(self, source: str, destination: str) -> Iterator[Probe]:
        """Try every port that anybody listens on or the policy names, its neighbours, and a closed one."""
        for protocol in ("tcp", "udp"):
            for port in self.ports(protocol, destination):
                yield self.flow(source, destination, protocol, port)
        yield self.flow(source, destination, "icmp")
        yield self.flow(source, destination, "other")

    def ports(self, protocol: str, destination: str) -> list[int]:
        """Give the ports worth trying at a destination."""
        found = set(CLOSED[protocol])
        found |= {
            listener.port for node in self.nodes for listener in node.listens if listener.protocol == protocol
        }
        if destination == WORLD and protocol == "tcp":
            found.add(MAIL)
        for line in self.policy.lines:
            if destination in line.destinations and protocol in line.protocols:
                for first, last in line.ports:
                    found |= {first - 1, first, last, last + 1}
        return sorted(found - {0, LAST_PORT + 1})

    def flow(self, source: str, destination: str, protocol: str, port: int = 0) -> Probe:
        """Make the probe of one cell of the matrix."""
        flow = Flow(source, destination, protocol, port)
        name, to = self.address(source, destination), self.address(destination, source)
        probe = self.expecting(self.decide(*flow), flow, probes.packet(protocol, name, to, port), to)
        return replace(probe, seen_as=self.outside.host_address if destination == WORLD else name)

    def decide(self, source: str, destination: str, protocol: str, port: int = 0) -> Decision:
        """Ask the policy; straight from the world nothing is allowed, whatever the policy says."""
        if source == WORLD:
            return Decision(DROP, DIRECT, self.policy.reason_of(DIRECT))
        return self.policy.decide(source, destination, protocol, port)

    def expecting(self, decision: Decision, flow: Flow, build: Build, to: str) -> Probe:
        """Make a probe of what the policy says."""
        refill = decision.line.rate.refill_seconds if decision.line and decision.line.rate else 0
        return Probe(flow, decision.verdict, decision.id, build, to, refill_seconds=refill)

    def address(self, name: str, peer: str) -> str:
        """Address of a node, the world, or the host as its peer sees it."""
        node = self.topology.node(name)
        if node:
            return str(node.address.ip)
        if name == WORLD:
            return self.outside.address
        bridge = self.topology.node(peer)
        return str(self.topology.bridge_of(bridge or self.nodes[0]).address.ip)

    def published(self) -> Iterator[Probe]:
        """Each published port by the host's address: from outside, from nodes, from the host itself."""
        for node in self.nodes:
            for publication in node.publishes:
                for source in (HOST, WORLD, *(other.name for other in self.nodes)):
                    yield self.by_host(source, node, publication)

    def by_host(self, source: str, node: Node, published: Publication) -> Probe:
        """Make the probe of a published port."""
        to = LOCALHOST if source == HOST else self.outside.host_address
        sender = LOCALHOST if source == HOST else self.address(source, node.name)
        decision = self.policy.decide(source, node.name, published.protocol, published.port)
        flow = Flow(source, node.name, published.protocol, published.host_port)
        build = probes.packet(published.protocol, sender, to, published.host_port)
        bridge = self.topology.bridge_of(node)
        # What comes from the node's own network is masqueraded, so that the answer comes back by the host.
        hairpin = source == HOST or IPv4Address(sender) in bridge.address.network
        seen_as = str(bridge.address.ip) if hairpin else sender
        return replace(self.expecting(decision, flow, build, to), attack=BY_HOST, seen_as=seen_as)

    # --- rates ---

    def bursts(self) -> list[Burst]:
        """Give the proof of each rate: it limits, and not those whom an earlier line excepts."""
        lines = ((line, line.rate) for line in self.policy.lines)
        return [burst for line, rate in lines if rate for burst in self.bursts_of(line, rate)]

    def bursts_of(self, line: Line, rate: Rate) -> Iterator[Burst]:
        """Give the bursts for one line: one source that it limits, all that an earlier line excepts."""
        limited = False
        for source, destination in self.pairs(line):
            port = line.ports[0][0] if line.ports else min(CLOSED["tcp"])
            probe = self.flow(source, destination, line.protocols[0], port)
            excepted = probe.expected == ACCEPT and probe.expected_id != line.id
            if excepted or (probe.expected_id == line.id and not limited):
                limited = limited or not excepted
                yield Burst(probe, rate.burst + FLOOD, None if excepted else rate.burst, line.id)

    # --- limits ---

    def crowds(self) -> list[Burst]:
        """Give the proof of each limit: one node opens more connections than it may have."""
        found = []
        for limit in self.policy.limits:
            probe = next(self.openings(limit), None)
            if probe:
                found.append(Burst(probe, limit.most + FLOOD, limit.most, limit.id))
        return found

    def openings(self, limit: Limit) -> Iterator[Probe]:
        """Give flows of limited nodes that are allowed: datagrams to the world first, which bother nobody."""
        names = [node.name for node in self.nodes]
        idle_first = sorted(self.nodes, key=lambda node: node.runs not in (None, "redis", "postgres"))
        for destination in (WORLD, HOST, *names):
            for source in (node.name for node in idle_first if node.name in limit.sources):
                if self.passes_the_lab(source, destination):
                    udp = [("udp", port) for port in self.ports("udp", destination)]
                    for protocol, port in (*udp, ("icmp", 0)):
                        decision = self.decide(source, destination, protocol, port)
                        if decision.verdict == ACCEPT and not (decision.line and decision.line.rate):
                            yield self.flow(source, destination, protocol, port)

    def pairs(self, line: Line) -> Iterator[tuple[str, str]]:
        """Give the pairs of nodes that a line speaks of."""
        names = [node.name for node in self.nodes]
        for source in names:
            for destination in names:
                spoken_of = source in line.sources and destination in line.destinations
                if spoken_of and self.passes_the_lab(source, destination):
                    yield source, destination
