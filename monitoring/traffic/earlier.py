"""Files of an earlier run, removed before a new one begins so that nobody mistakes them for its results."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.whole_file import draft_path

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


def check(folder: Path, captures: Iterable[str]) -> None:
    """Raise FileExistsError when a run would remove or overwrite one of its captures."""
    read = {(path.stat().st_dev, path.stat().st_ino): path for path in map(Path, captures) if path.is_file()}
    for result in files(folder):
        for path in (result, draft_path(result)):
            if path.is_file() and (capture := read.get((path.stat().st_dev, path.stat().st_ino))):
                raise FileExistsError(
                    errno.EEXIST,
                    f"this capture would be overwritten by a result; write to another folder than {folder}",
                    str(capture),
                )


def remove(folder: Path) -> list[Path]:
    """Remove the files of an earlier run, and drafts of a killed one, from `folder`; return the files that existed."""
    existing = [path for path in files(folder) if path.is_file()]
    for path in files(folder):
        path.unlink(missing_ok=True)
        draft_path(path).unlink(missing_ok=True)
    return existing
