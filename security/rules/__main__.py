"""Every live rule of the lab on one page: what it does, why it is there, and what it has counted.

python -m security.rules                     on the terminal; tabs between columns when piped
python -m security.rules --json              as JSON
python -m security.rules --markdown FILE     also as a Markdown file
python -m security.rules --pdf FILE          also as a PDF to print

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
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rich import table as rich_table
from rich.text import Text

from lab.escape import code_for_markdown, for_markdown, for_terminal
from lab.ruleset.iptables import Saved, live_ruleset
from lab.terminal import Console
from lab.topology import Topology, TopologyError, load
from lab.whole_file import draft_of
from security.rules.described import CELLS, NOTE, TITLE, Page, Row, is_ours, page_of, spoken
from security.rules.pdf import write_pdf

__all__ = [
    "COLUMNS",
    "Page",
    "as_json",
    "as_lines",
    "as_markdown",
    "main",
    "page_of",
    "print_page",
    "write_pdf",
]

COLUMNS = ("table", "chain", "position", "packets", "bytes", "meaning", "why", "rule")


class NothingToShow(Exception):
    """The one line that says why there is no page."""


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
    lines = [f"# {TITLE}", "", f"Generated on {page.generated} by {code_for_markdown(page.command)}.", ""]
    lines += ["What a packet meets, in this order:", ""]
    lines += [f"- **{name}:** {' → '.join(stations)}" for name, stations in page.journeys.items()]
    lines += ["", NOTE]
    for name, rows in page.chains:
        lines += ["", f"## {name}", "", _markdown_row(CELLS), _markdown_row(["---"] * len(CELLS))]
        lines += [
            _markdown_row([*map(for_markdown, row.cells[:-1]), code_for_markdown(row.cells[-1])])
            for row in rows
        ]
    if page.unread:
        lines += ["", "## Lines that could not be read", ""]
        lines += [f"- {for_markdown(spoken(unread))}" for unread in page.unread]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


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


def read_live() -> Saved:
    """Read the rules of this machine, or raise NothingToShow."""
    if os.geteuid() != 0:
        raise NothingToShow("reading the live rules needs root; try sudo")
    if not shutil.which("iptables-save"):
        raise NothingToShow("there is no iptables-save here; scripts/install.sh up")
    try:
        return live_ruleset()
    except subprocess.CalledProcessError as error:
        raise NothingToShow(f"{error.cmd[0]} failed: {' '.join(error.stderr.split())}") from None


def live_page(command: str) -> Page:
    """Make the page of this machine, or raise NothingToShow."""
    saved = read_live()
    if not any(map(is_ours, saved.rules)):
        raise NothingToShow("no rule of the lab is live: sudo make up")
    return page_of(saved, _names(), f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}", command)


def _names() -> Topology | None:
    try:
        return load()
    except TopologyError as error:
        print(f"rules_page: addresses stay without names: {error}", file=sys.stderr)
        return None


def write_files(page: Page, markdown: Path | None, pdf: Path | None) -> None:
    """Write the files that were asked for."""
    if markdown:
        with draft_of(markdown) as draft:
            draft.write_text(as_markdown(page), encoding="utf-8")
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
        print(for_terminal(f"rules_page: iptables-save, {spoken(unread)}"), file=sys.stderr)


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
        page = live_page(shlex.join(("python", "-m", "security.rules", *arguments)))
        write_files(page, options.markdown, options.pdf)
        show(page, options.json)
    except (NothingToShow, OSError) as error:
        print(f"rules_page: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
