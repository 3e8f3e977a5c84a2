"""The pictures of a capture: labelled bars, and the rate over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lab.colours import BLUE, VERMILION
from lab.escape import for_picture, shortened
from lab.figures import plain_numbers, plt, save, set_title
from monitoring.traffic.tables import Tables
from monitoring.traffic.tally import STEPS

_MAX_BARS, _MAX_STEPS = 8, 1000
_WIDTH = 6.6  # inches; leaves room for a narrow table beside the picture
_MAX_NAME = 28  # characters; two names and an arrow fit beside the bars
_UNITS = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_MANY_UNITS = 5  # the axis has the greatest unit of which the capture lasts so many


def draw(tables: Tables, folder: Path) -> None:
    """Write the PNGs into `folder`."""
    pairs = [(f"{_name(one)} \u2192 {_name(other)}", count) for one, other, count in tables.service_pairs()]
    talkers = [(_name(service), count) for service, count in tables.talkers()]
    figures = {
        "protocol_distribution": _bars("protocols", tables.protocols()),
        "top_service_pairs": _bars("pairs of sender and receiver", pairs),
        "top_talkers": _bars("senders", talkers),
        "traffic_rate": _rate(tables),
    }
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")


def _name(name: str) -> str:
    return shortened(for_picture(name), _MAX_NAME)


def _bars(what: str, counted: Sequence[tuple[str, int]]) -> Figure:
    """Draw a bar for each name with its packets, the most first; the label of the axis sums up the rest."""
    shown, rest = counted[:_MAX_BARS], counted[_MAX_BARS:]
    whole = sum(count for _, count in counted)
    figure, axes = plt.subplots(figsize=(_WIDTH, 1.2 + 0.28 * max(len(shown), 1)), layout="constrained")
    places = range(len(shown))  # two shortened names may be equal
    bars = axes.barh(places, [count for _, count in shown], color=BLUE, height=0.7)
    axes.set_yticks(places, [for_picture(name) for name, _ in shown])
    axes.bar_label(bars, [_share(count, whole) for _, count in shown], padding=4)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.margins(x=0.2)
    set_title(figure, _title(what, counted, whole))
    more = f"; {len(rest):,} more {what} have {_share(sum(n for _, n in rest), whole)}" if rest else ""
    axes.set_xlabel(f"packets{more}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_numbers(axes.xaxis)
    axes.tick_params(axis="y", length=0)
    return figure


def _share(count: int, whole: int) -> str:
    return f"{count:,}  ({100 * count / whole:.1f} %)"


def _title(what: str, counted: Sequence[tuple[str, int]], whole: int) -> str:
    if not counted:
        return f"No {what} are known"
    name, count = counted[0]
    if len(counted) == 1:
        return f"All packets ({whole:,}): {name}"
    return f"{name}: {100 * count / whole:.1f} % of {whole:,} packets"


def _rate(tables: Tables) -> Figure:
    """Draw packets and bytes a second."""
    figure, panels = plt.subplots(2, 1, figsize=(_WIDTH, 3.6), layout="constrained", sharex=True)
    if not tables.tally.rates:
        panels[1].set_xlabel("the capture has no times")
        set_title(figure, "Traffic over time: no data")
        return figure
    numbers, least = tables.tally.rates, tables.tally.step
    span = (max(numbers) - min(numbers) + 1) * least
    step = next((s for s in STEPS if s >= least and span / s <= _MAX_STEPS), STEPS[-1])
    seconds, *counts = zip(*tables.rates(step), strict=True)
    begin, end = seconds[0], seconds[-1] + step
    size, unit = next((size, unit) for size, unit in _UNITS if end - begin >= _MANY_UNITS * size or size == 1)
    edges = [second / size for second in (*seconds, end)]  # the last step has a width, too
    for axes, what, count, colour in zip(
        panels, ("packets", "bytes"), counts, (BLUE, VERMILION), strict=True
    ):
        heights = [each / step for each in count]
        axes.stairs(heights, edges, color=colour, linewidth=1.4)
        axes.stairs(heights, edges, color=colour, alpha=0.15, fill=True)
        axes.set_ylabel(f"{what}/s")
        axes.set_ylim(bottom=0)
        plain_numbers(axes.yaxis)
    panels[1].set_xlabel(f"{unit} since the first packet; a step is {_words(step)}")
    panels[1].set_xlim(begin / size, end / size)
    packets, idle = counts[0], counts[0].count(0)
    when = f"{seconds[packets.index(max(packets))] / size:,.4g} {unit}"
    idle_steps = f"; no packet in {idle:,} of {len(packets):,} steps" if idle else ""
    set_title(figure, f"At most {max(packets) / step:,.4g} packets/s, at {when}{idle_steps}")
    return figure


def _words(seconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    count = seconds // size
    return f"{count} {unit if count > 1 else unit.removesuffix('s')}"
