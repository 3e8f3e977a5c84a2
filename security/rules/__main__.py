"""Every live rule of the lab on one page: what it does, why it exists, and its counters.

Tables on the terminal; one rule a line with tabs between the columns when piped.
The lab's rules are those in chains CNET-*, and the rules that jump to such a chain; those of ip6tables are shown as of
tables `ip6tables TABLE`. Reads only; needs root, as iptables-save does. Exit status 1 with one line on standard error
if there is nothing to show.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich import table as rich_table
from rich.text import Text

from lab.document import as_markdown
from lab.document_files import write_pdf
from lab.escape import for_terminal
from lab.ruleset.iptables import live_ruleset, live_ruleset6
from lab.terminal import Console
from lab.topology import Topology, TopologyError, load
from lab.whole_file import draft_of
from security.rules import described
from security.rules.described import Page, Row


class NothingToShowError(Exception):
    """The page cannot be printed; the message gives the reason in one line."""


def print_page(page: Page, console: Console) -> None:
    """Print the page on a terminal."""
    console.print(Text(f"{described.TITLE}, {page.generated}", style="bold"))
    for name, stations in page.journeys.items():
        console.print(Text.assemble((f"  {name}: ", "cyan"), " -> ".join(stations)))
    console.print(Text(f"  {described.NOTE}", style="dim"))
    for name, rows in page.chains:
        console.print(_terminal_table(name, rows))


def _terminal_table(name: str, rows: Sequence[Row]) -> rich_table.Table:
    title = Text(name, style="bold")
    table = rich_table.Table(title=title, title_justify="left", expand=True, show_lines=True)
    for heading, ratio in zip(described.CELLS, (0, 5, 4, 0, 0, 5), strict=True):
        if ratio:
            table.add_column(heading, ratio=ratio, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.cells), style="" if row.packets else "dim")
    return table


def _live_page(command: str) -> Page:
    if os.geteuid() != 0:
        raise NothingToShowError("reading the live rules needs root; try sudo")
    if not shutil.which("iptables-save"):
        raise NothingToShowError("iptables-save is not installed; run scripts/install.sh up")
    topology = _topology()
    try:
        saved = live_ruleset()
        if topology and topology.has_ipv6:
            six = live_ruleset6()
            saved.rules += six.rules
            saved.unread += six.unread
    except subprocess.CalledProcessError as error:
        raise NothingToShowError(f"{error.cmd[0]} failed: {' '.join(error.stderr.split())}") from None
    if not any(map(described.is_ours, saved.rules)):
        raise NothingToShowError("no rule of the lab is live: sudo make up")
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    return described.page_of(saved, topology, now, command)


def _topology() -> Topology | None:
    try:
        return load()
    except TopologyError as error:
        print(f"rules: addresses have no names: {error}", file=sys.stderr)
        return None


def _show(page: Page, *, wants_json: bool) -> None:
    if wants_json:
        sys.stdout.write(described.as_json(page))
    elif sys.stdout.isatty():
        print_page(page, Console())
    else:
        sys.stdout.write(described.as_lines(page))
    for unread in page.unread:
        line = for_terminal(described.unread_line(unread))
        print(f"rules: cannot read from iptables-save: {line}", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 shown, 1 nothing to show, 2 bad usage."""
    parser = argparse.ArgumentParser(
        prog="rules", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write Markdown to FILE")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="also write a PDF to FILE")
    options = parser.parse_args(arguments)
    try:
        page = _live_page(shlex.join(("python", "-m", "security.rules", *arguments)))
        if options.markdown:
            with draft_of(options.markdown) as draft:
                draft.write_text(as_markdown(described.as_document(page)), encoding="utf-8")
        if options.pdf:
            write_pdf(described.as_document(page), options.pdf)
        _show(page, wants_json=options.json)
    except BrokenPipeError:
        raise  # see lab/as_command.py
    except (NothingToShowError, OSError) as error:
        print(f"rules: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
