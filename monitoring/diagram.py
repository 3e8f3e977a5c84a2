"""A picture of the running lab beside its table: what is there, what is down, missing or too much.

python -m monitoring.diagram [--json] [--svg FILE] [--png FILE] [--policy FILE.svg|FILE.png]...

Text on the terminal, or JSON; with --svg and --png a drawing by graphviz too. Needs root, to look into
namespaces. Every state is a word and a line style; colour only repeats it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_interface
from pathlib import Path

from rich.box import SIMPLE_HEAD, Box
from rich.table import Table
from rich.text import Text

from monitoring import policy_map
from monitoring.live import Bridge, Lab, Listener, LiveError, Node, collect, need_root
from monitoring.publications import Publication
from scripts import topology
from scripts.escape import for_graphviz
from scripts.table import TableError
from scripts.terminal import Console
from scripts.topology import Topology
from scripts.whole_file import draft_of
from security.policy import Policy
from security.policy_table import load as load_policy
from security.policy_table import policy_path

DOWN, MISSING, UNKNOWN = "down", "missing", "not in the table"
STYLES = {DOWN: "bold red", MISSING: "dim", UNKNOWN: "yellow"}
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6B6B6B"  # told apart by every kind of eye, and in print
ONE_SIDE = 4  # so many nodes fit on one side of the host
LONGEST_LINE = 26  # characters on a card
LINE_HEIGHT, CARD_MARGIN = 15, 26  # points
DOTS_PER_INCH = 192  # twice a screen's, for print
MOST_NOT_SHOWN = 5  # rules that are written out
PIPE_WIDTH = 1000  # characters: a pipe has no edge to wrap at


@dataclass(frozen=True)
class Card:
    """What is drawn for a namespace; `remarks` is empty when all is as the table says."""

    name: str
    namespace: str
    bridge: str
    port: str
    interface: str
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    remarks: tuple[str, ...] = ()

    def programs(self) -> list[str]:
        """Give program:port of each listener."""
        return [f"{listener.program}:{listener.port}" for listener in self.listeners]


@dataclass(frozen=True)
class Picture:
    """The live lab, its nodes laid beside the table's, in the table's order."""

    lab: Lab
    cards: tuple[Card, ...]

    def uplinks(self) -> list[str]:
        """Addresses by which the host is reached from elsewhere: the bridges have theirs to themselves."""
        bridges = {bridge.name for bridge in self.lab.bridges}
        found = (item for item in self.lab.host if item.interface not in bridges)
        return [f"{item.interface} {item.address}" for item in found if _is_telling(item.address)]

    def published(self) -> list[str]:
        """Each published port of the host, and where it leads."""
        return [
            f"{item.host_port}/{item.protocol} \u2192 {self.name_at(item)}:{item.port}"
            for item in self.lab.published
        ]

    def not_shown(self) -> list[str]:
        """Say how much the picture cannot show, and the first few as they are written."""
        found = self.lab.not_shown
        if not found:
            return []
        what = f"{len(found):,} rules or lines that lead, or may lead, into the lab in another way than port to port"
        more = len(found) - MOST_NOT_SHOWN
        return [what, *found[:MOST_NOT_SHOWN], *([f"and {more:,} more; --json has all"] if more > 0 else [])]

    def name_at(self, publication: Publication) -> str:
        """Name of the node that a published port leads to, or its bare address."""
        for card in self.cards:
            if publication.address in {address.partition("/")[0] for address in card.addresses}:
                return card.name
        return publication.address


def compose(lab: Lab, table: Topology) -> Picture:
    """Lay the live nodes beside the table's."""
    serves = any(node.listeners for node in lab.nodes)
    planned = [
        _with_drift(card, node, serves=serves)
        for node in table.nodes
        for card in _cards_of(node, table, lab.nodes)
    ]
    unknown = [
        _card(node.namespace, node, (UNKNOWN,)) for node in lab.nodes if not table.node_in(node.namespace)
    ]
    return Picture(lab, (*planned, *unknown))


def _with_drift(card: Card, planned: topology.Node, *, serves: bool) -> Card:
    """Name what is otherwise than the table says; where no service runs at all, none is missed."""
    if MISSING in card.remarks:
        return card
    drift = []
    if str(planned.address) not in card.addresses:
        drift.append(f"has not {planned.address}")
    if card.bridge != planned.bridge:
        drift.append(f"not in {planned.bridge}")
    ports = {listener.port for listener in card.listeners}
    tcp = [listener.port for listener in planned.listens if listener.protocol == "tcp"]
    drift += [f"nobody listens on {port}" for port in tcp if serves and port not in ports]
    return replace(card, remarks=(*drift, *card.remarks))


def _cards_of(planned: topology.Node, table: Topology, nodes: Iterable[Node]) -> list[Card]:
    others = {
        str(other.address)
        for other in table.nodes
        if other.namespace == planned.namespace and other != planned
    }
    live = [
        _card(planned.name, _without(node, others), ())
        for node in nodes
        if node.namespace == planned.namespace
    ]
    missing = Card(
        name=planned.name,
        namespace=planned.namespace,
        bridge=planned.bridge,
        port=planned.bridge_interface,
        interface=planned.interface,
        addresses=(str(planned.address),),
        remarks=(MISSING,),
    )
    return live or [missing]


