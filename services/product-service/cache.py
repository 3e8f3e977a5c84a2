"""A cache in Redis that never costs an answer: what it cannot give is taken from the source."""

import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry

log = logging.getLogger("service")

TTL_SECONDS = 300
SECONDS = 0.2  # the deadline of a command with its answer, and with the connection where one is made for it
REST_SECONDS = 1.0
CONNECTIONS = 16
MOST_READS = 64  # of up to 64 KiB each, for one answer; the catalogue takes one

Connection: Any = redis.Connection  # redis-py has types for its client alone
Parser: Any = DefaultParser


class BoundedParser(Parser):  # type: ignore[misc]  # see above
    """Refuses an answer without end, and any that is none to GET, SETEX or AUTH, before it takes memory.

    hiredis makes room for an array of the length that is announced, be it two thousand million.
    """

    _reads = 0

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one answer."""
        self._reads = 0
        answer = super().read_response(*arguments, **options)
        if self._reader.has_data():
            raise redis.InvalidResponse("more is sent than was asked for")
        return answer

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        """Read what there is of it."""
        self._reads += 1
        if self._reads > MOST_READS:
            raise redis.InvalidResponse(f"an answer takes more than {MOST_READS} reads")
        is_read = super().read_from_socket(*arguments, **options)
        if self._reads == 1 and self._buffer[:1] not in (b"+", b"-", b"$"):
            raise redis.InvalidResponse("an answer is neither a string nor an error")
        return is_read


@dataclass
class Entry:
    """What is known of one key: bytes that were checked, as they are served; when to write and to ask again."""

    renew_at: float
    cached: bytes = b""
    served: bytes = b""
    rest_until: float = 0.0


class Cache:
    """Checked JSON by key. After a failure Redis is left alone for a second; its absence is not paid each time."""

    def __init__(
        self, host: str, port: int, password: str | None, clock: Callable[[], float] = time.monotonic
    ):
        self._settings = {"host": host, "port": port, "password": password}
        self._clock = clock
        self._idle: deque[Any] = deque()
        self._rest_until = 0.0
        self._entries: dict[str, Entry] = {}
        self._trouble: dict[str, str] = {}  # what the log said last, by key; "" is Redis as a whole

    def get(self, key: str, source: Callable[[], bytes], is_valid: Callable[[object], bool]) -> bytes:
        """Return the cached JSON of `key`, or that of `source`, which is then cached."""
        now = self._clock()
        # An entry that this process did not write within its lifetime is written anew: it may have none.
        entry = self._entries.setdefault(key, Entry(renew_at=now + TTL_SECONDS))
        if now < max(self._rest_until, entry.rest_until):
            return source()
        try:
            served = self._read(key, entry, is_valid) if now < entry.renew_at else None
            if served is None:
                served = source()
                self._ask("SETEX", key, TTL_SECONDS, served)
                entry.renew_at = now + TTL_SECONDS
        except redis.ResponseError as refusal:  # Redis is there and answers; other keys may do better
            entry.rest_until = now + REST_SECONDS
            self._report(key, f"Redis refuses {key}: {name_of(refusal)}")
            return source()
        except Exception as failure:  # whatever Redis does, the source is there
            self._rest_until = now + REST_SECONDS
            self._forget_idle()
            self._report("", f"no answer from Redis, answering from own data: {name_of(failure)}")
            return source()
        self._report(key, "")
        self._report("", "")
        return served

    def trouble(self) -> str:
        """Ask Redis now, and return why it does not serve this service; empty when it does."""
        self._forget_idle()  # they may be closed, or from before a password changed
        try:
            self._ask("GET", "all_products")
        except redis.AuthenticationError:
            return "redis refused the password"
        except redis.ResponseError as refusal:
            return "" if str(refusal).startswith("WRONGTYPE") else f"redis refused: {name_of(refusal)}"
        except Exception as failure:
            return f"redis does not answer: {name_of(failure)}"
        return ""

    def _read(self, key: str, entry: Entry, is_valid: Callable[[object], bool]) -> bytes | None:
        """Return what is cached when it is good; None when it is to be replaced."""
        try:
            cached = self._ask("GET", key)
        except redis.ResponseError as refusal:
            if not str(refusal).startswith("WRONGTYPE"):
                raise
            log.warning("the cached value of %s is of another type and is replaced", key)  # which SETEX does
            return None
        if not isinstance(cached, bytes):
            return None
        # What was checked once need not be read again: equal bytes are equally good.
        if entry.cached == cached:
            return entry.served
        served = checked(cached, is_valid)
        if served is None:
            log.warning("the cached value of %s is garbled and is replaced", key)
        else:
            entry.cached, entry.served = cached, served
        return served

    def _report(self, key: str, trouble: str) -> None:
        """Log a change for the worse or the better, once."""
        before = self._trouble.get(key, "")
        if trouble == before:
            return
        self._trouble[key] = trouble
        log.warning("%s", trouble or f"the trouble with {key or 'Redis'} is over")

    def _ask(self, *command: bytes | str | int) -> object:
        # redis-py's own pool looks at the socket before each use (poll), which costs five times the command.
        # A connection that Redis closed is found by using it, at the price of one answer from the source.
        connection = self._take()
        try:
            with gevent.Timeout(SECONDS, TimeoutError("no complete answer in time")):
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
            return self._idle.pop()
        except IndexError:
            return Connection(
                **self._settings,
                socket_connect_timeout=SECONDS,
                socket_timeout=SECONDS,
                retry=Retry(NoBackoff(), 0),  # the source is nearer than a second try
                parser_class=BoundedParser,
                protocol=2,  # no HELLO and no CLIENT: its user needs no right but GET and SETEX
                driver_info=None,
            )

    def _give_back(self, connection: Any) -> None:
        if len(self._idle) < CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.disconnect()

    def _forget_idle(self) -> None:
        while True:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return


def checked(cached: bytes, is_valid: Callable[[object], bool]) -> bytes | None:
    """Return a good value as it is served: what was checked, written anew; None for one that is not good.

    The bytes themselves are not served: another reader may find something else in them (a key twice, UTF-16).
    """
    try:
        value = json.loads(cached.decode())
    except (ValueError, RecursionError):
        return None
    return json.dumps(value, separators=(",", ":")).encode() if is_valid(value) else None


def name_of(failure: BaseException) -> str:
    """Return a failure with Redis' own word for it (READONLY, OOM, WRONGPASS), which its client takes off."""
    return f"{getattr(failure, 'status_code', None) or type(failure).__name__}: {failure}"
