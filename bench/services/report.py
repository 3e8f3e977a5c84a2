"""Table of the services benchmark: python -m bench.services.report CSV."""

from __future__ import annotations

import sys

import pandas as pd

from bench.common.spread import by_round, show, spread


def main(path: str) -> None:
    """Print good answers a second of each way, and their ratio."""
    rates = by_round(pd.read_csv(path), "good_answers_per_second", "way")[["lab", "original"]]
    rates["lab / original"] = rates["lab"] / rates["original"]
    show(rates.apply(spread).to_frame("good answers/s"), f"median of {len(rates)} rounds")


if __name__ == "__main__":
    main(sys.argv[1])
