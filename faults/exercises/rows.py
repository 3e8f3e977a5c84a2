"""An exercise of the list with the learner's progress, without what reveals the cause: folder, area or hint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faults.exercises.catalogue import Fault
from faults.exercises.progress import Attempt, Progress, points_of, progress_of


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the list, and of the report."""

    exercise: str  # what `make exercise NAME=` takes
    title: str
    level: int
    points: int
    topologies: Sequence[str]
    progress: Progress

    @property
    def state(self) -> str:
        """Return solved, tried, or nothing."""
        return "solved" if self.progress.solved else "tried" if self.progress.attempts else ""


def rows_of(faults: Sequence[Fault], attempts: Sequence[Attempt]) -> list[Row]:
    """Return a row for each exercise, by level and title; the order of the folders would reveal them."""
    rows = [
        Row(
            exercise=fault.slug,
            title=fault.title,
            level=fault.level,
            points=points_of(fault),
            topologies=fault.topologies,
            progress=progress_of(fault.slug, attempts),
        )
        for fault in faults
    ]
    return sorted(rows, key=lambda row: (row.level, row.title))


def score_of(rows: Sequence[Row]) -> int:
    """Return the sum of the best scores."""
    return sum(row.progress.best_score for row in rows)
