"""The comparison as a picture: each way's throughput, latency and CPU with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab.figures import plt, save
from monitoring.colours import BLUE, ORANGE

if TYPE_CHECKING:
    from bench.compare.report import Figure, Results

_WHOLE = 100  # from here on without decimals
_SHOWN = (0, 1, 3, 5)  # of the figures: throughput, p50, p99, CPU of the machine


def draw(results: Results, figures: Sequence[Figure], path: Path) -> None:
    """Write the PNG."""
    shown = [figures[at] for at in _SHOWN]
    height = 1.6 + 0.42 * len(results.contenders)
    sheet, axes = plt.subplots(1, len(shown), figsize=(14, height), sharey=True, layout="constrained")
    for at, (axis, figure) in enumerate(zip(axes, shown, strict=True)):
        for row, contender in enumerate(results.contenders):
            found = results.interval(contender, figure)
            colour = BLUE if contender.startswith("lab") else ORANGE
            axis.barh(row, found.mean, color=colour, height=0.62)
            low, high = found.mean - max(0.0, found.low), found.high - found.mean
            axis.errorbar(found.mean, row, xerr=[[low], [high]], color="black", capsize=3, linewidth=1)
            axis.annotate(
                f"{found.mean:,.0f}" if found.mean >= _WHOLE else f"{found.mean:.3g}",
                (found.high, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        axis.set_title(f"{figure.name}, {figure.unit}\n({figure.load})", fontsize=10)
        axis.set_yticks(range(len(results.contenders)), results.contenders)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_xlim(
            0, 1.18 * max(results.interval(contender, figure).high for contender in results.contenders)
        )
        if at == 0:
            axis.invert_yaxis()
    sheet.suptitle(
        "Namespaces (blue) and Docker (orange): GET /api/products; lines are 95 % intervals", fontsize=11
    )
    save(sheet, path)
