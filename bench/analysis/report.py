"""Table, ratios and picture of the runs that bench/analysis/measure.py made.

python -m bench.analysis.report CSV PNG PACKETS LINES
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.table import Table

from bench.analysis.measure import BEFORE, BEFORE_OF_TEXT, OURS, OURS_OF_TEXT, REGEX, TSHARK
from bench.common.spread import by_round, spread
from lab.figures import plain_numbers, plt, save
from lab.terminal import Console
from monitoring.colours import BLUE, VERMILION

_OF_LINES = (OURS_OF_TEXT, REGEX, BEFORE_OF_TEXT)
_COMPARED = ((TSHARK, OURS), (REGEX, OURS_OF_TEXT), (BEFORE, OURS), (BEFORE_OF_TEXT, OURS_OF_TEXT))


def draw(runs: pd.DataFrame, path: Path) -> None:
    """Write the PNG: time and peak memory against the size of a text with -X."""
    sized = runs[runs["megabytes"] > 0]
    medians = sized.groupby("megabytes")[["seconds", "peak_mb"]].median()
    figure, grid = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    columns = (("seconds", "seconds", BLUE), ("peak_mb", "peak memory, MB", VERMILION))
    for axes, (column, label, colour) in zip(grid, columns, strict=True):
        axes.plot(sized["megabytes"], sized[column], "o", color=colour, ms=4)
        axes.plot(medians.index, medians[column], color=colour, linewidth=1.4)
        axes.set_xlabel("MB of text that tcpdump -X printed")
        axes.set_title(label)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.1 * sized[column].max())
        plain_numbers(axes.yaxis)
    save(figure, path)


def show(runs: pd.DataFrame, packets: int, lines: int) -> None:
    """Print medians with their spread, and ratios by round."""
    table = Table("contender", title=f"{packets:,} packets, {lines:,} lines of text", title_justify="left")
    for heading in ("seconds", "per second", "peak MB"):
        table.add_column(heading, justify="right")
    for name, its in runs.groupby("contender", sort=False):
        megabytes = its["megabytes"].iloc[0]
        amount, unit = (lines, "lines") if name in _OF_LINES else (packets, "packets")
        rate = (megabytes or amount) / its["seconds"].median()
        row = (spread(its["seconds"]), f"{rate:,.0f} {'MB' if megabytes else unit}")
        table.add_row(str(name), *row, f"{its['peak_mb'].max():.0f}")
    Console().print(table)
    for line in _ratios(runs):
        print(line)


def _ratios(runs: pd.DataFrame) -> Iterator[str]:
    seconds = by_round(runs, "seconds")
    for other, ours in _COMPARED:
        if other in seconds:
            yield f"{ours} is {spread(seconds[other] / seconds[ours])} times as fast as {other}"
    sized = runs[runs["megabytes"] > 0].assign(per_megabyte=lambda run: run["seconds"] / run["megabytes"])
    if sized["megabytes"].nunique() > 1:
        times = by_round(sized, "per_megabyte", "megabytes")
        small, large = sized["megabytes"].min(), sized["megabytes"].max()
        yield (
            f"with -X, a megabyte of {large:.0f} takes {spread(times[large] / times[small])} times as long as one of "
            f"{small:.0f}: 1 is linear"
        )


if __name__ == "__main__":
    found = pd.read_csv(sys.argv[1])
    draw(found, Path(sys.argv[2]))
    show(found, int(sys.argv[3]), int(sys.argv[4]))
