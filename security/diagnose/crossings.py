"""The packets that the lab must carry, at each hook where the kernel shows them to rules. Pure.

A crossing is one packet at one hook: the first of a connection that the policy allows, or its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lab.topology import Node, Topology
from security.policy.model import ACCEPT, HOST, WORLD, Flow, Policy

NEW, ANSWER = frozenset({"NEW"}), frozenset({"ESTABLISHED"})
_LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """A packet at a hook. An address is empty if it may be any outside the lab; `port` is the listener's."""

    flow: Flow
    protocol: str
    source: str
    destination: str
    port: int = 0
    answer: bool = False
    states: frozenset[str] = NEW
    hook: str = ""
    into: tuple[str, ...] = ()  # the bridge and its port, or the interface of a namespace
    out: tuple[str, ...] = ()
    translated: bool | None = None  # before DNAT or after it; None: no rule translates its destination

    @property
    def answered(self) -> Crossing:
        """The answer on the same way back; a caller sets its addresses if they were translated."""
        back = replace(self, source=self.destination, destination=self.source, into=self.out, out=self.into)
        return replace(back, answer=True, states=ANSWER | (self.states - NEW))


@dataclass(frozen=True)
class Uplinks:
    """The interfaces of the host's default routes, and the host's address there."""

    interfaces: tuple[str, ...]
    address: str


def allowed_flows(topology: Topology, policy: Policy | None) -> Iterator[Flow]:
    """Yield the flows from one place to another that the policy allows; without a policy, those to all listeners."""

    def is_allowed(flow: Flow) -> bool:
        return policy is None or policy.decide(*flow.ends, flow.protocol, flow.port).verdict == ACCEPT

    for node in topology.nodes:
        others = [other.name for other in topology.nodes if other.namespace != node.namespace]
        for source in (*others, HOST):
            flows = [Flow(source, node.name, one.protocol, one.port) for one in node.listens]
            yield from filter(is_allowed, [*flows, Flow(source, node.name, "icmp")])
        yield from filter(is_allowed, [Flow(node.name, HOST, "icmp")])
        to_world = [
            Flow(node.name, WORLD, protocol, first)
            for line in (policy.lines if policy else ())
            if WORLD in line.destinations
            for protocol in line.protocols
            for first, _ in line.ports
        ]
        yield from filter(is_allowed, dict.fromkeys(to_world))


def crossings_of_host(topology: Topology, policy: Policy | None, uplinks: Uplinks) -> list[Crossing]:
    """Return the packets at the hooks of the host."""
    found: list[Crossing] = []
    for flow in allowed_flows(topology, policy):
        both = _both_ways(_packet(topology, flow, uplinks))
        found += [_masqueraded(one, uplinks) for one in both] if flow.destination == WORLD else both
    for node in topology.nodes:
        found += _published(topology, policy, node, uplinks)
    return found


def _packet(topology: Topology, flow: Flow, uplinks: Uplinks) -> Crossing:
    """Return the first packet of a flow, at no hook yet."""
    one, other = topology.node(flow.source), topology.node(flow.destination)
    gateway = topology.bridge_of(one or other or topology.nodes[0]).address.ip
    ends = [
        str(node.address.ip) if node else str(gateway) if name == HOST else ""
        for name, node in zip(flow.ends, (one, other), strict=True)
    ]
    into, out = (_interfaces(node, name, uplinks) for name, node in zip(flow.ends, (one, other), strict=True))
    return Crossing(
        flow=flow,
        protocol=flow.protocol,
        source=ends[0],
        destination=ends[1],
        port=flow.port,
        into=into,
        out=out,
    )


def _interfaces(node: Node | None, name: str, uplinks: Uplinks) -> tuple[str, ...]:
    if node:
        return node.bridge, node.bridge_interface
    return uplinks.interfaces if name == WORLD else ()


def _both_ways(packet: Crossing) -> list[Crossing]:
    return [*_at_hooks(packet), *_at_hooks(packet.answered)]


