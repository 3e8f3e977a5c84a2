"""The product service with a real Redis whose values were damaged, that refuses, or that is something else."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from peers import Redis, Running, answer, drip, flood, peer, redis_server, service, wait_until

Load = Callable[[str], ModuleType]
LAPTOP = {"id": "1", "name": "Laptop", "price": 999.99, "stock": 50}
MOUSE = {"id": "2", "name": "Mouse", "price": 29.99, "stock": 200}
KEYBOARD = {"id": "3", "name": "Keyboard", "price": 79.99, "stock": 150}
TRUE_LIST = [LAPTOP, MOUSE, KEYBOARD]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def products(store: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("products")
    with service("product-service", folder, **store.settings) as running:
        yield running


def text(**changes: object) -> bytes:
    return json.dumps(LAPTOP | changes).encode()


def get(running: Running, path: str) -> Any:
    reply = requests.get(running.url + path, timeout=5)
    assert reply.status_code == 200
    return json.loads(reply.content.decode("ascii"))


BAD_PRODUCTS = {
    "NaN": text(price=float("nan")),
    "infinite": text().replace(b"999.99", b"1e999"),
    "byte order mark": b"\xef\xbb\xbf" + text(),
    "UTF-16": text().decode().encode("utf-16"),
    "no object": b"[]",
    "a word for a price": text(price="free"),
    "true for a price": text(price=True),
    "a negative price": text(price=-1),
    "a price of a thousand digits": text(price=10**1000),
    "another product": json.dumps(MOUSE).encode(),
    "a number for an id": text(id=1),
    "an empty name": text(name=" "),
    "no name": text(name=None),
    "half a surrogate pair": text(name="\ud800"),
    "half a piece in stock": text(stock=1.5),
    "true for a stock": text(stock=True),
    "a field missing": json.dumps({"id": "1", "name": "x", "price": 1}).encode(),
    "a field too many": text(extra=1),
    "cut": text()[:-1],
    "deep": b"[" * 100_000,
    "not UTF-8": b"\xff",
}
BAD_LISTS = {
    "empty": b"[]",
    "one missing": json.dumps(TRUE_LIST[:2]).encode(),
    "one twice": json.dumps([LAPTOP, LAPTOP, KEYBOARD]).encode(),
    "one too many": json.dumps([*TRUE_LIST, LAPTOP | {"id": "4"}]).encode(),
    "a bad one": b"[" + text(price="free") + b"," + json.dumps(TRUE_LIST[1:]).encode()[1:],
    "an object": json.dumps(LAPTOP).encode(),
}


@pytest.mark.parametrize("name", BAD_PRODUCTS)
def test_a_cached_product_that_is_not_good_is_replaced_and_not_served(
    products: Running, store: Redis, name: str
) -> None:
    store.client.set("product_1", BAD_PRODUCTS[name], ex=300)
    assert get(products, "/products/1") == LAPTOP
    assert json.loads(bytes(store.client.get("product_1") or b"")) == LAPTOP  # type: ignore[arg-type]  # not async


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_cached_list_that_is_not_good_is_replaced_and_not_served(
    products: Running, store: Redis, name: str
) -> None:
    store.client.set("all_products", BAD_LISTS[name], ex=300)
    assert get(products, "/products")["products"] == TRUE_LIST


def test_a_good_value_is_served_from_the_cache_and_written_anew_in_one_way(
    products: Running, store: Redis
) -> None:
    twice = b'{"id":"2", "id":"1","name":"Laptop","price":1e2,"stock":7}\n'
    store.client.set("product_1", twice, ex=300)
    for _ in range(2):
        reply = requests.get(f"{products.url}/products/1", timeout=5)
        assert reply.content == b'{"id":"1","name":"Laptop","price":100.0,"stock":7}\n'
    assert store.client.get("product_1") == twice
    store.client.delete("product_1")


def test_a_value_of_another_type_is_replaced(products: Running, store: Redis) -> None:
    store.client.delete("all_products")
    store.client.rpush("all_products", "poison")
    assert get(products, "/products")["products"] == TRUE_LIST
    assert store.client.type("all_products") == b"string"
    assert store.client.ttl("all_products") > 290


def test_what_redis_refuses_is_named_in_the_log_and_other_keys_go_on(products: Running, store: Redis) -> None:
    get(products, "/products/2")  # is cached
    store.client.delete("product_3")
    store.client.config_set("maxmemory", "1")
    try:
        for _ in range(3):
            assert get(products, "/products/3") == KEYBOARD
        wait_until(lambda: products.says("Redis refuses product_3: OOM"), 5)
        before = store.client.info("commandstats")["cmdstat_get"]["calls"]
        assert get(products, "/products/2") == MOUSE
        assert store.client.info("commandstats")["cmdstat_get"]["calls"] == before + 1
    finally:
        store.client.config_set("maxmemory", "0")


def test_a_replica_is_named_read_only(tmp_path: Path, store: Redis) -> None:
    store.client.delete("product_2")
    with service("product-service", tmp_path, **store.settings) as running:
        store.client.replicaof("127.0.0.1", "1")
        try:
            assert get(running, "/products/2") == MOUSE
            wait_until(lambda: running.says("Redis refuses product_2: READONLY"), 5)
        finally:
            store.client.replicaof("NO", "ONE")
        time.sleep(1.1)
        assert get(running, "/products/2") == MOUSE
        assert store.client.exists("product_2")
        wait_until(lambda: running.says("product_2 works again"), 5)


def test_a_user_that_may_only_get_and_setex_is_enough(tmp_path: Path, store: Redis) -> None:
    store.client.delete("product_1", "all_products")
    store.client.rpush("all_products", "poison")
    store.client.acl_setuser(
        "default", enabled=True, categories=["-@all"], commands=["+get", "+setex", "+acl", "+ttl"]
    )
    try:
        with service("product-service", tmp_path, **store.settings) as running:
            assert get(running, "/products/1") == LAPTOP
            assert get(running, "/products")["products"] == TRUE_LIST
            assert store.client.ttl("product_1") > 290
            assert store.client.ttl("all_products") > 290
            assert not running.says("refuses")
    finally:
        store.client.acl_setuser("default", enabled=True, categories=["+@all"])


@pytest.mark.parametrize(("password", "word"), [("wrong", "WRONGPASS"), ("", "NOAUTH")])
def test_a_refused_password_is_named_in_the_log_once(
    tmp_path: Path, store: Redis, password: str, word: str
) -> None:
    settings = store.settings | {"REDIS_PASSWORD": password}
    with service("product-service", tmp_path, **settings) as running:
        for _ in range(3):
            assert get(running, "/products/1") == LAPTOP
            time.sleep(0.6)
        wait_until(lambda: running.says(word), 5)
        assert running.log.read_text().count(word) == 1


@pytest.mark.parametrize(
    "serve",
    [drip, flood, answer("200 OK", b"{}"), lambda connection, _: connection.sendall(b"*999999999\r\n" * 99)],
)
def test_what_is_no_redis_costs_no_answer_and_little_time(tmp_path: Path, serve: Any) -> None:
    with peer(serve) as url:
        settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": url.rpartition(":")[2], "REDIS_PASSWORD": "x"}
        with service("product-service", tmp_path, **settings) as running:
            for _ in range(4):
                begin = time.monotonic()
                assert get(running, "/products/1") == LAPTOP
                assert time.monotonic() - begin < 0.45, "the gateway gives a product 0.5 s"
                time.sleep(0.4)


@pytest.mark.parametrize("serve", [drip, flood])
def test_a_bulk_answer_that_drips_or_never_ends_costs_no_answer_and_little_time(
    tmp_path: Path, serve: Any
) -> None:
    def bulk(connection: Any, path: str) -> None:
        connection.sendall(b"+OK\r\n")
        connection.recv(1000)
        connection.sendall(b"$500000000\r\n")
        serve(connection, path)

    test_what_is_no_redis_costs_no_answer_and_little_time(tmp_path, bulk)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_entry_without_an_end_is_replaced_after_the_time_that_it_should_have(
    store: Redis, service_folder: Any
) -> None:
    with service_folder("product-service") as load:
        clock = Clock()
        cache = load("cache").Cache("127.0.0.1", store.port, "secret", clock)
        poison = b'{"price":1}'
        store.client.set("endless", poison)  # without TTL

        def get_endless() -> bytes:
            return bytes(cache.get("endless", lambda: b'{"price":2}', bytes))

        assert get_endless() == poison
        clock.now += load("cache").TTL_SECONDS - 1
        assert get_endless() == poison
        assert store.client.ttl("endless") == -1
        clock.now += 2
        assert get_endless() == b'{"price":2}'
        assert store.client.ttl("endless") > 290
        clock.now += 10
        assert get_endless() == b'{"price":2}'
