"""What the services' tests run beside them: peers that answer badly, real stores, and the services themselves."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import requests

SERVICES = Path(__file__).parents[2] / "services"
START_SECONDS = 30.0

Serve = Callable[[socket.socket, str], None]  # a connection whose request was read, and the request's path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(fact: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def peer(serve: Serve) -> Iterator[str]:
    """Give the URL of a server that does `serve` with each connection, in a thread each."""
    server = socket.create_server(("127.0.0.1", 0), backlog=200)

    def handle(connection: socket.socket) -> None:
        with connection:
            try:
                request = connection.recv(65536).decode("latin-1")
                serve(connection, request.split(" ")[1] if " " in request else "")
            except OSError:
                pass  # the other side had enough

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def answer(status: str, body: bytes, headers: str = "Content-Type: application/json\r\n") -> Serve:
    """Answer at once with these bytes."""

    def serve(connection: socket.socket, _path: str) -> None:
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode("latin-1") + body)

    return serve


def healthy(serve: Serve) -> Serve:
    """Answer /health well, and anything else as `serve` does."""
    good = answer("200 OK", b"{}")
    return lambda connection, path: (good if path == "/health" else serve)(connection, path)


def drip(connection: socket.socket, _path: str) -> None:
    """Send a header that never ends, a byte at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def flood(connection: socket.socket, _path: str) -> None:
    """Send a header that never ends, as fast as it is taken."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        connection.sendall(b"a" * 65536)


@dataclass
class Running:
    """A service that was started for a test."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def says(self, pattern: str) -> bool:
        """Return whether a line of its log matches."""
        return re.search(pattern, self.log.read_text()) is not None


@contextmanager
def service(name: str, folder: Path, **settings: str) -> Iterator[Running]:
    """Run a service under gunicorn, as the lab does."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "WEB_CONCURRENCY": "1",
        "PYTHONPATH": str(SERVICES / "common"),  # the sources, which may be newer than what is installed
        "SERVICE_PORT": str(port),
        "INSTANCE_ID": f"{name}-test",
        "STATE_DIR": str(folder),
        **settings,
    }
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "python:cnet_service.gunicorn_settings",
        "app:create_app()",
    ]
    log = folder / "log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=SERVICES / name, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: accepts(port))  # gunicorn itself does; its worker is there when it answers
        assert requests.get(f"http://127.0.0.1:{port}/health", timeout=START_SECONDS).status_code == 200
        yield Running(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: a graceful stop takes seconds
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def order(
    url: str, product_id: str = "1", key: str = "", total_price: float = 9.5, quantity: int = 1
) -> requests.Response:
    """Order at an order service, or at a gateway with its path in `url`."""
    body: dict[str, Any] = {
        "customer_id": "test",
        "product_id": product_id,
        "quantity": quantity,
        "total_price": total_price,
    }
    return requests.post(url, json=body, headers={"Idempotency-Key": key} if key else {}, timeout=10)


@dataclass
class Postgres:
    """A PostgreSQL of a test's own."""

    folder: Path
    port: int
    user: list[str]
    process: subprocess.Popen[bytes]

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DB_HOST": "127.0.0.1", "DB_PORT": str(self.port), "DB_NAME": "orders",
            "DB_USER": "orders", "DB_PASSWORD": "secret",
        }  # fmt: skip

    def sql(self, *statements: str) -> str:
        """Run statements as the superuser, each in a transaction of its own."""
        options = [part for statement in statements for part in ("-c", statement)]
        command = [
            *self.user,
            "psql",
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
        ]
        done = subprocess.run(
            [*command, "-U", "postgres", "-d", "orders", *options],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all its processes."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        for pid in (self.process.pid, *map(int, children.stdout.split())):
            os.kill(pid, number)


def postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a real PostgreSQL with the lab's database and user."""
    programs = postgres_programs()
    assert programs, "PostgreSQL is not installed: sudo scripts/install.sh up"
    # Not in pytest's own folder, which each other run of pytest closes to other users again.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        subprocess.run(["chown", "postgres", folder], check=True)
    data, port = folder / "data", free_port()
    make = [
        *user,
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "--auth-local",
        "trust",
        "--auth-host",
        "scram-sha-256",
    ]
    subprocess.run(make, check=True, capture_output=True, cwd="/")
    single = [*user, str(programs / "postgres"), "--single", "-D", str(data), "postgres"]
    roles = b"CREATE ROLE orders LOGIN PASSWORD 'secret'\nCREATE DATABASE orders OWNER orders\n"
    subprocess.run(single, input=roles, check=True, capture_output=True, cwd="/")
    run = [*user, str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    process = subprocess.Popen(
        [*run, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"], cwd="/", stderr=subprocess.DEVNULL
    )
    running = Postgres(folder, port, user, process)
    try:
        wait_until(lambda: accepts(port))
        yield running
    finally:
        running.signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        process.wait(20)
        shutil.rmtree(folder)


@dataclass
class Redis:
    """A Redis of a test's own."""

    port: int
    process: subprocess.Popen[bytes]
    client: redis.Redis

    @property
    def settings(self) -> dict[str, str]:
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port), "REDIS_PASSWORD": "secret"}


@contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    """Run a real Redis with a password and in memory, as the lab does."""
    port = free_port()
    options = ["--requirepass", "secret", "--save", "", "--bind", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(["redis-server", *options], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port))
        yield Redis(port, process, redis.Redis(port=port, password="secret"))
    finally:
        process.terminate()
        process.wait(10)
