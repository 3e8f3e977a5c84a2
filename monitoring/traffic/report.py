"""The report of a capture: summary, observations, a table a CSV, the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monitoring.traffic import findings
from monitoring.traffic.tables import Tables
from scripts.csv_files import Table
from scripts.document import Block, Document, Picture, Rows, Section, write

_MOST_ROWS = 40
_PICTURE_HEIGHT = 95  # mm
_TITLES = {
    "packets_per_service_pair": "Packets from service to service",
    "protocol_distribution": "Protocols",
    "top_talkers": "Who sends most",
    "traffic_summary": "The capture in figures",
    "conversations": "Conversations: flags, repeats and handshakes",
    "traffic_rate": "Traffic over time",
    "unread": "What could not be read",
}
_PICTURES = {
    "packets_per_service_pair": "top_service_pairs",
    "protocol_distribution": "protocol_distribution",
    "top_talkers": "top_talkers",
    "traffic_rate": "traffic_rate",
}
_WIDE = {"source", "destination", "service", "metric", "reason", "first"}


def report(tables: Tables, written: Sequence[Table], folder: Path, made: str) -> Path:
    """Write the report as PDF and Markdown, and give the PDF's path."""
    sections = [
        Section("Executive summary", [findings.summary(tables)]),
        Section("Observations", findings.observations(tables)),
        *(Section(_TITLES[table.name], _blocks(table, folder)) for table in written if table.rows),
    ]
    path = folder / "traffic_analysis_report.pdf"
    write(Document("Traffic analysis", made, sections), path.with_suffix(".md"), path)
    return path


def _blocks(table: Table, folder: Path) -> list[Block]:
    blocks: list[Block] = []
    if name := _PICTURES.get(table.name):
        blocks.append(Picture(folder / f"{name}.png", _TITLES[table.name], _PICTURE_HEIGHT))
    if table.name != "traffic_rate":  # its picture says more than a row a second
        headings = [column.replace("_", " ") for column in table.columns]
        widths = [3 if column in _WIDE else 1.4 for column in table.columns]
        blocks.append(Rows(headings, [_shown(row) for row in table.rows[:_MOST_ROWS]], widths))
    if len(table.rows) > _MOST_ROWS:
        blocks.append(f"{len(table.rows) - _MOST_ROWS} more rows are in {table.name}.csv.")
    return blocks


def _shown(row: Sequence[object]) -> list[str]:
    return [f"{value:,}" if isinstance(value, int) else str(value) for value in row]
