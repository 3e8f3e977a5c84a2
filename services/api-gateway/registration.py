"""The service's lease in the registry: renewed each second, given up before the service stops.

The same file lies in each service's folder that registers, for each stands alone; a test holds them equal.
"""

import http.client
import json
import logging
import threading
from urllib.parse import quote, urlsplit

HEARTBEAT_SECONDS = 1.0
RETRY_SECONDS = 0.25
TTL_SECONDS = 3
MOST_BYTES = 65536
TIMEOUT_SECONDS = 1.0

log = logging.getLogger("service")


class Registration:
    """One instance's place in the registry at `url`; a registry that is away is asked again and again.

    Registered is the address that asks: `ip`, or with 0.0.0.0 the one that leads to the registry.
    """

    def __init__(self, url: str, name: str, instance_id: str, ip: str, port: int) -> None:
        self._host = urlsplit(url).netloc
        self._own = ip  # what the registry believes: a namespace may have several addresses
        self._instance: dict[str, object] = {
            "name": name,
            "instance_id": instance_id,
            "port": port,
            "ttl": TTL_SECONDS,
        }
        self._path = f"{quote(name, safe='')}/{quote(instance_id, safe='')}"
        self._known = False
        self._leaving = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Register and go on renewing in a thread of its own."""
        threading.Thread(target=self._run, name="registration", daemon=True).start()

    def leave(self) -> bool:
        """Deregister; return whether the registry took note, so that clients will stay away."""
        self._leaving.set()
        with self._lock:
            return self._known and self._ask("DELETE", f"/deregister/{self._path}") == http.client.OK

    def _run(self) -> None:
        while not self._leaving.wait(HEARTBEAT_SECONDS if self._known else RETRY_SECONDS):
            with self._lock:
                if not self._leaving.is_set():
                    self._known = self._renew()

    def _renew(self) -> bool:
        if self._known and self._ask("PUT", f"/heartbeat/{self._path}") == http.client.OK:
            return True
        status = self._ask("POST", "/register", self._instance)
        if status not in (None, http.client.OK):
            log.warning("the registry refuses this instance: %s", status)
        return status == http.client.OK

    def _ask(self, method: str, path: str, instance: dict[str, object] | None = None) -> int | None:
        connection = http.client.HTTPConnection(
            self._host, timeout=TIMEOUT_SECONDS, source_address=(self._own, 0)
        )
        try:
            connection.connect()
            body = None
            if instance is not None:
                body = json.dumps(instance | {"ip": connection.sock.getsockname()[0]})
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            response.read(MOST_BYTES)  # to close with an answer unread would be a reset
            return response.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
