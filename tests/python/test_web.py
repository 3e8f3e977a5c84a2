"""What the services share: reading requests, deadlines and limits for clients, metrics."""

import io
import json
import logging
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from gunicorn.glogging import Logger
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, NoMoreData
from peers import service, wait_until
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from werkzeug.test import EnvironBuilder, run_wsgi_app

Load = Callable[[str], ModuleType]


@pytest.fixture
def client(registry: Load) -> Any:
    app = registry("cnet_service.app").create_service_app("test", "test-1", "Test.")
    app.post("/read", endpoint="read")(registry("cnet_service.body").read_json_object)
    app.get("/get", endpoint="get")(lambda: {})
    return app.test_client()


class Broken:
    """A body that ends in an exception of the server's."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def read(self, _size: int = -1) -> bytes:
        raise self._failure


def ask(client: Any, method: str, path: str, body: Any, length: int | None = None) -> tuple[int, Any]:
    """Ask as gunicorn does, which ends the stream itself; without a length the body is chunked."""
    environ = EnvironBuilder(path, method=method, content_type="application/json").get_environ()
    environ |= {"wsgi.input": body, "wsgi.input_terminated": True}
    environ |= {"HTTP_TRANSFER_ENCODING": "chunked"} if length is None else {"CONTENT_LENGTH": str(length)}
    chunks, status, _ = run_wsgi_app(client.application, environ)
    return int(status[:3]), json.loads(b"".join(chunks))


@pytest.mark.parametrize(
    "failure", [InvalidChunkSize(b"x"), ChunkMissingTerminator(b"y"), NoMoreData(), OSError(5, "z")]
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/read"), ("GET", "/get"), ("POST", "/nowhere")])
def test_a_body_that_cannot_be_read_is_the_clients_error(
    client: Any, failure: Exception, method: str, path: str
) -> None:
    status, answer = ask(client, method, path, Broken(failure))
    assert (status, "error" in answer) == (400, True)


@pytest.mark.parametrize(("size", "wanted"), [(65_536, 200), (65_537, 413), (70_000, 413), (1_000_000, 413)])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_over_the_limit_is_refused_and_never_cut(
    client: Any, size: int, wanted: int, chunked: bool
) -> None:
    body = b'{"a":1}'.ljust(size)
    status, answer = ask(client, "POST", "/read", io.BytesIO(body), None if chunked else size)
    assert status == wanted
    assert answer == {"a": 1} if wanted == 200 else answer["field"] == "body"


def test_a_body_that_ends_early_is_refused(client: Any) -> None:
    assert ask(client, "POST", "/read", io.BytesIO(b'{"a":1}'), 50)[0] == 400
    assert ask(client, "POST", "/read", io.BytesIO(b'{"a":1}'), 7)[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{"a":1,"b":{"c":1,"c":1}}', "c"),
        (b'{"a":1,"\\u0061":1}', "a"),
        (b'{"a":NaN}', "body"),
        (b"[]", "body"),
        (b"{", "body"),
        (b'\xef\xbb\xbf{"a":1}', "body"),
        ('{"a":1}'.encode("utf-16"), "body"),
        (b'{"a":"\xff"}', "body"),
    ],
)
def test_json_that_two_readers_may_read_differently_is_refused(client: Any, body: bytes, field: str) -> None:
    answer = client.post("/read", headers={"Content-Type": "application/json"}, data=body)
    assert (answer.status_code, answer.get_json()["field"]) == (400, field)


# --- metrics


def write_metrics(folder: Path, name: str) -> Path:
    file = folder / name
    values = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    for status in ("200", "404"):
        key = mmap_key("requests", "requests_total", ["status"], [status], "help")
        values.write_value(key, 3.0, 0.0)  # type: ignore[no-untyped-call]
    values.close()  # type: ignore[no-untyped-call]
    return file


def negative_length(data: bytes) -> bytes:
    return data[:8] + struct.pack("i", -28) + data[12:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: bytes(len(data)),
        lambda data: b"\xa5" * len(data),
        lambda data: data[:8] + b"\xff" * (len(data) - 8),
        lambda data: data.replace(b'"requests"', b"{requests:"),
        negative_length,
    ],
)
def test_a_damaged_metrics_file_costs_that_file_alone(
    registry: Load,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    damage: Callable[[bytes], bytes],
) -> None:
    write_metrics(tmp_path, "counter_1.db")
    bad = write_metrics(tmp_path, "counter_2.db")
    bad.write_bytes(damage(bad.read_bytes()))
    (tmp_path / "strange.db").write_bytes(b"\1")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert 'requests_total{status="200"} 3.0' in answer.get_data(as_text=True)


def test_a_failure_of_the_metrics_fails_no_request(
    registry: Load, monkeypatch: pytest.MonkeyPatch, client: Any, tmp_path: Path
) -> None:
    def fail(*_labels: str) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(registry("cnet_service.metrics"), "labelled", fail)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone"))
    assert client.get("/health").status_code == 200
    assert client.get("/metrics").status_code == 200


# --- clients


def test_one_client_cannot_take_all_places(registry: Load) -> None:
    limit = registry("cnet_service.worker").ClientLimit(per_client=2, total=5, exempt=["10.0.0.1"])
    assert [limit.take("10.0.0.9") for _ in range(3)] == [True, True, False]
    assert [limit.take("10.0.0.1") for _ in range(4)] == [True, True, True, False]
    limit.release("10.0.0.9")
    assert limit.take("10.0.0.8")


@contextmanager
def connection(
    registry: Load, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, socket.socket, list[str]]]:
    worker = registry("cnet_service.worker")
    monkeypatch.setattr(worker, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(worker, "BODY_SECONDS", 0.3)
    here, there = socket.socketpair()
    closed: list[str] = []
    made = worker.Connection(here, 0.6, lambda: closed.append("closed"))
    with there:
        yield made, there, closed
        made.close()


def drip(there: socket.socket) -> None:
    def run() -> None:
        try:
            for _ in range(100):
                there.send(b"G")
                time.sleep(0.02)
        except OSError:
            pass

    threading.Thread(target=run, daemon=True).start()


def read_on(made: Any) -> float:
    begin = time.monotonic()
    while made.recv(100):
        assert time.monotonic() - begin < 3
    return time.monotonic() - begin


def test_a_head_that_drips_ends_with_its_deadline(registry: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection(registry, monkeypatch) as (made, there, closed):
        drip(there)
        with pytest.raises(ConnectionResetError):
            read_on(made)
        made.close()
        made.close()
        assert closed == ["closed"]


def test_a_body_that_drips_is_answered_408(registry: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection(registry, monkeypatch) as (made, there, _):
        made.begin_body()
        drip(there)
        with pytest.raises(Exception, match="408"):
            read_on(made)


def test_a_connection_may_be_idle_longer_than_a_head_may_take(
    registry: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection(registry, monkeypatch) as (made, there, _):
        made.end_request()
        threading.Timer(0.45, there.send, [b"G"]).start()
        assert made.recv(100) == b"G"
        drip(there)
        with pytest.raises(ConnectionResetError):
            read_on(made)


def test_a_timeout_that_gunicorn_sets_is_kept(registry: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection(registry, monkeypatch) as (made, _, _):
        made.settimeout(0.05)
        with pytest.raises(TimeoutError):
            made.recv(100)
        assert made.gettimeout() == 0.05
        made.setblocking(False)
        with pytest.raises(BlockingIOError):
            made.recv(100)


def test_errors_are_json(client: Any) -> None:
    answer = client.post("/read", data="x")
    assert json.loads(answer.get_data())["field"] == "body"


def test_ready_tells_of_a_helper_that_is_away_and_stays_ready(registry: Load) -> None:
    troubles = iter(["redis refused the password", ""])
    app = registry("cnet_service.app").create_service_app(
        "test", "test-1", "Test.", helpers={"cache": lambda: next(troubles)}
    )
    first, second = (app.test_client().get("/ready") for _ in range(2))
    assert (first.status_code, first.get_json()["degraded"]) == (200, {"cache": "redis refused the password"})
    assert (second.status_code, second.get_json()) == (200, {"service": "test", "status": "ready"})


def test_what_gunicorn_logs_in_a_worker_can_still_be_written(client: Any) -> None:
    record = logging.getLogger("gunicorn.error").makeRecord("x", logging.ERROR, "", 0, "it failed", (), None)
    assert f"[{os.getpid()}] [ERROR] it failed" in logging.Formatter(Logger.error_fmt).format(record)


def workers(arbiter: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()]


def test_workers_outlive_a_pause_of_the_whole_service_and_a_hung_one_alone_is_replaced(
    tmp_path: Path,
) -> None:
    with service("product-service", tmp_path / "state", GUNICORN_CMD_ARGS="--timeout 6") as running:
        before = workers(running.process.pid)
        for pid in (running.process.pid, *before):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(8)  # longer than the timeout
        for pid in (running.process.pid, *before):
            os.kill(pid, signal.SIGCONT)
        resumed = time.monotonic()
        while time.monotonic() - resumed < 2 * 6:  # longer than it is spared, and the timeout after that
            assert requests.get(running.url + "/health", timeout=2).status_code == 200
            time.sleep(0.2)
        assert workers(running.process.pid) == before
        os.kill(before[0], signal.SIGSTOP)
        wait_until(lambda: before[0] not in workers(running.process.pid), seconds=20)
        assert requests.get(running.url + "/health", timeout=10).status_code == 200
