"""The manifests: what topology/flat.tsv runs and publishes, and what security/flat.tsv allows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import yaml

from lab.services import environments, read_programs
from lab.topology import ROOT
from lab.topology import load as load_topology
from security.policy.model import ACCEPT, DROP, HOST, WORLD, Line
from security.policy.table import load as load_policy

Object = dict[str, Any]

FOLDER = ROOT / "docker" / "kubernetes"
OBJECTS = [each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
WORKLOADS = {
    each["metadata"]["name"]: each for each in OBJECTS if each["kind"] in ("Deployment", "StatefulSet")
}
PODS = {name: each["spec"]["template"] for name, each in WORKLOADS.items()}
SERVICES = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "Service"}
POLICIES = {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == "NetworkPolicy"}
with pytest.MonkeyPatch.context() as patch:  # the repository's own, whichever policy is in force
    patch.setenv("POLICY", str(ROOT / "security" / "flat.tsv"))
    POLICY = load_policy(load_topology("flat"))
NODES = {node.name: node for node in POLICY.topology.nodes}
PROGRAMS = {str(node.runs): node for node in NODES.values()}
NOT_THE_WORLD = {  # RFC 1918, RFC 6598, RFC 3927 (a cloud's metadata server), RFC 1122
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),
}


def ports_of(listed: list[Object], key: str) -> list[str]:
    return [f"{port[key]}/{port['protocol'].lower()}" for port in listed]


def test_every_program_of_the_table_has_its_workload_with_its_ports() -> None:
    assert WORKLOADS.keys() == PROGRAMS.keys()
    for name, pod in PODS.items():
        (container,) = pod["spec"]["containers"]
        assert ports_of(container["ports"], "containerPort") == list(map(str, PROGRAMS[name].listens))


def test_every_program_has_a_service_for_its_ports_and_only_published_ones_are_open_to_the_outside() -> None:
    assert SERVICES.keys() == PROGRAMS.keys()
    for name, service in SERVICES.items():
        node = PROGRAMS[name]
        target = {
            port["name"]: port["containerPort"] for port in PODS[name]["spec"]["containers"][0]["ports"]
        }
        leads_to = [(port["port"], target[port["targetPort"]], port["protocol"]) for port in service["ports"]]
        listens = [(each.port, each.port, each.protocol.upper()) for each in node.listens]
        publishes = [(each.host_port, each.port, each.protocol.upper()) for each in node.publishes]
        assert leads_to == (publishes or listens)
        assert (service.get("type") == "LoadBalancer") == bool(publishes)
        assert {"matchLabels": service["selector"]} == WORKLOADS[name]["spec"]["selector"]


def test_as_many_pods_run_as_nodes_do() -> None:
    scalers = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if "Autoscaler" in each["kind"]}
    for name, each in WORKLOADS.items():
        wanted = len(POLICY.topology.nodes_running(name))
        if "replicas" in each["spec"]:  # the autoscaler decides elsewhere
            assert each["spec"]["replicas"] == wanted
        else:
            assert scalers[name]["minReplicas"] == max(2, wanted)


# --- NetworkPolicies


def selected(selector: Object) -> set[str]:
    """Name the nodes whose Pods a selector matches."""
    found = set()
    for name, node in NODES.items():
        labels = PODS[str(node.runs)]["metadata"]["labels"]
        wanted = [(key, [value]) for key, value in selector.get("matchLabels", {}).items()]
        wanted += [(each["key"], each["values"]) for each in selector.get("matchExpressions", [])]
        if all(labels.get(key) in values for key, values in wanted):
            found.add(name)
    return found


def peers(listed: list[Object]) -> set[str]:
    """Name who is at the other end: nodes and the world."""
    found = set()
    for peer in listed:
        if "ipBlock" in peer:
            assert peer["ipBlock"]["cidr"] == "0.0.0.0/0"
            assert set(peer["ipBlock"]["except"]) == NOT_THE_WORLD
            found.add(WORLD)
        elif "namespaceSelector" not in peer:  # the cluster's DNS is no node
            found |= selected(peer["podSelector"])
    return found


def flows(policy: Object) -> Iterator[tuple[str, str, str]]:
    """List source, destination and port of all that one NetworkPolicy allows."""
    spec = policy["spec"]
    (direction,) = spec["policyTypes"]
    for rule in spec[direction.lower()]:
        here, there = selected(spec["podSelector"]), peers(rule["from" if direction == "Ingress" else "to"])
        sources, destinations = (there, here) if direction == "Ingress" else (here, there)
        yield from product(sources, destinations, ports_of(rule["ports"], "port"))


def expected_policies(line: Line) -> set[str]:
    """Name the NetworkPolicies of a line: one for each end that has Pods, none for what they cannot express."""
    if line.verdict == DROP or line.protocols == ("icmp",):
        return set()
    sources, destinations = line.sources - {HOST}, line.destinations - {HOST}
    ends = {"ingress": destinations - {WORLD}, "egress": sources - {WORLD}}
    return {f"{line.id}-{end}" for end, nodes in ends.items() if nodes and sources and destinations}


def test_every_line_that_accepts_has_its_network_policies_and_there_are_no_more() -> None:
    line_of = {
        name: each["metadata"]["annotations"]["cnet/policy-line"]
        for name, each in POLICIES.items()
        if name not in ("default-deny", "cluster-dns")
    }
    assert line_of == {name: line.id for line in POLICY.lines for name in expected_policies(line)}
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert POLICIES["default-deny"]["spec"] == closed


@pytest.mark.parametrize("line", POLICY.lines, ids=lambda line: str(line.id))
def test_the_network_policies_of_a_line_allow_its_flows_and_no_others(line: Line) -> None:
    ports = [f"{first}/{protocol}" for protocol in line.protocols for first, last in line.ports]
    assert all(first == last for first, last in line.ports)
    wanted = set(product(line.sources - {HOST}, line.destinations - {HOST}, ports))
    for name in expected_policies(line):
        end = 1 if name.endswith("-ingress") else 0
        assert set(flows(POLICIES[name])) == {flow for flow in wanted if flow[end] != WORLD}


def test_no_line_that_drops_takes_from_a_later_one_because_network_policies_only_add_up() -> None:
    for name, each in POLICIES.items():
        if name not in ("default-deny", "cluster-dns"):
            for source, destination, listener in flows(each):
                port, protocol = listener.split("/")
                assert POLICY.decide(source, destination, protocol, int(port)).verdict == ACCEPT


def test_no_manifest_has_another_address() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    assert set(re.findall(r"(?:\d+\.){3}\d+(?:/\d+)?", text)) == {"0.0.0.0/0", *NOT_THE_WORLD}


# --- Pods


@pytest.mark.parametrize("name", PODS)
def test_no_container_is_more_than_it_needs(name: str) -> None:
    pod = PODS[name]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_passwords_come_from_the_secret_and_only_to_the_store_and_its_clients() -> None:
    given = {
        name: [
            item["key"]
            for volume in pod["spec"]["volumes"]
            for item in volume.get("secret", {}).get("items", [])
        ]
        for name, pod in PODS.items()
    }
    stores = {"redis_password": ("redis", "product-service"), "db_password": ("postgres", "order-service")}
    assert given == {name: [key for key, users in stores.items() if name in users] for name in PODS}
    assert not [each for each in OBJECTS if each["kind"] == "Secret"]


LAB_ONLY = {  # what the lab tells a program and a Pod is not told
    "SECRETS": "the Pod names its Secret's keys",
    "CONFIGURED": "addresses of Pods are not known before; the probes look after nginx and the stores",
    "OPERATORS": "no Pod has the bridge's address",
    "OWNERS": "addresses of Pods are not known before: an instance may register its own only",
    "UNLIMITED_CLIENTS": "addresses of Pods are not known before, and clients from outside keep their own",
    "DNS_FORWARD": "the cluster's DNS answers other names",
    "HEARTBEAT": "the probes look after the stores",
    "DB_CLIENTS": "a NetworkPolicy restricts them; the image asks everyone for the password",
}
PLACES = {"SERVICE_IP", "INSTANCE_ID", "SERVICE_REGISTRY", "REDIS_HOST", "DB_HOST", "GATEWAYS"}
PYTHON = {"LANG", "PYTHONDONTWRITEBYTECODE"}


def test_a_pod_is_told_what_the_lab_tells_the_program() -> None:
    topology = POLICY.topology
    for wanted in environments(topology, read_programs(topology)).values():
        program = wanted["SERVICE_NAME"]
        told = {item["name"]: item.get("value") for item in PODS[program]["spec"]["containers"][0]["env"]}
        names = (
            wanted.keys() - LAB_ONLY.keys() - (PYTHON if program in ("nginx", "redis", "postgres") else set())
        )
        assert names <= told.keys(), program
        assert {name: told[name] for name in names - PLACES} == {
            name: wanted[name] for name in names - PLACES
        }
