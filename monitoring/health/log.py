"""The monitor's CSV log: written row by row, and read back with times that never go back."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from lab.csv_files import read as read_csv
from lab.unread import Unread
from monitoring.health.checks import TIMEOUT_SECONDS, Check

COLUMNS = ("time", "service", "up", "milliseconds", "why")
_GAP = 3  # times the usual pause between two rounds
_YEARS = range(1970, 9999)  # whatever the time zone, Python has a date for these in UTC
_MOST_MILLISECONDS = 60_000  # a check ends at its deadline of two seconds, on a busy machine a little later
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True)
class Logged(Check):
    """A check read from the log: `elapsed` is seconds since the first check, `part` the number of breaks before it."""

    elapsed: float = 0.0
    part: int = 0


@dataclass(frozen=True)
class Break:
    """A break between two rounds, of unknown length; both times in seconds since 1970, as in the log."""

    before: float
    after: float

    def __str__(self) -> str:
        last, first = moment(self.before), moment(self.after)
        if self.after < self.before:
            return (
                f"The clock was set back by at least {duration(self.before - self.after)}: the check after {last} says "
                f"{first}. The time between the two is unknown and not counted."
            )
        return (
            f"No check was recorded for {duration(self.after - self.before)}, from {last} to {first}: the monitor did "
            "not run, or the clock was set forward. This time is not counted."
        )


@dataclass(frozen=True)
class Span:
    """A time in one state, `begin` in seconds since 1970; not `whole` if there is a break in it: it was longer."""

    begin: float
    seconds: float
    why: str
    whole: bool = True

    def __str__(self) -> str:
        if self.whole:
            return f"about {duration(self.seconds)}"
        return f"at least {duration(self.seconds)}" if self.seconds else "an unknown time"


@dataclass(frozen=True)
class Log:
    """The checks of a log by service, in order; its breaks, and what could not be read."""

    services: dict[str, list[Logged]]
    breaks: Sequence[Break] = ()
    unread: Unread = field(default_factory=Unread)


def row_of(check: Check) -> tuple[str, str, int, str, str]:
    """Return a check as a row of the log."""
    return (when(check.time), check.node, int(check.up), f"{check.milliseconds:.3f}", check.why)


def when(seconds: float) -> str:
    """Format seconds since 1970 as in the log."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def moment(seconds: float) -> str:
    """Format seconds since 1970 for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Format seconds for people, in the two greatest units."""
    for (unit, size), (smaller, part) in pairwise((*_UNITS, ("s", 1))):
        if seconds >= size:
            whole, rest = divmod(round(seconds / part), size // part)
            return f"{whole:,} {unit} {rest} {smaller}" if rest else f"{whole:,} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == round(seconds) else f"{seconds:.1f} s"  # noqa: PLR2004


def read(path: Path) -> Log:
    """Read a log. Raises CsvError for another kind of file, OSError if it cannot be opened."""
    unread = Unread()
    checks, breaks = on_one_clock(list(read_csv(path, COLUMNS, _check, unread)))
    services: dict[str, list[Logged]] = {}
    for check in checks:
        services.setdefault(check.node, []).append(check)
    return Log(services, breaks, unread)


def _check(row: Mapping[str, str]) -> Check:
    time, milliseconds = datetime.fromisoformat(row["time"]), float(row["milliseconds"])
    if time.tzinfo is None or row["up"] not in ("0", "1") or not row["service"]:
        raise ValueError
    # "nan" fails this comparison too
    if time.year not in _YEARS or not 0 <= milliseconds <= _MOST_MILLISECONDS:
        raise ValueError
    return Check(row["service"], time.timestamp(), row["up"] == "1", milliseconds, row["why"])


def on_one_clock(checks: Sequence[Check]) -> tuple[list[Logged], list[Break]]:
    """Return checks with their elapsed time, and breaks: where the clock was set or nothing was recorded."""
    rounds = list(_rounds(checks))
    steps = [later[0].time - earlier[0].time for earlier, later in pairwise(rounds)]
    usual = statistics.median([step for step in steps if step >= 0] or [0.0])
    longest = _GAP * usual + TIMEOUT_SECONDS
    placed: list[Logged] = []
    breaks: list[Break] = []
    elapsed, previous = 0.0, rounds[0][0].time if rounds else 0.0
    for each in rounds:
        begin = each[0].time
        if 0 <= begin - previous <= longest:
            elapsed += begin - previous
        else:
            breaks.append(Break(previous, begin))
        for check in each:
            placed.append(
                Logged(**vars(check), elapsed=elapsed + max(check.time - begin, 0.0), part=len(breaks))
            )
        previous = begin
    return placed, breaks


def _rounds(checks: Iterable[Check]) -> Iterator[list[Check]]:
    """Group checks of one round: it ends where a service comes again or the time jumps."""
    current: dict[str, Check] = {}
    begin = 0.0
    for check in checks:
        if current and (check.node in current or abs(check.time - begin) > TIMEOUT_SECONDS):
            yield list(current.values())
            current = {}
        begin = begin if current else check.time
        current[check.node] = check
    if current:
        yield list(current.values())


def spans(checks: Sequence[Logged], state: str) -> list[Span]:
    """Return each span in which the checks of one service were in `state`."""
    found: list[Span] = []
    since: Logged | None = None
    for check in checks:
        if check.state == state and since is None:
            since = check
        elif check.state != state and since is not None:
            found.append(_span(since, check))
            since = None
    if since is not None:
        found.append(_span(since, checks[-1]))
    return found


def _span(first: Logged, last: Logged) -> Span:
    return Span(first.time, max(last.elapsed - first.elapsed, 0.0), first.why, whole=first.part == last.part)
