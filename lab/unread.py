"""Count unreadable input by reason, so that nothing is skipped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Unread:
    """Counts of unreadable input by reason, and the place of the first for each reason ("" if unknown)."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str, where: str, count: int = 1) -> None:
        """Add `count` unreadable items; `where` is the place of the first, such as "line 7"."""
        if count:
            self.counts[reason] += count
            self.first.setdefault(reason, where)

    def sentences(self) -> Iterator[str]:
        """Yield each reason, the most frequent first: "not read: a line with NUL bytes, 2 times (first at line 7)"."""
        for reason, count in self.counts.most_common():
            first = f" (first at {self.first[reason]})" if self.first[reason] else ""
            times = "once" if count == 1 else f"{count:,} times"
            yield f"not read: {reason}, {times}{first}"

    def remarks(self) -> list[str]:
        """Return the sentences for a document: with a capital and a full stop."""
        return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in self.sentences()]
