"""A proof: run all probes and bursts, and name each difference from the policy."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lab.conntrack import connections, count_open_by_source
from lab.network import facts as kinds
from lab.network.facts import wanted_facts
from lab.network.live import read_host_facts
from lab.network.plan import difference
from lab.ruleset.iptables import dropped_by_policy, live_rules
from lab.topology import Topology
from security.policy.compiler import LOG_BURST, LOG_PER_SECOND, NFLOG_GROUP, PROOF_GROUP, drop_chain
from security.policy.model import ACCEPT, DROP, HOST, WORLD, Policy
from security.proof.attacks import attack_probes, claim_probes
from security.proof.cases import FLOOD, Cases
from security.proof.probe import Burst, Outside, ProbeResult
from security.proof.runner import ProbeRunner
from security.proof.sockets import ProofSockets

_SETTINGS = (kinds.NO_LINKLOCAL_LEARNING, kinds.CLOSED_PORT, kinds.NO_LEARNING)
_HOST_INPUT = ("filter", "INPUT")
_MAX_ROOM_TRIES = 100
_COPIES = (f"NFLOG {NFLOG_GROUP}", f"NFLOG {PROOF_GROUP}")
_TARGETS = ("LOG", *_COPIES, "DROP")

Progress = Callable[[int, int], None]  # probes sent since the last call, and in all


@dataclass(frozen=True)
class Difference:
    """A flow with a result that differs from the policy, and the reason."""

    flow: str
    why: str


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
        return (
            f"{self.tried} probes in {self.seconds:.1f} s: {allowed} must pass, "
            f"{len(self.results) - allowed} must be dropped ({attacks} of both test a bypass), "
            f"{len(self.bursts)} bursts; {lost}differences: {len(self.differences)}"
        )


def prove(policy: Policy, outside: Outside, progress: Progress = lambda *_: None) -> Proof:
    """Run all probes and bursts once. Raise OSError without root, GroupTakenError if another proof runs."""
    begin = time.monotonic()
    with ExitStack() as stack:
        sockets = ProofSockets(policy.topology, outside, stack)
        runner = ProofRunner(ProbeRunner(policy.topology, sockets), Cases(policy, outside))
        differences = tuple(runner.differences(progress))
    seconds = time.monotonic() - begin
    return Proof(policy, tuple(runner.results), tuple(runner.bursts), differences, seconds)


class ProofRunner:
    """Runs probes and bursts, and yields one difference at a time, so that the caller can stop at the first.

    With `strict`, a packet that a firewall of the host drops before the policy is a difference too.
    """

    def __init__(self, runner: ProbeRunner, cases: Cases, *, strict: bool = False) -> None:
        self._runner = runner
        self._cases = cases
        self._strict = strict
        self._probes, self._claims = [*cases.probes(), *attack_probes(cases)], claim_probes(cases)
        self._rate_bursts, self._limit_bursts = cases.rate_bursts(), cases.limit_bursts()
        self.results: list[ProbeResult] = []
        self.bursts: list[int] = []

    def differences(self, progress: Progress = lambda *_: None) -> Iterator[Difference]:
        """Run all probes and yield each difference from the policy."""
        topology = self._cases.topology
        before = list(find_bridge_differences(topology))
        yield from before
        dropped = dropped_by_policy(*_HOST_INPUT)
        self.results = self._runner.run(self._probes, lambda count: progress(count, len(self._probes)))
        self.results += self._runner.run(self._claims)
        self._mark_closed_by_host(dropped_by_policy(*_HOST_INPUT) - dropped)
        for result in self.results:
            if not result.is_as_expected or (self._strict and result.is_lost_before_policy):
                yield Difference(str(result.probe), _explain(result))
        after = find_bridge_differences(topology)
        yield from (found for found in after if found not in before)
        yield from self._burst_differences()

    def _mark_closed_by_host(self, dropped: int) -> None:
        """Attribute lost probes to the host if its INPUT policy DROP has dropped at least as many."""
        lost = [result for result in self.results if result.is_lost and result.probe.flow.destination == HOST]
        for result in lost if dropped >= len(lost) else ():
            result.closed_by_host = True

    def _burst_differences(self) -> Iterator[Difference]:
        """Run the bursts, then exceed the log's rate in each drop chain: it must still count and copy every packet."""
        examples = {
            (result.dropped_by, result.probe.flow.source == WORLD): result.probe
            for result in self.results
            if result.dropped_by and result.probe.expected == DROP
        }
        begin, before = time.monotonic(), _packets_by_target()
        for burst in self._rate_bursts:
            results = self._runner.repeat(burst.probe, burst.count)
            self.bursts.append(len(results))
            yield from _find_burst_differences(burst, results)
        for burst in self._limit_bursts:
            yield from self._limit_differences(burst)
        for probe in examples.values():
            self._runner.repeat(probe, FLOOD)
        counted = _packets_by_target()
        max_logged = LOG_BURST + LOG_PER_SECOND * (time.monotonic() - begin) + 1
        flooded = {drop_chain(policy_id) for policy_id, _ in examples}
        for table, chain in sorted({(table, chain) for table, chain, _ in before}):
            if chain in flooded or (self._strict and chain.startswith(drop_chain(""))):
                more = {what: counted[table, chain, what] - before[table, chain, what] for what in _TARGETS}
                has_logged = counted[table, chain, "LOG"] > 0
                yield from _find_drop_chain_differences(
                    f"{table} {chain}", more, max_logged, has_logged=has_logged
                )

    def _limit_differences(self, burst: Burst) -> Iterator[Difference]:
        """Open more connections than a node may have, and delete the proof's own at once."""
        flow = burst.probe.flow
        source = self._cases.address(flow.source, flow.destination)
        try:
            results = self._runner.repeat(burst.probe, burst.count)
            opened = _count_open(source)
            if burst.limit and opened < burst.limit:
                # A connection of the node's own may have ended meanwhile. Fill its place: a lower limit allows no more.
                self._runner.repeat(burst.probe, burst.limit - opened)
                opened = _count_open(source)
        finally:
            delete = ["conntrack", "-D", "-p", flow.protocol, "-s", source, "-d", burst.probe.to]
            subprocess.run(delete, capture_output=True, check=False)
            self._wait_for_room(burst)
            subprocess.run(delete, capture_output=True, check=False)
        self.bursts.append(len(results))
        yield from _find_burst_differences(burst, results)
        if burst.limit and opened < burst.limit:
            why = f"{burst.id} allows {burst.limit}; {opened} were open"
            yield Difference(f"{flow}, {burst.count} at once", why)

    def _wait_for_room(self, burst: Burst) -> None:
        """Send until one packet passes: nf_conncount removes deleted connections only when it counts new ones."""
        for _ in range(_MAX_ROOM_TRIES):
            if any(result.arrived for result in self._runner.repeat(burst.probe, 1)):
                return


