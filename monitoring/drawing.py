"""The live lab in graphviz's language: every state is a line style; colour only repeats it.

    namespace ---- veth ---- | host               | ---- veth ---- namespace
    namespace ---- veth ---- |   plug bridge plug | ---- veth ---- namespace

A namespace is one box with its nodes and wires. The host is one table with a cell (plug) for each wire, so that the
wires run level and never cross.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from lab.colours import BLUE, FAINT, VERMILION
from lab.escape import for_graphviz
from lab.whole_file import draft_of
from monitoring.live import run
from monitoring.picture import DOWN, MISSING, Card, Picture, words_of

ONE_SIDE = 4  # up to 4 namespaces are all drawn on one side of the host
MAX_LINE = 26  # characters per line in a box
LINE_HEIGHT, MARGIN = 14, 8  # points
DOTS_PER_INCH = 192  # twice that of a screen, for print
GRAPH = f"""graph lab {{
  graph [rankdir=LR, bgcolor=white, pad=0.1, nodesep=0.1, ranksep=0.1, dpi={DOTS_PER_INCH}]
  node [shape=plain, fontname="DejaVu Sans,Arial,sans-serif", fontsize=11]
  edge [penwidth=1.6]
"""


@dataclass(frozen=True)
class Wire:
    """A veth pair with its number in the drawing, and the nodes whose packets it carries."""

    number: int
    cards: Sequence[Card]

    @property
    def card(self) -> Card:
        """Return one of its nodes, which all have the same ends, bridge and state."""
        return self.cards[0]

    @property
    def is_missing(self) -> bool:
        """Return whether none of its nodes is live."""
        return all(MISSING in card.remarks for card in self.cards)

    @property
    def height(self) -> int:
        """Return the height of its nodes in a box, in points."""
        return LINE_HEIGHT * sum(len(_card_lines(card)) for card in self.cards) + MARGIN


@dataclass(frozen=True)
class Box:
    """A namespace with its wires."""

    namespace: str
    wires: Sequence[Wire]

    @property
    def heights(self) -> list[int]:
        """Return the height beside each wire, in points; the heading is beside the first."""
        heading = LINE_HEIGHT * len(_wrapped(f"namespace {self.namespace}"))
        return [wire.height + (0 if number else heading) for number, wire in enumerate(self.wires)]


@dataclass(frozen=True)
class Group:
    """A bridge (or none) with its boxes to the left and right of the host."""

    words: list[str]
    left: Sequence[Box]
    right: Sequence[Box]


def dot_source(picture: Picture) -> str:
    """Return the picture in graphviz's language."""
    groups = _groups(picture)
    lines = [f"  host [label=<{_host(picture, groups)}>]"]
    for group in groups:
        for side, boxes in (("w", group.left), ("e", group.right)):
            for box in boxes:
                lines.append(f"  box{box.wires[0].number} [label=<{_box_table(box)}>]")
                lines += [line for wire in box.wires for line in _link(wire, box, side)]
    return GRAPH + "\n".join(lines) + "\n}\n"


def boxes_of(picture: Picture) -> list[Box]:
    """Return a box for each namespace: the nodes that share both ends of a veth pair share the wire."""
    namespaces: dict[str, dict[tuple[str, str], list[Card]]] = {}
    for card in picture.cards:
        wires = namespaces.setdefault(card.namespace, {})
        wires.setdefault((card.interface, card.port), []).append(card)
    boxes, number = [], 0
    for namespace, found in namespaces.items():
        boxes.append(Box(namespace, [Wire(number + at, cards) for at, cards in enumerate(found.values())]))
        number += len(found)
    return boxes


def _groups(picture: Picture) -> list[Group]:
    titles = {bridge.name: ["bridge", *words_of(bridge)] for bridge in picture.lab.bridges}
    members: dict[str, list[Box]] = {name: [] for name in titles}
    boxes = boxes_of(picture)
    for box in boxes:
        bridge = box.wires[0].card.bridge
        members.setdefault(bridge if bridge in titles else "", []).append(box)
    groups = []
    for name, its in members.items():
        half = (len(its) + 1) // 2 if len(boxes) > ONE_SIDE else 0
        groups.append(Group(titles.get(name, ["on no bridge"]), its[:half], its[half:]))
    return groups


def _host(picture: Picture, groups: Sequence[Group]) -> str:
    facts = [*picture.uplinks(), *(f"published {publication}" for publication in picture.published())]
    facts += [f"rules not shown: {len(picture.lab.not_shown):,}"] if picture.lab.not_shown else []
    cells = ["<B>host</B><BR/>" + "<BR/>".join(map(for_graphviz, facts)), *_bridges(picture, groups)]
    return (
        '<TABLE BORDER="2" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4" STYLE="rounded" BGCOLOR="#F4F4F4">'
        + "".join(f"<TR><TD>{cell}</TD></TR>" for cell in cells)
        + "</TABLE>"
    )


def _bridges(picture: Picture, groups: Iterable[Group]) -> Iterator[str]:
    """Yield the bridges, and between two of them whether the host routes."""
    off = [bridge.name for bridge in picture.lab.bridges if not bridge.forwards]
    words = (
        f"not routed: forwarding is off on {', '.join(off)}" if off else "\u21c5 routed by the host \u21c5"
    )
    for number, group in enumerate(groups):
        if 0 < number < len(picture.lab.bridges):
            yield f'<FONT COLOR="{VERMILION if off else BLUE}"><B>{for_graphviz(words)}</B></FONT>'
        yield _bridge(group)


def _bridge(group: Group) -> str:
    title, *words = map(for_graphviz, group.words)
    wires = sum(len(box.wires) for box in (*group.left, *group.right))
    count = f"{wires} veth pair{'' if wires == 1 else 's'}"
    name = "<BR/>".join((title, *(f"<B>{word}</B>" for word in words), count))
    plugs = [
        [_plug(*pair) if pair else "<TD></TD>" for pair in row]
        for row in zip_longest(_plugs(group.left), _plugs(group.right))
    ] or [["<TD></TD>", "<TD></TD>"]]
    middle = f'<TD ROWSPAN="{len(plugs)}" WIDTH="130">{name}</TD>'
    rows = [f"<TR>{west}{'' if row else middle}{east}</TR>" for row, (west, east) in enumerate(plugs)]
    return (
        f'<TABLE BORDER="2" COLOR="{BLUE}" CELLBORDER="0" CELLSPACING="0" BGCOLOR="white">'
        + "".join(rows)
        + "</TABLE>"
    )


def _plugs(boxes: Iterable[Box]) -> list[tuple[int, int]]:
    """Return number and height of each wire."""
    return [
        (wire.number, height) for box in boxes for wire, height in zip(box.wires, box.heights, strict=True)
    ]


def _plug(number: int, height: int) -> str:
    return f'<TD PORT="plug{number}" HEIGHT="{height + 2 * MARGIN}"></TD>'


def _link(wire: Wire, box: Box, side: str) -> list[str]:
    card = wire.card
    names = (card.interface, card.port) if side == "w" else (card.port, card.interface)
    label, style = for_graphviz(" = ".join(names)), ""
    if wire.is_missing:
        label, style = " ", "style=invis"
    elif DOWN in card.remarks:
        label += f'<BR/><B><FONT COLOR="{VERMILION}">{DOWN}</FONT></B>'
        style = f'style=dashed, color="{VERMILION}"'
    end = "e" if side == "w" else "w"
    path = [f"box{box.wires[0].number}:wire{wire.number}:{end}", f"link{wire.number}"]
    path.append(f"host:plug{wire.number}:{side}")
    return [
        f"  link{wire.number} [label=<{label}>, fontsize=10.5, margin=0]",
        f"  {' -- '.join(path if side == 'w' else reversed(path))} [{style}]",
    ]


def _box_table(box: Box) -> str:
    missing = all(wire.is_missing for wire in box.wires)
    border = f'COLOR="{FAINT}" STYLE="dashed"' if missing else 'STYLE="rounded"'
    heading = "<BR/>".join(_wrapped(f"namespace {box.namespace}"))
    cells = [_wire_cell(wire, height, heading if not number else "") for number, (wire, height) in
             enumerate(zip(box.wires, box.heights, strict=True))]  # fmt: skip
    return (
        f'<TABLE BORDER="2" {border} CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" BGCOLOR="white">'
        f"{''.join(cells)}</TABLE>"
    )


def _wire_cell(wire: Wire, height: int, heading: str) -> str:
    """Return the rows of a wire's nodes: one cell, so that the wire meets its middle."""
    lines = [line for card in wire.cards for line in _card_lines(card)]
    text = "<BR/>".join([f'<FONT COLOR="{FAINT}">{heading}</FONT>', *lines] if heading else lines)
    return f'<TR><TD PORT="wire{wire.number}" WIDTH="150" HEIGHT="{height}">{text}</TD></TR>'


def _card_lines(card: Card) -> list[str]:
    grey = MISSING in card.remarks
    lines = [f"<B>{line}</B>" for line in _wrapped(card.name)]
    programs = [] if grey else card.programs() or ["nothing listens"]
    lines += _wrapped(" ".join(card.addresses or ("no address",))) + _wrapped(" ".join(programs))
    lines += [f"<B>{for_graphviz(remark)}</B>" for remark in card.remarks if remark != DOWN]
    return [f'<FONT COLOR="{FAINT}">{line}</FONT>' for line in lines] if grey else lines


def _wrapped(text: str) -> list[str]:
    return [for_graphviz(line) for line in textwrap.wrap(text, MAX_LINE, break_on_hyphens=False)]


def draw(source: str, kind: str, file: Path) -> None:
    """Draw `source` with graphviz's dot; `kind` is svg or png. Raises LiveError when dot is missing or fails."""
    with draft_of(file) as draft:
        run("dot", f"-T{kind}", "-o", str(draft), given=source)
