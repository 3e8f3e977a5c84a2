"""Tests the proof: breaks each rule of the policy in turn, and the proof must notice.

python -m security.proof.mutation    called by security/mutants.sh, in a sandbox; exit status 1 when one survives

Rules are deleted, weakened (one match less) and moved (before their predecessor), one at a time. A mutant
that the proof does not notice names a rule that is redundant, or a probe that is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from lab.ruleset.iptables import Option, Rule, live_rules, options_of
from lab.table import TableError
from lab.terminal import Console
from lab.topology import Topology
from security.policy.compiler import mac_of, wires
from security.policy.model import ACCEPT, HOST, WORLD
from security.policy.table import load
from security.proof.__main__ import outside_of_proof
from security.proof.bridges import SYSCTLS
from security.proof.cases import Plan
from security.proof.packets import ECHO_REQUEST
from security.proof.probe import Flow, Outside, Probe, echo, packet
from security.proof.report import Difference, Examination
from security.proof.runner import Prover
from security.rules.overlap import order_matters

OURS = "CNET-"
OF_NAT = ("CNET-PUBLISH", "CNET-POSTROUTING", "CNET-FORWARD", "CNET-INPUT")
ENDS = ("CNET-NODES", "CNET-ORIGIN-NODES", "CNET-FROM-BRIDGES")  # where a packet's way through a table ends
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - a packet's source, which the kernel fills in
# What restricts a rule, with the module that goes when it goes. A protocol takes its ports along.
_WEAKENING = {
    "-i": "",
    "-o": "",
    "-s": "",
    "-d": "",
    "-p": "",
    "--dport": "",
    "--icmp-type": "icmp",
    "--ip-src": "",
    "--arp-ip-src": "",
    "--arp-mac-src": "",
    "--dports": "multiport",
    "--ctstate": "conntrack",
    "--length": "length",
    "--dst-type": "addrtype",
    "--hashlimit-upto": "hashlimit",
    "--limit": "limit",
    "--connlimit-above": "connlimit",
}
_NEED_PROTOCOL = ("--dport", "--dports", "--icmp-type", "--ip-src", "--arp-ip-src", "--arp-mac-src")
_OF_PROTOCOL = ("tcp", "udp", "icmp", "multiport")


@dataclass(frozen=True)
class Mutant:
    """One change: the rules of a chain as they would be."""

    table: str
    chain: str
    what: str
    rules: tuple[str, ...]

    def make(self) -> None:
        """Load the chain anew, all of it at once. Raises CalledProcessError when it cannot be."""
        family, _, table = self.table.rpartition(" ")
        tool = family or "iptables"
        lines = [f"*{table}", f"-F {self.chain}", *self.rules, "COMMIT"]
        _run(f"{tool}-restore", "--noflush", text="\n".join(lines) + "\n")


@dataclass(frozen=True)
class BridgeMutant:
    """One change of a bridge, a port or an entry: a command, and the one that takes it back."""

    what: str
    undo: str

    def make(self) -> None:
        """Run it. Raises CalledProcessError when it cannot be."""
        _run(*self.what.split())


def _run(*command: str, text: str = "") -> None:
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)


def mutants_of_bridges(topology: Topology) -> Iterator[BridgeMutant]:
    """Give every mutant of what bridges and ports may learn, of the entries, and of what the host takes from ports."""
    for bridge in topology.bridges:
        of_bridge = f"ip link set dev {bridge.name} type bridge"
        yield BridgeMutant(f"{of_bridge} no_linklocal_learn 0", f"{of_bridge} no_linklocal_learn 1")
        yield BridgeMutant(f"{of_bridge} mcast_snooping 1", f"{of_bridge} mcast_snooping 0")
    first = {nodes[0].bridge: port for port, nodes in reversed(wires(topology).items())}
    for port, nodes in wires(topology).items():
        for setting in ("learning", "flood"):
            of_port = f"ip link set dev {port} type bridge_slave {setting}"
            yield BridgeMutant(f"{of_port} on", f"{of_port} off")
        mac = mac_of(nodes[0])
        entry = f"bridge fdb replace {mac} dev {port} master static sticky"
        yield BridgeMutant(f"bridge fdb del {mac} dev {port} master", entry)
        yield BridgeMutant(f"bridge fdb replace {mac} dev {port} master dynamic", entry)
        if first[nodes[0].bridge] != port:
            yield BridgeMutant(entry.replace(port, first[nodes[0].bridge]), entry)
        for path, value in SYSCTLS.items():
            setting = path.format(port).removeprefix("/proc/sys/")
            if Path(path.format(port)).exists():
                yield BridgeMutant(f"sysctl -qw {setting}=0", f"sysctl -qw {setting}={value}")


def mutants(rules: Sequence[Rule], topology: Topology) -> Iterator[Mutant]:
    """Give every mutant of the policy's rules. Rules without a target only remember something."""
    chains: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        chains.setdefault((rule.table, rule.chain), []).append(rule)
    for (table, chain), of_chain in chains.items():
        for at, rule in enumerate(of_chain):
            if _is_the_policys(rule) and _reachable(of_chain, at):
                for what, texts in _changes(of_chain, at, topology):
                    yield Mutant(table, chain, f"{what}: {table} {rule.text}", texts)


