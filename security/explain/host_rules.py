"""Stages that walk a packet through rules: ebtables and iptables of the host, iptables of a namespace. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from lab.ruleset.iptables import Rule
from lab.topology import Node
from security.explain.advice import (
    LOAD_NAT,
    LOAD_POLICY,
    comment_of,
    describe_rule,
    is_ours,
    outcome_of_rule,
    remove_rule,
)
from security.explain.lab_state import Lab
from security.explain.result import Kind, Outcome, Problem, Result
from security.explain.trace import At, PacketTrace, Step
from security.policy.model import HOST
from security.rules.matches import Packet
from security.rules.walk import Ruleset, Walk

Stage = Callable[[PacketTrace, Lab], Step]
_ENDS = {"CNET-NODES", "CNET-ORIGIN-NODES"}  # accept packets between nodes before other programs' rules


def walk_hook(trace: PacketTrace, lab: Lab, hook: str, packet: Packet) -> tuple[PacketTrace, Walk]:
    """Walk a packet through the iptables rules of a hook; record what is not simulated there."""
    walk = lab.rules.hook(hook, packet)
    unread = (_name_chain(chain) for chain in lab.host.unread if _is_at_hook(chain, hook))
    return trace.skip(*walk.uncertain, *unread), walk


def iptables(hook: str) -> Stage:
    """Return the stage of a hook of the host."""

    def filter_packet(trace: PacketTrace, lab: Lab) -> Step:
        trace, walk = walk_hook(trace, lab, hook, trace.packet)
        trace = _record_rules(trace, walk)
        if walk.decided_by:
            return trace.end(outcome_of_rule(lab, trace.flow, trace.after_nat, walk.decided_by))
        if redirect := _find_redirect(trace, lab, walk):
            to = f"{walk.packet.destination} port {walk.packet.port}"
            why = f"{describe_rule(redirect)}; it goes to {to} instead"
            return trace.end(Outcome(Kind.REDIRECTED, why, remove_rule(redirect)))
        return replace(trace, packet=walk.packet)

    return filter_packet


def filter_frame_from_node(trace: PacketTrace, lab: Lab) -> Step:
    """Compare the frame's port, MAC and address: ebtables, nat PREROUTING."""
    sender = trace.sending_node
    frame = replace(trace.packet, into=sender.bridge_interface, mac=lab.mac(sender))
    walk = lab.frame_rules.hook("PREROUTING", frame)
    trace = trace.skip(*walk.uncertain)
    if walk.decided_by:
        trace = _record_rules(trace, walk)
        return trace.end(outcome_of_rule(lab, trace.flow, trace.after_nat, walk.decided_by))
    if not walk.met:
        return trace
    what = f"MAC and source address are those of {sender.name}, whose port this is"
    return trace.hop("ebtables nat PREROUTING", what, "ebtables -t nat -L CNET-FRAMES")


def filter_frame_between_ports(trace: PacketTrace, lab: Lab) -> Step:
    """Pass from one port of a bridge to another: ebtables, filter FORWARD and nat POSTROUTING."""
    sender, target = trace.sender, trace.target
    if not (sender and target and trace.is_switched):
        return trace
    frame = Packet(
        trace.flow.protocol,
        str(sender.address.ip),
        str(target.address.ip),
        trace.packet.port,
        into=sender.bridge_interface,
        out=target.bridge_interface,
        mac=lab.mac(sender),
    )
    for hook in ("FORWARD", "POSTROUTING"):
        walk = lab.frame_rules.hook(hook, frame)
        trace = trace.skip(*walk.uncertain)
        if walk.decided_by:
            trace = _record_rules(trace, walk)
            return trace.end(outcome_of_rule(lab, trace.flow, trace.after_nat, walk.decided_by))
    return trace


def filter_in_namespace(trace: PacketTrace, lab: Lab, node: Node, hook: str, packet: Packet) -> Step:
    """Walk a packet, or its reply, through rules that were added in a namespace."""
    place, where = lab.place(node), f"namespace {node.namespace}"
    walk = Ruleset(place.saved_rules, place.has_address).hook(hook, packet)
    trace = trace.skip(*(f"{rule} (in {where})" for rule in walk.uncertain))
    if walk.decided_by is None:
        return trace
    rule, fix = describe_rule(walk.decided_by), remove_rule(walk.decided_by, node.namespace)
    trace = trace.hop(where, f"{hook}: {rule}")
    if packet.answer:
        return trace.end(Outcome(Kind.NO_REPLY, f"the reply is dropped in {where}: {rule}", fix))
    return trace.end(Outcome(Kind.NOT_OURS, f"in {where}: {rule}", fix))


def filter_in_sender(trace: PacketTrace, lab: Lab) -> Step:
    """Leave the sender: iptables OUTPUT of its namespace."""
    return filter_in_namespace(trace, lab, trace.sending_node, "OUTPUT", trace.packet)


def filter_in_receiver(trace: PacketTrace, lab: Lab) -> Step:
    """Enter the receiver: iptables INPUT of its namespace."""
    packet = replace(trace.packet, into=trace.receiving_node.interface)
    return filter_in_namespace(trace, lab, trace.receiving_node, "INPUT", packet)


