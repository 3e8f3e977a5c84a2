"""A cache in Redis that never costs an answer: what it cannot give is taken from the source."""

import json
import queue
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from web import log

TTL_SECONDS = 300
TIMEOUT_SECONDS = 0.2
REST_SECONDS = 1.0
CONNECTIONS = 16

Connection: Any = redis.Connection  # redis-py has types for its client alone


class Cache:
    """Bytes by key. After a failure Redis is left alone for a second; its absence is not paid each time."""

    def __init__(self, host: str, port: int, password: str | None) -> None:
        self._settings = {"host": host, "port": port, "password": password}
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue(CONNECTIONS)
        self._rest_until = 0.0
        self._known: dict[str, bytes] = {}

    def get(self, key: str, source: Callable[[], bytes], is_valid: Callable[[object], bool]) -> bytes:
        """Return the cached JSON of `key`, or that of `source`, which is then cached."""
        if time.monotonic() < self._rest_until:
            return source()
        try:
            cached = self._ask("GET", key)
            if isinstance(cached, bytes) and self._is_good(key, cached, is_valid):
                return cached
            value = source()
            self._ask("SETEX", key, TTL_SECONDS, value)
        except (redis.RedisError, OSError) as failure:
            self._rest_until = time.monotonic() + REST_SECONDS
            self._forget_idle()
            log.warning("Redis is away, answering from own data: %s", failure)
            return source()
        return value

    def _ask(self, *command: bytes | str | int) -> object:
        # redis-py's own pool looks at the socket before each use (poll), which costs five times the command.
        # A connection that Redis closed is found by using it, at the price of one answer from the source.
        connection = self._take()
        try:
            connection.send_command(*command)
            answer: object = connection.read_response()
        except redis.ResponseError:
            self._give_back(connection)
            raise
        except BaseException:
            connection.disconnect()  # half an answer may be on it
            raise
        self._give_back(connection)
        return answer

    def _take(self) -> Any:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return Connection(
                **self._settings,
                socket_connect_timeout=TIMEOUT_SECONDS,
                socket_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),  # the source is nearer than a second try
            )

    def _give_back(self, connection: Any) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.disconnect()

    def _forget_idle(self) -> None:
        while True:
            try:
                self._idle.get_nowait().disconnect()
            except queue.Empty:
                return

    def _is_good(self, key: str, cached: bytes, is_valid: Callable[[object], bool]) -> bool:
        # What was checked once need not be read again: equal bytes are equally good.
        if self._known.get(key) == cached:
            return True
        try:
            good = is_valid(json.loads(cached))
        except (ValueError, RecursionError):
            good = False
        if good:
            self._known[key] = cached
        else:
            log.warning("the cached value of %s is garbled and is replaced", key)
        return good
