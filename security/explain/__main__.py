"""Show a packet's path hop by hop, with reasons; the manual is the header of security/explain.sh, which calls this."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from lab.messages import DIAGNOSE
from lab.network.__main__ import policy_is_wanted
from lab.table import TableError
from lab.terminal import Console
from lab.topology import Topology
from lab.topology import load as load_topology
from security.explain import ipv6
from security.explain.lab_state import LOCALHOST, Lab
from security.explain.live_state import take_snapshot
from security.explain.options import UsageError, read_options
from security.explain.path import predict_path
from security.explain.result import Hop, Kind, Mark, Result
from security.explain.snapshot import Snapshot, read_snapshot
from security.explain.verdict import observe
from security.policy.model import Flow
from security.policy.table import load, policy_path
from security.proof.probe import outside_from_environment

_MARKS = {
    Mark.REACHED: ("✓", "green", ""),
    Mark.STOPPED: ("✗", "bold red", ""),
    Mark.NOT_REACHED: ("·", "dim", "dim"),
    Mark.UNWATCHED: (" ", "", ""),
}
_NOTHING_IS_WRONG = (Kind.ALLOWED, Kind.POLICY, Kind.RATE)


def show(result: Result, console: Console) -> None:
    """Print the result as text."""
    outcome = result.outcome
    style = "bold green" if outcome.kind is Kind.ALLOWED else "bold red"
    by = f" ({outcome.policy_id})" if outcome.policy_id else ""
    lines = [Text.assemble((str(result.flow), "bold"), ": ", (outcome.kind.value, style), by), Text()]
    lines += [_format_hop(number, hop) for number, hop in enumerate(result.hops, start=1)]
    lines += [Text(), Text.assemble(("  why  ", "bold"), outcome.why)]
    if outcome.fix:
        lines.append(Text.assemble(("  if unintended  ", "bold"), outcome.fix))
    lines += [Text(f"  not simulated: {rule}", "yellow") for rule in result.not_simulated]
    for problem in result.warnings:
        lines.append(Text.assemble(("  warning  ", "bold yellow"), f"{problem.what}; {problem.fix}"))
    if result.observed and result.predicted.kind is Kind.UNKNOWN:
        lines.append(Text("  a probe was sent; nothing was predicted", "dim"))
    elif result.observed and result.is_as_predicted:
        lines.append(Text("  a probe was sent and ended as predicted (✓ it passed there)", "dim"))
    elif result.observed:
        predicted = f"{result.predicted.kind}: {result.predicted.why}"
        lines.append(Text(f"  a probe was sent and did not end as predicted: {predicted}", "bold yellow"))
    if outcome.kind not in _NOTHING_IS_WRONG and outcome.fix != DIAGNOSE:
        lines.append(Text(f"  {DIAGNOSE}"))
    for line in lines:
        console.print(line, soft_wrap=True)


def _format_hop(number: int, hop: Hop) -> Text:
    mark, colour, style = _MARKS[hop.mark]
    not_reached = " (not reached)" if hop.mark is Mark.NOT_REACHED else ""
    words = f" {hop.where}: {hop.what}{not_reached}"
    line = Text.assemble((f"{number:>3} ", "dim"), (mark, colour), (words, style))
    return line.append(f"   [{hop.shown_by}]", "dim") if hop.shown_by else line


def explain(options: Namespace, topology: Topology) -> Result:
    """Predict the path of a packet, and send a probe unless --static or --state is given."""
    policy = load(topology) if policy_path(topology) else None
    if options.ipv6:
        return ipv6.observe(topology, policy if policy_is_wanted() else None, options.flow)
    snapshot = _read_state(options.state, topology, options.flow)
    lab = Lab(snapshot, topology, policy, outside_from_environment())
    result = predict_path(lab, options.flow)
    if options.static or options.state or result.predicted.kind is Kind.NO_NAMESPACE:
        return result
    return observe(lab, result)


def _read_state(state: Path | None, topology: Topology, flow: Flow) -> Snapshot:
    if state:
        return read_snapshot(state)
    published = (node.name for node in topology.nodes if node.publishes)  # nodes reached by port forwarding
    names = {*flow.ends, *published}
    nodes = [node for node in topology.nodes if node.name in names]
    destinations = [str(node.address.ip) for node in nodes]
    destinations += [str(bridge.address.ip) for bridge in topology.bridges]
    destinations += [os.environ["OUTSIDE"], LOCALHOST]
    source = topology.node(flow.source)
    destinations += [f"{to} from {source.address.ip}" for to in destinations] if source else []
    everywhere = [node.namespace for node in topology.nodes]
    return take_snapshot([node.namespace for node in nodes], destinations, everywhere)


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    if "OUTSIDE" not in os.environ:
        print("explain: call it through security/explain.sh, which creates the outside", file=sys.stderr)
        return 2
    try:
        topology = load_topology()
        options = read_options(arguments, topology)
        if options.save:
            take_snapshot(node.namespace for node in topology.nodes).save(options.save)
            return 0
        result = explain(options, topology)
    except UsageError as error:
        print(f"explain: {error}", file=sys.stderr)
        return 2
    except (TableError, OSError, ValueError, KeyError) as error:
        print(f"explain: {error}", file=sys.stderr)
        return 3
    if options.json:
        print(json.dumps(result.as_dict(), indent=1))
    else:
        show(result, Console(width=None if sys.stdout.isatty() else 200))
    return 0 if result.outcome.kind is Kind.ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
