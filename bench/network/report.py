"""Table and chart of the network benchmark: python -m bench.network.report CSV PNG."""

import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import csv_files
from lab.unread import Unread

# How each contender is shown: label, colour (Okabe and Ito's, for the colour-blind), marker, line.
STYLES = {
    "lab": ("the lab", "#000000", "o", "-"),
    "batch": ("bare ip -batch", "#0072B2", "s", "--"),
    "single": ("one ip process a command", "#E69F00", "^", "-."),
    "cni": ("CNI bridge plugin", "#009E73", "D", ":"),
    "mininet": ("mininet", "#CC79A7", "v", (0, (5, 1, 1, 1, 1, 1))),
}
PHASES = ("up", "down")
BIG, MIDDLE = 500, 100


@dataclass(frozen=True)
class Run:
    """One contender's `up` and `down` at one size in one round."""

    nodes: int
    round: int
    contender: str
    up: float
    down: float

    def seconds(self, phase: str) -> float:
        """Give the time of one of PHASES."""
        return self.up if phase == "up" else self.down


class Results:
    """All runs, and what is asked of them."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = list(runs)
        self.sizes = sorted({run.nodes for run in self.runs})
        self.contenders = [name for name in STYLES if any(run.contender == name for run in self.runs)]

    def times(self, contender: str, nodes: int, phase: str) -> dict[int, float]:
        """Seconds by round."""
        wanted = (run for run in self.runs if (run.contender, run.nodes) == (contender, nodes))
        return {run.round: run.seconds(phase) for run in wanted}

    def ratios(self, contender: str, base: str, nodes: int, phase: str) -> list[float]:
        """How many times the base's, in each round that both were in."""
        over, under = (self.times(name, nodes, phase) for name in (contender, base))
        return [over[turn] / under[turn] for turn in over if turn in under]

    def growth(self, contender: str) -> list[float]:
        """`up` with BIG nodes in times of `up` with MIDDLE ones, round by round."""
        big, middle = (self.times(contender, nodes, "up") for nodes in (BIG, MIDDLE))
        return [big[turn] / middle[turn] for turn in big if turn in middle]


def read(path: Path, unread: Unread) -> Results:
    """Read the CSV that bench/network/run.sh writes. Raises CsvError for another file."""
    columns = ("nodes", "round", "contender", "up_seconds", "down_seconds")
    return Results(csv_files.read(path, columns, _run, unread))


def _run(row: Mapping[str, str]) -> Run:
    times = float(row["up_seconds"]), float(row["down_seconds"])
    return Run(int(row["nodes"]), int(row["round"]), row["contender"], *times)


def spread(values: Iterable[float], unit: str) -> str:
    """Median (least to most)."""
    known = sorted(values)
    if not known:
        return "-"
    middle = statistics.median(known)
    return f"{middle:.2f}{unit} ({known[0]:.2f}-{known[-1]:.2f})"


def table(results: Results) -> Iterable[str]:
    """Give a line for each size and contender; ratios are the median of those of the single rounds."""
    yield f"{'nodes':>5}  {'':24}  {'up':>20}  {'times the lab':>19}  {'down':>20}  {'times the lab':>19}"
    for nodes in results.sizes:
        for contender in results.contenders:
            cells = [f"{nodes:>5}  {STYLES[contender][0]:24}"]
            for phase in PHASES:
                cells.append(f"{spread(results.times(contender, nodes, phase).values(), ' s'):>20}")
                cells.append(f"{spread(results.ratios(contender, 'lab', nodes, phase), ''):>19}")
            yield "  ".join(cells)
        yield ""


def targets(results: Results) -> Iterable[str]:
    """Say which of the aims were reached."""
    aims = [
        ("up of the lab in times of bare ip -batch", _both(results, "lab", "batch"), "at most", 1.5),
        ("up of the CNI plugin in times of the lab", _both(results, "cni", "lab"), "at least", 5),
        ("up of mininet in times of the lab", _both(results, "mininet", "lab"), "at least", 5),
        (f"up of the lab in times of that with {MIDDLE} nodes", results.growth("lab"), "at most", 6),
        ("down of the lab in times of its up", _down_by_up(results), "at most", 1),
    ]
    for words, ratios, side, aim in aims:
        if ratios:
            middle = statistics.median(ratios)
            reached = middle <= aim if side == "at most" else middle >= aim
            verdict = "reached" if reached else "MISSED"
            yield f"{BIG} nodes, {words}: {spread(ratios, '')}, aim {side} {aim}: {verdict}"


def _both(results: Results, contender: str, base: str) -> list[float]:
    return results.ratios(contender, base, BIG, "up")


def _down_by_up(results: Results) -> list[float]:
    up, down = (results.times("lab", BIG, phase) for phase in PHASES)
    return [down[turn] / up[turn] for turn in up]


def chart(results: Results, path: Path) -> None:
    """Draw median and least-to-most against size, `up` and `down` side by side."""
    from lab.figures import plain_numbers, plt, save  # noqa: PLC0415 - the table does without

    figure, panels = plt.subplots(1, len(PHASES), figsize=(11, 5), sharey=True, layout="constrained")
    for panel, phase in zip(panels, PHASES, strict=True):
        for contender in results.contenders:
            _line(panel, results, contender, phase)
        panel.set(xscale="log", yscale="log", title=phase, xlabel="nodes (namespaces)")
        panel.set_xticks(results.sizes, [str(size) for size in results.sizes])
        panel.minorticks_off()
        plain_numbers(panel.yaxis)
        panel.grid(color="#dddddd", linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds: median, and least to most")
    panels[0].legend(frameon=False)
    rounds = max(run.round for run in results.runs)
    figure.suptitle(f"The same network, made and unmade in different ways ({rounds} rounds in turns)")
    save(figure, path, dpi=150)


def _line(panel: Any, results: Results, contender: str, phase: str) -> None:
    label, colour, marker, dashes = STYLES[contender]
    sizes = [nodes for nodes in results.sizes if results.times(contender, nodes, phase)]
    times = [list(results.times(contender, nodes, phase).values()) for nodes in sizes]
    medians = [statistics.median(values) for values in times]
    below = [middle - min(values) for middle, values in zip(medians, times, strict=True)]
    above = [max(values) - middle for middle, values in zip(medians, times, strict=True)]
    look = {"color": colour, "marker": marker, "linestyle": dashes, "capsize": 3}
    panel.errorbar(sizes, medians, yerr=[below, above], label=label, **look)


def main(data: Path, image: Path) -> None:
    """Print the table and the targets, draw the chart."""
    unread = Unread()
    try:
        results = read(data, unread)
    except (OSError, csv_files.CsvError) as error:
        sys.exit(f"network_report: {error}")
    print(*table(results), sep="\n")
    print(*targets(results), sep="\n")
    print(*unread.sentences(), f"\n{data}", sep="\n")
    try:
        chart(results, image)
    except ModuleNotFoundError as error:
        print(f"no chart: {error.name} is missing (pip install matplotlib)", file=sys.stderr)
    else:
        print(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
