"""What becomes of a packet, from the system's state alone: nothing is sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from scripts.topology import Node, Topology
from security.compiler import drop_chain, mac_of, wires
from security.iptables import Rule, parse
from security.policy import ACCEPT, HOST, WORLD, Policy
from security.probes import Outside
from security.snapshot import Place, Snapshot
from security.story import Flow, Kind, Story, Telling
from security.walk import FrameRules, Packet, Ruleset, Walk

LOCALHOST = "127.0.0.1"
OUTSIDE_PORT = "cnet-outside"  # the wire of an outside that is made for a proof
_DROP = drop_chain("")
_JUDGED = "has judged it"


class Foretelling:
    """One packet's story, told from a snapshot."""

    def __init__(
        self, snapshot: Snapshot, policy: Policy | None, topology: Topology, outside: Outside
    ) -> None:
        self.snapshot = snapshot
        self.host = snapshot.host
        self.policy = policy
        self.topology = topology
        self.outside = outside
        self.rules = Ruleset(
            self.host.saved(), self.is_hosts, self.within_rate, lambda source: self.host.open.get(source, 0)
        )

    def tell(self, flow: Flow) -> Story:
        """Tell it to its end."""
        telling = Telling(flow, doubts=[f"chain {chain} of nft" for chain in self.host.unread])
        source, destination = self.topology.node(flow.source), self.topology.node(flow.destination)
        to = self.address(flow.destination, flow.source)
        own = self.address(flow.source, flow.destination)
        packet = Packet(flow.protocol, own, to, flow.port)
        if source and destination and source.namespace == destination.namespace:
            telling.hop(
                f"namespace {source.namespace}",
                f"{own} and {to} are both here: the packet never leaves, no rule is asked",
            )
            return self.delivered(telling, replace(packet, into="lo"), destination)
        if flow.source == HOST:
            return self.from_host(telling, packet)
        if source:
            left = self.leave(telling, source, packet)
            if left:
                return left
            return self.arrive(telling, replace(packet, into=source.bridge), source)
        telling.hop(WORLD, f"{own}, somewhere beyond the host, sends to {to}")
        return self.arrive(telling, replace(packet, into=self.way_out(own)), None)

    def address(self, name: str, peer: str) -> str:
        """Address of a place, as its peer would use it."""
        node, other = self.topology.node(name), self.topology.node(peer)
        if node:
            return str(node.address.ip)
        if name == WORLD:
            return self.outside.address
        if peer == HOST:
            return LOCALHOST
        return str(self.topology.bridge_of(other).address.ip) if other else self.outside.host_address

    def is_hosts(self, address: str) -> bool:
        """Tell whether the host has an address; also the one that it has for an outside made for a probe."""
        return address == self.outside.host_address or self.host.has(address)

    def way_out(self, address: str) -> str:
        """Interface by which the host sends to an address."""
        route = self.host.route(address)
        return OUTSIDE_PORT if address == self.outside.address else route.interface if route else ""

    # --- on the way ---

    def leave(self, telling: Telling, node: Node, packet: Packet) -> Story | None:
        """Go from a node to the host's end of its wire."""
        place = self.snapshot.namespaces[node.namespace]
        if not place.is_up(node.interface):  # its routes are gone with it
            why = f"{node.interface} in namespace {node.namespace} is down or missing"
            return telling.end(Kind.LINK_DOWN, why, fix="sudo make up mends the network")
        route = place.route(packet.destination)
        shown = f"ip -n {node.namespace} route get {packet.destination}"
        if route is None:
            why = f"namespace {node.namespace} has no route to {packet.destination}"
            fix = "sudo make up gives it its default route again"
            return telling.end(Kind.NO_ROUTE, why, fix=fix)
        through = f"through {route.gateway}" if route.gateway else "directly, it is a neighbour"
        telling.hop(
            f"namespace {node.namespace}", f"{packet.source} sends to {packet.destination} {through}", shown
        )
        blocked = self.blocked_inside(telling, place, node, "OUTPUT", replace(packet, out=route.interface))
        return blocked or self.wire(telling, node, node.interface, node.bridge_interface, packet)

    def wire(self, telling: Telling, node: Node, begin: str, end: str, packet: Packet) -> Story | None:
        """Cross a veth pair; both ends must be up, and the host's end a port of the bridge."""
        place = self.snapshot.namespaces[node.namespace]
        port = self.host.link(node.bridge_interface)
        for name, where, up in (
            (node.interface, f"in namespace {node.namespace}", place.is_up(node.interface)),
            (node.bridge_interface, "on the host", self.host.is_up(node.bridge_interface)),
            (node.bridge, "on the host", self.host.is_up(node.bridge)),
        ):
            if not up:
                why = f"{name} {where} is down or missing"
                return telling.end(Kind.LINK_DOWN, why, fix="sudo make up mends the network")
        if port and port.get("master") != node.bridge:
            why = f"{node.bridge_interface} is not a port of bridge {node.bridge}"
            return telling.end(Kind.LINK_DOWN, why, fix="sudo make up mends the network")
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
                "hands its packets to no rule of iptables: between its ports all passes",
                f"ip -d link show {node.bridge}",
            )
            return self.down(telling, packet, target)
        walk = self.rules.hook("PREROUTING", packet)
        self.tell_rules(telling, walk, "PREROUTING")
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        return self.route(telling, walk.packet, node)

    def frames(self, telling: Telling, node: Node, packet: Packet) -> Story | None:
        """Be asked by ebtables whether one is who one says."""
        rules = FrameRules(parse(self.host.frames), self.is_hosts)
        first = wires(self.topology)[node.bridge_interface][0]
        walk = rules.hook("PREROUTING", replace(packet, into=node.bridge_interface, mac=mac_of(first)))
        if walk.decided_by:
            self.tell_rules(telling, walk, "PREROUTING of the bridge")
            return self.refused(telling, walk.decided_by)
        if walk.met:
            telling.hop(
                "ebtables nat PREROUTING",
                f"port, MAC and address belong together: {node.name} is who it says",
                "ebtables -t nat -L CNET-FRAMES",
            )
        return None

    def filters(self, bridge: str) -> bool:
        """Tell whether a bridge hands its packets to iptables."""
        link = self.host.link(bridge) or {}
        return bool(link.get("linkinfo", {}).get("info_data", {}).get("nf_call_iptables"))

    def route(self, telling: Telling, packet: Packet, node: Node | None) -> Story:
        """Be for the host, or for somebody else."""
        if self.is_hosts(packet.destination):
            telling.hop(
                "routing decision",
                f"{packet.destination} is the host's own address",
                f"ip route get {packet.destination}",
            )
            walk = self.rules.hook("INPUT", packet)
            self.tell_rules(telling, walk, "INPUT")
            return (
                self.refused(telling, walk.decided_by) if walk.decided_by else self.at_host(telling, packet)
            )
        target = self.topology.node_at(packet.destination)
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
            why = f"net.ipv4.conf.{closed}.forwarding is 0"
            return telling.end(Kind.NOT_FORWARDED, why, fix="sudo make network switches it on")
        return self.forward(telling, replace(packet, out=out), target)

    def not_forwarding(self, node: Node | None, target: Node | None) -> str | None:
        """Find an interface by which the packet or its answer enters the host, and that forwards nothing."""
        ends = [[end.bridge] if end else self.host.ways_out() for end in (node, target)]
        return next((name for end in ends for name in end if name not in self.host.forwards), None)

    def forward(self, telling: Telling, packet: Packet, target: Node | None) -> Story:
        """Pass through the host."""
        walk = self.rules.hook("FORWARD", packet)
        self.tell_rules(telling, walk, "FORWARD")
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        self.leave_host(telling, packet)
        return self.down(telling, packet, target) if target else self.in_the_world(telling, packet)

    def from_host(self, telling: Telling, packet: Packet) -> Story:
        """Be made by the host."""
        if self.is_hosts(packet.destination):
            packet = replace(packet, source=packet.destination, out="lo")  # a port that is published, perhaps
        else:
            route = self.host.route(packet.destination)
            if route is None and packet.destination != self.outside.address:
                return telling.end(
                    Kind.NO_ROUTE, f"the host has no route to {packet.destination}", fix="sudo make up"
                )
            packet = replace(packet, out=self.way_out(packet.destination))
        telling.hop(
            HOST,
            f"{packet.source} sends to {packet.destination} by {packet.out}",
            f"ip route get {packet.destination}",
        )
        walk = self.rules.hook("OUTPUT", packet)
        self.tell_rules(telling, walk, "OUTPUT")
        if walk.decided_by:
            return self.refused(telling, walk.decided_by)
        packet = walk.packet
        if self.is_hosts(packet.destination):
            return self.at_host(telling, packet)
        target = self.topology.node_at(packet.destination)
        self.leave_host(telling, replace(packet, out=target.bridge if target else packet.out))
        return self.down(telling, packet, target) if target else self.in_the_world(telling, packet)

    def leave_host(self, telling: Telling, packet: Packet) -> None:
        """Be given the host's address as the source, perhaps."""
        walk = self.rules.hook("POSTROUTING", packet)
        masqueraded = [rule for rule in walk.met if rule.target in ("MASQUERADE", "SNAT")]
        if masqueraded:
            telling.hop(
                "nat POSTROUTING", f"its source becomes the host's: {reason(masqueraded[0])}", "conntrack -L"
            )

    # --- the end ---

    def down(self, telling: Telling, packet: Packet, target: Node) -> Story:
        """Go down a wire to a node, and be taken there."""
        lost = self.wire(telling, target, target.bridge_interface, target.interface, packet)
        if lost:
            return lost
        place = self.snapshot.namespaces[target.namespace]
        blocked = self.blocked_inside(telling, place, target, "INPUT", replace(packet, into=target.interface))
        return blocked or self.delivered(telling, packet, target)

    def blocked_inside(
        self, telling: Telling, place: Place, node: Node, hook: str, packet: Packet
    ) -> Story | None:
        """Be stopped by a rule that somebody put into the namespace itself."""
        walk = Ruleset(place.saved(), place.has).hook(hook, packet)
        telling.doubts += walk.uncertain
        if walk.decided_by is None:
            return None
        why = f"in namespace {node.namespace}: {described(walk.decided_by)}"
        fix = f"ip netns exec {node.namespace} iptables -t {walk.decided_by.table} -S {walk.decided_by.chain}"
        return telling.end(Kind.FOREIGN, why, fix=f"{fix} shows it; whoever made it can take it away")

    def delivered(self, telling: Telling, packet: Packet, target: Node) -> Story:
        """Be taken by a program, or by nobody."""
        place = self.snapshot.namespaces[target.namespace]
        where = f"namespace {target.namespace}"
        if not place.has(packet.destination):
            return telling.end(
                Kind.LOST, f"{packet.destination} is not an address of {where}", fix="sudo make up"
            )
        back = place.route(packet.source)
        if back is None:
            return telling.end(
                Kind.NO_ANSWER, f"{where} has no route back to {packet.source}", fix="sudo make up"
            )
        return self.taken(telling, place, where, packet)

    def at_host(self, telling: Telling, packet: Packet) -> Story:
        """Be taken by a program of the host."""
        return self.taken(telling, self.host, HOST, packet)

    def taken(self, telling: Telling, place: Place, where: str, packet: Packet) -> Story:
        """Find a listener."""
        if packet.protocol == "icmp":
            telling.hop(where, "the kernel answers the ping")
            return telling.end(Kind.ALLOWED, self.allowed_by(telling.flow), self.allowing_id(telling.flow))
        found = [
            item for item in place.listeners() if item.takes(packet.protocol, packet.destination, packet.port)
        ]
        if not found:
            telling.hop(
                where, f"nobody listens on {packet.destination} {packet.protocol}/{packet.port}", "ss -lntup"
            )
            why = f"the packet arrives, and nobody listens on port {packet.port} of {packet.destination}"
            return telling.end(
                Kind.NO_LISTENER, why, fix="is the service up? sudo make status; sudo make logs"
            )
        telling.hop(where, f"{found[0].program} listens on port {packet.port}, and takes it", "ss -lntup")
        return telling.end(Kind.ALLOWED, self.allowed_by(telling.flow), self.allowing_id(telling.flow))

    def in_the_world(self, telling: Telling, packet: Packet) -> Story:
        """Leave for where nothing is known of."""
        telling.hop(
            WORLD,
            f"it is on its way to {packet.destination}; what becomes of it there is not the lab's to say",
        )
        return telling.end(Kind.ALLOWED, self.allowed_by(telling.flow), self.allowing_id(telling.flow))

    # --- rules ---

    def tell_rules(self, telling: Telling, walk: Walk, hook: str) -> None:
        """Name each rule that said something; those that only count or send on are left out."""
        telling.doubts += walk.uncertain
        for rule in _telling_ones(walk.met):
            if rule.target in ("LOG", "NFLOG", "") or (rule is walk.decided_by):
                continue
            telling.hop(
                f"{rule.table} {rule.chain}",
                f"{reason(rule)} -> {rule.target}",
                f"iptables -t {rule.table} -S {rule.chain}",
            )
        if walk.decided_by:
            rule = walk.decided_by
            telling.hop(
                f"{rule.table} {rule.chain}",
                f"{described(rule)}",
                f"iptables -t {rule.table} -vS {rule.chain}",
            )

    def refused(self, telling: Telling, rule: Rule) -> Story:
        """End at a rule: the policy's, or somebody else's."""
        policy_id = rule.chain.removeprefix(_DROP) if rule.chain.startswith(_DROP) else ""
        if not policy_id:
            shown = f"iptables -t {rule.table} -vS {rule.chain}"
            return telling.end(
                Kind.FOREIGN, described(rule), fix=f"{shown} shows it; whoever made it can take it away"
            )
        return by_policy(telling, self.policy, policy_id)

    def within_rate(self, name: str, source: str) -> bool:
        """Tell whether a source has anything left; the kernel shows it in /proc/net/ipt_hashlimit."""
        for line in self.host.rates.get(name, "").splitlines():
            words = line.split()
            if words[1].partition(":")[0] == source:
                return int(words[2]) >= int(words[4])
        return True

    def allowing_id(self, flow: Flow) -> str:
        """Id of the line that allows it; empty where no policy is asked."""
        decision = self.decision(flow)
        return decision[0] if decision else ""

    def allowed_by(self, flow: Flow) -> str:
        """Say why it may pass."""
        decision = self.decision(flow)
        return (
            f"line {decision[0]} of the policy allows it: {decision[1]}"
            if decision
            else "no policy forbids it"
        )

    def decision(self, flow: Flow) -> tuple[str, str] | None:
        """Ask the table, where it has a say."""
        source, destination = self.topology.node(flow.source), self.topology.node(flow.destination)
        within = source and destination and source.namespace == destination.namespace
        if self.policy is None or within or not (source or destination):
            return None
        found = self.policy.decide(flow.source, flow.destination, flow.protocol, flow.port)
        return (found.id, found.reason) if found.verdict == ACCEPT else None


