"""Tables of the policy benchmark: python -m bench.policy.report CSV."""

from __future__ import annotations

import sys

import pandas as pd

from bench.common.spread import by_round, spread

APPLY = (("restore_ms", "restore, ms", 0), ("up_ms", "up, ms", 0), ("again_ms", "up again, ms", 0))
PATH = (("per_second", "connections/s", 0), ("mean_ms", "mean, ms", 2), ("p99_ms", "p99, ms", 0))


def main(path: str) -> None:
    """Print what it takes to apply each policy, and what each costs on the path."""
    results = pd.read_csv(path, dtype={"contender": str})
    for what, figures in (("apply", APPLY), ("path", PATH)):
        runs = results[results["what"] == what]
        table = pd.DataFrame(
            {
                heading: by_round(runs[runs["unit"] == unit], "value").apply(spread, digits=digits)
                for unit, heading, digits in figures
            }
        )
        if what == "path":
            rates = by_round(runs[runs["unit"] == "per_second"], "value")
            table["of none"] = rates.div(rates["none"], axis=0).apply(spread)
        print(
            f"\n{table.rename_axis('lines' if what == 'apply' else 'policy').reset_index().to_string(index=False)}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
