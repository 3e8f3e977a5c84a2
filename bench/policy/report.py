"""Tables of the policy benchmark: python -m bench.policy.report CSV."""

from __future__ import annotations

import sys

import pandas as pd

from bench.common.spread import by_round, show, spread

APPLY = (("restore_ms", "restore, ms", 0), ("up_ms", "up, ms", 0), ("again_ms", "up again, ms", 0))
PATH = (("per_second", "connections/s", 0), ("mean_ms", "mean, ms", 2), ("p99_ms", "p99, ms", 0))
LINES = ("16", "100", "1000")
POLICIES = ("none", "10", "100", "1000", "spread", "ports")


def main(path: str) -> None:
    """Print the time to apply each policy, and the cost of each on the path."""
    results = pd.read_csv(path, dtype={"contender": str})
    for what, name, order, figures in (("apply", "lines", LINES, APPLY), ("path", "policy", POLICIES, PATH)):
        runs = results[results["what"] == what].groupby("unit", sort=False)
        values = {unit: by_round(of_unit, "value") for unit, of_unit in runs}
        table = pd.DataFrame({heading: values[unit].apply(spread, digits=n) for unit, heading, n in figures})
        if what == "path":
            rates = values["per_second"]
            table["of none"] = rates.div(rates["none"], axis=0).apply(spread)
        show(table.loc[list(order)].rename_axis(name), what)


if __name__ == "__main__":
    main(sys.argv[1])
