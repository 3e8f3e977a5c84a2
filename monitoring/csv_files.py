"""CSV files: each is whole, or as it was before."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """A CSV file: its name without ending, its columns, its rows."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def write(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write them, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path, draft = folder / f"{table.name}.csv", folder / f".{table.name}.csv"
        with draft.open("w", newline="", encoding="utf-8") as stream:
            lines = csv.writer(stream, lineterminator="\n")
            lines.writerow(table.columns)
            lines.writerows(table.rows)
        draft.replace(path)
        written.append(path)
    return written
