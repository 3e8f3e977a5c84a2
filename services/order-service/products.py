"""Look-ups of products: requests to the product service, with a cache of the answers.

A look-up has one deadline, all requests for one product share it, and only a few may wait, so that threads stay free
for orders of known products.
"""

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import quote

from cnet_service.discovery import Listed
from cnet_service.errors import UnavailableError
from cnet_service.exchange import Answer, NoAnswerError, fetch

log = logging.getLogger("service")

FOUND_SECONDS = 60.0
MISSING_SECONDS = 5.0  # a new product is refused for at most this long
RETRY_SECONDS = 5.0  # wait after a look-up without an answer
SECONDS = 0.9  # the deadline of a look-up with all its tries; the gateway waits 3 s for an order
TRY_SECONDS = 0.4
TRIES = 3
WAITING = 8  # requests that may wait for look-ups; half of the threads (gunicorn_settings.py)
TURN_SECONDS = 0.05  # waiting time of another request
MAX_KNOWN = 10_000
MAX_BYTES = 64 * 1024


class Products:
    """Looks products up at the instances of the product service, round-robin, and caches the answers.

    Raises UnavailableError if no instance answers and the product is not in the cache.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._instances: list[Listed] = []
        self._resting: dict[str, float] = {}  # silent URL -> time until which other URLs come first
        self._found: dict[str, float] = {}  # products that exist, and until when that is cached
        self._missing: dict[str, float] = {}
        self._running: dict[str, Future[bool | None]] = {}
        self._turn = 0
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._pool = ThreadPoolExecutor(WAITING, "product look-up")

    def update(self, listed: Iterable[Listed]) -> None:
        """Use a new list of instances; if it is empty keep the known ones, because they may still answer."""
        self._instances = list(listed) or self._instances

    def exists(self, product_id: str) -> bool:
        """Return whether there is a product of this id."""
        now = self._clock()
        if now < self._found.get(product_id, 0.0):
            return True
        if now < self._missing.get(product_id, 0.0):
            return False
        found = self._ask(product_id)
        if found is not None:
            return found
        with self._lock:
            if product_id not in self._found:
                raise UnavailableError("The product service is unavailable; try again")
            # It existed. Cache that a little longer, so that not every order waits for the deadline.
            remember(self._found, product_id, self._clock() + RETRY_SECONDS)
        return True

    def _ask(self, product_id: str) -> bool | None:
        if not self._waiting.acquire(timeout=TURN_SECONDS):
            return None
        try:
            with self._lock:
                running = self._running.get(product_id)
                if running is None:
                    deadline = self._clock() + SECONDS
                    running = self._pool.submit(self._look_up, product_id, deadline)
                    self._running[product_id] = running
            return running.result(SECONDS)
        except TimeoutError:
            return None
        finally:
            self._waiting.release()

    def _look_up(self, product_id: str, deadline: float) -> bool | None:
        try:
            found = self._ask_instances(product_id, deadline)
        finally:
            with self._lock:
                del self._running[product_id]
        if found is not None:
            known, other = (self._found, self._missing) if found else (self._missing, self._found)
            with self._lock:
                other.pop(product_id, None)
                remember(known, product_id, self._clock() + (FOUND_SECONDS if found else MISSING_SECONDS))
        return found

    def _ask_instances(self, product_id: str, deadline: float) -> bool | None:
        failures = []
        for instance in self._in_turn():
            seconds = min(TRY_SECONDS, deadline - self._clock())
            if seconds <= 0:
                break
            try:
                url = f"{instance.url}/products/{quote(product_id, safe='')}"
                return read_answer(fetch(url, seconds, MAX_BYTES, instance.ip6), product_id)
            except (NoAnswerError, ValueError) as failure:
                failures.append(str(failure))
                with self._lock:
                    self._resting[instance.url] = self._clock() + RETRY_SECONDS
        log.warning("no product service answers: %s", "; ".join(failures) or "no instance in time")
        return None

    def _in_turn(self) -> list[Listed]:
        """Return the instances to try, round-robin; those without an answer and those that are critical come last."""
        with self._lock:
            self._turn += 1
            instances = self._instances
            first = self._turn % len(instances) if instances else 0
            self._resting = {url: until for url, until in self._resting.items() if until > self._clock()}
            resting = self._resting.copy()
        turned = instances[first:] + instances[:first]
        return sorted(turned, key=lambda instance: (instance.url in resting, not instance.passing))[:TRIES]


def remember(known: dict[str, float], product_id: str, until: float) -> None:
    """Cache an answer until a time; remove the oldest if there are too many."""
    known.pop(product_id, None)
    if len(known) >= MAX_KNOWN:
        del known[next(iter(known))]
    known[product_id] = until


def read_answer(answer: Answer, product_id: str) -> bool:
    """Return whether the product exists; raise ValueError if the answer is not a product service's."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ValueError(f"answer {answer.status} is not JSON") from None
    if isinstance(body, dict) and answer.status == http.client.OK and body.get("id") == product_id:
        return True
    if isinstance(body, dict) and answer.status == http.client.NOT_FOUND and "error" in body:
        return False
    raise ValueError(f"answer {answer.status} is not about product {product_id!r}")
