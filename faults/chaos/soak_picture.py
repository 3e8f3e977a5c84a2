"""The soak as a picture: a small panel for each process, its memory over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from faults.chaos.growth import WARM_UP_SECONDS, growth_of, problems_of
from lab.colours import BLUE, SPAN, VERMILION
from lab.figures import PAGE_WIDTH, plt, save, set_title

COLUMNS = 4
MIN_RANGE_MB = 4.0  # minimum height of the axis: noise must not look like growth


def draw(processes: Mapping[str, pd.DataFrame], end: float, path: Path) -> None:
    """Write the PNG: a process that grew or ended is red, the warm-up grey."""
    rows = math.ceil(len(processes) / COLUMNS)
    figure, panels = plt.subplots(
        rows, COLUMNS, figsize=(PAGE_WIDTH, 1.7 * rows + 0.6), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(processes) :]:
        panel.set_axis_off()
    for panel, (title, samples) in zip(panels.flat, processes.items(), strict=False):
        draw_process(panel, title, samples, end)
    heading = "Memory of each process (PSS, MB) over minutes. Grey: warm-up, not judged; red: grew or ended"
    set_title(figure, heading)
    save(figure, path, dpi=110)


def draw_process(axes: Axes, title: str, samples: pd.DataFrame, end: float) -> None:
    """Draw one process."""
    memory = samples["pss_mb"]
    growth = growth_of(memory)
    slope = "" if growth is None else f", {growth:+.2f} MB/min"
    middle = (memory.max() + memory.min()) / 2
    half = max(MIN_RANGE_MB, memory.max() - memory.min()) * 0.6
    is_bad = any(problems_of(title, samples, end))
    axes.axvspan(0, WARM_UP_SECONDS / 60, color=SPAN, linewidth=0, zorder=0)
    axes.plot(memory.index / 60, memory, color=VERMILION if is_bad else BLUE, linewidth=1.3)
    axes.set_ylim(max(0, middle - half), middle + half)
    axes.set_xlim(0, max(end / 60, 0.1))
    axes.set_title(
        f"{title}\n{memory.iloc[-1]:.1f} MB{slope}; {samples['descriptors'].iloc[-1]} files",
        fontsize=9,
        color=VERMILION if is_bad else "black",
    )
