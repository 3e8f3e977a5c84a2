"""The comparison as a picture: each way's throughput, latency and CPU with 95 % intervals."""

from __future__ import annotations

from pathlib import Path

from bench.compare.results import FIGURES, Results
from lab.figures import plt, save
from monitoring.colours import BLUE, ORANGE

_WHOLE = 100  # from here on without decimals
_SHOWN = [FIGURES[at] for at in (0, 1, 3, 5)]  # throughput, p50, p99, CPU of the machine


def draw(results: Results, path: Path) -> None:
    """Write the PNG."""
    ways = results.contenders
    size = (14, 1.6 + 0.42 * len(ways))
    sheet, axes = plt.subplots(1, len(_SHOWN), figsize=size, sharey=True, layout="constrained")
    for axis, figure in zip(axes, _SHOWN, strict=True):
        found = [results.interval(way, figure) for way in ways]
        for row, (way, one) in enumerate(zip(ways, found, strict=True)):
            error = [[one.value - max(0.0, one.low)], [one.high - one.value]]
            axis.barh(row, one.value, color=BLUE if way.startswith("lab") else ORANGE, height=0.62)
            axis.errorbar(one.value, row, xerr=error, color="black", capsize=3, linewidth=1)
            text = f"{one.value:,.0f}" if one.value >= _WHOLE else f"{one.value:.3g}"
            axis.annotate(text, (one.high, row), xytext=(5, 0), textcoords="offset points", va="center")
        axis.set_title(f"{figure.name}, {figure.unit}\n({figure.load})", fontsize=10)
        axis.set_yticks(range(len(ways)), ways)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", alpha=0.3)
        axis.spines["left"].set_visible(False)
        axis.set_xlim(0, 1.18 * max(one.high for one in found))
    axes[0].invert_yaxis()
    title = "Namespaces (blue) and Docker (orange): GET /api/products; lines are 95 % intervals"
    sheet.suptitle(title, fontsize=11)
    save(sheet, path)
