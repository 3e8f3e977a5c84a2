"""Which firewall rules of the host a packet of the lab meets, and what removes them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.ruleset import from_iptables, from_nft
from lab.ruleset.iptables import parse
from lab.topology import load
from security.rules.foreign import Foreign, foreign_rules
from security.rules.reach import LabTraffic


@pytest.fixture(scope="module")
def ours() -> LabTraffic:
    return LabTraffic(load("flat"))


def removals(ours: LabTraffic, rules: str, table: str = "filter") -> list[str]:
    lines = "".join(f"[0:0] {rule}\n" for rule in rules.splitlines())
    return [each.removal for each in met(ours, f"*{table}\n{lines}COMMIT\n")]


def met(ours: LabTraffic, text: str, command: str = "iptables") -> list[Foreign]:
    return list(foreign_rules(from_iptables.chains_of(parse(text), command), ours, command))


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
def test_a_rule_that_names_something_of_the_lab_and_drops_is_met(ours: LabTraffic, rule: str) -> None:
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
def test_a_rule_of_nobody_in_particular_or_that_lets_pass_is_not(ours: LabTraffic, rule: str) -> None:
    assert removals(ours, rule) == []


# What `up` puts first in each chain.
HOOKS = {
    "raw": """\
-A PREROUTING -s 10.0.0.0/16 -i br-app -j CNET-ORIGIN-NODES
-A PREROUTING -s 10.0.0.0/16 ! -i br-app -j CNET-ORIGIN
""",
    "mangle": """\
-A PREROUTING -i br-app -j CNET-NODES
-A FORWARD -i br-app -j CNET-NODES
-A POSTROUTING -s 10.0.0.0/16 -j CNET-NODES
""",
    "nat": """\
-A PREROUTING -m addrtype --dst-type LOCAL -j CNET-PUBLISH
-A PREROUTING -i br-app -j CNET-NODES
-A OUTPUT -m addrtype --dst-type LOCAL -j CNET-PUBLISH
-A POSTROUTING -j CNET-POSTROUTING
""",
    "filter": """\
-A INPUT -j CNET-INPUT
-A DOCKER-USER -j CNET-FORWARD
-A FORWARD -j DOCKER-USER
""",
    "security": """\
