"""Upstream services: who is asked, for how long, and how often again."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping

import gevent
from balancer import Balancer
from budget import RetryBudget
from cnet_service.discovery import Listed
from cnet_service.errors import UnavailableError
from cnet_service.fetch import NoAnswerError
from instance import ATTEMPTS, SLOW_START_SECONDS, Answer, Instance, is_json

log = logging.getLogger("service")

CHECK_SECONDS = 0.5
CHECK_TIMEOUT_SECONDS = 0.4
OK, UNAVAILABLE = 200, 503


class Upstream:
    """A service with its instances.

    `try_seconds` is what one instance is given to answer, `seconds` the deadline of the whole request.
    """

    def __init__(
        self,
        name: str,
        try_seconds: float,
        seconds: float,
        tries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.instances: list[Instance] = []
        self._try_seconds = try_seconds
        self._seconds = seconds
        self._tries = tries
        self._balancer = Balancer()
        self._budget = RetryBudget(clock)
        self._clock = clock
        self._began = clock()

    def use_urls(self, urls: str) -> None:
        """Take the instances' URLs, comma-separated, where there is no registry."""
        self.update(Listed(url.strip(), url.strip(), passing=True) for url in urls.split(",") if url.strip())

    def update(self, listed: Iterable[Listed]) -> None:
        """Take the registry's list.

        When it has none, those known stay: they may well answer, and nothing better is known.
        """
        listed = list(listed)
        if not listed:
            return
        known = {instance.url: instance for instance in self.instances}
        self.instances = [self._taken_over(known.pop(item.url, None), item) for item in listed]
        for gone in known.values():
            log.info("%s at %s has left", gone.name, gone.url)
            gevent.spawn_later(self._seconds, gone.close)  # after the last request that it was given

    def _taken_over(self, instance: Instance | None, item: Listed) -> Instance:
        spare = self._spares()
        if instance is None:
            instance = Instance(item.url, self._try_seconds, item.name, self._clock)
            if spare:
                instance.start_slowly()
        instance.hear(item.passing, spare)
        return instance

    def _spares(self) -> bool:
        # In our own first seconds all are new to us, and none has to be spared more than another.
        return self._clock() - self._began > SLOW_START_SECONDS

    def check_for_ever(self) -> None:
        """Look after instances that nobody asked lately; those that were ejected come back by this alone."""
        gevent.spawn(self._check_for_ever)

    def _check_for_ever(self) -> None:
        while True:
            gevent.sleep(CHECK_SECONDS)
            for instance in self.instances:
                if instance.ejected or self._is_idle(instance):
                    gevent.spawn(self._check, instance)

    def _is_idle(self, instance: Instance) -> bool:
        return instance.passing and self._clock() - instance.answered_at > CHECK_SECONDS

    def _check(self, instance: Instance) -> None:
        try:
            answer = instance.ask("GET", "/health", None, {}, CHECK_TIMEOUT_SECONDS)
        except NoAnswerError:
            return
        if answer.status == OK:
            instance.take_back(self._spares())

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Return the first good answer of several attempts, each on another instance while there are any.

        Only what may safely be done twice belongs here: a GET, or a POST with an Idempotency-Key.
        Where there is none it returns an instance's own 503, or raises Unavailable: what is no JSON, and any
        status that an instance should not answer with, is never passed on.
        """
        deadline = self._clock() + self._seconds
        refusal: Answer | None = None
        tried: list[Instance] = []
        self._budget.note_request()
        while len(tried) < self._tries and (not tried or self._budget.take()):
            instance = self._balancer.choose(self.instances, tried)
            seconds = min(deadline - self._clock(), self._try_seconds)
            if instance is None or seconds <= 0:
                break
            tried.append(instance)
            try:
                answer = instance.ask(method, path, body, headers, seconds)
            except NoAnswerError as failure:
                self._note(instance, "no answer", f"does not answer: {failure}")
                continue
            if answer.good:
                ATTEMPTS.labels(self.name, instance.name, str(answer.status)).inc()
                return answer
            if answer.status == UNAVAILABLE and is_json(answer.body):
                ATTEMPTS.labels(self.name, instance.name, str(answer.status)).inc()
                refusal = answer
            else:
                self._note(instance, "bad answer", f"gave a bad answer, status {answer.status}")
        if refusal is None:
            raise UnavailableError(f"The {self.name} is unavailable; try again")
        return refusal

    def _note(self, instance: Instance, outcome: str, what: str) -> None:
        ATTEMPTS.labels(self.name, instance.name, outcome).inc()
        log.warning("%s at %s %s", self.name, instance.url, what)
