"""Write a file completely or leave it as it was: write a draft in the same folder, then rename it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def draft_path(path: Path) -> Path:
    """Return where a file is drafted: with the same suffix, by which some writers choose the format."""
    return path.with_name(f".{path.name}")


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield the path of a draft that replaces `path` at the end; an error removes it and leaves `path` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_path(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