def _reachable(rules: Sequence[Rule], at: int) -> bool:
    """Tell whether any packet comes so far: what follows a rule that takes everything is for its absence."""
    return not any(
        (rule.target == "RETURN" or rule.goto) and not options_of(rule.matches) for rule in rules[:at]
    )


def _ends(rule: Rule) -> bool:
    """Tell whether a rule keeps a packet between nodes from the rules of others, which mutants.sh has loaded."""
    return rule.target == "ACCEPT" and (rule.chain in ENDS or rule.table == "nat")


def _is_the_policys(rule: Rule) -> bool:
    if _ends(rule) or rule.target in ENDS:
        return True
    ours = rule.chain.startswith(OURS) or rule.target.startswith(OURS)
    return ours and bool(rule.target) and rule.chain not in OF_NAT and rule.target not in OF_NAT


def _changes(rules: Sequence[Rule], at: int, topology: Topology) -> Iterator[tuple[str, tuple[str, ...]]]:
    texts = [rule.text for rule in rules]
    yield "deleted", (*texts[:at], *texts[at + 1 :])
    if _ends(rules[at]) or rules[at].target == "CNET-ORIGIN-NODES" or rules[at].table in ("mangle", "nat"):
        return  # what it takes from the rules of others more than it should, is theirs
    for missing, weaker in weakened(rules[at]):
        yield f"without {missing}", (*texts[:at], weaker, *texts[at + 1 :])
    if at and _is_the_policys(rules[at - 1]) and order_matters(rules[at - 1], rules[at], topology):
        yield "moved up", (*texts[: at - 1], texts[at], texts[at - 1], *texts[at + 1 :])


def weakened(rule: Rule) -> Iterator[tuple[str, str]]:
    """Give the rule with one match less, and what it lacks."""
    options = options_of(rule.matches)
    for option in options:
        if option.flag in _WEAKENING:
            rest = [other for other in options if other is not option and not _goes_along(option.flag, other)]
            yield option.verbatim, _text(rule, [word for other in rest for word in other.words])


def _goes_along(flag: str, other: Option) -> bool:
    """Tell whether a match means nothing, or cannot be written, without another."""
    module = _WEAKENING[flag]
    if flag == "-p":
        return other.flag in _NEED_PROTOCOL or (other.flag == "-m" and other.values[0] in _OF_PROTOCOL)
    return bool(module) and (other.words == ("-m", module) or other.flag.startswith(f"--{module}"))


def _text(rule: Rule, matches: Sequence[str]) -> str:
    """Write a rule; what had quotes gets them again."""
    words = ["-A", rule.chain, *matches, "-g" if rule.goto else "-j", rule.jump, *rule.target_options]
    return " ".join(f'"{word}"' if " " in word else word for word in words)


class Hunt:
    """The proof, with strangers: traffic of other networks by this host, which must meet no rule of ours."""

    def __init__(self, prover: Prover, plan: Plan, stranger: str) -> None:
        self._prover = prover
        self._plan = plan
        self._strangers = _strangers(plan.outside, plan, stranger)
        self._foreign = list(_foreign_ports(plan))

    def first_difference(self) -> Difference | None:
        """Try all until something differs; None when the proof is content."""
        return next(Examination(self._prover, self._plan, strict=True).differences(), None) or next(
            self._of_strangers(), None
        )

    def _of_strangers(self) -> Iterator[Difference]:
        before = _packets()
        for outcome in self._prover.run(self._strangers):
            if not outcome.arrived:
                yield Difference(str(outcome.probe), "traffic that is not the lab's was lost")
        if _packets() != before:
            yield Difference("strangers", "traffic that is not the lab's met a rule of the policy")
        for outcome in self._prover.run(self._foreign):
            if not outcome.as_expected:
                yield Difference(str(outcome.probe), outcome.seen)


