"""A cache in Redis whose failures never fail a request: the source answers instead."""

import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import redis
from cnet_service import families
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry

log = logging.getLogger("service")

TTL_SECONDS = 300
SECONDS = 0.2  # the deadline of a command with its answer, and with the connection if it needs a new one
REST_SECONDS = 1.0
CONNECTIONS = 16
MAX_READS = 64  # reads of 64 KiB per answer; the catalogue needs one

# Validates a cached value and returns it encoded again, because JSON parsers read some bytes differently (a duplicate
# key, UTF-16). Raises ValueError if the value is invalid.
Check = Callable[[bytes], bytes]

Connection: Any = redis.Connection  # redis-py has types only for its client
Parser: Any = DefaultParser


class BoundedParser(Parser):  # type: ignore[misc]  # see above
    """Refuses endless answers, and answers that do not belong to GET, SETEX or AUTH, before they take memory.

    hiredis allocates an array of the length that the answer declares, even of 2 billion elements.
    """

    _reads = 0

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one answer."""
        self._reads = 0
        answer = super().read_response(*arguments, **options)
        if self._reader.has_data():
            raise redis.InvalidResponse("the answer is longer than expected")
        return answer

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        """Read a part of the answer."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise redis.InvalidResponse(f"an answer takes more than {MAX_READS} reads")
        is_read = super().read_from_socket(*arguments, **options)
        if self._reads == 1 and self._buffer[:1] not in (b"+", b"-", b"$"):
            raise redis.InvalidResponse("an answer is neither a string nor an error")
        return is_read


class RedisConnection(Connection):  # type: ignore[misc]  # see above
    """A connection to the host or to its other address, `ip6`."""

    ip6 = ""

    def _connect(self) -> Any:
        if not self.ip6:
            return super()._connect()
        connection = families.connect(
            [self.ip6, self.host], self.port, time.monotonic() + self.socket_connect_timeout
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self.socket_timeout)
        return connection


@dataclass
class Entry:
    """One key: the validated cached bytes, the bytes to serve, and when to write and to read it again."""

    renew_at: float
    cached: bytes = b""
    served: bytes = b""
    rest_until: float = 0.0


class Cache:
    """Validated JSON by key. After a failure Redis is not used for a second, so that not every request waits for it."""

    def __init__(
        self,
        host: str,
        port: int,
        password: str | None,
        clock: Callable[[], float] = time.monotonic,
        ip6: str = "",
    ):
        self._settings = {"host": host, "port": port, "password": password}
        self._ip6 = ip6
        self._clock = clock
        self._idle: deque[Any] = deque()
        self._rest_until = 0.0
        self._entries: dict[str, Entry] = {}
        self._problems: dict[str, str] = {}  # the last problem logged, by key; "" is Redis as a whole

    def get(self, key: str, source: Callable[[], bytes], check: Check) -> bytes:
        """Return the cached JSON of `key`, or that of `source`, which is then cached."""
        now = self._clock()
        # Write an entry again after its lifetime, even if Redis still has it: it may have been stored without one.
        entry = self._entries.setdefault(key, Entry(renew_at=now + TTL_SECONDS))
        if now < max(self._rest_until, entry.rest_until):
            return source()
        try:
            served = self._read(key, entry, check) if now < entry.renew_at else None
            if served is None:
                served = source()
                self._ask("SETEX", key, TTL_SECONDS, served)
                entry.renew_at = now + TTL_SECONDS
        except redis.ResponseError as refusal:  # Redis answers; other keys may work
            entry.rest_until = now + REST_SECONDS
            self._report(key, f"Redis refuses {key}: {describe(refusal)}")
            return source()
        except Exception as failure:  # a fault of Redis never fails a request: read from the source
            self._rest_until = now + REST_SECONDS
            families.note_failure(failure)
            self._close_idle()
            self._report("", f"no answer from Redis, answering from own data: {describe(failure)}")
            return source()
        self._report(key, "")
        self._report("", "")
        return served

    def find_problem(self) -> str:
        """Send a command to Redis now; return the problem, "" if there is none."""
        self._close_idle()  # idle connections may be closed or use an old password
        try:
            self._ask("GET", "all_products")
        except redis.AuthenticationError:
            return "redis refused the password"
        except redis.ResponseError as refusal:
            return "" if str(refusal).startswith("WRONGTYPE") else f"redis refused: {describe(refusal)}"
        except Exception as failure:
            return f"redis does not answer: {describe(failure)}"
        return ""

    def _read(self, key: str, entry: Entry, check: Check) -> bytes | None:
        """Return the validated cached value; None if it must be replaced."""
        try:
            cached = self._ask("GET", key)
        except redis.ResponseError as refusal:
            if not str(refusal).startswith("WRONGTYPE"):
                raise
            log.warning("the cached value of %s is of another type and is replaced", key)  # SETEX replaces it
            return None
        if not isinstance(cached, bytes):
            return None
        if entry.cached != cached:  # equal bytes need no second check
            try:
                entry.served = check(cached)
            except ValueError:
                log.warning("the cached value of %s is invalid and is replaced", key)
                return None
            entry.cached = cached
        return entry.served

    def _report(self, key: str, problem: str) -> None:
        """Log a new problem, or the end of one, once."""
        before = self._problems.get(key, "")
        if problem == before:
            return
        self._problems[key] = problem
        log.warning("%s", problem or f"{key or 'Redis'} works again")

    def _ask(self, *command: bytes | str | int) -> object:
        # redis-py's own pool polls the socket before each use, which costs five times the command. Here a connection
        # that Redis closed fails when it is used, and the source answers once.
        connection = self._take()
        try:
            with gevent.Timeout(SECONDS, TimeoutError("no complete answer in time")):
                connection.send_command(*command)
                answer: object = connection.read_response()
        except redis.ResponseError:
            self._release(connection)
            raise
        except BaseException:
            connection.disconnect()  # a part of an answer may still arrive
            raise
        self._release(connection)
        return answer

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            made = RedisConnection(
                **self._settings,
                socket_connect_timeout=SECONDS,
                socket_timeout=SECONDS,
                retry=Retry(NoBackoff(), 0),  # the source is faster than a second try
                parser_class=BoundedParser,
                protocol=2,  # RESP2 sends no HELLO and no CLIENT, so the user needs only GET and SETEX
                driver_info=None,
            )
            made.ip6 = self._ip6
            return made

    def _release(self, connection: Any) -> None:
        if len(self._idle) < CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.disconnect()

    def _close_idle(self) -> None:
        while True:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return


def describe(failure: BaseException) -> str:
    """Return a failure with Redis' own code (READONLY, OOM, WRONGPASS), which the client removes from the text."""
    return f"{getattr(failure, 'status_code', None) or type(failure).__name__}: {failure}"
