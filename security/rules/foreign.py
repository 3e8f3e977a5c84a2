"""List the host's own firewall rules that a packet of the lab meets, each with the command that resolves it.

    python -m security.rules.foreign [TABLE]    a line for each: RULE, a tab, WHAT TO DO: COMMAND

A rule is listed if it names an address, port or interface of the lab, drops, rewrites or diverts packets, and some of
the lab's packets reach it: security.rules.reach computes which packets pass a hook, and which of them a chain of the
lab decides first. Rules that accept or log are not listed, nor are rules that name nothing of the lab, because most
firewalls have many. A policy that drops forwarded packets is listed if the lab has no hook before it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.escape import on_one_line
from lab.ruleset import from_iptables, from_nft
from lab.ruleset.host import iptables_backends, outputs_of
from lab.ruleset.iptables import parse
from lab.ruleset.model import Action, BaseChain, Chains, HostRule, Step
from lab.topology import Topology, TopologyError, load
from security.rules.reach import LabTraffic, Matches, Way

_HARMS = (Action.BLOCK, Action.REDIRECT, Action.CHANGE)
_OF_IPTABLES = re.compile(r"(ip6?|bridge) (filter|nat|mangle|raw|security|broute)")
_FAMILIES = ("inet", "bridge", "netdev")  # of nft; their rules may match both IPv4 and IPv6
_TOOLS = {4: "iptables", 6: "ip6tables"}
_LET_IN = "let the lab's packets pass"


@dataclass(frozen=True)
class Foreign:
    """A rule of the host with the command that resolves it."""

    rule: str
    removal: str
    advice: str = "remove it"


def foreign_rules(chains: Chains, lab: LabTraffic, tool: str) -> Iterator[Foreign]:
    """Yield the rules and policies of one tool (iptables, ip6tables-legacy, nft ...) that packets of the lab meet."""
    found: dict[Foreign, None] = {}
    for base in chains.bases:
        if base.family not in (lab.family, *_FAMILIES) or _OF_IPTABLES.fullmatch(
            base.name.rpartition(" ")[0]
        ):
            continue
        left = _ways_at(base, lab)
        for rule in _Walk(chains, lab).rules_met(base.name, left):
            found[Foreign(rule.text, rule.removal)] = None
        closed = _closed_policy(base, lab, tool) if left else None
        if closed:
            found[closed] = None
    yield from found


def _ways_at(base: BaseChain, lab: LabTraffic) -> set[Way]:
    """Return the ways of the lab's packets that reach a base chain; bridges forward between their own ports."""
    if base.family in (lab.family, "inet"):
        return lab.ways_at(base.hook, is_translated=base.is_translated)
    if base.hook == "FORWARD":
        return {(name, name) for name in lab.bridges}
    return lab.ways_at("any")


@dataclass(frozen=True)
class _Walk:
    chains: Chains
    lab: LabTraffic

    def rules_met(self, chain: str, left: set[Way], *, is_named: bool = False) -> Iterator[HostRule]:
        """Yield the rules that packets on the ways `left` meet; remove the ways that are decided from `left`."""
        for step in self.chains.steps.get(chain, ()):
            matches = Matches(step.conditions, self.lab)
            if step.own_chain:
                left -= self.lab.decided_by(step.own_chain, matches.decided(left))
                continue
            here = matches.of(left)
            names_lab = is_named or matches.name_lab(here)
            undecided = set() if step.action == Action.ACCEPT else set(here)
            if here and names_lab and self._harms(step):
                yield step.rule
            elif here and step.action == Action.CALL:
                yield from self.rules_met(step.chain, undecided, is_named=names_lab)
            left -= matches.decided(here - undecided)

    def _harms(self, step: Step) -> bool:
        """Decide whether the step, or a chain that it calls, drops, rewrites or diverts packets.

        A chain called by a map is also for other packets: its own rules are listed instead.
        """
        if step.action == Action.CALL and not step.of_map:
            return any(map(self._harms, self.chains.steps.get(step.chain, ())))
        return step.action in _HARMS


def _closed_policy(base: BaseChain, lab: LabTraffic, tool: str) -> Foreign | None:
    """Return the policy of a chain that drops forwarded packets, where no hook of the lab can come before it."""
    if base.hook != "FORWARD" or base.policy != "drop" or tool in _TOOLS.values():
        return None
    bridges = sorted(lab.bridges)
    if tool != "nft":
        if base.name != "filter FORWARD":
            return None
        ends = (f"{option} {name}" for name in bridges for option in ("-i", "-o"))
        passage = " && ".join(f"sudo {tool} -I FORWARD {end} -j ACCEPT" for end in ends)
        return Foreign(f"{tool} -P FORWARD DROP", passage, _LET_IN)
    is_bridge = base.family == "bridge"
    names = [port for name in bridges for port in lab.ports_of(name)] if is_bridge else bridges
    listed = ", ".join(f'"{name}"' for name in names)
    keys = ("iifname",) if is_bridge else ("iifname", "oifname")
    passage = "; ".join(f"insert rule {base.name} {key} {{ {listed} }} accept" for key in keys)
    return Foreign(f"nft {base.name}: policy drop", f"sudo nft '{passage}'", _LET_IN)


def rules_of_host(topology: Topology) -> list[Foreign]:
    """Return the rules of both backends of iptables and ip6tables, and of nft, each once."""
    versions = {address.version for bridge in topology.bridges for address in bridge.addresses}
    traffic = {version: LabTraffic(topology, version) for version in sorted(versions)}
    backends = {
        backend: lab for version, lab in traffic.items() for backend in iptables_backends(_TOOLS[version])
    }
    nft, *saved = outputs_of(
        ("nft", "-j", "list", "ruleset"), *((f"{backend}-save", "-c") for backend in backends)
    )
    found: list[Foreign] = []
    for (backend, lab), text in zip(backends.items(), saved, strict=True):
        found += foreign_rules(from_iptables.chains_of(parse(text), backend), lab, backend)
    chains = from_nft.chains_of(json.loads(nft)["nftables"] if nft else ())
    for lab in traffic.values():
        found += foreign_rules(chains, lab, "nft")
    return list(dict.fromkeys(found))


def main(arguments: Sequence[str]) -> int:
    """Print the rules; return 1 if the topology table cannot be read."""
    try:
        topology = load(*arguments)
    except TopologyError as error:
        print(f"foreign: {error}", file=sys.stderr)
        return 1
    for found in rules_of_host(topology):
        print("\t".join(map(on_one_line, (found.rule, f"{found.advice}: {found.removal}"))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