def _packets() -> dict[str, int]:
    rules = (rule for rule in live_rules() if rule.chain.startswith(OURS) and rule.chain not in OF_NAT)
    return {f"{rule.table} {rule.text}": rule.packets for rule in rules if rule.table == "security"}


def _strangers(outside: Outside, plan: Plan, stranger: str) -> list[Probe]:
    flows = [
        (WORLD, "stranger", outside.address, stranger, "through the host"),
        (WORLD, HOST, outside.address, outside.host_address, "to the host"),
        (HOST, "stranger", UNSPECIFIED, stranger, "from the host"),
    ]
    for bridge in plan.topology.bridges:
        own = str(bridge.address.ip)
        flows.append((HOST, HOST, own, own, f"to itself on {bridge.name}"))
    return [
        Probe(Flow(source, to, "icmp"), ACCEPT, "", echo(address, target, ECHO_REQUEST, 0), target, attack)
        for source, to, address, target, attack in flows
    ]


def _foreign_ports(plan: Plan) -> Iterator[Probe]:
    """Reach nodes by ports that a stranger forwards: FROM:NODE:PORT/PROTOCOL in STRANGE_PORTS."""
    outside = plan.outside
    for item in os.environ["STRANGE_PORTS"].split():
        foreign, name, target = item.split(":")
        port, protocol = target.split("/")
        expected = plan.policy.decide(WORLD, name, protocol, int(port))
        build = packet(protocol, outside.address, outside.host_address, int(foreign))
        flow = Flow(WORLD, name, protocol, int(foreign))
        attack = f"a stranger forwards it to {target}"
        yield Probe(flow, expected.verdict, expected.id, build, outside.host_address, attack)


def hunt(progress: Progress) -> list[tuple[Mutant | BridgeMutant, str]]:
    """Try every mutant; give those that were not noticed, or could not be loaded."""
    policy, outside = load(), outside_of_proof()
    plan = Plan(policy, outside)
    rules = live_rules()
    originals = {
        (rule.table, rule.chain): tuple(
            other.text for other in rules if (other.table, other.chain) == (rule.table, rule.chain)
        )
        for rule in rules
    }
    found: list[Mutant | BridgeMutant] = [
        *mutants_of_bridges(policy.topology),
        *mutants(rules, policy.topology),
    ]
    task = progress.add_task(f"{len(found)} mutants", total=len(found))
    survivors: list[tuple[Mutant | BridgeMutant, str]] = []
    with Prover(policy.topology, outside, stranger="world") as prover:
        hunter = Hunt(prover, plan, os.environ["STRANGER"])
        unprovoked = hunter.first_difference()
        if unprovoked:
            raise TableError(
                f"{unprovoked.flow}: {unprovoked.why}; the policy must be proven before its proof is"
            )
        for mutant in found:
            mutant.make()
            if hunter.first_difference() is None:
                survivors.append((mutant, "survived"))
            if isinstance(mutant, Mutant):
                Mutant(mutant.table, mutant.chain, "", originals[mutant.table, mutant.chain]).make()
            else:
                _run(*mutant.undo.split())
            progress.advance(task)
    return survivors


def main() -> int:
    """Hunt; 0 when every mutant was noticed."""
    if "STRANGER" not in os.environ:
        print("mutants: call it by security/mutants.sh, which makes a sandbox", file=sys.stderr)
        return 2
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        try:
            survivors = hunt(progress)
        except (TableError, OSError, subprocess.CalledProcessError) as error:
            print(f"mutants: {error} {getattr(error, 'stderr', '')}", file=sys.stderr)
            return 1
        tried = progress.tasks[0].total
    for mutant, how in survivors:
        print(f"{how}: {mutant.what}")
    print(f"{tried} mutants, {int(tried or 0) - len(survivors)} killed, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
