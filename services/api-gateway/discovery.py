"""The instances of a service: those of the last run at first, then as the registry lists them.

The registry is asked once and then waited on for changes, in a thread of its own. While it is silent, frozen
or wrong, what is known stays: no request ever waits for the registry.
The same file lies in each service's folder that uses it, for each stands alone; a test holds the copies equal.
"""

import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fetch import fetch
from web import log

WAIT_SECONDS = 10  # how long the registry may hold an answer back while nothing changes
ANSWER_SECONDS = 2.0  # the deadline of an answer, beyond the wait that was asked for
MOST_BYTES = 1024 * 1024  # a thousand instances, the registry's limit, are a fifth of it
PAUSE_SECONDS = 0.05  # so that a registry that does not wait is not asked without end
AWAY_SECONDS = 0.25
MAX_PORT = 65535
OK, NOT_FOUND = 200, 404


@dataclass(frozen=True)
class Listed:
    """An instance as the registry lists it."""

    name: str
    url: str
    passing: bool


def read_list(body: bytes) -> list[Listed]:
    """Return the instances in an answer of /discover/NAME?all=1; raise ValueError for what is none."""
    try:
        return [read_instance(item) for item in json.loads(body)]
    except (KeyError, TypeError, RecursionError) as failure:
        raise ValueError(f"not a list of instances: {type(failure).__name__} {failure}") from failure


def read_instance(item: dict[str, object]) -> Listed:
    """Return one instance of the list; raise for one that nobody could connect to."""
    name, port = item["instance_id"], item["port"]
    if not isinstance(name, str) or not isinstance(port, int) or not 1 <= port <= MAX_PORT:
        raise ValueError("not a list of instances: an instance without a name or a port")
    return Listed(name, url_of(ipaddress.ip_address(str(item["ip"])), port), item["health"] == "passing")


def url_of(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    """Return the URL of an address."""
    return f"http://[{ip}]:{port}" if ip.version == 6 else f"http://{ip}:{port}"  # noqa: PLR2004  IPv6


class Watch:
    """Calls `changed` with the list that is remembered in the file `memory`, then with each new one."""

    def __init__(
        self, registry: str, service: str, memory: Path, changed: Callable[[list[Listed]], None]
    ) -> None:
        self._url = f"{registry}/discover/{quote(service, safe='')}?all=1"
        self._service = service
        self._memory = memory
        self._changed = changed
        self._remembered = b""
        self._can_remember = True

    def begin(self) -> None:
        """Call `changed` with what is remembered, then watch for ever."""
        self._recall()
        threading.Thread(target=self._watch, name=f"watch {self._service}", daemon=True).start()

    def _recall(self) -> None:
        try:
            body = self._memory.read_bytes()
            self._changed(read_list(body))
            self._remembered = body
        except FileNotFoundError:
            log.info("no instance of %s is remembered", self._service)
        except (OSError, ValueError) as failure:
            log.warning("ignoring the remembered instances in %s: %s", self._memory, failure)

    def _watch(self) -> None:
        index, away = "", False
        while True:
            try:
                index = self._ask(index)
                away = False
            except Exception as failure:  # whatever it is, the next answer may be better
                if not away:
                    log.warning("no list of %s, going on with the last one: %s", self._service, failure)
                index, away = "", True
            time.sleep(AWAY_SECONDS * random.uniform(0.5, 1) if away else PAUSE_SECONDS)  # noqa: S311  no secret

    def _ask(self, index: str) -> str:
        wait = WAIT_SECONDS if index else 0
        query = f"&index={quote(index)}&wait={wait}" if index else ""
        answer = fetch(self._url + query, wait + ANSWER_SECONDS, MOST_BYTES)
        if answer.status == OK:
            self._changed(read_list(answer.body))
            self._remember(answer.body)
        elif answer.status != NOT_FOUND:  # a service that is not there yet is worth waiting for
            raise ValueError(f"the registry answered {answer.status}")
        return answer.headers.get("X-Index", "")

    def _remember(self, body: bytes) -> None:
        """Write the list by rename, so that the file is whole after a crash; a full disk costs nothing else."""
        if body == self._remembered:
            return
        new = self._memory.with_suffix(f".{os.getpid()}.new")
        try:
            with new.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._memory)
            self._remembered, self._can_remember = body, True
        except OSError as failure:
            if self._can_remember:
                log.warning("cannot write %s, going on without it: %s", self._memory, failure)
            self._can_remember = False
            with suppress(OSError):  # a read-only file system refuses this too
                new.unlink()
