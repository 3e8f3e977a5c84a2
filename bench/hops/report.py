"""The hops' costs from their latencies: totals, what each hop adds, and the conclusions.

python -m bench.hops.report [--json] RAW FOLDER HOP...    (RAW: of bench/hops/run.sh; HOP...: in the order of the path)

A turn's figure is the percentile of its latencies, or its CPU time per request; a hop's total is the median of its
turns; what it adds is its total less that of the hop before. Intervals are by bootstrap of whole rounds, the same
rounds for all hops, so that a disturbed round counts on both sides of a difference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from bench.common.intervals import INCONCLUSIVE, NO_DIFFERENCE
from bench.common.results_as_json import Object, interval_as_json, number, print_document
from bench.common.spread import show
from bench.hops import families
from bench.hops.appendix import draw_all
from bench.hops.client import IPV4, NEW
from bench.hops.figures import CONNECTIONS, CPU, FIGURES, conclusion
from bench.hops.picture import draw
from bench.hops.steps import Figures, Step, amount, limits, name_of, signed, steps_of
from lab.csv_files import write_rows
from monitoring.quantiles import quantile

Steps = dict[tuple[str, str], list[Step]]  # key: connection, figure
_PARTS = ("", "_low", "_high", "_added", "_added_low", "_added_high", "_verdict", "_conclusion")


def read_turns(path: Path) -> pd.DataFrame:
    """Read the raw results; a row for each turn, with percentiles in place of its latencies."""
    turns = pd.read_csv(path)
    latencies = turns.pop("latencies_us").str.split().map(lambda texts: [float(text) for text in texts])
    for share in (50, 99):
        turns[f"p{share}_us"] = [quantile(values, share / 100) for values in latencies]
    return turns


def table_of(turns: pd.DataFrame, hops: Sequence[str], connection: str, figure: str) -> Figures:
    """Return one figure of one kind of connection: a row for each hop, a column for each round."""
    mine = turns[turns["connection"] == connection]
    table: Figures = mine.pivot_table(index="hop", columns="round", values=figure).loc[list(hops)].to_numpy()
    return table


def all_steps(turns: pd.DataFrame, hops: Sequence[str]) -> Steps:
    """Return the steps by kind of connection and figure."""
    keys = [(connection, figure) for connection in CONNECTIONS for figure in FIGURES]
    return steps_of(hops, {key: table_of(turns, hops, *key) for key in keys})


def write_steps(steps: Steps, hops: Sequence[str], path: Path) -> None:
    """Write a line for each hop and kind of connection."""
    columns = ("hop", "connection", *(figure + part for figure in FIGURES for part in _PARTS))
    rows = []
    for connection in CONNECTIONS:
        for at, hop in enumerate(hops):
            cells = (_cells(steps[connection, figure][at], connection, figure) for figure in FIGURES)
            rows.append((hop, connection, *chain(*cells)))
    write_rows(path, columns, rows)


def _cells(step: Step, connection: str, figure: str) -> list[str]:
    cells = []
    for part in (step.total, step.added):
        cells += (
            ["", "", ""] if part is None else [f"{value:.1f}" for value in (part.value, part.low, part.high)]
        )
    return [*cells, step.verdict, conclusion(step, connection, figure)]


def show_steps(steps: Steps, hops: Sequence[str], turns: pd.DataFrame) -> None:
    """Print a table for each kind of connection, the conclusions, and how idle the machine was."""
    for connection, words in CONNECTIONS.items():
        shown = {
            heading: [_shown(step) for step in steps[connection, figure]]
            for figure, heading in FIGURES.items()
        }
        table = pd.DataFrame(shown, index=pd.Index([name_of(hop) for hop in hops], name="hop"))
        show(table, f"{words}: us, and what the hop adds (intervals: 95 % of all together)")
    for (connection, figure), path in steps.items():
        if figure == "p50_us":
            print(*(conclusion(step, connection, figure) for step in path), sep="\n")
    print(
        f"the machine was busy for {busy_times(turns):.2f} times the CPU time of client and servers; "
        "what exceeds 1 is other work on it, or the kernel's own threads"
    )


def busy_times(turns: pd.DataFrame) -> float:
    """Return the machine's CPU time, divided by that of client and servers."""
    used = turns[["machine_us_per_request", CPU]].mul(turns["requests"], axis=0).sum()
    return float(used.iloc[0] / used.iloc[1])


def rows(steps: Steps) -> Iterator[Object]:
    """Yield each hop's figures for JSON, in microseconds."""
    for (connection, figure), path in steps.items():
        for step in path:
            yield {
                "hop": step.hop,
                "connection": connection,
                "figure": figure,
                "total": interval_as_json(step.total),
                "added": interval_as_json(step.added) if step.added else None,
                "verdict": step.verdict,
                "conclusion": conclusion(step, connection, figure),
            }


def _shown(step: Step) -> str:
    total, added = step.total, step.added
    if added is None:
        return f"{amount(total.value)} ({amount(total.low)} to {amount(total.high)})"
    if step.verdict in (NO_DIFFERENCE, INCONCLUSIVE):
        return f"{amount(total.value)}  {step.verdict}"
    return f"{amount(total.value)}  {signed(added.value)} {limits(added)}"


def main(source: Path, folder: Path, hops: Sequence[str], *, as_json: bool = False) -> None:
    """Write the CSVs and the pictures, and show the tables or a JSON document."""
    turns = read_turns(source)
    steps = all_steps(turns[turns["family"] == IPV4], hops)
    pairs = families.pairs_of(turns, hops)
    write_steps(steps, hops, folder / "bench_hops.csv")
    draw(steps[NEW, "p50_us"], folder / "bench_hops.png", turns["round"].max())
    draw_all(steps, folder / "bench_hops_all.png", turns["round"].max())
    if pairs:  # a kernel without IPv6 has none
        families.write_pairs(pairs, folder / "bench_hops_families.csv")
        families.draw_pairs(pairs, folder / "bench_hops_families.png", turns["round"].max())
    if as_json:
        other = {"families": list(families.rows(pairs)), "busy_times": number(busy_times(turns))}
        print_document(turns["round"].max(), rows(steps), **other)
    else:
        show_steps(steps, hops, turns)
        families.show_pairs(pairs)


if __name__ == "__main__":
    raw, reports, *names = (text for text in sys.argv[1:] if text != "--json")
    main(Path(raw), Path(reports), names, as_json="--json" in sys.argv)
