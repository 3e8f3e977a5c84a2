"""A limit on retries, so that retries cannot multiply the load (after the retry budget of Twitter's Finagle)."""

import time
from collections.abc import Callable

SHARE = 0.2  # retries per request
PER_SECOND = 10.0  # minimum, for services with little traffic
SECONDS = 10.0  # unused retries are kept for so long


class RetryBudget:
    """A bucket of retries: a request adds 0.2, a second adds ten, a retry takes one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = PER_SECOND * SECONDS
        self._at = clock()

    def note_request(self) -> None:
        """Add the share of a request."""
        self._refill()
        # Requests may fill the bucket further than time does: up to ten seconds of 1000 requests a second.
        self._left = min(self._left + SHARE, SHARE * 1000 * SECONDS)

    def take(self) -> bool:
        """Return whether a retry is allowed, and count it."""
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
