"""Findings in the lab's own rules: a chain that differs from what the tables compile to, a hook that is not first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from lab import nat
from lab.ruleset import OWN_PREFIX, from_iptables
from lab.ruleset.difference import Behind, CannotLoadError, OwnRules, canonical_rules, own_rules, target_of
from lab.ruleset.iptables import parse
from lab.ruleset.model import Action, BaseChain, Chains, Step
from lab.topology import Topology
from security.diagnose.conditions import all_hold
from security.diagnose.crossings import crossings_of_host
from security.diagnose.differences import HOST
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.foreign import uplinks_of
from security.diagnose.observed import RUN_DIR, Observed
from security.policy.compiler import compile_rules
from security.rules.overlap import order_matters
from security.rules.reach import LabTraffic, Matches

Place = tuple[str, str]  # table, chain

_OWN_CHAINS = ".*"
_COMMENT = re.compile(r'--comment "cnet: ((?:[^"\\]|\\.)*)"')
# Comments of rules that match all and do nothing, and of guards, which may be removed while the lab is up.
_MEMORY, _GUARD = "cnet: before up:", "did not forward before up"
_STATE_WORDS = {4: re.compile(r"not-forwarding=(\S+)"), 6: re.compile(r"not-forwarding6=(\S+)")}
_MAX_EXAMPLES = 3
_BROKEN = {
    "CNET-PUBLISH": "connections to the published ports of the host",
    "CNET-POSTROUTING": "connections whose source must be translated: from nodes to the outside, or from localhost "
    "and from nodes to a published port; their answers do not return through the host",
    "CNET-FORWARD": "packets that the host forwards from nodes and to published ports",
    "CNET-INPUT": "the protection of the host's loopback services from nodes",
    "CNET-NODES": "packets between nodes, which then meet rules of other programs",
}
_SKIPPING = (Action.ACCEPT, Action.RETURN)


@dataclass(frozen=True)
class Chain:
    """A chain that differs: rules that are missing, and rules that should not be there."""

    tool: str
    table: str
    name: str
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    is_policy: bool  # loaded by security/policy.sh, else by scripts/nat.sh

    @property
    def place(self) -> str:
        """TABLE CHAIN; of ebtables and ip6tables with the tool's name."""
        return f"{'' if self.tool == 'iptables' else f'{self.tool} '}{self.table} {self.name}"


def check_own_rules(seen: Observed) -> Iterator[Finding]:
    """Yield a finding for each chain of the lab that differs, and for each hook that packets may not reach."""
    for tool, text in (
        ("iptables", seen.host_rules.iptables["iptables"]),
        *([("ip6tables", seen.ip6tables)] if seen.topology.has_ipv6 else []),
        ("ebtables", seen.host_rules.ebtables),
    ):
        policy, forwarding = _wanted(seen, tool, text)
        try:
            wanted = canonical_rules([*policy, *forwarding], tool, _OWN_CHAINS)
        except CannotLoadError:
            continue  # up says what the kernel refuses
        live = own_rules(_without_counters(text), _OWN_CHAINS)
        of_policy = _places_of(policy)
        for place, missing, surplus in _differences(_by_chain(wanted), _by_chain(live), seen.topology):
            called = {(place[0], target_of(rule)) for rule in (*missing, *surplus)}
            yield _of_chain(Chain(tool, *place, missing, surplus, bool({place, *called} & of_policy)))
        if tool != "ebtables":
            yield from _hooks_behind(seen, live, text, tool)


def _wanted(seen: Observed, tool: str, saved: str) -> tuple[list[str], list[str]]:
    """Return the wanted rules of the policy, and of NAT and forwarding, as "TABLE -A CHAIN ..."."""
    policy = compile_rules(seen.policy) if seen.policy and seen.policy_is_in_force else []
    forwarding: list[str] = []
    if seen.nat_is_wanted:
        guarded = {
            version: [name for name in words.findall(_state()) if f'"cnet: {name} {_GUARD}' in saved]
            for version, words in _STATE_WORDS.items()
        }
        with_docker = [tool] if "\n:DOCKER-USER " in saved else []
        forwarding = list(nat.wanted_rules(seen.topology, "", guarded, with_docker))
    return (
        [line.removeprefix(f"{tool} ") for line in policy if line.startswith(f"{tool} ")],
        [line.removeprefix(f"{tool} ") for line in forwarding if line.startswith(f"{tool} ")],
    )


def _state() -> str:
    path = RUN_DIR / "before-up.nat"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _without_counters(saved: str) -> str:
    return re.sub(r"(?m)^\[\d+:\d+\] ", "", saved)


def _by_chain(rules: OwnRules) -> dict[Place, list[str]]:
    """Return the rules by table and chain, hooks under the chain of the host that has them."""
    found: dict[Place, list[str]] = {key: list(own) for key, own in rules.chains.items()}
    for hook in rules.hooks:
        found.setdefault((hook.table, hook.chain), []).append(hook.text)
    return {key: [rule for rule in own if _MEMORY not in rule] for key, own in found.items()}


def _differences(
    wanted: dict[Place, list[str]], live: dict[Place, list[str]], topology: Topology
) -> Iterator[tuple[Place, tuple[str, ...], tuple[str, ...]]]:
    """Yield each chain that differs, with its missing and its surplus rules; a rule at a wrong place is surplus."""
    for place in dict.fromkeys((*wanted, *live)):
        want, have = wanted.get(place, []), live.get(place, [])
        missing, surplus = Counter(want) - Counter(have), Counter(have) - Counter(want)
        if missing or surplus:
            yield place, tuple(missing.elements()), tuple(surplus.elements())
        elif place[1].startswith(OWN_PREFIX) and (moved := _moved(place, want, have, topology)):
            yield place, (), (moved,)


