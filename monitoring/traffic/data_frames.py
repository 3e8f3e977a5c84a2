"""The tables of a capture as pandas data frames, for the report and for JSON and parquet files.

Loading pandas takes longer than counting 100,000 packets: import this module only to write a report or such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lab.csv_files import Table
from lab.whole_file import draft_of
from monitoring.traffic.columns import COLUMNS, Kind


def frame_of(table: Table) -> pd.DataFrame:
    """Return a table with typed columns (text, integers or floats); an unknown value is missing (NA)."""
    columns = {}
    for number, name in enumerate(table.columns):
        values = pd.Series([row[number] for row in table.rows], dtype=object)
        kind = COLUMNS[name].kind
        if kind != Kind.TEXT:
            values = pd.to_numeric(values, errors="coerce")
        columns[name] = values.astype(kind.value)
    return pd.DataFrame(columns)


def write_frames(tables: Sequence[Table], folder: Path, kind: str) -> None:
    """Write each table as NAME.json (a list of one object for each row) or NAME.parquet; `kind` says which."""
    for table in tables:
        frame = frame_of(table)
        with draft_of(folder / f"{table.name}.{kind}") as draft:
            if kind == "parquet":
                frame.to_parquet(draft, index=False)
            else:
                frame.to_json(draft, orient="records", indent=1)


def resampled(rates: pd.DataFrame, step: int) -> pd.DataFrame:
    """Sum a table of rates (second, packets, bytes) over steps of `step` seconds."""
    index = pd.to_timedelta(rates["second"].astype("int64"), unit="s")
    sums = rates.set_index(index)[["packets", "bytes"]].resample(pd.Timedelta(seconds=step)).sum()
    return sums.assign(second=pd.TimedeltaIndex(sums.index).total_seconds().astype("int64"))
