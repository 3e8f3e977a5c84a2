"""The report of a capture: summary, observations, a section for each table and picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lab.csv_files import Table
from lab.document import Block, Document, Picture, Rows, Section
from lab.document_files import write
from monitoring.traffic import findings
from monitoring.traffic.columns import COLUMNS, METRICS, Kind
from monitoring.traffic.data_frames import frame_of
from monitoring.traffic.tables import Tables

_MAX_ROWS = 15
_PICTURE_WIDTH = 160  # mm: all pictures have letters of one size, and room for a narrow table beside them
_TITLES = {
    "packets_per_service_pair": "Who sends to whom",
    "protocol_distribution": "Protocols",
    "top_talkers": "Who sends most",
    "traffic_summary": "Traffic over time, and the capture in figures",
    "conversations": "Connections of each pair, packets sent again, and handshakes",
    "unread": "What could not be read",
}
_PICTURES = {
    "packets_per_service_pair": "top_service_pairs",
    "protocol_distribution": "protocol_distribution",
    "top_talkers": "top_talkers",
    "traffic_summary": "traffic_rate",  # the table traffic_rate has a row a second, too long to print
}
_WIDE, _NARROW = 3.0, 1.2


def report(tables: Tables, written: Sequence[Table], folder: Path, made: str) -> Path:
    """Write the report as PDF and Markdown; return the PDF's path."""
    sections = [
        Section("Executive summary", [findings.summary(tables)]),
        Section("Observations", findings.observations(tables)),
        *(Section(_TITLES[table.name], _blocks(table, folder)) for table in written if _is_shown(table)),
    ]
    path = folder / "traffic_analysis_report.pdf"
    write(Document("Traffic analysis", made, sections), path.with_suffix(".md"), path)
    return path


def _is_shown(table: Table) -> bool:
    return bool(table.rows) and table.name in _TITLES


def _blocks(table: Table, folder: Path) -> list[Block]:
    blocks: list[Block] = []
    if name := _PICTURES.get(table.name):
        blocks.append(Picture(folder / f"{name}.png", _TITLES[table.name], width=_PICTURE_WIDTH))
    most = len(METRICS) if table.name == "traffic_summary" else _MAX_ROWS
    blocks.append(_rows(frame_of(table).head(most), table.name))
    if len(table.rows) > most:
        blocks.append(f"{len(table.rows) - most:,} more rows are in {table.name}.csv.")
    return blocks


def _rows(frame: pd.DataFrame, name: str) -> Rows:
    """Return a table with plain headings, and numbers with separators and units; a missing value is blank."""
    widths = [_WIDE if COLUMNS[column].kind == Kind.TEXT else _NARROW for column in frame.columns]
    headings = [COLUMNS[column].heading for column in frame.columns]
    if name == "traffic_summary":
        cells = [_figure(metric, value) for metric, value in frame.itertuples(index=False)]
    else:
        columns = [_cells(frame[column], COLUMNS[column].kind) for column in frame.columns]
        cells = list(zip(*columns, strict=True))
    return Rows(headings, cells, widths)


def _cells(values: pd.Series[str], kind: Kind) -> list[str]:
    form = {Kind.TEXT: "{}", Kind.COUNT: "{:,}", Kind.NUMBER: "{:,.3f}"}[kind]
    return ["" if pd.isna(value) else form.format(value) for value in values]


def _figure(metric: str, value: float) -> tuple[str, str]:
    name, unit = METRICS[metric]
    if pd.isna(value):
        return name, "unknown"
    return name, f"{value:,.0f} {unit}".strip() if value == int(value) else f"{value:,.1f} {unit}".strip()
