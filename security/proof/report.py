"""Print a proof (passed checks and differences), or write it as JSON or CSV."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from security.proof.probe import Probe
from security.proof.proof import Difference, Proof

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
_MAX_LISTED_NODES = 12
_MAX_DIFFERENCES = 10  # print at most this many differences one by one

Pair = tuple[str, str]  # source, destination


def places_of(proof: Proof) -> list[str]:
    """Return the nodes in the table's order, then the host and the world."""
    return [*(node.name for node in proof.policy.topology.nodes), HOST, WORLD]


def open_flows(proof: Proof) -> dict[Pair, list[str]]:
    """Return the flows that passed from each source to each destination, without attacks."""
    flows: defaultdict[Pair, list[str]] = defaultdict(list)
    for result in proof.results:
        if result.arrived and result.probe.attack in ("", BY_HOST):
            flows[result.probe.flow.ends].append(_short_name(result.probe))
    return flows


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
    title = "Flows that passed (u: UDP)"
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
        tried = (source, destination, protocol, port or "", probe.attack, probe.expected, probe.expected_id)
        yield (*tried, result.seen, result.dropped_by, result.is_as_expected)


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
