"""The rules for what IPv6 has beside connections: neighbour discovery, errors and pings (RFC 4890), extension headers.

Table raw sees a packet of a node once, before the bridge copies it to its ports. Of ICMPv6 and multicast, only what is
listed here passes. Neighbour discovery is what ARP is in IPv4. conntrack does not track it, so table security needs a
rule for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.network.facts import mac_of
from security.policy.model import (
    ICMP_TYPE,
    IPV6_HEADER,
    IPV6_MULTICAST,
    NEIGHBOURS,
    ROUTER_MESSAGE,
    SPOOFED_NEIGHBOUR,
)
from security.policy.rule_list import RuleList

_NODES, _ICMP, _NEIGHBOURS = "CNET-ORIGIN-NODES", "CNET-ORIGIN-ICMP", "CNET-ORIGIN-ND"

_HEADERS = ("hop-by-hop", "ipv6-route", "ipv6-opts")  # as ip6tables-save writes them
_ERRORS = (1, 2, 3, 4)  # table security drops those about no known connection (INVALID)
_SOLICITATION, _ADVERTISEMENT = 135, 136
_ROUTER_MESSAGES = (133, 134, 137)  # solicitation, advertisement, redirect
_NOT_FORWARDED = "-m hl --hl-eq 255"  # a router decrements it

# RFC 4861, 4.3 and 4.4, in bytes from the start of an IPv6 header without extensions. After the target comes no option
# or one: the link-layer address, of the source (type 1) or the target (2), 8 bytes long with its type and length.
_LENGTH_FIELD, _TARGET, _OPTION = 2, 48, 64
_ALONE, _WITH_OPTION = 24, 32


def add_origin_rules(rules: RuleList) -> None:
    """Add the rules of table raw."""
    for header in _HEADERS:
        match = f"-m ipv6header --header {header} --soft"
        rules.add_built_in(_NODES, IPV6_HEADER, f"{match} {rules.drop(IPV6_HEADER, 'raw')}", "raw")
    rules.add(_NODES, "which ICMPv6 nodes may send", f"-p ipv6-icmp -j {_ICMP}", "raw")
    rules.add_built_in(_NODES, IPV6_MULTICAST, f"-d ff00::/8 {rules.drop(IPV6_MULTICAST, 'raw')}", "raw")
    for why, types, target in (
        ("pings", rules.family.echo, "-j RETURN"),
        ("errors", _ERRORS, "-j RETURN"),
        ("neighbour discovery", (_SOLICITATION, _ADVERTISEMENT), f"-g {_NEIGHBOURS}"),
    ):
        for number in types:
            rules.add(_ICMP, why, f"{rules.family.icmp.format(number)} {target}", "raw")
    for number in _ROUTER_MESSAGES:
        match = rules.family.icmp.format(number)
        rules.add_built_in(_ICMP, ROUTER_MESSAGE, f"{match} {rules.drop(ROUTER_MESSAGE, 'raw')}", "raw")
    rules.add_built_in(_ICMP, ICMP_TYPE, rules.drop(ICMP_TYPE, "raw"), "raw")
    _add_neighbours(rules)


def _add_neighbours(rules: RuleList) -> None:
    """Let each node send neighbour discovery about its own address and MAC; ebtables has checked its source."""
    topology = rules.policy.topology
    for node, address in rules.family.addresses(topology.nodes):
        mac = bytes.fromhex(mac_of(topology.node_of_wire(node).address.ip).replace(":", ""))
        own = address.ip.packed
        for why, number, length, fields in (
            ("asks with its own MAC", _SOLICITATION, _WITH_OPTION, {_OPTION: b"\1\1" + mac}),
            (
                "claims its own address and MAC",
                _ADVERTISEMENT,
                _WITH_OPTION,
                {_TARGET: own, _OPTION: b"\2\1" + mac},
            ),
            ("claims its own address", _ADVERTISEMENT, _ALONE, {_TARGET: own}),
        ):
            message = f"{rules.family.icmp.format(number)} {_NOT_FORWARDED} {_u32(length, fields)}"
            source = f"-s {address.ip}/{rules.family.alone}"
            rules.add(_NEIGHBOURS, f"{node.name} {why}", f"{source} {message} -j ACCEPT", "raw")
    rules.add_built_in(_NEIGHBOURS, SPOOFED_NEIGHBOUR, rules.drop(SPOOFED_NEIGHBOUR, "raw"), "raw")


def _u32(length: int, fields: Mapping[int, bytes]) -> str:
    """Match the length of the payload, and the bytes at each offset."""
    words = [f"{_LENGTH_FIELD:#x}&0xffff={length:#x}"]
    for offset, value in fields.items():
        for at in range(0, len(value), 4):
            words.append(f"{offset + at:#x}={int.from_bytes(value[at : at + 4]):#x}")
    return f'-m u32 --u32 "{"&&".join(words)}"'


def add_neighbours(rules: RuleList, chain: str) -> None:
    """Let neighbour discovery pass in table security: what a router forwarded has another hop limit."""
    for number in (_SOLICITATION, _ADVERTISEMENT):
        rule = f"{rules.family.icmp.format(number)} {_NOT_FORWARDED} -j RETURN"
        rules.add_built_in(chain, NEIGHBOURS, rule)
