"""Tells what happens to a packet, hop by hop, and why; called through security/explain.sh.

python -m security.explain FROM TO [PORT]   sends one probe, lays what was seen beside what is foretold
    --udp, --icmp       instead of TCP
    --static            nothing is sent: from the state alone
    --state FILE        the same, from a state that was saved
    --save FILE         save the state of the whole lab, and end
    --json              for programs

Exit status 0 when it is allowed, as the policy says; 1 when not, or when that cannot be told; 2 on bad usage, 3 when
the state cannot be read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from rich.text import Text

from lab.table import TableError
from lab.terminal import Console
from lab.topology import Topology
from lab.topology import load as load_topology
from security.explain.host_rules import LOCALHOST
from security.explain.options import Options, UsageError, read_options
from security.explain.path import Foretelling
from security.explain.result import Flow, Kind, Mark, Story
from security.explain.snapshot import Snapshot, read_snapshot, take_snapshot
from security.explain.verdict import try_it
from security.policy.model import Policy
from security.policy.table import load, policy_path
from security.proof.probe import outside_from_environment

_MARKS = {
    Mark.REACHED: ("✓", "green", ""),
    Mark.STOPPED: ("✗", "bold red", ""),
    Mark.NOT_REACHED: ("·", "dim", "dim"),
    Mark.UNWATCHED: (" ", "", ""),
}


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
        mark, colour, style = _MARKS[hop.mark]
        not_reached = " (not reached)" if hop.mark is Mark.NOT_REACHED else ""
        line = Text.assemble(
            (f"{number:>3} ", "dim"), (mark, colour), (f" {hop.where}: {hop.what}{not_reached}", style)
        )
        if hop.shown_by:
            line.append(f"   [{hop.shown_by}]", "dim")
        console.print(line, soft_wrap=True)
    console.print()
    console.print(Text.assemble(("  why  ", "bold"), truth.why), soft_wrap=True)
    if truth.fix:
        console.print(Text.assemble(("  if it is not meant  ", "bold"), truth.fix), soft_wrap=True)
    for doubt in story.doubts:
        console.print(Text(f"  cannot tell: {doubt}", "yellow"), soft_wrap=True)
    for remark in story.remarks:
        console.print(
            Text.assemble(("  also  ", "bold yellow"), f"{remark.what}; {remark.fix}"), soft_wrap=True
        )
    if story.live:
        said = "a probe was sent, and ended as the state foretells (✓ it was seen there)"
        if not story.agrees:
            foretold = f"{story.ending.kind.value}: {story.ending.why}"
            said = f"a probe was sent, and ended otherwise than the state foretells: {foretold}"
        console.print(Text(f"  {said}", "dim" if story.agrees else "bold yellow"), soft_wrap=True)


def tell(options: Options, topology: Topology) -> Story:
    """Tell it, with a probe or without."""
    flow = options.flow
    foretelling = Foretelling(
        _state(options, topology, flow), _policy(topology), topology, outside_from_environment()
    )
    story = foretelling.tell(flow)
    if options.static or options.state or story.ending.kind is Kind.NO_NAMESPACE:
        return story
    own, to = (
        foretelling.address(flow.source, flow.destination),
        foretelling.address(flow.destination, flow.source),
    )
    return try_it(foretelling, story, own, to)


def _state(options: Options, topology: Topology, flow: Flow) -> Snapshot:
    if options.state:
        return read_snapshot(options.state)
    published = {node.name for node in topology.nodes if node.publishes}  # where the host may send it on
    names = {flow.source, flow.destination} | published
    looked_at = [node.namespace for node in topology.nodes if node.name in names]
    asked = [str(node.address.ip) for node in topology.nodes if node.name in names]
    asked += [str(bridge.address.ip) for bridge in topology.bridges]
    asked += [os.environ["OUTSIDE"], LOCALHOST]
    source = topology.node(flow.source)
    asked += [f"{to} from {source.address.ip}" for to in asked if source]
    return take_snapshot(looked_at, asked, {node.namespace for node in topology.nodes})


def _policy(topology: Topology) -> Policy | None:
    return load(topology) if policy_path(topology) else None


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks."""
    if "OUTSIDE" not in os.environ:
        print("explain: call it by security/explain.sh, which makes the world", file=sys.stderr)
        return 2
    try:
        topology = load_topology()
        options = read_options(arguments, topology)
        if options.save:
            take_snapshot(node.namespace for node in topology.nodes).save(options.save)
            return 0
        story = tell(options, topology)
    except UsageError as error:
        print(f"explain: {error}", file=sys.stderr)
        return 2
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