def _moved(place: Place, want: list[str], have: list[str], topology: Topology) -> str:
    """Return a rule that comes before another one that should precede it, if that changes the verdict of a packet."""
    rules = parse("\n".join((f"*{place[0]}", *(f"[0:0] {rule}" for rule in have), "COMMIT"))).rules
    if len(rules) < len(have):
        return ""
    rank = {text: at for at, text in enumerate(want)}
    for first, second in combinations(rules, 2):
        if rank[first.text] > rank[second.text] and order_matters(first, second, topology):
            return first.text
    return ""


def _places_of(rules: list[str]) -> set[Place]:
    """Return table and chain of the lab's chains that have these rules."""
    places = {(table, words.split(" ", 2)[1]) for table, _, words in (rule.partition(" ") for rule in rules)}
    return {place for place in places if place[1].startswith(OWN_PREFIX)}


def _of_chain(chain: Chain) -> Finding:
    tool = f"{chain.tool}-save" + ("" if chain.tool == "ebtables" else f" -t {chain.table}")
    kind = Kind.RULE_MISSING if chain.missing else Kind.RULE_SURPLUS
    words = [f"{_example(chain.missing)} missing" if chain.missing else ""]
    words += [f"{_example(chain.surplus)} surplus, or in the wrong place" if chain.surplus else ""]
    script = "security/policy.sh" if chain.is_policy else "scripts/nat.sh"
    return Finding(
        kind=kind,
        object=chain.place,
        place=HOST,
        cause=f"the lab's rules in {chain.place} differ from the tables: {'; '.join(filter(None, words))}",
        breaks=_breaks(chain),
        repair=(f"sudo {script} up",),
        evidence=(
            Evidence(
                command=f"sudo {tool} | grep -e '{chain.name}'",
                line=chain.surplus[0] if chain.surplus else f"(no line {chain.missing[0]})",
            ),
        ),
    )


def _example(rules: tuple[str, ...]) -> str:
    """Name some rules by their comments, else by their text."""
    comments = [found[1] if (found := _COMMENT.search(rule)) else rule for rule in rules]
    shown = ", ".join(f'"{text}"' for text in comments[:_MAX_EXAMPLES])
    rest = len(comments) - _MAX_EXAMPLES
    return f"{shown} and {rest} more are" if rest > 0 else f"{shown} {'is' if len(comments) == 1 else 'are'}"


def _breaks(chain: Chain) -> str:
    if chain.tool == "ebtables":
        return "frames of nodes: a node may be cut off, or may send with the address of another"
    if chain.is_policy and chain.missing:
        return "what these rules decide: allowed connections may be dropped, forbidden ones may pass"
    if chain.is_policy:
        return "the packets that these rules match: they get another verdict than the policy's"
    return _BROKEN.get(chain.name, "traffic through the host: published ports, or connections to the outside")


# --- hooks ----------------------------------------------------------------------------------------


def _hooks_behind(seen: Observed, live: OwnRules, saved: str, tool: str = "iptables") -> Iterator[Finding]:
    """Yield each hook that comes after a foreign rule that accepts packets of the lab, so that they miss the hook."""
    chains = from_iptables.chains_of(parse(saved), tool) if live.behind else Chains()
    bases = {chain.name: chain for chain in chains.bases}
    for behind in live.behind:
        base = bases.get(f"{behind.table} {behind.chain}")
        for step in chains.steps[base.name] if base else ():
            is_before = _rule_of(step, behind) in behind.rules and step.action in _SKIPPING
            if base and is_before and _matters(step, base, seen):
                yield _behind(behind, step, tool)
                break


def _matters(step: Step, base: BaseChain, seen: Observed) -> bool:
    """Decide whether packets of the lab miss something: a translation, or a rule that may drop them."""
    table, _, chain = base.name.partition(" ")
    if table == "nat" and chain != "POSTROUTING":  # only published ports are translated there
        packets = crossings_of_host(seen.topology, seen.policy, uplinks_of(seen))
        return any(
            packet.hook == chain
            and packet.translated is False
            and all_hold(step.conditions, packet, seen.host_addresses) is not False
            for packet in packets
        )
    lab = LabTraffic(seen.topology, 6 if base.family == "ip6" else 4)
    matches = Matches(step.conditions, lab)
    here = matches.of(lab.ways_at(chain, is_translated=base.is_translated))
    return bool(here) and (table not in ("filter", "mangle") or matches.name_lab(here))


def _rule_of(step: Step, behind: Behind) -> str:
    """Return the rule as iptables-save prints it, from `-A` on."""
    return step.rule.text.partition(f"{behind.table} ")[2]


def _behind(behind: Behind, step: Step, tool: str) -> Finding:
    text, place = _rule_of(step, behind), f"{behind.table} {behind.chain}"
    place = place if tool == "iptables" else f"{tool} {place}"
    script = "scripts/nat.sh" if behind.table in ("nat", "filter", "mangle") else "security/policy.sh"
    return Finding(
        kind=Kind.HOOK_BEHIND,
        object=place,
        place=HOST,
        cause=f"the lab's hook in {place} comes after a rule that is not the lab's: {text}",
        breaks="packets that this rule accepts never reach the lab's rules of this chain",
        repair=(step.rule.removal, f"or, to keep it: sudo {script} up"),
        evidence=(Evidence(command=f"sudo {tool} -t {behind.table} -S {behind.chain}", line=text),),
    )
