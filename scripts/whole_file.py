"""Files that are whole, or as they were before: written beside their place, then renamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def draft_path(path: Path) -> Path:
    """Give where a file is written before it is whole; its ending tells some writers the format."""
    return path.with_name(f".{path.name}")


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` at the end; what fails on the way leaves nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_path(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
