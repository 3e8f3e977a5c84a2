"""What each optimisation of the images is worth: the table that docker/sizes.sh measured, for people.

python -m docker.sizes NAME CSV    a table on the terminal; the same as Markdown and PDF beside the CSV
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.table import Table

from lab import csv_files
from lab.document import Document, Rows, Section, write
from lab.terminal import Console
from lab.unread import Unread

STEPS = {
    "everything": "one stage, the whole folder services/, the packages of all services",
    "own": "this service's folder and requirements alone",
    "no-cache": "pip --no-cache-dir: what was fetched is not kept (nothing to gain where wheels come with the context)",
    "two-stages": "a stage that installs, another that runs: wheels, pip's own writing and bytecode stay behind",
    "final": "bytecode back in, compiled once at the build: bigger, and quicker to start (service.Dockerfile)",
}
_HEADINGS = ("step", "over the base", "change", "what was done")
Measured = list[tuple[str, str, float]]


def read(path: Path, unread: Unread) -> Measured:
    """Read what was measured: figure, image, value in bytes or seconds. Raises CsvError for another file."""

    def figure_of(row: Mapping[str, str]) -> tuple[str, str, float]:
        return row["figure"], row["image"], float(row["value"])

    return list(csv_files.read(path, ("figure", "image", "value"), figure_of, unread))


def rows_of(measured: Measured) -> list[tuple[str, str, str, str]]:
    """Give a row a step: its size over the base, and what it is worth."""
    sizes = {image: value for figure, image, value in measured if figure == "size"}
    rows, before = [], None
    for step, meaning in STEPS.items():
        size = sizes[step] - sizes["base"]
        change = "" if before is None else f"{_megabytes(size - before):+.1f} MB"
        rows.append((step, f"{_megabytes(size):.1f} MB", change, meaning))
        before = size
    return rows


def sentences(name: str, measured: Measured) -> list[str]:
    """Say what the figures mean."""
    sizes = {image: value for figure, image, value in measured if figure == "size"}
    services = {image: value for figure, image, value in measured if figure == "service"}
    first, last, base = sizes["everything"] - sizes["base"], sizes["final"] - sizes["base"], sizes["base"]
    own = sum(value - base for value in services.values())
    slow, quick = (
        statistics.median(value for figure, image, value in measured if (figure, image) == ("loading", step))
        for step in ("two-stages", "final")
    )
    return [
        f"{name} adds {_megabytes(last):.1f} MB to a base of {_megabytes(base):.1f} MB; built without a thought it "
        f"would add {_megabytes(first):.1f} MB, {first / last:.1f} times as much.",
        f"The base is on disk and on the wire once: all {len(services)} services together need "
        f"{_megabytes(base):.1f} + {_megabytes(own):.1f} MB.",
        f"A read-only container cannot keep bytecode. Loading the service takes {slow:.2f} s without it and "
        f"{quick:.2f} s with it, at each start; that is what its megabytes buy.",
        "Taking pip out makes no image smaller, for it lies in the base's layer: it is done so that nothing in the "
        "container can install anything.",
    ]


def _megabytes(count: float) -> float:
    return count / 1e6


def main(argv: Sequence[str]) -> int:
    """Write all three."""
    name, path = argv[0], Path(argv[1])
    try:
        unread = Unread()
        measured = read(path, unread)
        rows, said = rows_of(measured), sentences(name, measured)
    except (OSError, LookupError, ValueError, ArithmeticError) as error:
        print(
            f"docker/sizes.py: {path} cannot be read: {error!r}; docker/sizes.sh writes it", file=sys.stderr
        )
        return 1
    table = Table(*_HEADINGS, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    said = [*said, *unread.sentences()]
    for sentence in said:
        console.print(f"\n{sentence}")
    made = f"Measured on {datetime.now():%Y-%m-%d %H:%M} by `make docker-sizes`, for {name}; 1 MB is 1,000,000 bytes."
    sections = [Section("In short", said), Section("Step by step", [Rows(_HEADINGS, rows, (2, 2, 2, 9))])]
    write(
        Document("What each optimisation of the images is worth", made, sections),
        path.with_suffix(".md"),
        path.with_suffix(".pdf"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
