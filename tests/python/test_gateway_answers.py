"""What the gateway makes of instances that answer badly, and of a registry that is slow, wrong or away."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from peers import Running, Serve, answer, drip, flood, healthy, order, peer, service, wait_until

Load = Callable[[str], ModuleType]
LIST = b'{"instance":"good","products":[]}'
JSON_TYPE = "Content-Type: application/json\r\n"


def chunks_without_end(connection: Any, _path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    while True:
        connection.sendall(b"a" * 65536)


def interim_without_end(connection: Any, _path: str) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)


def drip_body(connection: Any, _path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.1)


BAD = {
    "drip": drip,
    "drip in the body": drip_body,
    "header without end": flood,
    "chunk without end": chunks_without_end,
    "interim answers without end": interim_without_end,
    "body of 2 MB": answer("200 OK", b'"' + b"a" * 2_000_000 + b'"'),
    "HTML": answer("200 OK", b"<html></html>", "Content-Type: text/html\r\n"),
    "HTML that says JSON": answer("200 OK", b"<html></html>"),
    "HTML 404": answer("404 Not Found", b"<h1>Not Found</h1>"),
    "HTML 503": answer("503 No", b"<h1>No</h1>", "Content-Type: text/html\r\n"),
    "empty": answer("200 OK", b""),
    "NaN": answer("200 OK", b'{"price":NaN}'),
    "UTF-16": answer("200 OK", "{}".encode("utf-16")),
    "byte order mark": answer("200 OK", b"\xef\xbb\xbf{}"),
    "deep": answer("200 OK", b"[" * 100_000),
    "cut": lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
    "moved": answer("302 Found", b"{}", "Location: http://192.0.2.1/\r\n"),
    "500 with a trace": answer("500 Error", b'{"error":"Traceback (most recent call last)"}'),
    "status 999": answer("999 What", b"{}"),
    "status 204": answer("204 No Content", b""),
    "no HTTP": lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH\r\n"),
    "length twice": answer("200 OK", b"{}", "Content-Length: 1\r\n"),
    "length is a word": lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"),
    "closes": lambda _connection, _path: None,
}  # fmt: skip


class Instance:
    """A peer whose answers a test chooses; /health is answered well."""

    serve: Serve = staticmethod(answer("200 OK", LIST))

    def __call__(self, connection: Any, path: str) -> None:
        healthy(self.serve)(connection, path)


@pytest.fixture(scope="module")
def instance() -> Instance:
    return Instance()


@pytest.fixture(scope="module")
def gateway(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with (
        peer(instance) as url,
        service(
            "api-gateway",
            tmp_path_factory.mktemp("gateway"),
            PRODUCT_SERVICE_URLS=url,
            ORDER_SERVICE=url,
        ) as running,
    ):
        yield running


@pytest.mark.parametrize("name", BAD)
def test_no_bad_answer_reaches_a_client(gateway: Running, instance: Instance, name: str) -> None:
    instance.serve = BAD[name]
    for path, seconds in (("/api/products", 2.5), ("/api/products/1", 2.5), ("/api/orders/1", 5)):
        begin = time.monotonic()
        reply = requests.get(gateway.url + path, timeout=8)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert set(reply.json()) == {"error"}
        assert time.monotonic() - begin < seconds
    assert requests.get(f"{gateway.url}/health", timeout=2).status_code == 200
    assert not gateway.says("Traceback")


@pytest.mark.parametrize("name", ["drip", "header without end", "HTML", "500 with a trace", "moved"])
def test_a_bad_instance_beside_a_good_one_costs_no_request(tmp_path: Path, name: str) -> None:
    with (
        peer(healthy(BAD[name])) as bad,
        peer(answer("200 OK", LIST)) as good,
        service(
            "api-gateway",
            tmp_path,
            PRODUCT_SERVICE_URLS=f"{bad},{good}",
            ORDER_SERVICE=good,
        ) as gateway,
    ):
        for _ in range(20):
            reply = requests.get(f"{gateway.url}/api/products", timeout=3)
            assert (reply.status_code, reply.content) == (200, LIST)


@pytest.mark.parametrize(
    "status", ["200 OK", "201 Created", "400 Bad Request", "404 Not Found", "409 Conflict"]
)
def test_a_good_answer_is_passed_on_as_it_is(gateway: Running, instance: Instance, status: str) -> None:
    instance.serve = answer(status, LIST, JSON_TYPE + "X-Instance: product-9\r\n")
    reply = requests.get(f"{gateway.url}/api/products", timeout=3)
    assert (reply.status_code, reply.content) == (int(status[:3]), LIST)
    assert (reply.headers["X-Instance"], reply.headers["Content-Type"]) == ("product-9", "application/json")


@pytest.mark.parametrize(
    ("header", "wait"), [("", "1"), ("Retry-After: 7\r\n", "7"), ("Retry-After: x\r\n", "1")]
)
def test_a_503_of_an_instance_is_passed_on_with_retry_after(
    gateway: Running, instance: Instance, header: str, wait: str
) -> None:
    instance.serve = answer("503 No", b'{"error":"away"}', JSON_TYPE + header)
    reply = order(f"{gateway.url}/api/orders")
    assert (reply.status_code, reply.json(), reply.headers["Retry-After"]) == (503, {"error": "away"}, wait)


def test_a_header_that_is_no_name_is_left_out(gateway: Running, instance: Instance) -> None:
    instance.serve = answer("200 OK", LIST, JSON_TYPE + "X-Instance: <script>\xe4\r\n")
    reply = requests.get(f"{gateway.url}/api/products", timeout=3)
    assert (reply.status_code, reply.headers["X-Instance"]) == (200, "api-gateway-test")


@pytest.fixture(params=["api-gateway", "order-service"])
def discovery(request: pytest.FixtureRequest, service_folder: Any) -> Iterator[Any]:
    with service_folder(request.param) as load:
        yield load("cnet_service.discovery")


def listing(url: str) -> bytes:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return json.dumps([{"instance_id": "one", "ip": host, "port": int(port), "health": "passing"}]).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 100_000, b"\0" * 100, b'[{"instance_id":"a","ip":"no address","port":80,"health":"passing"}]',
     b'[{"instance_id":"a","ip":"192.0.2.1","port":0,"health":"passing"}]', b'[{"instance_id":1}]', b"null", b'["x"]'],
)  # fmt: skip
def test_remembered_instances_that_are_garbled_are_ignored_with_a_log_line(
    discovery: Any, tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(discovery.log, "warning", lambda text, *values: lines.append(text % values))
    memory = tmp_path / "x.instances"
    memory.write_bytes(body)
    heard: list[Any] = []
    discovery.Watch("http://192.0.2.1:1", "x", memory, heard.append)._load_list()
    assert heard == []
    assert len(lines) == 1
    assert f"ignoring the saved instances in {memory}" in lines[0]


def test_a_full_disk_is_logged_once_and_the_list_is_followed_all_the_same(
    discovery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(discovery.log, "warning", lambda text, *values: lines.append(text % values))
    memory = tmp_path / "x.instances"
    watch = discovery.Watch("http://192.0.2.1:1", "x", memory, lambda _: None)
    watch._saved_list.write(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for body in (b"1", b"2", b"3"):
        watch._saved_list.write(body)
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["x.instances"]
    assert memory.read_bytes() == b"old"
    monkeypatch.undo()
    watch._saved_list.write(b"new")
    assert memory.read_bytes() == b"new"


@pytest.mark.parametrize(
    "serve",
    [drip, flood, answer("200 OK", b"<html>"), answer("200 OK", b"[]"), answer("404 No", b"{}")],
    ids=["drip", "flood", "HTML", "empty", "404"],
)
def test_a_registry_that_is_slow_or_wrong_leaves_the_gateway_with_what_it_remembers(
    tmp_path: Path, serve: Serve
) -> None:
    with peer(answer("200 OK", LIST)) as good, peer(serve) as registry:
        (tmp_path / "product-service.instances").write_bytes(listing(good))
        settings = {"SERVICE_REGISTRY": registry, "SERVICE_IP": "127.0.0.1"}
        with service("api-gateway", tmp_path, **settings) as gateway:
            for _ in range(5):
                assert requests.get(f"{gateway.url}/api/products", timeout=3).content == LIST
                time.sleep(0.2)


def test_a_registry_that_freezes_is_asked_again_and_followed_once_it_goes_on(
    discovery: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 0.3)
    heard: list[Any] = []
    frozen = [True]

    def registry(connection: Any, path: str) -> None:
        if frozen[0]:
            time.sleep(2)
        else:
            answer("200 OK", listing("http://192.0.2.7:80"), "X-Index: 5\r\n")(connection, path)

    with peer(registry) as url:
        discovery.Watch(url, "x", tmp_path / "x.instances", heard.append).begin()
        time.sleep(0.5)
        assert heard == []
        frozen[0] = False
        wait_until(lambda: bool(heard), 3)
        assert heard[0][0].url == "http://192.0.2.7:80"
        wait_until((tmp_path / "x.instances").exists, 3)
