"""Walks a packet through the rules of iptables as the kernel would, on paper. Pure.

A match that is not known here makes the walk uncertain, and the story says so; it is never guessed.
Order of the tables at each hook: priorities in linux/netfilter_ipv4.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from security.iptables import Option, Rule, Saved, options_of

HOOKS = {
    "PREROUTING": ("raw", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "security", "nat"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "mangle", "nat", "filter", "security"),
    "POSTROUTING": ("mangle", "nat"),
}
ACCEPT, DROP, REJECT = "ACCEPT", "DROP", "REJECT"
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
# Options that say more about a match that is named by another, or nothing about the packet.
_SILENT = ("-m", "--comment", "--limit-burst", "--limit")
_LIMIT_OF_SOURCE = ("--connlimit-above", "--connlimit-mask", "--connlimit-saddr")
_IN_BETWEEN = ("LOG", "NFLOG", "", "TRACE", "MARK", "CONNMARK", "CT", "CHECKSUM", "TCPMSS")
_LARGEST = 65535


@dataclass(frozen=True)
class Packet:
    """A first packet, as far as rules look at it."""

    protocol: str
    source: str
    destination: str
    port: int = 0
    into: str = ""
    out: str = ""
    translated: bool = False
    size: int = 60
    mac: str = ""


@dataclass
class Walk:
    """What a packet met, in order, and how it ended; `uncertain` are matches that could not be read."""

    packet: Packet
    met: list[Rule] = field(default_factory=list)
    verdict: str = ACCEPT
    decided_by: Rule | None = None
    uncertain: list[str] = field(default_factory=list)


class Ruleset:
    """The rules of one network namespace, with what they need to know of it."""

    hooks: Mapping[str, tuple[str, ...]] = HOOKS

    @property
    def known(self) -> Mapping[str, Callable[[Option, Packet], bool]]:
        """Matches that can be read."""
        return _MATCHES

    def __init__(
        self,
        saved: Saved,
        is_local: Callable[[str], bool],
        within_rate: Callable[[str, str], bool] = lambda *_: True,
        open_connections: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._chains: dict[tuple[str, str], list[Rule]] = {}
        for rule in saved.rules:
            self._chains.setdefault((rule.table, rule.chain), []).append(rule)
        self._policies = {(table, chain): policy for table, chain, policy in saved.policies}
        self._is_local = is_local
        self._within_rate = within_rate
        self._open_connections = open_connections

    def hook(self, name: str, packet: Packet) -> Walk:
        """Ask every table at a hook, until one says no."""
        walk = Walk(packet)
        for table in self.hooks[name]:
            if (table, name) in self._chains or (table, name) in self._policies:
                verdict = self._chain(table, name, walk) or self._policies.get((table, name), ACCEPT)
                if verdict not in (ACCEPT, "-"):
                    walk.verdict = verdict
                    if walk.decided_by is None:
                        walk.decided_by = _policy_rule(table, name, verdict)
                    break
        return walk

    def _chain(self, table: str, chain: str, walk: Walk) -> str:
        """Walk through one chain; empty when it has nothing to say."""
        for rule in self._chains.get((table, chain), ()):
            matched = self._matches(rule, walk)
            if not matched:
                continue
            walk.met.append(rule)
            if rule.target in _IN_BETWEEN:
                continue
            if rule.target == "RETURN":
                return ""
            verdict = self._target(table, rule, walk)
            if verdict or rule.goto:
                return verdict
        return ""

    def _target(self, table: str, rule: Rule, walk: Walk) -> str:
        match rule.target:
            case "ACCEPT":
                return ACCEPT
            case "DROP" | "REJECT":
                walk.decided_by = rule
                return rule.target
            case "DNAT":
                walk.packet = _translated(walk.packet, rule)
                return ACCEPT
            case "MASQUERADE" | "SNAT" | "REDIRECT" | "NETMAP":
                return ACCEPT
        if (table, rule.target) in self._chains or (table, rule.target) in self._policies:
            return self._chain(table, rule.target, walk)
        walk.uncertain.append(f"target {rule.target}")
        return ""

    def _matches(self, rule: Rule, walk: Walk) -> bool:
        for option in options_of(rule.matches):
            if option.flag in _SILENT or (
                option.flag.startswith("--hashlimit-") and option.flag != "--hashlimit-upto"
            ):
                continue
            if option.flag in _LIMIT_OF_SOURCE and _counts_by_source(rule):
                if option.flag != "--connlimit-above":
                    continue
                found = self._open_connections(walk.packet.source) + 1 > int(option.values[0])
            elif option.flag == "--hashlimit-upto":
                found = self._within_rate(_value(rule, "--hashlimit-name"), walk.packet.source)
            elif option.flag in self.known:
                found = self.known[option.flag](option, walk.packet)
            elif option.flag in ("--dst-type", "--src-type"):
                found = self._is_of_type(option, walk.packet)
            else:
                walk.uncertain.append(option.verbatim)
                return False
            if found == option.negated:
                return False
        return True

    def _is_of_type(self, option: Option, packet: Packet) -> bool:
        address = packet.destination if option.flag == "--dst-type" else packet.source
        return ("LOCAL" in option.values[0].split(",")) == self._is_local(address)


def _value(rule: Rule, flag: str) -> str:
    return next((option.values[0] for option in options_of(rule.matches) if option.flag == flag), "")


def _counts_by_source(rule: Rule) -> bool:
    """Tell whether a connlimit counts the connections of one source, as those of a policy do."""
    return _value(rule, "--connlimit-mask") == "32" and any(
        option.flag == "--connlimit-saddr" for option in options_of(rule.matches)
    )


def _policy_rule(table: str, chain: str, verdict: str) -> Rule:
    return Rule(
        table, chain, 0, (), verdict, (), f"the policy of chain {chain}", 0, 0, f"-P {chain} {verdict}"
    )


def _translated(packet: Packet, rule: Rule) -> Packet:
    options = {option.flag: option.values for option in options_of(rule.target_options)}
    address, _, port = options.get("--to-destination", (packet.destination,))[0].partition(":")
    return replace(
        packet, destination=address or packet.destination, port=int(port or packet.port), translated=True
    )


def _in_network(option: Option, address: str) -> bool:
    return IPv4Address(address) in IPv4Network(option.values[0], strict=False)


def _is_interface(option: Option, name: str) -> bool:
    wanted = option.values[0]
    return name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted


def _is_protocol(option: Option, packet: Packet) -> bool:
    wanted = option.values[0]
    return wanted in ("all", packet.protocol, str(_PROTOCOLS.get(packet.protocol, "")))


def _has_port(option: Option, packet: Packet) -> bool:
    return any(_in_range(item, packet.port) for item in option.values[0].split(","))


def _in_range(text: str, number: int) -> bool:
    first, colon, last = text.partition(":")
    return int(first or 0) <= number <= int(last or (_LARGEST if colon else first))


def _has_state(option: Option, packet: Packet) -> bool:
    return bool({"NEW", "DNAT" if packet.translated else "NEW"} & set(option.values[0].split(",")))


def _is_ping(option: Option, packet: Packet) -> bool:
    return packet.protocol == "icmp" and option.values[0] in ("8", "any", "echo-request")


_MATCHES: Mapping[str, Callable[[Option, Packet], bool]] = {
    "-s": lambda option, packet: _in_network(option, packet.source),
    "-d": lambda option, packet: _in_network(option, packet.destination),
    "-i": lambda option, packet: _is_interface(option, packet.into),
    "-o": lambda option, packet: _is_interface(option, packet.out),
    "-p": _is_protocol,
    "--dport": _has_port,
    "--dports": _has_port,
    "--ctstate": _has_state,
    "--state": _has_state,
    "--icmp-type": _is_ping,
    "--length": lambda option, packet: _in_range(option.values[0], packet.size),
}


class FrameRules(Ruleset):
    """The rules of ebtables, for frames that carry IPv4."""

    hooks: Mapping[str, tuple[str, ...]] = MappingProxyType({"PREROUTING": ("nat",)})

    @property
    def known(self) -> Mapping[str, Callable[[Option, Packet], bool]]:
        """Matches that can be read."""
        return _FRAME_MATCHES


_FRAME_MATCHES: Mapping[str, Callable[[Option, Packet], bool]] = {
    "-i": lambda option, packet: _is_interface(option, packet.into),
    "-s": lambda option, packet: option.values[0] == packet.mac,
    "-p": lambda option, _: option.values[0] == "IPv4",
    "--ip-src": lambda option, packet: _in_network(option, packet.source),
    "--arp-ip-src": lambda *_: False,
    "--arp-mac-src": lambda *_: False,
}
