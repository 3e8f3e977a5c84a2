"""A proof: everything that was tried, and where it differs from the policy."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.ruleset.iptables import dropped_by_policy, live_rules
from security.policy.compiler import LOG_BURST, LOG_PER_SECOND, NFLOG_GROUP, PROOF_GROUP, drop_chain
from security.policy.model import ACCEPT, DROP, HOST, WORLD, Policy
from security.proof.attacks import Attacks
from security.proof.bridges import differences_of_bridges
from security.proof.cases import BY_HOST, FLOOD, Plan
from security.proof.outcome import Outcome
from security.proof.probe import Burst, Outside, Probe
from security.proof.runner import Prover
from security.proof.tracked import forget, open_by_source, tracked

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


_HOSTS = ("filter", "INPUT")  # the chain in which the host says what it takes
_MOST_TRIES = 100  # to open a connection, after so many were forgotten
_COPIES = (f"NFLOG {NFLOG_GROUP}", f"NFLOG {PROOF_GROUP}")
_WATCHERS = ("LOG", *_COPIES, "DROP")

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
        elsewhere = sum(outcome.closed_elsewhere for outcome in self.outcomes)
        attacks = sum(bool(outcome.probe.attack) for outcome in self.outcomes)
        return (
            f"{self.tried} probes in {self.seconds:.1f} s: {allowed} that must pass, "
            f"{len(self.outcomes) - allowed} that must not, {attacks} of them in disguise, "
            f"{len(self.bursts)} bursts; "
            + (
                f"{elsewhere} were lost before the policy was asked, as to a firewall of the host; "
                if elsewhere
                else ""
            )
            + f"differences: {len(self.differences)}"
        )


class Examination:
    """One trial of everything, difference by difference: who needs only the first stops there.

    Strictly, no firewall of the host may take a drop of the policy's from it.
    """

    def __init__(self, prover: Prover, plan: Plan, *, strict: bool = False) -> None:
        self._prover = prover
        self._strict = strict
        self._plan = plan
        attacks = Attacks(plan)
        self._probes, self._claims = [*plan.probes(), *attacks.probes()], attacks.claims()
        self._bursts, self._crowds = plan.bursts(), plan.crowds()
        self.outcomes: list[Outcome] = []
        self.bursts: list[tuple[Burst, list[Outcome]]] = []

    def differences(self, progress: Progress = lambda *_: None) -> Iterator[Difference]:
        """Try all, and give what is not as the policy says."""
        before = list(differences_of_bridges(self._plan.topology))
        yield from (Difference(*each) for each in before)
        dropped = dropped_by_policy(*_HOSTS)
        self.outcomes = self._prover.run(self._probes, lambda count: progress(count, len(self._probes)))
        self.outcomes += self._prover.run(self._claims)
        self._mark_closed(dropped_by_policy(*_HOSTS) - dropped)
        for outcome in self.outcomes:
            if not outcome.as_expected or (self._strict and outcome.closed_elsewhere):
                yield Difference(str(outcome.probe), explain(outcome))
        learned = [each for each in differences_of_bridges(self._plan.topology) if each not in before]
        yield from (Difference(*each) for each in learned)
        yield from self._floods()

    def _mark_closed(self, dropped: int) -> None:
        """Count as the host's what was lost on its way to the host, where its policy DROP has dropped so many."""
        lost = [each for each in self.outcomes if each.lost and each.probe.flow.destination == HOST]
        for outcome in lost if dropped >= len(lost) else ():
            outcome.closed = True

    def _crowd(self, crowd: Burst) -> Iterator[Difference]:
        """Open more connections than a node may have; those of the proof are forgotten at once."""
        flow = crowd.probe.flow
        source = self._plan.address(flow.source, flow.destination)
        try:
            outcomes = self._prover.repeat(crowd.probe, crowd.count)
            together = open_by_source(tracked())[source]
        finally:
            forget(flow.protocol, source, crowd.probe.to)
            self._wait_for_room(crowd)
            forget(flow.protocol, source, crowd.probe.to)
        self.bursts.append((crowd, outcomes))
        yield from _of_burst(crowd, outcomes)
        if crowd.limit and together < crowd.limit:
            yield Difference(
                f"{flow}, {crowd.count} at once", f"{crowd.id} allows {crowd.limit}; {together} were open"
            )

    def _wait_for_room(self, crowd: Burst) -> None:
        """Send until one passes: the kernel uncounts forgotten connections bit by bit, as new ones come (conncount)."""
        for _ in range(_MOST_TRIES):
            if any(outcome.arrived for outcome in self._prover.repeat(crowd.probe, 1)):
                return

    def _floods(self) -> Iterator[Difference]:
        """Drop more than the log takes under each id: all is counted and copied, not all is logged."""
        examples = {
            (outcome.dropped_by, outcome.probe.flow.source == WORLD): outcome.probe
            for outcome in self.outcomes
            if outcome.dropped_by and outcome.probe.expected == DROP
        }
        begin, before = time.monotonic(), _counts()
        for burst in self._bursts:
            outcomes = self._prover.repeat(burst.probe, burst.count)
            self.bursts.append((burst, outcomes))
            yield from _of_burst(burst, outcomes)
        for crowd in self._crowds:
            yield from self._crowd(crowd)
        for probe in examples.values():
            self._prover.repeat(probe, FLOOD)
        after = _counts()
        logged = LOG_BURST + LOG_PER_SECOND * (time.monotonic() - begin) + 1
        for table, chain in sorted({(table, chain) for table, chain, _ in before}):
            known = any(chain == drop_chain(policy_id) for policy_id, _ in examples)
            if chain.startswith(drop_chain("")) and (known or self._strict):
                counted = {what: after[table, chain, what] - before[table, chain, what] for what in _WATCHERS}
                yield from _of_drop_chain(f"{table} {chain}", counted, logged)
                if not after[table, chain, "LOG"]:
                    yield Difference(f"a flood of {FLOOD} into {table} {chain}", "nothing was logged")


