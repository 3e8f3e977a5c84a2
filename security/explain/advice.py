"""What to do about a packet that did not pass, in one command where there is one. Pure."""

from __future__ import annotations

from lab.ruleset.iptables import Rule
from lab.topology import Topology
from security.explain.result import Flow, Kind, Story, Telling
from security.policy.compiler import drop_chain
from security.policy.model import ACCEPT, BUILT_IN, DEFAULT, DIRECT, DROP, HOST, WORLD, Decision, Policy

_DROP = drop_chain("")
LOAD_AGAIN = "sudo make policies loads the policy's rules again"


def judgement(
    policy: Policy | None, topology: Topology, flow: Flow, taker: str, port: int
) -> Decision | None:
    """Ask the table about a flow that ends at `taker`; None where the policy has no say."""
    source, target = topology.node(flow.source), topology.node(taker)
    through_the_host = flow.destination == HOST
    within = source and target and source.namespace == target.namespace and not through_the_host
    if policy is None or within or not (source or target):
        return None
    if flow.source == WORLD and not through_the_host:
        return Decision(DROP, DIRECT, BUILT_IN[DIRECT])
    return policy.decide(flow.source, taker, flow.protocol, port)


def line_of(policy: Policy | None, policy_id: str) -> str:
    """Say where the line of an id is."""
    numbers = {line.id: line.number for line in policy.lines} if policy else {}
    numbers |= {limit.id: limit.number for limit in policy.limits} if policy else {}
    number = numbers.get(policy_id)
    return f"{policy.path}:{number}" if policy and number else "built in"


def by_policy(telling: Telling, policy: Policy | None, topology: Topology, policy_id: str) -> Story:
    """End at a line of the policy."""
    line = next((line for line in policy.lines if line.id == policy_id), None) if policy else None
    limit = next((limit for limit in policy.limits if limit.id == policy_id), None) if policy else None
    where = line_of(policy, policy_id)
    if line and line.rate:
        wait = f"wait {line.rate.refill_seconds:.1f} s"
        fix = f"{wait}; or raise the rate {line.rate} in {where}, then sudo make policies"
        return telling.end(Kind.RATE, f"line {policy_id} ({where}) lets {line.rate} pass", policy_id, fix)
    if limit:
        why = f"line {policy_id} ({where}) allows {telling.flow.source} at most {limit.most} connections at once"
        fix = f"conntrack -L shows them; wait until some end, or raise {limit.most} in {where}, then sudo make policies"
        return telling.end(Kind.RATE, why, policy_id, fix)
    decision = judgement(policy, topology, telling.flow, telling.taker, telling.port)
    if decision and decision.verdict == ACCEPT and (line or policy_id == DEFAULT):
        why = f"a rule of {policy_id} dropped it, though line {decision.id} ({line_of(policy, decision.id)}) allows it"
        return telling.end(Kind.POLICY, why, policy_id, LOAD_AGAIN)
    why = f"{policy_id} ({where}): {policy.reason_of(policy_id) if policy else ''}"
    return telling.end(
        Kind.POLICY, why, policy_id, _allow(telling, policy, topology, policy_id, line is not None)
    )


def _allow(
    telling: Telling, policy: Policy | None, topology: Topology, policy_id: str, has_line: bool
) -> str:
    """Say what to do if a drop was not meant."""
    flow = telling.flow
    if policy_id == DIRECT:
        return ask_the_host(topology, flow)
    if policy and (has_line or policy_id == DEFAULT):
        port = telling.port if flow.protocol != "icmp" else ""
        row = f"ID {flow.source} {telling.taker} {flow.protocol} {port or '-'} - accept WHY"
        before = f" before line {policy_id}" if has_line else ""
        return f"add to {policy.path}{before} (tabs between): {row}; then sudo make policies"
    return "nothing to do: each policy has this rule against forged addresses"


def ask_the_host(topology: Topology, flow: Flow) -> str:
    """Name the published port that leads to a node, if there is one."""
    node = topology.node(flow.destination)
    published = [each for each in node.publishes if each.protocol == flow.protocol] if node else []
    found = [each for each in published if flow.port in (each.host_port, each.port)] or published
    if not found:
        return f"{flow.destination} publishes no port; the column publishes of {topology.path} names those that do"
    port = found[0].host_port
    return (
        f"ask for the host's port that leads there: sudo make explain FROM={flow.source} TO=host PORT={port}"
    )


def dropping_line(rule: Rule) -> str:
    """Give the policy id on whose behalf a rule drops; empty for somebody else's."""
    return rule.chain.removeprefix(_DROP) if rule.chain.startswith(_DROP) else ""


def is_ours(rule: Rule) -> bool:
    """Tell whether a rule is the lab's."""
    return rule.chain.startswith("CNET-") or rule.comment.startswith("cnet: ")


def setting_of(interface: str, name: str) -> str:
    """Name a setting for sysctl(8): a dot in the interface's name (eth0.100) is kept between slashes."""
    key = f"net/ipv4/conf/{interface}/{name}"
    return key if "." in interface else key.replace("/", ".")


def take_away(rule: Rule, namespace: str = "") -> str:
    """Give the command that takes a rule away."""
    inside = f"ip netns exec {namespace} " if namespace else ""
    tool, table = (
        ("ebtables", rule.table[9:]) if rule.table.startswith("ebtables") else ("iptables", rule.table)
    )
    if rule.position == 0:
        return f"it is not the lab's; if it is yours: sudo {inside}{tool} -t {table} -P {rule.chain} ACCEPT"
    deleted = rule.text.replace("-A ", "-D ", 1)
    return f"it is not the lab's; if it is yours, remove it: sudo {inside}{tool} -t {table} {deleted}"


def reason(rule: Rule) -> str:
    """Say why a rule is there: its comment, or itself."""
    return rule.comment.removeprefix("cnet: ") if rule.comment else rule.text


def described(rule: Rule) -> str:
    """Say of a rule that decided which it is."""
    if is_ours(rule) or rule.position == 0:
        return f"{reason(rule)} -> {rule.target}"
    return f"table {rule.table}: {rule.text}"