def translate_source(trace: PacketTrace, lab: Lab) -> Step:
    """Masquerade the source if the reply must return through the host: iptables nat POSTROUTING."""
    trace, walk = walk_hook(trace, lab, "POSTROUTING", trace.packet)
    leaving = replace(trace, at=At.VETH if trace.target else At.WORLD)
    rule = next((rule for rule in walk.met if rule.target in ("MASQUERADE", "SNAT")), None)
    if rule:
        what = f"the source becomes the host's address: {comment_of(rule)}"
        leaving = leaving.hop("nat POSTROUTING", what, "conntrack -L")
        if not trace.is_switched or trace.packet.translated:
            return leaving
        what = f"{describe_rule(rule)}: {trace.receiver} sees the host as the sender"
        return leaving.warn(Problem(what, remove_rule(rule)))
    to_world = bool(trace.sender and not trace.target)
    hairpin = trace.is_switched and trace.packet.translated
    if not (to_world or hairpin or IPv4Address(trace.packet.source).is_loopback):
        return leaving
    replier = "no host outside" if to_world else f"{trace.receiver}"
    why = f"no rule translates the source {trace.packet.source}, to which {replier} can reply"
    trace = trace.hop("nat POSTROUTING", why, "iptables -t nat -S POSTROUTING")
    return trace.end(Outcome(Kind.NO_REPLY, f"nat POSTROUTING: {why}", LOAD_NAT))


def filter_reply(trace: PacketTrace, lab: Lab) -> Step:
    """Send the reply back through each filter; a UDP datagram is not replied to."""
    target, sender, packet = trace.receiving_node, trace.sender, trace.packet
    if packet.protocol == "udp":
        return trace
    reply = replace(packet, source=packet.destination, destination=packet.source, answer=True, into="")
    step = filter_in_namespace(trace, lab, target, "OUTPUT", replace(reply, out=target.interface))
    if isinstance(step, Result):
        return step
    if lab.passes_to_iptables(target.bridge) or not trace.is_switched:
        out = sender.bridge if sender else lab.interface_to(packet.source)
        step = _filter_reply_in_host(step, lab, replace(reply, into=target.bridge, out=out))
    if sender is None or isinstance(step, Result):
        return step
    return filter_in_namespace(step, lab, sender, "INPUT", replace(reply, into=sender.interface, out=""))


def _filter_reply_in_host(trace: PacketTrace, lab: Lab, reply: Packet) -> Step:
    local = lab.is_host_address(reply.destination)
    for hook in ("PREROUTING", "INPUT") if local else ("PREROUTING", "FORWARD", "POSTROUTING"):
        trace, walk = walk_hook(trace, lab, hook, reply)
        if rule := walk.decided_by:
            trace = trace.hop(f"{rule.table} {rule.chain}", f"the reply: {describe_rule(rule)}")
            why = f"{trace.receiver} replies, and the reply is dropped: {describe_rule(rule)}"
            return trace.end(Outcome(Kind.NO_REPLY, why, LOAD_POLICY if is_ours(rule) else remove_rule(rule)))
    return trace


# --- rules ----------------------------------------------------------------------------------------


def _record_rules(trace: PacketTrace, walk: Walk) -> PacketTrace:
    """Record each rule that decided something; not those that only count, log or call a chain that returns."""
    for rule in _rules_to_show(walk.met):
        if rule.target not in ("LOG", "NFLOG", "") and rule is not walk.decided_by:
            shown = f"iptables -t {rule.table} -S {rule.chain}"
            trace = trace.hop(f"{rule.table} {rule.chain}", f"{comment_of(rule)} -> {rule.target}", shown)
    if last := walk.decided_by:
        shown = f"iptables -t {last.table} -vS {last.chain}"
        trace = trace.hop(f"{last.table} {last.chain}", describe_rule(last), shown)
    return trace


def _rules_to_show(met: Sequence[Rule]) -> Iterator[Rule]:
    for at, rule in enumerate(met):
        is_empty_call = any(
            _returns_at_once(next_rule) and next_rule.chain == rule.target
            for next_rule in met[at + 1 : at + 2]
        )
        if not (is_empty_call or _returns_at_once(rule) or _ENDS & {rule.chain, rule.target}):
            yield rule


def _returns_at_once(rule: Rule) -> bool:
    """Decide whether a rule is the one of CNET-FROM-WORLD that returns packets from a bridge."""
    return (rule.chain, rule.target) == ("CNET-FROM-WORLD", "RETURN") and rule.matches[:1] == ("-i",)


def _find_redirect(trace: PacketTrace, lab: Lab, walk: Walk) -> Rule | None:
    """Find a DNAT or REDIRECT rule that is not the lab's; one for an unpublished port of the host is ignored."""
    rule = next((met for met in walk.met if met.target in ("DNAT", "REDIRECT")), None)
    if rule is None or is_ours(rule) or not walk.packet.translated:
        return None
    if trace.flow.destination == HOST and not lab.is_published(trace.flow):
        return None
    return rule


def _is_at_hook(chain: str, hook: str) -> bool:
    """Decide whether a chain (FAMILY TABLE CHAIN HOOK) is called at a hook of iptables."""
    family, *_, its_hook = chain.split()
    return its_hook == hook.lower() or (family == "netdev" and hook == "PREROUTING")


def _name_chain(chain: str) -> str:
    """Name a chain that iptables-save does not show: FAMILY TABLE CHAIN HOOK."""
    family, table, name, _ = chain.split()
    if family == "legacy":
        return f"chain {name} of table {table} has rules of iptables-legacy (iptables-legacy-save shows them)"
    return f"chain {family} {table} {name} of nft (nft list chain {family} {table} {name} shows it)"