def _without(node: Node, others: set[str]) -> Node:
    """Leave out what belongs to other nodes in the same namespace: their addresses, and who listens there."""
    bare = {address.partition("/")[0] for address in others}
    return replace(
        node,
        addresses=tuple(address for address in node.addresses if address not in others),
        listeners=tuple(listener for listener in node.listeners if listener.address not in bare),
    )


def _card(name: str, node: Node, remarks: tuple[str, ...]) -> Card:
    return Card(
        name=name,
        namespace=node.namespace,
        bridge=node.bridge or "",
        port=node.port,
        interface=node.interface,
        addresses=tuple(filter(_is_telling, node.addresses)),
        listeners=node.listeners,
        remarks=remarks if node.up else (*remarks, DOWN),
    )


def _is_telling(address: str) -> bool:
    """Tell whether people would use it; every interface has an IPv6 link-local one."""
    parsed = ip_interface(address)
    return parsed.version == 4 or not parsed.is_link_local  # noqa: PLR2004 - IPv4


# --- text ----------------------------------------------------------------------------------------


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
    lines += [("bridge", " ".join(_words_of(bridge))) for bridge in picture.lab.bridges]
    lines += [("published", publication) for publication in picture.published()]
    lines += [("not shown", text) for text in picture.not_shown()]
    return [Text.assemble((f"{kind:<11}", "bold"), text) for kind, text in lines]


def _words_of(bridge: Bridge) -> list[str]:
    return [bridge.name, *filter(_is_telling, bridge.addresses), *([] if bridge.up else [DOWN])]


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


# --- drawing -------------------------------------------------------------------------------------
#
#   card ---- veth ---- | host               | ---- veth ---- card
#   card ---- veth ---- |   plug bridge plug | ---- veth ---- card
#
# The host is one table with a cell (plug) for each wire, so that the wires run level and never cross.

GRAPH = f"""graph lab {{
  graph [rankdir=LR, bgcolor=white, pad=0.15, nodesep=0.1, ranksep=0.1, dpi={DOTS_PER_INCH}]
  node [shape=plain, fontname="DejaVu Sans,Arial,sans-serif", fontsize=11]
  edge [penwidth=1.6]
"""


def dot_source(picture: Picture) -> str:
    """Write the picture in graphviz's language."""
    lines = [f"  host [label=<{_host(picture)}>]"]
    for group in _groups(picture):
        for plug, card in group.plugs():
            lines += _card_and_wire(plug, card)
    return GRAPH + "\n".join(lines) + "\n}\n"


@dataclass(frozen=True)
class Group:
    """A bridge (or none) and its cards to the left and right of the host."""

    number: int
    words: list[str]
    left: Sequence[Card]
    right: Sequence[Card]

    def plugs(self) -> Iterator[tuple[str, Card]]:
        """Give each card with the name of its cell: which group, which side, which row."""
        for side, cards in (("w", self.left), ("e", self.right)):
            for row, card in enumerate(cards):
                yield f"{side}{self.number}_{row}", card


def _groups(picture: Picture) -> list[Group]:
    bridges = {bridge.name: ["bridge", *_words_of(bridge)] for bridge in picture.lab.bridges}
    titles = {**bridges, "": ["in no bridge"]}
    two_sides = len(picture.cards) > ONE_SIDE
    groups = []
    for number, (name, words) in enumerate(titles.items()):
        cards = [card for card in picture.cards if (card.bridge if card.bridge in bridges else "") == name]
        half = (len(cards) + 1) // 2 if two_sides else 0
        if cards or name:
            groups.append(Group(number, words, cards[:half], cards[half:]))
    return groups


def _host(picture: Picture) -> str:
    facts = [*picture.uplinks(), *(f"published {publication}" for publication in picture.published())]
    facts += [f"not shown: {len(picture.lab.not_shown):,} other rules"] if picture.lab.not_shown else []
    height = LINE_HEIGHT * max((len(_card_lines(card)) for card in picture.cards), default=0) + CARD_MARGIN
    rows = [_cell("<B>host</B>"), *(_cell(for_graphviz(fact)) for fact in facts)]
    rows += [f"<TR><TD>{_bridge(group, height)}</TD></TR>" for group in _groups(picture)]
    return (
        '<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4" STYLE="rounded" BGCOLOR="#F4F4F4">'
        + "".join(rows)
        + "</TABLE>"
    )


def _cell(content: str) -> str:
    return f"<TR><TD>{content}</TD></TR>"


