"""The manifests: equal to the tables, valid, closed, and their NetworkPolicies allow what the policy allows."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from docker import kubernetes
from docker.kubernetes import FOLDER, NAME, NAMESPACE, PART_OF, UNSAID, Object, Unsayable
from lab.topology import ROOT
from lab.topology import load as load_topology
from security.policy.model import ACCEPT, DROP, HOST, WORLD, Line, Policy
from security.policy.table import load as load_policy

KUBERNETES = "1.37.0"  # the newest that kubernetes-validate holds
POLICY = kubernetes.shipped()
NODES = tuple(node.name for node in POLICY.topology.nodes)
ALL = (*NODES, HOST, WORLD)
OUTSIDE = "203.0.113.2"  # RFC 5737
COMMITTED = [
    document for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())
]
WORKLOADS = [each for each in COMMITTED if each["kind"] in ("Deployment", "StatefulSet")]
POLICIES = [each for each in COMMITTED if each["kind"] == "NetworkPolicy"]
# All in which the manifests may differ from the table: who is concerned, and why.
EXCEPTIONS: dict[str, Callable[[str, str, str], bool]] = {
    UNSAID["host"]: lambda source, destination, protocol: HOST in (source, destination),
    UNSAID["icmp"]: lambda source, destination, protocol: protocol == "icmp",
}
# Without their rates some lines say no more than another does.
COVERED = {"front": "gateway", "gateway-check": "gateway"}


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def note(each: Object, name: str) -> str:
    return str(each["metadata"].get("annotations", {}).get(f"cnet/{name}", ""))


class TestFiles:
    """What is committed is what the tables say."""

    def test_the_committed_manifests_are_the_generated_ones(self) -> None:
        assert list(kubernetes.differences(FOLDER)) == []
        assert kubernetes.main(["check"]) == 0

    def test_writing_anew_gives_the_same_and_takes_away_what_nothing_asks_for(self, tmp_path: Path) -> None:
        (tmp_path / "old.yaml").write_text(f"{kubernetes.HEADER}kind: Pod\n")
        (tmp_path / "mine.txt").write_text("mine")
        assert kubernetes.main(["write", str(tmp_path)]) == 0
        assert kubernetes.main(["check", str(tmp_path)]) == 0
        assert {path.name for path in tmp_path.iterdir()} == {*kubernetes.files(POLICY), "mine.txt"}

    def test_a_manifest_of_somebody_else_is_named_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("kind: Pod\n")
        assert kubernetes.main(["write", str(tmp_path)]) == 0
        assert (tmp_path / "mine.yaml").read_text() == "kind: Pod\n"
        assert kubernetes.main(["check", str(tmp_path)]) == 1

    @pytest.mark.parametrize(
        ("name", "change", "told"),
        [
            ("redis.yaml", None, "redis.yaml: missing"),
            ("mine.yaml", "kind: Pod\n", "mine.yaml: nothing in the tables asks for it"),
            ("nginx.yaml", "# nothing\n", "nginx.yaml: @@"),
        ],
    )
    def test_what_differs_is_told_in_one_line(
        self, name: str, change: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kubernetes.write(tmp_path)
        if change is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_text(change)
        assert kubernetes.main(["check", str(tmp_path)]) == 1
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1

    def test_an_unknown_command_is_bad_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert kubernetes.main(["destroy"]) == 2
        assert 'unknown command "destroy"' in capsys.readouterr().err

    def test_no_file_has_an_address_but_the_ranges_that_are_not_the_world(self) -> None:
        found = {
            address
            for path in FOLDER.glob("*.yaml")
            for address in re.findall(r"(?:[0-9]+\.){3}[0-9]+(?:/[0-9]+)?", path.read_text())
        }
        assert found == {"0.0.0.0/0", *(str(kubernetes.whole(prefix)) for prefix in kubernetes.PRIVATE)}


class TestObjects:
    """Each is what Kubernetes knows, and what the lab wants of a service."""

    @pytest.mark.parametrize("each", COMMITTED, ids=lambda each: f"{each['kind']}/{each['metadata']['name']}")
    def test_kubernetes_knows_every_field(self, each: Object) -> None:
        assert KUBERNETES.startswith(kubernetes_validate.validate(each, KUBERNETES, strict=True))

    def test_an_unknown_field_is_found(self) -> None:
        broken = copy.deepcopy(WORKLOADS[0]) | {"replicas": 1}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, KUBERNETES, strict=True)

    def test_every_program_of_the_table_has_its_workload_and_its_service(self) -> None:
        programs = {node.runs for node in POLICY.topology.nodes}
        assert {each["metadata"]["name"] for each in WORKLOADS} == programs
        assert {each["metadata"]["name"] for each in COMMITTED if each["kind"] == "Service"} == programs

    def test_as_many_pods_run_as_nodes_do(self) -> None:
        for each in WORKLOADS:
            name = each["metadata"]["name"]
            wanted = len(POLICY.topology.nodes_running(name))
            if "replicas" in each["spec"]:
                assert each["spec"]["replicas"] == wanted
            else:
                scaler = named(COMMITTED, "HorizontalPodAutoscaler", name)["spec"]
                assert wanted <= scaler["minReplicas"] < scaler["maxReplicas"]
                assert named(COMMITTED, "PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1

    @pytest.mark.parametrize("each", WORKLOADS, ids=lambda each: str(each["metadata"]["name"]))
    def test_no_container_is_more_than_it_needs(self, each: Object) -> None:
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }

    @pytest.mark.parametrize("each", WORKLOADS, ids=lambda each: str(each["metadata"]["name"]))
    def test_every_container_has_limits_probes_and_time_to_end(self, each: Object) -> None:
        pod = each["spec"]["template"]["spec"]
        for container in pod["containers"]:
            assert container["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
            sleeps = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert pod["terminationGracePeriodSeconds"] - sleeps >= kubernetes.STOP_SECONDS
        if each["kind"] == "Deployment":
            assert each["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0

    def test_a_service_is_alive_by_health_and_has_traffic_by_ready(self) -> None:
        for name in ("api-gateway", "product-service", "order-service", "service-registry"):
            container = container_of(name)
            assert container["livenessProbe"]["httpGet"]["path"] == "/health"
            assert container["readinessProbe"]["httpGet"]["path"] == "/ready"

    def test_what_is_mounted_is_there_and_what_is_there_is_mounted(self) -> None:
        for each in WORKLOADS:
            pod = each["spec"]["template"]["spec"]
            there = {volume["name"] for volume in pod["volumes"]}
            there |= {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
            assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == there

    def test_passwords_come_from_the_secret_and_only_to_the_store_and_its_clients(self) -> None:
        given_to = {}
        for each in WORKLOADS:
            for volume in each["spec"]["template"]["spec"]["volumes"]:
                if "secret" in volume:
                    given_to[each["metadata"]["name"]] = [item["key"] for item in volume["secret"]["items"]]
        redis, database = ["redis_password"], ["db_password"]
        assert given_to == {
            "redis": redis,
            "product-service": redis,
            "postgres": database,
            "order-service": database,
        }
        assert not [each for each in COMMITTED if each["kind"] == "Secret"]

    def test_every_service_leads_to_ports_that_its_pods_have(self) -> None:
        for each in COMMITTED:
            if each["kind"] == "Service":
                container = container_of(each["spec"]["selector"][NAME])
                ports = {(port["name"], port["protocol"]) for port in container["ports"]}
                assert {(port["targetPort"], port["protocol"]) for port in each["spec"]["ports"]} <= ports

    def test_from_outside_there_is_only_what_the_table_publishes(self) -> None:
        open_to_all = [
            (each["metadata"]["name"], port["port"])
            for each in COMMITTED
            if each["kind"] == "Service" and each["spec"].get("type", "ClusterIP") != "ClusterIP"
            for port in each["spec"]["ports"]
        ]
        published = [(node.runs, item.host_port) for node in POLICY.topology.nodes for item in node.publishes]
        assert open_to_all == published


# What the lab tells a program and a Pod is not told.
LAB_ONLY = {
    "SERVICE_USER": "securityContext says it",
    "CONFIGURED": "addresses of Pods are not known before; the probes look after nginx and the stores",
    "OPERATORS": "nobody has the bridge's address",
    "OWNERS": "addresses of Pods are not known before: an instance may register its own, none that passes is replaced",
    "UNLIMITED_CLIENTS": "addresses of Pods are not known before, and clients from outside keep their own",
    "DNS_FORWARD": "the cluster's DNS answers what is not of the lab",
    "HEARTBEAT": "the probes look after the stores",
    "DB_CLIENTS": "a NetworkPolicy says who comes; the image asks everybody for the password",
}
OTHERWISE_NAMED = {"DB_NAME": "POSTGRES_DB", "DB_USER": "POSTGRES_USER"}  # by PostgreSQL's own image
PLACES = ("SERVICE_IP", "INSTANCE_ID", "SERVICE_REGISTRY", "REDIS_HOST", "DB_HOST", "GATEWAYS")


def workload(name: str) -> Object:
    found: Object
    (found,) = (each for each in WORKLOADS if each["metadata"]["name"] == name)
    return found


def container_of(name: str) -> Object:
    container: Object
    (container,) = workload(name)["spec"]["template"]["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def environments() -> dict[str, dict[str, str]]:
    """What scripts/lib/supervise.sh gives the first node of each program."""
    script = (
        'source "$0" help >/dev/null; load_topology flat; '
        'for node in $(services); do echo "${RUNS[$node]} $(environment_of "$node" 1)"; done'
    )
    command = ["bash", "-c", script, str(ROOT / "scripts" / "services.sh")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        program, settings = line.split(" ", 1)
        pairs = shlex.split(settings.replace('",', '" '))
        found.setdefault(program, dict(pair.split("=", 1) for pair in pairs))
    return found


def test_a_pod_is_told_what_the_lab_tells_the_program(environments: dict[str, dict[str, str]]) -> None:
    assert environments.keys() == {each["metadata"]["name"] for each in WORKLOADS}
    for program, wanted in environments.items():
        container = container_of(program)
        told = {item["name"]: item.get("value") for item in container["env"]}
        no_python = (
            {"LANG", "PYTHONDONTWRITEBYTECODE"} if program in ("nginx", "redis", "postgres") else set()
        )
        for name in wanted.keys() - LAB_ONLY.keys() - no_python:
            there = OTHERWISE_NAMED.get(name, name) if program == "postgres" else name
            assert there in told, f"{program} is not told {name}"
            assert name in PLACES or told[there] == wanted[name], f"{program}: {name}"


# --- what the NetworkPolicies allow, by the rules of networking.k8s.io/v1


@dataclass(frozen=True)
class Place:
    """Somebody who sends or is sent to."""

    labels: dict[str, str] | None  # of a Pod; None for what is no Pod
    address: str
    namespace: str = NAMESPACE


def places() -> dict[str, Place]:
    found = {WORLD: Place(None, OUTSIDE)}
    for node in POLICY.topology.nodes:
        labels = workload(str(node.runs))["spec"]["template"]["metadata"]["labels"]
        found[node.name] = Place(labels, str(node.address.ip))
    return found


def selects(selector: Object, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


network = cache(ip_network)


def is_peer(peer: Object, place: Place) -> bool:
    if "ipBlock" in peer:
        address = ip_address(place.address)
        within, without = peer["ipBlock"]["cidr"], peer["ipBlock"].get("except", [])
        return address in network(within) and not any(address in network(each) for each in without)
    if place.labels is None:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": place.namespace}):
            return False
    elif place.namespace != NAMESPACE:
        return False
    return selects(peer.get("podSelector", {}), place.labels)


def is_port(wanted: Object, protocol: str, port: int) -> bool:
    first = int(wanted.get("port", 0))
    last = int(wanted.get("endPort", first or 65535))
    return bool(wanted.get("protocol", "TCP") == protocol.upper() and first <= port <= last)


def passes(policies: list[Object], direction: str, here: Place, there: Place, to: tuple[str, int]) -> bool:
    """One end: isolated when any policy selects it, and then only what one of them allows."""
    if here.labels is None or here.namespace != NAMESPACE:
        return True
    key, peers = direction.lower(), {"Ingress": "from", "Egress": "to"}[direction]
    mine = [
        each["spec"]
        for each in policies
        if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], here.labels)
    ]
    rules = [rule for spec in mine for rule in spec.get(key, [])]
    return not mine or any(
        (peers not in rule or any(is_peer(peer, there) for peer in rule[peers]))
        and ("ports" not in rule or any(is_port(each, *to) for each in rule["ports"]))
        for rule in rules
    )


def allows(policies: list[Object], source: Place, destination: Place, protocol: str, port: int) -> bool:
    to = (protocol, port)
    return passes(policies, "Egress", source, destination, to) and passes(
        policies, "Ingress", destination, source, to
    )


def verdict(policies: list[Object], source: str, destination: str, protocol: str, port: int) -> str:
    if HOST in (source, destination):
        return ACCEPT  # "traffic to and from the node where a Pod is running is always allowed"
    known = PLACES_OF_NODES
    return ACCEPT if allows(policies, known[source], known[destination], protocol, port) else DROP


PLACES_OF_NODES = places()


def interesting_ports() -> list[int]:
    """Every port that somebody listens on or a line names, its neighbours, and some that are closed."""
    found = {1, 9, 22, 25, 65535}
    for node in POLICY.topology.nodes:
        found |= {listener.port for listener in node.listens}
    for line in POLICY.lines:
        for first, last in line.ports:
            found |= {first - 1, first, last, last + 1}
    return sorted(port for port in found if 0 < port <= 65535)


PORTS = interesting_ports()


def flows() -> Iterator[tuple[str, str, str, int]]:
    for source in ALL:
        for destination in ALL:
            if source != destination and {source, destination} != {HOST, WORLD}:
                for protocol in ("tcp", "udp"):
                    for port in PORTS:
                        yield source, destination, protocol, port
                yield source, destination, "icmp", 0


WANTED = {
    flow: POLICY.decide(*flow).verdict
    for flow in flows()
    if not any(concerns(*flow[:3]) for concerns in EXCEPTIONS.values())
}


def differing(policies: list[Object]) -> list[tuple[str, str, str, int]]:
    """Flows of which the manifests say something else than the table, but for what they cannot say."""
    return [flow for flow, wanted in WANTED.items() if verdict(policies, *flow) != wanted]


class TestNetworkPolicies:
    """They are the policy table, line by line, and say the same."""

    def test_every_flow_is_allowed_or_denied_as_the_table_says(self) -> None:
        assert differing(POLICIES) == []

    @given(
        source=st.sampled_from((*NODES, WORLD)),
        destination=st.sampled_from((*NODES, WORLD)),
        protocol=st.sampled_from(["tcp", "udp"]),
        port=st.integers(1, 65535),
    )
    def test_so_is_any_other_port(self, source: str, destination: str, protocol: str, port: int) -> None:
        if source != destination:
            wanted = POLICY.decide(source, destination, protocol, port).verdict
            assert verdict(POLICIES, source, destination, protocol, port) == wanted

    def test_each_exception_is_needed(self) -> None:
        for concerns in EXCEPTIONS.values():
            assert [
                flow
                for flow in flows()
                if concerns(*flow[:3]) and verdict(POLICIES, *flow) != POLICY.decide(*flow).verdict
            ]

    def test_both_verdicts_are_tried_at_each_node(self) -> None:
        for node in NODES:
            found = {verdict(POLICIES, *flow) for flow in flows() if flow[1] == node and flow[2] != "icmp"}
            assert found == {ACCEPT, DROP}

    def test_every_line_that_accepts_has_its_policies_at_both_ends_or_says_why_not(self) -> None:
        default_deny = named(POLICIES, "NetworkPolicy", kubernetes.DEFAULT_DENY)
        for line in POLICY.lines:
            mine = {each["metadata"]["name"] for each in POLICIES if note(each, "policy-line") == line.id}
            wanted = wanted_sides(line)
            assert mine == wanted, line.id
            assert bool(note(default_deny, f"not-said.{line.id}")) == (line.verdict == ACCEPT and not wanted)

    def test_every_policy_has_its_line_or_is_a_named_built_in(self) -> None:
        lines = {line.id: line for line in POLICY.lines}
        for each in POLICIES:
            if note(each, "built-in"):
                assert note(each, "reason") == kubernetes.BUILT_IN[each["metadata"]["name"]]
            else:
                assert note(each, "reason") == lines[note(each, "policy-line")].reason

    def test_default_deny_names_the_lines_it_stands_for(self) -> None:
        default_deny = named(POLICIES, "NetworkPolicy", kubernetes.DEFAULT_DENY)
        assert default_deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        for line in POLICY.lines:
            assert note(default_deny, f"stands-for.{line.id}") == (
                line.reason if line.verdict == DROP else ""
            )

    def test_what_of_a_line_is_lost_is_written_at_it(self) -> None:
        for line in POLICY.lines:
            if line.rate:
                said = [note(each, "not-said") for each in POLICIES if note(each, "policy-line") == line.id]
                assert said
                assert all(f"rate {line.rate}" in each for each in said)
        default_deny = named(POLICIES, "NetworkPolicy", kubernetes.DEFAULT_DENY)
        assert UNSAID["icmp"] in note(default_deny, "not-said.ping")
        assert UNSAID["host"] in note(default_deny, "not-said.operator")

    def test_a_pod_that_is_not_of_the_lab_reaches_nobody_and_nobody_reaches_it(self) -> None:
        stranger = Place({"app": "stranger"}, OUTSIDE)
        for place in (*PLACES_OF_NODES.values(), stranger):
            for port in PORTS:
                assert not allows(POLICIES, stranger, place, "tcp", port)
                assert not allows(POLICIES, place, replace(stranger, address="10.9.9.9"), "tcp", port)

    def test_the_clusters_dns_answers_every_node_and_on_no_other_port(self) -> None:
        dns = Place({"k8s-app": "kube-dns"}, "10.9.9.10", "kube-system")
        impostor = replace(dns, namespace="default")
        for node in NODES:
            for protocol in ("tcp", "udp"):
                found = [
                    port for port in PORTS if allows(POLICIES, PLACES_OF_NODES[node], dns, protocol, port)
                ]
                assert found == [53]
                assert not allows(POLICIES, PLACES_OF_NODES[node], impostor, protocol, 53)

    @pytest.mark.parametrize(
        "private", ["10.9.9.9", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"]
    )
    def test_a_private_address_is_not_the_world(self, private: str) -> None:
        here = Place(None, private)
        for node in NODES:
            assert not allows(POLICIES, PLACES_OF_NODES[node], here, "tcp", 443)
            assert allows(POLICIES, PLACES_OF_NODES[node], Place(None, OUTSIDE), "tcp", 443)


def wanted_sides(line: Line) -> set[str]:
    """Which NetworkPolicies a line must have, by the table alone."""
    if line.verdict == DROP or set(line.protocols) == {"icmp"}:
        return set()
    sources, destinations = line.sources - {HOST}, line.destinations - {HOST}
    found = set()
    if sources and destinations - {WORLD}:
        found.add(f"{line.id}-ingress")
    if destinations and sources - {WORLD}:
        found.add(f"{line.id}-egress")
    return found


MUTABLE = [
    each["metadata"]["name"]
    for each in POLICIES
    if note(each, "policy-line") and note(each, "policy-line") not in COVERED
]


class TestTheTests:
    """Break a manifest, and they go red."""

    @pytest.mark.parametrize("name", MUTABLE)
    def test_without_a_policy_something_is_denied(self, name: str) -> None:
        less = [each for each in POLICIES if each["metadata"]["name"] != name]
        found = differing(less)
        assert found
        assert {POLICY.decide(*flow).verdict for flow in found} == {ACCEPT}

    @pytest.mark.parametrize(
        "name", [each["metadata"]["name"] for each in POLICIES if note(each, "policy-line")]
    )
    def test_a_policy_for_every_port_allows_too_much(self, name: str) -> None:
        wider = copy.deepcopy(POLICIES)
        spec = named(wider, "NetworkPolicy", name)["spec"]
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            del rule["ports"]
        # The other end still has its ports, so both have to be opened.
        other = (
            name.replace("ingress", "egress")
            if name.endswith("ingress")
            else name.replace("egress", "ingress")
        )
        for each in wider:
            if each["metadata"]["name"] == other:
                for rule in [*each["spec"].get("ingress", []), *each["spec"].get("egress", [])]:
                    rule.pop("ports", None)
        assert {POLICY.decide(*flow).verdict for flow in differing(wider)} == {DROP}

    def test_lines_that_another_covers_are_covered_but_for_its_rate(self) -> None:
        ids = {line.id: line for line in POLICY.lines}
        for line_id, by in COVERED.items():
            assert ids[by].rate
            assert differing([each for each in POLICIES if note(each, "policy-line") != line_id]) == []

    def test_a_world_that_has_private_addresses_opens_the_pods_to_each_other(self) -> None:
        wider = copy.deepcopy(POLICIES)
        for each in wider:
            for rule in each["spec"].get("ingress", []):
                rule["from"].append({"ipBlock": {"cidr": "0.0.0.0/0"}})
        assert differing(wider)

    def test_without_default_deny_a_stranger_is_free(self) -> None:
        open_to_all = [each for each in POLICIES if each["metadata"]["name"] != kubernetes.DEFAULT_DENY]
        stranger = Place({"app": "stranger"}, "10.9.9.9")
        assert allows(open_to_all, stranger, Place(None, OUTSIDE), "tcp", 25)

    def test_labels_that_no_policy_knows_close_a_pod(self) -> None:
        node = PLACES_OF_NODES["postgres-db"]
        unknown = replace(node, labels={NAME: "postgresql", PART_OF: NAMESPACE})
        client = PLACES_OF_NODES["order-service"]
        assert allows(POLICIES, client, node, "tcp", 5432)
        assert not allows(POLICIES, client, unknown, "tcp", 5432)


def changed(**changes: Any) -> Policy:
    """The shipped policy with its line `cache` changed."""
    lines = tuple(replace(line, **changes) if line.id == "cache" else line for line in POLICY.lines)
    return replace(POLICY, lines=lines)


class TestRefusals:
    """A table that no NetworkPolicy can say is refused with its place."""

    def test_a_node_without_its_twins_is_refused(self) -> None:
        with pytest.raises(Unsayable, match=r'flat.tsv:\d+: "cache" leaves out product-[23]'):
            kubernetes.files(changed(sources=frozenset({"product-1"})))

    def test_an_exception_that_drops_is_refused(self) -> None:
        with pytest.raises(Unsayable, match=r'flat.tsv:\d+: "cache" is an exception of "ping"'):
            kubernetes.files(changed(verdict=DROP, protocols=("any",), ports=()))

    def test_a_range_of_ports_and_any_protocol_can_be_said(self) -> None:
        ranges = kubernetes.network_policies(changed(ports=((6000, 7000),)))
        rule = named(ranges, "NetworkPolicy", "cache-ingress")["spec"]["ingress"][0]
        assert rule["ports"] == [{"protocol": "TCP", "port": 6000, "endPort": 7000}]
        anything = kubernetes.network_policies(changed(protocols=("any",), ports=()))
        assert "ports" not in named(anything, "NetworkPolicy", "cache-ingress")["spec"]["ingress"][0]

    def test_nodes_without_a_program_are_refused(self) -> None:
        topology = replace(POLICY.topology, nodes=(replace(POLICY.topology.nodes[0], runs=None),))
        with pytest.raises(Unsayable, match="nginx-lb runs nothing"):
            kubernetes.check_nodes(topology)

    def test_the_tables_are_the_repositorys_own_whatever_is_in_force(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("POLICY", str(tmp_path / "mine.tsv"))
        assert kubernetes.shipped().path == ROOT / "security" / "flat.tsv"
        monkeypatch.delenv("POLICY")
        assert load_policy(load_topology("tiers")).path.name == "tiers.tsv"
