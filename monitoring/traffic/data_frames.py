"""The tables of a capture as pandas data frames, for the report and for JSON and parquet files.

Loading pandas takes longer than counting 100,000 packets: import this module only to write a report or such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lab.csv_files import Table
from lab.whole_file import draft_of
from monitoring.traffic.columns import COLUMNS, TEXT


def frame_of(table: Table) -> pd.DataFrame:
    """Return a table with typed columns (text, integers or floats); an unknown value is missing (NA)."""
    frame = pd.DataFrame(list(table.rows), columns=list(table.columns), dtype=object)
    kinds = {name: COLUMNS[name][1] for name in table.columns}
    numbers = [name for name, kind in kinds.items() if kind != TEXT]
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce")
    return frame.astype(kinds)


def write_frames(tables: Sequence[Table], folder: Path, kind: str) -> None:
    """Write each table as NAME.json (a list of one object for each row) or NAME.parquet; `kind` says which."""
    for table in tables:
        frame = frame_of(table)
        with draft_of(folder / f"{table.name}.{kind}") as draft:
            if kind == "parquet":
                frame.to_parquet(draft, index=False)
            else:
                frame.to_json(draft, orient="records", indent=1)
