"""The pictures of a capture: bars with their numbers written on them, and the rate over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from monitoring.colours import BLUE, VERMILION
from monitoring.traffic.tables import Tables
from scripts.figures import plt, save

_MOST_BARS = 15


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Write the PNGs."""
    pairs = [
        (f"{source} \u2192 {destination}", packets) for source, destination, packets in tables.service_pairs()
    ]
    figures = {
        "protocol_distribution": _bars("Packets by protocol", tables.protocols()),
        "top_service_pairs": _bars("Packets from service to service", pairs),
        "top_talkers": _bars("Packets sent by each service", tables.talkers()),
        "traffic_rate": _rate(tables.rates()),
    }
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        save(figure, path)
        paths.append(path)
    return paths


def _bars(title: str, counted: Sequence[tuple[str, int]]) -> Figure:
    shown, rest = list(counted[:_MOST_BARS]), counted[_MOST_BARS:]
    if rest:
        shown.append((f"{len(rest)} more", sum(count for _, count in rest)))
    whole = sum(count for _, count in counted) or 1
    figure, axes = plt.subplots(figsize=(10, 1.4 + 0.34 * max(len(shown), 1)), layout="constrained")
    bars = axes.barh([name for name, _ in shown], [count for _, count in shown], color=BLUE)
    labels = [f"{count:,}  ({100 * count / whole:.1f} %)" for _, count in shown]
    axes.bar_label(bars, labels, padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_title(title, loc="left")
    axes.set_xlabel("packets")
    axes.spines[["top", "right"]].set_visible(False)
    if not shown:
        axes.text(0.5, 0.5, "no packets", transform=axes.transAxes, ha="center")
    return figure


def _rate(rates: Sequence[tuple[int, int, int]]) -> Figure:
    figure, (above, below) = plt.subplots(2, 1, figsize=(10, 4.6), layout="constrained", sharex=True)
    rates = (
        [*rates, (rates[-1][0] + 1, *rates[-1][1:])] if rates else rates
    )  # the last second has a width, too
    seconds = [second for second, _, _ in rates]
    for axes, column, label, colour in ((above, 1, "packets/s", BLUE), (below, 2, "bytes/s", VERMILION)):
        axes.step(seconds, [row[column] for row in rates], where="post", color=colour, linewidth=1.4)
        axes.fill_between(seconds, [row[column] for row in rates], step="post", color=colour, alpha=0.15)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    below.set_xlabel("seconds since the first packet" if rates else "the capture tells no times")
    above.set_title("Traffic over time", loc="left")
    return figure
