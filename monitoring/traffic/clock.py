"""tcpdump's timestamps -> nanoseconds: -tt, -ttt, -tttt, -ttttt and the time of day, at once for equal widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lab.unread import Unread
from monitoring.traffic.memory import Memory
from monitoring.traffic.packets import UNKNOWN, Integers

Letters = NDArray[np.uint8]
_DAY, _NANOSECONDS = 86400, 1_000_000_000
_HALF_DAY = _DAY // 2 * _NANOSECONDS
_DIGITS = 9  # digits of a second's fraction, up to nanoseconds
_NO_TIME = int(np.iinfo(np.int64).min)
_LATEST = int(np.iinfo(np.int64).max) // _NANOSECONDS  # seconds since 1970 that 64 bits of nanoseconds hold
_HOURS, _MINUTES, _SECONDS = 24, 60, 61  # a minute may have a leap second
_MAX_QUOTE = 40
_ZERO, _MINUS, _POINT = b"0-."
_SIGNS, _TIMELESS = (b" ", b"-"), (b"", b"[")  # "[Error converting time]"
_RELATIVE_BEGIN = 10**18  # the start of relative times, so that none is negative
_FEW = 8  # times rise 8 times as often as they fall: relative to the first packet
_BOTH, _ENOUGH = 2, 8  # packets: of two, -ttt and -ttttt are the same; a few may rise by chance


class Clock:
    """Reads timestamps in order: -ttt counts from the packet before, a time of day wraps at midnight."""

    def __init__(self, unread: Unread) -> None:
        self._unread = unread
        self._seconds = Memory(_second)
        self._since_first: bool | None = None
        self._elapsed = _RELATIVE_BEGIN
        self._days, self._last = 0, 0

    def times(self, texts: Sequence[bytes]) -> Integers:
        """Return the nanoseconds of each timestamp; UNKNOWN for one without a time."""
        found = np.full(len(texts), UNKNOWN, np.int64)
        stamps, rows = texts, np.arange(len(texts))
        if len(set(map(len, texts))) > 1 or (texts and texts[0][:1] in _TIMELESS):
            stamps = [text for text in texts if text[:1] not in _TIMELESS]
            rows = np.flatnonzero([text[:1] not in _TIMELESS for text in texts])
        if stamps:
            found[rows] = self._in_order(self._read(stamps), stamps.__getitem__)
        return found

    def times_of(self, letters: Letters) -> Integers:
        """Return the nanoseconds of timestamps of one form, a row of letters each; UNKNOWN for an invalid one."""
        point = int(np.argmax(letters[0] == _POINT))
        return self._in_order(self._at_once(letters, point), lambda row: letters[row].tobytes())

    def _in_order(self, times: Integers, stamp: Callable[[int], bytes]) -> Integers:
        """Return times since 1970 or the beginning; stamp() returns a row's text."""
        found = np.full(len(times), UNKNOWN, np.int64)
        wrong = times == _NO_TIME
        where = stamp(int(np.argmax(wrong))).decode().strip()[:_MAX_QUOTE]
        self._unread.note("invalid time", where, int(wrong.sum()))
        if wrong.all():
            return found
        times, first = times[~wrong], stamp(0)
        if first[:1] in _SIGNS:
            times = self._relative(times)
        elif b":" in first and b"-" not in first:
            times = self._of_days(times)
        found[~wrong] = times
        return found

    def _relative(self, times: Integers) -> Integers:
        """Distinguish -ttttt (since the first packet), which rises, from -ttt (since the packet before)."""
        if self._since_first is None:
            steps = np.diff(times)
            rises, falls = int((steps > 0).sum()), int(((steps < 0) & (steps > -_HALF_DAY)).sum())
            rising = rises * 2 > len(times) - 1 and falls * _FEW <= rises
            if rising and _BOTH < len(times) < _ENOUGH:
                self._unread.note("times of either -ttt or -ttttt", "too few to decide", len(times))
                return np.full(len(times), UNKNOWN, np.int64)
            self._since_first = rising
        if self._since_first:
            return np.asarray(self._of_days(times) + _RELATIVE_BEGIN)
        times = np.asarray(np.cumsum(times) + self._elapsed)
        self._elapsed = int(times[-1])
        return times

    def _read(self, stamps: Sequence[bytes]) -> Integers:
        width = len(stamps[0])
        point = stamps[0].index(b".")
        if set(map(len, stamps)) == {width}:
            letters = np.array(stamps, f"S{width}").view(np.uint8).reshape(len(stamps), width)
            if (letters[:, point] == _POINT).all():
                return self._at_once(letters, point)
        return np.array([self._one(stamp) for stamp in stamps], np.int64)

    def _at_once(self, letters: Letters, point: int) -> Integers:
        digits = min(letters.shape[1] - point - 2, _DIGITS)  # a space ends the fraction
        weights = 10 ** np.arange(_DIGITS - 1, _DIGITS - 1 - digits, -1)
        fraction = (letters[:, point + 1 : point + 1 + digits].astype(np.int64) - _ZERO) @ weights
        change = np.ones(len(letters), np.bool_)
        change[1:] = (letters[1:, :point] != letters[:-1, :point]).any(axis=1)
        begins = np.flatnonzero(change)
        seconds = np.array(
            [self._seconds[letters[index, :point].tobytes()] for index in begins.tolist()], np.int64
        )
        seconds = seconds[np.cumsum(change) - 1]
        times = seconds * _NANOSECONDS + fraction
        signed = np.where(letters[:, 0] == _MINUS, -times, times)
        return np.asarray(np.where(seconds == _NO_TIME, _NO_TIME, signed))

    def _one(self, stamp: bytes) -> int:
        whole, _, part = stamp.rstrip().partition(b".")
        seconds = self._seconds[whole]
        if seconds == _NO_TIME:
            return _NO_TIME
        time = seconds * _NANOSECONDS + int(part[:_DIGITS].ljust(_DIGITS, b"0") or 0)
        return -time if stamp.startswith(b"-") else time

    def _of_days(self, times: Integers) -> Integers:
        """Add days: a time of day far before the last one is of the next day."""
        with_last = np.concatenate(([self._last], times))
        midnights = np.cumsum(np.diff(with_last) < -_HALF_DAY)
        self._last = int(times[-1])
        found = times + (self._days + midnights) * _DAY * _NANOSECONDS
        self._days += int(midnights[-1])
        return np.asarray(found)


def _second(text: bytes) -> int:
    """Return the seconds of the text before the decimal point; _NO_TIME if it is invalid."""
    day, _, clock = text.strip(b" -").rpartition(b" ")
    try:
        if b":" in clock:
            days = (date.fromisoformat(day.decode()) - date(1970, 1, 1)).days if day else 0
            hours, minutes, part = map(int, clock.split(b":"))
            if hours >= _HOURS or minutes >= _MINUTES or part >= _SECONDS:
                return _NO_TIME
            seconds = days * _DAY + (hours * 60 + minutes) * 60 + part
        elif text[:1] in _SIGNS:
            return _NO_TIME
        else:
            seconds = int(clock[: len(str(_LATEST)) + 1])
    except ValueError:
        return _NO_TIME
    return seconds if 0 <= seconds < _LATEST else _NO_TIME
