"""Name the host's own firewall rules that a packet of the lab meets, each with the command that removes it.

    python -m security.foreign [TABLE]    a line for each: RULE, a tab, COMMAND

A rule counts when it names an address, port or interface of the lab and drops, rewrites or diverts packets. Rules
after the lab's hook in filter's FORWARD or in nat are not met: the lab's chains decide before. Rules that accept or log
are not named, nor are those that name nothing of the lab: a firewall is full of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from typing import Any

from scripts.topology import Topology, TopologyError, load
from security.iptables import Rule, Saved, options_of, parse

_HARMLESS = frozenset(("ACCEPT", "RETURN", "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "CONTINUE", ""))
_OURS = "CNET-"
_BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_OF_IPTABLES = re.compile(r"(ip|ip6|arp|bridge) (filter|nat|mangle|raw|security|broute)")
_CHANGING = (
    "drop", "reject", "dnat", "snat", "masquerade", "redirect", "queue", "tproxy", "notrack", "mangle", "fwd", "dup",
)  # fmt: skip
_OTHER_FAMILIES = ("ip6", "arp")


@dataclass(frozen=True)
class Foreign:
    """A rule of the host, in words and as a command."""

    rule: str
    removal: str


class Ours:
    """What a rule may name of the lab."""

    def __init__(self, topology: Topology) -> None:
        self._networks = [bridge.address.network for bridge in topology.bridges]
        self._interfaces = {bridge.name for bridge in topology.bridges}
        self._interfaces |= {node.bridge_interface for node in topology.nodes}
        self._ports = {(each.protocol, each.port) for node in topology.nodes for each in node.listens}
        self._ports |= {(each.protocol, each.host_port) for node in topology.nodes for each in node.publishes}

    def has_address(self, text: str) -> bool:
        """Tell whether an address, network or range (A-B) overlaps with the lab's; 0.0.0.0/0 names nobody."""
        try:
            first, _, last = text.partition("-")
            networks = (
                list(summarize_address_range(IPv4Address(first), IPv4Address(last)))
                if last
                else [IPv4Network(text, strict=False)]
            )
        except ValueError:
            return False
        return any(each.prefixlen and each.overlaps(ours) for each in networks for ours in self._networks)

    def has_interface(self, text: str) -> bool:
        """Tell whether it is a bridge or port of the lab; `veth+` (iptables) and `veth*` (nft) are patterns."""
        start = text.rstrip("+*")
        if start == text:
            return text in self._interfaces
        return bool(start) and any(name.startswith(start) for name in self._interfaces)

    def has_port(self, protocol: str, first: int, last: int) -> bool:
        """Tell whether a port of a range is one that a node listens on, or that is published."""
        return any(protocol in (each, "") and first <= port <= last for each, port in self._ports)


# --- iptables -------------------------------------------------------------------------------------


def names_lab(rule: Rule, ours: Ours) -> bool:
    """Tell whether a rule's own matches name the lab. A port alone does not, beside an address of somebody else."""
    named, elsewhere, protocol, ports = False, False, "", []
    for option in options_of(rule.matches):
        value = option.values[0] if option.values else ""
        if option.flag == "-p":
            protocol = value
        elif (
            option.flag in ("--dport", "--dports", "--destination-port", "--destination-ports")
            and not option.negated
        ):
            ports += value.split(",")
        elif option.flag in ("-s", "-d", "--src-range", "--dst-range"):
            is_ours = ours.has_address(value)
            named |= is_ours and not option.negated
            elsewhere |= is_ours == option.negated
        elif option.flag in ("-i", "-o", "--physdev-in", "--physdev-out"):
            is_ours = ours.has_interface(value)
            named |= is_ours and not option.negated
            elsewhere |= is_ours == option.negated
    by_port = any(ours.has_port(protocol, *port_range(port)) for port in ports)
    return named or (by_port and not elsewhere)


def port_range(text: str) -> tuple[int, int]:
    """Read 80, 8000:8100 (iptables)."""
    first, colon, last = text.partition(":")
    return int(first or 0), int(last or 65535) if colon else int(first or 0)


class Tables:
    """The rules of one backend of iptables."""

    def __init__(self, saved: Saved, command: str, ours: Ours) -> None:
        self._command, self._ours = command, ours
        self._chains: dict[tuple[str, str], list[Rule]] = {}
        for rule in saved.rules:
            self._chains.setdefault((rule.table, rule.chain), []).append(rule)

    def met(self) -> Iterator[Foreign]:
        """Yield the rules that packets of the lab meet."""
        tables = dict.fromkeys(table for table, _ in self._chains)
        seen: set[str] = set()
        for table in tables:
            for chain in _BUILT_IN:
                for rule in self._walk(table, chain, ()):
                    removal = self._removal(rule)
                    if removal not in seen:
                        seen.add(removal)
                        yield Foreign(f"{table} {rule.text}", removal)

    def _removal(self, rule: Rule) -> str:
        table = "" if rule.table == "filter" else f"-t {rule.table} "
        return f"sudo {self._command} {table}{rule.text.replace('-A ', '-D ', 1)}"

    def _walk(self, table: str, chain: str, above: tuple[str, ...]) -> Iterator[Rule]:
        """Yield foreign rules in the order in which they are met, up to the lab's hook where that decides."""
        for rule in self._chains.get((table, chain), ()):
            if rule.target.startswith(_OURS):
                if table == "nat" or chain in ("FORWARD", "DOCKER-USER"):
                    return
            elif names_lab(rule, self._ours):
                if self._is_harmful(table, rule.target, above):
                    yield rule
            elif (table, rule.target) in self._chains and rule.target not in above:
                yield from self._walk(table, rule.target, (*above, chain))

    def _is_harmful(self, table: str, target: str, above: tuple[str, ...]) -> bool:
        if (table, target) not in self._chains:
            return target not in _HARMLESS and not self._is_empty(target)
        return target not in above and any(
            self._is_harmful(table, rule.target, (*above, target)) for rule in self._chains[table, target]
        )

    @staticmethod
    def _is_empty(target: str) -> bool:
        return target not in _HARMLESS and target != target.upper()  # a chain without a rule


