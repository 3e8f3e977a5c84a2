"""The policy of a table with IPv6 addresses: the same lines, as rules of both families."""

from __future__ import annotations

import re
from ipaddress import IPv6Interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.packet import Packet

from lab.conntrack import connections
from lab.network.facts import mac_of
from lab.topology import Node, Topology, load
from security.policy.compiler import compile_rules
from security.policy.model import Policy
from security.policy.stale import as_arguments, stale_connections
from security.policy.table import load as load_policy

TABLES = ("flat", "tiers")
ECHO = {"128": "8", "129": "0"}


def dual(name: str) -> Topology:
    """Give each bridge of a table a /64, and each node its IPv4 address's last number in it."""
    table = load(name)
    networks = {bridge.name: f"fd00:b{at}::" for at, bridge in enumerate(table.bridges)}

    def address6(bridge: str, last: int) -> IPv6Interface:
        return IPv6Interface(f"{networks[bridge]}{last}/64")

    return Topology(
        table.path,
        [
            bridge._replace(address6=address6(bridge.name, bridge.address.packed[3]))
            for bridge in table.bridges
        ],
        [node._replace(address6=address6(node.bridge, node.address.packed[3])) for node in table.nodes],
    )


def without_ipv6(topology: Topology, name: str) -> Topology:
    nodes = [node._replace(address6=None) if node.name == name else node for node in topology.nodes]
    return Topology(topology.path, topology.bridges, nodes)


def node_of(topology: Topology, name: str) -> Node:
    node = topology.node(name)
    assert node
    return node


def rules_of(policy: Policy, tool: str, table: str = "") -> list[str]:
    start = f"{tool} {table}".strip() + " "
    return [rule.removeprefix(start) for rule in compile_rules(policy) if rule.startswith(start)]


@pytest.mark.parametrize("name", TABLES)
def test_ipv6_addresses_add_rules_and_change_none_of_ipv4(name: str) -> None:
    alone, both = load_policy(load(name)), load_policy(dual(name))
    assert rules_of(both, "iptables") == rules_of(alone, "iptables")
    assert not rules_of(alone, "ip6tables")
    frames = rules_of(alone, "ebtables")
    added = [rule for rule in rules_of(both, "ebtables") if rule not in frames]
    assert all("-p IPv6" in rule or "CNET-DROP-mld" in rule for rule in added)


@pytest.mark.parametrize("name", TABLES)
def test_each_line_of_the_policy_has_the_same_rules_in_both_families(name: str) -> None:
    policy = load_policy(dual(name))
    nodes, bridges = policy.topology.nodes, policy.topology.bridges
    ours = {str(of.address6.ip): str(of.address.ip) for of in nodes if of.address6}
    ours |= {str(of.address6.network): str(of.address.network) for of in bridges if of.address6}

    def as_ipv4(rule: str) -> str:
        rule = re.sub(r"fd00:b\d+::(/64|\w+)", lambda found: ours[found[0]], rule)
        rule = re.sub(
            r"ipv6-icmp -m icmp6 --icmpv6-type (\d+)",
            lambda found: f"icmp -m icmp --icmp-type {ECHO.get(found[1], found[1])}",
            rule,
        )
        for six, four in (
            ("/128", "/32"),
            ("mask 128", "mask 32"),
            ("! --length 48:148", "--length 129:65535"),
        ):
            rule = rule.replace(six, four)
        return rule.replace("148 bytes", "128 bytes")

    only_here = re.compile("ICMP errors|cnet: neighbours|CNET-FROM-NODES.*cnet: (before up|policy|table): ")
    four, six = (
        [rule for rule in rules_of(policy, tool, "security") if not only_here.search(rule)]
        for tool in ("iptables", "ip6tables")
    )
    assert [as_ipv4(rule) for rule in six] == four
    assert not [rule for rule in rules_of(policy, "ip6tables") if "/32 " in rule or "before up" in rule]


def test_names_and_comments_fit_in_the_kernel() -> None:
    topology = dual("tiers")
    for rule in compile_rules(load_policy(topology)):
        assert len(rule.split()[3]) <= 28  # XT_EXTENSION_MAXNAMELEN
        assert all(len(comment) <= 255 for comment in re.findall(r'--comment "([^"]*)"', rule))


def test_a_node_without_an_ipv6_address_has_no_rule_and_a_closed_port() -> None:
    node = node_of(load("flat"), "redis-cache")
    policy = load_policy(without_ipv6(dual("flat"), node.name))
    assert not [rule for rule in rules_of(policy, "ip6tables") if f"CNET-TO-{node.address.ip}" in rule]
    of_ipv6 = [
        rule.rpartition("-p IPv6 ")[2]
        for rule in rules_of(policy, "ebtables")
        if "veth-redis-br -p IPv6" in rule
    ]
    assert of_ipv6 == ["-j CNET-DROP-ipv6"]


