"""Read the monitor's CSV log into a table of checks, on a clock that never goes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pandas as pd

from lab.csv_files import read as read_csv
from lab.unread import Unread
from monitoring.health.checks import TIMEOUT_SECONDS, Check
from monitoring.health.history import COLUMNS

_GAP = 3  # times the usual pause between two rounds
_YEARS = range(1970, 9999)  # Python can represent these times in every time zone
_MAX_MILLISECONDS = 60_000  # a check ends after 2 s, on a busy machine a little later
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True)
class Break:
    """A break between two rounds, of unknown length; both times in seconds since 1970, as in the log."""

    before: float
    after: float

    def __str__(self) -> str:
        last, first = moment(self.before), moment(self.after)
        if self.after < self.before:
            return (
                f"The clock was set back by at least {duration(self.before - self.after)}: the check after {last} is "
                f"dated {first}. The time between the two is unknown and not counted."
            )
        return (
            f"No check was recorded for {duration(self.after - self.before)}, from {last} to {first}: the monitor did "
            "not run, or the clock was set forward. This time is not counted."
        )


@dataclass(frozen=True)
class Log:
    """The checks in order of time (see on_one_clock), the breaks between them, and the unread lines."""

    checks: pd.DataFrame
    breaks: Sequence[Break] = ()
    unread: Unread = field(default_factory=Unread)


def moment(seconds: float) -> str:
    """Format seconds since 1970 as a date and time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Format a duration in its two greatest units."""
    for (unit, size), (smaller, part) in pairwise((*_UNITS, ("s", 1))):
        if seconds >= size:
            whole, rest = divmod(round(seconds / part), size // part)
            return f"{whole:,} {unit} {rest} {smaller}" if rest else f"{whole:,} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == round(seconds) else f"{seconds:.1f} s"  # noqa: PLR2004


def read(path: Path) -> Log:
    """Read a log. Raises CsvError for another kind of file, OSError if it cannot be opened."""
    unread = Unread()
    checks, breaks = on_one_clock(list(read_csv(path, COLUMNS, _check, unread)))
    return Log(checks, breaks, unread)


def _check(row: Mapping[str, str]) -> Check:
    time, milliseconds = datetime.fromisoformat(row["time"]), float(row["milliseconds"])
    if time.tzinfo is None or row["up"] not in ("0", "1") or not row["service"]:
        raise ValueError
    # "nan" fails this comparison too
    if time.year not in _YEARS or not 0 <= milliseconds <= _MAX_MILLISECONDS:
        raise ValueError
    return Check(row["service"], time.timestamp(), row["up"] == "1", milliseconds, row["why"])


def on_one_clock(checks: Sequence[Check]) -> tuple[pd.DataFrame, list[Break]]:
    """Return a row for each check, and the breaks (the clock was set, or no check was recorded).

    The columns are those of a Check, its `state`, `elapsed` (seconds since the first check) and `part` (the number of
    breaks before it).
    """
    rows = [{**asdict(check), "state": str(check.state)} for check in checks]
    frame = pd.DataFrame(rows, columns=["node", "time", "up", "milliseconds", "why", "state"])
    rounds = pd.Series(_round_numbers(checks), dtype=int)
    begins = frame.groupby(rounds)["time"].first()
    steps = begins.diff().fillna(0.0)
    usual = steps[1:][steps[1:] >= 0].median() if (steps[1:] >= 0).any() else 0.0
    joined = steps.between(0, _GAP * usual + TIMEOUT_SECONDS)
    late = (frame["time"] - rounds.map(begins)).clip(lower=0)
    frame["elapsed"] = rounds.map(steps.where(joined, 0.0).cumsum()) + late
    frame["part"] = rounds.map((~joined).cumsum())
    return frame, [Break(*ends) for ends in zip(begins.shift()[~joined], begins[~joined], strict=True)]


def _round_numbers(checks: Iterable[Check]) -> list[int]:
    """Return the number of each check's round: a new one begins where a service comes again or the time jumps."""
    numbers: list[int] = []
    nodes: set[str] = set()
    number, begin = -1, 0.0
    for check in checks:
        if not nodes or check.node in nodes or abs(check.time - begin) > TIMEOUT_SECONDS:
            number, begin, nodes = number + 1, check.time, set()
        nodes.add(check.node)
        numbers.append(number)
    return numbers


def spans(checks: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each time that a service was in one state: until its first check in another, or its last one.

    Columns: node, state, begin (seconds since 1970), seconds, why, whole (False: a break in it makes it longer).
    """
    by_node = checks.groupby("node", sort=False)
    numbers = (checks["state"] != by_node["state"].shift()).groupby(checks["node"]).cumsum().rename("number")
    states = checks.groupby(["node", numbers], sort=False).agg(
        state=("state", "first"), begin=("time", "first"), why=("why", "first"), first=("elapsed", "first"),
        last=("elapsed", "last"), part=("part", "first"), last_part=("part", "last"),
    )  # fmt: skip
    following = states.groupby("node", sort=False)[["first", "part"]].shift(-1)
    states["seconds"] = (following["first"].fillna(states["last"]) - states["first"]).clip(lower=0)
    states["whole"] = states["part"] == following["part"].fillna(states["last_part"])
    return states.reset_index()[["node", "state", "begin", "seconds", "why", "whole"]]


def length(seconds: float, *, whole: bool) -> str:
    """Format the length of a span."""
    if whole:
        return f"about {duration(seconds)}"
    return f"at least {duration(seconds)}" if seconds else "an unknown time"
