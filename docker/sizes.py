"""The saving of each optimisation of the images: the table that docker/sizes.sh measured, as a report.

python -m docker.sizes NAME CSV    a table on the terminal; the same as Markdown and PDF beside the CSV
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from rich.table import Table

from lab.document import Document, Rows, Section
from lab.document_files import write
from lab.terminal import Console

STEPS = {
    "everything": "one stage, the whole folder services/, the packages of all services",
    "own": "this service's folder and requirements alone",
    "no-cache": "pip --no-cache-dir: downloads are not kept (saves nothing if wheels come with the context)",
    "two-stages": "a stage that installs, another that runs: wheels, pip's files and bytecode stay behind",
    "final": "bytecode compiled once at the build: bigger, and quicker to start (service.Dockerfile)",
}
_HEADINGS = ("step", "over the base", "change", "what was done")
Measured = pd.Series  # values in MB or seconds, by figure and image


def read(path: Path) -> Measured:
    """Return the measurements of docker/sizes.sh."""
    values = pd.read_csv(path, index_col=["figure", "image"])["value"].astype(float)
    seconds = values.index.get_level_values("figure") == "loading"
    return values.where(seconds, values / 1e6)


def rows_of(measured: Measured) -> list[tuple[str, str, str, str]]:
    """Return a row for each step: the size above the base image, and the saving."""
    over_base = measured["size"][list(STEPS)] - measured["size"]["base"]
    changes = ["", *(f"{change:+.1f} MB" for change in over_base.diff()[1:])]
    texts = zip(over_base.items(), changes, STEPS.values(), strict=True)
    return [(str(step), f"{size:.1f} MB", change, meaning) for (step, size), change, meaning in texts]


def sentences(name: str, measured: Measured) -> list[str]:
    """Return the results as sentences."""
    sizes, services = measured["size"], measured["service"]
    base = sizes["base"]
    first, last, own = sizes["everything"] - base, sizes["final"] - base, (services - base).sum()
    loading = measured["loading"].groupby("image").median()
    return [
        f"{name} adds {last:.1f} MB to a base of {base:.1f} MB; without any optimisation it would add {first:.1f} MB, "
        f"{first / last:.1f} times as much.",
        f"The base is stored and transferred once: all {len(services)} services together need "
        f"{base:.1f} + {own:.1f} MB.",
        f"A read-only container cannot keep bytecode. Loading the service takes {loading['two-stages']:.2f} s "
        f"without it and {loading['final']:.2f} s with it, at each start; its megabytes buy that time.",
        "Removing pip makes no image smaller, because it is in the base's layer: it is removed so that nothing in the "
        "container can install anything.",
    ]


def main(argv: Sequence[str]) -> int:
    """Show the table, and write Markdown and PDF."""
    name, path = argv[0], Path(argv[1])
    measured = read(path)
    rows, results = rows_of(measured), sentences(name, measured)
    table = Table(*_HEADINGS, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table, *(f"\n{sentence}" for sentence in results), sep="\n")
    made = f"Measured on {datetime.now():%Y-%m-%d %H:%M} by `make docker-sizes`, for {name}; 1 MB is 1,000,000 bytes."
    sections = [Section("In short", results), Section("Step by step", [Rows(_HEADINGS, rows, (2, 2, 2, 9))])]
    document = Document("What each optimisation of the images saves", made, sections)
    write(document, path.with_suffix(".md"), path.with_suffix(".pdf"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
