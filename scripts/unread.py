"""What a reader could not read: counted by reason, so that nothing vanishes without a word. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Unread:
    """What could not be read: how many times for each reason, and where first."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str, where: str, count: int = 1) -> None:
        """Count it."""
        if count:
            self.counts[reason] += count
            self.first.setdefault(reason, where)

    def sentences(self) -> Iterator[str]:
        """Say each reason, the most frequent first: "not read: a line with NUL bytes, 2 times (first at line 7)"."""
        for reason, count in self.counts.most_common():
            first = f" (first at {self.first[reason]})" if self.first[reason] else ""
            times = "once" if count == 1 else f"{count:,} times"
            yield f"not read: {reason}, {times}{first}"
