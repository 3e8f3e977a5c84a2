"""Tables of the policy benchmark: python -m bench.policy.report CSV [--json]."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pandas as pd

from bench.common.results_as_json import Object, print_document, spread_as_json
from bench.common.spread import by_round, show, spread

APPLY = (("restore_ms", "restore, ms", 0), ("up_ms", "up, ms", 0), ("again_ms", "up again, ms", 0))
PATH = (("per_second", "connections/s", 0), ("mean_ms", "mean, ms", 2), ("p99_ms", "p99, ms", 0))
LINES = ("16", "100", "1000")
POLICIES = ("none", "10", "100", "1000", "spread", "ports")


def rows(results: pd.DataFrame) -> Iterator[Object]:
    """Yield each figure of each policy for JSON."""
    for (what, policy, figure), runs in results.groupby(["what", "contender", "unit"], sort=False):
        yield {"what": what, "policy": policy, "figure": figure, **spread_as_json(runs["value"])}


def print_tables(results: pd.DataFrame) -> None:
    """Print the time to apply each policy, and the cost of each on the path."""
    for what, name, order, figures in (("apply", "lines", LINES, APPLY), ("path", "policy", POLICIES, PATH)):
        runs = results[results["what"] == what].groupby("unit", sort=False)
        values = {unit: by_round(of_unit, "value") for unit, of_unit in runs}
        table = pd.DataFrame({heading: values[unit].apply(spread, digits=n) for unit, heading, n in figures})
        if what == "path":
            rates = values["per_second"]
            table["of none"] = rates.div(rates["none"], axis=0).apply(spread)
        show(table.loc[list(order)].rename_axis(name), what)


def main(path: str, *options: str) -> None:
    """Print the results as tables, or with --json as JSON."""
    results = pd.read_csv(path, dtype={"contender": str})
    if "--json" in options:
        print_document(results["round"].max(), rows(results))
    else:
        print_tables(results)


if __name__ == "__main__":
    main(*sys.argv[1:])
