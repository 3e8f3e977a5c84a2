"""A proof: everything that was tried, and where it differs from the policy."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from security.attacks import Attacks
from security.compiler import drop_chain
from security.iptables import saved_rules
from security.plan import Plan
from security.policy import ACCEPT, Policy
from security.probes import Burst, Outside
from security.prover import Outcome, Prover

COLUMNS = (
    "source",
    "destination",
    "protocol",
    "port",
    "attack",
    "expected",
    "expected_id",
    "seen",
    "seen_id",
    "ok",
)


Progress = Callable[[int, int], None]  # how many more were tried, of how many


@dataclass(frozen=True)
class Difference:
    """Something that is not as the policy says: where, and what it means."""

    flow: str
    why: str


@dataclass(frozen=True)
class Proof:
    """Everything that was tried."""

    policy: Policy
    outcomes: tuple[Outcome, ...]
    bursts: tuple[tuple[Burst, tuple[Outcome, ...]], ...]
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def tried(self) -> int:
        """Count the probes."""
        return len(self.outcomes) + sum(len(outcomes) for _, outcomes in self.bursts)

    @property
    def summary(self) -> str:
        """Say in a line how it ended."""
        allowed = sum(outcome.probe.expected == ACCEPT for outcome in self.outcomes)
        attacks = sum(bool(outcome.probe.attack) for outcome in self.outcomes)
        return (
            f"{self.tried} probes in {self.seconds:.1f} s: {allowed} that must pass, "
            f"{len(self.outcomes) - allowed} that must not, {attacks} of them in disguise, "
            f"{len(self.bursts)} bursts; differences: {len(self.differences)}"
        )


def prove(policy: Policy, outside: Outside, progress: Progress = lambda *_: None) -> Proof:
    """Try everything once. Raises OSError without root, Occupied when another proof runs."""
    begin = time.monotonic()
    plan = Plan(policy, outside)
    probes, bursts = [*plan.probes(), *Attacks(plan).probes()], plan.bursts()
    with Prover(policy.topology, outside) as prover:
        outcomes = prover.run(probes, lambda count: progress(count, len(probes)))
        burst_outcomes = tuple((burst, tuple(prover.burst(burst))) for burst in bursts)
    differences = [*_of_probes(outcomes), *_of_bursts(burst_outcomes), *_of_logging(outcomes)]
    return Proof(policy, tuple(outcomes), burst_outcomes, tuple(differences), time.monotonic() - begin)


def _of_probes(outcomes: Iterable[Outcome]) -> Iterator[Difference]:
    for outcome in outcomes:
        if not outcome.as_expected:
            yield Difference(str(outcome.probe), explain(outcome))


def explain(outcome: Outcome) -> str:
    """Say what a difference means, and where to look."""
    probe = outcome.probe
    wanted = "must pass" if probe.expected == ACCEPT else "must be dropped"
    wanted += f" by {probe.expected_id}"
    if outcome.arrived and outcome.dropped_by:
        return f"{wanted}; it arrived, and a copy or its answer was dropped by {outcome.dropped_by}"
    if outcome.dropped_by:
        return f"{wanted}; it was dropped by {outcome.dropped_by}"
    if outcome.seen == "no answer":
        return f"{wanted}; it arrived, and its answer did not come back"
    if outcome.arrived:
        return f"{wanted}; it arrived: the rule that should drop it is missing, or is not asked"
    return (
        f"{wanted}; it was lost, and no rule of the policy says so: a wire, a route, or somebody else's rule"
    )


def _of_bursts(bursts: Iterable[tuple[Burst, tuple[Outcome, ...]]]) -> Iterator[Difference]:
    for burst, outcomes in bursts:
        arrived = sum(outcome.arrived for outcome in outcomes)
        dropped = sum(outcome.dropped_by == burst.line.id for outcome in outcomes)
        flow = f"{burst.probe}, {burst.count} at once"
        if burst.limit is None and arrived < burst.count:
            yield Difference(flow, f"all must pass, {burst.probe.expected_id} has no rate; {arrived} did")
        elif burst.limit is not None and arrived > burst.limit + 1:  # one more may come back meanwhile
            yield Difference(flow, f"at most {burst.limit} may pass, {burst.line.id} says; {arrived} did")
        elif burst.limit is not None and dropped + arrived != burst.count:
            yield Difference(
                flow,
                f"{burst.line.id} drops what is over its rate; {dropped} of {burst.count - arrived} were",
            )


def _of_logging(outcomes: Iterable[Outcome]) -> Iterator[Difference]:
    """Look whether each id that dropped something has rules that log, copy and drop it, and counted it."""
    counted: defaultdict[str, set[str]] = defaultdict(set)
    for rule in saved_rules():
        if rule.packets:
            counted[rule.chain].add(rule.target)
    for policy_id in sorted({outcome.dropped_by for outcome in outcomes if outcome.dropped_by}):
        chain = drop_chain(policy_id)
        for missing in sorted({"LOG", "NFLOG", "DROP"} - counted[chain]):
            yield Difference(f"drops of {policy_id}", f"no rule with target {missing} counted any in {chain}")


def rows(proof: Proof) -> Iterator[tuple[object, ...]]:
    """Give a row a probe, as COLUMNS says."""
    for outcome in proof.outcomes:
        probe = outcome.probe
        place = (
            probe.flow.source,
            probe.flow.destination,
            probe.flow.protocol,
            probe.flow.port or "",
            probe.attack,
        )
        yield (
            *place,
            probe.expected,
            probe.expected_id,
            outcome.seen,
            outcome.dropped_by,
            outcome.as_expected,
        )
