"""Medians of repeated rounds with their spread, from a CSV with a row for each run; tables of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pandas as pd
from rich.table import Table

from lab.terminal import Console

_WIDTH = 132


def by_round(runs: pd.DataFrame, figure: str, contender: str = "contender") -> pd.DataFrame:
    """Return one figure of all runs: a row for each round, a column for each contender in the order of the runs."""
    order = runs[contender].drop_duplicates()
    return runs.pivot_table(index="round", columns=contender, values=figure)[order]


def spread(values: Iterable[float], digits: int = 2, unit: str = "") -> str:
    """Format the median, the least and the greatest value: "1.50 s (1.20-1.90)"; "-" without values."""
    known = pd.Series(values, dtype=float).dropna()
    if known.empty:
        return "-"
    middle, least, most = (f"{value:,.{digits}f}" for value in (known.median(), known.min(), known.max()))
    return f"{middle}{unit} ({least}-{most})"


def show(table: pd.DataFrame, title: str) -> None:
    """Print a table of texts; the first column is the table's index."""
    printed = Table(title=title, title_justify="left")
    printed.add_column(str(table.index.name), overflow="fold")
    for heading in table.columns:
        printed.add_column(heading, justify="right", overflow="fold")
    for row in table.itertuples():
        printed.add_row(*map(str, row))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(printed)
