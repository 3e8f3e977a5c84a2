"""Find rules of others that already forward a port of the host, compared by protocol, address and range.

python -m lab.taken_ports ADDRESSES NFT TOOL=SAVED... PORT/PROTOCOL...

ADDRESSES is a file with what `ip -j -4 addr` prints, NFT one with `nft -j list ruleset` (may be empty), each SAVED one
with what TOOL-save prints, where TOOL is iptables or one of its backends. Prints, for the first port that a rule takes,
a line "PORT/PROTOCOL<tab>RULE<tab>COMMAND", where COMMAND removes the rule; nothing when all ports are free.

A packet to each of the host's addresses is followed through the chains. A match that is not read may hold or not, so it
is taken to hold where the rule forwards, and not to hold where the rule ends the walk.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from ipaddress import IPv4Address, IPv4Network
from itertools import product
from pathlib import Path
from typing import Any

from lab.escape import on_one_line
from lab.ruleset.iptables import Option, options_of

FORWARDING = frozenset({"DNAT", "REDIRECT", "NETMAP", "TPROXY"})
HOOKS = (("nat", "PREROUTING"), ("nat", "OUTPUT"), ("mangle", "PREROUTING"))
NUMBERS = {"6": "tcp", "17": "udp"}


class Match(StrEnum):
    """Whether a rule matches a packet."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


