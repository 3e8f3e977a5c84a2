"""The picture of the hops: a whole request as one bar, and below it the network's part, hop by hop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch

from bench.common.intervals import INCONCLUSIVE, NO_DIFFERENCE
from bench.hops.appendix import PROGRAMS, greatest
from bench.hops.steps import Step, amount, floating_bars, name_of, signed
from lab.colours import BLUE, FAINT, INK, LINE, ORANGE, SKY
from lab.figures import PAGE_WIDTH, plt, save, set_title

_SHADES = ("#F6C65B", ORANGE, "#C97B00")  # nginx, gateway, product service: told apart by their labels
_WIDE = 0.15  # share of the whole bar: a narrower part has its name above the bar
_HEIGHT = 5.6  # inches


def draw(steps: Sequence[Step], path: Path, rounds: int) -> None:
    """Write the PNG of the median of a new connection."""
    figure, (whole, network) = plt.subplots(
        2,
        1,
        figsize=(PAGE_WIDTH, _HEIGHT),
        height_ratios=(1, 3.2),
        layout="constrained",
        gridspec_kw={"hspace": 0.12},
    )
    before = steps[-PROGRAMS - 1].total.value
    total = steps[-1].total.value
    share = f"{100 * before / total:.0f} %" if total else "-"
    _draw_whole(whole, steps, before)
    _draw_network(network, steps[:-PROGRAMS])
    for x, inside in ((0.0, 0.0), (before, before)):
        figure.add_artist(
            ConnectionPatch((x, -0.32), (inside, -0.7), "data", "data", axesA=whole, axesB=network,
                            color=LINE, linewidth=1.2)
        )  # fmt: skip
    title = f"The network takes {amount(before)} of a request's {amount(total)} \u00b5s ({share}), programs the rest"
    set_title(figure, f"{title}\n")
    what = f"Median latency of GET /api/products, each request on a new connection; {rounds} rounds"
    figure.text(0.01, 0.93, what, color=FAINT, va="top", fontsize=10)
    save(figure, path)


def _draw_whole(axes: Axes, steps: Sequence[Step], network: float) -> None:
    """Draw the network and each program as parts of one bar."""
    total = steps[-1].total.value
    parts = [("network", 0.0, network, BLUE)]
    bars = floating_bars(steps)[-PROGRAMS:]
    parts += [
        (name_of(step.hop), begin, length, shade)
        for step, (begin, length), shade in zip(steps[-PROGRAMS:], bars, _SHADES, strict=True)
    ]
    for name, begin, length, colour in parts:
        axes.barh(0, length, left=begin, height=0.64, color=colour, edgecolor="white")
        text = f"{name}\n{amount(length)} \u00b5s"
        if length > _WIDE * total:
            axes.text(begin + length / 2, 0, text, ha="center", va="center", fontsize=10)
        else:
            axes.text(begin, 0.4, text, fontsize=10, va="bottom")
    axes.set_xlim(0, total)
    axes.set_ylim(-0.36, 1.3)
    axes.set_axis_off()


def _draw_network(axes: Axes, steps: Sequence[Step]) -> None:
    """Draw what each hop of the network adds, downwards, with its interval."""
    for row, (step, (begin, length)) in enumerate(zip(steps, floating_bars(steps), strict=True)):
        unsure = step.added is not None and step.verdict in (NO_DIFFERENCE, INCONCLUSIVE)
        axes.barh(row, length, left=begin, height=0.62, color=SKY if unsure else BLUE)
        around, at = (step.total, 0.0) if step.added is None else (step.added, begin)
        axes.hlines(row, at + around.low, at + around.high, color=INK, linewidth=1.4)
        end = max(begin, begin + length, at + around.high)
        axes.annotate(
            _words(step), (end, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=10
        )
        if row:
            axes.vlines(begin, row - 1.31, row + 0.31, color=FAINT, linewidth=0.7)
    axes.set_yticks(range(len(steps)), [name_of(step.hop) for step in steps], fontsize=10)
    axes.set_ylim(len(steps) - 0.5, -0.7)
    axes.set_xlim(0, greatest(steps) * 1.22)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("\u00b5s; black lines: what the hop adds, with 95 % confidence for all hops together")


def _words(step: Step) -> str:
    if step.added is None:
        return f"{amount(step.total.value)} \u00b5s"
    return step.verdict if step.verdict in (NO_DIFFERENCE, INCONCLUSIVE) else signed(step.added.value)
