"""Name the host's own firewall rules that a packet of the lab meets, each with the command that helps.

    python -m security.rules.foreign [TABLE]    a line for each: RULE, a tab, WHAT TO DO: COMMAND

A rule counts when it names an address, port or interface of the lab, drops, rewrites or diverts packets, and some of
the lab's packets come to it: security.rules.reach knows which pass by a hook, and which of them a chain of the lab
decides before. Rules that accept or log are not named, nor are those that name nothing of the lab: a firewall is full
of them. Where the lab has no hook before it, a policy that drops what is forwarded counts too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lab.escape import on_one_line
from lab.ruleset.iptables import Rule, Saved, options_of, parse
from lab.taken_ports import branches
from lab.topology import TopologyError, load
from security.rules.reach import HOOKS, Matches, Ours, Way
from security.rules.walk import ACCEPT

_OURS = "CNET-"
_HARM = "harm"  # what a rule does that drops, rewrites or diverts
_HARMLESS = frozenset(("RETURN", "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "CONTINUE", ""))
_OF_IPTABLES = re.compile(r"(ip|ip6|arp|bridge) (filter|nat|mangle|raw|security|broute)")
_CHANGING = (
    "drop", "reject", "dnat", "snat", "masquerade", "redirect", "queue", "tproxy", "notrack", "mangle", "fwd", "dup",
)  # fmt: skip
_LET_IN = "let what is the lab's pass"
_FOR_SOME = ("limit", "quota", "ct count")  # statements that match some packets only
_OTHER_FAMILIES = ("ip6", "arp")
_TRANSLATING = -100  # priority at which the destination becomes another, linux/netfilter_ipv4.h


@dataclass(frozen=True)
class Foreign:
    """A rule of the host, in words and with a command."""

    rule: str
    removal: str
    advice: str = "remove it"


@dataclass(frozen=True)
class Branch:
    """One thing that a rule does: it accepts, harms, calls a chain, or what does not matter here."""

    rule: Any
    matches: Matches
    target: str
    of_map: bool = False  # one of several that the rule does


class Chains:
    """The chains of one tool; a subclass reads them."""

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        self.chains: dict[str, list[Branch]] = {}

    def bases(self) -> Iterator[tuple[str, set[Way]]]:
        """Give the chains that the kernel calls, each with the ways of the lab's packets that come to it."""
        raise NotImplementedError

    def named(self, rule: Any) -> Foreign:
        """Name a rule."""
        raise NotImplementedError

    def closed(self, base: str) -> Foreign | None:
        """Name the policy of a chain, where it drops what is forwarded and no hook of the lab can be before it."""
        raise NotImplementedError

    def met(self) -> Iterator[Foreign]:
        """Yield the rules and policies that packets of the lab meet."""
        found: dict[Foreign, None] = {}
        for base, left in self.bases():
            found |= dict.fromkeys(map(self.named, self._walk(base, left)))
            closed = self.closed(base) if left else None
            found |= {closed: None} if closed else {}
        yield from found

    def _walk(self, chain: str, left: set[Way], *, named: bool = False) -> Iterator[Any]:
        """Yield the rules that packets on the ways `left` meet; ways that are decided are taken from it."""
        for branch in self.chains[chain]:
            if branch.target.startswith(_OURS):
                left -= self.ours.decided_by(branch.target, branch.matches.decided(left))
                continue
            here = branch.matches.of(left)
            is_named = named or branch.matches.name_lab(here)
            undecided = set() if branch.target == ACCEPT else set(here)
            if here and is_named and self._harms(branch):
                yield branch.rule
            elif here and branch.target in self.chains:
                yield from self._walk(branch.target, undecided, named=is_named)
            left -= branch.matches.decided(here - undecided)

    def _harms(self, branch: Branch) -> bool:
        """Tell whether it does, or a chain that it calls; a chain of a map is for others too, its own rules tell."""
        if branch.of_map or branch.target not in self.chains:
            return branch.target == _HARM
        return any(map(self._harms, self.chains[branch.target]))


# --- iptables -------------------------------------------------------------------------------------


def matches_of(rule: Rule, ours: Ours) -> Matches:
    """Read the matches of a rule of iptables."""
    found, protocol = Matches(ours), ""
    for option in options_of(rule.matches):
        value, negated = option.values[0] if option.values else "", option.negated
        match option.flag:
            case "-s" | "--src-range":
                found.address(0, [value], negated=negated)
            case "-d" | "--dst-range":
                found.address(1, [value], negated=negated)
            case "-i" | "--physdev-in":
                found.interface(0, [value], negated=negated)
            case "-o" | "--physdev-out":
                found.interface(1, [value], negated=negated)
            case "--src-type" | "--dst-type" if value == "LOCAL":
                found.local(int(option.flag == "--dst-type"), negated=negated)
            case "--ctstate" | "--state":
                found.by_state = True
            case "-m":
                pass
            case _:
                found.by_more = True
        if option.flag == "-p":
            protocol = value
        elif option.flag in ("--dport", "--dports", "--ports") and not negated:
            found.ports += [(protocol, *port_range(port)) for port in value.split(",")]
    return found