def _telling_ones(met: Sequence[Rule]) -> Iterator[Rule]:
    """Leave out calls of chains that at once return what another chain judges."""
    for at, rule in enumerate(met):
        after = met[at + 1] if at + 1 < len(met) else None
        passed_on = (rule, after) if after else (rule,)
        if not any(_JUDGED in each.comment and each.chain in (rule.chain, rule.target) for each in passed_on):
            yield rule


def by_policy(telling: Telling, policy: Policy | None, policy_id: str) -> Story:
    """End at a line of the policy."""
    reason_of = policy.reason_of(policy_id) if policy else ""
    line = next((line for line in policy.lines if line.id == policy_id), None) if policy else None
    where = f"{policy.path}:{line.number}" if policy and line else "built in"
    if line and line.rate:
        wait = f"wait {line.rate.refill_seconds:.1f} s"
        fix = f"{wait}; or raise the rate {line.rate} in {where}, then sudo make policies"
        return telling.end(Kind.RATE, f"line {policy_id} ({where}) lets {line.rate} pass", policy_id, fix)
    limit = next((limit for limit in policy.limits if limit.id == policy_id), None) if policy else None
    if policy and limit:
        where = f"{policy.path}:{limit.number}"
        why = f"line {policy_id} ({where}) lets {telling.flow.source} have {limit.most} connections at once"
        fix = f"conntrack -L shows them; wait until some end, or raise {limit.most} in {where}, then sudo make policies"
        return telling.end(Kind.RATE, why, policy_id, fix)
    return telling.end(
        Kind.POLICY,
        f"{policy_id} ({where}): {reason_of}",
        policy_id,
        fix_of(telling.flow, policy, policy_id, line is not None),
    )


def fix_of(flow: Flow, policy: Policy | None, policy_id: str, has_line: bool) -> str:
    """Say what to do if it was not meant."""
    if policy_id == "direct":
        return "ask for a port that the host publishes; the column publishes of the topology table names them"
    if policy and (has_line or policy_id == "default"):
        row = f"ID {flow.source} {flow.destination} {flow.protocol} {flow.port or '-'} - accept WHY"
        before = f" before line {policy_id}" if has_line else ""
        return f"add to {policy.path}{before} (tabs between): {row}; then sudo make policies"
    return "nothing to do: this protects everybody else"


def reason(rule: Rule) -> str:
    """Say why a rule is there: its comment, or itself."""
    return rule.comment.removeprefix("cnet: ") if rule.comment else rule.text


def described(rule: Rule) -> str:
    """Say of a rule that decided which it is."""
    return f"{reason(rule)} -> {rule.target}" if rule.comment else f"table {rule.table}: {rule.text}"
