"""Walk a packet through the rules of iptables as the kernel does. Pure.

If a match or target is unknown, or a rule cannot be read, the walk goes on as if the rule did not match, and adds the
rule to `uncertain` unless it cannot change the verdict. The order of the tables at each hook is that
of the priorities in linux/netfilter_ipv4.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lab.ruleset.iptables import Option, Rule, Saved, options_of
from security.rules.matches import (
    FRAME_MATCHES,
    HARMLESS_MATCHES,
    MATCHES,
    Known,
    Packet,
    counts_by_source,
    value_of,
)

HOOKS: dict[str, tuple[str, ...]] = {
    "PREROUTING": ("raw", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "security", "nat"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "mangle", "nat", "filter", "security"),
    "POSTROUTING": ("mangle", "nat"),
}
TABLES = ("filter", "nat", "mangle", "raw", "security", "broute")  # tables of iptables and ebtables
_FRAME_HOOKS: dict[str, tuple[str, ...]] = {
    "PREROUTING": ("nat",),
    "FORWARD": ("filter",),
    "POSTROUTING": ("nat",),
}
ACCEPT = "ACCEPT"
_SOURCE_TYPES, _DESTINATION_TYPES = "--src-type", "--dst-type"
# Targets after which the packet continues and that change no field that rules match.
_IN_BETWEEN = ("LOG", "NFLOG", "", "TRACE", "CHECKSUM", "TCPMSS", "CONTINUE", "CLASSIFY", "AUDIT")


@dataclass
class Walk:
    """The rules that a packet matched, in order, and the verdict; `uncertain` are rules that may change the verdict."""

    packet: Packet
    met: list[Rule] = field(default_factory=list)
    verdict: str = ACCEPT
    decided_by: Rule | None = None
    uncertain: list[str] = field(default_factory=list)
    perhaps_accepted: list[str] = field(default_factory=list)  # rules of this table


class Ruleset:
    """The rules of one network namespace (of ebtables: for frames that carry IPv4), and the state that matches need."""

    def __init__(
        self,
        saved: Saved,
        is_local: Callable[[str], bool],
        *,
        within_rate: Callable[[str, str], bool] = lambda *_: True,
        open_connections: Callable[[str], int] = lambda _: 0,
        address_of: Callable[[str], str] = lambda _: "",
        tool: str = "iptables",
    ) -> None:
        self._tool = tool
        self._hooks = HOOKS if tool == "iptables" else _FRAME_HOOKS
        self._known = MATCHES if tool == "iptables" else FRAME_MATCHES
        self._chains: dict[tuple[str, str], list[Rule]] = {}
        for rule in saved.rules:
            self._chains.setdefault((rule.table, rule.chain), []).append(rule)
        self._policies = {(table, chain): policy for table, chain, policy in saved.policies}
        self._unread: dict[tuple[str, str], list[str]] = {}
        for table, chain, text in saved.unread_rules:
            self._unread.setdefault((table, chain), []).append(text)
        self._incompatible = saved.incompatible
        self._is_local = is_local
        self._within_rate = within_rate
        self._open_connections = open_connections
        self._address_of = address_of

    def hook(self, name: str, packet: Packet) -> Walk:
        """Walk the tables of a hook until one drops the packet."""
        walk = Walk(packet)
        for table in self._hooks[name]:
            if table == "nat" and walk.packet.answer:
                continue  # conntrack translates an answer back, without a rule
            if table in self._incompatible and self._tool == "iptables":
                walk.uncertain.append(f"table {table} has rules of nft that iptables-save cannot write")
            if (table, name) in self._chains or (table, name) in self._policies:
                verdict = self._chain(table, name, walk) or self._policies.get((table, name), ACCEPT)
                if table == "nat" or verdict not in (ACCEPT, "-"):
                    walk.uncertain += walk.perhaps_accepted
                walk.perhaps_accepted.clear()
                if verdict not in (ACCEPT, "-"):
                    walk.verdict = verdict
                    if walk.decided_by is None:
                        walk.decided_by = _policy_rule(table, name, verdict)
                    break
        return walk

    def _chain(self, table: str, chain: str, walk: Walk) -> str:
        """Walk through one chain; return its verdict, empty if it has none."""
        for text in self._unread.get((table, chain), ()):
            walk.uncertain.append(f"{self._tool} -t {table} {text} (this tool cannot read the rule)")
        for rule in self._chains.get((table, chain), ()):
            matched = self._matches(rule, walk)
            if matched is None and rule.target not in _IN_BETWEEN:
                doubts = walk.perhaps_accepted if rule.target == ACCEPT else walk.uncertain
                doubts.append(as_command(rule))
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

    def _target(self, table: str, rule: Rule, walk: Walk) -> str:  # noqa: PLR0911 - one return for each kind
        match rule.target:
            case "ACCEPT":
                return ACCEPT
            case "DROP" | "REJECT":
                walk.decided_by = rule
                return rule.target
            case "DNAT" | "REDIRECT":
                translated = self._translated(walk.packet, rule)
                if translated is None:
                    walk.uncertain.append(as_command(rule))
                walk.packet = translated or walk.packet
                return ACCEPT
            case "MASQUERADE" | "SNAT":
                return ACCEPT
            case "CT" if "--notrack" not in rule.target_options:
                return ""
        if (table, rule.target) in self._chains or (table, rule.target) in self._policies:
            return self._chain(table, rule.target, walk)
        walk.uncertain.append(as_command(rule))
        return ""

    def _translated(self, packet: Packet, rule: Rule) -> Packet | None:
        """Return the packet with its new destination; None if there are several possible ones."""
        values = {option.flag: option.values for option in options_of(rule.target_options)}
        if rule.target == "REDIRECT":  # to the input interface's address; localhost for the host's packets
            address = self._address_of(packet.into) if packet.into else "127.0.0.1"
            port = values.get("--to-ports", (str(packet.port),))[0]
        else:
            address, _, port = values.get("--to-destination", ("",))[0].partition(":")
        address, port = address or packet.destination, port or str(packet.port)
        if "-" in address or not port.isdecimal():
            return None
        return replace(packet, destination=address, port=int(port), translated=True)

    def _matches(self, rule: Rule, walk: Walk) -> Known:
        """Decide whether a rule matches; None if unknown. One match that certainly fails is enough."""
        known = True
        for option in options_of(rule.matches):
            found = self._match(rule, option, walk.packet)
            if found is None:
                known = False
            elif found == option.negated:
                return False
        return True if known else None

    def _match(self, rule: Rule, option: Option, packet: Packet) -> Known:  # noqa: PLR0911 - one return for each kind
        if option.flag == "-m":
            return option.values[0] in HARMLESS_MATCHES or None
        if option.flag.startswith("--connlimit-"):
            if not counts_by_source(rule):
                return None
            above = option.flag == "--connlimit-above"
            return not above or self._open_connections(packet.source) + 1 > int(option.values[0])
        if option.flag.startswith("--hashlimit-"):
            if not value_of(rule, "--hashlimit-upto") or value_of(rule, "--hashlimit-mode") != "srcip":
                return None
            upto = option.flag == "--hashlimit-upto"
            return not upto or self._within_rate(value_of(rule, "--hashlimit-name"), packet.source)
        if option.flag in (_SOURCE_TYPES, _DESTINATION_TYPES):
            address = packet.destination if option.flag == _DESTINATION_TYPES else packet.source
            return self._is_of_type(option.values[0].split(","), address)
        if option.flag in self._known:
            return self._known[option.flag](option, packet)
        return None

    def _is_of_type(self, types: list[str], address: str) -> Known:
        """Decide whether an address has one of the types; of an address of others only that it is not LOCAL."""
        if self._is_local(address):
            return "LOCAL" in types
        return False if types == ["LOCAL"] else True if "UNICAST" in types else None


def as_command(rule: Rule) -> str:
    """Return the command that would add the rule."""
    if rule.table.startswith("ebtables"):
        return f"ebtables -t {rule.table.partition(' ')[2]} {rule.text}"
    return f"iptables -t {rule.table} {rule.text}"


def _policy_rule(table: str, chain: str, verdict: str) -> Rule:
    return Rule(
        table, chain, 0, (), verdict, (), f"the policy of chain {chain}", 0, 0, f"-P {chain} {verdict}"
    )