def test_a_rate_counts_each_node_but_all_of_a_clients_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.tsv").write_text(
        "id\tfrom\tto\tprotocol\tport\trate\tverdict\treason\n"
        "shop\tany\tnginx-lb\ttcp\t80\t9/minute:9\taccept\tat a rate\n"
    )
    monkeypatch.setenv("POLICY", str(tmp_path / "mine.tsv"))
    found = {
        (tool, rule.split()[2], match[1])
        for tool in ("iptables", "ip6tables")
        for rule in rules_of(load_policy(dual("flat")), tool)
        if (match := re.search(r"--hashlimit-name (.*) -[jg]", rule)) and "FROM-HOST" not in rule
    }
    own = "CNET-TO-10.0.0.10"
    assert found == {
        ("iptables", own, "cnet-shop-9-minute-9"),
        ("iptables", "CNET-FROM-WORLD", "cnet-shop-9-minute-9"),
        ("ip6tables", own, "cnet-shop-9-minute-9"),
        ("ip6tables", "CNET-FROM-WORLD", "cnet-shop-9-minute-9-64 --hashlimit-srcmask 64"),
    }


# --- neighbour discovery ---


def neighbour_rules(policy: Policy) -> list[tuple[str, str, str]]:
    """Return source, type and u32 expression of each rule that lets a message pass."""
    text = "\n".join(rules_of(policy, "ip6tables", "raw"))
    pattern = r'-A CNET-ORIGIN-ND .* -s (\S+)/128 .*--icmpv6-type (\d+) -m hl --hl-eq 255 -m u32 --u32 "(.*)" -j ACCEPT'
    return re.findall(pattern, text)


def holds(expression: str, packet: bytes) -> bool:
    """Evaluate the part of u32 that the rules use: 4 bytes at an offset, a mask, a value."""
    for test in expression.split("&&"):
        field, value = test.split("=")
        offset, _, mask = field.partition("&")
        word = int.from_bytes(packet[int(offset, 16) : int(offset, 16) + 4].ljust(4, b"\xff"))
        if word & int(mask or "0xffffffff", 16) != int(value, 16):
            return False
    return True


def passes(policy: Policy, packet: Packet) -> bool:
    data = bytes(packet)
    return any(
        packet.src == source and data[40] == int(kind) and holds(expression, data)
        for source, kind, expression in neighbour_rules(policy)
    )


POLICY = load_policy(dual("flat"))
NODES = [(str(node.address6.ip), mac_of(node.address.ip)) for node in POLICY.topology.nodes if node.address6]
one_of = st.sampled_from(NODES)


@given(sender=one_of, target=one_of, mac=one_of)
def test_a_node_claims_and_asks_only_with_its_own_address_and_mac(
    sender: tuple[str, str], target: tuple[str, str], mac: tuple[str, str]
) -> None:
    start = IPv6(src=sender[0], dst=NODES[0][0])
    claim = start / ICMPv6ND_NA(tgt=target[0])
    assert passes(POLICY, claim) == (sender == target)
    assert passes(POLICY, claim / ICMPv6NDOptDstLLAddr(lladdr=mac[1])) == (sender == target == mac)
    ask = start / ICMPv6ND_NS(tgt=target[0])
    assert passes(POLICY, ask / ICMPv6NDOptSrcLLAddr(lladdr=mac[1])) == (sender == mac)
    assert not passes(POLICY, ask)
    assert not passes(POLICY, claim / ICMPv6NDOptSrcLLAddr(lladdr=sender[1]))
    assert not passes(
        POLICY, claim / ICMPv6NDOptDstLLAddr(lladdr=sender[1]) / ICMPv6NDOptDstLLAddr(lladdr=mac[1])
    )


def test_nodes_of_one_namespace_claim_with_the_mac_of_its_wire() -> None:
    policy = load_policy(dual("tiers"))
    nginx, gateway = (node_of(policy.topology, name) for name in ("nginx-lb", "api-gateway"))
    assert nginx.namespace == gateway.namespace
    assert gateway.address6
    claim = IPv6(src=str(gateway.address6.ip)) / ICMPv6ND_NA(tgt=str(gateway.address6.ip))
    for owner, expected in ((nginx, True), (gateway, False)):
        assert passes(policy, claim / ICMPv6NDOptDstLLAddr(lladdr=mac_of(owner.address.ip))) is expected


# --- connections that a new policy denies ---


def test_denied_connections_of_ipv6_are_named_with_the_arguments_that_delete_them() -> None:
    def entry(protocol: str, source: str, destination: str, port: str = "") -> str:
        there, back = (
            str(node_of(POLICY.topology, name).addresses[1].ip) if name != "host" else "2001:db8::1"
            for name in (source, destination)
        )
        sent, received = (
            (f"sport=40000 dport={port}", f"sport={port} dport=40000") if port else ("type=128", "type=129")
        )
        return f"{protocol} 9 src={there} dst={back} {sent} src={back} dst={there} {received} use=1"

    known = [
        entry("tcp      6", "redis-cache", "postgres-db", "5432"),
        entry("tcp      6", "order-service", "postgres-db", "5432"),
        entry("tcp      6", "host", "postgres-db", "5432"),
        entry("icmpv6   58", "redis-cache", "postgres-db"),
        entry("icmpv6   58", "redis-cache", "host"),
    ]
    found = list(stale_connections(POLICY, connections(known), {"2001:db8::1"}))
    redis, postgres = (
        node_of(POLICY.topology, name).addresses[1].ip for name in ("redis-cache", "postgres-db")
    )
    assert [as_arguments(each) for each in found] == [
        f"-f ipv6 -p tcp -s {redis} -d {postgres} --sport 40000 --dport 5432"
    ]
    world = list(stale_connections(POLICY, connections(known), set()))  # now it is an address of the world
    assert [each.protocol for each in world] == ["tcp", "tcp", "icmpv6"]
