"""Active checks: each instance is asked for /health, at registration and every two seconds."""

import threading
from concurrent.futures import ThreadPoolExecutor

import urllib3
from registry import Instance, Registry
from web import log

INTERVAL_SECONDS = 2.0
TIMEOUT_SECONDS = 1.0

http = urllib3.PoolManager(num_pools=100, timeout=TIMEOUT_SECONDS, retries=False)


def check(ip: str, port: int) -> str:
    """Return "passing" when http://ip:port/health answers 200 in time, "critical" otherwise."""
    host = f"[{ip}]" if ":" in ip else ip
    try:
        answer = http.request("GET", f"http://{host}:{port}/health", redirect=False)
    except urllib3.exceptions.HTTPError:
        return "critical"
    return "passing" if answer.status == 200 else "critical"  # noqa: PLR2004  OK


def check_for_ever(registry: Registry) -> None:
    """Check all instances in a thread of its own, several at a time."""

    def check_one(instance: Instance) -> None:
        health = check(instance.ip, instance.port)
        if health != instance.health:
            log.info("%s at %s:%s is %s", instance.name, instance.ip, instance.port, health)
            registry.set_health(instance, health)

    def run() -> None:
        with ThreadPoolExecutor(8) as pool:
            while not stop.wait(INTERVAL_SECONDS):
                try:
                    list(pool.map(check_one, registry.instances()))
                except Exception:
                    log.exception("a round of health checks failed")

    stop = threading.Event()
    threading.Thread(target=run, name="health", daemon=True).start()
