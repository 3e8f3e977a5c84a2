"""The policy as a picture: a block for each destination, and an arrow for each line of the policy that leads to it.

    sources ------- id ------> | destination |     sources ------- id ------> | destination |
                 packets       |  addresses  |                  packets

Blocks stand in two columns, at fixed positions: no arrow crosses another one, or a text.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.colours import BLUE, FAINT, INK, VERMILION
from lab.escape import for_graphviz, for_html
from lab.topology import Topology
from security.policy.model import ACCEPT, ANY, HOST, WORLD, Line, Policy

FONT, _LINE, _PADDING, _GAP = 10, 13, 8, 14  # points
_SOURCE, _ARROW, _CARD, _BETWEEN = 118, 152, 122, 22  # widths in points
_BLOCK = _SOURCE + _ARROW + _CARD
_CHARACTERS = 19  # of a source or a destination in a line
_NOTE = (
    "In each block, the first arrow that matches a packet decides. Replies are allowed; what no arrow allows is "
    "dropped (default)."
)
_GRAPH = f"""digraph policy {{
  graph [layout=neato, inputscale=72, splines=line, bgcolor=white, pad=0.12, dpi=160]
  node [shape=plain, fontname="DejaVu Sans,Arial,sans-serif", fontsize={FONT}, fontcolor="{INK}"]
  edge [penwidth=1.6, arrowsize=0.8]
"""


def policy_edges(policy: Policy) -> Iterator[tuple[str, str, Line]]:
    """Yield (from, to, line), with the names as the table has them."""
    for line in policy.lines:
        sources, destinations = (names.split(",") for names in line.as_written)
        for source in sources:
            for destination in destinations:
                yield source, destination, line


def packets_of(line: Line) -> str:
    """Return which packets a line is about: protocols, ports and rate."""
    ports = ",".join(str(first) if first == last else f"{first}:{last}" for first, last in line.ports)
    rate = f"at most {line.rate}" if line.rate else ""
    return " ".join(filter(None, ("/".join(line.protocols), ports, rate)))


def policy_source(policy: Policy) -> str:
    """Return the policy in graphviz's language; dropped flows are dashed and end in a bar."""
    sheet, lowest = _Sheet(), 0.0
    for column, blocks in enumerate(_columns(_blocks(policy))):
        y = 0.0
        for block in blocks:
            y = sheet.add_block(block, column * (_BLOCK + _BETWEEN), y)
        lowest = min(lowest, y)
    for note in (_NOTE, *map(_limit, policy.limits)):
        lowest = sheet.add_note(note, lowest)
    return _GRAPH + "\n".join(sheet.statements) + "\n}\n"


def _columns(blocks: Sequence[_Block]) -> tuple[Sequence[_Block], Sequence[_Block]]:
    """Return the blocks in two columns of the most equal heights, in order."""
    heights = [_height(block) for block in blocks]
    half = min(range(len(blocks) + 1), key=lambda at: max(sum(heights[:at]), sum(heights[at:])))
    return blocks[:half], blocks[half:]


@dataclass(frozen=True)
class _Block:
    """A destination as lines of text, and the lines of the policy that lead to it, each with its sources."""

    title: Sequence[str]
    arrows: Sequence[tuple[Sequence[str], Line]]


def _blocks(policy: Policy) -> list[_Block]:
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    for line in policy.lines:
        for destination in line.as_written[1].split(","):
            lines[destination].append(line)
    return [
        _Block(
            _title(name, policy.topology),
            [(_names(line.as_written[0], policy.topology), line) for line in its],
        )
        for name, its in lines.items()
    ]


def _names(written: str, topology: Topology) -> list[str]:
    texts = (_wrapped(_name(name, topology)) for name in written.split(","))
    return [line for lines in texts for line in lines]


def _name(name: str, topology: Topology) -> str:
    if name == ANY:
        return "anyone"
    return f"all of {name}" if topology.bridge(name) else name


def _title(name: str, topology: Topology) -> list[str]:
    if name in (HOST, WORLD):
        return [f"<B>{name}</B>"]
    if bridge := topology.bridge(name):
        return [f"<B>all of {for_graphviz(name)}</B>", str(bridge.address.network)]
    if name == ANY:
        return ["<B>all nodes</B>"]
    node, members = topology.node(name), topology.nodes_running(name)
    what = [str(node.address.ip)] if node else [f"{member.name} {member.address.ip}" for member in members]
    return [*(f"<B>{line}</B>" for line in _wrapped(name)), *map(for_graphviz, what)]


def _wrapped(text: str) -> list[str]:
    return [for_graphviz(line) for line in textwrap.wrap(text, _CHARACTERS, break_on_hyphens=False)]


def _limit(line: Line) -> str:
    sources = line.as_written[0].replace(",", ", ")
    return f"Each node of {sources} has at most {line.max_connections:,} connections at once ({line.id})."


def _row_heights(block: _Block) -> list[int]:
    return [_LINE * max(len(sources), len(_below(line)) * 2) + _PADDING for sources, line in block.arrows]


def _below(line: Line) -> list[str]:
    """Return the text below an arrow; `at most` begins a line of its own."""
    packets, least, rate = packets_of(line).partition(" at most ")
    return [packets, f"at most {rate}"] if least else [packets]


def _height(block: _Block) -> int:
    return max(sum(_row_heights(block)), _LINE * len(block.title) + _PADDING) + _GAP


@dataclass
class _Sheet:
    """The statements of the drawing so far; y grows upwards."""

    statements: list[str] = field(default_factory=list)

    def add_block(self, block: _Block, x: float, y: float) -> float:
        """Draw a block downwards from y; return the y below it."""
        height, rows = _height(block) - _GAP, _row_heights(block)
        right = x + _SOURCE + _ARROW
        self._add_box(block.title, right, y, height)
        top = y - (height - sum(rows)) / 2
        for (sources, line), row in zip(block.arrows, rows, strict=True):
            self._add_arrow(sources, line, x, top - row / 2)
            top -= row
        return y - height - _GAP

    def add_note(self, text: str, y: float) -> float:
        """Write a text below everything; return the y below it."""
        words = f'<FONT COLOR="{FAINT}">{for_html(text)}</FONT>'
        self._add_text([words], 0, y - _LINE / 2, 2 * _BLOCK + _BETWEEN)
        return y - _LINE

    def _add_box(self, lines: Sequence[str], x: float, y: float, height: float) -> None:
        look = f'BORDER="2" STYLE="rounded" COLOR="{INK}" BGCOLOR="#F4F7FA"'
        self._add(_table("<BR/>".join(lines), _CARD, height, look), x + _CARD / 2, y - height / 2)

    def _add_arrow(self, sources: Sequence[str], line: Line, x: float, y: float) -> None:
        colour, verdict, look = BLUE, "", "arrowhead=normal"
        if line.verdict != ACCEPT:
            colour, verdict, look = VERMILION, "dropped: ", "style=dashed, arrowhead=tee"
        left, right = x + _SOURCE, x + _SOURCE + _ARROW
        self._add_text(sources, x, y, _SOURCE - 6, "RIGHT")
        ends = [self._add("", end, y, "shape=point, width=0.01, style=invis") for end in (left, right - 2)]
        self.statements.append(f'  {" -> ".join(ends)} [color="{colour}", {look}]')
        title = f'<FONT COLOR="{colour}"><B>{for_graphviz(verdict + line.id)}</B></FONT>'
        self._add_text([title], left, y + 7.5, _ARROW - 10)
        below = [for_graphviz(text) for text in _below(line)]
        self._add_text(below, left, y - 1.5 - _LINE * len(below) / 2, _ARROW - 10)

    def _add_text(self, lines: Sequence[str], x: float, y: float, width: float, align: str = "LEFT") -> None:
        text = "".join(f'{line}<BR ALIGN="{align}"/>' for line in lines)
        self._add(_table(text, width, _LINE * len(lines), 'BORDER="0"', align), x + width / 2, y)

    def _add(self, label: str, x: float, y: float, look: str = "") -> str:
        name = f"item{len(self.statements)}"
        content = look or f"label=<{label}>"
        self.statements.append(f'  {name} [{content}, pos="{x:g},{y:g}!"]')
        return name


def _table(text: str, width: float, height: float, look: str, align: str = "CENTER") -> str:
    """Return a box of a fixed size; without one graphviz would centre it by the width of its text."""
    size = f'FIXEDSIZE="TRUE" WIDTH="{width:g}" HEIGHT="{height:g}"'
    return (
        f'<TABLE {look} CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" {size}>'
        f'<TR><TD {size} ALIGN="{align}" BALIGN="{align}">{text}</TD></TR></TABLE>'
    )
