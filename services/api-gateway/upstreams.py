"""Upstream services: who is asked, for how long, and how often again."""

import time
from collections.abc import Callable, Iterable, Mapping

import gevent
from balancer import Balancer
from budget import RetryBudget
from discovery import Listed
from instance import ATTEMPTS, AWAY, SLOW_START_SECONDS, Answer, Instance, NoAnswer
from web import Unavailable, log

CHECK_SECONDS = 0.5
CHECK_TIMEOUT_SECONDS = 0.4
OK = 200


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
        except NoAnswer:
            return
        if answer.status == OK:
            instance.take_back(self._spares())

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Return the first good answer of several attempts, each on another instance while there are any.

        Only what may safely be done twice belongs here: a GET, or a POST with an Idempotency-Key.
        Raises Unavailable when no instance answers within the deadline.
        """
        deadline = self._clock() + self._seconds
        answer: Answer | None = None
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
            except NoAnswer as failure:
                self._note_no_answer(instance, failure)
                continue
            ATTEMPTS.labels(self.name, instance.name, str(answer.status)).inc()
            if answer.status not in AWAY:
                break
        if answer is None:
            raise Unavailable(f"The {self.name} is unavailable; try again")
        return answer

    def _note_no_answer(self, instance: Instance, failure: BaseException) -> None:
        ATTEMPTS.labels(self.name, instance.name, "no answer").inc()
        reason = str(failure) or type(failure).__name__
        log.warning("%s at %s does not answer: %s", self.name, instance.url, reason)
