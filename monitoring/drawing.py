"""The picture and the policy in graphviz's language: every state is a line style; colour only repeats it.

    card ---- veth ---- | host               | ---- veth ---- card
    card ---- veth ---- |   plug bridge plug | ---- veth ---- card

The host is one table with a cell (plug) for each link, so that the links run level and never cross.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from lab.escape import for_graphviz, quoted_for_graphviz
from lab.topology import Topology
from lab.whole_file import draft_of
from monitoring.colours import BLUE, VERMILION
from monitoring.live import run
from monitoring.picture import DOWN, MISSING, Card, Picture, words_of
from security.policy.model import ACCEPT, HOST, WORLD, Line, Policy

GREY = "#6B6B6B"
ONE_SIDE = 4  # up to 4 nodes are all drawn on one side of the host
MAX_LINE = 26  # characters per line on a card
LINE_HEIGHT, CARD_MARGIN = 15, 26  # points
DOTS_PER_INCH = 192  # twice that of a screen, for print
GRAPH = f"""graph lab {{
  graph [rankdir=LR, bgcolor=white, pad=0.15, nodesep=0.1, ranksep=0.1, dpi={DOTS_PER_INCH}]
  node [shape=plain, fontname="DejaVu Sans,Arial,sans-serif", fontsize=11]
  edge [penwidth=1.6]
"""
_POLICY_GRAPH = """digraph policy {
  graph [rankdir=LR, bgcolor=white, pad=0.2, nodesep=0.35, ranksep=1.6, dpi=160, fontname="DejaVu Sans"]
  node [shape=box, style="rounded,filled", fillcolor=white, color="#0072B2", penwidth=2]
  node [fontname="DejaVu Sans", fontsize=12]
  edge [fontname="DejaVu Sans", fontsize=10, penwidth=1.4]
"""


def dot_source(picture: Picture) -> str:
    """Return the picture in graphviz's language."""
    groups = _groups(picture)
    lines = [f"  host [label=<{_host(picture, groups)}>]"]
    for group in groups:
        for side, cards in (("w", group.left), ("e", group.right)):
            for number, card in cards:
                lines += _card_and_link(number, side, card)
    return GRAPH + "\n".join(lines) + "\n}\n"


@dataclass(frozen=True)
class Group:
    """A bridge (or none), and its cards with their numbers to the left and right of the host."""

    words: list[str]
    left: Sequence[tuple[int, Card]]
    right: Sequence[tuple[int, Card]]


def _groups(picture: Picture) -> list[Group]:
    titles = {bridge.name: ["bridge", *words_of(bridge)] for bridge in picture.lab.bridges}
    members: dict[str, list[tuple[int, Card]]] = {name: [] for name in titles}
    for number, card in enumerate(picture.cards):
        members.setdefault(card.bridge if card.bridge in titles else "", []).append((number, card))
    groups = []
    for name, cards in members.items():
        half = (len(cards) + 1) // 2 if len(picture.cards) > ONE_SIDE else 0
        groups.append(Group(titles.get(name, ["on no bridge"]), cards[:half], cards[half:]))
    return groups


def _host(picture: Picture, groups: Iterable[Group]) -> str:
    facts = [*picture.uplinks(), *(f"published {publication}" for publication in picture.published())]
    facts += [f"rules not shown: {len(picture.lab.not_shown):,}"] if picture.lab.not_shown else []
    height = LINE_HEIGHT * max((len(_card_lines(card)) for card in picture.cards), default=0) + CARD_MARGIN
    cells = ["<B>host</B>", *map(for_graphviz, facts), *(_bridge(group, height) for group in groups)]
    return (
        '<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4" STYLE="rounded" BGCOLOR="#F4F4F4">'
        + "".join(f"<TR><TD>{cell}</TD></TR>" for cell in cells)
        + "</TABLE>"
    )


def _bridge(group: Group, height: int) -> str:
    title, *words = map(for_graphviz, group.words)
    name = "<BR/>".join((title, *(f"<B>{word}</B>" for word in words)))
    plugs = [
        [f'<TD PORT="plug{pair[0]}" HEIGHT="{height}"></TD>' if pair else "<TD></TD>" for pair in row]
        for row in zip_longest(group.left, group.right)
    ] or [["<TD></TD>", "<TD></TD>"]]
    middle = f'<TD ROWSPAN="{len(plugs)}" WIDTH="130">{name}</TD>'
    rows = [f"<TR>{west}{'' if row else middle}{east}</TR>" for row, (west, east) in enumerate(plugs)]
    return (
        f'<TABLE BORDER="2" COLOR="{BLUE}" CELLBORDER="0" CELLSPACING="0" BGCOLOR="white">'
        + "".join(rows)
        + "</TABLE>"
    )


def _card_and_link(number: int, side: str, card: Card) -> list[str]:
    names = (card.interface, card.port) if side == "w" else (card.port, card.interface)
    label, style = for_graphviz(" = ".join(names)), ""
    if MISSING in card.remarks:
        label, style = " ", "style=invis"
    elif DOWN in card.remarks:
        label += f'<BR/><B><FONT COLOR="{VERMILION}">{DOWN}</FONT></B>'
        style = f'style=dashed, color="{VERMILION}"'
    path = [f"card{number}:{'e' if side == 'w' else 'w'}", f"link{number}", f"host:plug{number}:{side}"]
    return [
        f"  card{number} [label=<{_card_table(card)}>]",
        f"  link{number} [label=<{label}>, fontsize=10, margin=0]",
        f"  {' -- '.join(path if side == 'w' else reversed(path))} [{style}]",
    ]


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
    lines = [f"<B>{line}</B>" for line in _wrapped(card.name)]
    lines += _wrapped(f"namespace {card.namespace}")
    lines += map(for_graphviz, card.addresses or ["no address"])
    if MISSING not in card.remarks:
        lines += map(for_graphviz, card.programs() or ["nothing listens"])
    return lines + [f"<B>{for_graphviz(remark)}</B>" for remark in card.remarks if remark != DOWN]


def _wrapped(text: str) -> list[str]:
    return [for_graphviz(line) for line in textwrap.wrap(text, MAX_LINE)]


def policy_edges(policy: Policy) -> Iterator[tuple[str, str, Line]]:
    """Yield (from, to, line), with the names as the table has them."""
    for line in policy.lines:
        sources, destinations = (names.split(",") for names in line.as_written)
        for source in sources:
            for destination in destinations:
                yield source, destination, line


def policy_source(policy: Policy) -> str:
    """Return the policy in graphviz's language: an arrow for each line; dropped flows are dashed and end in a bar."""
    edges = list(policy_edges(policy))
    names = dict.fromkeys(name for source, destination, _ in edges for name in (source, destination))
    lines = [
        f"  {quoted_for_graphviz(name)} [label=<{_policy_label(name, policy.topology)}>]" for name in names
    ]
    lines += [
        f"  {quoted_for_graphviz(source)} -> {quoted_for_graphviz(destination)} [{_edge_attributes(line)}]"
        for source, destination, line in edges
    ]
    return _POLICY_GRAPH + "\n".join(lines) + "\n}\n"


def _policy_label(name: str, topology: Topology) -> str:
    if name in (HOST, WORLD):
        return f"<B>{name}</B>"
    if bridge := topology.bridge(name):
        return f"<B>every node of {for_graphviz(name)}</B><BR/>{bridge.address.network}"
    if name == "any":
        return "<B>any node</B>"
    members = topology.nodes_running(name)
    node = topology.node(name)
    what = [str(node.address.ip)] if node else [f"{member.name} {member.address.ip}" for member in members]
    return "<BR/>".join((f"<B>{for_graphviz(name)}</B>", *what))


def packets_of(line: Line) -> str:
    """Return which packets a line is about: protocols, ports and rate."""
    ports = ",".join(str(first) if first == last else f"{first}:{last}" for first, last in line.ports)
    rate = f"at most {line.rate}" if line.rate else ""
    return " ".join(filter(None, ("/".join(line.protocols), ports, rate)))


def _edge_attributes(line: Line) -> str:
    colour, verdict, shape = BLUE, "", ""
    if line.verdict != ACCEPT:
        colour, verdict, shape = VERMILION, "dropped: ", ", style=dashed, arrowhead=tee"
    label = f"{verdict}{line.id}\\n{packets_of(line)}"
    return f'label="{label}", color="{colour}", fontcolor="{colour}"{shape}'


def draw(source: str, kind: str, file: Path) -> None:
    """Draw `source` with graphviz's dot; `kind` is svg or png. Raises LiveError when dot is missing or fails."""
    with draft_of(file) as draft:
        run("dot", f"-T{kind}", "-o", str(draft), given=source)
