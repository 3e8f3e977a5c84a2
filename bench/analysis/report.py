"""Table, ratios and picture of the runs that bench/analysis/measure.py made.

python -m bench.analysis.report CSV PNG PACKETS LINES
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bench.analysis.measure import BEFORE, BEFORE_OF_TEXT, OURS, OURS_OF_TEXT, REGEX, TSHARK
from bench.common.spread import by_round, show, spread
from lab.figures import plain_numbers, plt, save
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


def show_times(runs: pd.DataFrame, packets: int, lines: int) -> None:
    """Print medians with their spread, and ratios by round."""
    rows = {}
    for name, its in runs.groupby("contender", sort=False):
        megabytes = its["megabytes"].iloc[0]
        amount, unit = (lines, "lines") if name in _OF_LINES else (packets, "packets")
        rate = (megabytes or amount) / its["seconds"].median()
        per_second = f"{rate:,.0f} {'MB' if megabytes else unit}"
        rows[name] = (spread(its["seconds"]), per_second, f"{its['peak_mb'].max():.0f}")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["seconds", "per second", "peak MB"])
    show(table.rename_axis("contender"), f"{packets:,} packets, {lines:,} lines of text")
    print(*_ratios(runs), sep="\n")


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
    results = pd.read_csv(sys.argv[1])
    draw(results, Path(sys.argv[2]))
    show_times(results, int(sys.argv[3]), int(sys.argv[4]))
