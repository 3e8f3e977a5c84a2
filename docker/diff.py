"""The lab's live network and Docker's, side by side, line by line.

python -m docker.diff --lab PID --namespaces NAME,... --project NAME [--json] [--markdown FILE --pdf FILE]

PID is the first process of the sandbox in which the lab runs. Only reads; needs root. Exits with 1 if there is
nothing to compare, or if a line is not explained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.text import Text

from docker.facts import docker_host, lab_host
from docker.purposes import RELATIONS, UNEXPLAINED, Row, by_topic, compare
from lab.document import Document, Rows, Section
from lab.document_files import write
from lab.terminal import Console

TITLE = "The same, two ways: the lab's network and Docker's"
COLOURS = dict(zip(RELATIONS, ("green", "green", "yellow", "yellow", "cyan", "red"), strict=True))
MAX_KINDS = 4  # of lines; of more kinds, three are shown and the others counted

_HOW_TO_READ = (
    "Names and addresses are replaced by what they are (BRIDGE, NETWORK, GATEWAY, NODE), so that lines that do the "
    "same are the same; x3 is how often a line is there."
)


class NothingToCompareError(Exception):
    """One side does not run or cannot be read; as text, one line."""


def rows_of(arguments: argparse.Namespace) -> list[Row]:
    """Read and compare both sides. Raises NothingToCompareError."""
    try:
        lab = lab_host(arguments.lab, arguments.namespaces.split(","))
        docker = docker_host(arguments.project)
        if not docker.inside:
            raise NothingToCompareError("the platform does not run in Docker; make docker-up")
        return compare(lab.lines(), docker.lines())
    except subprocess.CalledProcessError as error:
        raise NothingToCompareError(f"{' '.join(map(str, error.cmd))}: {error.stderr.strip()}") from error


def summary(rows: Sequence[Row]) -> str:
    """Return the number of rows of each relation."""
    count = {relation: sum(row.relation == relation for row in rows) for relation in RELATIONS}
    return ", ".join(f"{number} {relation}" for relation, number in count.items() if number)


def shown_lines(lines: Mapping[str, int]) -> list[str]:
    """Return one side's kinds of lines with their counts; of many kinds, the first few and the number of the others."""
    kinds = sorted(lines.items(), key=lambda item: item[0])
    shown = kinds if len(kinds) <= MAX_KINDS else kinds[: MAX_KINDS - 1]
    texts = [f"{line}  x{count}" if count > 1 else line for line, count in shown]
    if rest := kinds[len(shown) :]:
        texts.append(f"and {sum(count for _, count in rest)} more of {len(rest)} other kinds")
    return texts


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as JSON."""
    found = [
        {
            "topic": row.purpose.topic,
            "purpose": row.purpose.title,
            "relation": row.relation,
            "lab": dict(row.lab),
            "docker": dict(row.docker),
            "why": row.purpose.why,
        }
        for row in rows
    ]
    return json.dumps(found, indent=2) + "\n"


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """Print a block for each purpose."""
    for topic, of_topic in by_topic(rows):
        console.print(Text(f"\n{topic}", style="bold underline"))
        for row in of_topic:
            block = Text(f"\n{row.purpose.title}", style="bold")
            block.append(f"   {row.relation}\n", COLOURS[row.relation])
            for name, lines in (("lab", row.lab), ("Docker", row.docker)):
                for at, text in enumerate(shown_lines(lines)):
                    block.append(f"  {'' if at else name:<8}", "dim").append(f"{text}\n", "none")
            console.print(block.append(f"  {row.purpose.why}", "dim"))
    console.print(Text(f"\n{summary(rows)}", style="bold"))


def _cells(row: Row) -> tuple[str, ...]:
    lab, docker = ("; ".join(shown_lines(lines)) for lines in (row.lab, row.docker))
    return row.purpose.title, row.relation, lab, docker, row.purpose.why


def document_of(rows: Sequence[Row], made: str) -> Document:
    """Return the rows as a document."""
    head = ("purpose", "relation", "the lab", "Docker", "why")
    sections = [Section("In short", [f"{summary(rows)}. {_HOW_TO_READ}"])]
    for topic, of_topic in by_topic(rows):
        cells = [_cells(row) for row in of_topic]
        sections.append(Section(topic, [Rows(head, cells, (14, 9, 28, 28, 30))]))
    return Document(TITLE, made, sections)


def main(argv: Sequence[str]) -> int:
    """Compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="docker/diff.sh", allow_abbrev=False)
    parser.add_argument("--lab", type=int, required=True)
    parser.add_argument("--namespaces", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--pdf", type=Path)
    arguments = parser.parse_args(argv)
    try:
        rows = rows_of(arguments)
    except NothingToCompareError as reason:
        print(f"docker/diff.sh: {reason}", file=sys.stderr)
        return 1
    if arguments.json:
        print(as_json(rows), end="")
    else:
        print_rows(Console(highlight=False, soft_wrap=not sys.stdout.isatty()), rows)
    if arguments.markdown and arguments.pdf:
        made = f"Generated on {datetime.now():%Y-%m-%d %H:%M:%S} by `make docker-diff`."
        write(document_of(rows, made), arguments.markdown, arguments.pdf)
    unexplained = sorted(
        {line for row in rows if row.purpose is UNEXPLAINED for line in (*row.lab, *row.docker)}
    )
    if unexplained:
        text = f"not explained, see it in iptables-save: {'; '.join(unexplained)}"
        print(f"docker/diff.sh: {text}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