def find_bridge_differences(topology: Topology) -> Iterator[Difference]:
    """Compare the bridges' settings and forwarding entries with the topology. Raises ReadError."""
    found = difference(wanted_facts(topology, is_filtered=True), read_host_facts(topology))
    for facts, why in ((found.missing, "missing"), (found.surplus, "not in the topology")):
        for fact in facts:
            if fact.kind in _SETTINGS:  # the report groups settings: one often differs at all ports
                yield Difference(str(fact), why)
            elif fact.kind is kinds.FORWARD:
                yield Difference(f"bridge {fact.bridge}", f"{fact}: {why}")


def _count_open(source: str) -> int:
    output = subprocess.run(["conntrack", "-L"], capture_output=True, text=True, check=True).stdout
    return count_open_by_source(connections(output.splitlines()))[source]


def _packets_by_target() -> Counter[tuple[str, str, str]]:
    """Count packets by table, chain, and target with its NFLOG group."""
    packets: Counter[tuple[str, str, str]] = Counter()
    for rule in live_rules():
        group = re.search(r"--nflog-group (\d+)", rule.text)
        packets[rule.table, rule.chain, f"{rule.target} {group[1]}" if group else rule.target] += rule.packets
    return packets


def _find_drop_chain_differences(
    chain: str, counted: dict[str, int], max_logged: float, *, has_logged: bool
) -> Iterator[Difference]:
    flood = f"a flood of {FLOOD} into {chain}"
    for what in (*_COPIES, "DROP"):
        if counted[what] < FLOOD:
            yield Difference(flood, f"{what} counted {counted[what]}")
    if counted["LOG"] > max_logged:
        yield Difference(flood, f"{counted['LOG']} were logged, at most {max_logged:.0f} should be")
    if not has_logged:
        yield Difference(flood, "nothing was logged")


def _find_burst_differences(burst: Burst, results: Sequence[ProbeResult]) -> Iterator[Difference]:
    arrived = sum(result.arrived for result in results)
    dropped = sum(result.dropped_by == burst.id for result in results)
    flow = f"{burst.probe}, {burst.count} at once"
    if burst.limit is None:
        if arrived < burst.count:
            yield Difference(flow, f"all must pass: {burst.probe.expected_id} has no rate; {arrived} passed")
    elif arrived > burst.limit + 1:  # the rate limit may allow one more packet meanwhile
        yield Difference(flow, f"{burst.id} allows at most {burst.limit}; {arrived} passed")
    elif dropped + arrived != burst.count:
        over = burst.count - arrived
        yield Difference(flow, f"{burst.id} must drop packets over its rate; it dropped {dropped} of {over}")


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
