"""The soak as a picture: a small panel for each process, its memory over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from faults.chaos.growth import WARM_UP_SECONDS, growth_of
from lab.figures import plt, save
from monitoring.colours import BLUE, VERMILION

if TYPE_CHECKING:
    from faults.chaos.soak import Series

COLUMNS = 6
LEAST_RANGE_MB = 4.0  # so that noise does not look like growth
WARM_UP = "#e8e4da"


def draw(series: Sequence[Series], end: float, path: Path) -> None:
    """Write the PNG; what is at fault is red, the warm-up grey."""
    rows = math.ceil(len(series) / COLUMNS)
    figure, panels = plt.subplots(
        rows, COLUMNS, figsize=(18, 1.9 * rows + 0.6), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(series) :]:
        panel.set_axis_off()
    for panel, one in zip(panels.flat, series, strict=False):
        draw_process(panel, one, end)
    title = "Memory (PSS, MB) of each process over minutes. Grey: warm-up, not judged. Red: grew or ended."
    figure.suptitle(title, x=0.01, ha="left")
    save(figure, path, dpi=110)


def draw_process(axes: Axes, one: Series, end: float) -> None:
    """Draw one process."""
    growth = growth_of(one.seconds, one.megabytes)
    slope = "" if growth is None else f", {growth:+.2f} a minute"
    middle = (max(one.megabytes) + min(one.megabytes)) / 2
    half = max(LEAST_RANGE_MB, max(one.megabytes) - min(one.megabytes)) * 0.6
    colour = VERMILION if one.faults(end) else BLUE
    axes.axvspan(0, WARM_UP_SECONDS / 60, color=WARM_UP, linewidth=0, zorder=0)
    axes.plot([second / 60 for second in one.seconds], one.megabytes, color=colour, linewidth=1.3)
    axes.set_ylim(max(0, middle - half), middle + half)
    axes.set_xlim(0, max(end / 60, 0.1))
    axes.set_title(
        f"{one.title}\n{one.megabytes[-1]:.1f} MB{slope}; {one.descriptors[-1]:.0f} descriptors",
        fontsize=7.5,
        loc="left",
        color=colour if colour == VERMILION else "black",
    )
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