def port_range(text: str) -> tuple[int, int]:
    """Read 80, 8000:8100 (iptables)."""
    first, colon, last = text.partition(":")
    return int(first or 0), int(last or 65535) if colon else int(first or 0)


class Tables(Chains):
    """The rules of one backend of iptables."""

    def __init__(self, saved: Saved, command: str, ours: Ours) -> None:
        super().__init__(ours)
        self._command = command
        self._policies = {f"{table} {chain}": policy for table, chain, policy in saved.policies}
        self.chains = {
            name: [] for name in (*self._policies, *(f"{rule.table} {rule.chain}" for rule in saved.rules))
        }
        for rule in saved.rules:
            branch = Branch(rule, matches_of(rule, ours), self._target(rule))
            self.chains[f"{rule.table} {rule.chain}"].append(branch)

    def _target(self, rule: Rule) -> str:
        if rule.target == ACCEPT or rule.target.startswith(_OURS):
            return rule.target
        chain = f"{rule.table} {rule.target}"
        return "" if rule.target in _HARMLESS else chain if chain in self.chains else _HARM

    def bases(self) -> Iterator[tuple[str, set[Way]]]:
        """Give those of each table."""
        for place in self.chains:
            table, chain = place.split()
            if chain in HOOKS:
                yield place, self.ours.ways_at(chain, translated=table in ("filter", "security"))

    def named(self, rule: Rule) -> Foreign:
        """Name a rule."""
        table = "" if rule.table == "filter" else f"-t {rule.table} "
        removal = f"sudo {self._command} {table}{rule.text.replace('-A ', '-D ', 1)}"
        return Foreign(f"{rule.table} {rule.text}", removal)

    def closed(self, base: str) -> Foreign | None:
        """Name that of the backend that is not the lab's."""
        if base != "filter FORWARD" or self._policies.get(base) != "DROP" or self._command == "iptables":
            return None
        ends = (f"{option} {name}" for name in sorted(self.ours.bridges) for option in ("-i", "-o"))
        passage = " && ".join(f"sudo {self._command} -I FORWARD {end} -j ACCEPT" for end in ends)
        return Foreign(f"{self._command} -P FORWARD DROP", passage, _LET_IN)


# --- nft ------------------------------------------------------------------------------------------


