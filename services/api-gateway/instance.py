"""One address of a service: its connections, and whether it is in rotation."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from prometheus_client import Counter
from web import log

CONNECT_SECONDS = 0.25
CONNECTIONS = 64
MAX_ANSWER_BYTES = 1024 * 1024  # no instance, however mad, fills the memory
AWAY = (502, 503, 504)
FAILURES_TO_EJECT = 3  # of the kind 502, 503, 504; one that does not answer at all is out at once
SLOW_START_SECONDS = 5.0
SLOW_START_SHARE = 0.1
PASSED_ON = ("Retry-After", "X-Instance")
NoAnswer = (OSError, HTTPParseError)  # refused, reset, timed out; or not HTTP

ATTEMPTS = Counter(
    "upstream_attempts_total", "Requests sent to an instance", ["upstream", "instance", "outcome"]
)
CHANGES = Counter(
    "upstream_rotation_changes_total", "Times an instance left rotation or came back", ["instance", "change"]
)


@dataclass(frozen=True)
class Answer:
    """What an upstream answered, with the headers that clients get too; name and `url` are the instance's."""

    instance: str
    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]


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
        self._client = self._connect()

    def _connect(self) -> HTTPClient:
        return HTTPClient.from_url(
            self.url,
            concurrency=CONNECTIONS,
            connection_timeout=CONNECT_SECONDS,
            network_timeout=self._read_seconds,
        )

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
        self._client = self._connect()

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
        """Return its answer; raises one of NoAnswer when there is none within `seconds`."""
        try:
            with gevent.Timeout(seconds, TimeoutError):
                answer = self._client.request(method, path, body, headers)
                body = bytes(answer.read(MAX_ANSWER_BYTES + 1))
            if len(body) > MAX_ANSWER_BYTES:  # what is left unread closes the connection
                raise ConnectionError(f"answers more than {MAX_ANSWER_BYTES} bytes")
        except (
            RuntimeError
        ) as failure:  # the client's word for: closed while this request waited for a connection
            raise ConnectionError("left rotation meanwhile") from failure
        except NoAnswer as failure:
            self.eject(str(failure) or type(failure).__name__)
            raise
        self._count(answer.status_code)
        headers = {name: str(value) for name in PASSED_ON if (value := answer.get(name))}
        return Answer(self.name, self.url, answer.status_code, body, headers)

    def _count(self, status: int) -> None:
        self.answered_at = self._clock()
        self._failures = self._failures + 1 if status in AWAY else 0
        if self._failures >= FAILURES_TO_EJECT:
            self.eject(f"answered {status} {self._failures} times")

    def close(self) -> None:
        """Drop its connections."""
        self._client.close()
