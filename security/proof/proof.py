"""A proof: run all probes and bursts, and name each difference from the policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lab.ruleset.iptables import dropped_by_policy
from security.policy.model import ACCEPT, HOST, Policy
from security.proof.attacks import attack_probes
from security.proof.bursts import BurstRunner
from security.proof.cases import Cases, cases_of
from security.proof.family import IPV6, Family
from security.proof.frames import claim_probes
from security.proof.kernel_tables import find_bridge_differences, find_neighbour_differences
from security.proof.probe import Difference, Outside, ProbeResult
from security.proof.runner import ProbeRunner
from security.proof.sockets import ProofSockets

_HOST_INPUT = ("filter", "INPUT")

Progress = Callable[[int, int], None]  # probes sent since the last call, and in all


@dataclass(frozen=True)
class Proof:
    """The results of all probes and bursts."""

    policy: Policy
    results: tuple[ProbeResult, ...]
    bursts: tuple[int, ...]  # the number of probes of each
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def tried(self) -> int:
        """The number of probes."""
        return len(self.results) + sum(self.bursts)

    @property
    def has_ipv6(self) -> bool:
        """Whether probes were sent in IPv6, too."""
        return any(result.probe.family is IPV6 for result in self.results)

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        allowed = sum(result.probe.expected == ACCEPT for result in self.results)
        attacks = sum(bool(result.probe.attack) for result in self.results)
        before_policy = sum(result.is_lost_before_policy for result in self.results)
        lost = (
            f"{before_policy} were lost before the policy, as in a firewall of the host; "
            if before_policy
            else ""
        )
        tried = {result.probe.family.name for result in self.results}
        over = f" over {' and '.join(sorted(tried))}" if self.has_ipv6 else ""
        return (
            f"{self.tried} probes{over} in {self.seconds:.1f} s: {allowed} must pass, "
            f"{len(self.results) - allowed} must be dropped ({attacks} of both test a bypass), "
            f"{len(self.bursts)} bursts; {lost}differences: {len(self.differences)}"
        )


def prove(policy: Policy, outside: Outside, progress: Progress = lambda *_: None) -> Proof:
    """Run all probes and bursts once. Raise OSError without root, GroupTakenError if another proof runs."""
    begin = time.monotonic()
    with ExitStack() as stack:
        sockets = ProofSockets(policy.topology, outside, stack)
        runner = ProofRunner(ProbeRunner(policy.topology, sockets), cases_of(policy, outside))
        differences = tuple(runner.differences(progress))
    seconds = time.monotonic() - begin
    return Proof(policy, tuple(runner.results), runner.bursts, differences, seconds)


class ProofRunner:
    """Runs probes and bursts, and yields one difference at a time, so that the caller can stop at the first.

    With `strict`, a packet that a firewall of the host drops before the policy is a difference too.
    """

    def __init__(self, runner: ProbeRunner, cases: Sequence[Cases], *, strict: bool = False) -> None:
        self._runner = runner
        self._topology = cases[0].topology
        self._strict = strict
        self._probes = [probe for one in cases for probe in (*one.probes(), *attack_probes(one))]
        self._claims = claim_probes(cases[0])
        self._families = [one.family for one in cases]
        self._bursts = BurstRunner(runner, cases, strict=strict)
        self.results: list[ProbeResult] = []

    def differences(self, progress: Progress = lambda *_: None) -> Iterator[Difference]:
        """Run all probes and yield each difference from the policy."""
        before = list(find_bridge_differences(self._topology))
        yield from before
        dropped = self._dropped_by_host()
        self.results = self._runner.run(self._probes, lambda count: progress(count, len(self._probes)))
        self.results += self._runner.run(self._claims)
        for family, count in self._dropped_by_host().items():
            self._mark_closed_by_host(family, count - dropped[family])
        for result in self.results:
            if not result.is_as_expected or (self._strict and result.is_lost_before_policy):
                yield Difference(str(result.probe), _explain(result))
        after = find_bridge_differences(self._topology)
        yield from (found for found in after if found not in before)
        if IPV6 in self._families:
            yield from find_neighbour_differences(self._topology)
        yield from self._bursts.differences(self.results)

    @property
    def bursts(self) -> tuple[int, ...]:
        """The number of probes of each burst."""
        return tuple(self._bursts.counts)

    def _dropped_by_host(self) -> dict[Family, int]:
        return {family: dropped_by_policy(*_HOST_INPUT, family.rules.tool) for family in self._families}

    def _mark_closed_by_host(self, family: Family, dropped: int) -> None:
        """Attribute lost probes to the host if its INPUT policy DROP has dropped at least as many."""
        lost = [result for result in self.results if result.is_lost and result.probe.flow.destination == HOST]
        of_family = [result for result in lost if result.probe.family is family]
        for result in of_family if dropped >= len(of_family) else ():
            result.closed_by_host = True


def _explain(result: ProbeResult) -> str:
    """Describe a difference, and where to look for its cause."""
    probe, dropped_by, wrong_source = result.probe, result.dropped_by, result.wrong_source
    from_other = f"it arrived from {wrong_source} and not from {probe.seen_as}"
    by_port = f"the host accepts packets that enter by the port of {probe.flow.source} itself"
    cases = (
        (result.leaked_to, f"{result.leaked_to} received it too"),
        (wrong_source, f"{from_other}: another program's rule in table nat changed the source"),
        (result.arrived and dropped_by, f"it arrived, and a copy or its reply was dropped by {dropped_by}"),
        (dropped_by, f"it was dropped by {dropped_by}"),
        (result.seen == "no answer", "it arrived, and its reply did not come back"),
        (result.arrived and probe.unlogged, f"it arrived: {by_port}"),
        (result.arrived, "it arrived: the rule that should drop it is missing, or packets do not reach it"),
    )
    lost = "it was lost, and no rule of the policy dropped it: check links, routes and other programs' rules"
    wanted = "must pass" if probe.expected == ACCEPT else "must be dropped"
    return f"{wanted} by {probe.expected_id}; {next((text for applies, text in cases if applies), lost)}"
