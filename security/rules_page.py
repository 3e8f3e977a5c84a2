"""Every live rule of the lab on one page: what it does, why it is there, and what it has counted.

python -m security.rules_page                     on the terminal; tabs between columns when piped
python -m security.rules_page --json              as JSON
python -m security.rules_page --markdown FILE     also as a Markdown file
python -m security.rules_page --pdf FILE          also as a PDF to print

A rule is the lab's when it is in a chain CNET-*, or jumps to one: a hook. Only reads; needs root, as
iptables-save does. Exit status 1: nothing to show, and why is said in one line.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    Flowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)
from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from scripts.topology import Topology, TopologyError, load
from security.english import meaning
from security.iptables import Rule, Saved, Unread, parse

TITLE = "The live rules of the lab"
OURS, MARK = "CNET-", "cnet: "
NOTE = (
    "A chain of table nat sees the first packet of a connection only; those after it, and the answers, are "
    "translated as that one was."
)
# Where the kernel looks at a packet, in its order (priorities of linux/netfilter_ipv4.h).
_IN = ("raw PREROUTING", "mangle PREROUTING", "nat PREROUTING", "routing decision")
_THROUGH = ("mangle FORWARD", "filter FORWARD", "mangle POSTROUTING", "nat POSTROUTING")
_MADE_HERE = (
    "routing decision",
    "raw OUTPUT",
    "mangle OUTPUT",
    "nat OUTPUT",
    "routing decision",
    "filter OUTPUT",
)
_NODE_OUT = "node -> outside"
JOURNEYS = {
    "outside -> published port": (*_IN, *_THROUGH),
    _NODE_OUT: (*_IN, *_THROUGH),
    "localhost -> published port": (*_MADE_HERE, *_THROUGH[2:]),
}
COLUMNS = ("table", "chain", "position", "packets", "bytes", "meaning", "why", "rule")


class NothingToShow(Exception):
    """The one line that says why there is no page."""


@dataclass(frozen=True)
class Row:
    """One rule on the page."""

    table: str
    chain: str
    position: int
    packets: int
    bytes: int
    meaning: str
    why: str
    rule: str

    @property
    def cells(self) -> tuple[str, ...]:
        """What is below the heading that names table and chain."""
        return (
            str(self.position),
            self.meaning,
            self.why,
            f"{self.packets:,}",
            f"{self.bytes:,}",
            self.rule,
        )


CELLS = ("#", "what it does", "why it is there", "packets", "bytes", "the rule")


@dataclass(frozen=True)
class Page:
    """All that is shown, whatever it is written as."""

    generated: str
    command: str
    journeys: dict[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    unread: tuple[Unread, ...]

    @property
    def chains(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Rows of each chain, under the name of the table and the chain."""
        for name, rows in groupby(self.rows, key=lambda row: f"{row.table} {row.chain}"):
            yield name, tuple(rows)


def page_of(saved: Saved, topology: Topology | None, generated: str = "", command: str = "") -> Page:
    """Explain the rules that are the lab's."""
    rows = tuple(_row(rule, topology) for rule in saved.rules if _is_ours(rule))
    return Page(generated, command, _journeys(saved.rules), rows, saved.unread)


def _is_ours(rule: Rule) -> bool:
    return rule.chain.startswith(OURS) or rule.target.startswith(OURS)


def _row(rule: Rule, topology: Topology | None) -> Row:
    marked = rule.comment.startswith(MARK)
    why = (
        rule.comment.removeprefix(MARK)
        if marked
        else "no reason is given: the rule is not of the lab's scripts"
    )
    place = (rule.table, rule.chain, rule.position)
    return Row(*place, rule.packets, rule.bytes, meaning(rule, topology), why, rule.text)


