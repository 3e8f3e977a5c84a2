"""Time and peak memory against the size of a text: time should be a straight line, memory level."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from lab.figures import plain_numbers, plt, save
from monitoring.colours import BLUE, VERMILION


def draw(points: Sequence[tuple[float, float, float]], path: Path) -> None:
    """Write the PNG of runs: megabytes, seconds, peak memory in MB."""
    figure, grid = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sizes = sorted({size for size, _, _ in points})
    for axes, column, label, colour in (
        (grid[0], 1, "seconds", BLUE),
        (grid[1], 2, "peak memory, MB", VERMILION),
    ):
        axes.plot(
            [point[0] for point in points], [point[column] for point in points], "o", color=colour, ms=4
        )
        middle = [statistics.median(point[column] for point in points if point[0] == size) for size in sizes]
        axes.plot(sizes, middle, color=colour, linewidth=1.4)
        axes.set_xlabel("MB of text that tcpdump -X printed")
        axes.set_title(label, loc="left")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.1 * max(point[column] for point in points))
        plain_numbers(axes.yaxis)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
