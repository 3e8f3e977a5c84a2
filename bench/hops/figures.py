"""The figures of a hop, and a step's result as a sentence."""

from __future__ import annotations

from bench.common.intervals import INCONCLUSIVE, LESS, NO_DIFFERENCE
from bench.hops.client import KEPT, NEW
from bench.hops.steps import Step, amount, name_of, signed

CPU = "cpu_us_per_request"
FIGURES = {"p50_us": "median", "p99_us": "99th percentile", CPU: "CPU time"}
CONNECTIONS = {NEW: "a new connection", KEPT: "a request on a kept connection"}


def conclusion(step: Step, connection: str, figure: str) -> str:
    """Return a step's result as a sentence."""
    of_what, name = f"the {FIGURES[figure]} of {CONNECTIONS[connection]}", name_of(step.hop)
    if step.added is None:
        total = step.total
        return f"{name}: {of_what} is {amount(total.value)} us ({amount(total.low)} to {amount(total.high)})"
    value, low, high = step.added.value, step.added.low, step.added.high
    if step.verdict == NO_DIFFERENCE:
        return f"{name}: no difference in {of_what} ({signed(low)} to {signed(high)} us)"
    if step.verdict == INCONCLUSIVE:
        return f"{name}: {INCONCLUSIVE} for {of_what} (anything from {signed(low)} to {signed(high)} us)"
    if step.verdict == LESS:
        return f"{name}: takes {amount(-value)} us ({amount(-high)} to {amount(-low)}) off {of_what}"
    return f"{name}: adds {amount(value)} us ({amount(low)} to {amount(high)}) to {of_what}"