# --- nft ------------------------------------------------------------------------------------------


class Ruleset:
    """Tables that `nft` itself made, as `nft -j list ruleset` writes them."""

    def __init__(self, items: Iterable[dict[str, Any]], ours: Ours) -> None:
        self._ours = ours
        self._bases: list[tuple[str, str, str]] = []
        self._rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._sets: dict[tuple[str, str, str], list[Any]] = {}
        for item in items:
            kind, about = next(iter(item.items()))
            if kind == "metainfo" or about["family"] in _OTHER_FAMILIES or "table" not in about:
                continue
            if _OF_IPTABLES.fullmatch(f"{about['family']} {about['table']}"):
                continue
            key = (about["family"], about["table"], about.get("chain", about.get("name", "")))
            if kind == "chain" and "hook" in about:
                self._bases.append(key)
            elif kind == "rule":
                self._rules.setdefault(key, []).append(about)
            elif kind in ("set", "map"):
                self._sets[key] = about.get("elem", [])

    def met(self) -> Iterator[Foreign]:
        """Yield the rules that packets of the lab meet."""
        found = {(*base[:2], rule["handle"]): rule for base in self._bases for rule in self._walk(base, ())}
        for rule in found.values():
            place = f"{rule['family']} {rule['table']} {rule['chain']}"
            removal = f"sudo nft delete rule {place} handle {rule['handle']}"
            yield Foreign(f"nft {place}: {rule_text(rule)}", removal)

    def _walk(self, chain: tuple[str, str, str], above: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
        for rule in self._rules.get(chain, ()):
            called = [(*chain[:2], name) for name in jumps(rule) if (*chain[:2], name) not in above]
            if any(self._names_lab(chain, each) for each in rule["expr"]):
                if self._is_harmful(rule, above):
                    yield rule
            else:
                for name in called:
                    yield from self._walk(name, (*above, chain))

    def _is_harmful(self, rule: dict[str, Any], above: tuple[Any, ...]) -> bool:
        if any(word in each for each in rule["expr"] for word in _CHANGING):
            return True
        called = [(rule["family"], rule["table"], name) for name in jumps(rule)]
        return any(
            self._is_harmful(each, (*above, name))
            for name in called
            if name not in above
            for each in self._rules.get(name, ())
        )

    def _names_lab(self, chain: tuple[str, str, str], expression: dict[str, Any]) -> bool:
        match = expression.get("match")
        if (
            not isinstance(match, dict)
            or match["op"] not in ("==", "in")
            or not isinstance(match["left"], dict)
        ):
            return False
        payload, meta = match["left"].get("payload", {}), match["left"].get("meta", {})
        field = payload.get("field", "")
        for value in self._values(chain, match["right"]):
            if (
                field in ("saddr", "daddr")
                and payload.get("protocol") == "ip"
                and self._ours.has_address(value)
            ):
                return True
            if field == "dport" and self._has_port(payload["protocol"], value):
                return True
            if meta.get("key") in ("iifname", "oifname", "iif", "oif") and self._ours.has_interface(value):
                return True
        return False

    def _has_port(self, protocol: str, text: str) -> bool:
        first, _, last = text.partition("-")
        if not first.isdigit():
            return False
        return self._ours.has_port("" if protocol == "th" else protocol, int(first), int(last or first))

    def _values(self, chain: tuple[str, str, str], right: Any) -> Iterator[str]:
        """Yield what is compared with, as text; ranges as A-B, sets by what they hold."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._sets.get((*chain[:2], right[1:]), [])
        if isinstance(right, list):
            for each in right:
                yield from self._values(chain, each)
        elif not isinstance(right, dict):
            yield str(right)
        elif "prefix" in right:
            yield f"{right['prefix']['addr']}/{right['prefix']['len']}"
        elif "range" in right:
            yield "-".join(map(str, right["range"]))
        elif "set" in right:
            yield from self._values(chain, right["set"])
        elif "elem" in right:
            yield from self._values(chain, right["elem"]["val"])


def jumps(rule: dict[str, Any]) -> list[str]:
    """Name the chains that a rule leads to."""
    return [each[word]["target"] for each in rule["expr"] for word in ("jump", "goto") if word in each]


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
        print(f"{each.rule}\t{each.removal}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
