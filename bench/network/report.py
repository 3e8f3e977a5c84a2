"""Table and chart of the network benchmark: python -m bench.network.report CSV PNG [--json]."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.common.results_as_json import Object, print_document, spread_as_json
from bench.common.spread import by_round, show, spread
from lab.colours import BLUE, COLOURS, FAINT, GREEN, LINE, ORANGE, VERMILION
from lab.figures import PAGE_WIDTH, plain_numbers, plt, save, set_title

# Label, colour and line of each contender: label, colour, marker, line.
STYLES = {
    "lab": ("the lab", COLOURS[7], "o", "-"),
    "dual": ("the lab, both families", VERMILION, "P", "-"),
    "ipv6": ("the lab, IPv6 alone", FAINT, "X", "-"),
    "batch": ("bare ip -batch", BLUE, "s", "--"),
    "single": ("one ip process a command", ORANGE, "^", "-."),
    "cni": ("CNI bridge plugin", GREEN, "D", ":"),
    "mininet": ("mininet", COLOURS[3], "v", (0, (5, 1, 1, 1, 1, 1))),
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


@dataclass(frozen=True)
class Target:
    """A ratio at BIG nodes, in each round, and its aim."""

    what: str
    ratios: pd.Series[float]
    side: str  # at most, at least
    aim: float

    @property
    def reached(self) -> bool:
        """Return whether the median is within the aim."""
        median = self.ratios.median()
        return bool(median <= self.aim if self.side == "at most" else median >= self.aim)

    def __str__(self) -> str:
        """Return the target as a line."""
        verdict = "reached" if self.reached else "MISSED"
        return f"{BIG} nodes, {self.what}: {spread(self.ratios)}, aim {self.side} {self.aim}: {verdict}"

    def as_dict(self) -> Object:
        """Return the target for JSON."""
        ratios = spread_as_json(self.ratios)
        aim = {"side": self.side, "aim": self.aim, "reached": self.reached}
        return {"what": self.what, "nodes": BIG, "times": ratios, **aim}


def rows(runs: pd.DataFrame) -> Iterator[Object]:
    """Yield the times of each contender at each size for JSON."""
    for nodes, of_size in runs.groupby("nodes", sort=False):
        for contender, its in of_size.groupby("contender", sort=False):
            times = {phase: spread_as_json(its[phase]) for phase in PHASES}
            yield {"nodes": nodes, "contender": contender, **times}


def targets(runs: pd.DataFrame) -> Iterator[Target]:
    """Yield the targets whose contenders were measured."""
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
        ("up with both families in times of IPv4 alone", (up, (BIG, "dual")), (up, lab), "at most", 1.15),
    ]
    for words, (over, one), (under, other), side, aim in aims:
        if one in over and other in under:
            yield Target(words, over[one] / under[other], side, aim)


def draw(runs: pd.DataFrame, path: Path) -> None:
    """Write the PNG: median and least-to-most against size, `up` and `down` side by side."""
    figure, panels = plt.subplots(
        1, len(PHASES), figsize=(PAGE_WIDTH, 4.8), sharey=True, layout="constrained"
    )
    sizes = sorted(runs["nodes"].unique())
    for panel, phase in zip(panels, PHASES, strict=True):
        for contender, its in runs.groupby("contender"):
            _draw_line(panel, str(contender), its.groupby("nodes")[phase].agg(["median", "min", "max"]))
        panel.set(xscale="log", yscale="log", title=phase.split("_")[0], xlabel="nodes (namespaces)")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        plain_numbers(panel.yaxis)
        panel.grid(color=LINE, linewidth=0.8)
    panels[0].set_ylabel("seconds: median, and least to most")
    panels[0].legend()
    rounds = runs["round"].max()
    set_title(figure, f"The same network, made and removed in different ways ({rounds} rounds in turns)")
    save(figure, path, dpi=150)


def _draw_line(panel: Axes, contender: str, times: pd.DataFrame) -> None:
    label, colour, marker, dashes = STYLES[contender]
    errors = [times["median"] - times["min"], times["max"] - times["median"]]
    look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "capsize": 3}
    panel.errorbar(times.index, times["median"], yerr=errors, label=label, **look)


def main(data: Path, image: Path, *options: str) -> None:
    """Draw the chart; print the table and the targets, or with --json a JSON document."""
    runs = pd.read_csv(data)
    draw(runs, image)
    if "--json" in options:
        print_document(runs["round"].max(), rows(runs), targets=[one.as_dict() for one in targets(runs)])
    else:
        show_times(runs)
        print(*targets(runs), data, image, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
