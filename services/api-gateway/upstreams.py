"""Upstream services: one pooled client each, round-robin over instances, a deadline for every request."""

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from web import Unavailable, log

DEADLINE_SECONDS = 4.0
CONNECT_SECONDS = 0.25
READ_SECONDS = 1.5
EJECT_SECONDS = 1.0
CONNECTIONS = 64
AWAY = (502, 503, 504)
PASSED_ON = ("Retry-After", "X-Instance")
NoAnswer = (OSError, HTTPParseError)  # refused, reset, timed out; or not HTTP


@dataclass(frozen=True)
class Answer:
    """What an upstream answered, with the headers that clients get too; `url` is the instance's."""

    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]


class Instance:
    """One address of a service. After a failure it is passed over for a second."""

    def __init__(self, url: str, read_seconds: float) -> None:
        self.url = url
        self._ejected_until = 0.0
        self._client = HTTPClient.from_url(
            url,
            concurrency=CONNECTIONS,
            connection_timeout=CONNECT_SECONDS,
            network_timeout=read_seconds,
        )

    def is_ejected(self) -> bool:
        """Return whether it failed within the last second."""
        return time.monotonic() < self._ejected_until

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Return its answer; raises one of NoAnswer when there is none within `seconds`."""
        try:
            with gevent.Timeout(seconds, TimeoutError):
                answer = self._client.request(method, path, body, headers)
                body = bytes(answer.read())
        except NoAnswer:
            self._ejected_until = time.monotonic() + EJECT_SECONDS
            raise
        if answer.status_code in AWAY:
            self._ejected_until = time.monotonic() + EJECT_SECONDS
        headers = {name: str(value) for name in PASSED_ON if (value := answer.get(name))}
        return Answer(self.url, answer.status_code, body, headers)


class Upstream:
    """A service with its instances; each request goes to the next one that is not ejected."""

    def __init__(self, name: str, urls: str, read_seconds: float = READ_SECONDS) -> None:
        """Take the instances' URLs, comma-separated."""
        self.name = name
        self._instances = [Instance(url.strip(), read_seconds) for url in urls.split(",") if url.strip()]
        self._turn = itertools.count()
        self._lock = threading.Lock()

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None, tries: int = 3
    ) -> Answer:
        """Return the first answer of up to `tries` attempts, each on the next instance.

        Only what may safely be done twice belongs here: a GET, or a POST with an Idempotency-Key.
        Raises Unavailable when no instance answers within the deadline.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        answer: Answer | None = None
        for instance in self._in_turn(tries):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                answer = instance.ask(method, path, body, headers, left)
            except NoAnswer as failure:
                log.warning("%s at %s does not answer: %s", self.name, instance.url, type(failure).__name__)
                continue
            if answer.status not in AWAY:
                return answer
        if answer is None:
            raise Unavailable(f"The {self.name} is unavailable; try again")
        return answer

    def _in_turn(self, tries: int) -> list[Instance]:
        if not self._instances:
            return []
        with self._lock:
            first = next(self._turn) % len(self._instances)
        circle = self._instances[first:] + self._instances[:first]
        # Those that failed lately come last, so they are asked only when nobody else is left.
        circle.sort(key=Instance.is_ejected)
        return list(itertools.islice(itertools.cycle(circle), tries))
