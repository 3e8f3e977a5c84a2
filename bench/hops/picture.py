"""The hops as a waterfall: each bar floats from the total before to the total after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from bench.common.intervals import INCONCLUSIVE, LESS, MORE, NO_DIFFERENCE
from bench.hops.steps import FIRST, Step, amount, floating_bars, name_of, signed
from lab.figures import plt, save
from monitoring.colours import BLUE, COLOURS, ORANGE

_COLUMNS = {
    "p50_us": "median (p50)",
    "p99_us": "99th percentile (p99)",
    "cpu_us_per_request": "CPU time per request",
}
_PROGRAMS = 3  # the last hops are programs and take milliseconds, so they get a second scale
_ROWS = (("new", "network"), ("kept", "network"), ("new", "programs"), ("kept", "programs"))
_TITLES = {"new": "a new connection for each request", "kept": "one connection, kept"}
_LOOKS = {
    FIRST: (BLUE, ""),
    MORE: (ORANGE, ""),
    LESS: (COLOURS[2], "\\\\\\"),
    NO_DIFFERENCE: ("#DDDDDD", "///"),
    INCONCLUSIVE: ("#FFFFFF", "..."),
}
_MEANINGS = {FIRST: "the first hop", MORE: "adds", LESS: "saves"}


def draw(steps: Mapping[tuple[str, str], Sequence[Step]], path: Path, rounds: int) -> None:
    """Write the PNG."""
    count = len(next(iter(steps.values())))
    heights = [count - _PROGRAMS if part == "network" else _PROGRAMS + 1.6 for _, part in _ROWS]
    sheet, grid = plt.subplots(
        len(_ROWS),
        len(_COLUMNS),
        figsize=(15, 0.36 * sum(heights) + 4),
        height_ratios=heights,
        sharey="row",
        layout="constrained",
    )
    for row, (connection, part) in enumerate(_ROWS):
        for column, (figure, name) in enumerate(_COLUMNS.items()):
            shown = list(steps[connection, figure])
            shown = shown[:-_PROGRAMS] if part == "network" else _after(shown)
            waterfall(grid[row][column], shown)
            title = f"{name}, \u00b5s\n{_TITLES[connection]}: the {part}"
            grid[row][column].set_title(title, fontsize=10)
    sheet.suptitle(
        f"What each hop adds: medians of {rounds} rounds; black lines and brackets are intervals, 95 % of all together",
        fontsize=13,
    )
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", label=_MEANINGS.get(verdict, verdict))
        for verdict, (colour, hatch) in _LOOKS.items()
    ]
    sheet.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    save(sheet, path, dpi=110)


def _after(steps: Sequence[Step]) -> list[Step]:
    """Return the programs' steps; the whole network before them is the first."""
    network = steps[-_PROGRAMS - 1]
    return [Step("the network", network.total, None), *steps[-_PROGRAMS:]]


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
            written(step), (end, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
        )
        if row:
            axis.vlines(begin, row - 1.35, row + 0.35, color="black", linewidth=0.6)
    _frame(axis, steps)


def written(step: Step) -> str:
    """Return the text beside a bar."""
    if step.added is None:
        return amount(step.total.value)
    interval = f"({signed(step.added.low)} to {signed(step.added.high)})"
    if step.verdict in (NO_DIFFERENCE, INCONCLUSIVE):
        return f"{step.verdict} {interval}"
    return f"{signed(step.added.value)} {interval} = {amount(step.total.value)}"


def _frame(axis: Axes, steps: Sequence[Step]) -> None:
    names = [name_of(step.hop) if step.added is None else f"+ {name_of(step.hop)}" for step in steps]
    axis.set_yticks(range(len(steps)), names)
    axis.set_ylim(len(steps) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    most = max(max(step.total.value, step.total.high) for step in steps)
    axis.set_xlim(0, most * 1.75)  # room for the labels
    axis.grid(axis="x", alpha=0.3)
    axis.spines["left"].set_visible(False)