def _bridge(group: Group, height: int) -> str:
    title, *words = map(for_graphviz, group.words)
    name = "<BR/>".join((title, *(f"<B>{word}</B>" for word in words)))
    rows = max(len(group.left), len(group.right), 1)
    middle = f'<TD ROWSPAN="{rows}" WIDTH="130">{name}</TD>'
    return (
        f'<TABLE BORDER="2" COLOR="{BLUE}" CELLBORDER="0" CELLSPACING="0" BGCOLOR="white">'
        + "".join(_plug_row(group, row, height, "" if row else middle) for row in range(rows))
        + "</TABLE>"
    )


def _plug_row(group: Group, row: int, height: int, middle: str) -> str:
    west, east = (f'<TD PORT="{side}{group.number}_{row}" HEIGHT="{height}"></TD>' for side in "we")
    return f"<TR>{west}{middle}{east}</TR>"


def _card_and_wire(plug: str, card: Card) -> list[str]:
    node, side = f"card_{plug}", plug[0]
    ends = [f"{node}:{'e' if side == 'w' else 'w'}", f"host:{plug}:{side}"]
    lines = [f"  {node} [label=<{_card_table(card)}>]"]
    wire = f"wire_{plug}"
    if MISSING in card.remarks:
        style, label = "style=invis", " "
    elif DOWN in card.remarks:
        style, label = f'style=dashed, color="{VERMILION}"', _wire_label(card, side)
    else:
        style, label = "", _wire_label(card, side)
    lines.append(f"  {wire} [label=<{label}>, fontsize=10, margin=0]")
    path = [ends[0], wire, ends[1]] if side == "w" else [ends[1], wire, ends[0]]
    lines.append(f"  {' -- '.join(path)} [{style}]")
    return lines


def _wire_label(card: Card, side: str) -> str:
    names = (card.interface, card.port) if side == "w" else (card.port, card.interface)
    label = for_graphviz(" = ".join(names))
    return f'{label}<BR/><B><FONT COLOR="{VERMILION}">{DOWN}</FONT></B>' if DOWN in card.remarks else label


def _card_table(card: Card) -> str:
    missing = MISSING in card.remarks
    border = f'COLOR="{GREY}" STYLE="dashed"' if missing else 'STYLE="rounded"'
    lines = "<BR/>".join(_card_lines(card))
    if missing:
        lines = f'<FONT COLOR="{GREY}">{lines}</FONT>'
    return (
        f'<TABLE BORDER="2" {border} CELLBORDER="0" CELLPADDING="4" BGCOLOR="white">'
        f'<TR><TD WIDTH="150">{lines}</TD></TR></TABLE>'
    )


def _card_lines(card: Card) -> list[str]:
    lines = [f"<B>{line}</B>" for line in _broken(card.name)]
    lines += _broken(f"namespace {card.namespace}")
    lines += map(for_graphviz, card.addresses or ["no address"])
    if MISSING not in card.remarks:
        lines += map(for_graphviz, card.programs() or ["nothing listens"])
    return lines + [f"<B>{for_graphviz(remark)}</B>" for remark in card.remarks if remark != DOWN]


def _broken(text: str) -> list[str]:
    return [for_graphviz(line) for line in textwrap.wrap(text, LONGEST_LINE)]


def draw(source: str, kind: str, file: Path) -> None:
    """Have graphviz draw it into a file."""
    drawn = subprocess.run(["dot", f"-T{kind}"], input=source.encode(), capture_output=True, check=False)
    if drawn.returncode != 0:
        raise LiveError(f"dot: {drawn.stderr.decode(errors='replace').splitlines()[0]}")
    with draft_of(file) as draft:
        draft.write_bytes(drawn.stdout)


# --- command line --------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; 0 done, 1 refused, 2 bad usage."""
    options = _options(arguments)
    try:
        _check_dot(options)
        need_root()
        table = topology.load()
        policy = load_policy(table) if policy_path(table) else None
        _give(compose(collect(), table), policy, options)
    except (LiveError, TableError, OSError) as error:
        print(f"diagram: {error}", file=sys.stderr)
        return 1
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m monitoring.diagram", description="A picture of the lab.")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it as SVG too")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw it as PNG too")
    parser.add_argument(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="draw the policy too: .svg, .png",
    )
    return parser.parse_args(arguments)


def _check_dot(options: argparse.Namespace) -> None:
    if (options.svg or options.png) and not shutil.which("dot"):
        raise LiveError("`dot` draws SVG and PNG and is missing; sudo apt-get install graphviz")


def _give(picture: Picture, policy: Policy | None, options: argparse.Namespace) -> None:
    if options.json:
        lines = policy_map.edges(policy) if policy else ()
        flows = [
            {
                "source": source,
                "destination": to,
                "id": line.id,
                "verdict": line.verdict,
                "reason": line.reason,
            }
            for source, to, line in lines
        ]
        print(json.dumps({**asdict(picture), "policy": flows}, indent=2))
    else:
        show(picture, Console(highlight=False))
    for kind in ("svg", "png"):
        if file := getattr(options, kind):
            draw(dot_source(picture), kind, file)
    for file in options.policy:
        if policy:
            draw(policy_map.dot_source(policy), file.suffix.lstrip("."), file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
