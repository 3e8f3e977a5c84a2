"""Mutation test of the proof: break each rule of the policy, and check that the proof fails.

python -m security.proof.mutation    called by security/mutants.sh, in a sandbox; exit status 1 if one survives

A mutant that the proof does not notice shows a redundant rule, or a missing probe.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain

from rich.progress import Progress

from lab.network.reading import ReadError
from lab.ruleset.iptables import live_rules, live_rules6
from lab.table import TableError
from lab.terminal import Console
from security.policy.model import ACCEPT, HOST, WORLD, Flow
from security.policy.table import load
from security.proof.cases import Cases, cases_of
from security.proof.kernel_tables import find_neighbour_differences, flush_neighbours
from security.proof.mutants import NAT_CHAINS, POLICY_CHAINS, Mutant, bridge_mutants, rule_mutants
from security.proof.packets import echo, packet
from security.proof.probe import Difference, Probe, outside_from_environment
from security.proof.proof import ProofRunner
from security.proof.runner import ProbeRunner
from security.proof.sockets import FOREIGN, ProofSockets

_FOREIGN_NAMESPACE = "world"  # the sandbox's outside namespace; the proof uses another
_TOOLS_FOR_NEIGHBOURS = (
    "ip6tables",
    "ebtables",
)  # without a rule of theirs, forged messages change neighbours
_POLICY_TABLES = ("security", "ip6tables security")


def foreign_differences(runner: ProbeRunner, cases: Cases) -> Iterator[Difference]:
    """Send packets through this host that no rule of the lab may match, and packets that other programs forward."""
    before = _packets_by_rule()
    for result in runner.run(_foreign_probes(cases)):
        if not result.arrived:
            yield Difference(str(result.probe), "foreign traffic was lost")
    if _packets_by_rule() != before:
        yield Difference("foreign traffic", "a rule of the policy counted it")
    for result in runner.run(_forwarded_probes(cases, os.environ["FOREIGN_PORTS"])):
        if not result.is_as_expected:
            yield Difference(str(result.probe), result.seen)


def _packets_by_rule() -> dict[str, int]:
    return {
        rule.text: rule.packets
        for rule in (*live_rules(), *live_rules6())
        if rule.table in _POLICY_TABLES
        and rule.chain.startswith(POLICY_CHAINS)
        and rule.chain not in NAT_CHAINS
    }


def _foreign_probes(cases: Cases) -> Iterator[Probe]:
    foreign, of_host = os.environ[f"FOREIGN{cases.family.version}"].split()
    own = map(cases.own, cases.bridges)
    for source, to, address, target, attack in (
        (WORLD, FOREIGN, cases.world_address, foreign, "through the host"),
        (WORLD, HOST, cases.world_address, cases.host_address, "to the host"),
        (HOST, FOREIGN, of_host, foreign, "from the host"),
        *((HOST, HOST, address, address, "from a bridge's address to itself") for address in own),
    ):
        ping = partial(echo, address, target)
        yield Probe(Flow(source, to, "icmp"), ACCEPT, "", ping, target, attack, family=cases.family)


def _forwarded_probes(cases: Cases, ports: str) -> Iterator[Probe]:
    """Reach nodes by ports that another program forwards: HOST_PORT:NODE:PORT/PROTOCOL, separated by spaces."""
    for item in ports.split():
        host_port, name, target = item.split(":")
        if name not in cases.node_names:
            continue
        port, protocol = target.split("/")
        decision = cases.policy.decide(WORLD, name, protocol, int(port))
        flow = Flow(WORLD, name, protocol, int(host_port))
        build = packet(protocol, cases.world_address, cases.host_address, flow.port)
        probe = Probe(flow, decision.verdict, decision.id, build, cases.host_address)
        yield replace(probe, attack=f"another program forwards it to {target}", family=cases.family)


class _Prover:
    """Finds the first difference of a proof; a rule of iptables or ip6tables needs the probes of its family first."""

    def __init__(self, runner: ProbeRunner, cases: Sequence[Cases]) -> None:
        self._runner = runner
        self._cases = cases

    def first_difference(self, tool: str = "") -> Difference | None:
        """Return a difference, or None if everything is as in the policy."""
        of_tool = [one for one in self._cases if one.family.rules.tool == tool]
        return (self._first(of_tool) if of_tool else None) or self._first(self._cases)

    def _first(self, cases: Sequence[Cases]) -> Difference | None:
        proof = ProofRunner(self._runner, cases, strict=True)
        foreign = (foreign_differences(self._runner, one) for one in cases)
        return next(chain(proof.differences(), *foreign), None)


def run_mutants(progress: Progress) -> tuple[int, list[Mutant]]:
    """Try every mutant; return their number, and those that the proof did not notice."""
    policy, outside = load(), outside_from_environment()
    topology, cases = policy.topology, cases_of(policy, outside)
    rules = [*live_rules(), *(live_rules6() if topology.has_ipv6 else ())]
    mutants = _part([*bridge_mutants(topology), *rule_mutants(rules, topology)])
    task = progress.add_task(f"{len(mutants)} mutants", total=len(mutants))
    places = [(node.namespace, node.interface) for node in topology.nodes]
    places += (("", bridge.name) for bridge in topology.bridges)
    survivors = []
    with ExitStack() as stack:
        runner = ProbeRunner(topology, ProofSockets(topology, outside, stack, _FOREIGN_NAMESPACE))
        prover = _Prover(runner, cases)
        if difference := prover.first_difference():
            raise TableError(
                f"{difference.flow}: {difference.why}; fix this first: the proof must pass without a mutant"
            )
        for mutant in mutants:
            mutant.change()
            if not prover.first_difference(mutant.tool):
                survivors.append(mutant)
            mutant.undo()
            if mutant.tool in _TOOLS_FOR_NEIGHBOURS and any(find_neighbour_differences(topology)):
                flush_neighbours(places)
            progress.advance(task)
    return len(mutants), survivors


def _part(mutants: Sequence[Mutant]) -> Sequence[Mutant]:
    """Return the part that PART names: 2/3 is every third mutant from the second on. All without PART."""
    named = re.fullmatch("([1-9][0-9]?)/([1-9][0-9]?)", os.environ.get("PART") or "1/1")
    if not named or int(named[1]) > int(named[2]):
        raise TableError(f"PART={os.environ['PART']}: must be a part of a whole, such as 2/3")
    return mutants[int(named[1]) - 1 :: int(named[2])]


def main() -> int:
    """Run the mutation test; return 0 if every mutant was noticed."""
    if "FOREIGN4" not in os.environ:
        print("mutants: run it with security/mutants.sh, which makes a sandbox", file=sys.stderr)
        return 2
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        try:
            tried, survivors = run_mutants(progress)
        except (TableError, ReadError, OSError, subprocess.CalledProcessError) as error:
            print(f"mutants: {error} {getattr(error, 'stderr', '')}", file=sys.stderr)
            return 1
    for mutant in survivors:
        print(f"survived: {mutant.what}")
    print(f"{tried} mutants, {tried - len(survivors)} killed, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
