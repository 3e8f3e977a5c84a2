"""All figures of the hops as waterfalls: each bar floats from the total before to the total after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from bench.common.intervals import INCONCLUSIVE, LESS, MORE, NO_DIFFERENCE
from bench.hops.steps import FIRST, Step, amount, floating_bars, name_of, signed
from lab.colours import BLUE, COLOURS, ORANGE
from lab.figures import PAGE_WIDTH, plain_numbers, plt, save, set_title

_FIGURES = {
    "p50_us": "median (p50)",
    "p99_us": "99th percentile (p99)",
    "cpu_us_per_request": "CPU time per request",
}
PROGRAMS = 3  # the last hops are programs and take milliseconds, so they get a second scale
_CONNECTIONS = {"new": "new connections", "kept": "one kept connection"}
_ROW_INCHES, _TITLE_INCHES = 0.19, 0.75
_LOOKS = {
    FIRST: (BLUE, ""),
    MORE: (ORANGE, ""),
    LESS: (COLOURS[2], "\\\\\\"),
    NO_DIFFERENCE: ("#DDDDDD", "///"),
    INCONCLUSIVE: ("#FFFFFF", "..."),
}
_MEANINGS = {FIRST: "the first hop", MORE: "adds", LESS: "saves"}


def draw_all(steps: Mapping[tuple[str, str], Sequence[Step]], path: Path, rounds: int) -> None:
    """Write the PNG: two panels for each figure and kind of connection, the network and the programs."""
    network = len(next(iter(steps.values()))) - PROGRAMS
    heights = [count * _ROW_INCHES + _TITLE_INCHES for count in (network, PROGRAMS + 1)] * len(_FIGURES)
    sheet, grid = plt.subplots(
        len(heights),
        len(_CONNECTIONS),
        figsize=(PAGE_WIDTH, sum(heights) + 0.8),
        height_ratios=heights,
        sharey="row",
        layout="constrained",
    )
    for row, (figure, name) in enumerate(_FIGURES.items()):
        for column, (connection, kind) in enumerate(_CONNECTIONS.items()):
            all_of_it = steps[connection, figure]
            for below, shown in enumerate((all_of_it[:-PROGRAMS], programs_after_network(all_of_it))):
                axis = grid[2 * row + below][column]
                waterfall(axis, shown)
                what = "the programs, on their own scale" if below else f"{name}, \u00b5s; {kind}"
                axis.set_title(what, fontweight="normal" if below else "bold")
    set_title(
        sheet, f"Every figure: medians of {rounds} rounds; black lines are intervals, 95 % of all together"
    )
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", label=_MEANINGS.get(verdict, verdict))
        for verdict, (colour, hatch) in _LOOKS.items()
    ]
    sheet.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    save(sheet, path, dpi=110)


def programs_after_network(steps: Sequence[Step]) -> list[Step]:
    """Return the programs' steps; the whole network before them is the first."""
    network = steps[-PROGRAMS - 1]
    return [Step("the network", network.total, None), *steps[-PROGRAMS:]]


def waterfall(axis: Axes, steps: Sequence[Step]) -> None:
    """Draw the steps of one figure, downwards."""
    for row, (step, (begin, length)) in enumerate(zip(steps, floating_bars(steps), strict=True)):
        colour, hatch = _LOOKS[step.verdict]
        axis.barh(
            row, length, left=begin, color=colour, hatch=hatch, edgecolor="black", linewidth=0.6, height=0.7
        )
        around, at = (step.total, 0.0) if step.added is None else (step.added, begin)
        low, high = at + around.low, at + around.high
        axis.hlines(row, low, high, color="black", linewidth=1.6)
        axis.vlines((low, high), row - 0.16, row + 0.16, color="black", linewidth=1.2)
        end = max(begin, begin + length, high)
        axis.annotate(
            label_of(step), (end, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
        )
        if row:
            axis.vlines(begin, row - 1.35, row + 0.35, color="black", linewidth=0.6)
    _frame(axis, steps)


def label_of(step: Step) -> str:
    """Return the text beside a bar."""
    if step.added is None:
        return amount(step.total.value)
    if step.verdict in (NO_DIFFERENCE, INCONCLUSIVE):
        return step.verdict
    return f"{signed(step.added.value)} ({signed(step.added.low)} to {signed(step.added.high)})"


def greatest(steps: Sequence[Step]) -> float:
    """Return the greatest value that a bar or an interval reaches, in microseconds."""
    begins = [begin for begin, _ in floating_bars(steps)]
    ends = [begin + step.added.high for begin, step in zip(begins, steps, strict=True) if step.added]
    return max(*ends, *(max(step.total.value, step.total.high) for step in steps))


def _frame(axis: Axes, steps: Sequence[Step]) -> None:
    names = [name_of(step.hop) if step.added is None else f"+ {name_of(step.hop)}" for step in steps]
    axis.set_yticks(range(len(steps)), names)
    axis.set_ylim(len(steps) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    most = greatest(steps)
    axis.set_xlim(0, most * 1.75)  # room for the labels
    plain_numbers(axis.xaxis)
    axis.grid(axis="x", alpha=0.5)
    axis.spines["left"].set_visible(False)
