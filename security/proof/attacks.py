"""Every way past a policy that is known, each as a probe with what must become of it; and honest twins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import islice

from lab.topology import Bridge, Listener, Node
from security.policy.compiler import mac_of, wires
from security.policy.model import (
    ACCEPT,
    DEFAULT,
    DROP,
    HOST,
    ICMP_SIZE,
    INVALID,
    PING_BYTES,
    WORLD,
)
from security.proof import packets
from security.proof import probe as probes
from security.proof.cases import CLOSED, LAST_PORT, Plan
from security.proof.probe import FORWARDING, LINK_LOCAL, Build, Flow, Probe, Step

DNS, HTTP = 53, 80
SHOUTS = (DNS, *CLOSED["udp"], LAST_PORT)
INVENTED = "192.0.2.1"  # TEST-NET-1, RFC 5737: nobody's
_PING_PAYLOAD = PING_BYTES - 28  # without the headers of IPv4 and ICMP


class Attacks:
    """All attacks on the lab of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.policy = plan.policy
        self.topology = plan.topology
        self.outside = plan.outside
        self.nodes = plan.nodes

    def probes(self) -> list[Probe]:
        """Give all of them."""
        return [*self.sizes_and_states(), *self.within_connections(), *self.disguises(), *self.wire_attacks()]

    def peer(self, node: Node) -> Node | None:
        """Find somebody else that is not in the same namespace, on the same bridge if possible."""
        others = [other for other in self.nodes if other.namespace != node.namespace]
        near = [other for other in others if other.bridge == node.bridge]
        return next(iter(near or others), None)

    def special(self, attack: str, flow: Flow, build: Build, expected: tuple[str, str]) -> Probe:
        """Make a probe whose outcome no line of the table decides."""
        return Probe(flow, *expected, build, self.plan.address(flow.destination, flow.source), attack)

    def sizes_and_states(self) -> Iterator[Probe]:
        """Pings at and over their size, and answers that nobody asked for; on each of the four ways."""
        for source, destination in (*self.ways(), *((WORLD, node.name) for node in self.nodes)):
            allowed = self.plan.decide(source, destination, "icmp")
            for attack, kind, size, expected in (
                ("largest ping", packets.ECHO_REQUEST, _PING_PAYLOAD, (allowed.verdict, allowed.id)),
                ("too large a ping", packets.ECHO_REQUEST, _PING_PAYLOAD + 1, (DROP, ICMP_SIZE)),
                ("too large an answer", packets.ECHO_REPLY, _PING_PAYLOAD + 1, (DROP, ICMP_SIZE)),
                ("an answer to nothing", packets.ECHO_REPLY, 0, (DROP, INVALID)),
                ("a question for the time", packets.TIMESTAMP, 0, self.other(source, destination)),
            ):
                if source == WORLD and size > _PING_PAYLOAD and not self.policy.some_node_may(WORLD, "icmp"):
                    continue  # nobody pings the world, so that none of both can be
                build = probes.echo(
                    self.plan.address(source, destination), self.plan.address(destination, source), kind, size
                )
                yield self.special(attack, Flow(source, destination, "icmp"), build, expected)
            if source != HOST:  # who damages a packet itself knows of it
                build = probes.damaged(
                    self.plan.address(source, destination), self.plan.address(destination, source)
                )
                yield self.special(
                    "a damaged ping", Flow(source, destination, "icmp"), build, (DROP, INVALID)
                )

    def other(self, source: str, destination: str) -> tuple[str, str]:
        """Judge what has no name in a policy."""
        decision = self.plan.decide(source, destination, "other")
        return decision.verdict, decision.id

    def within_connections(self) -> Iterator[Probe]:
        """Hide what is too large in an allowed ping; send what is large and no ping, which must arrive."""
        for source, destination in self.ways():
            if self.policy.decide(source, destination, "icmp").verdict == ACCEPT:
                yield from self.within_a_ping(source, destination)
        names = (*(node.name for node in self.nodes), HOST, WORLD)
        for source in names[:-1]:
            for kind in ((node.name for node in self.nodes), (HOST,), (WORLD,)):
                yield from self.large_ones(source, kind)

    def ways(self) -> Iterator[tuple[str, str]]:
        """Give each node with somebody else and with the host, in both directions."""
        for node in self.nodes:
            peer = self.peer(node)
            if peer:
                yield node.name, peer.name
                yield self.friend(node, peer).name, node.name
            yield node.name, HOST
            yield HOST, node.name

    def friend(self, node: Node, otherwise: Node) -> Node:
        """Find somebody who may ping a node."""
        others = (other for other in self.nodes if other.namespace != node.namespace)
        may = (
            other for other in others if self.policy.decide(other.name, node.name, "icmp").verdict == ACCEPT
        )
        return next(may, otherwise)

    def large_ones(self, source: str, destinations: Iterable[str]) -> Iterator[Probe]:
        """Give the large probes to the first destination that takes datagrams."""
        for destination in destinations:
            port = next(self.open_udp_ports(source, destination), 0)
            if port and self.plan.passes_the_lab(source, destination):
                yield from self.large(source, destination, port)
                return

    def within_a_ping(self, source: str, destination: str) -> Iterator[Probe]:
        """Send a large request, and a large answer, after a ping that was allowed."""
        name, to = self.plan.address(source, destination), self.plan.address(destination, source)
        ping = Step(source, to, probes.unmarked("icmp", name, to))
        size = _PING_PAYLOAD + 1
        for attack, sender, receiver, build in (
            (
                "a large ping after a small one",
                source,
                destination,
                probes.echo(name, to, packets.ECHO_REQUEST, size),
            ),
            (
                "a large answer to a ping",
                destination,
                source,
                probes.echo(to, name, packets.ECHO_REPLY, size),
            ),
        ):
            yield replace(
                self.special(attack, Flow(sender, receiver, "icmp"), build, (DROP, ICMP_SIZE)), first=ping
            )

    def open_udp_ports(self, source: str, destination: str) -> Iterator[int]:
        """Give the ports that a datagram may be sent to."""
        for port in self.plan.ports("udp", destination):
            if self.policy.decide(source, destination, "udp", port).verdict == ACCEPT:
                yield port

    def large(self, source: str, destination: str, port: int) -> Iterator[Probe]:
        """Send a large datagram, a large answer to it, and large errors: no pings, and no tunnels."""
        name, to = self.plan.address(source, destination), self.plan.address(destination, source)
        seen = self.outside.host_address if destination == WORLD else name  # masqueraded
        first = Step(source, to, probes.unmarked("udp", name, to, port))
        there, back = Flow(source, destination, "udp", port), Flow(destination, source, "udp")
        decision = self.policy.decide(*there)
        yield Probe(there, ACCEPT, decision.id, probes.large_datagram(name, to, port), to, "a large datagram")
        answer = probes.large_answer(to, seen, port)
        yield Probe(back, ACCEPT, "answers", answer, seen, "a large answer", first=first)
        yield self.large_error(first, destination, to, Flow(source, destination, "udp", port), seen)
        if destination == WORLD:
            yield self.large_error(first, HOST, to, there, name)

    def large_error(self, first: Step, sender: str, to: str, opened: Flow, receiver: str) -> Probe:
        """Let somebody on the way answer a datagram by an error that quotes much of it."""
        opening = probes.unmarked("udp", receiver, to, opened.port)
        own = self.plan.address(sender, opened.source)
        error = probes.refusal(opening, own, receiver, _PING_PAYLOAD + 1)
        flow = Flow(sender, opened.source, "icmp")
        return Probe(flow, ACCEPT, "answers", error, receiver, "a large error", first=first)

    def disguises(self) -> Iterator[Probe]:
        """Say in fragments, or from a port that is often let through, what may not be said plainly."""
        for node in self.nodes:
            for target in self.nodes:
                if target.namespace != node.namespace:
                    for listener in target.listens:
                        yield from self.disguised(node, target, listener)

    def disguised(self, node: Node, target: Node, listener: Listener) -> Iterator[Probe]:
        """Make the probes of one flow in disguise; what the policy says stays true."""
        flow = Flow(node.name, target.name, listener.protocol, listener.port)
        decision = self.policy.decide(*flow)
        if listener.protocol != "tcp" or (decision.line and decision.line.rate):
            return
        source, to = str(node.address.ip), str(target.address.ip)
        for attack, build in (
            ("in fragments", probes.in_fragments(source, to, listener.port)),
            ("from port 53", probes.from_port(source, to, listener.port, DNS)),
        ):
            yield replace(self.plan.expecting(decision, flow, build, to), attack=attack, seen_as=source)

    def wire_attacks(self) -> Iterator[Probe]:
        """Lies about who one is, and other languages than IPv4."""
        for node in self.nodes:
            victim = self.peer(node)
            if victim:
                yield from self.lies(node, victim)
            yield from self.languages(node)
            yield from self.to_nobody(node)
            yield self.stolen_outside(node)
            yield self.past_the_rules(node)
        for nodes in wires(self.topology).values():
            if self.nobody(self.topology.bridge_of(nodes[0])):
                yield self.invented_address(nodes[0])
        for bridge in self.topology.bridges:
            yield self.itself(bridge)

    def mac(self, node: Node) -> str:
        """MAC of the wire that a node is on."""
        return mac_of(wires(self.topology)[node.bridge_interface][0])

    def to_nobody(self, node: Node) -> Iterator[Probe]:
        """Send to addresses of other bridges that no node has: nothing of the world is there."""
        for bridge in self.topology.bridges:
            nobody = self.nobody(bridge)
            if nobody and bridge.name != node.bridge:
                build = probes.packet("tcp", str(node.address.ip), nobody, HTTP)
                flow = Flow(node.name, WORLD, "tcp", HTTP)
                yield Probe(flow, DROP, DEFAULT, build, nobody, f"to nobody on {bridge.name}")

    def nobody(self, bridge: Bridge) -> str:
        """Find the last address of a bridge's network that nobody has; none in a full network."""
        taken = {node.address.ip for node in self.nodes} | {bridge.address.ip}
        network = bridge.address.network
        last = int(network.broadcast_address) - 1
        for number in range(last, int(network.network_address), -1):
            if IPv4Address(number) not in taken:
                return str(IPv4Address(number))
        return ""

    def invented_address(self, node: Node) -> Probe:
        """Use an address of the own bridge that nobody has: only the rules of the wire tell it from a node's."""
        bridge = self.topology.bridge_of(node)
        build = probes.echo(self.nobody(bridge), str(bridge.address.ip), packets.ECHO_REQUEST, 0)
        flow = Flow(node.name, HOST, "icmp")
        return self.special("invented address", flow, build, (DROP, "spoofed-address"))

    def lies(self, node: Node, victim: Node) -> Iterator[Probe]:
        """Give what a node says in another's name."""
        near, to = self.near(node)
        own, stolen = self.mac(node), self.mac(victim)
        address, other = str(node.address.ip), str(victim.address.ip)
        request = probes.echo(other, str(self.topology.bridge_of(node).address.ip), packets.ECHO_REQUEST, 0)
        yield self.special(
            "stolen address", Flow(node.name, HOST, "icmp"), request, (DROP, "spoofed-address")
        )
        echo = probes.echo(address, self.plan.address(near, node.name), packets.ECHO_REQUEST, 0)
        for attack, expected, build in (
            ("stolen MAC", (DROP, "spoofed-mac"), probes.framed(stolen, to, packets.IPV4, echo)),
            ("stolen address in ARP", (DROP, "spoofed-arp"), probes.arp(own, own, other, to)),
            ("stolen MAC in ARP", (DROP, "spoofed-arp"), probes.arp(own, stolen, address, to)),
        ):
            protocol = "arp" if "ARP" in attack else "icmp"
            yield Probe(Flow(node.name, near, protocol), *expected, build, "", attack)

    def languages(self, node: Node) -> Iterator[Probe]:
        """Give what the rules for IPv4 would not see, and the one thing that is needed: honest ARP."""
        near, to = self.near(node)
        own, address = self.mac(node), str(node.address.ip)
        echo = probes.echo(address, self.plan.address(near, node.name), packets.ECHO_REQUEST, 0)
        for attack, protocol, expected, build in (
            ("honest ARP", "arp", (ACCEPT, "answers"), probes.arp(own, own, address, to)),
            ("IPv6, link-local", "ipv6", (DROP, "ipv6"), probes.framed(own, to, packets.IPV6, probes.ipv6)),
            (
                "in a VLAN",
                "vlan",
                (DROP, "ethertype"),
                probes.framed(own, to, packets.VLAN, probes.in_vlan(echo)),
            ),
            (
                "another EtherType",
                "ethernet",
                (DROP, "ethertype"),
                probes.framed(own, to, packets.EXPERIMENTAL, probes.bare),
            ),
        ):
            yield Probe(Flow(node.name, near, protocol), *expected, build, "", attack)
        yield from self.shout(node, near)

    def shout(self, node: Node, near: str) -> Iterator[Probe]:
        """Send a datagram to everybody, to a port that the host, who is one of them, does not take it on."""
        closed = (port for port in SHOUTS if self.policy.decide(node.name, HOST, "udp", port).verdict == DROP)
        for port in islice(closed, 1):
            broadcast = str(self.topology.bridge_of(node).address.network.broadcast_address)
            datagram = probes.packet("udp", str(node.address.ip), broadcast, port)
            build = probes.framed(self.mac(node), packets.BROADCAST, packets.IPV4, datagram)
            # The host hears it before its rules do: any other place tells.
            flow = Flow(node.name, WORLD if near == HOST else near, "udp")
            yield Probe(flow, DROP, DEFAULT, build, "", "to everybody")

    def past_the_rules(self, node: Node) -> Probe:
        """Send the host a datagram in a link-local frame, which enters it by the port and not by the bridge."""
        gateway = str(self.topology.bridge_of(node).address.ip)
        datagram = probes.packet("udp", INVENTED, gateway, DNS)
        build = probes.framed(self.mac(node), packets.LINK_LOCAL[-1], packets.IPV4, datagram)
        flow = Flow(node.name, HOST, "udp", DNS)
        return Probe(flow, DROP, LINK_LOCAL, build, "", "in a link-local frame", unlogged=True)

    def claims(self) -> list[Probe]:
        """Let each node claim its neighbour's MAC, then send that neighbour a frame.

        The frame is the host's, by the bridge alone: no rule and no answer of the neighbour sets anything right.
        """
        found = []
        for bridge in self.topology.bridges:
            nodes = [wire[0] for wire in wires(self.topology).values() if wire[0].bridge == bridge.name]
            for thief, victim in zip(nodes, (*nodes[1:], *nodes[:1]), strict=True):
                if thief is not victim:
                    found.append(self.claim(bridge, thief, victim))
        return found

    def claim(self, bridge: Bridge, thief: Node, victim: Node) -> Probe:
        """Make the probe of one claim."""
        stolen = self.mac(victim)
        frames = [
            packets.frame(stolen, group, packets.EXPERIMENTAL, b"claim") for group in packets.LINK_LOCAL
        ]
        build = probes.framed(self.mac_of_bridge(bridge), stolen, packets.EXPERIMENTAL, probes.bare)
        flow = Flow(HOST, victim.name, "ethernet")
        attack = f"{thief.name} sent link-local frames from its MAC"
        first = Step(thief.name, "", lambda _: frames)
        return Probe(flow, ACCEPT, FORWARDING, build, "", attack, first=first, by=bridge.name)

    def mac_of_bridge(self, bridge: Bridge) -> str:
        """MAC of a bridge, as network.sh gives it."""
        return "02:42:" + ":".join(f"{byte:02x}" for byte in bridge.address.ip.packed)

    def near(self, node: Node) -> tuple[str, str]:
        """Find whom a frame of the node reaches: somebody on its bridge, else the host; and their MAC."""
        peer = self.peer(node)
        if peer and peer.bridge == node.bridge:
            return peer.name, self.mac(peer)
        return HOST, self.mac_of_bridge(self.topology.bridge_of(node))

    def itself(self, bridge: Bridge) -> Probe:
        """Let the host speak to its own address on a bridge."""
        address = str(bridge.address.ip)
        build = probes.echo(address, address, packets.ECHO_REQUEST, 0)
        return Probe(Flow(HOST, HOST, "icmp"), ACCEPT, "spoofed-address", build, address, "to itself")

    def stolen_outside(self, node: Node) -> Probe:
        """Let somebody outside use the address of a node."""
        to = self.outside.host_address
        build = probes.echo(str(node.address.ip), to, packets.ECHO_REQUEST, 0)
        attack = f"stolen address of {node.name}"
        return Probe(Flow(WORLD, HOST, "icmp"), DROP, "spoofed-address", build, to, attack)
