"""Stages that walk a packet through rules: ebtables and iptables of the host, iptables of a namespace. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import zip_longest

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
from security.explain.result import Kind, Outcome, Problem
from security.explain.trace import PacketTrace
from security.policy.model import HOST
from security.rules.matches import Packet
from security.rules.walk import Ruleset, Walk

_WATCHERS = ("LOG", "NFLOG", "")
_ENDS = {"CNET-NODES", "CNET-ORIGIN-NODES"}  # accept packets between nodes before other programs' rules


def filter_packet(trace: PacketTrace, hook: str) -> None:
    """Walk the packet through the iptables rules of a hook of the host."""
    walk = _walk_hook(trace, hook, trace.packet)
    _record_rules(trace, walk)
    if walk.decided_by:
        trace.end(outcome_of_rule(trace.lab, trace.flow, trace.after_nat, walk.decided_by))
    if redirect := _find_redirect(trace, walk):
        to = f"{walk.packet.destination} port {walk.packet.port}"
        why = f"{describe_rule(redirect)}; it goes to {to} instead"
        trace.end(Outcome(Kind.REDIRECTED, why, remove_rule(redirect)))
    trace.packet = walk.packet


def _walk_hook(trace: PacketTrace, hook: str, packet: Packet) -> Walk:
    """Walk a packet through the iptables rules of a hook; record what is not simulated there."""
    walk = trace.lab.rules.hook(hook, packet)
    trace.not_simulated += [*walk.uncertain, *trace.lab.host.unread.get(hook, ())]
    return walk


def _filter_frame(trace: PacketTrace, hook: str, frame: Packet) -> Walk:
    """Walk a frame through the ebtables rules of a hook of the host."""
    walk = trace.lab.frame_rules.hook(hook, frame)
    trace.not_simulated += walk.uncertain
    if walk.decided_by:
        _record_rules(trace, walk)
        trace.end(outcome_of_rule(trace.lab, trace.flow, trace.after_nat, walk.decided_by))
    return walk


def filter_frame_from_node(trace: PacketTrace, node: Node) -> None:
    """Compare the frame's port, MAC and address: ebtables, nat PREROUTING."""
    frame = replace(trace.packet, into=node.bridge_interface, mac=trace.lab.mac(node))
    if _filter_frame(trace, "PREROUTING", frame).met:
        what = f"MAC and source address are those of {node.name}, whose port this is"
        trace.hop("ebtables nat PREROUTING", what, "ebtables -t nat -L CNET-FRAMES")


def filter_frame_between_ports(trace: PacketTrace) -> None:
    """Pass from one port of a bridge to another: ebtables, filter FORWARD and nat POSTROUTING."""
    sender, target = trace.sender, trace.target
    if sender and target and sender.bridge == target.bridge:
        into, out = sender.bridge_interface, target.bridge_interface
        frame = replace(trace.packet, into=into, out=out, mac=trace.lab.mac(sender))
        for hook in ("FORWARD", "POSTROUTING"):
            _filter_frame(trace, hook, frame)


def filter_in_namespace(trace: PacketTrace, node: Node, hook: str, packet: Packet) -> None:
    """Walk a packet, or its reply, through rules that were added in a namespace."""
    place, where = trace.lab.place(node), f"namespace {node.namespace}"
    walk = Ruleset(place.saved_rules, place.has_address).hook(hook, packet)
    trace.not_simulated += [f"{rule} (in {where})" for rule in walk.uncertain]
    if walk.decided_by:
        rule, fix = describe_rule(walk.decided_by), remove_rule(walk.decided_by, node.namespace)
        trace.hop(where, f"{hook}: {rule}")
        if packet.answer:
            trace.end(Outcome(Kind.NO_REPLY, f"the reply is dropped in {where}: {rule}", fix))
        trace.end(Outcome(Kind.NOT_OURS, f"in {where}: {rule}", fix))


