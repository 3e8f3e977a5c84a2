"""A limit on retries, so that they never become a storm (after the retry budget of Twitter's Finagle)."""

import time
from collections.abc import Callable

SHARE = 0.2  # retries to a request
PER_SECOND = 10.0  # so that a quiet service may retry, too
SECONDS = 10.0  # what was not used is kept for so long


class RetryBudget:
    """A bucket of retries: each request puts in a fifth of one, each second ten; each retry takes one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = PER_SECOND * SECONDS
        self._at = clock()

    def note_request(self) -> None:
        """Put in what a request brings."""
        self._refill()
        # Traffic may fill the bucket over what seconds bring, to at most ten seconds of 1000 requests each.
        self._left = min(self._left + SHARE, SHARE * 1000 * SECONDS)

    def take(self) -> bool:
        """Return whether a retry may be made, and count it."""
        self._refill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        earned = (now - self._at) * PER_SECOND
        self._at = now
        if self._left < PER_SECOND * SECONDS:
            self._left = min(self._left + earned, PER_SECOND * SECONDS)
