"""Active checks: each instance is probed twice a second; leases are checked four times a second."""

import logging
import threading
import time
from collections.abc import Callable
from http.client import HTTPException

from cnet_service.exchange import ask_status, format_request
from cnet_service.families import connect
from instances import Instance
from registry import Registry

log = logging.getLogger("service")

INTERVAL_SECONDS = 0.5
SWEEP_SECONDS = 0.25
DEADLINE_SECONDS = 0.45  # deadline of a check: shorter than the interval
OK = 200


def is_answering(instance: Instance) -> bool:
    """Return whether the instance answers in time: /health with 200, or for a configured instance a TCP connection.

    Each check opens a connection: an open one outlives the listener and delays a graceful stop.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    host = f"[{instance.ip}]" if ":" in instance.ip else instance.ip
    try:
        with connect(instance.addresses, instance.port, deadline) as connection:
            question = format_request("GET", "/health", f"{host}:{instance.port}")
            return instance.permanent or ask_status(connection, question, deadline) == OK
    except (OSError, ValueError, HTTPException):
        return False


def check_for_ever(registry: Registry) -> None:
    """Check each instance in a thread of its own, so that a slow one delays no other check; sweep leases."""
    checked: set[int] = set()

    def start_checks() -> None:
        for instance in registry.instances():
            if not instance.renews_configured_lease and id(instance) not in checked:
                checked.add(id(instance))
                threading.Thread(target=check_while_registered, args=(instance,), daemon=True).start()

    def check_while_registered(instance: Instance) -> None:
        try:
            while registry.find(instance.name, instance.instance_id) is instance:
                begin = time.monotonic()
                registry.note_check(instance, is_answering(instance))
                time.sleep(max(0.0, begin + INTERVAL_SECONDS - time.monotonic()))
        finally:
            checked.discard(id(instance))  # start_checks can then restart the instance's checks

    repeat("checks", SWEEP_SECONDS, start_checks)
    repeat("sweep", SWEEP_SECONDS, registry.sweep)


def repeat(name: str, seconds: float, work: Callable[[], None]) -> None:
    """Call `work` for ever in a thread, with a pause of `seconds`."""

    def run() -> None:
        while True:
            time.sleep(seconds)
            try:
                work()
            except Exception:
                log.exception("%s failed", name)

    threading.Thread(target=run, name=name, daemon=True).start()
