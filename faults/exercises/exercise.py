"""The state of an exercise that is under way: what it cost so far, its score, its result."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from faults.exercises.behaviour import Behaviour
from faults.exercises.place import Place
from faults.exercises.progress import Attempt, Outcome, ProgressError, hint_cost, points_of, store_attempt


class Exercise:
    """An exercise in a place. `after_break` has the behaviours that the break left."""

    def __init__(
        self,
        place: Place,
        seed: int,
        topology: str,
        after_break: Sequence[Behaviour],
        file: Path,
        *,
        here: bool,
    ) -> None:
        self.place, self.fault, self.seed, self.topology, self.here = place, place.fault, seed, topology, here
        self.after_break, self._file = after_break, file
        self._begin, self._began = time.monotonic(), datetime.now(UTC)
        self.hints = self.checks = self.resets = 0
        self.result: Attempt | None = None
        self.complaint = ""  # why the result could not be stored

    @property
    def points(self) -> int:
        """Return the highest score."""
        return points_of(self.fault)

    @property
    def score(self) -> int:
        """Return the points scored, or those that a repair would score now."""
        return self.result.score if self.result else self.points - self.hints * hint_cost(self.fault)

    def end(self, outcome: Outcome) -> Attempt:
        """Store the result, once; return it."""
        if self.result:
            return self.result
        self.result = Attempt(
            exercise=self.fault.slug,
            seed=self.seed,
            topology=self.topology,
            here=self.here,
            began=self._began.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._begin),
            outcome=outcome,
            score=self.score if outcome is Outcome.SOLVED else 0,
            points=self.points,
            hints=self.hints,
            checks=self.checks,
            resets=self.resets,
        )
        try:
            store_attempt(self._file, self.result)
        except ProgressError as error:
            self.complaint = f"the result was not stored: {error}\n{json.dumps(asdict(self.result))}"
        return self.result
