"""Finds the records of a pcap from many places of it at once.

A record's header tells where the next record begins, so records are found one after the other. To do so in many lanes
at once, each lane guesses its first record by what looks like a header. The guess is verified afterwards: each lane
must end exactly where the next one began, and the last one where no whole record follows. Then all lanes are one chain
from the first byte on, whatever the times, lengths and contents. If not, the caller goes record by record.
"""

from __future__ import annotations

import numpy as np

from monitoring.traffic.frames import Bytes, gathered
from monitoring.traffic.packets import Integers

_LANES, _WINDOW = 512, 640  # the window: bytes in which each lane looks for its first record
_MIN_BYTES = 1 << 19  # bytes; fewer are read sooner record by record
_MAX_STEPS = 4096


def positions(view: Bytes, size: int, order: str, longest: int, header: int) -> tuple[Integers, int] | None:
    """Return where each whole record begins and where the last one ends, or None when the lanes do not join."""
    if size < _MIN_BYTES:
        return None
    starts = _starts(view, size, order, longest, header)
    ends = np.append(starts[1:], size)
    rows = []
    at = starts.copy()
    for _ in range(_MAX_STEPS):
        going = (at < ends) & (at + header <= size)
        length = np.where(going, gathered(view, np.where(going, at + 8, 0), 4, order), 0)
        if (length > longest).any():
            return None
        following = at + header + length
        taken = going & (following <= size)
        if not taken.any():
            break
        rows.append(np.where(taken, at, -1))
        at = np.where(taken, following, at)
    else:  # a lane has not reached its end
        return None
    if not rows or (at[:-1] != ends[:-1]).any():
        return None
    found = np.array(rows).T.ravel()
    return found[found >= 0], int(at[-1])


def _starts(view: Bytes, size: int, order: str, longest: int, header: int) -> Integers:
    """Return where each lane begins: 0, then the first place in its window that looks like a record's header."""
    nominal = np.arange(1, _LANES) * (size // _LANES)
    candidates = nominal[:, None] + np.arange(_WINDOW)
    day = slice(2, 4) if order == "<" else slice(0, 2)  # bytes of the seconds that change every 18 hours
    first, second = (int(byte) for byte in view[day])
    alike = (view[candidates + day.start] == first) & (view[candidates + day.start + 1] == second)
    lanes, offsets = np.nonzero(alike)
    at = nominal[lanes] + offsets
    captured, whole = (gathered(view, at + offset, 4, order) for offset in (8, 12))
    following = at + header + captured
    inside = (captured <= longest) & (captured <= whole) & (following + header < size)
    following = np.where(inside, following, 0)
    good = inside & (view[following + day.start] == first) & (view[following + day.start + 1] == second)
    _, earliest = np.unique(lanes[good], return_index=True)
    return np.concatenate(([0], at[good][earliest])).astype(np.int64)
