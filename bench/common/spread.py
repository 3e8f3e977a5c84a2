"""Medians of repeated rounds with their spread, from a CSV with a row for each run."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd


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
