"""tcpdump's timestamps -> nanoseconds: -t, -tt, -ttt, -tttt and the time of day, at once for equal widths."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from monitoring.traffic.packets import UNKNOWN, Integers

_DAY, _NANOSECONDS = 86400, 1_000_000_000
_HALF_DAY = _DAY // 2 * _NANOSECONDS
_MEMORY = 1 << 16
_DIGITS = 9  # of nanoseconds
_ZERO = ord("0")


class Clock:
    """Reads the timestamps of one text, in order: some count from the one before, some begin anew at midnight."""

    def __init__(self) -> None:
        self._seconds: dict[bytes, int] = {}
        self._elapsed = 0
        self._days, self._last = 0, 0

    def times(self, texts: Sequence[bytes]) -> Integers:
        """Give nanoseconds for each; UNKNOWN for an empty one."""
        told = [index for index, text in enumerate(texts) if text]
        found = np.full(len(texts), UNKNOWN, np.int64)
        if not told:
            return found
        stamps = [texts[index] for index in told] if len(told) < len(texts) else texts
        first = stamps[0]
        times = self._read(stamps)
        if first[:1] == b" ":
            times = np.cumsum(times) + self._elapsed
            self._elapsed = int(times[-1])
        elif b":" in first and b"-" not in first:
            times = self._of_days(times)
        found[told] = times
        return found

    def _read(self, stamps: Sequence[bytes]) -> Integers:
        width = len(stamps[0])
        point = stamps[0].index(b".")
        if set(map(len, stamps)) == {width}:
            letters = np.array(stamps, f"S{width}").view(np.uint8).reshape(len(stamps), width)
            if (letters[:, point] == ord(".")).all():
                return self._at_once(stamps, letters, point)
        return np.array([self._one(stamp) for stamp in stamps], np.int64)

    def _at_once(
        self, stamps: Sequence[bytes], letters: np.ndarray[tuple[int, int], np.dtype[np.uint8]], point: int
    ) -> Integers:
        digits = min(letters.shape[1] - point - 2, _DIGITS)  # a space ends it
        weights = 10 ** np.arange(_DIGITS - 1, _DIGITS - 1 - digits, -1)
        fraction = (letters[:, point + 1 : point + 1 + digits].astype(np.int64) - _ZERO) @ weights
        change = np.ones(len(stamps), np.bool_)
        change[1:] = (letters[1:, :point] != letters[:-1, :point]).any(axis=1)
        begins = np.flatnonzero(change)
        seconds = np.array([self._second(stamps[index][:point]) for index in begins.tolist()], np.int64)
        return np.asarray(seconds[np.cumsum(change) - 1] * _NANOSECONDS + fraction)

    def _one(self, stamp: bytes) -> int:
        whole, _, part = stamp.rstrip().partition(b".")
        return self._second(whole) * _NANOSECONDS + int(part[:_DIGITS].ljust(_DIGITS, b"0") or 0)

    def _second(self, text: bytes) -> int:
        if text not in self._seconds:
            if len(self._seconds) >= _MEMORY:
                self._seconds.clear()
            self._seconds[text] = _second(text)
        return self._seconds[text]

    def _of_days(self, times: Integers) -> Integers:
        """Count days: a time of day that is far before the last one is of the next day."""
        with_last = np.concatenate(([self._last], times))
        midnights = np.cumsum(np.diff(with_last) < -_HALF_DAY)
        self._last = int(times[-1])
        found = times + (self._days + midnights) * _DAY * _NANOSECONDS
        self._days += int(midnights[-1])
        return np.asarray(found)


def _second(text: bytes) -> int:
    """Give the seconds of what stands before the point; 0 where it makes no sense."""
    day, _, clock = text.strip().rpartition(b" ")
    try:
        if b":" not in clock:
            return int(clock[-10:])
        days = (date.fromisoformat(day.decode()) - date(1970, 1, 1)).days if day else 0
        hours, minutes, seconds = map(int, clock.split(b":"))
    except ValueError:
        return 0
    return days * _DAY + (hours % 24 * 60 + minutes % 60) * 60 + seconds % 60
