"""A node's environment follows from its program's service.toml and the table."""

from __future__ import annotations

from ipaddress import IPv6Interface
from pathlib import Path

import pytest

from lab import services
from lab.services import environments, read_programs
from lab.topology import ROOT, Topology, TopologyError, load

FLAT = load(ROOT / "topology/flat.tsv")
DUAL = Topology(
    FLAT.path,
    [bridge._replace(address6=IPv6Interface("fd00:cafe::1/64")) for bridge in FLAT.bridges],
    [
        node._replace(address6=IPv6Interface(f"fd00:cafe::{str(node.address.ip).split('.')[3]}/64"))
        for node in FLAT.nodes
    ],
)
ALWAYS = {"INSTANCE_ID", "SERVICE_NAME", "SERVICE_IP", "SERVICE_PORT", "LANG", "PYTHONDONTWRITEBYTECODE"}


def environment_of(topology: Topology, node: str) -> dict[str, str]:
    settings = environments(topology, read_programs(topology))[node]
    return {name: value for name, value in settings.items() if name not in ALWAYS}


def without(program: str) -> Topology:
    return Topology(FLAT.path, FLAT.bridges, tuple(node for node in FLAT.nodes if node.runs != program))


def test_with_a_registry_a_client_gets_its_address_and_no_list_of_instances() -> None:
    assert environment_of(FLAT, "api-gateway") == {
        "UNLIMITED_CLIENTS": "10.0.0.10", "SERVICE_REGISTRY": "http://10.0.0.70:8500",
    }  # fmt: skip


def test_without_a_registry_a_client_gets_all_instances_and_a_store_renews_no_lease() -> None:
    assert environment_of(without("service-registry"), "api-gateway") == {
        "UNLIMITED_CLIENTS": "10.0.0.10",
        "PRODUCT_SERVICE_URLS": "http://10.0.0.30:5000,http://10.0.0.31:5000,http://10.0.0.32:5000",
        "ORDER_SERVICE": "http://10.0.0.40:5000",
    }
    assert environment_of(without("service-registry"), "redis-cache").keys() == {"SECRETS"}


def test_without_the_other_program_a_setting_keeps_its_default() -> None:
    assert environment_of(FLAT, "product-1")["REDIS_HOST"] == "10.0.0.50"
    assert not environment_of(without("redis"), "product-1").keys() & {"REDIS_HOST", "REDIS_PORT"}


def test_the_registry_checks_what_does_not_register_itself_and_leases_what_it_cannot_reach() -> None:
    assert environment_of(FLAT, "service-registry")["CONFIGURED"].split(",") == [
        "nginx-lb=10.0.0.10:80",
        "redis-cache=10.0.0.50:6379/3",
        "postgres-db=10.0.0.60:5432/3",
        "service-registry=10.0.0.70:8500",
    ]


def test_with_both_families_each_variable_has_its_counterpart_in_ipv6() -> None:
    assert not [name for name in environment_of(FLAT, "api-gateway") if "IP6" in name]
    assert environment_of(DUAL, "order-service") == environment_of(FLAT, "order-service") | {
        "SERVICE_IP6": "fd00:cafe::40", "DB_IP6": "fd00:cafe::60", "REGISTRY_IP6": "fd00:cafe::70",
    }  # fmt: skip
    assert environment_of(DUAL, "product-1")["REDIS_IP6"] == "fd00:cafe::50"
    assert environment_of(DUAL, "redis-cache")["REGISTRY_IP6"] == "fd00:cafe::70"
    registry = environment_of(DUAL, "service-registry")
    assert registry["CONFIGURED"] == environment_of(FLAT, "service-registry")["CONFIGURED"]
    assert registry["CONFIGURED_IP6"].split(",")[:2] == [
        "nginx-lb=fd00:cafe::10",
        "redis-cache=fd00:cafe::50",
    ]


def test_with_both_families_lists_of_who_may_connect_have_both() -> None:
    assert environment_of(DUAL, "api-gateway")["UNLIMITED_CLIENTS"] == "10.0.0.10,fd00:cafe::10"
    assert environment_of(DUAL, "nginx-lb")["UNLIMITED_CLIENTS"] == "10.0.0.0/16,fd00:cafe::/64"
    assert environment_of(DUAL, "postgres-db")["DB_CLIENTS"] == "10.0.0.0/16,fd00:cafe::/64"
    assert environment_of(DUAL, "service-registry")["OPERATORS"] == "10.0.0.1,fd00:cafe::1"


@pytest.mark.parametrize(
    "text",
    ["needs = [", "nedes = []", '[environment]\nA = "{rediss.port}"', '[environment]\nA = "{redis.prt}"'],
)
def test_a_file_that_is_not_valid_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "ROOT", tmp_path)
    for program in {node.runs for node in FLAT.nodes if node.runs}:
        folder = tmp_path / "services" / program
        folder.mkdir(parents=True)
        (folder / "service.toml").write_text(text)
    with pytest.raises(TopologyError, match=r"/service\.toml: "):
        environments(FLAT, read_programs(FLAT))
