"""Findings in rules that are not the lab's: in any table of iptables and nft, on the host and in namespaces."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.namespace import inside
from lab.network import facts as kinds
from lab.ruleset import from_iptables, from_nft
from lab.ruleset.from_iptables import IptablesRule
from lab.ruleset.iptables import parse
from lab.ruleset.model import Action, Chains
from security.diagnose.crossings import Crossing, Uplinks, crossings_of_host, crossings_of_namespace
from security.diagnose.differences import HOST, Differences
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.frames import foreign_frame_rules
from security.diagnose.observed import Observed, RuleTexts, read_rules
from security.diagnose.rule_walk import Met, Walk
from security.explain import kernel_trace
from security.policy.model import Policy

_TABLES = ("filter", "nat", "mangle", "raw", "security", "broute")
_FAMILIES = ("ip", "inet", "bridge", "netdev", "arp")
_SHOWN = 4  # flows in a sentence
_VERBS = {
    Action.BLOCK: "drops",
    Action.REDIRECT: "sends to another destination",
    Action.CHANGE: "rewrites or diverts",
}


@dataclass(frozen=True)
class Place:
    """The host, or a namespace of the lab, with its rules and the packets that pass there."""

    namespace: str
    rules: RuleTexts
    packets: Sequence[Crossing]

    @property
    def name(self) -> str:
        """The place of a finding."""
        return self.namespace or HOST

    @property
    def enter(self) -> str:
        """The words before a command that runs in this place."""
        return f"nsenter --net=/run/netns/{self.namespace} " if self.namespace else ""


def check_foreign_rules(seen: Observed) -> Iterator[Finding]:
    """Yield each rule of the host that is not the lab's and that drops or rewrites packets that the lab must carry."""
    packets = crossings_of_host(seen.topology, _policy(seen), uplinks_of(seen))
    place = Place("", seen.host_rules, packets)
    found = list(_rules_met(seen, place))
    moved = _moved_since(seen) if len(found) > 1 else {}
    found.sort(key=lambda met: (-moved.get(_text(met), 0), -_packets(met)))
    yield from (_finding(met, place, moved.get(_text(met), 0)) for met in found)
    yield from foreign_frame_rules(seen.topology, place.rules, place.name)


