"""Bursts: more new connections than a rate or a limit allows, and more dropped packets than a drop chain logs."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from lab.conntrack import connections, count_open_by_source
from lab.ruleset.iptables import live_rules, live_rules6
from security.policy.drops import LOG_BURST, LOG_PER_SECOND, NFLOG_GROUP, NOT_LOGGED, PROOF_GROUP, drop_chain
from security.policy.model import DROP, WORLD
from security.proof.cases import FLOOD, Cases
from security.proof.family import IPV4, IPV6, Family, families_of
from security.proof.probe import Burst, Difference, Probe, ProbeResult
from security.proof.runner import ProbeRunner

_MAX_ROOM_TRIES = 100
_COPY = f"NFLOG {PROOF_GROUP}"
_TARGETS = ("LOG", f"NFLOG {NFLOG_GROUP}", _COPY, "DROP")
_NOT_LOGGED_CHAINS = frozenset(map(drop_chain, NOT_LOGGED))  # they log nothing, and copy for the proof alone


class BurstRunner:
    """Runs the bursts of all families; `counts` has the number of probes of each.

    With `strict`, a drop chain that the proof's probes did not reach is a difference too.
    """

    def __init__(self, runner: ProbeRunner, cases: Sequence[Cases], *, strict: bool) -> None:
        self._runner = runner
        self._cases = cases
        self._strict = strict
        self._rates = [burst for one in cases for burst in one.rate_bursts()]
        self._limits = [(one, burst) for one in cases for burst in one.limit_bursts()]
        # The probes of one family of two do not reach each chain of ebtables.
        self._tools = {one.family.rules.tool for one in cases}
        if len(cases) == len(families_of(cases[0].topology)):
            self._tools.add("ebtables")
        self.counts: list[int] = []

    def differences(self, results: Sequence[ProbeResult]) -> Iterator[Difference]:
        """Run the bursts, then exceed the log's rate in each drop chain: it must still count and copy every packet."""
        examples = _examples(results)
        begin, before = time.monotonic(), self._packets_by_target()
        for burst in self._rates:
            of_burst = self._runner.repeat(burst.probe, burst.count)
            self.counts.append(len(of_burst))
            yield from _find_burst_differences(burst, of_burst)
        for cases, burst in self._limits:
            yield from self._limit_differences(cases, burst)
        for probe in examples.values():
            self._runner.repeat(probe, FLOOD)
        counted = self._packets_by_target()
        max_logged = LOG_BURST + LOG_PER_SECOND * (time.monotonic() - begin) + 1
        of_ports = {chain for table, chain, _ in before if tool_of(table) == "ebtables"}
        flooded = {_flooded_chain(*example, of_ports) for example in examples}
        for table, chain in sorted({(table, chain) for table, chain, _ in before}):
            is_flooded = (tool_of(table), chain) in flooded
            is_tried = self._strict and tool_of(table) in self._tools
            if is_flooded or (is_tried and chain.startswith(drop_chain(""))):
                more = {what: counted[table, chain, what] - before[table, chain, what] for what in _TARGETS}
                has_logged = counted[table, chain, "LOG"] > 0
                yield from _find_flood_differences(table, chain, more, max_logged, has_logged=has_logged)

    def _limit_differences(self, cases: Cases, burst: Burst) -> Iterator[Difference]:
        """Open more connections than a node may have, and delete the proof's own at once."""
        flow, family = burst.probe.flow, burst.probe.family
        source = cases.address(flow.source, flow.destination)
        try:
            results = self._runner.repeat(burst.probe, burst.count)
            opened = _count_open(family, source)
            if burst.limit and opened < burst.limit:
                # A connection of the node's own may have ended meanwhile. Fill its place: a lower limit allows no more.
                self._runner.repeat(burst.probe, burst.limit - opened)
                opened = _count_open(family, source)
        finally:
            protocol = family.icmp if flow.protocol == "icmp" else flow.protocol
            delete = ["conntrack", "-D", "-f", family.name.lower(), "-p", f"{protocol}"]
            delete += ["-s", source, "-d", burst.probe.to]
            subprocess.run(delete, capture_output=True, check=False)
            self._wait_for_room(burst)
            subprocess.run(delete, capture_output=True, check=False)
        self.counts.append(len(results))
        yield from _find_burst_differences(burst, results)
        if burst.limit and opened < burst.limit:
            why = f"{burst.id} allows {burst.limit}; {opened} were open"
            yield Difference(f"{flow}, {burst.count} at once", why)

    def _wait_for_room(self, burst: Burst) -> None:
        """Send until one packet passes: nf_conncount removes deleted connections only when it counts new ones."""
        for _ in range(_MAX_ROOM_TRIES):
            if any(result.arrived for result in self._runner.repeat(burst.probe, 1)):
                return

    def _packets_by_target(self) -> Counter[tuple[str, str, str]]:
        """Count packets by table, chain, and target with its NFLOG group."""
        packets: Counter[tuple[str, str, str]] = Counter()
        has_ipv6 = any(cases.family is IPV6 for cases in self._cases)
        for rule in (*live_rules(), *(live_rules6() if has_ipv6 else ())):
            group = re.search(r"--nflog-group (\d+)", rule.text)
            what = f"{rule.target} {group[1]}" if group else rule.target
            packets[rule.table, rule.chain, what] += rule.packets
        return packets


def _examples(results: Sequence[ProbeResult]) -> dict[tuple[str, bool, Family], Probe]:
    """Return a probe for each drop chain: the world's packets meet others than those of nodes."""
    return {
        (result.dropped_by, result.probe.flow.source == WORLD, result.probe.family): result.probe
        for result in results
        if result.dropped_by and result.probe.expected == DROP
    }


def _flooded_chain(policy_id: str, from_world: bool, family: Family, of_ports: Set[str]) -> tuple[str, str]:
    """Return tool and chain that drop an example: a node's packet meets the rules of its port first."""
    chain = drop_chain(policy_id)
    return ("ebtables" if chain in of_ports and not from_world else family.rules.tool), chain


def tool_of(table: str) -> str:
    """Return the tool of a rule's table: `ip6tables raw`, or `raw` for iptables."""
    return table.rpartition(" ")[0] or IPV4.rules.tool


def _count_open(family: Family, source: str) -> int:
    command = ["conntrack", "-L", "-f", family.name.lower()]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return count_open_by_source(connections(output.splitlines()))[source]


def _find_flood_differences(
    table: str, chain: str, counted: dict[str, int], max_logged: float, *, has_logged: bool
) -> Iterator[Difference]:
    flood, is_quiet = f"a flood of {FLOOD} into {table} {chain}", chain in _NOT_LOGGED_CHAINS
    for what in (_COPY, "DROP") if is_quiet else _TARGETS[1:]:
        if counted[what] < FLOOD:
            yield Difference(flood, f"{what} counted {counted[what]}")
    if counted["LOG"] > max_logged:
        yield Difference(flood, f"{counted['LOG']} were logged, at most {max_logged:.0f} should be")
    if not has_logged and not is_quiet:
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
