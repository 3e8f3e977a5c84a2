"""Checks over time: the last hour in memory, and the rows of the CSV log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from monitoring.health.checks import Check

COLUMNS = ("time", "service", "up", "milliseconds", "why")  # columns of the log
_MAX_CHECKS = 360  # one hour, one check every 10 s
_BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_CROSS = "\u00d7"


@dataclass
class History:
    """The last checks of one service."""

    checks: deque[Check] = field(default_factory=lambda: deque(maxlen=_MAX_CHECKS))

    @property
    def latencies(self) -> list[float]:
        """Return the milliseconds of the checks that were answered."""
        return [check.milliseconds for check in self.checks if check.up]

    @property
    def uptime(self) -> float:
        """Return the share of checks that were answered, 0 to 1."""
        return sum(check.up for check in self.checks) / len(self.checks) if self.checks else 0.0

    def sparkline(self, width: int = 20) -> str:
        """Return the last latencies as block characters, with a cross for no answer."""
        shown = list(self.checks)[-width:]
        highest = max((check.milliseconds for check in shown if check.up), default=1.0) or 1.0
        last = len(_BLOCKS) - 1
        return "".join(
            _BLOCKS[min(int(check.milliseconds / highest * len(_BLOCKS)), last)] if check.up else _CROSS
            for check in shown
        )


def add_checks(histories: dict[str, History], checks: Iterable[Check]) -> None:
    """Add checks to the histories of their services, which stay in the order they were first seen."""
    for check in checks:
        histories.setdefault(check.node, History()).checks.append(check)


def row_of(check: Check) -> tuple[str, str, int, str, str]:
    """Return a check as a row of the log."""
    return (when(check.time), check.node, int(check.up), f"{check.milliseconds:.3f}", check.why)


def when(seconds: float) -> str:
    """Format seconds since 1970 as in the log."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
