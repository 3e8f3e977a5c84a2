"""IPv6 against IPv4, hop by hop: the same path in the same turn, and all differences judged together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.common.intervals import LESS, MORE, Interval
from bench.common.results_as_json import Object, interval_as_json
from bench.common.spread import show
from bench.hops.client import IPV4, IPV6, KEPT, NEW
from bench.hops.figures import CONNECTIONS, FIGURES, conclusion
from bench.hops.steps import Figures, Step, amount, limits, name_of, signed, steps_of
from lab.colours import BLUE, ORANGE
from lab.csv_files import write_rows
from lab.figures import PAGE_WIDTH, plain_numbers, plt, save, set_title

_ROW_INCHES = 0.42


class Pair(NamedTuple):
    """A figure of a hop in both families, in microseconds, and what IPv6 adds."""

    ipv4: Interval
    ipv6: Interval
    added: Interval
    verdict: str
    conclusion: str


Pairs = Mapping[tuple[str, str, str], Pair]  # by hop, connection, figure


def pairs_of(turns: pd.DataFrame, hops: Sequence[str]) -> Pairs:
    """Return both families' totals of each hop that was measured in both, with what IPv6 adds."""
    both = [hop for hop in hops if set(turns.loc[turns["hop"] == hop, "family"]) == {IPV4, IPV6}]
    keys = [(hop, connection, figure) for hop in both for connection in CONNECTIONS for figure in FIGURES]
    found = steps_of((IPV4, IPV6), {key: _table(turns, *key) for key in keys})
    return {key: _pair(steps[0], steps[1], *key) for key, steps in found.items()}


def _pair(four: Step, six: Step, hop: str, connection: str, figure: str) -> Pair:
    if six.added is None:
        raise ValueError("the second step of two adds something to the first")
    words = conclusion(replace(six, hop=f"{name_of(hop)}, IPv6"), connection, figure)
    return Pair(four.total, six.total, six.added, six.verdict, words)


def _table(turns: pd.DataFrame, hop: str, connection: str, figure: str) -> Figures:
    """Return one figure of a hop: a row for each family, a column for each round."""
    mine = turns[(turns["hop"] == hop) & (turns["connection"] == connection)]
    table: Figures = (
        mine.pivot_table(index="family", columns="round", values=figure).loc[[IPV4, IPV6]].to_numpy()
    )
    return table


def show_pairs(pairs: Pairs) -> None:
    """Print the medians of both families, and what IPv6 adds."""
    for connection, words in CONNECTIONS.items():
        rows = {
            name_of(hop): (
                amount(pair.ipv4.value),
                amount(pair.ipv6.value),
                f"{signed(pair.added.value)} {limits(pair.added)}",
            )
            for (hop, kind, figure), pair in pairs.items()
            if (kind, figure) == (connection, "p50_us")
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["IPv4", "IPv6", "IPv6 adds"])
        show(
            table.rename_axis("hop"), f"{words}, both families: median, us (intervals: 95 % of all together)"
        )


def write_pairs(pairs: Pairs, path: Path) -> None:
    """Write a line for each hop, kind of connection and figure; times in microseconds."""
    columns = ("hop", "connection", "figure", IPV4, IPV6, "added", "low", "high", "verdict", "conclusion")
    rows = []
    for key, pair in pairs.items():
        times = (pair.ipv4.value, pair.ipv6.value, pair.added.value, pair.added.low, pair.added.high)
        rows.append((*key, *(f"{time:.1f}" for time in times), pair.verdict, pair.conclusion))
    write_rows(path, columns, rows)


def rows(pairs: Pairs) -> Iterator[Object]:
    """Yield each comparison for JSON, in microseconds."""
    for (hop, connection, figure), pair in pairs.items():
        yield {
            "hop": hop,
            "connection": connection,
            "figure": figure,
            IPV4: interval_as_json(pair.ipv4),
            IPV6: interval_as_json(pair.ipv6),
            "added": interval_as_json(pair.added),
            "verdict": pair.verdict,
            "conclusion": pair.conclusion,
        }


def draw_pairs(pairs: Pairs, path: Path, rounds: int) -> None:
    """Write the PNG: the medians of both families side by side, with the difference beside each pair."""
    hops = list(dict.fromkeys(hop for hop, _, _ in pairs))
    sheet, panels = plt.subplots(
        1, 2, figsize=(PAGE_WIDTH, _ROW_INCHES * len(hops) + 1.3), sharey=True, layout="constrained"
    )
    for panel, (connection, title) in zip(
        panels, ((NEW, "new connections"), (KEPT, "one kept connection")), strict=True
    ):
        of_hops = [pairs[hop, connection, "p50_us"] for hop in hops]
        most = max(pair.ipv6.value for pair in of_hops)
        for row, pair in enumerate(of_hops):
            for total, below, colour in ((pair.ipv4, -0.19, BLUE), (pair.ipv6, 0.19, ORANGE)):
                panel.barh(row + below, total.value, height=0.36, color=colour)
            end = max(pair.ipv4.value, pair.ipv6.value)
            words = signed(pair.added.value) if pair.verdict in (MORE, LESS) else pair.verdict
            panel.annotate(
                words, (end, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
            )
        panel.set(title=title, xlabel="\u00b5s", xlim=(0, most * 1.45))
        plain_numbers(panel.xaxis)
        panel.grid(axis="x", alpha=0.5)
        panel.spines["left"].set_visible(False)
    panels[0].set_yticks(range(len(hops)), [name_of(hop) for hop in hops])
    panels[0].set_ylim(len(hops) - 0.5, -0.5)
    sheet.legend(
        handles=panels[0].containers[:2], labels=["IPv4", "IPv6"], loc="outside lower center", ncols=2
    )
    set_title(sheet, f"The same path in both families: medians of {rounds} rounds")
    save(sheet, path)