def _journeys(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    not_to_the_host = [rule for rule in rules if "--dst-type LOCAL" not in " ".join(rule.matches)]
    return {
        name: tuple(_stations(points, not_to_the_host if name == _NODE_OUT else rules))
        for name, points in JOURNEYS.items()
    }


def _stations(points: Sequence[str], rules: Sequence[Rule]) -> Iterator[str]:
    """Each point of a journey at which chains of the lab are called."""
    for point in points:
        table, _, chain = point.partition(" ")
        called = _called_from(chain, [rule for rule in rules if rule.table == table])
        ours = [name for name in called if name.startswith(OURS)]
        if ours:
            yield f"{point}: {', '.join(ours)}"
        elif point == "routing decision":
            yield point


def _called_from(chain: str, rules: Sequence[Rule]) -> list[str]:
    """Chains a packet may meet from here on, in the order of the rules; each once."""
    found: list[str] = []
    waiting = [chain]
    while waiting:
        current = waiting.pop(0)
        if current not in found:
            found.append(current)
            waiting[:0] = [rule.target for rule in rules if rule.chain == current]
    return found[1:]


def as_json(page: Page) -> str:
    """Write the page for programs."""
    return json.dumps(asdict(page), indent=2) + "\n"


def as_lines(page: Page) -> str:
    """Write a line a rule, tabs between the columns, remarks after #."""
    lines = [f"# {TITLE}, {page.generated}, {page.command}"]
    lines += [f"# {name}: {' -> '.join(stations)}" for name, stations in page.journeys.items()]
    lines += [f"# {NOTE}", "\t".join(COLUMNS)]
    lines += ["\t".join(map(str, asdict(row).values())) for row in page.rows]
    return "\n".join(lines) + "\n"


def as_markdown(page: Page) -> str:
    """Write the page as Markdown."""
    lines = [f"# {TITLE}", "", f"Generated on {page.generated} by `{page.command}`.", ""]
    lines += ["What a packet meets, in this order:", ""]
    lines += [f"- **{name}:** {' → '.join(stations)}" for name, stations in page.journeys.items()]
    lines += ["", NOTE]
    for name, rows in page.chains:
        lines += ["", f"## {name}", "", _markdown_row(CELLS), _markdown_row(["---"] * len(CELLS))]
        lines += [_markdown_row([*map(_in_markdown, row.cells[:-1]), f"`{row.cells[-1]}`"]) for row in rows]
    if page.unread:
        lines += ["", "## Lines that could not be read", ""]
        lines += [f"- {_in_markdown(_spoken(unread))}" for unread in page.unread]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _in_markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\*_<>[]" else letter for letter in text)


def _spoken(unread: Unread) -> str:
    return f"line {unread.line}: {unread.reason}: {unread.text}".removesuffix(": ")


def print_page(page: Page, console: Console) -> None:
    """Show the page on a terminal."""
    console.print(Text(f"{TITLE}, {page.generated}", style="bold"))
    for name, stations in page.journeys.items():
        console.print(Text.assemble((f"  {name}: ", "cyan"), " -> ".join(stations)))
    console.print(Text(f"  {NOTE}", style="dim"))
    for name, rows in page.chains:
        console.print(_terminal_table(name, rows))


def _terminal_table(name: str, rows: Sequence[Row]) -> rich_table.Table:
    table = rich_table.Table(
        title=Text(name, style="bold"), title_justify="left", expand=True, show_lines=True
    )
    for heading, ratio in zip(CELLS, (0, 5, 4, 0, 0, 5), strict=True):
        number = ratio == 0
        table.add_column(
            heading,
            justify="right" if number else "left",
            ratio=ratio or None,
            no_wrap=number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.cells), style="" if row.packets else "dim")
    return table


_INK, _FAINT, _BAND = colors.HexColor("#1b2733"), colors.HexColor("#5b6b7a"), colors.HexColor("#e8eef4")
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8, leading=10, textColor=_INK)
_NUMBER = ParagraphStyle("number", _BODY, alignment=2)
_CODE = ParagraphStyle("code", _BODY, fontName="Courier", fontSize=6.5, leading=8)
_HEAD = ParagraphStyle("head", _BODY, fontName="Helvetica-Bold")
_NUMBER_HEAD = ParagraphStyle("number head", _HEAD, alignment=2)
_SECTION = ParagraphStyle("section", _HEAD, fontSize=11, leading=14, spaceBefore=10, spaceAfter=3)
_HEADLINE = ParagraphStyle("headline", _HEAD, fontSize=18, leading=22)
_SMALL = ParagraphStyle("small", _BODY, textColor=_FAINT)
_STYLES = (_NUMBER, _BODY, _BODY, _NUMBER, _NUMBER, _CODE)
_WIDTHS = tuple(width * mm for width in (8, 80, 58, 17, 18, 87))
_PLAIN = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c5d0da")),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
)
_LOOK = TableStyle([("BACKGROUND", (0, 0), (-1, 0), _BAND)], parent=_PLAIN)


