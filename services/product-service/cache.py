"""A cache in Redis that never costs an answer: what it cannot give is taken from the source."""

import json
import time
from collections.abc import Callable

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from web import log

TTL_SECONDS = 300
TIMEOUT_SECONDS = 0.2
REST_SECONDS = 1.0


class Cache:
    """Bytes by key. After a failure Redis is left alone for a second, its absence is not paid each time."""

    def __init__(self, host: str, port: int, password: str | None) -> None:
        self._redis = redis.Redis(
            host=host,
            port=port,
            password=password,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # the source is nearer than a second try
        )
        self._rest_until = 0.0
        self._known: dict[str, bytes] = {}

    def get(self, key: str, source: Callable[[], bytes], is_valid: Callable[[object], bool]) -> bytes:
        """Return the cached JSON of `key`, or that of `source`, which is then cached."""
        if time.monotonic() < self._rest_until:
            return source()
        try:
            cached = self._redis.get(key)
            if isinstance(cached, bytes) and self._is_good(key, cached, is_valid):
                return cached
            value = source()
            self._redis.set(key, value, ex=TTL_SECONDS)
        except redis.RedisError as failure:
            self._rest_until = time.monotonic() + REST_SECONDS
            log.warning("Redis is away, answering from own data: %s", failure)
            return source()
        return value

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
