"""One instance of a service: its connections, and whether it is in rotation."""

import functools
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import gevent
from client import connect
from cnet_service import families
from cnet_service.body import refuse_constant
from cnet_service.exchange import NoAnswerError
from cnet_service.metrics import count
from prometheus_client import Counter

GOOD = (range(200, 300), range(400, 500))  # success, or an error of the client
FAILURES_TO_EJECT = 3  # bad answers in a row; an instance that does not answer is ejected at once
SLOW_START_SECONDS = 5.0
SLOW_START_SHARE = 0.1
PASSED_ON = {"Retry-After": re.compile("[0-9]{1,4}"), "X-Instance": re.compile("[A-Za-z0-9._:/-]{1,128}")}

ATTEMPTS = Counter(
    "upstream_attempts_total", "Requests sent to an instance", ["upstream", "instance", "outcome"]
)
CHANGES = Counter(
    "upstream_rotation_changes_total", "Times an instance left or entered rotation", ["instance", "change"]
)

log = logging.getLogger("service")


@dataclass(frozen=True)
class Answer:
    """An upstream's answer with the headers that are passed on; `instance` and `url` say where it came from."""

    instance: str
    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]

    @functools.cached_property
    def good(self) -> bool:
        """Return whether to forward the answer: JSON with a status 2xx or 4xx."""
        return any(self.status in good for good in GOOD) and is_json(self.body)


DECODER = json.JSONDecoder(parse_constant=refuse_constant)


@functools.lru_cache(maxsize=16)  # the catalogue repeats; a body has at most 1 MiB
def is_json(body: bytes) -> bool:
    """Return whether these bytes are one JSON value: UTF-8 without a byte order mark, no NaN."""
    try:
        DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        return False
    return True


class Instance:
    """An instance. It leaves rotation after a failure; when a check succeeds it returns with a growing share.

    `credit` belongs to the balancer. Times are seconds of the clock.
    """

    def __init__(
        self,
        url: str,
        read_seconds: float,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
        ip6: str = "",
    ) -> None:
        self.url = url
        self.ip6 = ip6  # another address of the URL's host
        self.name = name or url
        self.credit = 0.0
        self.passing = True  # health in the registry
        self.ejected = False
        self.answered_at = 0.0
        self._clock = clock
        self._since = -SLOW_START_SECONDS  # in rotation since this time; no slow start at first
        self._failures = 0
        self._read_seconds = read_seconds
        self._client = connect(url, read_seconds, ip6)

    @property
    def healthy(self) -> bool:
        """Return whether the instance is in rotation."""
        return self.passing and not self.ejected

    @property
    def weight(self) -> float:
        """Return the instance's weight, 1 after the slow start."""
        age = (self._clock() - self._since) / SLOW_START_SECONDS
        return 1.0 if age >= 1 else max(SLOW_START_SHARE, age)

    def update_health(self, passing: bool, slow_start: bool = True) -> None:
        """Set the instance's health from the registry; with `slow_start` begin with a small share."""
        was_healthy = self.healthy
        self.passing = passing
        if was_healthy and not passing:
            self._report("out", "critical in the registry")
        elif self.healthy and not was_healthy:
            self._return(slow_start)

    def start_slowly(self) -> None:
        """Begin with a small share, because its caches are empty and it may fail again."""
        self._since = self._clock()
        self.credit = 0.0

    def eject(self, reason: str) -> None:
        """Take the instance out of rotation and close its connections, which lead to the failed process."""
        if self.ejected:
            return
        if self.healthy:
            self._report("out", reason)
        self.ejected = True
        self._client.close()
        self._client = connect(self.url, self._read_seconds, self.ip6)

    def readmit(self, slow_start: bool = True) -> None:
        """End the ejection; the instance is in rotation again if it passes in the registry."""
        if self.ejected:
            self.ejected = False
            self._failures = 0
            if self.healthy:
                self._return(slow_start)

    def _return(self, slow_start: bool) -> None:
        if slow_start:
            self.start_slowly()
        self._report("back", "it answers")

    def _report(self, change: str, reason: str) -> None:
        count(CHANGES, self.name, change)
        fields = {"event": change, "upstream": self.name, "url": self.url, "worker": os.getpid()}
        place = "out of" if change == "out" else "back in"
        log.warning("%s is %s rotation: %s", self.name, place, reason, extra={"fields": fields})

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Return the instance's answer; raise NoAnswerError if there is none within `seconds`."""
        try:
            with gevent.Timeout(seconds, TimeoutError("no complete answer in time")):
                received = self._client.request(method, path, body, headers)
                answered = bytes(received.read())
        except RuntimeError as failure:  # the client was closed while this request waited for a connection
            raise NoAnswerError("the instance left rotation during the request") from failure
        except Exception as failure:  # a peer may send anything
            families.note_failure(failure)
            reason = str(failure) or type(failure).__name__
            self.eject(reason)
            raise NoAnswerError(reason) from failure
        given = {name: str(received.get(name, "")) for name in PASSED_ON}
        kept = {name: value for name, value in given.items() if PASSED_ON[name].fullmatch(value)}
        answer = Answer(self.name, self.url, received.status_code, answered, kept)
        self._count(answer)
        return answer

    def _count(self, answer: Answer) -> None:
        self.answered_at = self._clock()
        self._failures = 0 if answer.good else self._failures + 1
        if self._failures >= FAILURES_TO_EJECT:
            self.eject(f"gave {self._failures} bad answers, the last with status {answer.status}")

    def close(self) -> None:
        """Close the instance's connections."""
        self._client.close()
