"""Files of an earlier run, removed before a new one begins so that nobody mistakes them for its results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scripts.whole_file import draft_path

_TABLES = (
    "packets_per_service_pair", "protocol_distribution", "top_talkers", "traffic_summary", "conversations",
    "traffic_rate", "unread",
)  # fmt: skip
_PICTURES = ("protocol_distribution", "top_service_pairs", "top_talkers", "traffic_rate")
_REPORT = "traffic_analysis_report"


def files(folder: Path) -> Iterator[Path]:
    """Yield every path that a run may write in `folder`."""
    yield from (folder / f"{name}{ending}" for name in _TABLES for ending in (".csv", ".json", ".parquet"))
    yield from (folder / f"{name}.png" for name in _PICTURES)
    yield from (folder / f"{_REPORT}{ending}" for ending in (".md", ".pdf"))


def remove(folder: Path) -> list[Path]:
    """Remove the files of an earlier run, and drafts of a killed one, from `folder`; return the files that existed."""
    existing = [path for path in files(folder) if path.is_file()]
    for path in files(folder):
        path.unlink(missing_ok=True)
        draft_path(path).unlink(missing_ok=True)
    return existing
