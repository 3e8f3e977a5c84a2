"""Rules of iptables with roles for names and addresses, so that equivalent rules are the same text. Pure.

-A POSTROUTING -s 192.0.2.0/26 ! -o br-1f2e3d4c5b6a -j MASQUERADE         and
-A CNET-POSTROUTING -s 192.0.2.64/26 ! -o br-frontend -j MASQUERADE   are
nat POSTROUTING -s NETWORK ! -o BRIDGE -j MASQUERADE
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from lab.ruleset.iptables import Rule
from security.rules.described import is_ours

# Own chains by their function: named after the kernel's chain that jumps to them.
_CHAINS = {
    "nat DOCKER": "PUBLISH",
    "nat CNET-PUBLISH": "PUBLISH",
    "nat CNET-POSTROUTING": "POSTROUTING",
    "filter CNET-FORWARD": "FORWARD",
    "filter CNET-INPUT": "INPUT",
    "filter DOCKER": "FORWARD",
    "filter DOCKER-BRIDGE": "FORWARD",
    "filter DOCKER-CT": "FORWARD",
    "filter DOCKER-FORWARD": "FORWARD",
}
_ONE_OF_MANY = re.compile(r"^(CNET-(?:TO|DROP|WIRE))-.*")
_PORTS, _PREFIXES = ("--dport", "--sport"), ("--log-prefix", "--nflog-prefix")
_PLAIN_MATCHES = re.compile(r"(?<= )-m (?:tcp|udp) ")  # iptables-save adds "-m tcp" to "-p tcp"
_WHERE = ("-i", "-o", "-s", "-d")
_LOOPBACK = ("127.0.0.0/8", "127.0.0.1/32", "lo")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_RESOLVER = re.compile(r"(127\.0\.0\.11):\d+")


@dataclass(frozen=True)
class Names:
    """The roles of a host's names and addresses: its bridges with their addresses, its containers' addresses."""

    bridges: Mapping[str, IPv4Interface]
    nodes: frozenset[IPv4Address]

    def word(self, word: str) -> str:
        """Return the role of a name or an address; any other word unchanged."""
        host, colon, port = word.removesuffix("/32").partition(":")
        if word in self.bridges:
            return "BRIDGE"
        if word in {str(address.network) for address in self.bridges.values()}:
            return "NETWORK"
        if host in {str(address.ip) for address in self.bridges.values()}:
            return "GATEWAY"
        if host in map(str, self.nodes):
            return f"NODE:{_port(port)}" if colon else "NODE"
        return "MAC" if _MAC.fullmatch(word) else _RESOLVER.sub(r"\1:PORT", word)

    def rule(self, rule: Rule) -> str:
        """Format a rule, without its comment."""
        words = [*rule.matches]
        if rule.target:
            words += ["-g" if rule.goto else "-j", _chain(rule.table, rule.target), *rule.target_options]
        pairs = zip(["", *words], words, strict=False)
        normal = [self._after(before, word) for before, word in pairs]
        return _PLAIN_MATCHES.sub("", " ".join([rule.table, _chain(rule.table, rule.chain), *normal]))

    def _after(self, option: str, word: str) -> str:
        if option in _PORTS:
            return _port(word)
        return "PREFIX" if option in _PREFIXES else self.word(word)

    def concerns(self, rule: Rule) -> bool:
        """Return whether a rule is the lab's, or Docker's and only about these networks."""
        if is_ours(rule):
            return True
        named = [word for flag, word in zip(rule.matches, rule.matches[1:], strict=False) if flag in _WHERE]
        named += [word for word in rule.target_options if _ADDRESS.match(word)]
        ours = [word for word in named if self.word(word) != word]
        loopback = [word for word in named if word in _LOOPBACK]
        only_known = len(ours) + len(loopback) == len(named)
        dockers = rule.chain.startswith("DOCKER") or rule.target.startswith("DOCKER")
        guard = rule.table == "raw" and bool(loopback)  # the raw rule protects ports published on loopback
        return only_known if dockers or guard else bool(ours)


def _port(word: str) -> str:
    return "PORT" if word.isdigit() else word  # a range of ports stays unchanged


def _chain(table: str, chain: str) -> str:
    return _CHAINS.get(f"{table} {chain}") or _ONE_OF_MANY.sub(r"\1", chain)
