"""Tells what becomes of a packet, hop by hop, and why; called through security/explain.sh.

python -m security.explain FROM TO [PORT]   sends one probe, lays what was seen beside what is foretold
    --udp, --icmp       instead of TCP
    --static            nothing is sent: from the state alone
    --state FILE        the same, from a state that was saved
    --save FILE         save the state of the whole lab, and end
    --json              for programs

Exit status 0 when it is allowed, 1 when not, 2 on bad usage, 3 when it cannot be told.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from scripts.table import TableError
from scripts.topology import Topology
from scripts.topology import load as load_topology
from security.experiment import try_it
from security.foretell import Foretelling
from security.policy import HOST, WORLD, Policy
from security.policy_table import load, policy_path
from security.prove import outside_of_proof
from security.snapshot import Snapshot, read_snapshot, take_snapshot
from security.story import Flow, Kind, Story

LAST_PORT = 65535
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: (" ", "")}


def show(story: Story, console: Console) -> None:
    """Tell the story to people."""
    truth = story.truth
    style = "bold green" if truth.kind is Kind.ALLOWED else "bold red"
    console.print(
        Text.assemble(
            (str(story.flow), "bold"),
            ": ",
            (truth.kind.value, style),
            f" ({truth.policy_id})" if truth.policy_id else "",
        )
    )
    console.print()
    for number, hop in enumerate(story.hops, start=1):
        mark, colour = _MARKS[hop.seen]
        line = Text.assemble((f"{number:>3} ", "dim"), (mark, colour), f" {hop.where}: {hop.what}")
        if hop.shown_by:
            line.append(f"   [{hop.shown_by}]", "dim")
        console.print(line, soft_wrap=True)
    console.print()
    console.print(Text.assemble(("  why  ", "bold"), truth.why), soft_wrap=True)
    if truth.fix:
        console.print(Text.assemble(("  if it is not meant  ", "bold"), truth.fix), soft_wrap=True)
    for doubt in story.doubts:
        console.print(
            Text(f"  not known to this tool, so its part is not foretold: {doubt}", "yellow"), soft_wrap=True
        )
    if story.live:
        said = "a probe was sent, and ended as the state foretells (✓ it was seen there)"
        if not story.agrees:
            foretold = f"{story.ending.kind.value}, {story.ending.why}"
            said = f"a probe was sent, and ended otherwise than the state foretells: {foretold}"
        console.print(Text(f"  {said}", "dim" if story.agrees else "bold yellow"), soft_wrap=True)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="FROM", nargs="?")
    parser.add_argument("destination", metavar="TO", nargs="?")
    parser.add_argument("port", metavar="PORT", type=int, nargs="?", default=0)
    for protocol in ("udp", "icmp"):
        parser.add_argument(
            f"--{protocol}", dest="protocol", action="store_const", const=protocol, default="tcp"
        )
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--state", type=Path, metavar="FILE")
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.save is None:
        _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    known = [node.name for node in load_topology().nodes] + [HOST, WORLD]
    for name in (options.source, options.destination):
        if name not in known:
            parser.error(f"{name or 'nothing'} is not one of: {' '.join(known)}")
    if options.source in (HOST, WORLD) and options.destination == WORLD:
        parser.error(f"from {options.source} to world nothing passes the lab")
    if options.source == options.destination != HOST:
        parser.error(f"{options.source} speaks to itself; no rule of the lab is asked")
    if options.protocol != "icmp" and not 1 <= options.port <= LAST_PORT:
        parser.error(f"PORT must be from 1 to {LAST_PORT}")


def tell(options: argparse.Namespace, topology: Topology) -> Story:
    """Tell it, with a probe or without."""
    flow = Flow(
        options.source,
        options.destination,
        options.protocol,
        options.port if options.protocol != "icmp" else 0,
    )
    foretelling = Foretelling(
        _state(options, topology, flow), _policy(topology), topology, outside_of_proof()
    )
    story = foretelling.tell(flow)
    if options.static or options.state:
        return story
    own, to = (
        foretelling.address(flow.source, flow.destination),
        foretelling.address(flow.destination, flow.source),
    )
    return try_it(foretelling, story, own, to)


def _state(options: argparse.Namespace, topology: Topology, flow: Flow) -> Snapshot:
    if options.state:
        return read_snapshot(options.state)
    published = {node.name for node in topology.nodes if node.publishes}  # where the host may send it on
    names = {flow.source, flow.destination} | published
    return take_snapshot(node.namespace for node in topology.nodes if node.name in names)


def _policy(topology: Topology) -> Policy | None:
    return load(topology) if policy_path(topology) else None


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks."""
    if "OUTSIDE" not in os.environ:
        print("explain: call it by security/explain.sh, which makes the world", file=sys.stderr)
        return 2
    try:
        options = read_arguments(arguments)
        topology = load_topology()
        if options.save:
            take_snapshot(node.namespace for node in topology.nodes).save(options.save)
            return 0
        story = tell(options, topology)
    except (TableError, OSError, ValueError, KeyError) as error:
        print(f"explain: {error}", file=sys.stderr)
        return 3
    if options.json:
        print(json.dumps(story.as_dict(), indent=1))
    else:
        show(story, Console(width=None if sys.stdout.isatty() else 200))
    return 0 if story.truth.kind is Kind.ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
