"""The optional column address6 of topology tables: like address, for the second family."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest

from lab import topology
from lab.network.conflicts import table_conflicts
from lab.network.facts import ROUTE, mac_of, wanted_facts
from lab.topology import TopologyError
from lab.topology.__main__ import dump
from security.policy.table import policy_path

COLUMNS = "kind name namespace address interface bridge_interface bridge listens publishes runs address6"


def table(folder: Path, bridge: str, *nodes: str) -> Path:
    """Write a table whose bridge and nodes have these IPv6 addresses, and the same IPv4 addresses always."""
    rows = [COLUMNS, f"bridge br0 - 10.9.0.1/16 - - - - - - {bridge}"]
    rows += [
        f"node n{number} ns{number} 10.9.1.{number}/16 eth0 port{number} br0 - - - {address}"
        for number, address in enumerate(nodes, 1)
    ]
    path = folder / "table.tsv"
    path.write_text("".join(row.replace(" ", "\t") + "\n" for row in rows))
    return path


def test_a_node_has_its_own_or_none(tmp_path: Path) -> None:
    found = topology.load(table(tmp_path, "fd00::1/64", "fd00::a/64", "-"))
    assert [str(address) for address in found.bridges[0].addresses] == ["10.9.0.1/16", "fd00::1/64"]
    assert [str(node.address6) for node in found.nodes] == ["fd00::a/64", "None"]
    rows = [line.split("\t") for line in dump(found).splitlines()]
    assert [row[4] for row in rows] == ["address6", "fd00::1/64", "fd00::a/64", "-"]


def test_a_node_without_one_gets_no_default_route_for_ipv6(tmp_path: Path) -> None:
    found = topology.load(table(tmp_path, "fd00::1/64", "fd00::a/64", "-"))
    routes = [(fact.place, fact.value) for fact in wanted_facts(found, False) if fact.kind is ROUTE]
    assert routes == [("ns1", "via 10.9.0.1"), ("ns1", "via fd00::1"), ("ns2", "via 10.9.0.1")]


def test_a_node_is_found_by_each_of_its_addresses(tmp_path: Path) -> None:
    found = topology.load(table(tmp_path, "fd00::1/64", "fd00::a/64", "-"))
    assert found.nodes[0] is found.node_at("10.9.1.1") is found.node_at(IPv6Address("fd00::a"))
    assert found.node_at("fd00::1") is None  # of the bridge


def test_a_table_without_the_column_is_dumped_without_it() -> None:
    assert "address6" not in dump(topology.load("flat"))


@pytest.mark.parametrize(
    ("addresses", "line", "reason"),
    [
        (("fd00::1/64", "fd00::1/64"), 3, '"fd00::1" is already used in line 2'),
        (("fd00::1/64", "fd01::a/64"), 3, "fd01::a/64 is outside fd00::1/64 of br0"),
        (("fd00::1/64", "fd00::a/65"), 3, "fd00::a/65 has another prefix length than fd00::1/64 of br0"),
        (("-", "fd00::a/64"), 3, "bridge br0 has none, so fd00::a/64 would have no router"),
        (
            ("fd00:0::1/64",),
            2,
            '"fd00:0::1/64" is not an IPv6 address with a prefix length from 1 to 126, written as fd00::1/64',
        ),
        (("fd00::1/127",), 2, '"fd00::1/127" is not an IPv6 address with a prefix length from 1 to 126'),
        (("10.0.0.1/16",), 2, '"10.0.0.1/16" is not an IPv6 address with a prefix length from 1 to 126'),
        (("fd00::/64",), 2, "fd00::/64 is the anycast address of all routers (RFC 4291), not a host's"),
    ],
)
def test_one_that_does_not_fit_is_refused(
    addresses: tuple[str, ...], line: int, reason: str, tmp_path: Path
) -> None:
    path = table(tmp_path, *addresses)
    with pytest.raises(TopologyError, match=re.escape(f"{path}:{line}: address6: {reason}") + "$"):
        topology.load(path)


@pytest.mark.parametrize(
    "address", ["fe80::1/64", "ff02::1/64", "::1/8", "::ffff:a00:1/96", "::2/64", "8000::1/1"]
)
def test_one_of_a_special_kind_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        TopologyError, match=f"{address} is in a network with link-local, multicast, loopback"
    ):
        topology.load(table(tmp_path, address))


def test_the_dual_table_is_the_flat_one_with_a_second_address_that_ends_in_the_same_number() -> None:
    flat, dual = topology.load("flat"), topology.load("dual")
    assert [str(bridge.address6) for bridge in dual.bridges] == ["fd00:cafe::1/64"]
    for one, other in zip(flat.nodes, dual.nodes, strict=True):
        last = str(one.address.ip).rpartition(".")[2]
        assert str(other.address6) == f"fd00:cafe::{last}/64"
        assert one == other._replace(address6=None, line=one.line)


def test_the_policy_of_the_dual_table_is_that_of_the_flat_one_by_one_name() -> None:
    assert (
        policy_path(topology.load("dual"))
        == policy_path(topology.load("flat"))
        == topology.ROOT / "security/flat.tsv"
    )


def without_ipv4(path: Path) -> Path:
    """Write - for each IPv4 address of a table."""
    path.write_text(re.sub(r"10\.9\.\d+\.\d+/16", "-", path.read_text()))
    return path


def test_a_table_may_have_ipv6_alone(tmp_path: Path) -> None:
    found = topology.load(without_ipv4(table(tmp_path, "fd00::1/64", "fd00::a/64")))
    assert [str(address) for address in (*found.bridges[0].addresses, *found.nodes[0].addresses)] == [
        "fd00::1/64",
        "fd00::a/64",
    ]
    assert (found.nodes[0].address_of(4), str(found.nodes[0].address)) == (None, "fd00::a/64")
    rows = [line.split("\t")[3:5] for line in dump(found).splitlines()]
    assert rows == [["address", "address6"], ["-", "fd00::1/64"], ["-", "fd00::a/64"]]


def test_a_node_without_any_address_is_refused(tmp_path: Path) -> None:
    path = without_ipv4(table(tmp_path, "fd00::1/64", "fd00::a/64", "-"))
    with pytest.raises(TopologyError, match=re.escape(f'{path}:4: address: "-" is not an IPv4 address')):
        topology.load(path)


def test_a_node_with_ipv4_needs_a_bridge_that_has_it(tmp_path: Path) -> None:
    path = table(tmp_path, "fd00::1/64", "fd00::a/64")
    path.write_text(path.read_text().replace("10.9.0.1/16", "-"))
    with pytest.raises(
        TopologyError, match=re.escape(f"{path}:3: address: bridge br0 has none, so 10.9.1.1/16")
    ):
        topology.load(path)


def test_the_mac_of_an_ipv6_address_folds_its_four_words() -> None:
    assert mac_of(ip_address("10.0.0.16")) == "02:42:0a:00:00:10"
    assert mac_of(ip_address("fd00:cafe:20::10")) == "02:42:fd:20:ca:ee"


def test_addresses_that_give_the_same_mac_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = without_ipv4(table(tmp_path, "fd00::1/64", "fd00::5/64", "fd00::6/64"))
    assert list(table_conflicts(topology.load(path))) == []
    path.write_text(path.read_text().replace("fd00::6/64", "fd00::5:0:0/64"))
    reason = "fd00::5:0:0 gives the same MAC as the address of n1; take another address"
    assert list(table_conflicts(topology.load(path))) == [f"{path}:4: address6: {reason}"]
