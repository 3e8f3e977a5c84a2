"""The instances of a service as the registry knows them: asked once, then waited for changes."""

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import gevent
from geventhttpclient import HTTPClient
from web import log

WAIT_SECONDS = 20
PAUSE_SECONDS = 0.25
OK, NOT_FOUND = 200, 404


@dataclass(frozen=True)
class Listed:
    """An instance as the registry lists it."""

    name: str
    url: str
    passing: bool


def read_list(body: bytes) -> list[Listed]:
    """Return the instances in an answer of /discover/NAME?all=1; raises ValueError for what is none."""
    try:
        return [
            Listed(str(item["instance_id"]), url_of(item["ip"], item["port"]), item["health"] == "passing")
            for item in json.loads(body)
        ]
    except (KeyError, TypeError) as failure:
        raise ValueError(f"not a list of instances: {failure}") from failure


def url_of(ip: str, port: int) -> str:
    """Return the URL of an address."""
    return f"http://[{ip}]:{port}" if ":" in ip else f"http://{ip}:{port}"


class Watch:
    """Calls `changed` with each new list.

    What was heard last outlives the process, in `memory`: a gateway that starts while the registry is away
    goes on with what it knew.
    """

    def __init__(
        self, registry: str, service: str, memory: Path, changed: Callable[[list[Listed]], None]
    ) -> None:
        self._client = HTTPClient.from_url(registry, connection_timeout=1, network_timeout=WAIT_SECONDS + 2)
        self._path = f"/discover/{quote(service, safe='')}?all=1"
        self._service = service
        self._memory = memory
        self._changed = changed

    def begin(self) -> None:
        """Tell what is remembered, then watch for ever."""
        try:
            self._changed(read_list(self._memory.read_bytes()))
        except (OSError, ValueError):
            log.info("nothing is known of %s yet", self._service)
        gevent.spawn(self._watch)

    def _watch(self) -> None:
        index, away = "", False
        while True:
            try:
                index = self._ask(index)
                away = False
            except Exception as failure:  # whatever it is, the next answer may be better
                if not away:
                    log.warning("the registry does not answer, going on without it: %s", failure)
                index, away = "", True
            gevent.sleep(PAUSE_SECONDS * random.uniform(0.5, 1) if away else 0)  # noqa: S311  no secret

    def _ask(self, index: str) -> str:
        wait = f"&index={index}&wait={WAIT_SECONDS}" if index else ""
        answer = self._client.get(self._path + wait)
        body = bytes(answer.read())
        if answer.status_code == OK:
            self._changed(read_list(body))
            self._remember(body)
        elif answer.status_code != NOT_FOUND:  # a service that is not there yet is worth waiting for
            raise ValueError(f"answer {answer.status_code}")
        return str(answer.get("X-Index", ""))

    def _remember(self, body: bytes) -> None:
        new = self._memory.with_suffix(f".{os.getpid()}.new")
        try:
            new.write_bytes(body)
            new.replace(self._memory)
        except OSError as failure:
            log.warning("cannot keep the list of instances: %s", failure)
