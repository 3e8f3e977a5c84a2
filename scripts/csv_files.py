"""CSV files: each is whole, or as it was before, and no cell of it is a formula for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from scripts.escape import for_csv
from scripts.whole_file import draft_of


@dataclass(frozen=True)
class Table:
    """A CSV file: its name without ending, its columns, its rows."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Writer:
    """Writes rows to a stream that is open already, as a log is."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = csv.writer(stream, lineterminator="\n")

    def row(self, cells: Iterable[object]) -> None:
        """Write a row."""
        self._lines.writerow([for_csv(cell) for cell in cells])

    def rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write rows."""
        for cells in rows:
            self.row(cells)


def write(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write them, and give their paths."""
    written = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        write_rows(path, table.columns, table.rows)
        written.append(path)
    return written


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write one file."""
    with (
        draft_of(path) as draft,
        draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        lines = Writer(stream)
        lines.row(columns)
        lines.rows(rows)
