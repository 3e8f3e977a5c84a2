"""The policy as a picture: an arrow a line, from whom it speaks to whom; what it drops is dashed and ends in a bar."""

from __future__ import annotations

from collections.abc import Iterator

from lab.escape import for_graphviz, quoted_for_graphviz
from lab.topology import Topology
from monitoring.colours import BLUE, VERMILION
from security.policy.model import ACCEPT, HOST, WORLD, Line, Policy

_GRAPH = """digraph policy {
  graph [rankdir=LR, bgcolor=white, pad=0.2, nodesep=0.35, ranksep=1.6, dpi=160, fontname="DejaVu Sans"]
  node [shape=box, style="rounded,filled", fillcolor=white, color="#0072B2", penwidth=2]
  node [fontname="DejaVu Sans", fontsize=12]
  edge [fontname="DejaVu Sans", fontsize=10, penwidth=1.4]
"""


def edges(policy: Policy) -> Iterator[tuple[str, str, Line]]:
    """Give (from, to, line), the names as the table has them."""
    for line in policy.lines:
        sources, destinations = (names.split(",") for names in line.as_written)
        for source in sources:
            for destination in destinations:
                yield source, destination, line


def dot_source(policy: Policy) -> str:
    """Write it in graphviz's language."""
    found = list(edges(policy))
    names = dict.fromkeys(name for source, destination, _ in found for name in (source, destination))
    lines = [f"  {quoted_for_graphviz(name)} [label=<{_label(name, policy.topology)}>]" for name in names]
    lines += [
        f"  {quoted_for_graphviz(source)} -> {quoted_for_graphviz(destination)} [{_look(line)}]"
        for source, destination, line in found
    ]
    return _GRAPH + "\n".join(lines) + "\n}\n"


def _label(name: str, topology: Topology) -> str:
    if name in (HOST, WORLD):
        return f"<B>{name}</B>"
    if bridge := topology.bridge(name):
        return f"<B>every node of {for_graphviz(name)}</B><BR/>{bridge.address.network}"
    if name == "any":
        return "<B>everybody</B>"
    members = topology.nodes_running(name)
    node = topology.node(name)
    what = [str(node.address.ip)] if node else [f"{member.name} {member.address.ip}" for member in members]
    return "<BR/>".join((f"<B>{for_graphviz(name)}</B>", *what))


def _look(line: Line) -> str:
    ports = ",".join(str(first) if first == last else f"{first}:{last}" for first, last in line.ports)
    what = (
        "/".join(line.protocols)
        + (f" {ports}" if ports else "")
        + (f" at most {line.rate}" if line.rate else "")
    )
    colour = BLUE if line.verdict == ACCEPT else VERMILION
    shape = "" if line.verdict == ACCEPT else ", style=dashed, arrowhead=tee"
    verdict = "" if line.verdict == ACCEPT else "dropped: "
    return f'label="{verdict}{line.id}\\n{what}", color="{colour}", fontcolor="{colour}"{shape}'
