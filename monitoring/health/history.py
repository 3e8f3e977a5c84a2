"""What a service answered over time: uptime and latencies, over the last hour or so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from monitoring.health.checks import Check

KEPT = 360  # checks: an hour of one every 10 s
_STEPS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_DOWN = "\u00d7"


@dataclass
class History:
    """The last checks of one service."""

    checks: deque[Check] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def latencies(self) -> list[float]:
        """Milliseconds of those that were answered."""
        return [check.milliseconds for check in self.checks if check.up]

    @property
    def uptime(self) -> float:
        """Share of checks that were answered, 0 to 1."""
        return sum(check.up for check in self.checks) / len(self.checks) if self.checks else 0.0

    def sparkline(self, width: int = 20) -> str:
        """Draw the last latencies as blocks, what was not answered as a cross."""
        shown = list(self.checks)[-width:]
        highest = max((check.milliseconds for check in shown if check.up), default=1.0) or 1.0
        return "".join(
            _STEPS[min(int(check.milliseconds / highest * len(_STEPS)), len(_STEPS) - 1)]
            if check.up
            else _DOWN
            for check in shown
        )


class Histories:
    """Those of all services, in the order they were first seen."""

    def __init__(self) -> None:
        self.by_node: dict[str, History] = {}

    def note(self, checks: Iterable[Check]) -> None:
        """Remember checks."""
        for check in checks:
            self.by_node.setdefault(check.node, History()).checks.append(check)
