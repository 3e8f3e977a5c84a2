"""Outcomes that the policy or a rule decides, each with the command that fixes it. Pure."""

from __future__ import annotations

from lab.ruleset.iptables import Rule
from security.explain.lab_state import Lab
from security.explain.result import Kind, Outcome
from security.policy.drops import drop_chain
from security.policy.model import ACCEPT, DEFAULT, DIRECT, Decision, Flow, Line

REPAIR = "repair with `sudo make up`"
LOAD_POLICY = "load the policy's rules again with `sudo make policies`"
LOAD_NAT = "load the lab's MASQUERADE rules with `sudo make up` (or `sudo scripts/nat.sh up`)"
_DROP = drop_chain("")


# --- the policy -----------------------------------------------------------------------------------


def _find_line(lab: Lab, policy_id: str) -> Line | None:
    lines = [*lab.policy.lines, *lab.policy.limits] if lab.policy else []
    return next((line for line in lines if line.id == policy_id), None)


def _place_of(lab: Lab, policy_id: str) -> str:
    """Return FILE:LINE of a policy id."""
    line = _find_line(lab, policy_id)
    return f"{lab.policy.path}:{line.number}" if lab.policy and line else "built in"


def outcome_of_delivery(lab: Lab, flow: Flow, after_nat: Flow, how: str = "") -> Outcome:
    """Return the outcome of a packet that arrived: allowed, or against the policy."""
    decision = lab.decide(flow, after_nat)
    if decision and decision.verdict != ACCEPT:
        return outcome_against_policy(lab, after_nat, decision, how)
    if decision:
        why = f"line {decision.id} of the policy allows it: {decision.reason}"
        return Outcome(Kind.ALLOWED, how + why, policy_id=decision.id)
    why = "the policy does not apply" if lab.policy else "no policy is loaded"
    return Outcome(Kind.ALLOWED, how + why)


def outcome_against_policy(lab: Lab, after_nat: Flow, decision: Decision, how: str = "") -> Outcome:
    """Return the outcome of a packet that arrived although the policy drops it."""
    source, target = map(lab.topology.node, after_nat.ends)
    switched = source and target and source.bridge == target.bridge
    cause, fix = "the rule that should drop it is missing or is not reached", LOAD_POLICY
    if source and switched and not lab.passes_to_iptables(source.bridge):
        cause, fix = f"bridge {source.bridge} passes no packets to iptables (nf_call_iptables 0)", REPAIR
    where = _place_of(lab, decision.id)
    why = f"{how}line {decision.id} ({where}) should drop it: {decision.reason}; but {cause}"
    return Outcome(Kind.AGAINST_POLICY, why, fix, decision.id)


def outcome_without_listener(lab: Lab, flow: Flow, after_nat: Flow, why: str) -> Outcome:
    """Return the outcome of a packet that arrived at a port on which no program listens."""
    decision = lab.decide(flow, after_nat)
    if decision and decision.verdict != ACCEPT:
        return outcome_against_policy(lab, after_nat, decision, f"{why}; ")
    node = lab.topology.node(after_nat.destination)
    logs = f"sudo make logs NODE={node.name}" if node else "sudo make logs"
    return Outcome(Kind.NO_LISTENER, why, f"is the service running? {logs}")


