"""Documents of the security policy, isolation and routing: from the tables, the live system and a proof.

If the proof failed, the documents contain the differences.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from lab.document import Document, Picture, Rows, Section
from lab.document_files import write
from lab.ruleset.iptables import Rule, live_rules, live_rules6
from security.explain.live_state import take_snapshot
from security.explain.snapshot import Place
from security.policy.drops import drop_chain
from security.policy.model import ANY, BUILT_IN, HOST, LIMIT, NEIGHBOURS, WORLD, Policy
from security.proof.heatmap import write_png
from security.proof.proof import Proof
from security.proof.report import format_cell, open_flows, places_of

_ALLOWING = ("answers", NEIGHBOURS, "policy")  # built-in ids that drop nothing
_CHAIN_KINDS = ("CNET-WIRE-", "CNET-TO-", drop_chain(""))


def security_policy(proof: Proof, heat_map: Path) -> Document:
    """Return the document of the policy: allowed connections, their enforcement, and the proof."""
    policy, rules = proof.policy, (*live_rules(), *(live_rules6() if proof.has_ipv6 else ()))
    short = (
        f"{len(policy.lines)} lines decide. A packet that none of them allows is dropped, logged as DROPPED: with the "
        "id of the line, and counted. Replies of allowed connections pass. IPv6 from an address that the table "
        "does not give, and all other protocols, are dropped at the bridge's port."
    )
    proven = f"The policy {'is NOT' if proof.differences else 'is'} proven: {proof.summary}."
    order = (
        "The first line that matches a packet decides. From the world, a node is reachable only through a "
        "published port."
    )
    differences = [(difference.flow, difference.why) for difference in proof.differences]
    differing = (
        [Section("Differences", [Rows(("flow", "what differs"), differences, (1, 2))])] if differences else []
    )
    heading = "Proof: which node reached which, and on which ports"
    return Document(
        f"Security policy: {policy.path.stem}",
        _made(policy),
        [
            Section("In short", [short, proven]),
            Section("Allowed and denied connections", [order, _lines(policy)]),
            Section("Built-in rules that drop packets", [_built_in(rules)]),
            Section("How it is enforced", [_ENFORCEMENT, _chains(rules)]),
            *differing,
            Section(heading, _proof(proof)),
            Section(
                "The same as a heat map", [Picture(heat_map, "heat map of the proof: the table in colours")]
            ),
        ],
    )


def isolation(proof: Proof) -> Document:
    """Return the document of the networks, their routes, and the traffic between them."""
    topology = proof.policy.topology
    networks = [(bridge.name, bridge.address.network, bridge.address.ip) for bridge in topology.bridges]
    nodes = [
        (node.name, node.namespace, node.address, f"{node.interface} = {node.bridge_interface}", node.bridge)
        for node in topology.nodes
    ]
    namespaces = list(dict.fromkeys(node.namespace for node in topology.nodes))
    snapshot = take_snapshot(namespaces)
    routes = [row for name in namespaces for row in _routes(f"namespace {name}", snapshot.namespaces[name])]
    ours = {bridge.name for bridge in topology.bridges}
    routes += [row for row in _routes("host", snapshot.host) if row[2] in ours or row[1] == "0.0.0.0/0"]
    text = "A node has a route to its own network; everything else goes to the host, which forwards it."
    if blocked := ", ".join(sorted(ours.difference(snapshot.host.forwards))):
        text += f" The host does not forward from {blocked}: forwarding is 0 there."
    network_headings = ("bridge", "network", "the host's address, gateway of its nodes")
    node_headings = ("node", "namespace", "address", "veth pair", "bridge")
    return Document(
        f"Network isolation and routing: {topology.path.stem}",
        _made(proof.policy),
        [
            Section("Networks", [Rows(network_headings, networks, (1, 1, 2))]),
            Section("Nodes", [Rows(node_headings, nodes, (2, 2, 2, 3, 2))]),
            Section("Live routes", [text, Rows(("where", "to", "device", "gateway"), routes, (3, 3, 3, 3))]),
            Section("What passes between the networks", _between_networks(proof)),
            Section("Proof", _proof(proof)),
        ],
    )


def _made(policy: Policy) -> str:
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    tables = f"{policy.path.name} for {policy.topology.path.name}"
    return f"Generated on {now} by make documents, from {tables} and a proof on the running lab."


def _lines(policy: Policy) -> Rows:
    headings = ("id", "from", "to", "protocol", "port", "rate", "verdict", "reason")
    cells: list[tuple[object, ...]] = []
    for line in policy.lines + policy.limits:
        names = [written.replace(",", ", ") for written in line.as_written]
        ports = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in line.ports) or ANY
        protocols = ", ".join(line.protocols)
        rate = f"{line.max_connections} at once" if line.verdict == LIMIT else line.rate or ""
        cells.append((line.id, *names, protocols, ports, rate, line.verdict, line.reason))
    return Rows(headings, cells, (3, 5, 4, 2, 2, 3, 2, 8))


def _built_in(rules: tuple[Rule, ...]) -> Rows:
    dropped: Counter[str] = Counter()
    for rule in rules:
        if rule.chain.startswith(drop_chain("")) and rule.target == "DROP":
            dropped[rule.chain.removeprefix(drop_chain(""))] += rule.packets
    reasons = {name: reason for name, reason in BUILT_IN.items() if name not in _ALLOWING}
    cells = [(name, reason, f"{dropped[name]:,}") for name, reason in reasons.items()]
    return Rows(("id", "dropped, because", "packets so far"), cells, (3, 12, 2))


_TABLES = ("raw", "security", "ip6tables raw", "ip6tables security", "ebtables nat")
_ENFORCEMENT = (
    "ebtables checks that port, MAC and address of each frame belong together. iptables checks in table raw that "
    "packets from elsewhere do not use an address of the lab, and in table security, after every firewall of the "
    "host, whether the policy allows the connection; ip6tables does the same for IPv6. The bridges hand their frames "
    "to both (nf_call_iptables, nf_call_ip6tables)."
)


def _chains(rules: tuple[Rule, ...]) -> Rows:
    chains: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for rule in rules:
        if rule.chain.startswith("CNET-") and rule.table in _TABLES:
            kind = next((prefix for prefix in _CHAIN_KINDS if rule.chain.startswith(prefix)), rule.chain)
            chains[rule.table, kind].append(rule.chain)
    cells = [(*kind, len(set(names)), len(names)) for kind, names in sorted(chains.items())]
    return Rows(("table", "chains", "how many", "rules in them"), cells, (3, 5, 2, 2))


def _proof(proof: Proof) -> list[str | Rows | Picture]:
    return [f"{proof.summary}.", _matrix(places_of(proof), open_flows(proof), 1.6)]


def _matrix(places: list[str], flows: dict[tuple[str, str], list[str]], first_width: float = 1) -> Rows:
    cells = [(source, *(format_cell(flows.get((source, to), [])) for to in places)) for source in places]
    return Rows(("from / to", *places), cells, (first_width, *([1] * len(places))))


def _routes(where: str, place: Place) -> Iterator[tuple[str, str, str, str]]:
    for line in place.route_lines:
        to = "0.0.0.0/0" if line["dst"] == "default" else line["dst"]
        yield where, to, line.get("dev", ""), line.get("gateway", "directly")


def _between_networks(proof: Proof) -> list[str | Rows | Picture]:
    """Return the traffic between networks, and the pairs of networks that no probe crossed."""
    topology = proof.policy.topology
    bridge_of = {node.name: node.bridge for node in topology.nodes}
    reached: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for (source, to), flows in open_flows(proof).items():
        reached[bridge_of.get(source, source), bridge_of.get(to, to)].update(flows)
    tried: Counter[tuple[str, str]] = Counter()
    for result in proof.results:
        source, to = (bridge_of.get(name, "") for name in result.probe.flow.ends)
        tried[source, to] += bool(source and to and source != to)
    nothing = [
        f"No traffic passes from {source} to {to}: {count} probes were sent, none arrived."
        for (source, to), count in sorted(tried.items())
        if count and (source, to) not in reached
    ]
    if len(topology.bridges) == 1:
        return [
            "The lab has one network, so nothing passes between networks. Between its nodes the policy decides: see "
            "the document of the security policy."
        ]
    places = [*(bridge.name for bridge in topology.bridges), HOST, WORLD]
    return [_matrix(places, {pair: sorted(flows) for pair, flows in reached.items()}), *nothing]


def write_documents(proof: Proof, directory: Path) -> None:
    """Write all documents as Markdown and PDF, and the proof's heat map."""
    heat_map = directory / "proof.png"
    write_png(proof, heat_map)
    documents = {"security_policy": security_policy(proof, heat_map), "isolation": isolation(proof)}
    for name, document in documents.items():
        write(document, directory / f"{name}.md", directory / f"{name}.pdf")
        print(f"{directory / name}.md and .pdf", file=sys.stderr)
