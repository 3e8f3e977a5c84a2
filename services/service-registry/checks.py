"""Active checks: each instance is asked twice a second, leases are looked at four times."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import urllib3
from instances import Instance
from registry import Registry
from web import log

INTERVAL_SECONDS = 0.5
SWEEP_SECONDS = 0.25
TIMEOUT_SECONDS = 0.4
AT_ONCE = 50

http = urllib3.PoolManager(num_pools=AT_ONCE, timeout=TIMEOUT_SECONDS, retries=False)


def answers(instance: Instance) -> bool:
    """Return whether it answers in time: /health with 200, or, one that is configured, a TCP connection.

    Over a new connection each time: one that is kept outlives the listener and holds up a graceful stop.
    """
    try:
        if instance.permanent:
            with urllib3.util.connection.create_connection((instance.ip, instance.port), TIMEOUT_SECONDS):
                return True
        host = f"[{instance.ip}]" if ":" in instance.ip else instance.ip
        url = f"http://{host}:{instance.port}/health"
        answer = http.request("GET", url, redirect=False, headers={"Connection": "close"})
    except (urllib3.exceptions.HTTPError, OSError):
        return False
    return answer.status == 200  # noqa: PLR2004  OK


def check_for_ever(registry: Registry) -> None:
    """Check all instances and sweep, each in a thread of its own that goes on whatever happens."""

    def check_all() -> None:
        registered = [instance for instance in registry.instances() if not instance.reports]
        for instance, found in zip(registered, pool.map(answers, registered), strict=True):
            registry.note_check(instance, found)

    pool = ThreadPoolExecutor(AT_ONCE)
    repeat("checks", INTERVAL_SECONDS, check_all)
    repeat("sweep", SWEEP_SECONDS, registry.sweep)


def repeat(name: str, seconds: float, work: Callable[[], None]) -> None:
    """Call `work` for ever, with a pause."""

    def run() -> None:
        while True:
            time.sleep(seconds)
            try:
                work()
            except Exception:
                log.exception("%s failed", name)

    threading.Thread(target=run, name=name, daemon=True).start()
