"""The instances of a service: at first those of the last run, then the registry's list.

A thread reads the list once and then waits for changes by long poll. While the registry gives no valid answer, the
last list stays in use: no request waits for the registry.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, Field, IPvAnyAddress, TypeAdapter, ValidationError

from cnet_service.errors import describe_failure
from cnet_service.exchange import fetch
from cnet_service.saved_file import SavedFile

WAIT_SECONDS = 10  # longest delay of the registry's answer if nothing changes
ANSWER_SECONDS = 2.0  # the deadline of an answer, after that delay
MAX_BYTES = 1024 * 1024  # five times a list of 1000 instances, the registry's limit
PAUSE_SECONDS = 0.05  # between two requests, if the registry answers at once
RETRY_SECONDS = 0.25
MAX_PORT = 65535
OK, NOT_FOUND = 200, 404

log = logging.getLogger("service")


@dataclass(frozen=True)
class Listed:
    """An instance as the registry lists it."""

    name: str
    url: str
    passing: bool
    ip6: str = ""  # another address of the URL's host


class ListItem(BaseModel):
    """An instance in an answer of /discover/NAME?all=1; other fields of it are ignored."""

    instance_id: str
    ip: IPvAnyAddress
    ip6: IPvAnyAddress | None = None
    port: int = Field(ge=1, le=MAX_PORT, strict=True)
    health: str


LIST = TypeAdapter(list[ListItem])


def read_list(body: bytes) -> list[Listed]:
    """Return the instances in an answer of /discover/NAME?all=1; raise ValueError if it is not such a list."""
    try:
        items = LIST.validate_json(body)
    except ValidationError as failure:
        raise ValueError(f"not a list of instances: {' '.join(describe_failure(failure))}") from None
    return [
        Listed(item.instance_id, url_of(item), item.health == "passing", str(item.ip6 or ""))
        for item in items
    ]


def url_of(item: ListItem) -> str:
    """Return the URL of an instance."""
    host = f"[{item.ip}]" if item.ip.version == 6 else item.ip  # noqa: PLR2004  IPv6
    return f"http://{host}:{item.port}"


def follow(
    settings: Mapping[str, str], service: str, urls: str, changed: Callable[[list[Listed]], None]
) -> bool:
    """Call `changed` with each list of SERVICE_REGISTRY; without a registry once, with the URLs in the variable `urls`.

    Return False if the environment has neither.
    """
    registry = settings.get("SERVICE_REGISTRY")
    if registry:
        saved_list = Path(settings.get("STATE_DIR", ".")) / f"{service}.instances"
        Watch(registry, service, saved_list, changed, settings.get("REGISTRY_IP6", "")).begin()
        return True
    given = [url.strip() for url in settings.get(urls, "").split(",") if url.strip()]
    changed([Listed(url, url, passing=True) for url in given])
    return bool(given)


class Watch:
    """Calls `changed` with the list in the file `saved_list`, then with each new list."""

    def __init__(
        self,
        registry: str,
        service: str,
        saved_list: Path,
        changed: Callable[[list[Listed]], None],
        registry_ip6: str = "",
    ) -> None:
        self._registry_ip6 = registry_ip6
        self._url = f"{registry}/discover/{quote(service, safe='')}?all=1"
        self._service = service
        self._saved_list = SavedFile(saved_list)
        self._changed = changed

    def begin(self) -> None:
        """Call `changed` with the saved list, then watch in a thread."""
        self._load_list()
        threading.Thread(target=self._watch, name=f"watch {self._service}", daemon=True).start()

    def _load_list(self) -> None:
        body = self._saved_list.read()
        if body is None:
            return
        try:
            self._changed(read_list(body))
        except ValueError as failure:
            log.warning("ignoring the saved instances in %s: %s", self._saved_list.path, failure)

    def _watch(self) -> None:
        index, is_failing = "", False
        while True:
            try:
                index = self._ask(index)
                is_failing = False
            except Exception as failure:  # the next answer may be valid
                if not is_failing:
                    log.warning(
                        "the registry gave no list of %s, keeping the last one: %s", self._service, failure
                    )
                index, is_failing = "", True
            time.sleep(RETRY_SECONDS * random.uniform(0.5, 1) if is_failing else PAUSE_SECONDS)  # noqa: S311  no secret

    def _ask(self, index: str) -> str:
        wait = WAIT_SECONDS if index else 0
        query = f"&index={quote(index)}&wait={wait}" if index else ""
        answer = fetch(self._url + query, wait + ANSWER_SECONDS, MAX_BYTES, self._registry_ip6)
        if answer.status == OK:
            self._changed(read_list(answer.body))
            self._saved_list.write(answer.body)
        elif answer.status != NOT_FOUND:  # 404: not registered yet, keep waiting
            raise ValueError(f"the registry answered {answer.status}")
        return answer.headers.get("X-Index", "")
