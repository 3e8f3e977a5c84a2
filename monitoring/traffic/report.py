"""The report of a capture: summary, observations, a section for each table and picture."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lab.csv_files import Table
from lab.document import Block, Document, Picture, Rows, Section
from lab.document_files import write
from monitoring.traffic import findings
from monitoring.traffic.columns import COLUMNS, COUNT, NUMBER, TEXT
from monitoring.traffic.data_frames import frame_of
from monitoring.traffic.tables import METRICS, Tables

_MAX_ROWS = 10
_ALMOST_ALL = 0.95  # share: a chart of one bar shows nothing
# The tables that are shown: title, and picture.
_SHOWN = {
    "packets_per_service_pair": ("Who sends to whom", "top_service_pairs"),
    "protocol_distribution": ("Protocols", "protocol_distribution"),
    "top_talkers": ("Who sends most", "top_talkers"),
    # The table traffic_rate has a row a second, too long to print.
    "traffic_summary": ("Traffic over time, and the capture in figures", "traffic_rate"),
    "conversations": ("Connections of each pair, packets sent again, and handshakes", ""),
    "unread": ("What could not be read", ""),
}
_WIDE, _NARROW = 3.0, 1.2


def report(tables: Tables, folder: Path, made: str) -> Path:
    """Write the report as PDF and Markdown; return the PDF's path."""
    sections = [
        Section("Executive summary", [findings.summary(tables)]),
        Section("Observations", findings.observations(tables)),
        *(_section(table, folder) for table in tables.all() if table.rows and table.name in _SHOWN),
    ]
    path = folder / "traffic_analysis_report.pdf"
    write(Document("Traffic analysis", made, sections), path.with_suffix(".md"), path)
    return path


def _section(table: Table, folder: Path) -> Section:
    blocks: list[Block] = []
    title, picture = _SHOWN[table.name]
    if picture and not _is_one_bar(table):
        blocks.append(Picture(folder / f"{picture}.png", title))
    most = len(METRICS) if table.name == "traffic_summary" else _MAX_ROWS
    blocks.append(_rows(frame_of(table).head(most), table.name))
    if table.name == "traffic_summary":
        blocks.append("Figures that are 0 are left out; traffic_summary.csv has them.")
    if len(table.rows) > most:
        blocks.append(f"{len(table.rows) - most:,} more rows are in {table.name}.csv.")
    return Section(title, blocks)


def _is_one_bar(table: Table) -> bool:
    """Return whether almost all packets are of the first protocol, so that its bar would be alone."""
    if table.name != "protocol_distribution":
        return False
    counts = frame_of(table)["packets"].astype(int)
    return bool(counts.max() > _ALMOST_ALL * counts.sum())


def _rows(frame: pd.DataFrame, name: str) -> Rows:
    """Return a table with plain headings, and numbers with separators and units; a missing value is blank."""
    headings, kinds = zip(*(COLUMNS[column] for column in frame.columns), strict=True)
    widths = [_WIDE if kind == TEXT else _NARROW for kind in kinds]
    if name == "traffic_summary":
        cells = [
            _figure(metric, value)
            for metric, value in frame.itertuples(index=False)
            if pd.isna(value) or value
        ]
    else:
        columns = (_cells(frame[name], kind) for name, kind in zip(frame.columns, kinds, strict=True))
        cells = list(zip(*columns, strict=True))
    return Rows(headings, cells, widths)


def _cells(values: pd.Series[str], kind: str) -> list[str]:
    form = {TEXT: "{}", COUNT: "{:,}", NUMBER: "{:,.3f}"}[kind]
    return ["" if pd.isna(value) else form.format(value) for value in values]


def _figure(metric: str, value: float) -> tuple[str, str]:
    name, unit, _ = METRICS[metric]
    if pd.isna(value):
        return name, "unknown"
    return name, f"{value:,.0f} {unit}".strip() if value == int(value) else f"{value:,.1f} {unit}".strip()
