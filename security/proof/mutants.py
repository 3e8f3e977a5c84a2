"""Mutants of a policy: each changes one rule, or one setting or entry of a bridge, and can be undone.

Rules are deleted, weakened (one match fewer) and moved (before the previous rule), one at a time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from lab.family import IPV6
from lab.network.facts import PORT_SYSCTLS, mac_of
from lab.ruleset.iptables import Option, Rule, options_of
from lab.topology import Topology
from security.policy.frames import wires
from security.proof.bursts import tool_of
from security.rules.overlap import order_matters

POLICY_CHAINS = "CNET-"
NAT_CHAINS = ("CNET-PUBLISH", "CNET-POSTROUTING", "CNET-FORWARD", "CNET-INPUT")

_END_CHAINS = ("CNET-NODES", "CNET-ORIGIN-NODES", "CNET-FROM-BRIDGES")  # chains that accept node traffic
# Matches that restrict a rule, with the module that is removed with them; the ports are removed with -p.
_WEAKENED = dict.fromkeys(
    (
        *("-i", "-o", "-s", "-d", "-p", "--dport", "--ip-src", "--arp-ip-src", "--arp-mac-src"),
        *("--ip6-src", "--ip6-proto", "--ip6-icmp-type"),
    ),
    "",
) | {
    "--icmp-type": "icmp",
    "--icmpv6-type": "icmp6",
    "--hl-eq": "hl",
    "--u32": "u32",
    "--header": "ipv6header",
    "--dports": "multiport",
    "--ctstate": "conntrack",
    "--length": "length",
    "--dst-type": "addrtype",
    "--hashlimit-upto": "hashlimit",
    "--limit": "limit",
    "--connlimit-above": "connlimit",
}
_PARTNERS = {("--header", "--soft"), ("--ip6-proto", "--ip6-icmp-type")}  # the second one needs the first
_NEED_PROTOCOL = (
    *("--dport", "--dports", "--icmp-type", "--icmpv6-type", "--ip-src", "--arp-ip-src", "--arp-mac-src"),
    *("--ip6-src", "--ip6-proto", "--ip6-icmp-type"),
)
_PROTOCOL_MODULES = ("tcp", "udp", "icmp", "icmp6", "multiport")


@dataclass(frozen=True)
class Mutant:
    """One change, and how to undo it; both raise CalledProcessError if they fail.

    `tool` has the rule; empty if the change concerns a bridge.
    """

    what: str
    change: Callable[[], None]
    undo: Callable[[], None]
    tool: str = ""


def _run(*words: str, text: str = "") -> None:
    subprocess.run(words, input=text, text=True, check=True, capture_output=True)


# --- bridges ---


def bridge_mutants(topology: Topology) -> Iterator[Mutant]:
    """Return the mutants of the settings of bridges and ports, and of forwarding entries."""
    for bridge in topology.bridges:
        of_bridge = f"ip link set dev {bridge.name} type bridge"
        yield _mutant(f"{of_bridge} no_linklocal_learn 0", f"{of_bridge} no_linklocal_learn 1")
        yield _mutant(f"{of_bridge} mcast_snooping 1", f"{of_bridge} mcast_snooping 0")
    first_port = {nodes[0].bridge: port for port, nodes in reversed(wires(topology).items())}
    for port, nodes in wires(topology).items():
        for setting in ("learning", "flood"):
            of_port = f"ip link set dev {port} type bridge_slave {setting}"
            yield _mutant(f"{of_port} on", f"{of_port} off")
        mac, other_port = mac_of(nodes[0].address.ip), first_port[nodes[0].bridge]
        entry = f"bridge fdb replace {mac} dev {port} master static sticky"
        yield _mutant(f"bridge fdb del {mac} dev {port} master", entry)
        yield _mutant(f"bridge fdb replace {mac} dev {port} master dynamic", entry)
        if other_port != port:
            yield _mutant(entry.replace(port, other_port), entry)
        for setting in PORT_SYSCTLS:
            of_port = f"sysctl -qw {setting.format(link=port)}"
            yield _mutant(f"{of_port.partition('=')[0]}=0", of_port)


def _mutant(change: str, undo: str) -> Mutant:
    return Mutant(change, partial(_run, *change.split()), partial(_run, *undo.split()))


# --- rules ---


def rule_mutants(rules: Sequence[Rule], topology: Topology) -> Iterator[Mutant]:
    """Return the mutants of the policy's rules. Rules without a target are only comments."""
    for (table, chain), in_chain in groupby(rules, key=lambda rule: (rule.table, rule.chain)):
        of_chain = tuple(in_chain)
        undo = _load_chain(table, chain, [rule.text for rule in of_chain])
        for at, rule in enumerate(of_chain):
            if _is_policy_rule(rule) and _is_reachable(of_chain, at):
                for what, texts in _changes(of_chain, at, topology):
                    change = _load_chain(table, chain, texts)
                    yield Mutant(f"{what}: {table} {rule.text}", change, undo, tool_of(table))


