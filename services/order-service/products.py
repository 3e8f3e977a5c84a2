"""Whether a product exists: asked of a product service, whose answer is believed for a minute."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from web import Unavailable, log

BELIEVED_SECONDS = 60.0
TIMEOUT_SECONDS = 0.5
TRIES = 3
MAX_KNOWN = 10_000
MAX_BYTES = 64 * 1024


class Products:
    """Asks an instance that the registry chooses, or where there is none the next of `urls`.

    Raises Unavailable when a product is asked for the first time and no product service answers.
    """

    def __init__(self, registry: str, urls: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._urls = [url.strip() for url in urls.split(",") if url.strip()]
        self._clock = clock
        self._known: dict[str, float] = {}  # products that exist, and until when that is believed
        self._turn = 0
        self._lock = threading.Lock()

    def exists(self, product_id: str) -> bool:
        """Return whether there is a product of this id."""
        if not self._registry and not self._urls:
            return True  # standing alone, there is nobody to ask
        if self._clock() < self._known.get(product_id, 0.0):
            return True
        status = self._ask(f"/products/{quote(product_id, safe='')}")
        if status is None and product_id in self._known:
            return True  # it did exist, and products do not vanish while nobody looks
        if status is None:
            raise Unavailable("The product service is unavailable; try again")
        if status == http.client.OK:
            with self._lock:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[product_id] = self._clock() + BELIEVED_SECONDS
        return status == http.client.OK

    def _ask(self, path: str) -> int | None:
        for _ in range(TRIES):
            url = self._choose()
            status = get(url + path)[0] if url else None
            if status in (http.client.OK, http.client.NOT_FOUND):
                return status
        log.warning("no product service answers")
        return None

    def _choose(self) -> str | None:
        if self._registry:
            status, body = get(f"{self._registry}/discover/product-service", MAX_BYTES)
            return url_of(body) if status == http.client.OK else None
        with self._lock:
            self._turn += 1
            return self._urls[self._turn % len(self._urls)]


def url_of(instance: Mapping[str, object]) -> str:
    """Return the URL of an instance as the registry shows it."""
    ip = str(instance.get("ip"))
    return f"http://[{ip}]:{instance.get('port')}" if ":" in ip else f"http://{ip}:{instance.get('port')}"


def get(url: str, length: int = 0) -> tuple[int | None, dict[str, object]]:
    """Return status, None when none comes in time, and the JSON object of a body of up to `length` bytes."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = json.loads(answer.read(length)) if length else {}
    except (OSError, http.client.HTTPException, ValueError):
        return None, {}
    finally:
        connection.close()
    return answer.status, body if isinstance(body, dict) else {}
