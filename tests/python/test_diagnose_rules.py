"""What diagnose says of firewall rules: those of others that the lab's packets meet, and the lab's own that differ."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from lab.ruleset import from_iptables, from_nft
from lab.ruleset.difference import own_rules as read_own_rules
from lab.ruleset.iptables import parse
from lab.topology import load
from security.diagnose import foreign, own_rules, tracked
from security.diagnose.conditions import names_lab
from security.diagnose.crossings import Uplinks, crossings_of_host, crossings_of_namespace
from security.diagnose.finding import Kind
from security.diagnose.frames import foreign_frame_rules
from security.diagnose.observed import Observed, RuleTexts
from security.diagnose.rule_walk import Met, Walk
from security.policy.table import load as load_policy

TOPOLOGY = load("flat")
POLICY = load_policy(TOPOLOGY)
HOST = {"203.0.113.1", "10.0.0.1"}
HOST_PACKETS = crossings_of_host(TOPOLOGY, POLICY, Uplinks(("uplink",), "203.0.113.1"))
HOOKS = {
    "filter": "",
    "raw": "",
    "mangle": "-A PREROUTING -i br-app -j CNET-NODES\n"
    "-A CNET-NODES -d 10.0.0.0/16 -m addrtype ! --dst-type LOCAL -j ACCEPT\n",
    "nat": "-A PREROUTING -m addrtype --dst-type LOCAL -j CNET-PUBLISH\n"
    "-A CNET-PUBLISH -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.10:80\n",
}


def met(rules: str, table: str = "filter", *, policy: str = "ACCEPT", hooks: str = "") -> list[Met]:
    names = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    heads = "".join(f":{name} {policy if name == 'FORWARD' else 'ACCEPT'} [0:0]\n" for name in names)
    lines = "".join(f"[0:0] {rule}\n" for rule in f"{hooks}{rules}".splitlines())
    chains = from_iptables.chains_of(parse(f"*{table}\n{heads}{lines}COMMIT\n"))
    return Walk(chains, TOPOLOGY, HOST).rules_met(chains.bases, HOST_PACKETS)


def lab(**read: object) -> Observed:
    """Return a lab of which these parts have been read."""
    seen = Observed(TOPOLOGY)
    vars(seen).update({"host_addresses": HOST, "policy": POLICY, **read})
    return seen


def flows(found: list[Met], *, answers: bool = False) -> set[str]:
    return {str(one.flow) for each in found for one in each.packets if one.answer == answers}


def test_a_drop_names_the_connections_it_stops_and_those_whose_answers_it_stops() -> None:
    found = met("-A FORWARD -s 10.0.0.40/32 -d 10.0.0.60/32 -p tcp -j DROP")
    assert flows(found) == {"order-service -> postgres-db tcp/5432"}
    found = met("-A FORWARD -s 10.0.0.60/32 -p tcp -m tcp --sport 5432 -j REJECT")
    assert flows(found) == set()
    assert flows(found, answers=True) == {"order-service -> postgres-db tcp/5432"}


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -s 10.0.0.10/32 -d 10.0.0.60/32 -p tcp -m tcp --dport 5432 -j DROP",  # the policy drops it anyway
        "-A FORWARD -d 10.0.0.60/32 -p tcp -m tcp --dport 22 -j DROP",
        "-A FORWARD -d 10.0.0.60/32 -j ACCEPT",
        "-A FORWARD -d 10.0.0.60/32 -j LOG",
        "-A FORWARD -i docker0 -j DROP",
        "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
        "-A FORWARD -m recent --name banned --rcheck --rsource -j DROP",
        "-A INPUT -p tcp -m tcp --dport 22 -j DROP",
        "-A OUTPUT -p tcp -m tcp --dport 8080 -j DROP",  # by then it is port 80 of a node
        "-A INPUT -s 192.0.2.7/32 -j DROP",
        "-A FORWARD -j empty\n-A unused -d 10.0.0.60/32 -j DROP",
    ],
)
def test_a_rule_that_stops_nothing_of_the_lab_is_not_met(rule: str) -> None:
    assert met(rule) == []


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -d 10.0.0.60/32 -m statistic --mode nth --every 3 --packet 0 -j DROP",
        "-A FORWARD -s 10.0.0.60/32 -m length --length 1000:65535 -j DROP",
        "-A FORWARD -d 10.0.0.60/32 -j guard\n-A guard -m limit --limit 5/second -j RETURN\n-A guard -j DROP",
        "-A FORWARD -j DROP",
        "-A INPUT -i br-app -j DROP",
    ],
)
def test_a_rule_that_stops_some_or_all_is_met(rule: str) -> None:
    assert [one.rule.text for one in met(rule) if one.rule] == [f"filter {rule.splitlines()[-1]}"]


@pytest.mark.parametrize(
    ("packets", "condition", "is_met"),
    [(0, " -m set --match-set banned src", 0), (7, " -m set --match-set banned src", 1), (0, "", 1)],
)
def test_whether_a_condition_that_only_the_kernel_can_judge_holds_is_told_by_the_counter(
    packets: int, condition: str, is_met: int
) -> None:
    rule = f"[{packets}:0] -A FORWARD -p tcp -m tcp --dport 80{condition} -j DROP"
    texts = RuleTexts({"iptables": f"*filter\n:FORWARD ACCEPT [0:0]\n{rule}\nCOMMIT\n"}, "", "", "")
    place = foreign.Place("", texts, HOST_PACKETS)
    assert len(list(foreign._rules_met(lab(), place))) == is_met


def test_a_rule_behind_a_rule_that_decides_for_sure_is_not_met() -> None:
    drop, accept = "-A FORWARD -d 10.0.0.60/32 -j DROP", "-A FORWARD -d 10.0.0.60/32 -j ACCEPT"
    assert met(f"{accept}\n{drop}") == []
    assert len(met(f"-A FORWARD -m limit --limit 5/second -j ACCEPT\n{drop}")) == 1


def test_a_policy_that_drops_is_met_unless_the_chain_accepts() -> None:
    assert [one.rule for one in met("-A FORWARD -i eth7 -j ACCEPT", policy="DROP")] == [None]
    assert met("-A FORWARD -i br-app -j ACCEPT\n-A FORWARD -o br-app -j ACCEPT", policy="DROP") == []


def test_rules_of_the_lab_are_not_named_and_decide_as_the_kernel_does() -> None:
    assert met("-A FORWARD -j CNET-X\n-A CNET-X -d 10.0.0.60/32 -j DROP") == []
    assert met("-A PREROUTING -d 10.0.0.60/32 -j DROP", "mangle", hooks=HOOKS["mangle"]) == []
    redirect = "-A PREROUTING -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 9"
    assert met(redirect, "nat", hooks=HOOKS["nat"]) == []
    assert flows(met(f"{redirect}\n{HOOKS['nat']}", "nat")) >= {"world -> host tcp/8080"}


def nft(family: str, hook: str, *expression: dict[str, Any], **chain: Any) -> list[Met]:
    objects = [
        {"chain": {"family": family, "table": "t", "name": "c", "hook": hook, "prio": 0, **chain}},
        {"rule": {"family": family, "table": "t", "chain": "c", "handle": 1, "expr": list(expression)}},
    ]
    chains = from_nft.chains_of(json.loads(json.dumps(objects)))
    return Walk(chains, TOPOLOGY, HOST).rules_met(chains.bases, HOST_PACKETS)


def matches(protocol: str, field: str, right: object) -> dict[str, Any]:
    return {
        "match": {"left": {"payload": {"protocol": protocol, "field": field}}, "op": "==", "right": right}
    }


def test_a_rule_of_nft_is_met_at_ingress_of_its_device_alone() -> None:
    rule = (matches("tcp", "sport", 6379), {"drop": None})
    found = nft("netdev", "ingress", *rule, dev="veth-redis-br")
    assert "product-1 -> redis-cache tcp/6379" in flows(found, answers=True)
    assert nft("netdev", "ingress", *rule, dev="veth-pg-br") == []
    assert len(nft("inet", "forward", matches("ip", "daddr", "10.0.0.30"), {"drop": None})) == 1
    assert nft("inet", "forward", matches("ip", "daddr", "10.9.0.30"), {"drop": None}) == []


def test_an_extension_of_iptables_that_nft_shows_as_null_matches_some_packets() -> None:
    (found,) = nft("ip", "forward", {"xt": None}, matches("ip", "daddr", "10.0.0.30"), {"drop": None})
    assert not found.is_certain


def test_a_rule_in_a_namespace_is_met_by_what_enters_and_leaves_there() -> None:
    packets = crossings_of_namespace(TOPOLOGY, POLICY, "redis-cache")
    for rule, count in (("--dport 6379", 1), ("--dport 6380", 0), ("--sport 6379", 0)):
        text = f"*filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT -p tcp -m tcp {rule} -j DROP\nCOMMIT\n"
        chains = from_iptables.chains_of(parse(text))
        found = Walk(chains, TOPOLOGY, set()).rules_met(chains.bases, packets)
        assert len(found) == count, rule


@pytest.mark.parametrize(
    ("tool", "rule", "is_met"),
    [
        ("ebtables", "-A FORWARD -p ARP --arp-ip-src 10.0.0.50 -j DROP", True),
        ("ebtables", "-A FORWARD -i veth-redis-br -j DROP", True),
        ("ebtables", "-A INPUT -s 02:42:0a:00:00:32 -j DROP", True),
        ("ebtables", "-A FORWARD -p ARP --arp-ip-src 192.0.2.1 -j DROP", False),
        ("ebtables", "-A FORWARD -i eth7 -j DROP", False),
        ("ebtables", "-A FORWARD -s 02:42:0a:00:00:99 -j DROP", False),
        ("ebtables", "-A FORWARD -p IPv6 -j DROP", False),
        ("ebtables", "-A FORWARD -p ARP --arp-ip-src 10.0.0.50 -j ACCEPT", False),
        ("ebtables", "-A CNET-WIRE-veth-redis-br -p ARP -j DROP", False),
        ("arptables", "-A INPUT -j DROP -s 10.0.0.50", True),
        ("arptables", "-A INPUT -j DROP -s 192.0.2.1", False),
    ],
)
def test_a_rule_for_frames_is_met_if_all_that_it_names_is_the_labs(
    tool: str, rule: str, is_met: bool
) -> None:
    saved = f"*filter\n:FORWARD ACCEPT\n{rule}\n"
    texts = RuleTexts({}, saved if tool == "ebtables" else "", saved if tool == "arptables" else "", "")
    found = list(foreign_frame_rules(TOPOLOGY, texts, "host"))
    assert [one.object for one in found] == ([f"{tool} filter {rule}"] if is_met else [])


def test_a_text_names_the_lab_by_address_interface_or_mac() -> None:
    for text in ("-s 10.0.0.0/8", "oifname veth-redis-br", "ether saddr 02:42:0a:00:00:32"):
        assert names_lab(text, TOPOLOGY), text
    for text in ("-s 0.0.0.0/0", "-s 192.0.2.0/24", "oifname eth7", "-m length --length 1000:65535"):
        assert not names_lab(text, TOPOLOGY), text


def test_a_chain_differs_by_missing_and_surplus_rules_and_by_an_order_that_matters() -> None:
    place = ("nat", "CNET-POSTROUTING")
    hairpin = "-A CNET-POSTROUTING -s 10.0.0.0/16 -o br-app -j MASQUERADE"
    keep, last = "-A CNET-POSTROUTING -o br-app -j ACCEPT", "-A CNET-POSTROUTING ! -o br-app -j MASQUERADE"

    def compare(*have: str) -> list[tuple[object, ...]]:
        return list(own_rules._differences({place: [hairpin, keep, last]}, {place: list(have)}, TOPOLOGY))

    assert compare(hairpin, keep, last) == []
    assert compare(hairpin, keep) == [(place, (last,), ())]
    assert compare(hairpin, hairpin, keep, last) == [(place, (), (hairpin,))]
    assert compare(keep, hairpin, last) == [(place, (), (keep,))]
    assert compare(last, hairpin, keep) == [(place, (), (last,))]
    hooks = ("nat", "PREROUTING")
    assert list(own_rules._differences({hooks: [keep, last]}, {hooks: [last, keep]}, TOPOLOGY)) == []


@pytest.mark.parametrize(
    ("credit", "most", "is_used_up"), [(9, 200, True), (19, 200, True), (20, 200, False), (10, 10, False)]
)
def test_a_rate_is_used_up_when_at_most_one_connection_is_left(
    credit: int, most: int, is_used_up: bool
) -> None:
    assert tracked._is_used_up(credit, most, 10) == is_used_up


def entry(head: str, asked: str, answer: str) -> str:
    """Return a line of conntrack; each direction is SOURCE DESTINATION SOURCE_PORT PORT."""
    ways = (dict(zip(("src", "dst", "sport", "dport"), way.split(), strict=True)) for way in (asked, answer))
    return f"{head} {' '.join(f'{key}={value}' for way in ways for key, value in way.items())} mark=0 use=1"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            entry("udp 17 9000", "10.0.0.20 10.0.0.70 4000 53", "10.0.0.50 10.0.0.20 53 4000"),
            "udp 10.0.0.70:53",
        ),
        (
            entry("udp 17 29", "10.0.0.20 10.0.0.70 4000 53", "10.0.0.50 10.0.0.20 53 4000"),
            "",
        ),  # soon forgotten
        (entry("udp 17 9000", "10.0.0.20 10.0.0.70 4000 53", "10.0.0.70 10.0.0.20 53 4000"), ""),
        (
            entry("tcp 6 99 ESTABLISHED", "192.0.2.9 203.0.113.1 4000 8080", "10.0.0.40 192.0.2.9 5000 4000"),
            "tcp 203.0.113.1:8080",
        ),
        (entry("tcp 6 99 TIME_WAIT", "192.0.2.9 203.0.113.1 4000 8080", "10.0.0.40 192.0.2.9 5000 4000"), ""),
        (entry("tcp 6 99 ESTABLISHED", "192.0.2.9 203.0.113.1 4000 8080", "10.0.0.10 192.0.2.9 80 4000"), ""),
        (entry("tcp 6 99 ESTABLISHED", "10.0.0.20 192.0.2.9 4000 80", "192.0.2.9 203.0.113.1 80 4000"), ""),
    ],
)
def test_an_entry_that_lasts_and_leads_elsewhere_than_the_rules_is_named(line: str, named: str) -> None:
    assert [one.object for one in tracked._old_translations(lab(conntrack=line))] == (
        [named] if named else []
    )


@pytest.mark.parametrize(
    ("table", "chain", "rule", "is_named"),
    [
        ("nat", "PREROUTING", "-p tcp -m tcp --dport 8080 -j ACCEPT", True),
        (
            "nat",
            "PREROUTING",
            "-p udp -m udp --dport 53 -j ACCEPT",
            False,
        ),  # nothing of the lab is translated there
        ("nat", "OUTPUT", "-p tcp -m tcp --dport 8080 -j ACCEPT", True),
        ("security", "FORWARD", "-s 10.0.0.20/32 -d 10.0.0.60/32 -j ACCEPT", True),
        ("security", "FORWARD", "-i docker0 -o eth7 -j ACCEPT", False),
        ("security", "FORWARD", "-j LOG", False),
        ("filter", "FORWARD", "-m conntrack --ctstate ESTABLISHED -j ACCEPT", False),
    ],
)
def test_a_hook_is_behind_if_packets_of_the_lab_miss_it(
    table: str, chain: str, rule: str, is_named: bool
) -> None:
    hook = f"[0:0] -A {chain} -m addrtype --dst-type LOCAL -j CNET-X"
    saved = f"*{table}\n:{chain} ACCEPT [0:0]\n[0:0] -A {chain} {rule}\n{hook}\nCOMMIT\n"
    live = read_own_rules(own_rules._without_counters(saved), ".*")
    seen = lab()
    vars(seen)["live"] = SimpleNamespace(host=SimpleNamespace(routes=[], links=[]))
    found = list(own_rules._hooks_behind(seen, live, saved))
    assert [(one.kind, one.object) for one in found] == [(Kind.HOOK_BEHIND, f"{table} {chain}")] * is_named
