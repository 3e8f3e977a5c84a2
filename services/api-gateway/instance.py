"""One address of a service: its connections, and whether it is in rotation."""

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
from cnet_service.fetch import NoAnswerError
from prometheus_client import Counter

GOOD = (range(200, 300), range(400, 500))  # done, or wrong with the request
FAILURES_TO_EJECT = 3  # answers that are not good; one that does not answer at all is out at once
SLOW_START_SECONDS = 5.0
SLOW_START_SHARE = 0.1
PASSED_ON = {"Retry-After": re.compile("[0-9]{1,4}"), "X-Instance": re.compile("[A-Za-z0-9._:/-]{1,128}")}

ATTEMPTS = Counter(
    "upstream_attempts_total", "Requests sent to an instance", ["upstream", "instance", "outcome"]
)
CHANGES = Counter(
    "upstream_rotation_changes_total", "Times an instance left rotation or came back", ["instance", "change"]
)

log = logging.getLogger("service")


@dataclass(frozen=True)
class Answer:
    """What an upstream answered, with the headers that clients get too; name and `url` are the instance's."""

    instance: str
    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]

    @functools.cached_property
    def good(self) -> bool:
        """Return whether it is one to pass on: JSON that says what was done, or what is wrong with the request."""
        return any(self.status in good for good in GOOD) and is_json(self.body)


def refuse(literal: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have (RFC 8259, section 6)."""
    raise ValueError(literal)


DECODER = json.JSONDecoder(parse_constant=refuse)


@functools.lru_cache(maxsize=16)  # the catalogue comes again and again; a body has at most 1 MiB
def is_json(body: bytes) -> bool:
    """Return whether these are the bytes of one JSON value: UTF-8 without a byte order mark, no NaN."""
    try:
        DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        return False
    return True


class Instance:
    """In rotation until it fails; back when a check finds that it answers, with a share that grows.

    `credit` belongs to the balancer. Times are of the clock, in seconds.
    """

    def __init__(
        self, url: str, read_seconds: float, name: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url = url
        self.name = name or url
        self.credit = 0.0
        self.passing = True  # what the registry says of it
        self.ejected = False
        self.answered_at = 0.0
        self._clock = clock
        self._since = -SLOW_START_SECONDS  # in rotation since; at first without a slow start
        self._failures = 0
        self._read_seconds = read_seconds
        self._client = connect(url, read_seconds)

    @property
    def healthy(self) -> bool:
        """Return whether it is in rotation."""
        return self.passing and not self.ejected

    @property
    def weight(self) -> float:
        """Return its share, 1 after the slow start."""
        age = (self._clock() - self._since) / SLOW_START_SECONDS
        return 1.0 if age >= 1 else max(SLOW_START_SHARE, age)

    def hear(self, passing: bool, spare: bool = True) -> None:
        """Take what the registry says of it; `spare` is whether it begins with a small share."""
        was_healthy = self.healthy
        self.passing = passing
        if was_healthy and not passing:
            self._note("out", "the registry says critical")
        elif self.healthy and not was_healthy:
            self._come_back(spare)

    def start_slowly(self) -> None:
        """Begin with a small share: caches are cold, and it may not be as well as it looks."""
        self._since = self._clock()
        self.credit = 0.0

    def eject(self, reason: str) -> None:
        """Take it out of rotation; its connections are dropped, for they lead to what failed."""
        if self.ejected:
            return
        if self.healthy:
            self._note("out", reason)
        self.ejected = True
        self._client.close()
        self._client = connect(self.url, self._read_seconds)

    def take_back(self, spare: bool = True) -> None:
        """Put it into rotation again, unless the registry says otherwise."""
        if self.ejected:
            self.ejected = False
            self._failures = 0
            if self.healthy:
                self._come_back(spare)

    def _come_back(self, spare: bool) -> None:
        if spare:
            self.start_slowly()
        self._note("back", "it answers")

    def _note(self, change: str, reason: str) -> None:
        CHANGES.labels(self.name, change).inc()
        fields = {"event": change, "upstream": self.name, "url": self.url, "worker": os.getpid()}
        place = "out of" if change == "out" else "back in"
        log.warning("%s is %s rotation: %s", self.name, place, reason, extra={"fields": fields})

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Return its answer; raise NoAnswerError when there is none within `seconds`."""
        try:
            with gevent.Timeout(seconds, TimeoutError("no complete answer in time")):
                received = self._client.request(method, path, body, headers)
                answered = bytes(received.read())
        except (
            RuntimeError
        ) as failure:  # the client's word for: closed while this request waited for a connection
            raise NoAnswerError("left rotation meanwhile") from failure
        except Exception as failure:  # whatever it sends
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
            self.eject(
                f"gave {self._failures} answers that are not good, the last with status {answer.status}"
            )

    def close(self) -> None:
        """Drop its connections."""
        self._client.close()
