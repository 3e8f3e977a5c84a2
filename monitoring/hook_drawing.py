"""Every hook that a packet of the lab may meet, in the kernel's order, with the live rules of the lab at each.

      2 a namespace  1 outside
    |  ebtables       |   |              3 the host
    |  PREROUTING         |            |   OUTPUT   |
    |  bridged or routed  |--> INPUT   |            |
    |  FORWARD            |            |            |
    |  POSTROUTING        |<-----------'

Three lines are the three ways to a published port. Positions are fixed, so the picture is the same each time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lab.colours import BLUE, COLOURS, VERMILION
from lab.escape import for_graphviz
from monitoring.hook_ways import Ways
from security.rules.hooks import Hook

_FONT, _LINE, _PADDING, _GAP, _CHARACTER = 9.8, 10.6, 9.0, 4.0, 5.4  # points; on A4 this font has 9
_GREEN, _GREY, _BLACK = COLOURS[2], "#6B6B6B", "#222222"
_FRAMES, _PACKETS, _STEP = (
    "#DDEBF5",
    "#FFFFFF",
    "#F0F0F0",
)  # backgrounds: hooks for frames, for packets; steps
_CONNTRACK, _KEEP, _ROUTE = "conntrack: which connection?", "conntrack: store it", "routing decision"
_WHERE = "where to? this host, a port of the bridge, or another network"
_COUNTED = "rules: of the lab, with those of the chains that the hook calls"
_REPLIES = "A reply meets no rule of table nat: conntrack translates it back."
_ON_BRIDGE = ("ebtables broute BROUTING", "ebtables nat PREROUTING")
_PREROUTING = ("raw PREROUTING", _CONNTRACK, "mangle PREROUTING", "nat PREROUTING")
_FORWARD = ("mangle FORWARD", "filter FORWARD", "security FORWARD")
_POSTROUTING = ("mangle POSTROUTING", "nat POSTROUTING", _KEEP)
_IN = (
    "ebtables filter INPUT",
    "mangle INPUT",
    "filter INPUT",
    "security INPUT",
    "nat INPUT",
    "a program listens",
)
_OUT = (
    _ROUTE,
    "raw OUTPUT",
    _CONNTRACK,
    "mangle OUTPUT",
    "nat OUTPUT",
    _ROUTE,
    "filter OUTPUT",
    "security OUTPUT",
)
_INTO_BRIDGE = ("ebtables nat OUTPUT", "ebtables filter OUTPUT", "ebtables nat POSTROUTING")
_GRAPH = f"""digraph hooks {{
  graph [layout=neato, inputscale=72, splines=line, outputorder=nodesfirst, bgcolor=white, pad=0.08, dpi=192]
  node [shape=plain, fontname="DejaVu Sans,Arial,sans-serif", fontsize={_FONT}]
  edge [penwidth=2.4, arrowhead=none, arrowsize=0.7]
"""


@dataclass(frozen=True)
class _Column:
    """A column of boxes: from x to x, and the room for the ways' lines before and after the text."""

    left: float
    right: float
    before: float = 0
    after: float = 0

    @property
    def characters(self) -> int:
        """The number of characters in a line of text."""
        return min(58, int((self.right - self.left - self.before - self.after - 8) / _CHARACTER))


_TO_HOST = _Column(0, 126)
_TRUNK = _Column(136, 356, after=62)
_BRIDGE = _Column(136, 309, after=14)  # ends before the lanes of packets that are routed
_FROM_HOST = _Column(366, 508, before=20)
_EXIT = _Column(313, 508, before=46)
_WHOLE = _Column(136, 508)
_NAMESPACE, _OUTSIDE, _ROUTED, _LOCALHOST, _OUTPUT = 300, 318, 331, 348, 377  # x of the ways' lines


def hooks_source(hooks: Mapping[str, Hook], ways: Ways) -> str:
    """Return the picture in graphviz's language."""
    sheet = _Sheet(hooks)
    _add_legend(sheet)
    y = sheet.add_text(ways.namespace, _BRIDGE, 0, _STEP)
    entry = sheet.add_text(ways.outside, _EXIT, 0, _STEP)
    y = sheet.add_column(_ON_BRIDGE, _BRIDGE, y, _FRAMES)
    y = sheet.add_text(f"br_netfilter {ways.netfilter}", _BRIDGE, y, _FRAMES)
    y = sheet.add_column(_PREROUTING, _TRUNK, y)
    y = sheet.add_text(_WHERE, _TRUNK, y, _STEP)
    below = sheet.add_column(_IN, _TO_HOST, sheet.top_of(_WHERE))
    sheet.add_text(_REPLIES, _TO_HOST, below - 4 * _GAP, "white", border="white")
    y = sheet.add_column(("ebtables filter FORWARD",), _BRIDGE, y, _FRAMES)
    y = sheet.add_column(_FORWARD, _TRUNK, y)
    y = sheet.add_column(("ebtables nat POSTROUTING",), _BRIDGE, y, _FRAMES)
    y = sheet.add_column(_POSTROUTING, _TRUNK, y)
    y = sheet.add_column(_INTO_BRIDGE, _EXIT, y, _FRAMES)
    sheet.add_text(ways.target, _WHOLE, y, _FRAMES)
    sheet.add_column(_OUT, _FROM_HOST, sheet.add_text(ways.localhost, _FROM_HOST, entry - 2 * _GAP, _STEP))
    sheet.add_arrow(
        [(_TRUNK.left, sheet.middle_of(_WHERE)), (_TO_HOST.right, sheet.middle_of(_WHERE))], _GREY
    )
    if ways.target:
        _add_ways(sheet, ways)
    return _GRAPH + "\n".join(sheet.statements) + "\n}\n"


def _add_legend(sheet: _Sheet) -> None:
    y = sheet.add_text("Hooks run from top to bottom:", _TO_HOST, 0, "white", border="white")
    y = sheet.add_text("for frames (ebtables)", _TO_HOST, y, _FRAMES, border=_BLACK)
    y = sheet.add_text("for packets (iptables)", _TO_HOST, y, _PACKETS, border=_BLACK)
    y = sheet.add_text("a step, no hook", _TO_HOST, y, _STEP)
    for text in ("\u25cf an address is translated here", _COUNTED, "grey text: no rule of the lab"):
        y = sheet.add_text(text, _TO_HOST, y, "white", border="white")


def _add_ways(sheet: _Sheet, ways: Ways) -> None:
    """Draw the three ways to the published port; a dot is a hook that translates an address of it."""
    end = sheet.top_of(ways.target)
    where, joins = sheet.middle_of(_WHERE), sheet.middle_of("mangle POSTROUTING")
    namespace = [(_NAMESPACE, sheet.bottom_of(ways.namespace))]
    if not ways.is_bridged:
        namespace += [(_NAMESPACE, where + 4), (_ROUTED, where - 4)]
    lane = namespace[-1][0]
    sheet.add_arrow([*namespace, (lane, end)], VERMILION)
    sheet.add_dots("nat PREROUTING", _NAMESPACE, VERMILION)
    if ways.is_bridged:  # hairpin; a packet that is routed keeps its source
        sheet.add_dots("nat POSTROUTING", lane, VERMILION)
    sheet.add_arrow([(_OUTSIDE, sheet.bottom_of(ways.outside)), (_OUTSIDE, end)], BLUE)
    sheet.add_dots("nat PREROUTING", _OUTSIDE, BLUE)
    start = (_OUTPUT, sheet.bottom_of(ways.localhost))
    sheet.add_arrow([start, (_OUTPUT, joins), (_LOCALHOST, joins), (_LOCALHOST, end)], _GREEN)
    sheet.add_dots("nat OUTPUT", _OUTPUT, _GREEN)
    sheet.add_dots("nat POSTROUTING", _LOCALHOST, _GREEN)
    for name, x, text, colour in (
        ("mangle PREROUTING", _NAMESPACE - 9, "\u2461", VERMILION),
        ("mangle PREROUTING", _OUTSIDE + 9, "\u2460", BLUE),
        ("mangle FORWARD", _OUTPUT + 9, "\u2462", _GREEN),
        (_KEEP, lane + (9 if lane == _ROUTED else -9), "\u2461", VERMILION),
        (_KEEP, _OUTSIDE + (-9 if lane == _ROUTED else 9), "\u2460", BLUE),
        (_INTO_BRIDGE[0], _LOCALHOST + 9, "\u2462", _GREEN),
    ):
        sheet.add_number(text, x, sheet.middle_of(name), colour)


@dataclass
class _Sheet:
    """The statements of the drawing so far, and where its boxes are; y grows upwards."""

    hooks: Mapping[str, Hook]
    statements: list[str] = field(default_factory=list)
    boxes: dict[str, tuple[float, float]] = field(default_factory=dict)  # upper and lower y, by name or text
    points: int = 0

    def top_of(self, text: str) -> float:
        return self.boxes[text][0]

    def bottom_of(self, text: str) -> float:
        return self.boxes[text][1]

    def middle_of(self, text: str) -> float:
        return sum(self.boxes[text]) / 2

    def add_column(self, names: Sequence[str], column: _Column, y: float, colour: str = _PACKETS) -> float:
        """Draw boxes from y downwards; return the y below them."""
        for name in names:
            hook = self.hooks.get(name)
            colours = (colour if hook else _STEP, _BLACK if hook and hook.rules else "#BBBBBB")
            y = self._add_box(name, _lines(hook, name, column.characters), column, y, colours)
        return y

    def add_text(self, text: str, column: _Column, y: float, colour: str, border: str = _GREY) -> float:
        """Draw a box with wrapped text, none for an empty one; return the y below it."""
        if not text:
            return y
        lines = [for_graphviz(line) for line in textwrap.wrap(text, column.characters)]
        return self._add_box(text, lines, column, y, (colour, border))

    def _add_box(
        self, name: str, lines: Sequence[str], column: _Column, y: float, colours: tuple[str, str]
    ) -> float:
        colour, border = colours
        height = _LINE * len(lines) + _PADDING
        width = column.right - column.left
        room = f'<TD WIDTH="{column.before:g}"></TD>' if column.before else ""
        text = "".join(f'{line}<BR ALIGN="LEFT"/>' for line in lines)
        self.statements.append(
            f'  box{len(self.statements)} [pos="{column.left + width / 2:g},{y - height / 2:g}!", label=<'
            f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="{border}" BGCOLOR="{colour}"'
            f' FIXEDSIZE="TRUE" WIDTH="{width:g}" HEIGHT="{height:g}"><TR>{room}<TD ALIGN="LEFT" BALIGN="LEFT">'
            f"{text}</TD></TR></TABLE>>]"
        )
        self.boxes[name] = (y, y - height)
        return y - height - _GAP

    def add_arrow(self, places: Iterable[tuple[float, float]], colour: str) -> None:
        """Draw a line through points that ends in an arrow."""
        names = [self._add_point(x, y, 0.01, colour) for x, y in places]
        for number, pair in enumerate(pairwise(names), start=2):
            head = "normal" if number == len(names) else "none"
            self.statements.append(f'  {" -> ".join(pair)} [color="{colour}", arrowhead={head}]')

    def add_dots(self, name: str, x: float, colour: str) -> None:
        """Draw a dot on the line at x if the hook translates addresses."""
        if self.hooks[name].translates:
            self._add_point(x, self.middle_of(name), 0.13, colour)

    def add_number(self, text: str, x: float, y: float, colour: str) -> None:
        """Write the number of a way beside its line: colour alone would not tell the ways apart."""
        self.points += 1
        self.statements.append(
            f'  number{self.points} [label="{text}", fontcolor="{colour}", fontsize=13, pos="{x:g},{y:g}!"]'
        )

    def _add_point(self, x: float, y: float, inches: float, colour: str) -> str:
        self.points += 1
        name = f"point{self.points}"
        self.statements.append(
            f'  {name} [shape=point, width={inches}, color="{colour}", pos="{x:g},{y:g}!"]'
        )
        return name


def _lines(hook: Hook | None, name: str, characters: int) -> list[str]:
    """Return the lines of a box: the hook, the chains of the lab that it calls, the number of rules and matches."""
    if not hook:
        return [for_graphviz(line) for line in textwrap.wrap(name, characters)]
    if not hook.rules:
        return [f'<FONT COLOR="{_GREY}">{for_graphviz(name)}</FONT>']
    texts = [", ".join(hook.calls), f"{hook.rules:,} rules, {hook.matches:,} matches"]
    rest = [line for text in texts for line in textwrap.wrap(text, characters, break_on_hyphens=False)]
    return [f"<B>{for_graphviz(name)}</B>", *map(for_graphviz, rest)]
