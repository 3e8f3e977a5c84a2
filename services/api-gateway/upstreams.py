"""Upstream services: the choice of an instance, deadlines and retries."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping

import gevent
from balancer import choose
from budget import RetryBudget
from cnet_service.discovery import Listed
from cnet_service.errors import UnavailableError
from cnet_service.exchange import NoAnswerError
from cnet_service.metrics import count
from instance import ATTEMPTS, SLOW_START_SECONDS, Answer, Instance, is_json

log = logging.getLogger("service")

CHECK_SECONDS = 0.5
CHECK_TIMEOUT_SECONDS = 0.4
OK, UNAVAILABLE = 200, 503


class Upstream:
    """A service with its instances.

    `try_seconds` is the deadline of one attempt, `seconds` that of the whole request.
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
        self._budget = RetryBudget(clock)
        self._clock = clock
        self._began = clock()

    def update(self, listed: Iterable[Listed]) -> None:
        """Use the registry's list. If it is empty, keep the known instances, because they may still answer."""
        listed = list(listed)
        if not listed:
            return
        known = {(instance.url, instance.ip6): instance for instance in self.instances}
        self.instances = [self._keep_or_add(known.pop((item.url, item.ip6), None), item) for item in listed]
        for removed in known.values():
            log.info("%s at %s has left", removed.name, removed.url)
            gevent.spawn_later(self._seconds, removed.close)  # close the instance after its last request

    def _keep_or_add(self, instance: Instance | None, item: Listed) -> Instance:
        slow_start = self._starts_slowly()
        if instance is None:
            instance = Instance(item.url, self._try_seconds, item.name, self._clock, item.ip6)
            if slow_start:
                instance.start_slowly()
        instance.update_health(item.passing, slow_start)
        return instance

    def _starts_slowly(self) -> bool:
        # In the first seconds every instance is new to this gateway, so all begin with the same share.
        return self._clock() - self._began > SLOW_START_SECONDS

    def check_for_ever(self) -> None:
        """Check idle and ejected instances for ever; only these checks readmit an ejected one."""
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
            instance.readmit(self._starts_slowly())

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Return the first good answer of several attempts, each on another instance while there are any.

        The request must be safe to repeat: a GET, or a POST with an Idempotency-Key. Without a good answer return
        an instance's own 503 or raise UnavailableError; other answers are not forwarded.
        """
        deadline = self._clock() + self._seconds
        refusal: Answer | None = None
        tried: list[Instance] = []
        self._budget.note_request()
        while len(tried) < self._tries and (not tried or self._budget.take()):
            instance = choose(self.instances, tried)
            seconds = min(deadline - self._clock(), self._try_seconds)
            if instance is None or seconds <= 0:
                break
            tried.append(instance)
            try:
                answer = instance.ask(method, path, body, headers, seconds)
            except NoAnswerError as failure:
                self._report(instance, "no answer", f"does not answer: {failure}")
                continue
            if answer.good:
                count(ATTEMPTS, self.name, instance.name, str(answer.status))
                return answer
            if answer.status == UNAVAILABLE and is_json(answer.body):
                count(ATTEMPTS, self.name, instance.name, str(answer.status))
                refusal = answer
            else:
                self._report(instance, "bad answer", f"gave a bad answer, status {answer.status}")
        if refusal is None:
            raise UnavailableError(f"The {self.name} is unavailable; try again")
        return refusal

    def _report(self, instance: Instance, outcome: str, message: str) -> None:
        count(ATTEMPTS, self.name, instance.name, outcome)
        log.warning("%s at %s %s", self.name, instance.url, message)
