"""The tables that scripts/scale.sh makes."""

from __future__ import annotations

from ipaddress import IPv6Interface

import pytest

from lab.topology import Topology, load
from lab.topology.scaled import interface_after, name_after, scaled

FLAT = load("flat")


@pytest.mark.parametrize(
    ("name", "following"),
    [("product-3", "product-4"), ("order-service", "order-service-2"), ("n09", "n10"), ("7", "7-2")],
)
def test_a_name_gets_the_next_number(name: str, following: str) -> None:
    assert name_after(name) == following


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("veth-prod3-br", "veth-prod4-br"),
        ("veth-order-s-br", "veth-or-2-br"),
        ("veth-order-s", "veth-order-s-2"),
        ("abcdefghijklmn", "abcdefghij-2"),
        ("abcdefghijkl99", "abcdefghijkl100"),
        ("veth-or-9-br", "veth-or-10-br"),
    ],
)
def test_an_interface_has_at_most_15_characters(name: str, following: str) -> None:
    assert interface_after(name) == following
    assert len(following) <= 15


def test_new_instances_get_free_addresses_and_publish_nothing() -> None:
    more = scaled(FLAT, FLAT, "product-service", 12).nodes_running("product-service")
    assert [str(node.address.ip) for node in more[3:]] == [
        *(f"10.0.0.{number}" for number in range(33, 40)),
        *("10.0.0.41", "10.0.0.42"),
    ]
    assert {node.name for node in more} == {f"product-{number}" for number in range(1, 13)}
    assert len({node.bridge_interface for node in more}) == 12


def test_new_instances_get_an_ipv6_address_where_the_last_one_has_one() -> None:
    first, *others = FLAT.nodes_running("product-service")
    dual = FLAT.nodes[0]._replace(address6=IPv6Interface("fd00::5/64"))
    nodes = [dual, first._replace(address6=IPv6Interface("fd00::3/64"))]
    nodes += [node._replace(address6=IPv6Interface("fd00::4/64")) for node in others[:1]]
    table = Topology(FLAT.path, FLAT.bridges, nodes)
    more = scaled(table, table, "product-service", 3).nodes_running("product-service")
    assert [str(node.address6) for node in more] == ["fd00::3/64", "fd00::4/64", "fd00::6/64"]


def test_new_instances_get_ipv6_alone_where_the_last_one_has_no_other() -> None:
    own = IPv6Interface("fd00::3/64")
    nodes = [FLAT.nodes_running("product-service")[0]._replace(address=own, address6=own)]
    table = Topology(FLAT.path, FLAT.bridges, nodes)
    more = scaled(table, table, "product-service", 2).nodes_running("product-service")
    assert [list(map(str, node.addresses)) for node in more] == [["fd00::3/64"], ["fd00::4/64"]]


def test_fewer_instances_keep_the_base_tables_first_and_every_other_row() -> None:
    up = scaled(FLAT, FLAT, "product-service", 5)
    assert scaled(up, FLAT, "product-service", 3).nodes == FLAT.nodes
    assert scaled(up, FLAT, "product-service", 4).nodes == up.nodes[:-1]
    one = scaled(up, FLAT, "product-service", 1)
    assert [node.name for node in one.nodes_running("product-service")] == ["product-1"]
    assert len(one.nodes) == len(FLAT.nodes) - 2
    both = scaled(scaled(up, FLAT, "order-service", 2), FLAT, "product-service", 3)
    assert [node.name for node in both.nodes_running("order-service")] == ["order-service", "order-service-2"]


def test_a_node_that_shares_its_namespace_gets_one_more_address_there() -> None:
    tiers = load("tiers")
    more = scaled(tiers, tiers, "product-service", 3).nodes_running("product-service")
    assert len({node.namespace for node in more}) == 1
    assert len({node.address for node in more}) == 3
