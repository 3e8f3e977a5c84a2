"""gunicorn's settings for all services; service.toml and the environment set the differences.

gunicorn -c python:cnet_service.gunicorn_settings 'app:create_app()'

This module must not import prometheus_client: see on_starting. It imports the other large libraries, and freezes their
objects, so that the workers share them: they start sooner, also after a kill, and take less memory.
"""

import functools
import gc
import importlib
import json
import os
import re
import resource
import shutil
import socket
import tempfile
import time
import tomllib
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn import util

from cnet_service.registration import Registration
from cnet_service.worker import ThreadWorker, make_gevent_worker

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

for secret in Path("/run/secrets").glob("*"):  # Docker's secrets: one file per password
    if secret.is_file():
        os.environ.setdefault(secret.name.upper(), secret.read_text().strip())
os.environ.setdefault("INSTANCE_ID", socket.gethostname())  # a container's own name is unique

MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory, which every container has
MIN_FILES = 4096
PROGRAM = tomllib.loads(Path("service.toml").read_text())  # the service's folder is the working directory

port = os.environ.get("SERVICE_PORT", "8000")
addresses = filter(None, (os.environ.get("SERVICE_IP", "127.0.0.1"), os.environ.get("SERVICE_IP6")))
bind = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]
workers = int(os.environ.get("WEB_CONCURRENCY", PROGRAM.get("workers", 1)))
worker_class = make_gevent_worker() if PROGRAM.get("worker_class") == "gevent" else ThreadWorker
threads = 16  # threads per ThreadWorker
keepalive = 75  # longer than any client keeps an idle connection, so that the client closes first
timeout = 30
graceful_timeout = 5  # no request takes longer; idle connections of clients are kept until then
accesslog = None  # each service writes an access log with the request's id
loglevel = "warning"
control_socket_disable = True  # only the supervisor controls gunicorn
limit_request_line = 8190
limit_request_fields = 100
forwarded_allow_ips = "*"  # do not search a list for each request: no forwarded header is used anyway
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
worker_tmp_dir = (
    str(MEMORY) if MEMORY.is_dir() else None
)  # a worker's heartbeat file must not wait for a disk

# Allow more connections than one client may hold (worker.py), as far as this process may have open files.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if soft < MIN_FILES:
    soft = min(MIN_FILES, hard) if hard != resource.RLIM_INFINITY else MIN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
worker_connections = min(2000, soft * 3 // 4)


def write_json_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Answer a request that gunicorn cannot parse (invalid HTTP, a header too long) with JSON."""
    body = json.dumps({"error": reason}) + "\n"
    head = f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    util.write_nonblock(sock, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


util.write_error = write_json_error


@functools.lru_cache(1)
def format_http_date(second: int) -> str:
    """Return seconds since 1970 as an HTTP date (RFC 9110, section 5.6.7)."""
    return formatdate(second, usegmt=True)


def http_date(timestamp: float | None = None) -> str:
    """Return the Date header of an answer; gunicorn's own function formats it again for each answer."""
    return format_http_date(int(time.time() if timestamp is None else timestamp))  # noqa: TID251  a date


util.http_date = http_date


# After gevent: Python clears modules in reverse order when it ends, and log handlers still take a lock of gevent then.
importlib.import_module("cnet_service.description")
gc.freeze()

METRICS_BYTES = 256 * 1024  # size of each metrics file, for a few hundred metrics
MAX_ENDED_FILES = 20  # metrics files of ended workers that are kept


def on_starting(_server: object) -> None:
    """Make a folder for the metrics of all workers of this start, in memory.

    The files are mapped: a write to one on a full disk would end the process. The name is random, so that no other
    program can take it. prometheus_client reads the variable when it is imported, which happens in the workers.
    """
    prefix = re.sub("[^A-Za-z0-9-]", "-", f"metrics-{os.environ['INSTANCE_ID']}-")
    for old in MEMORY.glob(f"{prefix}{'?' * 8}"):
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=prefix, dir=MEMORY)
    except OSError:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # each worker then has separate metrics


def post_fork(_server: object, worker: "Worker") -> None:
    """Reserve the memory of the worker's metrics files: if it were missing later, the process would end."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    try:
        for kind in ("counter", "histogram"):
            with open(f"{folder}/{kind}_{worker.pid}.db", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, METRICS_BYTES)
    except OSError:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def child_exit(server: "Arbiter", _worker: object) -> None:
    """Remove the oldest metrics files of ended workers; keep the others, so that counters do not decrease."""
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "/nonexistent"))
    running = tuple(f"_{pid}.db" for pid in server.WORKERS)
    with suppress(OSError):
        ended = [file for file in folder.glob("*.db") if not file.name.endswith(running)]
        for old in sorted(ended, key=os.path.getmtime)[:-MAX_ENDED_FILES]:
            old.unlink()


def on_exit(_server: object) -> None:
    """Remove the metrics."""
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)


PAUSE_SECONDS = 5.0  # the arbiter checks its workers each second


def delay_hang_check_after_pause(server: "Arbiter") -> None:
    """Do not kill workers as hung right after the whole service was paused (`docker pause`).

    A paused worker sends no heartbeat; it has PAUSE_SECONDS to send one before the next check.
    """
    end_hung_workers, last_check = server.murder_workers, time.monotonic()
    resume_at = last_check

    def check_workers() -> None:
        nonlocal last_check, resume_at
        now = time.monotonic()
        if now - last_check > PAUSE_SECONDS:
            resume_at = now + PAUSE_SECONDS
        last_check = now
        if now >= resume_at:
            end_hung_workers()

    server.murder_workers = check_workers  # type: ignore[method-assign]  # gunicorn has no hook for it


DRAIN_SECONDS = 0.3  # clients that watch the registry get the change much sooner


def when_ready(server: "Arbiter") -> None:
    """Register once connections are accepted; deregister before a graceful stop, and serve late requests."""
    delay_hang_check_after_pause(server)
    if not os.environ.get("SERVICE_REGISTRY"):
        return
    registration = Registration(
        os.environ["SERVICE_REGISTRY"],
        os.environ.get("SERVICE_NAME") or os.path.basename(os.getcwd()),
        re.sub("[^a-z0-9-]", "-", os.environ["INSTANCE_ID"].lower()),  # a valid name in DNS
        os.environ["SERVICE_IP"],
        int(os.environ["SERVICE_PORT"]),
        ip6=os.environ.get("SERVICE_IP6", ""),
        registry_ip6=os.environ.get("REGISTRY_IP6", ""),
    )
    stop = server.handle_term

    def drain_and_stop() -> None:
        if registration.leave():
            time.sleep(DRAIN_SECONDS)
        stop()

    server.handle_term = drain_and_stop  # type: ignore[method-assign]  # gunicorn has no hook before it stops
    registration.begin()


def post_worker_init(_worker: object) -> None:
    """Exclude the objects that live as long as the worker from garbage collection, and collect more often.

    Each request leaves a few dozen objects in cycles; with the defaults a quiet service grew for ten minutes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
