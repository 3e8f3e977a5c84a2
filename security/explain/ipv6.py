"""Explain a packet of IPv6: send a probe, and name the route, the neighbour and the rule that dropped it.

Rules of IPv6 are not simulated. A rule is named if it drops or refuses packets and its counter rose meanwhile.
"""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

from lab.namespace import inside
from lab.ruleset.iptables import Rule, live_ruleset, live_ruleset6
from lab.topology import Node, Topology
from security.explain.result import Hop, Kind, Mark, Outcome, Result
from security.policy.drops import drop_chain
from security.policy.model import ACCEPT, BUILT_IN, HOST, Flow, Policy

_TIMEOUT_SECONDS = 1.0
_SETTLE_SECONDS = 0.05
_DROP_CHAIN = drop_chain("")
_NOT_PREDICTED = Outcome(Kind.UNKNOWN, "the rules of IPv6 are not simulated")
_OUTCOME_OF_ERROR = {
    errno.ENETUNREACH: (Kind.NO_ROUTE, "the kernel of the sender has no route"),
    errno.EADDRNOTAVAIL: (Kind.WRONG_ADDRESS, "the sender does not have its address of the table"),
    errno.EHOSTUNREACH: (Kind.NO_ROUTE, "a router or the kernel of the sender answers that there is no way"),
    errno.ECONNREFUSED: (Kind.NO_LISTENER, "it arrived and was refused: no program listens on the port"),
    errno.ETIMEDOUT: (Kind.LOST, f"no reply within {_TIMEOUT_SECONDS:.0f} s"),
}


@dataclass(frozen=True)
class _End:
    """One end of a flow: its namespace, None for the host, and its IPv6 address."""

    namespace: str | None
    address: str

    @property
    def place(self) -> str:
        return f"namespace {self.namespace}" if self.namespace else HOST

    @property
    def ip(self) -> list[str]:
        return ["ip", "-n", self.namespace] if self.namespace else ["ip"]


def observe(topology: Topology, policy: Policy | None, flow: Flow) -> Result:
    """Send one probe; both ends are nodes with an IPv6 address, or one is the host. Raises OSError.

    `policy` is the one in force, if any.
    """
    source, target = _ends(topology, flow)
    before = _counts()
    error = _probe(flow, source, target)
    time.sleep(_SETTLE_SECONDS)
    dropped = [rule for rule, packets in _counts().items() if packets > before[rule]]
    way, is_resolved = _way(source, target)
    outcome = _outcome(policy, flow, error, dropped, is_resolved=is_resolved)
    hops = [*way, *map(_at_rule, dropped)]
    what = f"{target.address} {str(flow).rpartition(' ')[2]}"
    if not error:
        hops.append(Hop(target.place, f"{what} answers", mark=Mark.REACHED))
    elif outcome.kind is Kind.NO_LISTENER:
        hops.append(Hop(target.place, f"no program listens on {what}", "ss -lntup", Mark.STOPPED))
    not_simulated = ("the rules of IPv6; a rule is named because its counter rose while the probe was sent",)
    return Result(flow, flow, tuple(hops), _NOT_PREDICTED, outcome, not_simulated=not_simulated)


def _ends(topology: Topology, flow: Flow) -> tuple[_End, _End]:
    """Return the ends; the host has the address of the bridge of the node at the other end."""
    source, target = map(topology.node, flow.ends)
    bridges = [topology.bridge_of(node) for node in (source, target) if node]
    of_host = _End(None, str(next(bridge.address6.ip for bridge in bridges if bridge.address6)))
    return _end(source) or of_host, _end(target) or of_host


def _end(node: Node | None) -> _End | None:
    return _End(node.namespace, str(node.address6.ip)) if node and node.address6 else None


