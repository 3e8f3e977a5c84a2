"""Send one request with one deadline for the whole exchange, and compare the answer with an expected one."""

from __future__ import annotations

import json as json_format
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from lab.namespace import inside
from lab.topology import Node

_SECONDS = 5.0  # deadline of one exchange
_MAX_ANSWER_BYTES = 1_000_000


@dataclass(frozen=True)
class Answer:
    """The answer to a request; status None: there was none, or it was too long."""

    status: int | None = None
    text: str = ""

    @property
    def json(self) -> Any:
        """The text as JSON; None if it is not JSON."""
        try:
            return json_format.loads(self.text)
        except (ValueError, RecursionError):  # not JSON, or nested too deep
            return None

    def __str__(self) -> str:
        """Format the status, and the beginning of the text."""
        status = self.status or "no answer"
        return f"{status}: {self.text[:200]}" if self.text else f"{status}"


def send(
    url: str,
    method: str = "",
    node: Node | None = None,
    seconds: float = _SECONDS,
    json: dict[str, Any] | None = None,
) -> Answer:
    """Send a request on a connection of its own, from the host or from a node's namespace and address.

    The method is GET, or POST with a body of JSON, unless another is named.
    """
    method = method or ("POST" if json else "GET")
    try:
        with _deadline(seconds), inside(node.namespace if node else None), requests.Session() as session:
            session.trust_env = False  # no proxy
            if node:
                session.mount("http://", _AddressAdapter(str(node.address.ip)))
            with session.request(method, url, json=json, stream=True, timeout=seconds) as response:
                content = response.raw.read(_MAX_ANSWER_BYTES + 1, decode_content=True)
                if len(content) > _MAX_ANSWER_BYTES:
                    return Answer()
                return Answer(response.status_code, content.decode(errors="replace"))
    except (requests.RequestException, HTTPError, OSError):
        return Answer()


class _AddressAdapter(HTTPAdapter):
    """Connects from one address: a namespace may have several."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """End an exchange after `seconds`; the timeout of `requests` restarts with each byte."""

    def end(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@dataclass(frozen=True)
class ItemCount:
    """An expected number of items."""

    items: int


def matches(expected: Any, value: Any) -> bool:
    """Decide whether JSON is as expected.

    An object must have the expected fields, a list an element for each expected one, a text a match of the pattern,
    and any value the expected type. Other values must be equal.
    """
    match expected:
        case dict():
            return isinstance(value, dict) and all(
                key in value and matches(field, value[key]) for key, field in expected.items()
            )
        case list():
            return isinstance(value, list) and all(
                any(matches(one, item) for item in value) for one in expected
            )
        case ItemCount(items=items):
            return isinstance(value, list) and len(value) == items
        case re.Pattern():
            return isinstance(value, str) and expected.search(value) is not None
        case type():
            return isinstance(value, expected)
        case _:
            return bool(value == expected)
