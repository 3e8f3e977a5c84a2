"""Behaviours of the network: which packets must arrive, and which must not."""

from __future__ import annotations

import secrets
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from faults.exercises.behaviour import Behaviour, Lab
from lab.network.facts import KERNEL_MTU
from lab.topology import Listener, Node
from security.policy.model import ACCEPT, HOST, WORLD
from security.proof.attacks import attack_probes
from security.proof.cases import Cases, cases_of
from security.proof.packets import MAX_PROBES, tcp
from security.proof.probe import Probe, ProbeResult
from security.proof.runner import ProbeRunner
from security.proof.sockets import ProofSockets

_REPEATS = 9  # of each allowed probe: a fault may hit one of three
_PINGS, _MAX_PING_MS = 12, 60
FULL_SIZE = "full size"


def pings_pass(lab: Lab) -> Iterator[Behaviour]:
    """Send pings between all namespaces that may: none may be lost or late."""
    nodes = [node for node in lab.topology.nodes if lab.topology.node_of_wire(node) is node]
    running = {node.name: _start_pings(node, list(_targets(lab, node, nodes))) for node in nodes}
    for node in nodes:
        yield from _ping_results(
            node, running[node.name].communicate()[1], {str(one.address.ip): one for one in nodes}
        )


def _targets(lab: Lab, node: Node, nodes: list[Node]) -> Iterator[str]:
    for other in nodes:
        if other is not node and (not lab.policy or lab.policy.allows(node.name, other.name, "icmp")):
            yield str(other.address.ip)
    yield str(lab.topology.bridge_of(node).address.ip)


def _start_pings(node: Node, targets: list[str]) -> subprocess.Popen[str]:
    options = ["-q", "-C", f"{_PINGS}", "-p", "60", "-i", "1", "-t", "500", "-r", "0"]
    command = ["nsenter", f"--net=/run/netns/{node.namespace}", "fping", *options, "-S", f"{node.address.ip}"]
    return subprocess.Popen(
        [*command, *targets], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(IPv4Address(text))
    return False


def _ping_results(node: Node, printed: str, nodes: dict[str, Node]) -> Iterator[Behaviour]:
    """Read fping's lines: ADDRESS : MS MS - MS ..."""
    lost, late = [], []
    for line in printed.splitlines():
        address, _, times = line.partition(" : ")
        if not _is_address(address.strip()):
            continue  # an error message
        values = times.split()
        name = nodes[address.strip()].name if address.strip() in nodes else HOST
        if "-" in values:
            lost.append(f"{name} {values.count('-')} of {len(values)}")
        numbers = sorted(float(value) for value in values if value != "-")
        if numbers and numbers[len(numbers) // 2] > _MAX_PING_MS:
            late.append(f"{name} {numbers[len(numbers) // 2]:.0f} ms")
    seen = any(_is_address(line.partition(" : ")[0].strip()) for line in printed.splitlines())
    detail = "no ping could be sent" if not seen else f"lost: {', '.join(lost[:3])}" if lost else ""
    yield Behaviour(f"pings from {node.name} are answered", not detail, detail)
    yield Behaviour(
        f"pings from {node.name} are not delayed", not late, f"to {', '.join(late[:3])}" if late else ""
    )


def flows_are_as_in_policy(lab: Lab) -> Iterator[Behaviour]:
    """Send the proof's probes: what the policy allows must pass each time, the rest must be dropped by it."""
    assert lab.policy is not None  # noqa: S101 - try_all leaves the group out
    with ExitStack() as stack:
        sockets = ProofSockets(lab.topology, lab.outside, stack)
        both = cases_of(lab.policy, lab.outside)
        runner = ProbeRunner(lab.topology, sockets, first=secrets.randbelow(MAX_PROBES // 2))
        results = runner.run(probe for cases in both for probe in _flows(cases))
        results += runner.run(probe for cases in both for probe in attack_probes(cases))
    yield from _by_flow(results)


def _flows(cases: Cases) -> list[Probe]:
    """Return the proof's probes of a family, and those that must pass several times."""
    probes = cases.probes()
    often = [probe for probe in probes if probe.expected == ACCEPT and not probe.refill_seconds]
    probes += [probe for probe in often if probe.flow.protocol == "tcp" for _ in range(_REPEATS)]
    return [*probes, *_full_size(cases, often)]


def _full_size(cases: Cases, probes: list[Probe]) -> Iterator[Probe]:
    """Yield a packet as long as the MTU allows for each allowed TCP connection to a node."""
    for probe in probes:
        node = cases.topology.node(probe.flow.destination)
        is_served = node and Listener(probe.flow.port, probe.flow.protocol) in node.listens
        if (
            node
            and is_served
            and probe.flow.protocol == "tcp"
            and probe.flow.source != WORLD
            and not probe.attack
        ):
            sender = cases.topology.node(probe.flow.source)
            size = min(one.mtu or KERNEL_MTU for one in (node, sender or node))
            own, to = cases.addresses(*probe.flow.ends)
            build = partial(tcp, own, to, probe.flow.port, size=size)
            yield replace(probe, build=build, attack=FULL_SIZE)


def _by_flow(results: list[ProbeResult]) -> Iterator[Behaviour]:
    """Yield one behaviour for what each source may reach, one for what must not reach each destination."""
    of_name: dict[str, list[ProbeResult]] = defaultdict(list)
    for result in results:
        of_name[_name_of(result.probe)].append(result)
    for name in sorted(of_name):
        bad = [result for result in of_name[name] if not result.is_as_expected]
        detail = f"{len(bad)} of {len(of_name[name])} probes: {bad[0].probe} {bad[0].seen}" if bad else ""
        yield Behaviour(name, not bad, detail)


def _name_of(probe: Probe) -> str:
    source, destination = probe.flow.ends
    if probe.attack == FULL_SIZE:
        return f"open: {source} to {destination}, full-size packets"
    if probe.attack and probe.expected != ACCEPT:
        return f"closed: forged packets from {source}"
    if probe.expected == ACCEPT:
        return f"open: {source} to {destination}"
    return f"closed: everything else to {'the outside' if destination == WORLD else destination}"
