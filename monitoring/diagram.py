"""A picture of the running lab compared with its table: what is up, down, missing or not in the table.

python -m monitoring.diagram [--json] [--svg FILE] [--png FILE] [--policy FILE.svg|FILE.png]...
                             [--hooks FILE.svg|FILE.png]...

Text on the terminal, or JSON; with --svg and --png a drawing by graphviz too. Needs root, to enter
namespaces. Every state is a word and a line style; colour only repeats it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD, Box
from rich.table import Table
from rich.text import Text

from lab import topology
from lab.messages import print_message
from lab.ruleset.iptables import live_rules
from lab.table import TableError
from lab.terminal import Console
from monitoring.drawing import dot_source, draw
from monitoring.hook_drawing import hooks_source
from monitoring.hook_ways import ways_of
from monitoring.live import LiveError, collect, need_root, read_links
from monitoring.picture import DOWN, MISSING, UNKNOWN, Card, Picture, compose, words_of
from monitoring.policy_drawing import policy_edges, policy_source
from security.policy.model import Policy
from security.policy.table import load as load_policy
from security.policy.table import policy_path
from security.rules.hooks import live_hooks

STYLES = {DOWN: "bold red", MISSING: "dim", UNKNOWN: "yellow"}
PIPE_WIDTH = 1000  # characters: a pipe has no edge to wrap at


def show(picture: Picture, console: Console) -> None:
    """Print the picture: a table on a terminal that has room for it, else lines; bare columns into a pipe."""
    table = _table(picture, SIMPLE_HEAD if console.is_terminal else None)
    lines = (*_heads(picture), Text(), table)
    if console.is_terminal:
        room = console.options.update(max_width=PIPE_WIDTH)
        fits = console.measure(table, options=room).maximum <= console.width
        console.print(*(lines if fits else (*_heads(picture), Text(), *_lines(picture))), sep="\n")
        return
    console.width = PIPE_WIDTH
    with console.capture() as captured:
        console.print(*lines, sep="\n")
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n")


def _heads(picture: Picture) -> list[Text]:
    lines = [("host", uplink) for uplink in picture.uplinks()]
    lines += [("bridge", " ".join(words_of(bridge))) for bridge in picture.lab.bridges]
    lines += [("published", publication) for publication in picture.published()]
    lines += [("not shown", text) for text in picture.not_shown()]
    return [Text.assemble((f"{kind:<11}", "bold"), text) for kind, text in lines]


def _table(picture: Picture, box: Box | None) -> Table:
    table = Table("node", "namespace", "address", "listens", "veth pair", "state", box=box, pad_edge=False)
    for card in picture.cards:
        table.add_row(*(Text(cell, style=_style(card)) for cell in _cells(card)))
    return table


def _lines(picture: Picture) -> Iterator[Text]:
    for card in picture.cards:
        name, namespace, address, listens, pair, state = _cells(card)
        yield Text.assemble((f"{name}: {state}", _style(card) or "bold"))
        yield Text(f"  namespace {namespace}, address {address}")
        yield Text(f"  {pair}, listens on {listens}")


def _cells(card: Card) -> Iterator[str]:
    yield from (card.name, card.namespace)
    yield from (" ".join(card.addresses) or "-", " ".join(card.programs()) or "-")
    yield f"{card.port} = {card.interface}"
    yield ", ".join(card.remarks) or "up"


def _style(card: Card) -> str:
    return STYLES.get(card.remarks[-1], "yellow") if card.remarks else ""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 done, 1 an error, 2 bad usage."""
    options = _options(arguments)
    try:
        need_root()
        table = topology.load()
        policy = load_policy(table) if policy_path(table) else None
        _show_and_draw(compose(collect(), table), policy, options)
    except BrokenPipeError:
        raise  # see lab/as_command.py
    except (LiveError, TableError, OSError) as error:
        print_message("diagram", error)
        return 1
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m monitoring.diagram", description="A picture of the lab.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw it as SVG")
    parser.add_argument("--png", type=Path, metavar="FILE", help="also draw it as PNG")
    parser.add_argument(
        "--policy", type=Path, action="append", default=[], metavar="FILE", help="also draw the policy: .svg, .png"
    )  # fmt: skip
    parser.add_argument(
        "--hooks", type=Path, action="append", default=[], metavar="FILE", help="also draw the hooks: .svg, .png"
    )  # fmt: skip
    return parser.parse_args(arguments)


def _show_and_draw(picture: Picture, policy: Policy | None, options: argparse.Namespace) -> None:
    if options.json:
        flows = [
            {"source": source, "destination": destination, "id": line.id, "verdict": line.verdict,
             "reason": line.reason}
            for source, destination, line in (policy_edges(policy) if policy else ())
        ]  # fmt: skip
        print(json.dumps({**asdict(picture), "policy": flows}, indent=2))
    else:
        show(picture, Console())
    for kind in ("svg", "png"):
        if file := getattr(options, kind):
            draw(dot_source(picture), kind, file)
    for file in options.policy:
        if policy:
            draw(policy_source(policy), file.suffix.lstrip("."), file)
    if options.hooks:
        source = hooks_source(live_hooks(live_rules()), ways_of(picture, read_links()))
        for file in options.hooks:
            draw(source, file.suffix.lstrip("."), file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
