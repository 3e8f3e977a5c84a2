"""The service's lease in the registry: renewed each second, removed before the service stops."""

import json
import logging
import socket
import threading
import time
from http.client import HTTPException
from urllib.parse import quote, urlsplit

from cnet_service.exchange import ask_status, format_request
from cnet_service.families import connect

HEARTBEAT_SECONDS = 1.0
RETRY_SECONDS = 0.25
TTL_SECONDS = 3
DEADLINE_SECONDS = 1.0  # deadline of one exchange with the registry
OK = 200

log = logging.getLogger("service")


class Registration:
    """Keeps one instance registered at `url`; retries while the registry does not answer.

    The registered address is the source of the request: `ip`, or for 0.0.0.0 the address that the kernel chooses.
    With `ip6` both addresses are registered, from one of them; `registry_ip6` is another address of the registry.
    """

    def __init__(
        self,
        url: str,
        name: str,
        instance_id: str,
        ip: str,
        port: int,
        *,
        ip6: str = "",
        registry_ip6: str = "",
    ) -> None:
        place = urlsplit(url)
        self._place = place.netloc
        self._host, self._port = place.hostname or "", place.port or 80
        self._hosts = list(filter(None, (registry_ip6, self._host)))
        # The registry accepts only the sender's address, and a namespace may have several.
        self._sources = list(filter(None, (ip6, ip)))
        self._instance: dict[str, object] = {
            "name": name,
            "instance_id": instance_id,
            "port": port,
            "ttl": TTL_SECONDS,
        }
        self._path = f"{quote(name, safe='')}/{quote(instance_id, safe='')}"
        self._is_registered = False
        self._status: int | None = None  # status of the last registration: log a refusal once
        self._leaving = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Register and renew in a thread."""
        threading.Thread(target=self._run, name="registration", daemon=True).start()

    def leave(self) -> bool:
        """Deregister; return whether the registry confirmed it, so that clients stop coming.

        This takes at most three exchanges, even if the registry does not answer.
        """
        self._leaving.set()
        if not self._lock.acquire(timeout=2 * DEADLINE_SECONDS):
            return False
        try:
            return self._is_registered and self._ask("DELETE", f"/deregister/{self._path}") == OK
        finally:
            self._lock.release()

    def _run(self) -> None:
        while not self._leaving.wait(HEARTBEAT_SECONDS if self._is_registered else RETRY_SECONDS):
            with self._lock:
                if not self._leaving.is_set():
                    self._is_registered = self._renew()

    def _renew(self) -> bool:
        if self._is_registered and self._ask("PUT", f"/heartbeat/{self._path}") == OK:
            return True
        status = self._ask("POST", "/register", self._instance)
        if status not in (None, OK, self._status):
            log.warning("the registry refuses this instance: %s", status)
        self._status = status
        return status == OK

    def _ask(self, method: str, path: str, instance: dict[str, object] | None = None) -> int | None:
        """Return the status of the registry's answer, None without one."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            with connect(self._hosts, self._port, deadline, self._sources) as connection:
                body = json.dumps(instance | self._addresses(connection)) if instance else ""
                kind = "Content-Type: application/json\r\n" if instance else ""
                question = format_request(method, path, self._place, kind, body)
                return ask_status(connection, question, deadline)
        except (OSError, ValueError, HTTPException):
            return None

    def _addresses(self, connection: socket.socket) -> dict[str, str]:
        if len(self._sources) == 1:
            return {"ip": connection.getsockname()[0]}
        return dict(zip(("ip6", "ip"), self._sources, strict=True))
