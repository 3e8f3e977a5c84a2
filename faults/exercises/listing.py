"""List the exercises with the learner's progress.

python -m faults.exercises.listing [--json] [--report FOLDER]

--report writes FOLDER/exercises.html and FOLDER/exercises.csv, for an instructor.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from faults.exercises.catalogue import CatalogueError, load_catalogue
from faults.exercises.progress import ProgressError, attempts_file, learner, read_attempts
from faults.exercises.report import write_report
from faults.exercises.rows import Row, rows_of, score_of
from faults.exercises.texts import duration
from lab.terminal import Console


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the list, a block for each level."""
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column(f"Level {rows[0].level}" if rows else "", header_style="bold")
    for name in ("points", "best", "time"):
        table.add_column(name, justify="right", header_style="dim")
    level = rows[0].level if rows else 0
    for row in rows:
        if row.level != level:
            level = row.level
            table.add_row()
            table.add_row(Text(f"Level {level}", "bold"))
        progress = row.progress
        best = Text(str(progress.best_score), "green") if progress.solved else Text(row.state, "yellow")
        time = duration(progress.best_seconds) if progress.solved else ""
        table.add_row(row.title, str(row.points), best, time)
    console.print(table)
    solved = sum(row.progress.solved for row in rows)
    points = sum(row.points for row in rows)
    console.print(f"\n{solved} of {len(rows)} solved, {score_of(rows)} of {points} points.")
    if rows:
        console.print(f'Begin one: make exercise NAME="{rows[0].title}", or LEVEL=2')


def as_json(rows: Sequence[Row], learner_name: str) -> str:
    """Return the list as JSON."""
    exercises = []
    for row in rows:
        known = asdict(row) | asdict(row.progress)
        unknown = {} if row.progress.solved else {"best_score": None, "best_seconds": None}
        del known["progress"]
        exercises.append(known | unknown | {"last": row.progress.last or None})
    content = {"learner": learner_name, "score": score_of(rows), "exercises": exercises}
    return json.dumps(content, indent=1)


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="exercises", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        rows = rows_of(load_catalogue(), read_attempts(attempts_file()))
    except (CatalogueError, ProgressError) as error:
        print(f"exercises: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(as_json(rows, learner()))
    else:
        show(rows, Console())
    if options.report:
        paths = write_report(rows, learner(), options.report)
        print(f"also: {' and '.join(map(str, paths))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