def translate_source(trace: PacketTrace) -> None:
    """Masquerade the source if the reply must return through the host: iptables nat POSTROUTING."""
    walk = _walk_hook(trace, "POSTROUTING", trace.packet)
    hairpin = trace.is_switched and trace.packet.translated
    rule = next((rule for rule in walk.met if rule.target in ("MASQUERADE", "SNAT")), None)
    if rule:
        what = f"the source becomes the host's address: {comment_of(rule)}"
        trace.hop("nat POSTROUTING", what, "conntrack -L")
        if trace.is_switched and not hairpin:
            what = f"{describe_rule(rule)}: {trace.receiver} sees the host as the sender"
            trace.warnings.append(Problem(what, remove_rule(rule)))
        return
    to_world = trace.sender and not trace.target
    if to_world or hairpin or IPv4Address(trace.packet.source).is_loopback:
        replier = "no host outside" if to_world else trace.receiver
        why = f"no rule translates the source {trace.packet.source}, to which {replier} can reply"
        trace.hop("nat POSTROUTING", why, "iptables -t nat -S POSTROUTING")
        trace.end(Outcome(Kind.NO_REPLY, f"nat POSTROUTING: {why}", LOAD_NAT))


def filter_reply(trace: PacketTrace, node: Node) -> None:
    """Send the reply back through each filter; a UDP datagram is not replied to."""
    lab, sender, packet = trace.lab, trace.sender, trace.packet
    if packet.protocol == "udp":
        return
    reply = replace(packet, source=packet.destination, destination=packet.source, answer=True, into="")
    filter_in_namespace(trace, node, "OUTPUT", replace(reply, out=node.interface))
    if lab.passes_to_iptables(node.bridge) or not trace.is_switched:
        out = sender.bridge if sender else lab.interface_to(packet.source)
        _filter_reply_in_host(trace, replace(reply, into=node.bridge, out=out))
    if sender:
        filter_in_namespace(trace, sender, "INPUT", replace(reply, into=sender.interface, out=""))


def _filter_reply_in_host(trace: PacketTrace, reply: Packet) -> None:
    is_local = trace.lab.is_host_address(reply.destination)
    for hook in ("PREROUTING", "INPUT") if is_local else ("PREROUTING", "FORWARD", "POSTROUTING"):
        if rule := _walk_hook(trace, hook, reply).decided_by:
            trace.hop(f"{rule.table} {rule.chain}", f"the reply: {describe_rule(rule)}")
            why = f"{trace.receiver} replies, and the reply is dropped: {describe_rule(rule)}"
            trace.end(Outcome(Kind.NO_REPLY, why, LOAD_POLICY if is_ours(rule) else remove_rule(rule)))


# --- rules ----------------------------------------------------------------------------------------


def _record_rules(trace: PacketTrace, walk: Walk) -> None:
    """Record each rule that decided; skip rules that only count, log or call a chain that returns."""
    for rule, following in zip_longest(walk.met, walk.met[1:]):
        returns_at_once = _returns_at_once(rule) or (
            following and _returns_at_once(following) and following.chain == rule.target
        )
        is_hidden = returns_at_once or _ENDS & {rule.chain, rule.target} or rule.target in _WATCHERS
        if not is_hidden and rule is not walk.decided_by:
            shown = f"iptables -t {rule.table} -S {rule.chain}"
            trace.hop(f"{rule.table} {rule.chain}", f"{comment_of(rule)} -> {rule.target}", shown)
    if last := walk.decided_by:
        shown = f"iptables -t {last.table} -vS {last.chain}"
        trace.hop(f"{last.table} {last.chain}", describe_rule(last), shown)


def _returns_at_once(rule: Rule) -> bool:
    """Decide whether a rule is the one of CNET-FROM-WORLD that returns packets from a bridge."""
    return (rule.chain, rule.target) == ("CNET-FROM-WORLD", "RETURN") and rule.matches[:1] == ("-i",)


def _find_redirect(trace: PacketTrace, walk: Walk) -> Rule | None:
    """Find a DNAT or REDIRECT rule that is not the lab's; one for an unpublished port of the host is ignored."""
    rule = next((met for met in walk.met if met.target in ("DNAT", "REDIRECT")), None)
    if rule is None or is_ours(rule) or not walk.packet.translated:
        return None
    if trace.flow.destination == HOST and not trace.lab.publishers(trace.flow):
        return None
    return rule
