"""Which probes a proof has: those of IPv4 for each table, and those of IPv6 for a table that has its addresses."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from ipaddress import IPv6Interface

from lab.terminal import Console
from lab.topology import Topology
from lab.topology import load as load_topology
from security.policy.model import ACCEPT, WORLD, Policy
from security.policy.table import load
from security.proof.attacks import attack_probes
from security.proof.cases import BY_HOST, Cases, cases_of
from security.proof.family import IPV4, IPV6
from security.proof.probe import Outside, Probe, ProbeResult
from security.proof.proof import Proof
from security.proof.report import COLUMNS, as_json, open_flows, print_proof, rows

OUTSIDE = Outside("outside", "uplink", "198.51.100.2", "198.51.100.1", "2001:db8:c1::2", "2001:db8:c1::1")
NETWORK = "fd00:cafe::{}/64"


def policy_of(*, nodes_with_ipv6: int) -> Policy:
    """Return the policy of the flat table, whose bridge and first nodes have an IPv6 address."""
    flat = load_topology("flat")
    numbers = (NETWORK.format(f"{number:x}") for number in range(1, 1 + nodes_with_ipv6))
    nodes = [
        node._replace(address6=IPv6Interface(next(numbers))) if at < nodes_with_ipv6 else node
        for at, node in enumerate(flat.nodes)
    ]
    bridges = flat.bridges
    if nodes_with_ipv6:
        bridges = tuple(
            bridge._replace(address6=IPv6Interface(NETWORK.format("ff"))) for bridge in flat.bridges
        )
    return load(Topology(flat.path, bridges, nodes))


def probes_of(cases: Cases) -> list[Probe]:
    return [*cases.probes(), *attack_probes(cases)]


def test_a_table_without_ipv6_has_the_probes_of_ipv4_alone_and_ipv6_adds_to_them() -> None:
    (alone,) = cases_of(policy_of(nodes_with_ipv6=0), OUTSIDE)
    both = cases_of(policy_of(nodes_with_ipv6=9), OUTSIDE)
    assert [one.family for one in both] == [IPV4, IPV6]
    assert list(map(str, probes_of(alone))) == list(map(str, probes_of(both[0])))
    assert "over IPv6" not in "".join(map(str, probes_of(alone)))
    assert {
        str(probe).partition("(")[2] for probe in probes_of(both[1]) if "over IPv6" not in str(probe)
    } == {"IPv6 inside IPv4)"}


def test_each_flow_is_tried_in_both_families_with_the_same_verdict() -> None:
    four, six = cases_of(policy_of(nodes_with_ipv6=9), OUTSIDE)
    verdicts = [
        [(probe.flow, probe.expected, probe.expected_id) for probe in one.probes()] for one in (four, six)
    ]
    assert verdicts[0] == verdicts[1]
    assert [one.flow for one in (burst.probe for burst in four.rate_bursts())] == [
        one.flow for one in (burst.probe for burst in six.rate_bursts())
    ]


def test_a_node_without_an_ipv6_address_has_no_ipv6_probe() -> None:
    four, six = cases_of(policy_of(nodes_with_ipv6=2), OUTSIDE)
    with_ipv6 = {node.name for node in four.nodes[:2]}
    ends = {name for probe in probes_of(six) for name in probe.flow.ends if four.topology.node(name)}
    assert ends == with_ipv6
    sent = [probe.expected_id for probe in probes_of(four) if probe.attack == "IPv6, link-local"]
    assert Counter(sent) == {"spoofed-address": 2, "ipv6": 7}  # without an address, any IPv6 is dropped


def test_a_host_that_forwards_no_ipv6_has_no_ipv6_probe_that_must_be_forwarded() -> None:
    four, six = cases_of(policy_of(nodes_with_ipv6=9), replace(OUTSIDE, forwards6=False))
    assert WORLD not in {name for probe in probes_of(six) for name in probe.flow.ends}
    ends = {probe.flow.ends for probe in six.probes()}
    direct = (probe.flow.ends for probe in four.probes() if probe.attack != BY_HOST)
    assert ends == {pair for pair in direct if WORLD not in pair}


def test_each_node_forges_the_messages_of_another_node_and_each_node_is_the_victim_once() -> None:
    _, six = cases_of(policy_of(nodes_with_ipv6=9), OUTSIDE)
    victims = [six.next_node(node) for node in six.nodes]
    assert sorted(victim.name for victim in victims if victim) == sorted(six.node_names)
    forged = Counter(
        probe.flow.source for probe in probes_of(six) if probe.expected_id == "spoofed-neighbour"
    )
    assert set(forged) == set(six.node_names)
    assert len(set(forged.values())) == 1


def test_a_free_address_is_the_last_one_that_no_node_has() -> None:
    four, six = cases_of(policy_of(nodes_with_ipv6=9), OUTSIDE)
    assert six.free_address(six.bridges[0]) == "fd00:cafe::ffff:ffff:ffff:fffe"
    assert four.free_address(four.bridges[0]) == "10.0.255.254"


def proof_of(*probes: Probe, arrived: bool = True) -> Proof:
    results = tuple(ProbeResult(probe, arrived=arrived, replied=True) for probe in probes)
    return Proof(policy_of(nodes_with_ipv6=9), results, (), (), 1.0)


def test_a_report_names_the_family_of_a_flow_that_passed_in_one_alone() -> None:
    four, six = cases_of(policy_of(nodes_with_ipv6=9), OUTSIDE)
    of_four, of_six = (
        next(probe for probe in one.probes() if probe.expected == ACCEPT and probe.flow.destination != WORLD)
        for one in (four, six)
    )
    ends, port = of_four.flow.ends, str(of_four.flow.port)
    assert open_flows(proof_of(of_four, of_six)) == {ends: [port]}
    only_six = Proof(
        four.policy, (ProbeResult(of_four), ProbeResult(of_six, arrived=True, replied=True)), (), (), 1.0
    )
    assert open_flows(only_six) == {ends: [f"{port}v6"]}
    console = Console(file=io.StringIO(), width=200)
    print_proof(only_six, console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "v6: only IPv6" in printed
    assert "2 probes over IPv4 and IPv6" in printed


def test_each_row_and_each_json_probe_has_its_family() -> None:
    four, six = cases_of(policy_of(nodes_with_ipv6=9), OUTSIDE)
    proof = proof_of(four.probes()[0], six.probes()[0])
    at = COLUMNS.index("family")
    assert [row[at] for row in rows(proof)] == [4, 6]
    assert [probe["family"] for probe in json.loads(as_json(proof))["probes"]] == [4, 6]
