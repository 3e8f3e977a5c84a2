"""Table of the services benchmark: python -m bench.services.report CSV [--json]."""

from __future__ import annotations

import sys

import pandas as pd

from bench.common.results_as_json import print_document, spread_as_json
from bench.common.spread import by_round, show, spread

WAYS = ("lab", "original")


def main(path: str, *options: str) -> None:
    """Print good answers a second of each way, and their ratio."""
    runs = pd.read_csv(path)
    rates = by_round(runs, "good_answers_per_second", "way")[list(WAYS)]
    ratio = rates["lab"] / rates["original"]
    if "--json" in options:
        bad = runs.groupby("way")["bad_answers"].sum()
        rows = (
            {
                "way": way,
                "good_answers_per_second": spread_as_json(rates[way]),
                "bad_answers": int(bad[way]),
            }
            for way in WAYS
        )
        print_document(len(rates), rows, lab_in_times_of_original=spread_as_json(ratio))
        return
    rates["lab / original"] = ratio
    show(rates.apply(spread).to_frame("good answers/s"), f"median of {len(rates)} rounds")


if __name__ == "__main__":
    main(*sys.argv[1:])
