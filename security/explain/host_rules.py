"""What the rules say of a packet, and what the policy says of a flow, from the system's state alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lab.ruleset.iptables import Rule, parse
from lab.topology import Node, Topology
from security.explain.advice import (
    LOAD_AGAIN,
    by_policy,
    described,
    dropping_line,
    is_ours,
    judgement,
    line_of,
    reason,
    take_away,
)
from security.explain.result import Flow, Kind, Story, Telling
from security.explain.snapshot import Place, Snapshot
from security.explain.wiring import Wiring
from security.policy.compiler import ALREADY_CHECKED, mac_of, wires
from security.policy.model import ACCEPT, HOST, WORLD, Decision, Policy
from security.proof.probe import Outside
from security.rules.matches import Packet
from security.rules.walk import FrameRules, Ruleset, Walk

LOCALHOST = "127.0.0.1"
OUTSIDE_PORT = "cnet-outside"  # the wire of an outside that is made for a proof
_ENDS = ("CNET-NODES", "CNET-ORIGIN-NODES")  # keep packets between nodes from the rules of others


class HostRules:
    """The host's rules and the policy, asked about one packet after the other."""

    def __init__(
        self, snapshot: Snapshot, policy: Policy | None, topology: Topology, outside: Outside
    ) -> None:
        self.snapshot = snapshot
        self.host = snapshot.host
        saved = self.host.saved()
        in_force = any(chain == "CNET-FROM-NODES" for _, chain, _ in saved.policies)
        self.policy = policy if in_force or self.host.policed else None
        self.topology = topology
        self.outside = outside
        self.wiring = Wiring(snapshot, topology)
        self.rules = Ruleset(
            saved,
            self.is_hosts,
            self.within_rate,
            lambda source: self.host.open.get(source, 0),
            self.address_of,
        )
        self.frame_rules = FrameRules(parse(self.host.frames), self.is_hosts)

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

    def address_of(self, interface: str) -> str:
        """Give an address of one of the host's interfaces."""
        if interface == OUTSIDE_PORT:
            return self.outside.host_address
        return next((address for address, name in self.host.addresses().items() if name == interface), "")

    def is_hosts(self, address: str) -> bool:
        """Tell whether the host has an address; also the one that it has for an outside made for a probe."""
        return address == self.outside.host_address or self.host.has(address)

    def way_out(self, address: str) -> str:
        """Interface by which the host sends to an address."""
        if address == self.outside.address:
            return OUTSIDE_PORT
        route = self.host.route(address)
        return route.interface if route else ""

    def filters(self, bridge: str) -> bool:
        """Tell whether a bridge hands its packets to iptables."""
        link = self.host.link(bridge) or {}
        return bool(link.get("linkinfo", {}).get("info_data", {}).get("nf_call_iptables"))

    def walk(self, telling: Telling, hook: str, packet: Packet, *, told: bool = True) -> Walk:
        """Ask the rules at a hook; what else is asked there, and cannot be simulated, is a doubt."""
        walk = self.rules.hook(hook, packet)
        telling.doubt(*walk.uncertain)
        telling.doubt(*(_in_words(chain) for chain in self.host.unread if self.is_asked(chain, hook)))
        if told:
            self.tell_rules(telling, walk)
        return walk

    @staticmethod
    def is_asked(chain: str, hook: str) -> bool:
        """Tell whether a chain of nft (FAMILY TABLE CHAIN HOOK) may be asked at a hook of iptables."""
        family, *_, its_hook = chain.split()
        return its_hook == hook.lower() or (family == "netdev" and hook == "PREROUTING")

    def tell_rules(self, telling: Telling, walk: Walk) -> None:
        """Name each rule that said something; those that only count or send on are left out."""
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

    def frames(self, telling: Telling, node: Node, packet: Packet) -> Story | None:
        """Be asked by ebtables whether one is who one says."""
        first = wires(self.topology)[node.bridge_interface][0]
        frame = replace(packet, into=node.bridge_interface, mac=mac_of(first))
        walk = self.frame_rules.hook("PREROUTING", frame)
        telling.doubt(*walk.uncertain)
        if walk.decided_by:
            self.tell_rules(telling, walk)
            return self.refused(telling, walk.decided_by)
        if walk.met:
            telling.hop(
                "ebtables nat PREROUTING",
                f"port, MAC and address belong together: {node.name} is who it says",
                "ebtables -t nat -L CNET-FRAMES",
            )
        return None

    def between_ports(self, telling: Telling, node: Node, target: Node) -> Story | None:
        """Be asked by ebtables on the way from one port of a bridge to another."""
        frame = Packet(
            telling.flow.protocol,
            str(node.address.ip),
            str(target.address.ip),
            telling.port,
            into=node.bridge_interface,
            out=target.bridge_interface,
            mac=self.wiring.wanted_mac(node),
        )
        for hook in ("FORWARD", "POSTROUTING"):
            walk = self.frame_rules.hook(hook, frame)
            telling.doubt(*walk.uncertain)
            if walk.decided_by:
                self.tell_rules(telling, walk)
                return self.refused(telling, walk.decided_by)
        return None

    def blocked_inside(
        self, telling: Telling, place: Place, node: Node, hook: str, packet: Packet
    ) -> Story | None:
        """Be stopped by a rule that somebody put into the namespace itself."""
        walk = Ruleset(place.saved(), place.has).hook(hook, packet)
        telling.doubt(*(f"{each} (in namespace {node.namespace})" for each in walk.uncertain))
        if walk.decided_by is None:
            return None
        why = f"in namespace {node.namespace}: {described(walk.decided_by)}"
        kind = Kind.NO_ANSWER if packet.answer else Kind.FOREIGN
        if packet.answer:
            why = f"the answer is dropped {why}"
        telling.hop(f"namespace {node.namespace}", f"{hook}: {described(walk.decided_by)}")
        return telling.end(kind, why, fix=take_away(walk.decided_by, node.namespace))

    def diverted(self, telling: Telling, walk: Walk) -> Story | None:
        """Be sent elsewhere by a translation that is not the lab's; a port that it publishes itself is meant."""
        rule = next((each for each in walk.met if each.target in ("DNAT", "REDIRECT")), None)
        if rule is None or is_ours(rule) or not walk.packet.translated:
            return None
        flow = telling.flow
        published = {
            (item.host_port, item.protocol) for node in self.topology.nodes for item in node.publishes
        }
        if flow.destination == HOST and (flow.port, flow.protocol) not in published:
            return None
        to = f"{walk.packet.destination} port {walk.packet.port}"
        return telling.end(Kind.DIVERTED, f"{described(rule)}; it goes to {to} instead", fix=take_away(rule))

    def refused(self, telling: Telling, rule: Rule) -> Story:
        """End at a rule: the policy's, or somebody else's."""
        policy_id = dropping_line(rule)
        if policy_id:
            return by_policy(telling, self.policy, self.topology, policy_id)
        return telling.end(Kind.FOREIGN, described(rule), fix=take_away(rule))

    def within_rate(self, name: str, source: str) -> bool:
        """Tell whether a source has anything left; the kernel shows it in /proc/net/ipt_hashlimit."""
        for line in self.host.rates.get(name, "").splitlines():
            words = line.split()
            if words[1].partition(":")[0] == source:
                return int(words[2]) >= int(words[4])
        return True

    def decision(self, flow: Flow, taker: str, port: int) -> Decision | None:
        """Ask the table, where it has a say."""
        return judgement(self.policy, self.topology, flow, taker, port)

    def passed(self, telling: Telling) -> Story:
        """End well, or against the policy."""
        decision = self.decision(telling.flow, telling.taker, telling.port)
        if decision is None:
            return telling.end(
                Kind.ALLOWED,
                "no policy is loaded" if self.policy is None else "the policy says nothing about it",
            )
        if decision.verdict != ACCEPT:
            return self.against(telling, decision)
        return telling.end(
            Kind.ALLOWED, f"line {decision.id} of the policy allows it: {decision.reason}", decision.id
        )

    def against(self, telling: Telling, decision: Decision, before: str = "") -> Story:
        """End well where the policy would have it dropped."""
        source, target = self.topology.node(telling.flow.source), self.topology.node(telling.taker)
        unasked = (
            f"bridge {source.bridge} hands its frames to no rule (nf_call_iptables 0)"
            if source and target and source.bridge == target.bridge and not self.filters(source.bridge)
            else "the rule that should drop it is missing or is not asked"
        )
        where = line_of(self.policy, decision.id)
        why = f"{before}line {decision.id} ({where}) would drop it: {decision.reason}; but {unasked}"
        fix = "sudo make up repairs it" if "nf_call" in unasked else LOAD_AGAIN
        return telling.end(Kind.AGAINST, why, decision.id, fix)


def _in_words(chain: str) -> str:
    """Name a chain that is not iptables-nft's: FAMILY TABLE CHAIN HOOK."""
    family, table, name, _ = chain.split()
    if family == "legacy":
        return f"chain {name} of table {table} has rules of iptables-legacy (iptables-legacy-save shows them)"
    return f"chain {family} {table} {name} of nft (nft list chain {family} {table} {name} shows it)"


def _telling_ones(met: Sequence[Rule]) -> Iterator[Rule]:
    """Leave out calls of chains that at once return what another chain judges."""
    for at, rule in enumerate(met):
        after = met[at + 1] if at + 1 < len(met) else None
        passed_on = (rule, after) if after else (rule,)
        if rule.chain in _ENDS or rule.target in _ENDS:
            continue
        if not any(
            ALREADY_CHECKED in each.comment and each.chain in (rule.chain, rule.target) for each in passed_on
        ):
            yield rule
