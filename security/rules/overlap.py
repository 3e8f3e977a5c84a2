"""Decide whether the order of two adjacent rules matters to any packet. Pure.

Only what is certain counts: rules that match different values of one field never match the same packet.
"""

from __future__ import annotations

from ipaddress import ip_network

from lab.ruleset.iptables import Rule, options_of
from lab.topology import Topology
from security.rules.reach import is_within

_ADDRESSES = ("-s", "-d", "--ip-src", "--ip6-src")
_EXACT = ("-i", "-o", "-p", "--dport", "--icmp-type", "--icmpv6-type", "--arp-ip-src")
_WATCHERS = ("LOG", "NFLOG", "")


def order_matters(first: Rule, second: Rule, topology: Topology) -> bool:
    """Decide whether exchanging the two rules could change the verdict of a packet.

    Hooks may be exchanged: each calls a chain that returns the packets that it does not decide.
    """
    if not first.chain.startswith("CNET-"):
        return False
    values = _matched_values(first, topology), _matched_values(second, topology)
    return _effect(first) != _effect(second) and not _are_disjoint(*values)


def _effect(rule: Rule) -> str:
    """Return the rule's effect on a packet; LOG, NFLOG and similar targets have the same effect."""
    return "watch" if rule.target in _WATCHERS else f"{rule.target} {rule.goto}"


def _are_disjoint(one: dict[str, str], other: dict[str, str]) -> bool:
    for flag in one.keys() & other.keys():
        a, b = one[flag], other[flag]
        if flag in _ADDRESSES and not _overlap(a, b):
            return True
        if flag in _EXACT and a != b:
            return True
        if flag == "--ctstate" and set(a.split(",")).isdisjoint(b.split(",")):
            return True
    return False


def _matched_values(rule: Rule, topology: Topology) -> dict[str, str]:
    """Return the values of matches that are not negated; a bridge's destination implies that bridge as -o."""
    options = options_of(rule.matches)
    found = {option.flag: option.values[0] for option in options if option.values and not option.negated}
    for bridge in topology.bridges if "-d" in found else ():
        if any(
            is_within(ip_network(found["-d"], strict=False), address.network) for address in bridge.addresses
        ):
            found.setdefault("-o", bridge.name)
    return found


def _overlap(one: str, other: str) -> bool:
    return ip_network(one, strict=False).overlaps(ip_network(other, strict=False))
