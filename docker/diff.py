"""The lab's live network and Docker's, side by side, line by line.

python -m docker.diff --lab PID --project NAME [--json] [--report PATH]    TOPOLOGY is the lab's table

PID is the first process of the sandbox in which the lab runs; the report is PATH.md and PATH.pdf. It only reads, and
needs root. Exit status 1 if there is nothing to compare, or if a line is not explained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path

from rich.text import Text

from docker.facts import docker_host, lab_host
from docker.purposes import RELATIONS, UNEXPLAINED, Row, compare
from lab.document import Document, Rows, Section
from lab.document_files import write
from lab.terminal import Console
from lab.topology import load

TITLE = "The same, two ways: the lab's network and Docker's"
COLOURS = dict(zip(RELATIONS, ("green", "green", "yellow", "yellow", "cyan", "red"), strict=True))
MAX_KINDS = 4  # show at most 4 kinds of lines; if there are more, show 3 and count the rest

_HOW_TO_READ = (
    "Names and addresses are replaced by what they are (BRIDGE, NETWORK, GATEWAY, NODE), so that lines that do the "
    "same are the same; x3 is how often a line is there."
)


def live_rows(pid: int, project: str) -> list[Row]:
    """Read and compare both sides; exit if one does not run or cannot be read."""
    try:
        docker = docker_host(project)
        if not docker.inside:
            sys.exit("docker/diff.sh: the platform does not run in Docker; make docker-up")
        return compare(lab_host(pid, {node.namespace for node in load().nodes}).lines(), docker.lines())
    except subprocess.CalledProcessError as error:
        sys.exit(f"docker/diff.sh: {' '.join(map(str, error.cmd))}: {error.stderr.strip()}")


def summary(rows: Sequence[Row]) -> str:
    """Return the number of rows of each relation."""
    number = Counter(row.relation for row in rows)
    return ", ".join(f"{number[relation]} {relation}" for relation in RELATIONS if number[relation])


def by_topic(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each topic."""
    for topic, of_topic in groupby(rows, key=lambda row: row.topic):
        yield topic, list(of_topic)


def shown_lines(lines: Mapping[str, int]) -> list[str]:
    """Return one side's kinds of lines with their counts; of many kinds, the first few and the number of the others."""
    kinds = sorted(lines.items())
    shown = kinds if len(kinds) <= MAX_KINDS else kinds[: MAX_KINDS - 1]
    texts = [f"{line}  x{count}" if count > 1 else line for line, count in shown]
    if rest := kinds[len(shown) :]:
        texts.append(f"and {sum(count for _, count in rest)} more of {len(rest)} other kinds")
    return texts


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as JSON."""
    unexplained = sum(row.relation == UNEXPLAINED for row in rows)
    return json.dumps({"rows": [asdict(row) for row in rows], "unexplained": unexplained}, indent=1)


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """Print a block for each purpose."""
    for topic, of_topic in by_topic(rows):
        console.print(Text(f"\n{topic}", style="bold underline"))
        for row in of_topic:
            block = Text(f"\n{row.purpose}", style="bold")
            block.append(f"   {row.relation}\n", COLOURS[row.relation])
            for name, lines in (("lab", row.lab), ("Docker", row.docker)):
                for at, text in enumerate(shown_lines(lines)):
                    block.append(f"  {'' if at else name:<8}", "dim").append(f"{text}\n", "none")
            console.print(block.append(f"  {row.why}", "dim"))
    console.print(Text(f"\n{summary(rows)}", style="bold"))


def document_of(rows: Sequence[Row], made: str) -> Document:
    """Return the rows as a document."""
    head = ("purpose", "relation", "the lab", "Docker", "why")
    sections = [Section("In short", [f"{summary(rows)}. {_HOW_TO_READ}"])]
    for topic, of_topic in by_topic(rows):
        cells = [
            (row.purpose, row.relation, *map("\n".join, map(shown_lines, (row.lab, row.docker))), row.why)
            for row in of_topic
        ]
        sections.append(Section(topic, [Rows(head, cells, (12, 9, 30, 30, 30), code=("the lab", "Docker"))]))
    return Document(TITLE, made, sections)


def main(argv: Sequence[str]) -> int:
    """Compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="docker/diff.sh", allow_abbrev=False)
    parser.add_argument("--lab", type=int, required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args(argv)
    rows = live_rows(arguments.lab, arguments.project)
    if arguments.json:
        print(as_json(rows))
    else:
        print_rows(Console(highlight=False, soft_wrap=not sys.stdout.isatty()), rows)
    if arguments.report:
        made = f"Generated on {datetime.now():%Y-%m-%d %H:%M:%S} by `make docker-diff`."
        files = (arguments.report.with_suffix(suffix) for suffix in (".md", ".pdf"))
        write(document_of(rows, made), *files)
    unexplained = sorted(
        line for row in rows if row.relation == UNEXPLAINED for line in {*row.lab, *row.docker}
    )
    if unexplained:
        text = f"not explained, see it in iptables-save: {'; '.join(unexplained)}"
        print(f"docker/diff.sh: {text}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
