"""The security policy, isolation and routing, as documents: from tables, the live system and a proof.

python -m security.documents DIRECTORY    called through scripts/report.sh documents, which makes the world

Writes security_policy.md and .pdf, isolation.md and .pdf, and the proof's heat map. Exit status 1 when the
policy is not proven: the documents then say what differs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from lab.document import Document, Picture, Rows, Section, write
from lab.ruleset.iptables import live_rules
from lab.table import TableError
from lab.topology import Topology
from security.explain.snapshot import Place, take_snapshot
from security.policy.model import ANY, BUILT_IN, HOST, LIMIT, WORLD, Policy
from security.policy.table import load
from security.proof.__main__ import outside_of_proof
from security.proof.heatmap import write_png
from security.proof.nflog import Occupied
from security.proof.report import Proof, open_flows, prove

COMMAND = "make documents"
_KINDS = ("CNET-WIRE-", "CNET-TO-", "CNET-DROP-")


def security_policy(proof: Proof, heat_map: Path) -> Document:
    """Say who may talk to whom, how it is enforced, and that it was tried."""
    policy = proof.policy
    return Document(
        f"Security policy: {policy.path.stem}",
        _made(policy),
        [
            Section("In short", list(_in_short(proof))),
            Section("Who may open a connection to whom", [_order(), _lines(policy)]),
            Section("What holds whatever the lines say", [_built_in()]),
            Section("How it is enforced", list(_enforcement())),
            Section(
                "Proof", [proof.summary + ".", _matrix(proof), Picture(heat_map, "the proof as a heat map")]
            ),
            Section("Differences", _differences(proof)),
        ],
    )


def isolation(proof: Proof) -> Document:
    """Say which networks there are, which routes lead where, and what passes between them."""
    topology = proof.policy.topology
    snapshot = take_snapshot(node.namespace for node in topology.nodes)
    namespaces = dict.fromkeys(node.namespace for node in topology.nodes)
    routes = [row for name in namespaces for row in _routes(f"namespace {name}", snapshot.namespaces[name])]
    ours = {bridge.name for bridge in topology.bridges}
    closed = sorted(ours.difference(snapshot.host.forwards))
    routes += [row for row in _routes("host", snapshot.host) if row[2] in ours or row[1] == "0.0.0.0/0"]
    return Document(
        f"Network isolation and routing: {topology.path.stem}",
        _made(proof.policy),
        [
            Section("Networks", [_networks(topology)]),
            Section("Nodes", [_nodes(topology)]),
            Section(
                "Routes, as they are",
                [
                    "A node knows its own network; all else goes to the host, which forwards"
                    + (
                        " it."
                        if not closed
                        else f" nothing at the moment that comes from {', '.join(closed)}: forwarding is 0 there."
                    ),
                    Rows(("where", "to", "by", "through"), routes, (3, 3, 3, 3)),
                ],
            ),
            Section("What passes between the networks", [_between(proof), *_never(proof)]),
            Section("Proof", [proof.summary + ".", _matrix(proof)]),
        ],
    )


def _made(policy: Policy) -> str:
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    tables = f"{policy.path.name} for {policy.topology.path.name}"
    return f"Generated on {now} by {COMMAND}, from {tables}, and by trying."


def _in_short(proof: Proof) -> Iterator[str]:
    lines = proof.policy.lines
    yield (
        f"{len(lines)} lines decide; what none of them allows is dropped, logged as DROPPED: and the id of "
        "the line, and counted. Answers to what was allowed come back by themselves. IPv6 and every other "
        "protocol are dropped on the wire."
    )
    yield f"The policy {'is' if not proof.differences else 'is NOT'} proven: {proof.summary}."


def _order() -> str:
    return (
        "The first line that speaks of a packet decides. From the world a node is reached only through a "
        "port that the host publishes."
    )


def _lines(policy: Policy) -> Rows:
    cells = [
        (
            line.id,
            *(names.replace(",", ", ") for names in line.as_written),
            ", ".join(line.protocols),
            ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in line.ports) or "any",
            line.rate or "",
            line.verdict,
            line.reason,
        )
        for line in policy.lines
    ]
    cells += [
        (
            limit.id,
            limit.as_written.replace(",", ", "),
            ANY,
            ANY,
            ANY,
            f"{limit.most} at once",
            LIMIT,
            limit.reason,
        )
        for limit in policy.limits
    ]
    return Rows(
        ("id", "from", "to", "protocol", "port", "rate", "verdict", "reason"), cells, (3, 5, 4, 2, 2, 3, 2, 8)
    )


def _built_in() -> Rows:
    counted = _dropped()
    cells = [
        (name, reason, f"{counted[name]:,}")
        for name, reason in BUILT_IN.items()
        if name not in ("answers", "policy")
    ]
    return Rows(("id", "dropped, because", "packets so far"), cells, (3, 12, 2))


def _dropped() -> Counter[str]:
    found: Counter[str] = Counter()
    for rule in live_rules():
        if rule.chain.startswith("CNET-DROP-") and rule.target == "DROP":
            found[rule.chain.removeprefix("CNET-DROP-")] += rule.packets
    return found


def _enforcement() -> Iterator[str | Rows]:
    yield (
        "ebtables asks of each frame whether port, MAC and address belong together; iptables asks in table "
        "raw whether somebody outside uses an address of the lab, in table security, after every firewall "
        "of the host, whether the policy allows the connection. The bridges hand their frames to iptables "
        "(nf_call_iptables)."
    )
    rules: Counter[tuple[str, str]] = Counter()
    chains: dict[tuple[str, str], set[str]] = {}
    for rule in live_rules():
        if rule.chain.startswith("CNET-") and rule.table in ("raw", "security", "ebtables nat"):
            kind = rule.table, next((each for each in _KINDS if rule.chain.startswith(each)), rule.chain)
            rules[kind] += 1
            chains.setdefault(kind, set()).add(rule.chain)
    cells = [(*kind, len(chains[kind]), rules[kind]) for kind in sorted(rules)]
    yield Rows(("table", "chains", "how many", "rules in them"), cells, (3, 5, 2, 2))


def _matrix(proof: Proof) -> Rows:
    flows = open_flows(proof)
    places = [*(node.name for node in proof.policy.topology.nodes), HOST, WORLD]
    cells = [(source, *(_cell(flows.get((source, to), [])) for to in places)) for source in places]
    return Rows(("from / to", *places), cells, (1.6, *([1] * len(places))))


def _cell(flows: Sequence[str]) -> str:
    return "all" if "any" in flows else ", ".join(flows) or "-"


def _differences(proof: Proof) -> list[str | Rows]:
    if not proof.differences:
        return ["None."]
    cells = [(difference.flow, difference.why) for difference in proof.differences]
    return [Rows(("flow", "what differs"), cells, (1, 2))]


def _networks(topology: Topology) -> Rows:
    cells = [(bridge.name, bridge.address.network, bridge.address.ip) for bridge in topology.bridges]
    return Rows(("bridge", "network", "the host's address, gateway of its nodes"), cells, (1, 1, 2))


def _nodes(topology: Topology) -> Rows:
    cells = [
        (node.name, node.namespace, node.address, f"{node.interface} = {node.bridge_interface}", node.bridge)
        for node in topology.nodes
    ]
    return Rows(("node", "namespace", "address", "veth pair", "bridge"), cells, (2, 2, 2, 3, 2))


def _routes(where: str, place: Place) -> Iterator[tuple[str, str, str, str]]:
    for line in place.route_lines:
        to = "0.0.0.0/0" if line["dst"] == "default" else line["dst"]
        yield where, to, line.get("dev", ""), line.get("gateway", "directly")


def _between(proof: Proof) -> Rows:
    bridges = [bridge.name for bridge in proof.policy.topology.bridges]
    places = [*bridges, HOST, WORLD]
    found = _by_network(proof)
    cells = [(source, *(_cell(sorted(found.get((source, to), ()))) for to in places)) for source in places]
    return Rows(("from / to", *places), cells, (1, *([1] * len(places))))


def _by_network(proof: Proof) -> dict[tuple[str, str], set[str]]:
    bridge_of = {node.name: node.bridge for node in proof.policy.topology.nodes}
    found: dict[tuple[str, str], set[str]] = {}
    for (source, to), flows in open_flows(proof).items():
        key = bridge_of.get(source, source), bridge_of.get(to, to)
        found.setdefault(key, set()).update(flows)
    return found


def _never(proof: Proof) -> Iterator[str]:
    """Name the networks between which nothing passes, and how often that was tried."""
    bridge_of = {node.name: node.bridge for node in proof.policy.topology.nodes}
    open_pairs = _by_network(proof)
    tried: Counter[tuple[str, str]] = Counter()
    for outcome in proof.outcomes:
        source, to = (bridge_of.get(name, "") for name in outcome.probe.flow[:2])
        tried[source, to] += bool(source and to and source != to)
    for (source, to), count in sorted(tried.items()):
        if count and (source, to) not in open_pairs:
            yield f"From {source} to {to} nothing passes: {count} probes were sent, none arrived."


def main(directory: Path) -> int:
    """Prove, and write the documents."""
    try:
        proof = prove(load(), outside_of_proof())
    except (TableError, OSError, Occupied) as error:
        print(f"documents: {error}", file=sys.stderr)
        return 1
    heat_map = directory / "proof.png"
    write_png(proof, heat_map)
    for name, document in (
        ("security_policy", security_policy(proof, heat_map)),
        ("isolation", isolation(proof)),
    ):
        write(document, directory / f"{name}.md", directory / f"{name}.pdf")
        print(f"{directory / name}.md and .pdf", file=sys.stderr)
    return 1 if proof.differences else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
