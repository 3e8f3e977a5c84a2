"""Which firewall rules of the host a packet of the lab meets, and what removes them."""

from __future__ import annotations

import pytest

from scripts.topology import load
from security.foreign import Ours, Ruleset, Tables
from security.iptables import parse


@pytest.fixture(scope="module")
def ours() -> Ours:
    return Ours(load("flat"))


def removals(ours: Ours, rules: str, table: str = "filter") -> list[str]:
    lines = "".join(f"[0:0] {rule}\n" for rule in rules.splitlines())
    return [each.removal for each in Tables(parse(f"*{table}\n{lines}COMMIT\n"), "iptables", ours).met()]


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -s 10.0.0.20/32 -d 10.0.0.30/32 -j DROP",
        "-A FORWARD -s 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable",
        "-A FORWARD -i br-app -j DROP",
        "-A FORWARD -o veth-redis+ -j DROP",
        "-A FORWARD -p tcp -m tcp --dport 6379 -j DROP",
        "-A INPUT -m iprange --src-range 10.0.0.10-10.0.0.20 -j DROP",
    ],
)
def test_a_rule_that_names_something_of_the_lab_and_drops_is_met(ours: Ours, rule: str) -> None:
    assert removals(ours, rule) == [f"sudo iptables {rule.replace('-A ', '-D ', 1)}"]


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -j DROP",
        "-A FORWARD -s 10.0.0.20/32 -j ACCEPT",
        "-A FORWARD -s 10.0.0.20/32 -j LOG",
        "-A FORWARD -s 172.17.0.0/16 -p tcp -m tcp --dport 6379 -j DROP",
        "-A FORWARD -i docker0 -p tcp -m tcp --dport 6379 -j DROP",
        "-A FORWARD ! -s 10.0.0.0/16 -j DROP",
        "-A FORWARD -p udp -m udp --dport 6379 -j DROP",
        "-A FORWARD -s 10.0.0.20/32",
    ],
)
def test_a_rule_of_nobody_in_particular_or_that_lets_pass_is_not(ours: Ours, rule: str) -> None:
    assert removals(ours, rule) == []


def test_a_rule_after_the_hook_is_not_met(ours: Ours) -> None:
    rule = "-A FORWARD -s 10.0.0.20/32 -j DROP"
    assert removals(ours, f"-A FORWARD -j CNET-FORWARD\n{rule}") == []
    assert removals(ours, f"{rule}\n-A FORWARD -j CNET-FORWARD") != []


def test_a_jump_is_met_when_its_chain_drops(ours: Ours) -> None:
    jump = "-A FORWARD -s 10.0.0.20/32 -j T"
    assert removals(ours, f"{jump}\n-A T -j REJECT") == ["sudo iptables -D FORWARD -s 10.0.0.20/32 -j T"]
    assert removals(ours, f"{jump}\n-A T -j ACCEPT") == []
    assert removals(ours, "-A FORWARD -j T\n-A T -s 10.0.0.20/32 -j DROP") == [
        "sudo iptables -D T -s 10.0.0.20/32 -j DROP"
    ]


def test_a_redirection_of_a_published_port_is_met_by_protocol_and_range(ours: Ours) -> None:
    redirect = "-j REDIRECT --to-ports 3128"
    assert removals(ours, f"-A PREROUTING -p tcp -m tcp --dport 8000:8100 {redirect}", "nat") != []
    assert removals(ours, f"-A PREROUTING -p tcp -m multiport --dports 1,8080 {redirect}", "nat") != []
    assert removals(ours, f"-A PREROUTING -p udp -m udp --dport 8080 {redirect}", "nat") == []
    assert removals(ours, f"-A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 {redirect}", "nat") == []


def test_nft_rules_are_met_by_address_set_port_and_interface(ours: Ours) -> None:
    def match(left: object, right: object) -> dict[str, object]:
        return {"match": {"op": "==", "left": left, "right": right}}

    daddr = {"payload": {"protocol": "ip", "field": "daddr"}}
    dport = {"payload": {"protocol": "tcp", "field": "dport"}}
    matches = [
        match(daddr, "10.0.0.30"),
        match(daddr, "@bad"),
        match(daddr, "192.0.2.9"),
        match(dport, {"set": [22, {"range": [5000, 6000]}]}),
        match({"meta": {"key": "iifname"}}, "br-app"),
    ]
    place = {"family": "inet", "table": "t"}
    items: list[dict[str, object]] = [
        {"chain": {**place, "name": "f", "hook": "forward"}},
        {"set": {**place, "name": "bad", "elem": ["192.0.2.1", {"prefix": {"addr": "10.0.0.0", "len": 24}}]}},
    ]
    for handle, each in enumerate(matches, start=1):
        items.append({"rule": {**place, "chain": "f", "handle": handle, "expr": [each, {"drop": None}]}})
    items.append(
        {"rule": {**place, "chain": "f", "handle": 9, "expr": [matches[0], {"accept": None}]}},
    )
    found = [each.removal for each in Ruleset(items, ours).met()]
    assert found == [f"sudo nft delete rule inet t f handle {handle}" for handle in (1, 2, 4, 5)]
