"""Table, ratios and picture of the runs that bench/analysis/measure.py made.

python -m bench.analysis.report CSV PNG PACKETS LINES PEAK PEAK_OF_TEN_TIMES [--json]

The last two are the peak memory in MB when PACKETS, and ten times as many, were read from a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from bench.analysis.measure import BEFORE, BEFORE_OF_TEXT, OURS, OURS_OF_TEXT, REGEX, TSHARK
from bench.common.results_as_json import Object, number, print_document, spread_as_json
from bench.common.spread import by_round, show, spread
from lab.colours import BLUE, VERMILION
from lab.figures import plain_numbers, plt, save

_MEGABYTE = 1024 * 1024  # of ru_maxrss, getrusage(2)
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
    for ours, other, times in ratios(runs):
        print(f"{ours} is {spread(times)} times as fast as {other}")
    print(*_growth(runs), sep="\n")


def ratios(runs: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series[float]]]:
    """Yield each comparison: ours, the other, and how many times as fast ours was in each round."""
    seconds = by_round(runs, "seconds")
    for other, ours in _COMPARED:
        if other in seconds:
            yield ours, other, seconds[other] / seconds[ours]


def _growth(runs: pd.DataFrame) -> Iterator[str]:
    sized = runs[runs["megabytes"] > 0].assign(per_megabyte=lambda run: run["seconds"] / run["megabytes"])
    if sized["megabytes"].nunique() > 1:
        times = by_round(sized, "per_megabyte", "megabytes")
        small, large = sized["megabytes"].min(), sized["megabytes"].max()
        yield (
            f"with -X, a megabyte of {large:.0f} takes {spread(times[large] / times[small])} times as long as one of "
            f"{small:.0f}: 1 is linear"
        )


def rows(runs: pd.DataFrame) -> Iterator[Object]:
    """Yield each contender for JSON."""
    for name, its in runs.groupby("contender", sort=False):
        size = number(its["megabytes"].iloc[0])
        yield {
            "contender": name,
            "reads": "lines" if name in _OF_LINES or size else "packets",
            "text_megabytes": size or None,
            "seconds": spread_as_json(its["seconds"]),
            "peak_bytes": int(its["peak_mb"].max() * _MEGABYTE),
        }


def print_json(runs: pd.DataFrame, packets: int, lines: int, peaks: Sequence[int]) -> None:
    """Print the results as JSON."""
    faster = [
        {"contender": ours, "than": other, "times": spread_as_json(times)}
        for ours, other, times in ratios(runs)
    ]
    pipe = [
        {"packets": packets * times, "peak_bytes": peak * _MEGABYTE}
        for times, peak in zip((1, 10), peaks, strict=True)
    ]
    print_document(
        runs["round"].max(), rows(runs), packets=packets, lines=lines, faster=faster, from_a_pipe=pipe
    )


def main(data: str, image: str, *arguments: str) -> None:
    """Draw the picture; print the table and the ratios, or with --json a JSON document."""
    runs = pd.read_csv(data)
    draw(runs, Path(image))
    packets, lines, *peaks = (int(text) for text in arguments if text != "--json")
    if "--json" in arguments:
        print_json(runs, packets, lines, peaks)
        return
    show_times(runs, packets, lines)
    print(
        f"peak memory, from a pipe: {peaks[0]} MB for {packets:,} packets, {peaks[1]} MB for {10 * packets:,}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
