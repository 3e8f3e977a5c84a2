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
from functools import partial
from itertools import chain

from rich.progress import Progress

from lab.network.reading import ReadError
from lab.ruleset.iptables import live_rules
from lab.table import TableError
from lab.terminal import Console
from security.policy.model import ACCEPT, HOST, WORLD, Flow
from security.policy.table import load
from security.proof.cases import Cases
from security.proof.mutants import NAT_CHAINS, POLICY_CHAINS, Mutant, bridge_mutants, rule_mutants
from security.proof.packets import echo, packet
from security.proof.probe import Probe, outside_from_environment
from security.proof.proof import Difference, ProofRunner
from security.proof.runner import ProbeRunner
from security.proof.sockets import FOREIGN, ProofSockets

_FOREIGN_NAMESPACE = "world"  # the sandbox's outside namespace; the proof uses another
_UNSPECIFIED = "0.0.0.0"  # noqa: S104 - as a packet's source, the kernel fills it in


def foreign_differences(runner: ProbeRunner, cases: Cases) -> Iterator[Difference]:
    """Send packets through this host that no rule of the lab may match, and packets that other programs forward."""
    before = _packets_by_rule()
    for result in runner.run(_foreign_probes(cases, os.environ["FOREIGN_ADDRESS"])):
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
        for rule in live_rules()
        if rule.table == "security" and rule.chain.startswith(POLICY_CHAINS) and rule.chain not in NAT_CHAINS
    }


def _foreign_probes(cases: Cases, foreign: str) -> Iterator[Probe]:
    outside = cases.outside
    own = [str(bridge.address.ip) for bridge in cases.topology.bridges]
    for source, to, address, target, attack in (
        (WORLD, FOREIGN, outside.address, foreign, "through the host"),
        (WORLD, HOST, outside.address, outside.host_address, "to the host"),
        (HOST, FOREIGN, _UNSPECIFIED, foreign, "from the host"),
        *((HOST, HOST, address, address, "from a bridge's address to itself") for address in own),
    ):
        yield Probe(Flow(source, to, "icmp"), ACCEPT, "", partial(echo, address, target), target, attack)


def _forwarded_probes(cases: Cases, ports: str) -> Iterator[Probe]:
    """Reach nodes by ports that another program forwards: HOST_PORT:NODE:PORT/PROTOCOL, separated by spaces."""
    outside = cases.outside
    for item in ports.split():
        host_port, name, target = item.split(":")
        port, protocol = target.split("/")
        decision = cases.policy.decide(WORLD, name, protocol, int(port))
        flow = Flow(WORLD, name, protocol, int(host_port))
        build = packet(protocol, outside.address, outside.host_address, flow.port)
        attack = f"another program forwards it to {target}"
        yield Probe(flow, decision.verdict, decision.id, build, outside.host_address, attack)


def run_mutants(progress: Progress) -> tuple[int, list[Mutant]]:
    """Try every mutant; return their number, and those that the proof did not notice."""
    policy, outside = load(), outside_from_environment()
    topology = policy.topology
    mutants = _part([*bridge_mutants(topology), *rule_mutants(live_rules(), topology)])
    task = progress.add_task(f"{len(mutants)} mutants", total=len(mutants))
    survivors = []
    with ExitStack() as stack:
        runner = ProbeRunner(topology, ProofSockets(topology, outside, stack, _FOREIGN_NAMESPACE))
        cases = Cases(policy, outside)

        def first_difference() -> Difference | None:
            proof = ProofRunner(runner, cases, strict=True)
            return next(chain(proof.differences(), foreign_differences(runner, cases)), None)

        if difference := first_difference():
            raise TableError(
                f"{difference.flow}: {difference.why}; fix this first: the proof must pass without a mutant"
            )
        for mutant in mutants:
            mutant.change()
            if not first_difference():
                survivors.append(mutant)
            mutant.undo()
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
    if "FOREIGN_ADDRESS" not in os.environ:
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
