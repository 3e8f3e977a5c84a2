"""Which firewall rules of the host a packet of IPv6 of the lab meets, and what removes them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.ruleset import from_iptables, from_nft
from lab.ruleset.iptables import parse
from lab.topology import load
from security.rules.foreign import Foreign, foreign_rules
from security.rules.reach import LabTraffic

FOUR, SIX = LabTraffic(load("dual")), LabTraffic(load("dual"), 6)


def met(text: str, command: str = "ip6tables") -> list[Foreign]:
    chains = from_iptables.chains_of(parse(f"*filter\n{text}\nCOMMIT\n"), command)
    return list(foreign_rules(chains, SIX, command))


@pytest.mark.parametrize(
    ("rule", "is_met"),
    [
        ("-A FORWARD -s fd00:cafe::20/128 -j DROP", True),
        ("-A FORWARD -d fd00::/16 -j REJECT", True),
        ("-A FORWARD -i br-app -p ipv6-icmp -j DROP", True),
        ("-A FORWARD -m iprange --dst-range fd00:cafe::10-fd00:cafe::20 -j DROP", True),
        ("-A FORWARD -p tcp -m tcp --dport 6379 -j DROP", True),
        ("-A FORWARD -d fd00:beef::/64 -p tcp -m tcp --dport 6379 -j DROP", False),
        ("-A FORWARD -s fd00:cafe::20/128 -j ACCEPT", False),
        ("-A FORWARD -s ::/0 -j DROP", False),
    ],
)
def test_a_rule_of_ip6tables_that_names_the_lab_and_drops_is_met(rule: str, is_met: bool) -> None:
    removal = f"sudo ip6tables {rule.replace('-A ', '-D ', 1)}"
    found = met(f"[0:0] {rule}")
    assert [(one.rule, one.removal) for one in found] == ([(f"ip6tables filter {rule}", removal)] * is_met)


def test_what_a_chain_of_the_lab_decides_first_meets_no_later_rule() -> None:
    hook, drop = "[0:0] -A FORWARD -j CNET-FORWARD", "[0:0] -A FORWARD -i br-app -j DROP"
    assert met(drop) != []
    assert met(f"{hook}\n{drop}") == []


def test_a_policy_that_drops_is_met_in_the_other_backend() -> None:
    (found,) = met(":FORWARD DROP [0:0]", "ip6tables-legacy")
    assert found.removal.startswith("sudo ip6tables-legacy -I FORWARD -i br-app -j ACCEPT")
    assert met(":FORWARD DROP [0:0]") == []  # the lab has its hook before it


def of_nft(lab: LabTraffic, family: str, *expression: Any) -> int:
    place = {"family": family, "table": "t"}
    items = [
        {"chain": {**place, "name": "f", "hook": "forward", "prio": 0, "policy": "accept"}},
        {"rule": {**place, "chain": "f", "handle": 1, "expr": [*expression, {"drop": None}]}},
    ]
    return len(list(foreign_rules(from_nft.chains_of(items), lab, "nft")))


def daddr(protocol: str, address: str, op: str = "==") -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": "daddr"}}
    return {"match": {"op": op, "left": left, "right": address}}


@pytest.mark.parametrize(
    ("family", "match", "of_four", "of_six"),
    [
        ("inet", daddr("ip", "10.0.0.30"), 1, 0),
        ("inet", daddr("ip6", "fd00:cafe::30"), 0, 1),
        ("inet", daddr("ip6", "fd00:beef::30"), 0, 0),
        ("inet", {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "br-app"}}, 1, 1),
        ("ip6", daddr("ip6", "fd00:cafe::30"), 0, 1),
        ("ip", daddr("ip", "10.0.0.30"), 1, 0),
        ("inet", daddr("ip", "10.0.0.30", "!="), 0, 0),  # names nothing of the lab
    ],
)
def test_a_rule_of_nft_is_met_by_packets_of_the_family_that_it_names(
    family: str, match: dict[str, Any], of_four: int, of_six: int
) -> None:
    assert (of_nft(FOUR, family, match), of_nft(SIX, family, match)) == (of_four, of_six)