-A INPUT -i br-app -j CNET-TO-HOST
-A FORWARD -o br-app -j CNET-FROM-WORLD
-A FORWARD -i br-app -j CNET-FROM-BRIDGES
-A OUTPUT -d 10.0.0.0/16 -m addrtype ! --dst-type LOCAL -j CNET-FROM-HOST
""",
}


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("nat", "-A PREROUTING -i br-app -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 9"),  # to the world
        ("nat", "-A OUTPUT -d 10.0.0.10/32 -p tcp -j REDIRECT --to-ports 9"),  # not LOCAL
        ("nat", "-A OUTPUT -p tcp -m tcp --dport 6379 -j REDIRECT --to-ports 9"),
        ("mangle", "-A FORWARD -s 10.0.0.0/16 -j DROP"),
        ("mangle", "-A FORWARD -p tcp -m tcp --dport 80 -j DROP"),  # of a published port
        ("mangle", "-A PREROUTING -p tcp -m tcp --dport 8080 -j DROP"),
        ("mangle", "-A POSTROUTING -o br-app -j DROP"),
        ("raw", "-A PREROUTING -i br-app -j CT --notrack"),
        ("security", "-A FORWARD -d 10.0.0.10/32 -j DROP"),
        ("security", "-A OUTPUT -o br-app -j DROP"),
        ("filter", "-A INPUT -i br-app -j DROP"),
        ("filter", "-A INPUT -d 10.0.0.1/32 -j DROP"),
        ("filter", "-A OUTPUT -p tcp -m tcp --dport 6379 -j DROP"),
    ],
)
def test_a_rule_after_hooks_that_leave_it_packets_is_met(ours: LabTraffic, table: str, rule: str) -> None:
    assert removals(ours, f"{HOOKS[table]}{rule}", table) != []


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("nat", "-A PREROUTING -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 9"),
        ("nat", "-A PREROUTING -i br-app -d 10.0.0.30/32 -j REDIRECT --to-ports 9"),
        ("nat", "-A OUTPUT -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 9"),
        ("nat", "-A POSTROUTING -s 10.0.0.0/16 -j SNAT --to-source 192.0.2.1"),
        ("mangle", "-A FORWARD -s 10.0.0.0/16 -d 10.0.0.30/32 -j DROP"),
        ("raw", "-A PREROUTING -s 10.0.0.20/32 -d 10.0.0.30/32 -j DROP"),
        ("filter", "-A FORWARD -s 10.0.0.20/32 -j DROP"),
        ("security", "-A FORWARD -s 10.0.0.20/32 -d 10.0.0.30/32 -j DROP"),
    ],
)
def test_a_rule_after_hooks_that_decide_is_not(ours: LabTraffic, table: str, rule: str) -> None:
    assert removals(ours, f"{HOOKS[table]}{rule}", table) == []
    assert removals(ours, f"{rule}\n{HOOKS[table]}", table) != []


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("filter", "-A INPUT -p tcp -m multiport --dports 80,443 -j f2b-nginx\n-A f2b-nginx -j REJECT"),
        ("filter", "-A INPUT -p tcp -m tcp --dport 5432 -j DROP"),
        ("filter", "-A INPUT -p tcp -m tcp --dport 8080 -j DROP"),
        ("mangle", "-A INPUT -p tcp -m tcp --dport 6379 -j DROP"),
        ("filter", "-A FORWARD -p tcp -m tcp --dport 8080 -j DROP"),  # by then it is port 80 of a node
        ("nat", "-A PREROUTING -m addrtype --dst-type LOCAL -p tcp -m tcp --dport 6379 -j REDIRECT"),
        (
            "nat",
            "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A DOCKER -p tcp -m tcp --dport 80 -j DNAT",
        ),
        ("nat", "-A PREROUTING -m addrtype ! --dst-type LOCAL -p tcp -m tcp --dport 8080 -j REDIRECT"),
    ],
)
def test_a_port_alone_counts_where_packets_for_it_pass(ours: LabTraffic, table: str, rule: str) -> None:
    assert removals(ours, rule, table) == []


def test_a_port_alone_of_what_is_published_is_met_before_its_translation(ours: LabTraffic) -> None:
    local = "-m addrtype --dst-type LOCAL -p tcp -m tcp --dport 8080 -j REDIRECT"
    assert removals(ours, f"-A PREROUTING {local}", "nat") != []
    assert removals(ours, f"-A OUTPUT {local}", "nat") != []
    assert removals(ours, f"-A OUTPUT {local}") == []


def test_a_rule_after_one_that_accepts_all_of_the_lab_is_not_met(ours: LabTraffic) -> None:
    drop = "-A INPUT -s 10.0.0.20/32 -j DROP"
    assert removals(ours, f"-A INPUT -i br-app -j ACCEPT\n{drop}") == []
    assert removals(ours, f"-A INPUT -s 10.0.0.30/32 -j ACCEPT\n{drop}") != []
    assert removals(ours, f"-A INPUT -i br-app -p udp -j ACCEPT\n{drop}") != []
    assert removals(ours, f"-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n{drop}") != []


def test_hooks_decide_for_their_own_bridge() -> None:
    tiers, drop = LabTraffic(load("tiers")), "-A FORWARD -s 172.20.0.0/24 -d 172.21.0.0/24 -j DROP"
    names = sorted(tiers.bridges)
    hooks = [f"-A FORWARD -i {name} -j CNET-NODES" for name in names]
    assert len(names) > 1
    assert removals(tiers, "\n".join([*hooks[:-1], drop]), "mangle") != []
    assert removals(tiers, "\n".join([*hooks, drop]), "mangle") == []


def test_a_chain_without_a_rule_harms_nobody(ours: LabTraffic) -> None:
    text = "*filter\n:EMPTY - [0:0]\n[0:0] -A FORWARD -s 10.0.0.20/32 -j EMPTY\nCOMMIT\n"
    assert met(ours, text) == []


def test_the_policy_of_the_other_backend_is_met_until_it_lets_the_lab_pass(ours: LabTraffic) -> None:
    text = "*filter\n:FORWARD DROP [0:0]\n{}COMMIT\n"
    (closed,) = met(ours, text.format(""), "iptables-legacy")
    assert closed.rule == "iptables-legacy -P FORWARD DROP"
    rules = [each.partition("-I ")[2] for each in closed.removal.split(" && ")]
    opened = text.format("".join(f"[0:0] -A {each}\n" for each in rules))
    assert met(ours, opened, "iptables-legacy") == []
    assert met(ours, text.format("")) == []  # the hook comes before


def test_a_rule_after_the_hook_is_not_met(ours: LabTraffic) -> None:
    rule = "-A FORWARD -s 10.0.0.20/32 -j DROP"
    assert removals(ours, f"-A FORWARD -j CNET-FORWARD\n{rule}") == []
    assert removals(ours, f"{rule}\n-A FORWARD -j CNET-FORWARD") != []


def test_a_jump_is_met_when_its_chain_drops(ours: LabTraffic) -> None:
    jump = "-A FORWARD -s 10.0.0.20/32 -j T"
    assert removals(ours, f"{jump}\n-A T -j REJECT") == ["sudo iptables -D FORWARD -s 10.0.0.20/32 -j T"]
    assert removals(ours, f"{jump}\n-A T -j ACCEPT") == []
    assert removals(ours, "-A FORWARD -j T\n-A T -s 10.0.0.20/32 -j DROP") == [
        "sudo iptables -D T -s 10.0.0.20/32 -j DROP"
    ]


def test_a_redirection_of_a_published_port_is_met_by_protocol_and_range(ours: LabTraffic) -> None:
    redirect = "-j REDIRECT --to-ports 3128"
    assert removals(ours, f"-A PREROUTING -p tcp -m tcp --dport 8000:8100 {redirect}", "nat") != []
    assert removals(ours, f"-A PREROUTING -p tcp -m multiport --dports 1,8080 {redirect}", "nat") != []
    assert removals(ours, f"-A PREROUTING -p udp -m udp --dport 8080 {redirect}", "nat") == []
    assert removals(ours, f"-A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 {redirect}", "nat") == []


# --- nft ------------------------------------------------------------------------------------------

PLACE = {"family": "inet", "table": "t"}
SADDR, DADDR, DPORT, IIFNAME, OIFNAME = (
    {"payload": {"protocol": "ip", "field": "saddr"}},
    {"payload": {"protocol": "ip", "field": "daddr"}},
    {"payload": {"protocol": "tcp", "field": "dport"}},
    {"meta": {"key": "iifname"}},
    {"meta": {"key": "oifname"}},
)
DROP: dict[str, None] = {"drop": None}
ACCEPT: dict[str, None] = {"accept": None}


def same(left: object, right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def by_map(key: object, pairs: object) -> dict[str, Any]:
    return {"vmap": {"key": key, "data": pairs if isinstance(pairs, str) else {"set": pairs}}}


def met_of_nft(
    ours: LabTraffic, *rules: list[Any], hook: str = "forward", policy: str = "accept"
) -> list[Any]:
    """Find those of chain f; a last word that is text names the chain, and the numbers begin at 1."""
    items: list[dict[str, Any]] = [
        {"chain": {**PLACE, "name": "f", "hook": hook, "prio": 0, "policy": policy}},
        {"chain": {**PLACE, "name": "x"}},
        {"set": {**PLACE, "name": "bad", "elem": ["192.0.2.1", {"prefix": {"addr": "10.0.0.0", "len": 24}}]}},
        {"map": {**PLACE, "name": "fates", "elem": [["10.0.0.30", DROP], ["192.0.2.1", ACCEPT]]}},
    ]
    for handle, rule in enumerate(rules, start=1):
        chain = rule[-1] if isinstance(rule[-1], str) else "f"
        expression = [each for each in rule if not isinstance(each, str)]
        items.append({"rule": {**PLACE, "chain": chain, "handle": handle, "expr": expression}})
    found = [each.removal for each in foreign_rules(from_nft.chains_of(items), ours, "nft")]
    return [int(each.rpartition(" ")[2]) if "handle" in each else each for each in found]


def test_nft_rules_are_met_by_address_set_port_and_interface(ours: LabTraffic) -> None:
    rules = [
        [same(DADDR, "10.0.0.30"), DROP],
        [same(DADDR, "@bad"), DROP],
        [same(DADDR, "192.0.2.9"), DROP],
        [same(DPORT, {"set": [22, {"range": [5000, 6000]}]}), DROP],
        [same(IIFNAME, "br-app"), DROP],
        [same(DADDR, "10.0.0.30"), ACCEPT],
        [same(SADDR, "172.17.0.0"), same(DPORT, 6379), DROP],
        [same({"payload": {"protocol": "ip6", "field": "daddr"}}, "fd00::1"), same(DPORT, 6379), DROP],
    ]
    assert met_of_nft(ours, *rules) == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        ([by_map(DADDR, [["10.0.0.30", DROP]])], True),
        ([by_map(DADDR, [["192.0.2.1", DROP], ["10.0.0.30", ACCEPT]])], False),
        ([by_map(DADDR, "@fates")], True),
        ([same(IIFNAME, "br-app"), by_map(DPORT, [[6379, DROP]])], True),
        ([same(IIFNAME, "docker0"), by_map(DPORT, [[6379, DROP]])], False),
        ([by_map({"concat": [SADDR, DPORT]}, [[{"concat": ["10.0.0.20", 6379]}, DROP]])], True),
        ([by_map({"concat": [SADDR, DPORT]}, [[{"concat": ["192.0.2.1", 6379]}, DROP]])], False),
        ([same({"concat": [SADDR, DPORT]}, {"set": [{"concat": ["10.0.0.20", 6379]}]}), DROP], True),
    ],
)
def test_verdict_maps_are_met_by_their_keys(ours: LabTraffic, rule: list[Any], met: bool) -> None:
    assert met_of_nft(ours, rule) == ([1] if met else [])


def test_of_a_chain_that_a_map_calls_the_rules_are_named_for_the_map_is_for_others_too(
    ours: LabTraffic,
) -> None:
    calls = [by_map(IIFNAME, [["eth0", {"jump": {"target": "x"}}], ["br-app", {"jump": {"target": "x"}}]])]
    assert met_of_nft(ours, calls, [same(DPORT, 6379), DROP, "x"], [ACCEPT, "x"]) == [2]
    others = [by_map(IIFNAME, [["eth0", {"jump": {"target": "x"}}]])]
    assert met_of_nft(ours, others, [DROP, "x"]) == []


@pytest.mark.parametrize(
    ("hook", "rule", "met"),
    [
        ("input", [same(DPORT, 5432), DROP], False),
        ("input", [same(DPORT, 8080), DROP], False),
        ("input", [same(IIFNAME, "br-app"), same(DPORT, 53), DROP], True),
        ("output", [same(DPORT, 5432), DROP], True),
        ("prerouting", [same(DPORT, 5432), DROP], True),
        (
            "prerouting",
            [same({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), same(DPORT, 5432), DROP],
            False,
        ),
    ],
)
def test_a_port_alone_of_nft_counts_where_packets_for_it_pass(
    ours: LabTraffic, hook: str, rule: list[Any], met: bool
) -> None:
    assert met_of_nft(ours, rule, hook=hook) == ([1] if met else [])


def test_a_redirection_by_a_map_of_nft_is_met_by_its_keys(ours: LabTraffic) -> None:
    redirect = {"redirect": {"port": {"map": {"key": DPORT, "data": {"set": [[6379, 9]]}}}}}
    assert met_of_nft(ours, [redirect], hook="prerouting") == [1]


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        ([], True),
        ([[same({"ct": {"key": "state"}}, ["established", "related"]), ACCEPT]], True),
        ([[same(IIFNAME, "br-app"), ACCEPT]], True),
        ([[same(IIFNAME, "br-app"), ACCEPT], [same(OIFNAME, "br-app"), same(DPORT, 80), ACCEPT]], True),
        ([[same(IIFNAME, "br-app"), ACCEPT], [same(OIFNAME, "br-app"), ACCEPT]], False),
        ([[same(IIFNAME, {"set": ["br-app"]}), ACCEPT], [same(OIFNAME, {"set": ["br-app"]}), ACCEPT]], False),
        ([[{"jump": {"target": "x"}}], [ACCEPT, "x"]], False),
    ],
)
def test_a_policy_of_nft_that_drops_what_is_forwarded_is_met_until_it_lets_the_lab_pass(
    ours: LabTraffic, rules: list[list[Any]], closed: bool
) -> None:
    passage = (
        """sudo nft 'insert rule inet t f iifname { "br-app" } accept; """
        """insert rule inet t f oifname { "br-app" } accept'"""
    )
    assert met_of_nft(ours, *rules, policy="drop") == ([passage] if closed else [])
    assert met_of_nft(ours, *rules, policy="drop", hook="input") == []


def test_a_policy_of_nft_for_bridges_is_met_until_it_lets_the_ports_of_the_lab_pass(ours: LabTraffic) -> None:
    place = {"family": "bridge", "table": "t"}
    base: dict[str, Any] = {"chain": {**place, "name": "f", "hook": "forward", "policy": "drop"}}
    (closed,) = foreign_rules(from_nft.chains_of([base]), ours, "nft")
    ports = ours.ports_of("br-app")
    listed = ", ".join(f'"{port}"' for port in ports)
    assert closed.removal == f"sudo nft 'insert rule bridge t f iifname {{ {listed} }} accept'"
    rule = {**place, "chain": "f", "handle": 1, "expr": [same(IIFNAME, {"set": ports}), ACCEPT]}
    assert list(foreign_rules(from_nft.chains_of([base, {"rule": rule}]), ours, "nft")) == []