def check_namespace_rules(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each rule inside a namespace that drops or rewrites packets of the lab."""
    facts = left.take_surplus(kinds.CHAIN, kinds.LEGACY_TABLE)
    for namespace in dict.fromkeys(fact.place for fact in facts):
        packets = crossings_of_namespace(seen.topology, _policy(seen), namespace)
        place = Place(namespace, read_rules(namespace), packets)
        with inside(namespace):  # nft lists a rule's text
            met = sorted(_rules_met(seen, place), key=lambda each: -_packets(each))
            found = [_finding(each, place, 0) for each in met]
        yield from found
        yield from foreign_frame_rules(seen.topology, place.rules, place.name, place.enter)


def _policy(seen: Observed) -> Policy | None:
    return seen.policy if seen.policy_is_in_force else None


def uplinks_of(seen: Observed) -> Uplinks:
    """Return the interfaces of the host's default routes, and the first one's address."""
    routes = seen.live.host.routes
    names = tuple(route["dev"] for route in routes if route["dst"] == "default" and "dev" in route)
    addresses = {
        link["ifname"]: one["local"]
        for link in seen.live.host.links
        for one in link.get("addr_info", ())
        if one["family"] == "inet"
    }
    found = next((addresses[name] for name in names if name in addresses), "")
    return Uplinks(names, found or next(iter(sorted(seen.host_addresses)), ""))


def _rules_met(seen: Observed, place: Place) -> Iterator[Met]:
    """Yield the rules of each tool that the packets meet; those of iptables, which nft shows too, once."""
    host = seen.host_addresses if not place.namespace else set()
    for backend, text in place.rules.iptables.items():
        chains = from_iptables.chains_of(parse(text), backend)
        for met in Walk(chains, seen.topology, host).rules_met(chains.bases, place.packets):
            if met.is_certain or _packets(met):  # whether other conditions hold only the counter says
                yield met
    chains = _nft_chains(place.rules.nft)
    bases = [base for base in chains.bases if base.family in _FAMILIES and not _is_known(base.name)]
    yield from Walk(chains, seen.topology, host).rules_met(bases, place.packets)


def _nft_chains(text: str) -> Chains:
    return from_nft.chains_of(json.loads(text)["nftables"] if text else ())


def _is_known(name: str) -> bool:
    """Decide whether a base chain of nft is one that iptables made, or make explain, which traces a packet by it."""
    family, table, chain = name.split(" ", 2)
    is_of_iptables = family in ("ip", "bridge", "arp") and table in _TABLES and chain.isupper()
    return is_of_iptables or table == kernel_trace.TABLE


# --- findings -------------------------------------------------------------------------------------


def _finding(met: Met, place: Place, moved: int) -> Finding:
    text, count = _text(met), _packets(met)
    seen = f", {count} packets so far" if count else ""
    now = f", {moved} of them during this check" if moved else ""
    return Finding(
        kind=Kind.FOREIGN_RULE,
        object=text,
        place=place.name,
        cause=f"a rule that is not the lab's {_verb(met)} packets of the lab{seen}{now}: {text}",
        breaks=_flows(met.packets),
        repair=(_removal(met, place),),
        evidence=(_evidence(met, place),),
    )


def _verb(met: Met) -> str:
    if isinstance(met.rule, IptablesRule) and met.rule.rule.target == "REJECT":
        return "rejects"
    return _VERBS[met.action]


def _text(met: Met) -> str:
    """Return the rule as its tool prints it, or the policy of a chain."""
    if met.rule:
        return met.rule.text
    if " " in met.base.name.partition(" ")[2]:  # FAMILY TABLE CHAIN of nft
        return f"nft {met.base.name}: policy drop"
    table, _, chain = met.base.name.partition(" ")
    return f"{table} -P {chain} DROP"


def _removal(met: Met, place: Place) -> str:
    if met.rule:
        return met.rule.removal.replace("sudo ", f"sudo {place.enter}", 1)
    if " " in met.base.name.partition(" ")[2]:
        return f"sudo {place.enter}nft chain {met.base.name} '{{ policy accept; }}'"
    table, _, chain = met.base.name.partition(" ")
    return f"sudo {place.enter}iptables -t {table} -P {chain} ACCEPT"


def _evidence(met: Met, place: Place) -> Evidence:
    if isinstance(met.rule, IptablesRule):
        rule = met.rule.rule
        return Evidence(
            command=f"sudo {place.enter}{met.rule.command}-save -c -t {rule.table} | grep -e '-A {rule.chain}'",
            line=f"[{rule.packets}:{rule.bytes}] {rule.text}",
        )
    if met.rule:
        where = met.rule.text.removeprefix("nft ").partition(":")[0]
        line = met.rule.text.partition(": ")[2]
        return Evidence(command=f"sudo {place.enter}nft -a list chain {where}", line=line)
    return Evidence(command=f"sudo {place.enter}nft list chains", line=_text(met))


def _flows(packets: Sequence[Crossing]) -> str:
    """Name the flows that a rule breaks: connections that cannot begin, or get no answer."""
    asked = dict.fromkeys(str(one.flow) for one in packets if not one.answer)
    answered = [flow for flow in dict.fromkeys(str(one.flow) for one in packets) if flow not in asked]
    parts = [_listed(list(asked), "")] if asked else []
    parts += [_listed(answered, "the answers of ")] if answered else []
    return "; ".join(parts)


def _listed(flows: list[str], prefix: str) -> str:
    more = f" and {len(flows) - _SHOWN} more" if len(flows) > _SHOWN else ""
    return prefix + ", ".join(flows[:_SHOWN]) + more


# --- counters -------------------------------------------------------------------------------------


def _packets(met: Met) -> int:
    return met.rule.rule.packets if isinstance(met.rule, IptablesRule) else 0


def _moved_since(seen: Observed) -> Counter[str]:
    """Read the counters of iptables again; return how far each rule's has moved."""
    moved: Counter[str] = Counter()
    for sign, texts in ((1, read_rules().iptables), (-1, seen.host_rules.iptables)):
        for text in texts.values():
            for rule in parse(text).rules:
                moved[f"{rule.table} {rule.text}"] += sign * rule.packets
    return moved
