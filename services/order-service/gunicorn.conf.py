"""How gunicorn runs this service; the same file in each folder, what differs is in the environment."""

import gc
import importlib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn import util

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

for secret in Path("/run/secrets").glob("*"):  # where a container is given its passwords, each as a file
    if secret.is_file():
        os.environ.setdefault(secret.name.upper(), secret.read_text().strip())
os.environ.setdefault("INSTANCE_ID", socket.gethostname())  # a container's own name, which no two have

bind = f"{os.environ.get('SERVICE_IP', '127.0.0.1')}:{os.environ.get('SERVICE_PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
worker_class = os.environ.get("WORKER_CLASS", "gthread")
threads = 16  # of the class gthread
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
worker_tmp_dir = "/dev/shm"  # noqa: S108  a heartbeat on a disk would wait for the disk

# Metrics of all workers are summed from files of this start. To be set before prometheus_client is imported.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.path.join(
    os.environ.get("STATE_DIR") or tempfile.mkdtemp(), "metrics"
)


def write_json_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Answer what never became a request (no HTTP, a header too long) as the services do: with JSON."""
    body = json.dumps({"error": reason}) + "\n"
    head = f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    util.write_nonblock(sock, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


util.write_error = write_json_error


def on_starting(_server: object) -> None:
    """Forget the metrics of the start before."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
    os.makedirs(os.environ["PROMETHEUS_MULTIPROC_DIR"])


DRAIN_SECONDS = 0.3  # clients that wait for changes of the registry know much sooner


def when_ready(server: "Arbiter") -> None:
    """Register, now that connections are taken; deregister before a graceful stop, and serve late comers."""
    if not os.environ.get("SERVICE_REGISTRY"):
        return
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
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
    """Let the garbage collector pass over what lives as long as the worker."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def child_exit(_server: object, worker: "Worker") -> None:
    """Let go of the gauges of a worker that ended."""
    from prometheus_client import multiprocess  # noqa: PLC0415  see above

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # not typed by Prometheus