def write_pdf(page: Page, path: Path) -> None:
    """Print the page as a PDF, landscape A4, a table a chain."""
    document = SimpleDocTemplate(
        str(path),
        pagesize=landscape(A4),
        title=TITLE,
        leftMargin=12 * mm,
        rightMargin=12 * mm,
        topMargin=12 * mm,
        bottomMargin=15 * mm,
    )
    story = [*_pdf_head(page), *(_pdf_chain(name, rows) for name, rows in page.chains), *_pdf_unread(page)]
    document.build(story, onFirstPage=_pdf_footer, onLaterPages=_pdf_footer)


def _pdf_head(page: Page) -> list[Flowable]:
    made = f"generated on {page.generated} by <font name='Courier'>{escape(page.command)}</font>"
    journeys = [
        [Paragraph(escape(name), _HEAD), Paragraph(" &nbsp;-&gt;&nbsp; ".join(map(escape, stations)), _BODY)]
        for name, stations in page.journeys.items()
    ]
    return [
        Paragraph(TITLE, _HEADLINE),
        Paragraph(made, _SMALL),
        Paragraph("What a packet meets, in this order", _SECTION),
        Table(journeys, colWidths=(50 * mm, 218 * mm), style=_PLAIN),
        Spacer(1, 2 * mm),
        Paragraph(NOTE, _SMALL),
    ]


def _pdf_chain(name: str, rows: Sequence[Row]) -> Flowable:
    head = [
        Paragraph(cell, _NUMBER_HEAD if style is _NUMBER else _HEAD)
        for cell, style in zip(CELLS, _STYLES, strict=True)
    ]
    body = [
        [Paragraph(escape(cell), style) for cell, style in zip(row.cells, _STYLES, strict=True)]
        for row in rows
    ]
    return KeepTogether(
        [
            Paragraph(escape(name), _SECTION),
            Table([head, *body], colWidths=_WIDTHS, style=_LOOK, repeatRows=1),
        ]
    )


def _pdf_unread(page: Page) -> list[Flowable]:
    if not page.unread:
        return []
    return [
        Paragraph("Lines that could not be read", _SECTION),
        *(Paragraph(escape(_spoken(unread)), _CODE) for unread in page.unread),
    ]


def _pdf_footer(canvas: Any, document: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(_FAINT)
    canvas.drawString(document.leftMargin, 8 * mm, TITLE)
    canvas.drawRightString(document.pagesize[0] - document.rightMargin, 8 * mm, f"page {document.page}")


def read_live() -> Saved:
    """Read the rules of this machine, or raise NothingToShow."""
    if os.geteuid() != 0:
        raise NothingToShow("reading the live rules needs root; try sudo")
    if not shutil.which("iptables-save"):
        raise NothingToShow("there is no iptables-save here; scripts/install.sh up")
    done = subprocess.run(
        ["iptables-save", "-c"], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise NothingToShow(f"iptables-save failed: {' '.join(done.stderr.split())}")
    return parse(done.stdout)


def live_page(command: str) -> Page:
    """Make the page of this machine, or raise NothingToShow."""
    saved = read_live()
    if not any(map(_is_ours, saved.rules)):
        raise NothingToShow("no rule of the lab is live; scripts/nat.sh up")
    return page_of(saved, _names(), f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}", command)


def _names() -> Topology | None:
    try:
        return load()
    except TopologyError as error:
        print(f"rules_page: addresses stay without names: {error}", file=sys.stderr)
        return None


def write_files(page: Page, markdown: Path | None, pdf: Path | None) -> None:
    """Write the files that were asked for."""
    for path in filter(None, (markdown, pdf)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if markdown:
        markdown.write_text(as_markdown(page), encoding="utf-8")
    if pdf:
        write_pdf(page, pdf)


def show(page: Page, wants_json: bool) -> None:
    """Write the page to standard output, and what could not be read to standard error."""
    if wants_json:
        sys.stdout.write(as_json(page))
    elif sys.stdout.isatty():
        print_page(page, Console())
    else:
        sys.stdout.write(as_lines(page))
    for unread in page.unread:
        print(f"rules_page: iptables-save, {_spoken(unread)}", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; 0 shown, 1 nothing to show, 2 bad usage."""
    parser = argparse.ArgumentParser(
        prog="rules_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown there too")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="write a PDF there too")
    options = parser.parse_args(arguments)
    try:
        page = live_page(shlex.join(("python", "-m", "security.rules_page", *arguments)))
        write_files(page, options.markdown, options.pdf)
        show(page, options.json)
    except (NothingToShow, OSError) as error:
        print(f"rules_page: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