def _probe(flow: Flow, source: _End, target: _End) -> int:
    """Connect, or ping; return 0 for an answer, else the number of the error."""
    if flow.protocol == "icmp":
        enter = ["nsenter", f"--net=/run/netns/{source.namespace}"] if source.namespace else []
        ping = ["ping", "-q", "-c1", "-W1", "-I", source.address, target.address]
        status = subprocess.run([*enter, *ping], capture_output=True, check=False).returncode
        return 0 if status == 0 else errno.ETIMEDOUT
    with inside(source.namespace):
        probe = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with probe:
        probe.settimeout(_TIMEOUT_SECONDS)
        try:
            probe.bind((source.address, 0))
            probe.connect((target.address, flow.port))
        except TimeoutError:
            return errno.ETIMEDOUT
        except OSError as error:
            return error.errno or errno.ETIMEDOUT
    return 0


def _counts() -> Counter[Rule]:
    """Return the packets of each rule that drops or refuses, of ip6tables and ebtables."""
    frames = (rule for rule in live_ruleset().rules if rule.table.startswith("ebtables "))
    return Counter(
        {
            _without_counters(rule): rule.packets
            for rule in (*live_ruleset6().rules, *frames)
            if rule.target in ("DROP", "REJECT")
        }
    )


def _without_counters(rule: Rule) -> Rule:
    return Rule(rule.table, rule.chain, rule.position, (), rule.target, (), rule.comment, 0, 0, rule.text)


def _way(source: _End, target: _End) -> tuple[list[Hop], bool]:
    """Return the route of the sender, what neighbour discovery found of the next hop, and whether it has a MAC."""
    command = [*source.ip, "route", "get", target.address, "from", source.address]
    routes = _json(command)
    if not routes:
        return [Hop(source.place, f"no route to {target.address}", " ".join(command), Mark.STOPPED)], True
    hop = str(routes[0].get("gateway", target.address))
    by = "directly, on the same network" if hop == target.address else f"by the gateway {hop}"
    found = [
        Hop(source.place, f"{source.address} sends to {target.address} {by}", " ".join(command), Mark.REACHED)
    ]
    asked = [*source.ip, "-6", "neigh", "show", hop]
    entries = _json(asked)
    mac = entries[0].get("lladdr") if entries else None
    answer = f"it is at {mac}" if mac else "no reply"
    what = f"neighbour discovery: who has {hop}? {answer}"
    mark = Mark.REACHED if mac else Mark.STOPPED
    return [*found, Hop(source.place, what, " ".join(asked), mark)], bool(mac)


def _json(command: list[str]) -> list[dict[str, object]]:
    printed = subprocess.run(
        [command[0], "-j", *command[1:]], capture_output=True, text=True, check=False
    ).stdout
    objects: list[dict[str, object]] = json.loads(printed or "[]")
    return objects


def _at_rule(rule: Rule) -> Hop:
    return Hop(f"{rule.table} {rule.chain}", f"dropped by {rule.text}", "", Mark.STOPPED)


def _outcome(
    policy: Policy | None, flow: Flow, error: int, dropped: list[Rule], *, is_resolved: bool
) -> Outcome:
    if not error:
        decision = policy.decide(flow.source, flow.destination, flow.protocol, flow.port) if policy else None
        if decision is None or decision.verdict == ACCEPT:
            return Outcome(Kind.ALLOWED, "the probe was answered", policy_id=decision.id if decision else "")
        why = f"the probe was answered, and the policy drops it ({decision.id}: {decision.reason})"
        return Outcome(Kind.AGAINST_POLICY, why, policy_id=decision.id)
    for rule in dropped:
        if rule.chain.startswith(_DROP_CHAIN):
            name = rule.chain.removeprefix(_DROP_CHAIN)
            return Outcome(Kind.POLICY, BUILT_IN.get(name, f"line {name} of the policy"), policy_id=name)
    if dropped:
        return Outcome(Kind.NOT_OURS, f"{dropped[0].table} {dropped[0].text}")
    if not is_resolved:
        return Outcome(Kind.NO_REPLY, "no reply to the neighbour solicitation: the next hop has no MAC")
    kind, why = _OUTCOME_OF_ERROR.get(error, (Kind.LOST, errno.errorcode.get(error, str(error))))
    return Outcome(kind, why)
