"""The confusion table of `make diagnose`: for each kind of cause, which kinds it named first, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from lab.csv_files import write_rows
from lab.terminal import Console
from security.diagnose.finding import RANK

NOTHING = "none"  # no finding at all
Confusion = Counter[tuple[str, str]]  # kind of the cause, kind of the first finding
_RANK: Mapping[str, int] = {kind.value: rank for kind, rank in RANK.items()}


def kinds_of(confusion: Confusion) -> tuple[list[str], list[str]]:
    """Return the kinds of the rows and of the columns, in diagnose's rank."""
    causes, named = zip(*confusion, strict=True) if confusion else ((), ())
    return _sorted(set(causes)), _sorted(set(named))


def _sorted(kinds: set[str]) -> list[str]:
    return sorted(kinds, key=lambda kind: (_RANK.get(kind, len(_RANK)), kind))


def write(confusion: Confusion, path: Path) -> None:
    """Write the table as CSV: a row for each kind of cause, a column for each kind that was named first."""
    causes, named = kinds_of(confusion)
    write_rows(
        path, ["cause", *named], [[cause, *(confusion[cause, of] for of in named)] for cause in causes]
    )


def show(confusion: Confusion, console: Console) -> None:
    """Print how often the first finding had the cause's kind, and each kind that was named instead."""
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column("kind of the cause")
    table.add_column("right", justify="right")
    table.add_column("named instead")
    for cause in kinds_of(confusion)[0]:
        others = {of: count for (kind, of), count in confusion.items() if kind == cause != of}
        total = sum(others.values()) + confusion[cause, cause]
        words = ", ".join(f"{of} {count}" for of, count in sorted(others.items()))
        table.add_row(cause, f"{confusion[cause, cause]} of {total}", words)
    right = sum(count for (cause, of), count in confusion.items() if cause == of)
    console.print(table)
    console.print(f"diagnose named the right kind first for {right} of {confusion.total()} faults")
