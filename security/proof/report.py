"""Print a proof (passed checks and differences), or write it as JSON or CSV."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import astuple
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from lab.csv_files import write_rows
from lab.messages import DIAGNOSE
from lab.terminal import Console
from security.policy.model import HOST, WORLD
from security.proof.cases import BY_HOST
from security.proof.probe import Difference, Probe
from security.proof.proof import Proof

COLUMNS = (
    "source",
    "destination",
    "protocol",
    "port",
    "family",
    "attack",
    "expected",
    "expected_id",
    "seen",
    "seen_id",
    "ok",
)
_MAX_LISTED_NODES = 12
_MAX_DIFFERENCES = 10  # print at most this many differences one by one

Pair = tuple[str, str]  # source, destination


def places_of(proof: Proof) -> list[str]:
    """Return the nodes in the table's order, then the host and the world."""
    return [*(node.name for node in proof.policy.topology.nodes), HOST, WORLD]


def open_flows(proof: Proof) -> dict[Pair, list[str]]:
    """Return the flows that passed from each source to each destination, without attacks.

    A flow that was tried in both families and passed in one has the version at its end.
    """
    tried: defaultdict[Pair, set[int]] = defaultdict(set)
    passed: defaultdict[Pair, dict[str, list[int]]] = defaultdict(dict)
    for result in proof.results:
        ends, version = result.probe.flow.ends, result.probe.family.version
        if result.probe.attack in ("", BY_HOST):
            tried[ends].add(version)
            if result.arrived:
                passed[ends].setdefault(_short_name(result.probe), []).append(version)
    return {ends: list(_with_versions(flows, tried[ends])) for ends, flows in passed.items()}


def _with_versions(flows: dict[str, list[int]], tried: Set[int]) -> Iterator[str]:
    for name, versions in flows.items():
        yield name if set(versions) == tried else f"{name}v{versions[0]}"


def legend(proof: Proof) -> str:
    """Return what the letters in the names of flows mean."""
    return "u: UDP, v4: only IPv4, v6: only IPv6" if proof.has_ipv6 else "u: UDP"


def _short_name(probe: Probe) -> str:
    if probe.attack == BY_HOST:
        return f"host:{probe.flow.port}"
    names = {"icmp": "ping", "other": "any", "udp": f"{probe.flow.port}u"}
    return names.get(probe.flow.protocol, str(probe.flow.port))


def format_cell(flows: Sequence[str], separator: str = " ") -> str:
    """Format the flows of a pair."""
    return "all" if "any" in flows else separator.join(flows) or "-"


def print_proof(proof: Proof, console: Console, *, brief: bool = False) -> None:
    """Print the passed checks (unless brief), the differences, and the summary."""
    if not brief and len(proof.policy.topology.nodes) <= _MAX_LISTED_NODES:
        console.print(_flows_by_source(proof))
    for line in group_differences(proof.differences):
        console.print(Text.assemble(("  differs ", "bold red"), line), soft_wrap=True)
    console.print(Text(proof.summary, style="bold red" if proof.differences else "green"), soft_wrap=True)
    if len(proof.differences) > _MAX_DIFFERENCES:
        console.print("  sudo make prove writes every probe to reports/proof.csv", soft_wrap=True)
    if proof.differences:
        console.print(f"  {DIAGNOSE}", soft_wrap=True)


def group_differences(differences: Sequence[Difference]) -> Iterator[str]:
    """Yield each difference; above _MAX_DIFFERENCES only the first of each kind and the number of the rest."""
    kinds: defaultdict[str, list[Difference]] = defaultdict(list)
    for number, difference in enumerate(differences):
        kinds[difference.why if len(differences) > _MAX_DIFFERENCES else str(number)].append(difference)
    for first, *others in kinds.values():
        yield f"{first.flow}: {first.why}" + (f" ({len(others)} more like it)" if others else "")


def _flows_by_source(proof: Proof) -> Table:
    flows, places = open_flows(proof), places_of(proof)
    title = f"Flows that passed ({legend(proof)})"
    table = Table(
        "from", "to", "ports", box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left"
    )
    for source in places:
        reached: defaultdict[str, list[str]] = defaultdict(list)
        for to in places:
            if ports := flows.get((source, to)):
                reached[format_cell(ports)].append(to)
        lines = [(" ".join(destinations), ports) for ports, destinations in reached.items()]
        for number, line in enumerate(lines or [("none", "")]):
            table.add_row("" if number else source, *line)
    return table


def rows(proof: Proof) -> Iterator[tuple[object, ...]]:
    """Return one row per probe, with COLUMNS."""
    for result in proof.results:
        probe = result.probe
        source, destination, protocol, port = astuple(probe.flow)
        flow = (source, destination, protocol, port or "", probe.family.version)
        wanted = (probe.attack, probe.expected, probe.expected_id)
        yield (*flow, *wanted, result.seen, result.dropped_by, result.is_as_expected)


def write_csv(proof: Proof, path: Path) -> None:
    """Write one row per probe."""
    write_rows(path, COLUMNS, rows(proof))


def _empty_as_none(values: dict[str, object]) -> dict[str, object]:
    return {name: None if value == "" else value for name, value in values.items()}


def as_json(proof: Proof) -> str:
    """Return everything as JSON."""
    content = {
        "policy": str(proof.policy.path),
        "topology": str(proof.policy.topology.path),
        "seconds": round(proof.seconds, 2),
        "tried": proof.tried,
        "differences": [{"flow": item.flow, "why": item.why} for item in proof.differences],
        "probes": [_empty_as_none(dict(zip(COLUMNS, row, strict=True))) for row in rows(proof)],
    }
    return json.dumps(content, indent=1)