def _masqueraded(packet: Crossing, uplinks: Uplinks) -> Crossing:
    """Give a packet from or to the outside the host's address, where it has it: last going out, first coming in."""
    if packet.answer and packet.hook in ("INGRESS", "PREROUTING"):
        return replace(packet, destination=uplinks.address)
    return replace(packet, source=uplinks.address) if packet.hook == "EGRESS" else packet


def _at_hooks(packet: Crossing) -> list[Crossing]:
    """Return the packet at each hook of the host: a packet from or to the host itself has no interface there."""
    if not packet.into:
        hooks: tuple[str, ...] = ("OUTPUT", "POSTROUTING", "EGRESS")
    elif not packet.out:
        hooks = ("INGRESS", "PREROUTING", "INPUT")
    else:
        hooks = ("INGRESS", "PREROUTING", "FORWARD", "POSTROUTING", "EGRESS")
    return [replace(packet, hook=hook) for hook in hooks]


def _published(topology: Topology, policy: Policy | None, node: Node, uplinks: Uplinks) -> Iterator[Crossing]:
    """Yield the packets to the published ports of a node, before and after the translation of their destination."""
    for publication in node.publishes:
        sources = [HOST, WORLD, *(other.name for other in topology.nodes if other is not node)]
        for source in sources:
            if policy and not policy.allows(source, node.name, publication.protocol, publication.port):
                continue
            flow = Flow(source, HOST, publication.protocol, publication.host_port)
            asked = _packet(topology, replace(flow, destination=node.name), uplinks)
            own = _LOCALHOST if source == HOST else asked.source
            to = _LOCALHOST if source == HOST else uplinks.address
            before = replace(
                asked, flow=flow, source=own, destination=to, port=publication.host_port, translated=False
            )
            after = replace(
                asked,
                flow=flow,
                port=publication.port,
                states=frozenset({"NEW", "DNAT"}),
                translated=True,
            )
            first = ("OUTPUT",) if source == HOST else ("INGRESS", "PREROUTING")
            yield from (replace(before, hook=hook, out=()) for hook in first)
            later = _at_hooks(after)
            yield from (one for one in later if one.hook not in ("INGRESS", "PREROUTING"))
            yield from (replace(one, translated=None) for one in _at_hooks(after.answered))


def crossings_of_namespace(topology: Topology, policy: Policy | None, namespace: str) -> list[Crossing]:
    """Return the packets at the hooks inside a namespace."""
    interface = next((node.interface for node in topology.nodes if node.namespace == namespace), "")
    inside = {node.name for node in topology.nodes if node.namespace == namespace}
    found: list[Crossing] = []
    for flow in allowed_flows(topology, policy):
        packet = _packet(topology, flow, Uplinks((), ""))
        if flow.source in inside:
            found += _leaving(packet, interface) + _entering(packet.answered, interface)
        if flow.destination in inside:
            found += _entering(packet, interface) + _leaving(packet.answered, interface)
    found += _in_loopback(topology, namespace)
    return found


def _leaving(packet: Crossing, interface: str) -> list[Crossing]:
    hooks: Sequence[str] = ("OUTPUT", "POSTROUTING", "EGRESS")
    return [replace(packet, hook=hook, into=(), out=(interface,)) for hook in hooks]


def _entering(packet: Crossing, interface: str) -> list[Crossing]:
    hooks: Sequence[str] = ("INGRESS", "PREROUTING", "INPUT")
    return [replace(packet, hook=hook, into=(interface,), out=()) for hook in hooks]


def _in_loopback(topology: Topology, namespace: str) -> Iterator[Crossing]:
    """Yield the packets between nodes that share a namespace."""
    nodes = [node for node in topology.nodes if node.namespace == namespace]
    for node in nodes:
        for other in nodes:
            for listener in other.listens if other is not node else ():
                flow = Flow(node.name, other.name, listener.protocol, listener.port)
                packet = _packet(topology, flow, Uplinks((), ""))
                for one in (packet, packet.answered):
                    yield from _leaving(one, "lo") + _entering(one, "lo")
