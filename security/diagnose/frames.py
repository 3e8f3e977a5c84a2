"""Findings in rules of ebtables and arptables that are not the lab's: they see frames, and ARP. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from lab.network.facts import mac_of
from lab.ruleset import OWN_PREFIX
from lab.ruleset.difference import target_of
from lab.ruleset.iptables import Option, options_of
from lab.topology import Topology
from security.diagnose.conditions import names_lab
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import RuleTexts

_HARMS = ("DROP", "REJECT", "dnat", "snat", "redirect", "mangle", "DNAT", "SNAT")
_MAC = re.compile(r"(?i)(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}")
_INTERFACES = ("-i", "-o", "--logical-in", "--logical-out", "--in-interface", "--out-interface")
_CARRIED = ("IPv4", "ARP", "0x0800", "0x0806", "0x800", "0x806")
_GROUP_BIT = 1  # of the first byte of a MAC: broadcast and multicast
_ARP = "ARP"


@dataclass(frozen=True)
class FrameRule:
    """A rule of ebtables or arptables."""

    tool: str
    table: str
    text: str  # "-A CHAIN ..."

    def __str__(self) -> str:
        return f"{self.tool} {self.table} {self.text}"

    @property
    def chain(self) -> str:
        """The chain that has the rule."""
        return self.text.split(" ", 2)[1]


def foreign_frame_rules(
    topology: Topology, rules: RuleTexts, place: str, enter: str = ""
) -> Iterator[Finding]:
    """Yield each rule that drops or rewrites frames of the lab."""
    for tool, text in (("ebtables", rules.ebtables), ("arptables", rules.arptables)):
        for rule in _rules(tool, text):
            if target_of(rule.text) in _HARMS and _meets_lab(rule, topology):
                yield _finding(rule, topology, place, enter)


def _rules(tool: str, saved: str) -> Iterator[FrameRule]:
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and not line.startswith(f"-A {OWN_PREFIX}"):
            yield FrameRule(tool, table, line.strip())


def _meets_lab(rule: FrameRule, topology: Topology) -> bool:
    """Decide whether each thing that the rule names is the lab's."""
    options = options_of(shlex.split(rule.text)[2:])
    return all(_may_be_of_lab(option, topology) for option in options if not option.negated)


def _may_be_of_lab(option: Option, topology: Topology) -> bool:
    value = option.values[0] if option.values else ""
    if option.flag in _INTERFACES:
        links = [
            link for node in topology.nodes for link in (node.bridge, node.bridge_interface, node.interface)
        ]
        return any(name.startswith(value.rstrip("+")) for name in links)
    if option.flag == "-p":
        return value in _CARRIED
    if found := _MAC.match(value):
        return bool(int(found[0].partition(":")[0], 16) & _GROUP_BIT) or names_lab(
            _canonical(found[0]), topology
        )
    if re.match(r"\d+\.\d+\.\d+\.\d+", value):
        return names_lab(value, topology)
    return True


def _canonical(mac: str) -> str:
    return ":".join(f"{int(part, 16):02x}" for part in mac.split(":"))


def _finding(rule: FrameRule, topology: Topology, place: str, enter: str) -> Finding:
    what = "ARP messages" if rule.tool == "arptables" or f"-p {_ARP}" in rule.text else "frames"
    names = _named_nodes(rule, topology)
    of_whom = " and ".join(names) or "the lab's nodes"
    reason = ": without ARP, neighbours do not find its MAC" if what.startswith("ARP") else ""
    words = shlex.split(rule.text.removeprefix("-A "))
    return Finding(
        kind=Kind.FOREIGN_RULE,
        object=str(rule),
        place=place,
        cause=f"a rule that is not the lab's drops or rewrites {what} of the lab: {rule}",
        breaks=f"{what} of {of_whom}{reason}",
        repair=(f"sudo {enter}{rule.tool} -t {rule.table} -D {shlex.join(words)}",),
        evidence=(
            Evidence(
                command=f"sudo {enter}{rule.tool}-save | grep -e '-A {rule.chain}'",
                line=rule.text,
            ),
        ),
    )


def _named_nodes(rule: FrameRule, topology: Topology) -> list[str]:
    """Return the nodes whose address, MAC or port the rule names."""
    words = set(re.split(r"[\s/]+", rule.text.lower()))
    return [
        node.name
        for node in topology.nodes
        if words
        & {
            str(node.address.ip),
            node.bridge_interface.lower(),
            node.interface.lower(),
            mac_of(topology.node_of_wire(node).address.ip),
        }
    ]