class Ruleset(Chains):
    """Tables that `nft` itself made, as `nft -j list ruleset` writes them."""

    def __init__(self, items: Iterable[dict[str, Any]], ours: Ours) -> None:
        super().__init__(ours)
        self._bases: dict[str, dict[str, Any]] = {}
        self._sets: dict[str, list[Any]] = {}
        rules: list[tuple[str, str, dict[str, Any]]] = []
        for item in items:
            kind, about = next(iter(item.items()))
            if kind == "metainfo" or about["family"] in _OTHER_FAMILIES or "table" not in about:
                continue
            place = f"{about['family']} {about['table']}"
            if _OF_IPTABLES.fullmatch(place):
                continue
            if kind == "chain":
                self.chains[f"{place} {about['name']}"] = []
                if "hook" in about:
                    self._bases[f"{place} {about['name']}"] = about
            elif kind == "rule":
                rules.append((place, about["chain"], about))
            elif kind in ("set", "map"):
                self._sets[f"{place} @{about['name']}"] = about.get("elem", [])
        for place, chain, rule in rules:
            self.chains.setdefault(f"{place} {chain}", []).extend(self._branches(place, rule))

    def bases(self) -> Iterator[tuple[str, set[Way]]]:
        """Give those with a hook; a chain of bridges forwards between the ports of one."""
        for place, base in self._bases.items():
            if base["family"] in ("ip", "inet"):
                translated = base.get("prio", 0) > _TRANSLATING
                yield place, self.ours.ways_at(base["hook"].upper(), translated=translated)
            elif base["hook"] == "forward":
                yield place, {(name, name) for name in self.ours.bridges}
            else:
                yield place, self.ours.ways_at("any")

    def named(self, rule: dict[str, Any]) -> Foreign:
        """Name a rule."""
        place = f"{rule['family']} {rule['table']} {rule['chain']}"
        removal = f"sudo nft delete rule {place} handle {rule['handle']}"
        return Foreign(f"nft {place}: {rule_text(rule)}", removal)

    def closed(self, base: str) -> Foreign | None:
        """Name that of a chain that forwards."""
        about = self._bases[base]
        if about["hook"] != "forward" or about.get("policy") != "drop":
            return None
        ends, names = ["iifname", "oifname"], sorted(self.ours.bridges)
        if about["family"] == "bridge":
            ends, names = ["iifname"], [port for name in names for port in self.ours.ports_of(name)]
        listed = ", ".join(f'"{name}"' for name in names)
        passage = "; ".join(f"insert rule {base} {end} {{ {listed} }} accept" for end in ends)
        return Foreign(f"nft {base}: policy drop", f"sudo nft '{passage}'", _LET_IN)

    def _branches(self, place: str, rule: dict[str, Any]) -> Iterator[Branch]:
        """Split a rule into what it does: a map of verdicts does one thing for each key."""
        of_map = any("vmap" in each for each in rule["expr"])
        for_some = any(word in each for each in rule["expr"] for word in _FOR_SOME)
        for matches, kind, value in branches(rule["expr"], lambda data: self._elements(place, data)):
            found = self._matches(place, matches)
            found.by_more |= for_some
            target = f"{place} {value['target']}" if kind in ("jump", "goto") else ""
            yield Branch(
                rule, found, ACCEPT if kind == "accept" else _HARM if kind in _CHANGING else target, of_map
            )

    def _elements(self, place: str, data: Any) -> list[Any]:
        """Give what a set or map holds, with a name or without."""
        return self._sets.get(f"{place} {data}", []) if isinstance(data, str) else list(data["set"])

    def _matches(self, place: str, matches: Iterable[dict[str, Any]]) -> Matches:
        found = Matches(self.ours)
        for match in matches:
            left: dict[str, Any] = match["left"] if isinstance(match["left"], dict) else {}
            for at, part in enumerate(left.get("concat", [left])):
                texts = list(self._texts(place, match["right"], at))
                self._match(found, part, texts, negated=match["op"] == "!=")
            found.by_more |= match["op"] not in ("==", "in", "!=") or (
                "concat" in left and match["op"] == "!="
            )
        return found

    @staticmethod
    def _match(found: Matches, left: dict[str, Any], texts: Sequence[str], *, negated: bool) -> None:
        """Read one comparison, or one part of it."""
        kind = next(iter(left), "")
        about: Any = left.get(kind)
        name = about.get("field", about.get("key", "")) if isinstance(about, dict) else ""
        end = int(name in ("daddr", "oifname", "oif"))
        if kind == "payload" and name in ("saddr", "daddr"):
            if about["protocol"] == "ip":
                found.address(end, texts, negated=negated)
            else:
                found.nothing()  # the lab speaks IPv4 alone
        elif kind == "meta" and name in ("iifname", "oifname", "iif", "oif"):
            found.interface(end, texts, negated=negated)
        elif kind == "fib" and texts == ["local"] and about["flags"] in (["saddr"], ["daddr"]):
            found.local(int(about["flags"] == ["daddr"]), negated=negated)
        elif kind == "ct" and name in ("state", "status"):
            found.by_state = True
        else:
            found.by_more = True
        if kind == "payload" and name == "dport" and not negated:
            protocol = "" if about["protocol"] == "th" else about["protocol"]
            ranges = [text.partition("-") for text in texts]
            found.ports += [
                (protocol, int(first), int(last or first)) for first, _, last in ranges if first.isdigit()
            ]

    def _texts(self, place: str, right: Any, at: int) -> Iterator[str]:
        """Yield what is compared with, as text; ranges as A-B, sets by what they hold, of a row one part."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._elements(place, right)
        if isinstance(right, list):
            for each in right:
                yield from self._texts(place, each, at)
        elif not isinstance(right, dict):
            yield str(right)
        elif "concat" in right:
            yield from self._texts(place, right["concat"][at], 0)
        elif "prefix" in right:
            yield f"{right['prefix']['addr']}/{right['prefix']['len']}"
        elif "range" in right:
            yield "-".join(map(str, right["range"]))
        elif "set" in right:
            yield from self._texts(place, right["set"], at)
        elif "elem" in right:
            yield from self._texts(place, right["elem"]["val"], at)


def rule_text(rule: dict[str, Any]) -> str:
    """Write a rule as nft does."""
    listed = run("nft", "-a", "list", "chain", rule["family"], rule["table"], rule["chain"])
    found = re.search(rf"^\s*(.*) # handle {rule['handle']}$", listed, re.MULTILINE)
    return re.sub(r"counter packets \d+ bytes \d+ ", "", found[1]) if found else json.dumps(rule["expr"])


# --- this host ------------------------------------------------------------------------------------


def run(*command: str) -> str:
    """Return what a command prints; nothing where it is not installed or the kernel does not have its part."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    except FileNotFoundError:
        return ""


def foreign_rules(ours: Ours) -> Iterator[Foreign]:
    """Yield those of iptables, of its other backend and of nft."""
    is_nft = "nf_tables" in run("iptables", "-V")
    other = "iptables-legacy" if is_nft else "iptables-nft"
    for command in ("iptables", other):
        yield from Tables(parse(run(f"{command}-save", "-c")), command, ours).met()
    listed = run("nft", "-j", "list", "ruleset")
    yield from Ruleset(json.loads(listed)["nftables"] if listed else [], ours).met()


def main(arguments: Sequence[str]) -> int:
    """Print them; 1 when the table cannot be read."""
    try:
        ours = Ours(load(*arguments))
    except TopologyError as error:
        print(f"foreign: {error}", file=sys.stderr)
        return 1
    for each in foreign_rules(ours):
        print("\t".join(map(on_one_line, (each.rule, f"{each.advice}: {each.removal}"))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