def _load_chain(table: str, chain: str, rules: Sequence[str]) -> Callable[[], None]:
    """Return the command that replaces all rules of a chain in one transaction."""
    text = "\n".join((f"*{table.rpartition(' ')[2]}", f"-F {chain}", *rules, "COMMIT")) + "\n"
    return partial(_run, f"{tool_of(table)}-restore", "--noflush", text=text)


def _name_of(table: str) -> str:
    """Return the name of a table of iptables or ip6tables."""
    return table.removeprefix(f"{IPV6.tool} ")


def _is_reachable(rules: Sequence[Rule], at: int) -> bool:
    """Decide whether packets reach a rule: the rules before it must not match every packet."""
    return not any(
        (rule.target == "RETURN" or rule.goto) and not options_of(rule.matches) for rule in rules[:at]
    )


def _is_end(rule: Rule) -> bool:
    """Decide whether a rule accepts packets between nodes before other programs' rules."""
    return rule.target == "ACCEPT" and (rule.chain in _END_CHAINS or _name_of(rule.table) == "nat")


def _is_policy_rule(rule: Rule) -> bool:
    if _is_end(rule) or rule.target in _END_CHAINS:
        return True
    ours = rule.chain.startswith(POLICY_CHAINS) or rule.target.startswith(POLICY_CHAINS)
    return ours and bool(rule.target) and rule.chain not in NAT_CHAINS and rule.target not in NAT_CHAINS


def _changes(rules: Sequence[Rule], at: int, topology: Topology) -> Iterator[tuple[str, list[str]]]:
    """Return each change of a rule, with the chain's rules after it."""
    texts = [rule.text for rule in rules]
    rule, before, after = rules[at], texts[:at], texts[at + 1 :]
    yield "deleted", [*before, *after]
    if _is_end(rule) or rule.target == "CNET-ORIGIN-NODES" or _name_of(rule.table) in ("mangle", "nat"):
        return  # a weaker rule only accepts more packets
    for missing, weaker in _weakened(rule):
        yield f"without {missing}", [*before, weaker, *after]
    if at and _is_policy_rule(rules[at - 1]) and order_matters(rules[at - 1], rule, topology):
        yield "moved up", [*before[:-1], texts[at], before[-1], *after]


def _weakened(rule: Rule) -> Iterator[tuple[str, str]]:
    """Return the removed match, and the rule without it, for each match."""
    options = options_of(rule.matches)
    for option in options:
        if option.flag in _WEAKENED:
            rest = [other for other in options if other is not option and not _needs(other, option.flag)]
            yield option.verbatim, _format(rule, [word for other in rest for word in other.words])


def _needs(other: Option, flag: str) -> bool:
    """Decide whether a match has no effect, or is refused, without the match of `flag`."""
    module = _WEAKENED[flag]
    if flag == "-p":
        return other.flag in _NEED_PROTOCOL or (other.flag == "-m" and other.values[0] in _PROTOCOL_MODULES)
    if (flag, other.flag) in _PARTNERS:
        return True
    return bool(module) and (other.words == ("-m", module) or other.flag.startswith(f"--{module}"))


def _format(rule: Rule, matches: Sequence[str]) -> str:
    words = ["-A", rule.chain, *matches, "-g" if rule.goto else "-j", rule.jump, *rule.target_options]
    return " ".join(f'"{word}"' if " " in word else word for word in words)
