"""How gunicorn runs this service; the same file in each folder, what differs is in the environment."""

import functools
import gc
import importlib
import json
import os
import re
import resource
import shutil
import socket
import sys
import tempfile
import time
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn import util

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from worker import ThreadWorker, make_gevent_worker

for secret in Path("/run/secrets").glob("*"):  # where a container is given its passwords, each as a file
    if secret.is_file():
        os.environ.setdefault(secret.name.upper(), secret.read_text().strip())
os.environ.setdefault("INSTANCE_ID", socket.gethostname())  # a container's own name, which no two have

MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory, which every container has
FILES = 4096

bind = f"{os.environ.get('SERVICE_IP', '127.0.0.1')}:{os.environ.get('SERVICE_PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
worker_class = make_gevent_worker() if os.environ.get("WORKER_CLASS") == "gevent" else ThreadWorker
threads = 16  # of the class with threads
keepalive = 75  # longer than any client keeps an idle connection, so that the client closes first
timeout = 30
graceful_timeout = 5  # no request takes longer; idle connections of clients are kept until then
accesslog = None  # each service writes its own, with the request's id
loglevel = "warning"
control_socket_disable = True  # nobody but the supervisor steers it
limit_request_line = 8190
limit_request_fields = 100
forwarded_allow_ips = "*"  # no list to search for each request, since no such header counts for anything:
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
worker_tmp_dir = str(MEMORY) if MEMORY.is_dir() else None  # a heartbeat on a disk would wait for the disk

# More than one client may hold (worker.py), as far as this process may have open files.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if soft < FILES:
    soft = min(FILES, hard) if hard != resource.RLIM_INFINITY else FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
worker_connections = min(2000, soft * 3 // 4)


def write_json_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Answer what never became a request (no HTTP, a header too long) as the services do: with JSON."""
    body = json.dumps({"error": reason}) + "\n"
    head = f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    util.write_nonblock(sock, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


util.write_error = write_json_error


@functools.lru_cache(1)
def http_date_of(second: int) -> str:
    """Return a second since 1970 as HTTP writes it (RFC 9110, section 5.6.7)."""
    return formatdate(second, usegmt=True)


def http_date(timestamp: float | None = None) -> str:
    """Return the time of an answer's Date header; gunicorn makes it anew for each answer."""
    return http_date_of(int(time.time() if timestamp is None else timestamp))  # noqa: TID251  a date


util.http_date = http_date


METRICS_BYTES = 256 * 1024  # of each file; there are a few hundred measurements
METRICS_KEPT = 20  # files of workers that ended; older ones go


def on_starting(_server: object) -> None:
    """Make a folder for the metrics of all workers of this start, in memory.

    The files are mapped: on a disk that is full, to write to one would end the process. The name cannot be guessed,
    so nobody can take it. prometheus_client looks at the variable when it is imported, which is in the workers.
    """
    prefix = re.sub("[^A-Za-z0-9-]", "-", f"metrics-{os.environ['INSTANCE_ID']}-")
    for old in MEMORY.glob(f"{prefix}{'?' * 8}"):
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=prefix, dir=MEMORY)
    except OSError:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # each worker then has its own, in its memory


def post_fork(_server: object, worker: "Worker") -> None:
    """Take the memory for the worker's metrics files: a later lack of it would end the process."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    try:
        for kind in ("counter", "histogram"):
            with open(f"{folder}/{kind}_{worker.pid}.db", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, METRICS_BYTES)
    except OSError:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def child_exit(server: "Arbiter", _worker: object) -> None:
    """Keep the metrics of workers that ended, so that no sum falls; but not of all there ever were."""
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "/nonexistent"))
    living = {f"_{pid}.db" for pid in server.WORKERS}
    with suppress(OSError):
        ended = [file for file in folder.glob("*.db") if not file.name.endswith(tuple(living))]
        for old in sorted(ended, key=os.path.getmtime)[:-METRICS_KEPT]:
            old.unlink()


def on_exit(_server: object) -> None:
    """Remove the metrics."""
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)


PAUSE_SECONDS = 5.0  # the arbiter looks at its workers each second


def spare_workers_after_a_pause(server: "Arbiter") -> None:
    """Let workers say that they live before they are judged, when the arbiter itself was stopped (`docker pause`).

    A stop longer than `timeout` is no fault of theirs, and would end all of them at once.
    """
    end_silent_workers, looked = server.murder_workers, time.monotonic()
    judged_from = looked

    def look() -> None:
        nonlocal looked, judged_from
        now = time.monotonic()
        if now - looked > PAUSE_SECONDS:
            judged_from = now + PAUSE_SECONDS
        looked = now
        if now >= judged_from:
            end_silent_workers()

    server.murder_workers = look  # type: ignore[method-assign]  # gunicorn has no hook for it


DRAIN_SECONDS = 0.3  # clients that wait for changes of the registry know much sooner


def when_ready(server: "Arbiter") -> None:
    """Register, now that connections are taken; deregister before a graceful stop, and serve late comers."""
    spare_workers_after_a_pause(server)
    if not os.environ.get("SERVICE_REGISTRY"):
        return
    registration_module = importlib.import_module("registration")  # the registry's own folder has none
    name = os.environ.get("SERVICE_NAME") or os.path.basename(os.getcwd())
    registration = registration_module.Registration(
        os.environ["SERVICE_REGISTRY"],
        name,
        re.sub("[^a-z0-9-]", "-", os.environ["INSTANCE_ID"].lower()),  # a name in DNS, too
        os.environ["SERVICE_IP"],
        int(os.environ["SERVICE_PORT"]),
    )
    stop = server.handle_term

    def drain_and_stop() -> None:
        if registration.leave():
            time.sleep(DRAIN_SECONDS)
        stop()

    server.handle_term = drain_and_stop  # type: ignore[method-assign]  # gunicorn has no hook before it stops
    registration.begin()


def post_worker_init(_worker: object) -> None:
    """Let the garbage collector pass over what lives as long as the worker.

    Each request leaves a few dozen objects in cycles. Collected seldom, they made a quiet service grow for ten minutes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
