"""Upstream services: one pooled client each, round-robin over instances, a deadline for every request."""

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError
from web import Unavailable, log

DEADLINE_SECONDS = 4.0
CONNECT_SECONDS = 0.25
READ_SECONDS = 1.5
EJECT_SECONDS = 1.0
CONNECTIONS = 32
AWAY = (502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """What an upstream answered; `url` is the instance's."""

    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]


class Instance:
    """One address of a service. After a failure it is passed over for a second."""

    def __init__(self, url: str, read_seconds: float) -> None:
        self.url = url
        self._read_seconds = read_seconds
        self._ejected_until = 0.0
        self._pool = urllib3.connection_from_url(url, maxsize=CONNECTIONS, block=False, retries=False)

    def is_ejected(self) -> bool:
        """Return whether it failed within the last second."""
        return time.monotonic() < self._ejected_until

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Return its answer; raises urllib3's HTTPError when there is none within `seconds`."""
        timeout = urllib3.Timeout(
            connect=min(CONNECT_SECONDS, seconds), read=min(self._read_seconds, seconds)
        )
        try:
            answer = self._pool.urlopen(
                method, path, body=body, headers=headers, timeout=timeout, redirect=False
            )
        except HTTPError:
            self._ejected_until = time.monotonic() + EJECT_SECONDS
            raise
        if answer.status in AWAY:
            self._ejected_until = time.monotonic() + EJECT_SECONDS
        return Answer(self.url, answer.status, answer.data, answer.headers)


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
            except HTTPError as failure:
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
