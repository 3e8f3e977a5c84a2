"""What happens to a packet, from the system's state alone: nothing is sent. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from lab.topology import Node
from security.explain.advice import (
    LOAD_AGAIN,
    described,
    is_ours,
    reason,
    setting_of,
    take_away,
)
from security.explain.host_rules import HostRules
from security.explain.result import Flow, Kind, Story, Telling
from security.explain.snapshot import Place
from security.explain.wiring import REPAIR
from security.policy.model import ACCEPT, HOST, WORLD
from security.rules.matches import Packet
from security.rules.walk import Walk


class Foretelling(HostRules):
    """One packet's story, told from a snapshot."""

    def tell(self, flow: Flow) -> Story:
        """Tell it to its end."""
        telling = Telling(flow)
        source, destination = self.topology.node(flow.source), self.topology.node(flow.destination)
        for node in filter(None, (source, destination)):
            for what, fix in self.wiring.remarks(node):
                telling.remark(what, fix)
            missing = self.wiring.of_namespace(node)
            if missing:
                return missing.end(telling, f"namespace {node.namespace}")
        to = self.address(flow.destination, flow.source)
        own = self.address(flow.source, flow.destination)
        packet = Packet(flow.protocol, own, to, flow.port)
        if source and destination and source.namespace == destination.namespace:
            return self.stay(telling, packet, destination)
        if flow.source == HOST:
            return self.from_host(telling, packet)
        if source:
            left = self.leave(telling, source, packet)
            if left:
                return left
            return self.arrive(telling, replace(packet, into=source.bridge), source)
        telling.hop(WORLD, f"{own}, somewhere beyond the host, sends to {to}")
        return self.arrive(telling, replace(packet, into=self.way_out(own)), None)

    def stay(self, telling: Telling, packet: Packet, node: Node) -> Story:
        """Go from a namespace to itself."""
        where = f"namespace {node.namespace}"
        what = f"{packet.source} and {packet.destination} are both here: the packet never leaves, no rule is asked"
        telling.hop(where, what)
        if not self.wiring.place(node).is_up("lo"):
            fix = f"sudo ip -n {node.namespace} link set lo up"
            return telling.end(Kind.LINK_DOWN, f"lo in {where} is down", fix=fix)
        return self.delivered(telling, replace(packet, into="lo"), node)

    def leave(self, telling: Telling, node: Node, packet: Packet) -> Story | None:
        """Go from a node to the host's end of its wire."""
        place = self.wiring.place(node)
        broken = self.wiring.of_wire(node)
        if broken:
            telling.hop(f"namespace {node.namespace}", f"{packet.source} cannot send: {broken.why}")
            return broken.end(telling)
        route = self.wiring.route(telling, node, packet.source, packet.destination)
        if isinstance(route, Story):
            return route
        wrong = self.wiring.of_addresses(node)
        if wrong:
            return wrong.end(telling, node.interface)
        blocked = self.blocked_inside(telling, place, node, "OUTPUT", replace(packet, out=route.interface))
        unanswered = blocked or self.wiring.arp(telling, node, route.gateway or packet.destination)
        return unanswered or self.wire(telling, node, node.interface, node.bridge_interface)

    def wire(self, telling: Telling, node: Node, begin: str, end: str) -> Story | None:
        """Cross a veth pair; both ends must be up, and the host's end a port of the bridge."""
        broken = self.wiring.of_wire(node)
        if broken:
            return broken.end(telling, end)
        telling.hop(
            end,
            f"veth pair: what goes into {begin} comes out of {end}",
            f"tcpdump -ni {node.bridge_interface}",
        )
        return None

    def arrive(self, telling: Telling, packet: Packet, node: Node | None) -> Story:
        """Come to the host by a bridge or from outside, and be judged before it is known where to."""
        if node:
            refused = self.frames(telling, node, packet)
            if refused:
                return refused
        target = self.topology.node_at(packet.destination)
        if node and target and target.bridge == node.bridge and not self.filters(node.bridge):
            telling.hop(
                f"bridge {node.bridge}",
                "hands its packets to no rule of iptables (nf_call_iptables 0): between its ports all passes",
                f"ip -d link show {node.bridge}",
            )
            return self.between_ports(telling, node, target) or self.down(telling, packet, target)
        walk = self.walk(telling, "PREROUTING", packet)
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        return self.route(telling, walk, node)

    def route(self, telling: Telling, walk: Walk, node: Node | None) -> Story:
        """Decide whether the packet is for the host, or forwarded."""
        packet = walk.packet
        target = self.topology.node_at(packet.destination)
        mine = self.is_hosts(packet.destination) and not (target and node and target.bridge == node.bridge)
        diverted = self.diverted(telling, walk)
        if mine:
            return self.for_host(telling, packet, diverted)
        telling.aim(target.name if target else WORLD, packet.port)
        if diverted:
            return diverted
        out = target.bridge if target else self.way_out(packet.destination)
        if not out:
            return telling.end(
                Kind.NO_ROUTE, f"the host has no route to {packet.destination}", fix="ip route add ..."
            )
        bridged = node is not None and target is not None and node.bridge == target.bridge
        if bridged:
            telling.hop(
                f"bridge {out}",
                "both are its ports; it hands the packet to iptables (nf_call_iptables 1)",
                f"ip -d link show {out}",
            )
        else:
            telling.hop(
                "routing decision", f"to {packet.destination} by {out}", f"ip route get {packet.destination}"
            )
        closed = None if bridged else self.not_forwarding(node, target)
        if closed:
            key = setting_of(closed, "forwarding")
            fix = f"sudo sysctl -w {key}=1 (or sudo make network)"
            return telling.end(Kind.NOT_FORWARDED, f"{key} is 0", fix=fix)
        astray = self.astray(telling, target) if target and not bridged else None
        if node and target and bridged:
            astray = self.between_ports(telling, node, target)
        return astray or self.forward(telling, replace(packet, out=out), node, target)

    def not_forwarding(self, node: Node | None, target: Node | None) -> str | None:
        """Find an interface by which the packet or its answer enters the host, and that forwards nothing."""
        ends = [[end.bridge] if end else self.host.ways_out() for end in (node, target)]
        return next((name for end in ends for name in end if name not in self.host.forwards), None)

    def for_host(self, telling: Telling, packet: Packet, diverted: Story | None) -> Story:
        """Be for the host itself; what was diverted to it was for somebody else."""
        telling.aim(HOST, packet.port)
        telling.hop(
            "routing decision",
            f"{packet.destination} is the host's own address",
            f"ip route get {packet.destination}",
        )
        if diverted:
            return diverted
        walk = self.walk(telling, "INPUT", packet)
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        return self.at_host(telling, packet)

    def astray(self, telling: Telling, target: Node) -> Story | None:
        """Look whether the host sends to a node by its bridge."""
        to = str(target.address.ip)
        fault = self.wiring.shared_with_host(target) or self.wiring.of_bridge(target)
        if fault:
            return fault.end(telling, HOST)
        way = self.way_out(to)
        if way == target.bridge:
            return None
        entry = self.host.route_in_table(to)
        why = f"the host's route to {to} is not by {target.bridge}: {entry or 'there is none'}"
        own = entry and entry.network.prefixlen >= target.address.network.prefixlen
        fix = f"sudo ip route del {entry}" if own else f"ip route get {to} and ip rule show it; {REPAIR}"
        telling.hop(HOST, why)
        return telling.end(Kind.WRONG_ROUTE, why, fix=fix)

    def forward(self, telling: Telling, packet: Packet, node: Node | None, target: Node | None) -> Story:
        """Pass through the host."""
        walk = self.walk(telling, "FORWARD", packet)
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        unanswered = self.leave_host(telling, packet, node, target)
        if unanswered:
            return unanswered
        return self.down(telling, packet, target) if target else self.in_the_world(telling, packet)

    def from_host(self, telling: Telling, packet: Packet) -> Story:
        """Be made by the host."""
        target = self.topology.node_at(packet.destination)
        astray = self.astray(telling, target) if target else None
        if astray:
            return astray
        if self.is_hosts(packet.destination):
            packet = replace(packet, source=packet.destination, out="lo")  # a port that is published, perhaps
        else:
            out = self.way_out(packet.destination)
            if not out:
                return telling.end(
                    Kind.NO_ROUTE, f"the host has no route to {packet.destination}", fix="sudo make up"
                )
            packet = replace(packet, out=out)
        telling.hop(
            HOST,
            f"{packet.source} sends to {packet.destination} by {packet.out}",
            f"ip route get {packet.destination}",
        )
        walk = self.walk(telling, "OUTPUT", packet)
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        packet = walk.packet
        target = self.topology.node_at(packet.destination)
        diverted = self.diverted(telling, walk)
        if self.is_hosts(packet.destination):
            telling.aim(HOST, packet.port)
            return diverted or self.at_host(telling, packet)
        telling.aim(target.name if target else WORLD, packet.port)
        packet = replace(packet, out=target.bridge if target else packet.out)
        kept = diverted or (self.kept_by_host(telling, packet, target) if target else None)
        kept = kept or (self.astray(telling, target) if target else None)
        kept = kept or self.leave_host(telling, packet, None, target)
        if kept:
            return kept
        return self.down(telling, packet, target) if target else self.in_the_world(telling, packet)

    def kept_by_host(self, telling: Telling, packet: Packet, target: Node) -> Story | None:
        """Look whether a packet from 127.0.0.1 may leave by the bridge (route_localnet)."""
        settings = [self.host.settings.get(f"{name}.route_localnet", "1") for name in (target.bridge, "all")]
        if not IPv4Address(packet.source).is_loopback or "1" in settings:
            return None
        why = f"route_localnet of {target.bridge} is 0: a packet from {packet.source} may not leave the host"
        fix = f"sudo sysctl -w {setting_of(target.bridge, 'route_localnet')}=1 (or sudo make up)"
        telling.hop(HOST, why)
        return telling.end(Kind.NO_ROUTE, why, fix=fix)

    def leave_host(
        self, telling: Telling, packet: Packet, node: Node | None, target: Node | None
    ) -> Story | None:
        """Be given the host's address as the source, where the answer must come back to the host."""
        walk = self.walk(telling, "POSTROUTING", packet, told=False)
        masqueraded = [rule for rule in walk.met if rule.target in ("MASQUERADE", "SNAT")]
        bridged = node is not None and target is not None and node.bridge == target.bridge
        if masqueraded:
            telling.hop(
                "nat POSTROUTING",
                f"its source becomes the host's: {reason(masqueraded[0])}",
                "conntrack -L",
            )
            if bridged and not packet.translated:
                telling.remark(
                    f"{described(masqueraded[0])}: {telling.taker} sees the host as the sender",
                    take_away(masqueraded[0]),
                )
            return None
        outwards = node is not None and target is None
        if not (outwards or (bridged and packet.translated) or IPv4Address(packet.source).is_loopback):
            return None
        whose = "nobody outside can answer" if outwards else f"{telling.taker} cannot answer the host by it"
        why = f"no rule gives it the host's address: {whose}"
        telling.hop("nat POSTROUTING", why, "iptables -t nat -S POSTROUTING")
        return telling.end(
            Kind.NO_ANSWER,
            f"nat POSTROUTING: {why}",
            fix="sudo make up (or sudo scripts/nat.sh up) loads the lab's MASQUERADE rules",
        )

    # --- the end ---

    def down(self, telling: Telling, packet: Packet, target: Node) -> Story:
        """Go down a wire to a node, and be taken there."""
        fault = self.wiring.of_namespace(target)
        if fault:
            return fault.end(telling, target.bridge_interface)
        lost = self.wire(telling, target, target.bridge_interface, target.interface)
        if lost:
            return lost
        fault = self.wiring.of_addresses(target)
        if fault:
            return fault.end(telling, f"namespace {target.namespace}")
        place = self.wiring.place(target)
        blocked = self.blocked_inside(telling, place, target, "INPUT", replace(packet, into=target.interface))
        return blocked or self.delivered(telling, packet, target)

    def delivered(self, telling: Telling, packet: Packet, target: Node) -> Story:
        """Be taken by a program, or by nobody."""
        place = self.wiring.place(target)
        where = f"namespace {target.namespace}"
        back = place.route(packet.source)
        if back is None or back.type:
            why = f"{where} has no route back to {packet.source}"
            fix = f"sudo ip -n {target.namespace} route del {back}" if back else "sudo make up"
            telling.hop(where, f"it cannot answer: no route back to {packet.source}")
            return telling.end(Kind.NO_ANSWER, why, fix=fix)
        lost = None if packet.into == "lo" else self.answer_lost(telling, packet, target)
        return lost or self.taken(telling, place, where, packet)

    def answer_lost(self, telling: Telling, packet: Packet, target: Node) -> Story | None:
        """Send the answer back, and see whether a rule drops it; datagrams have none."""
        if packet.protocol == "udp":
            return None
        source = self.topology.node(telling.flow.source)
        bridged = source is not None and source.bridge == target.bridge
        answer = replace(
            packet,
            source=packet.destination,
            destination=packet.source,
            answer=True,
            into="",
            out=target.interface,
        )
        blocked = self.blocked_inside(telling, self.wiring.place(target), target, "OUTPUT", answer)
        if blocked:
            return blocked
        answer = replace(
            answer, into=target.bridge, out=source.bridge if source else self.way_out(packet.source)
        )
        local = self.is_hosts(packet.source)
        hooks = ("PREROUTING", "INPUT") if local else ("PREROUTING", "FORWARD", "POSTROUTING")
        for hook in hooks if self.filters(target.bridge) or not bridged else ():
            walk = self.walk(telling, hook, answer, told=False)
            if walk.decided_by:
                rule = walk.decided_by
                telling.hop(f"{rule.table} {rule.chain}", f"the answer: {described(rule)}")
                why = f"{telling.taker} answers, and the answer is dropped: {described(rule)}"
                fix = LOAD_AGAIN if is_ours(rule) else take_away(rule)
                return telling.end(Kind.NO_ANSWER, why, fix=fix)
        if source is None:
            return None
        inside = replace(answer, into=source.interface, out="")
        return self.blocked_inside(telling, self.wiring.place(source), source, "INPUT", inside)

    def at_host(self, telling: Telling, packet: Packet) -> Story:
        """Be taken by a program of the host."""
        return self.taken(telling, self.host, HOST, packet)

    def taken(self, telling: Telling, place: Place, where: str, packet: Packet) -> Story:
        """Find a listener."""
        if packet.protocol == "icmp":
            telling.hop(where, "the kernel answers the ping")
            return self.passed(telling)
        found = [
            item for item in place.listeners() if item.takes(packet.protocol, packet.destination, packet.port)
        ]
        if not found:
            telling.hop(
                where, f"nobody listens on {packet.destination} {packet.protocol}/{packet.port}", "ss -lntup"
            )
            why = f"the packet arrives, and nobody listens on port {packet.port} of {packet.destination}"
            decision = self.decision(telling.flow, telling.taker, telling.port)
            if decision and decision.verdict != ACCEPT:
                return self.against(telling, decision, f"{why}; ")
            who = f" NODE={telling.taker}" if self.topology.node(telling.taker) else ""
            return telling.end(
                Kind.NO_LISTENER, why, fix=f"is the service up? sudo make status; sudo make logs{who}"
            )
        telling.hop(where, f"{found[0].program} listens on port {packet.port}, and takes it", "ss -lntup")
        return self.passed(telling)

    def in_the_world(self, telling: Telling, packet: Packet) -> Story:
        """Leave for where nothing is known of."""
        telling.hop(
            WORLD,
            f"it leaves the lab towards {packet.destination}; what happens after that is unknown",
        )
        return self.passed(telling)