def _counts() -> Counter[tuple[str, str, str]]:
    """Packets by table, chain, and target with its group."""
    found: Counter[tuple[str, str, str]] = Counter()
    for rule in live_rules():
        group = next(
            (
                word
                for flag, word in pairwise((*rule.matches, *rule.target_options))
                if flag == "--nflog-group"
            ),
            "",
        )
        found[rule.table, rule.chain, f"{rule.target} {group}".strip()] += rule.packets
    return found


def _of_drop_chain(chain: str, counted: dict[str, int], logged: float) -> Iterator[Difference]:
    for what in (*_COPIES, "DROP"):
        if counted[what] < FLOOD:
            yield Difference(f"a flood of {FLOOD} into {chain}", f"{what} counted {counted[what]}")
    if counted["LOG"] > logged:
        yield Difference(
            f"a flood of {FLOOD} into {chain}",
            f"{counted['LOG']} were logged, at most {logged:.0f} should be",
        )


def prove(policy: Policy, outside: Outside, progress: Progress = lambda *_: None) -> Proof:
    """Try everything once. Raises OSError without root, Occupied when another proof runs."""
    begin = time.monotonic()
    with Prover(policy.topology, outside) as prover:
        examination = Examination(prover, Plan(policy, outside))
        differences = tuple(examination.differences(progress))
    bursts = tuple((burst, tuple(outcomes)) for burst, outcomes in examination.bursts)
    return Proof(policy, tuple(examination.outcomes), bursts, differences, time.monotonic() - begin)


def explain(outcome: Outcome) -> str:
    """Say what a difference means, and where to look."""
    wanted = "must pass" if outcome.probe.expected == ACCEPT else "must be dropped"
    return f"{wanted} by {outcome.probe.expected_id}; {_happened(outcome)}"


def _happened(outcome: Outcome) -> str:
    probe, dropped_by = outcome.probe, outcome.dropped_by
    seen_from = f"it arrived from {outcome.translated} and not from {probe.seen_as}"
    by_port = f"the host takes what enters by the port of {probe.flow.source} itself"
    what = (
        (outcome.strayed, f"{outcome.strayed} got it too"),
        (outcome.translated, f"{seen_from}: a rule of table nat that is not the lab's gave it this source"),
        (
            outcome.arrived and dropped_by,
            f"it arrived, and a copy or its answer was dropped by {dropped_by}",
        ),
        (dropped_by, f"it was dropped by {dropped_by}"),
        (outcome.seen == "no answer", "it arrived, and its answer did not come back"),
        (outcome.arrived and probe.unlogged, f"it arrived: {by_port}"),
        (outcome.arrived, "it arrived: the rule that should drop it is missing, or is not asked"),
    )
    lost = "it was lost, and no rule of the policy dropped it: look for a link, a route or a rule that is not the lab's"
    return next((text for found, text in what if found), lost)


def _of_burst(burst: Burst, outcomes: Sequence[Outcome]) -> Iterator[Difference]:
    arrived = sum(outcome.arrived for outcome in outcomes)
    dropped = sum(outcome.dropped_by == burst.id for outcome in outcomes)
    flow = f"{burst.probe}, {burst.count} at once"
    if burst.limit is None and arrived < burst.count:
        yield Difference(flow, f"all must pass, {burst.probe.expected_id} has no rate; {arrived} did")
    elif burst.limit is not None and arrived > burst.limit + 1:  # one more may come back meanwhile
        yield Difference(flow, f"at most {burst.limit} may pass, {burst.id} says; {arrived} did")
    elif burst.limit is not None and dropped + arrived != burst.count:
        over = burst.count - arrived
        yield Difference(flow, f"{burst.id} drops what is over its rate; {dropped} of {over} were")


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


def open_flows(proof: Proof) -> dict[tuple[str, str], list[str]]:
    """Give what was seen to pass from each source to each destination, attacks left out."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome in proof.outcomes:
        probe = outcome.probe
        if outcome.arrived and probe.attack in ("", BY_HOST):
            found[probe.flow.source, probe.flow.destination].append(_name(probe))
    return found


def _name(probe: Probe) -> str:
    if probe.attack == BY_HOST:
        return f"host:{probe.flow.port}"
    named = {"icmp": "ping", "other": "any", "udp": f"{probe.flow.port}u"}
    return named.get(probe.flow.protocol, str(probe.flow.port))
