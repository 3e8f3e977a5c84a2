"""Table of the services benchmark: python -m bench.services.report CSV."""

from __future__ import annotations

import sys

import pandas as pd

from bench.common.spread import by_round, spread


def main(path: str) -> None:
    """Print good answers a second of each way, and their ratio."""
    rates = by_round(pd.read_csv(path), "good_answers_per_second", "way")
    for way in rates:
        print(f"{way:9} {spread(rates[way], 1)} good answers/s, median of {len(rates)} rounds")
    print(f"{'ratio':9} {spread(rates['lab'] / rates['original'])}")


if __name__ == "__main__":
    main(sys.argv[1])
