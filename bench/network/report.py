"""Table and chart of the network benchmark: python -m bench.network.report CSV PNG."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.common.spread import by_round, show, spread
from lab.figures import plain_numbers, plt, save

# Label, colour and line of each contender: label, colour (Okabe and Ito's, for the colour-blind), marker, line.
STYLES = {
    "lab": ("the lab", "#000000", "o", "-"),
    "batch": ("bare ip -batch", "#0072B2", "s", "--"),
    "single": ("one ip process a command", "#E69F00", "^", "-."),
    "cni": ("CNI bridge plugin", "#009E73", "D", ":"),
    "mininet": ("mininet", "#CC79A7", "v", (0, (5, 1, 1, 1, 1, 1))),
}
PHASES = ("up_seconds", "down_seconds")
BIG, MIDDLE = 500, 100


def show_times(runs: pd.DataFrame) -> None:
    """Print a table for each size; a ratio is the median of those of the single rounds."""
    for nodes, of_size in runs.groupby("nodes"):
        table = pd.DataFrame(index=pd.Index(STYLES, name="contender"))
        for phase in PHASES:
            times, name = by_round(of_size, phase), phase.split("_")[0]
            table[name] = times.apply(spread, unit=" s")
            if "lab" in times:
                table[f"{name}, times the lab"] = times.div(times["lab"], axis=0).apply(spread)
        labels = {contender: label for contender, (label, *_) in STYLES.items()}
        show(table.dropna().rename(index=labels), f"{nodes} nodes")


def targets(runs: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each target: whether it was reached."""
    up, down = (
        runs.pivot_table(index="round", columns=["nodes", "contender"], values=phase) for phase in PHASES
    )
    lab = (BIG, "lab")
    aims = [
        ("up of the lab in times of bare ip -batch", (up, lab), (up, (BIG, "batch")), "at most", 1.5),
        ("up of the CNI plugin in times of the lab", (up, (BIG, "cni")), (up, lab), "at least", 5),
        ("up of mininet in times of the lab", (up, (BIG, "mininet")), (up, lab), "at least", 5),
        (
            f"up of the lab in times of that with {MIDDLE} nodes",
            (up, lab),
            (up, (MIDDLE, "lab")),
            "at most",
            6,
        ),
        ("down of the lab in times of its up", (down, lab), (up, lab), "at most", 1),
    ]
    for words, (over, one), (under, other), side, aim in aims:
        if one in over and other in under:
            ratios = over[one] / under[other]
            reached = ratios.median() <= aim if side == "at most" else ratios.median() >= aim
            verdict = "reached" if reached else "MISSED"
            yield f"{BIG} nodes, {words}: {spread(ratios)}, aim {side} {aim}: {verdict}"


def draw(runs: pd.DataFrame, path: Path) -> None:
    """Write the PNG: median and least-to-most against size, `up` and `down` side by side."""
    figure, panels = plt.subplots(1, len(PHASES), figsize=(11, 5), sharey=True, layout="constrained")
    sizes = sorted(runs["nodes"].unique())
    for panel, phase in zip(panels, PHASES, strict=True):
        for contender, its in runs.groupby("contender"):
            _draw_line(panel, str(contender), its.groupby("nodes")[phase].agg(["median", "min", "max"]))
        panel.set(xscale="log", yscale="log", title=phase.split("_")[0], xlabel="nodes (namespaces)")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        plain_numbers(panel.yaxis)
        panel.grid(color="#dddddd", linewidth=0.8)
    panels[0].set_ylabel("seconds: median, and least to most")
    panels[0].legend()
    rounds = runs["round"].max()
    figure.suptitle(f"The same network, made and removed in different ways ({rounds} rounds in turns)")
    save(figure, path, dpi=150)


def _draw_line(panel: Axes, contender: str, times: pd.DataFrame) -> None:
    label, colour, marker, dashes = STYLES[contender]
    errors = [times["median"] - times["min"], times["max"] - times["median"]]
    look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "capsize": 3}
    panel.errorbar(times.index, times["median"], yerr=errors, label=label, **look)


def main(data: Path, image: Path) -> None:
    """Print the table and the targets, draw the chart."""
    runs = pd.read_csv(data)
    show_times(runs)
    print(*targets(runs), data, sep="\n")
    draw(runs, image)
    print(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
