"""Compose file and stack say what the tables say: programs, ports, instances, and who may reach whom."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.topology import ROOT, Topology, load
from security.policy.model import ACCEPT
from security.policy.table import load as load_policy

STORES = {"redis", "postgres"}


def services(name: str) -> dict[str, Any]:
    """Read a Compose file's services."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / name).read_text())["services"]
    return found


@pytest.fixture(scope="module")
def tiers() -> Topology:
    """Give the table that has as many tiers as Docker has networks to keep apart."""
    return load(Path(ROOT / "topology/tiers.tsv"))


COMPOSE, STACK = services("compose.yml"), services("stack.yml")
BOTH = pytest.mark.parametrize("services", [COMPOSE, STACK], ids=["compose", "stack"])


def share_a_network(services: dict[str, Any], one: str, other: str) -> bool:
    return bool(set(services[one]["networks"]) & set(services[other]["networks"]))


@BOTH
def test_the_programs_are_the_tables(services: dict[str, Any], tiers: Topology) -> None:
    assert set(services) == {node.runs for node in tiers.nodes}


def test_there_are_as_many_instances_as_nodes(tiers: Topology) -> None:
    wanted = Counter(node.runs for node in tiers.nodes)
    assert {name: one["deploy"].get("replicas", 1) for name, one in COMPOSE.items()} == wanted


def test_each_listens_where_its_nodes_do(tiers: Topology) -> None:
    for node in tiers.nodes:
        assert node.runs
        inside = int(COMPOSE[node.runs].get("environment", {}).get("SERVICE_PORT", 0)) or {
            "nginx": 80,
            "postgres": 5432,
        }.get(node.runs)
        assert inside == node.listens[0].port, node.runs
        for published in COMPOSE[node.runs].get("ports", []):
            assert published.rsplit(":", 1)[1] == str(node.listens[0].port)


def test_published_are_the_ports_that_programs_outside_rely_on() -> None:
    published = {
        name: one["ports"][0]
        .replace("${PUBLISH_ADDRESS:-127.0.0.1}:", "")
        .replace("${NGINX_PORT:-8081}", "8081")
        for name, one in COMPOSE.items()
        if "ports" in one
    }
    assert published == {
        "nginx": "8081:80",
        "api-gateway": "3000:3000",
        "service-registry": "8501:8500",
        "redis": "6380:6379",
        "postgres": "5433:5432",
    }
    assert all("PUBLISH_ADDRESS:-127.0.0.1" in one["ports"][0] for one in COMPOSE.values() if "ports" in one)


@BOTH
def test_the_stores_are_reached_by_those_alone_whom_the_policy_names(services: dict[str, Any]) -> None:
    topology = load(Path(ROOT / "topology/flat.tsv"))
    policy = load_policy(topology)
    runs = {node.name: node.runs for node in topology.nodes}
    for store in STORES:
        (node,) = [node for node in topology.nodes if node.runs == store]
        port = node.listens[0].port
        allowed = {
            runs[source]
            for line in policy.lines
            if line.verdict == ACCEPT and node.name in line.destinations and (port, port) in line.ports
            for source in line.sources
        }
        reaching = {name for name in services if name != store and share_a_network(services, name, store)}
        assert reaching == allowed


@BOTH
def test_no_way_leads_where_the_tiers_have_none(services: dict[str, Any], tiers: Topology) -> None:
    policy = load_policy(tiers)
    nodes = {node.runs: node for node in tiers.nodes}
    for one, other in permutations(nodes, 2):
        if share_a_network(services, str(one), str(other)):
            source, destination = nodes[one], nodes[other]
            lines = [
                line
                for line in policy.lines
                if source.name in line.sources
                and destination.name in line.destinations
                and line.verdict == ACCEPT
            ]
            assert lines or source.bridge == destination.bridge, f"{one} reaches {other}"


@BOTH
def test_what_the_platform_needs_is_reachable(services: dict[str, Any]) -> None:
    for one, other in (
        ("nginx", "api-gateway"),
        ("api-gateway", "product-service"),
        ("api-gateway", "order-service"),
        ("order-service", "product-service"),
        ("product-service", "redis"),
        ("order-service", "postgres"),
        *((name, "service-registry") for name in ("api-gateway", "product-service", "order-service")),
    ):
        assert share_a_network(services, one, other)


@BOTH
def test_each_container_gives_up_what_it_does_not_need(services: dict[str, Any]) -> None:
    for name, one in services.items():
        assert one["cap_drop"] == ["ALL"], name
        limits = one["deploy"]["resources"]["limits"]
        assert limits["cpus"] == "0.5", name
        assert limits["memory"] == "256M", name
        assert name == "postgres" or one["read_only"], name
        assert not [key for key, value in one.get("environment", {}).items() if "PASSWORD" in key and value]


def test_in_compose_each_is_healthy_before_who_needs_it_starts_and_comes_back() -> None:
    for name, one in COMPOSE.items():
        assert one["restart"] == "unless-stopped", name
        assert "no-new-privileges:true" in one["security_opt"], name
        assert all(
            condition == {"condition": "service_healthy"} for condition in one.get("depends_on", {}).values()
        )


def test_the_stack_needs_no_virtual_addresses_and_updates_before_it_stops() -> None:
    for name, one in STACK.items():
        assert one["deploy"]["endpoint_mode"] == "dnsrr", name
        assert all(port["mode"] == "host" for port in one.get("ports", []))
    for name in ("api-gateway", "product-service", "order-service"):
        assert STACK[name]["deploy"]["update_config"]["order"] == "start-first"