def outcome_of_drop(lab: Lab, flow: Flow, after_nat: Flow, policy_id: str) -> Outcome:
    """Return the outcome of a packet that a rule of a policy id dropped."""
    line, where = _find_line(lab, policy_id), _place_of(lab, policy_id)
    if line and line.max_connections:
        why = f"line {policy_id} ({where}) allows {flow.source} at most {line.max_connections} connections at once"
        change = f"raise {line.max_connections} in {where}, then sudo make policies"
        fix = f"conntrack -L lists them; wait until some end, or {change}"
        return Outcome(Kind.RATE, why, fix, policy_id)
    if line and line.rate:
        wait = f"wait {line.rate.refill_seconds:.1f} s"
        fix = f"{wait}; or raise the rate {line.rate} in {where}, then sudo make policies"
        return Outcome(Kind.RATE, f"line {policy_id} ({where}) allows {line.rate}", fix, policy_id)
    decision = lab.decide(flow, after_nat)
    if decision and decision.verdict == ACCEPT and (line or policy_id == DEFAULT):
        allowing = f"line {decision.id} ({_place_of(lab, decision.id)})"
        why = f"a rule of {policy_id} dropped it, though {allowing} allows it"
        return Outcome(Kind.POLICY, why, LOAD_POLICY, policy_id)
    why = f"{policy_id} ({where}): {lab.policy.reason_of(policy_id) if lab.policy else ''}"
    return Outcome(Kind.POLICY, why, _how_to_allow(lab, flow, after_nat, policy_id), policy_id)


def _how_to_allow(lab: Lab, flow: Flow, after_nat: Flow, policy_id: str) -> str:
    line = _find_line(lab, policy_id)
    if policy_id == DIRECT:
        return _published_port_of(lab, flow)
    if lab.policy and (line or policy_id == DEFAULT):
        port = after_nat.port if flow.protocol != "icmp" else ""
        row = f"ID {flow.source} {after_nat.destination} {flow.protocol} {port or '-'} - accept WHY"
        before = f" before line {policy_id}" if line else ""
        return f"add to {lab.policy.path}{before} (tabs between): {row}; then sudo make policies"
    return "nothing to fix: each policy has this rule against forged addresses"


def _published_port_of(lab: Lab, flow: Flow) -> str:
    """Return how to reach a node through its published port."""
    node = lab.topology.node(flow.destination)
    published = [item for item in node.publishes if item.protocol == flow.protocol] if node else []
    wanted = [item for item in published if flow.port in (item.host_port, item.port)] or published
    if not wanted:
        return f"{flow.destination} publishes no port; see the column publishes of {lab.topology.path}"
    port = wanted[0].host_port
    return f"use its published port: sudo make explain FROM={flow.source} TO=host PORT={port}"


# --- a rule ---------------------------------------------------------------------------------------


def outcome_of_rule(lab: Lab, flow: Flow, after_nat: Flow, rule: Rule) -> Outcome:
    """Return the outcome of a packet that a rule of the host dropped."""
    if rule.chain.startswith(_DROP):
        return outcome_of_drop(lab, flow, after_nat, rule.chain.removeprefix(_DROP))
    return Outcome(Kind.NOT_OURS, describe_rule(rule), remove_rule(rule))


def is_ours(rule: Rule) -> bool:
    """Decide whether a rule is the lab's."""
    return rule.chain.startswith("CNET-") or rule.comment.startswith("cnet: ")


def remove_rule(rule: Rule, namespace: str = "") -> str:
    """Return the command that removes a rule."""
    enter = f"ip netns exec {namespace} " if namespace else ""
    tool, table = "iptables", rule.table
    if table.startswith("ebtables"):
        tool, table = table.split()
    if rule.position == 0:
        return f"it is not the lab's; if it is yours: sudo {enter}{tool} -t {table} -P {rule.chain} ACCEPT"
    deletion = rule.text.replace("-A ", "-D ", 1)
    return f"it is not the lab's; if it is yours, remove it: sudo {enter}{tool} -t {table} {deletion}"


def comment_of(rule: Rule) -> str:
    """Return a rule's comment, else the rule."""
    return rule.comment.removeprefix("cnet: ") if rule.comment else rule.text


def describe_rule(rule: Rule) -> str:
    """Describe the rule that decided."""
    if is_ours(rule) or rule.position == 0:
        return f"{comment_of(rule)} -> {rule.target}"
    return f"table {rule.table}: {rule.text}"


def sysctl_key(interface: str, name: str) -> str:
    """Return a key for sysctl(8): with slashes where the interface's name has a dot (eth0.100)."""
    key = f"net/ipv4/conf/{interface}/{name}"
    return key if "." in interface else key.replace("/", ".")
