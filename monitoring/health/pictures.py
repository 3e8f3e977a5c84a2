"""The picture of the health report: a panel for each service, as wide as a page and never higher than one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from lab.escape import for_picture
from lab.figures import plt, save
from monitoring.colours import BLUE, VERMILION
from monitoring.health.log import Logged

MOST_PANELS = 20  # more would leave no room for their names
HEIGHT_MM = 110  # on the page
_WIDTH_INCHES, _HIGHEST_INCHES = 10.6, HEIGHT_MM / 25.4  # between the margins of a page
_PANEL_INCHES, _AXIS_INCHES, _LETTER_INCHES = 0.5, 0.7, 0.065


def draw(services: Mapping[str, Sequence[Logged]], path: Path) -> None:
    """Draw the latencies of at most MOST_PANELS services, with a cross for each check without an answer."""
    height = min(_PANEL_INCHES * len(services) + _AXIS_INCHES, _HIGHEST_INCHES)
    figure, all_axes = plt.subplots(
        len(services), 1, figsize=(_WIDTH_INCHES, height), sharex=True, squeeze=False
    )
    # matplotlib's own layouts give up on so many low panels
    names = {name: for_picture(name) for name in services}
    left = _LETTER_INCHES * (4 + max(map(len, names.values())))
    figure.subplots_adjust(
        left=left / _WIDTH_INCHES, right=0.93, top=1 - 0.1 / height, bottom=0.4 / height, hspace=0.3
    )
    for axes, (name, checks) in zip(all_axes[:, 0], services.items(), strict=True):
        axes.plot(*_line(checks), ".-", color=BLUE, ms=3, lw=1)
        down = [check.elapsed for check in checks if not check.up]
        axes.plot(down, [0] * len(down), "x", color=VERMILION, ms=4, clip_on=False)
        slowest = max((check.milliseconds for check in checks if check.up), default=0.0)
        axes.set_ylim(0, 1.1 * max(slowest, 0.1))
        axes.set_yticks([slowest] if len(down) < len(checks) else [])
        axes.yaxis.set_major_formatter("{x:,.1f} ms")
        axes.yaxis.tick_right()
        axes.set_ylabel(names[name], rotation=0, ha="right", va="center", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set_xlabel("seconds since the first check; right: the slowest answer", fontsize=8)
    save(figure, path)


def _line(checks: Sequence[Logged]) -> tuple[list[float], list[float]]:
    """Give the points of a line that is broken where there was no answer, and where the log has a break."""
    points = [(check.elapsed, check.milliseconds if check.up else math.nan) for check in checks[:1]]
    for before, check in pairwise(checks):
        if before.part != check.part:
            points.append((check.elapsed, math.nan))
        points.append((check.elapsed, check.milliseconds if check.up else math.nan))
    return [point[0] for point in points], [point[1] for point in points]
