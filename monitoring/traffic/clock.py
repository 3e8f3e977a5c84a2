"""tcpdump's timestamps -> nanoseconds: -tt, -ttt, -tttt, -ttttt and the time of day, at once for equal widths."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from lab.unread import Unread
from monitoring.traffic.packets import UNKNOWN, Integers

_DAY, _NANOSECONDS = 86400, 1_000_000_000
_HALF_DAY = _DAY // 2 * _NANOSECONDS
_MEMORY = 1 << 16
_DIGITS = 9  # of nanoseconds
_NO_TIME = int(np.iinfo(np.int64).min)
_LATEST = int(np.iinfo(np.int64).max) // _NANOSECONDS  # seconds since 1970 that 64 bits of nanoseconds hold
_HOURS, _MINUTES, _SECONDS = 24, 60, 61  # one may be a leap second
_LONGEST_QUOTE = 40
_ZERO, _MINUS = ord("0"), ord("-")
_SIGNS, _TIMELESS = (b" ", b"-"), (b"", b"[")  # "[Error converting time]"
_RELATIVE_BEGIN = 10**18  # where relative times begin, so that none is negative
_FEW = 8  # a text in which times rise so much more often than they fall counts from its first packet
_BOTH, _ENOUGH = (
    2,
    8,
)  # packets: for two, -ttt and -ttttt are the same; as few as a SYN is repeated may rise by chance


class Clock:
    """Reads the timestamps of one text, in order: some count from the one before, some begin anew at midnight."""

    def __init__(self, unread: Unread) -> None:
        self._unread = unread
        self._seconds: dict[bytes, int] = {}
        self._since_first: bool | None = None
        self._elapsed = _RELATIVE_BEGIN
        self._days, self._last = 0, 0

    def times(self, texts: Sequence[bytes]) -> Integers:
        """Give nanoseconds for each; UNKNOWN for one that tells no time."""
        if not texts:
            return np.zeros(0, np.int64)
        if len(set(map(len, texts))) == 1 and texts[0][:1] not in _TIMELESS:
            return self._told(texts)
        told = [index for index, text in enumerate(texts) if text[:1] not in _TIMELESS]
        found = np.full(len(texts), UNKNOWN, np.int64)
        if told:
            found[told] = self._told([texts[index] for index in told])
        return found

    def _told(self, stamps: Sequence[bytes]) -> Integers:
        times = self._read(stamps)
        wrong = times == _NO_TIME
        if not wrong.any():
            return self._of_style(stamps[0], times)
        where = stamps[int(np.argmax(wrong))].decode().strip()[:_LONGEST_QUOTE]
        self._unread.note("time that no calendar has", where, int(wrong.sum()))
        found = np.full(len(times), UNKNOWN, np.int64)
        if not wrong.all():
            found[~wrong] = self._of_style(stamps[0], times[~wrong])
        return found

    def _of_style(self, first: bytes, times: Integers) -> Integers:
        if first[:1] in _SIGNS:
            return self._relative(times)
        return self._of_days(times) if b":" in first and b"-" not in first else times

    def _relative(self, times: Integers) -> Integers:
        """Tell -ttttt, since the first packet, which rises, from -ttt, since the one before."""
        if self._since_first is None:
            steps = np.diff(times)
            rises, falls = int((steps > 0).sum()), int(((steps < 0) & (steps > -_HALF_DAY)).sum())
            rising = rises * 2 > len(times) - 1 and falls * _FEW <= rises
            if rising and _BOTH < len(times) < _ENOUGH:
                self._unread.note("times that may be of -ttt and of -ttttt", "so few do not tell", len(times))
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
        seconds = seconds[np.cumsum(change) - 1]
        times = seconds * _NANOSECONDS + fraction
        signed = np.where(letters[:, 0] == _MINUS, -times, times)
        return np.asarray(np.where(seconds == _NO_TIME, _NO_TIME, signed))

    def _one(self, stamp: bytes) -> int:
        whole, _, part = stamp.rstrip().partition(b".")
        seconds = self._second(whole)
        if seconds == _NO_TIME:
            return _NO_TIME
        time = seconds * _NANOSECONDS + int(part[:_DIGITS].ljust(_DIGITS, b"0") or 0)
        return -time if stamp.startswith(b"-") else time

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
    """Give the seconds of what stands before the point; _NO_TIME where it makes no sense."""
    day, _, clock = text.strip(b" -").rpartition(b" ")
    try:
        if b":" not in clock:
            return _possible(int(clock[: len(str(_LATEST)) + 1])) if text[:1] not in _SIGNS else _NO_TIME
        days = (date.fromisoformat(day.decode()) - date(1970, 1, 1)).days if day else 0
        hours, minutes, seconds = map(int, clock.split(b":"))
    except ValueError:
        return _NO_TIME
    if hours >= _HOURS or minutes >= _MINUTES or seconds >= _SECONDS:
        return _NO_TIME
    return _possible(days * _DAY + (hours * 60 + minutes) * 60 + seconds)


def _possible(seconds: int) -> int:
    return seconds if 0 <= seconds < _LATEST else _NO_TIME