@dataclass(frozen=True, kw_only=True)
class Packet:
    """The first packet of a connection to an address of the host."""

    protocol: str
    address: IPv4Address
    port: int


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule, reduced to one kind of packet: how it matches, and what it does then."""

    match: Match
    target: str  # FORWARD, RETURN, END, the name of a chain, or "" for what does not matter here
    goto: bool
    text: str
    removal: str


def both(one: Match, other: Match) -> Match:
    """Combine two conditions of a rule."""
    return min(one, other, key=[Match.NO, Match.MAYBE, Match.YES].index)


def known(holds: bool | None, negated: bool = False) -> Match:
    """Turn a fact, None when it is unknown, into a match."""
    if holds is None:
        return Match.MAYBE
    return Match.YES if holds != negated else Match.NO


class Ruleset:
    """Chains of rules; a subclass reads them."""

    def bases(self) -> Iterator[str]:
        """Give the chains that the kernel calls."""
        raise NotImplementedError

    def rules(self, chain: str, packet: Packet) -> Iterator[Rule]:
        """Give the rules of a chain as they concern a packet."""
        raise NotImplementedError

    def taker(self, packet: Packet) -> Rule | None:
        """Find the first rule that may forward the packet."""
        for base in self.bases():
            found = self._walk(base, packet, ())
            if found and found.target == "FORWARD":
                return found
        return None

    def _walk(self, chain: str, packet: Packet, above: tuple[str, ...]) -> Rule | None:
        """Return the rule that forwards the packet or ends the walk; None when the caller goes on."""
        for rule in self.rules(chain, packet):
            if rule.match == Match.NO or not rule.target:
                continue
            if rule.target == "FORWARD" or (rule.target == "END" and rule.match == Match.YES):
                return rule
            if rule.target in ("RETURN", "END"):
                if rule.match == Match.YES:
                    return None
            elif rule.target not in (*above, chain):
                found = self._walk(rule.target, packet, (*above, chain))
                if found and (found.target == "FORWARD" or rule.match == Match.YES):
                    return found
                if rule.goto and rule.match == Match.YES:
                    return None
        return None


# --- iptables ---------------------------------------------------------------------------------------


def in_ports(text: str, port: int) -> bool:
    """Tell whether a port is in "80", "8000:8100" or, of multiport, "22,8000:8100"."""
    for item in text.split(","):
        first, _, last = item.partition(":")
        if int(first or 0) <= port <= int(last or (65535 if ":" in item else first)):
            return True
    return False


class Saved(Ruleset):
    """What iptables-save has printed."""

    def __init__(self, text: str, command: str) -> None:
        self._command = command
        self._chains: dict[str, list[list[str]]] = {}
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:].strip()
            elif line.startswith("-A "):
                words = shlex.split(
                    line.replace("\\'", "'")
                )  # which iptables-save escapes within double quotes
                self._chains.setdefault(f"{table} {words[1]}", []).append(words)

    def bases(self) -> Iterator[str]:
        """Give the chains in which a port is forwarded."""
        yield from (f"{table} {chain}" for table, chain in HOOKS)

    def rules(self, chain: str, packet: Packet) -> Iterator[Rule]:
        """Read the rules of a chain; those of the lab are none of others."""
        table = chain.partition(" ")[0]
        for words in self._chains.get(chain, ()):
            jump = next((at for at, word in enumerate(words) if word in ("-j", "-g")), None)
            target = words[jump + 1] if jump else ""
            if not jump or target.startswith("CNET-"):
                continue
            text = shlex.join(words)
            yield Rule(
                match=self._match(words[2:jump], packet),
                target=self._target(table, target),
                goto=words[jump] == "-g",
                text=f"{table} {text}",
                removal=f"sudo {self._command} -t {table} -D {text.removeprefix('-A ')}",
            )

    def _target(self, table: str, target: str) -> str:
        if target in FORWARDING:
            return "FORWARD"
        if target in ("ACCEPT", "DROP", "RETURN"):
            return "RETURN" if target == "RETURN" else "END"
        return f"{table} {target}" if f"{table} {target}" in self._chains else ""

    def _match(self, words: list[str], packet: Packet) -> Match:
        return reduce(both, (self._one(option, packet) for option in options_of(words)), Match.YES)

    @staticmethod
    def _one(option: Option, packet: Packet) -> Match:
        holds: bool | None = None
        match option.flag, option.values:
            case "-m" | "--comment", _:
                return Match.YES
            case "-p", (value,):
                holds = NUMBERS.get(value, value) in (packet.protocol, "all", "0")
            case "-d", (value,):
                holds = packet.address in IPv4Network(value, strict=False)
            case "--dport" | "--dports", (value,):
                holds = in_ports(value, packet.port)
            case "--ports", (value,):  # of source or destination
                holds = in_ports(value, packet.port) or None
            case "--dst-type", (value,):
                holds = value == "LOCAL"
        return known(holds, option.negated)


# --- nft --------------------------------------------------------------------------------------------


def branches(
    statements: Sequence[dict[str, Any]], elements: Callable[[Any], Sequence[Any]]
) -> Iterator[tuple[list[dict[str, Any]], str, Any]]:
    """Split a rule of nft into what it does, each with the matches before it; `elements` reads a set or map.

    A map of verdicts does one thing for each of its keys; a map of addresses or ports matches all of its keys.
    """
    matches: list[dict[str, Any]] = []
    for statement in statements:
        kind, value = next(iter(statement.items()))
        if kind == "match":
            matches.append(value)
        elif kind == "vmap":
            for key, verdict in elements(value["data"]):
                yield [*matches, _among(value["key"], [key])], *next(iter(verdict.items()))
        else:
            parts = value.values() if isinstance(value, dict) else ()
            maps = [part["map"] for part in parts if isinstance(part, dict) and "map" in part]
            keys = [_among(each["key"], [key for key, _ in elements(each["data"])]) for each in maps]
            yield [*matches, *keys], kind, value


def _among(left: Any, right: list[Any]) -> dict[str, Any]:
    return {"op": "==", "left": left, "right": {"set": right}}


class Nft(Ruleset):
    """What `nft -j list ruleset` has printed. Targets of iptables are left out: Saved has read them."""

    def __init__(self, objects: Sequence[dict[str, Any]]) -> None:
        self._chains: dict[str, list[dict[str, Any]]] = {}
        self._bases: list[str] = []
        self._sets: dict[str, list[Any]] = {}
        for one in objects:
            kind, it = next(iter(one.items()))
            place = f"{it.get('family')} {it.get('table')}"
            if it.get("family") not in ("ip", "inet"):
                continue
            if kind == "chain" and it.get("hook") in ("prerouting", "output"):
                self._bases.append(f"{place} {it['name']}")
            elif kind == "rule":
                self._chains.setdefault(f"{place} {it['chain']}", []).append(it)
            elif kind in ("set", "map"):
                self._sets[f"{place} @{it['name']}"] = it.get("elem", [])

    def bases(self) -> Iterator[str]:
        """Give the chains of the hooks by which packets to the host pass."""
        yield from self._bases

    def rules(self, chain: str, packet: Packet) -> Iterator[Rule]:
        """Read the rules of a chain: a rule of several verdicts (a map of them) becomes several."""
        place = chain.rpartition(" ")[0]
        for rule in self._chains.get(chain, ()):
            where = f"{chain} handle {rule['handle']}"
            for matches, kind, value in branches(
                rule.get("expr", ()), lambda data: self._elements(place, data)
            ):
                target = self._target(place, kind, value)
                if not target or target.rpartition(" ")[2].startswith("CNET-"):
                    continue
                match = Match.YES
                for each in matches:
                    match = both(match, self._match(place, each, packet))
                yield Rule(
                    match=match,
                    target=target,
                    goto=kind == "goto",
                    text=f"nft {chain}: {json.dumps(rule['expr'], separators=(',', ':'))}",
                    removal=f"sudo nft delete rule {where}",
                )

    @staticmethod
    def _target(place: str, kind: str, value: Any) -> str:
        if kind in ("jump", "goto"):
            return f"{place} {value['target']}"
        ends = {"accept": "END", "drop": "END", "reject": "END", "return": "RETURN"}
        return "FORWARD" if kind in ("dnat", "redirect", "tproxy") else ends.get(kind, "")

    def _elements(self, place: str, data: Any) -> list[Any]:
        """Give what a set or map holds, with a name or without."""
        return self._sets.get(f"{place} {data}", []) if isinstance(data, str) else list(data["set"])

    def _match(self, place: str, value: dict[str, Any], packet: Packet) -> Match:
        return self._equal(place, value["left"], value["op"], value["right"], packet)

    def _equal(self, place: str, left: Any, operator: str, right: Any, packet: Packet) -> Match:
        found = subject(left, packet)
        if found is None or operator not in ("==", "in", "!="):
            return Match.MAYBE
        return known(self._holds(place, right, found), operator == "!=")

    def _holds(self, place: str, right: Any, found: int | str | IPv4Address) -> bool | None:
        if isinstance(right, str) and right.startswith("@"):
            return self._any(place, self._sets.get(f"{place} {right}", []), found)
        if isinstance(right, dict) and "set" in right:
            return self._any(place, right["set"], found)
        if isinstance(right, dict) and "elem" in right:
            return self._holds(place, right["elem"]["val"], found)
        return contains(right, found)

    def _any(self, place: str, elements: list[Any], found: int | str | IPv4Address) -> bool | None:
        held = [self._holds(place, element, found) for element in elements]
        return True if True in held else None if None in held else False


def subject(left: Any, packet: Packet) -> int | str | IPv4Address | None:
    """Find what an expression of nft is for the packet; None when it is not known."""
    kind, value = next(iter(left.items())) if isinstance(left, dict) else ("", {})
    if kind == "payload":
        match value.get("protocol"), value.get("field"):
            case ("tcp" | "udp" | "th") as protocol, "dport":
                return packet.port if protocol in ("th", packet.protocol) else -1
            case "ip", "daddr":
                return packet.address
            case "ip", "protocol":
                return packet.protocol
    elif kind == "meta":
        return {"l4proto": packet.protocol, "nfproto": "ipv4", "protocol": "ip"}.get(str(value.get("key")))
    elif kind == "fib" and value.get("result") == "type" and value.get("flags") == ["daddr"]:
        return "local"
    return None


def contains(right: Any, found: int | str | IPv4Address) -> bool | None:
    """Tell whether a value, range or prefix of nft holds what was found; None when that is not known."""
    if isinstance(right, dict) and "range" in right:
        first, last = right["range"]
        if isinstance(found, IPv4Address):
            return IPv4Address(first) <= found <= IPv4Address(last)
        return isinstance(first, int) and isinstance(found, int) and first <= found <= last
    if isinstance(right, dict) and "prefix" in right:
        prefix = right["prefix"]
        return isinstance(found, IPv4Address) and found in IPv4Network(f"{prefix['addr']}/{prefix['len']}")
    if isinstance(right, dict):
        return None
    return (
        str(found) == NUMBERS.get(str(right), str(right))
        if isinstance(found, str)
        else str(found) == str(right)
    )


def main(arguments: list[str]) -> int:
    """Print the first port that is taken."""
    files = [word for word in arguments if not word.endswith(("/tcp", "/udp"))]
    ports = arguments[len(files) :]
    links = json.loads(Path(files[0]).read_text(encoding="utf-8"))
    own = [IPv4Address(one["local"]) for link in links for one in link.get("addr_info", ())]
    nft = json.loads(Path(files[1]).read_text(encoding="utf-8") or '{"nftables": []}')["nftables"]
    rulesets: list[Ruleset] = [Nft([one for one in nft if "metainfo" not in one])]
    for named in files[2:]:
        tool, _, name = named.partition("=")
        rulesets.append(Saved(Path(name).read_text(encoding="utf-8"), tool))
    for port, address, ruleset in product(ports, own, rulesets):
        number, protocol = port.split("/")
        found = ruleset.taker(Packet(protocol=protocol, address=address, port=int(number)))
        if found:
            print("\t".join(map(on_one_line, (port, found.text, found.removal))))
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
