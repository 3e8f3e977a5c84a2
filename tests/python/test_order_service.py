"""The order service with a real PostgreSQL, and with product services and stores that answer badly or not at all."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import Postgres, Running, answer, drip, flood, healthy, order, peer, postgres, service

Load = Callable[[str], ModuleType]
GOOD = {"customer_id": "c", "product_id": "1", "quantity": 1, "total_price": 1}


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def orders(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with service("order-service", tmp_path_factory.mktemp("orders"), **database.settings) as running:
        yield running


def is_unavailable(reply: requests.Response) -> bool:
    return reply.status_code == 503 and reply.headers["Retry-After"] == "1" and "error" in reply.json()


BREAKS = {
    "read-only by default": (
        ["ALTER ROLE orders SET default_transaction_read_only = on"],
        ["ALTER ROLE orders RESET default_transaction_read_only"],
    ),
    "serial exhausted": (["ALTER SEQUENCE orders_id_seq MAXVALUE 1000 RESTART 1000", "SELECT nextval('orders_id_seq')"],
                         ["ALTER SEQUENCE orders_id_seq MAXVALUE 2147483647"]),
    "right missing": (["REVOKE INSERT ON orders FROM orders"], ["GRANT INSERT ON orders TO orders"]),
    "constraint": (["ALTER TABLE orders ADD CONSTRAINT none CHECK (quantity > 9) NOT VALID"],
                   ["ALTER TABLE orders DROP CONSTRAINT none"]),
    "column missing": (["ALTER TABLE orders RENAME quantity TO amount"],
                       ["ALTER TABLE orders RENAME amount TO quantity"]),
    "column too narrow": (["ALTER TABLE orders ALTER customer_id TYPE varchar(2) USING 'x'"],
                          ["ALTER TABLE orders ALTER customer_id TYPE varchar(100)"]),
    "slow": (["CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_sleep(9); RETURN NEW; END'",
                "CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow()"],
               ["DROP FUNCTION slow CASCADE"]),
    "too many connections": (["ALTER ROLE orders CONNECTION LIMIT 0"], ["ALTER ROLE orders CONNECTION LIMIT -1"]),
    "disk full": (
        ["CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
         " 'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END'",
         "CREATE TRIGGER full_disk BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION full_disk()"],
        ["DROP FUNCTION full_disk CASCADE"]),
    "refused at the commit": (
        ["CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''late''; END'",
         "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED"
         " FOR EACH ROW EXECUTE FUNCTION late()"],
        ["DROP FUNCTION late CASCADE"]),
}  # fmt: skip


def drop_connections(database: Postgres) -> None:
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'")


@pytest.mark.parametrize("name", BREAKS)
def test_whatever_postgresql_refuses_is_a_503_and_over_when_it_is_over(
    orders: Running, database: Postgres, name: str
) -> None:
    breaks, mends = BREAKS[name]
    assert order(f"{orders.url}/orders").status_code == 201
    database.sql(*breaks)
    drop_connections(database)  # settings of a role are those of new connections
    try:
        reply = order(f"{orders.url}/orders")
        assert is_unavailable(reply), reply.text
    finally:
        database.sql(*mends)
    time.sleep(0.6)  # a database that refused a connection is left alone for half a second
    assert order(f"{orders.url}/orders").status_code == 201
    assert not orders.says("Traceback")


def test_orders_are_read_while_postgresql_is_read_only(orders: Running, database: Postgres) -> None:
    number = order(f"{orders.url}/orders").json()["order_id"]
    database.sql("ALTER ROLE orders SET default_transaction_read_only = on")
    drop_connections(database)
    try:
        for _ in range(3):
            assert requests.get(f"{orders.url}/orders/{number}", timeout=5).json()["id"] == number
        assert requests.get(f"{orders.url}/ready", timeout=5).status_code == 200
    finally:
        database.sql("ALTER ROLE orders RESET default_transaction_read_only")
        drop_connections(database)


def test_a_table_that_is_missing_is_made_and_no_other_query_makes_tables(
    orders: Running, database: Postgres
) -> None:
    for table in ("idempotency_keys", "orders, idempotency_keys"):
        database.sql(f"DROP TABLE IF EXISTS {table}")
        assert order(f"{orders.url}/orders", key=f"key {table}".replace(" ", "-")).status_code == 201
    database.sql(
        "ALTER ROLE orders SET log_statement = 'none'", "REVOKE CREATE ON SCHEMA public FROM orders, PUBLIC"
    )
    drop_connections(database)
    assert order(f"{orders.url}/orders").status_code == 201


def test_a_frozen_postgresql_costs_two_seconds_and_not_a_thread_for_ever(
    orders: Running, database: Postgres
) -> None:
    assert order(f"{orders.url}/orders").status_code == 201
    database.signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with ThreadPoolExecutor(32) as pool:
            replies = list(pool.map(lambda _: order(f"{orders.url}/orders"), range(32)))
        assert time.monotonic() - begin < 6
        assert all(map(is_unavailable, replies))
    finally:
        database.signal(signal.SIGCONT)
    time.sleep(0.6)
    assert order(f"{orders.url}/orders").status_code == 201


def test_what_is_no_postgresql_is_a_503_within_two_seconds(tmp_path: Path) -> None:
    for serve in (drip, flood, answer("200 OK", b"{}")):
        with peer(serve) as url:
            port = url.rpartition(":")[2]
            with service("order-service", tmp_path, DB_HOST="127.0.0.1", DB_PORT=port) as running:
                begin = time.monotonic()
                assert is_unavailable(order(f"{running.url}/orders"))
                assert time.monotonic() - begin < 2.5


def test_a_price_that_json_cannot_say_is_a_503(orders: Running, database: Postgres) -> None:
    number = order(f"{orders.url}/orders").json()["order_id"]
    database.sql(f"UPDATE orders SET total_price = 'NaN' WHERE id = {number}")  # noqa: S608  a number
    assert is_unavailable(requests.get(f"{orders.url}/orders/{number}", timeout=5))
    database.sql(f"DELETE FROM orders WHERE id = {number}")  # noqa: S608  a number


def product(connection: Any, path: str) -> None:
    number = path.rpartition("/")[2]
    if number in ("1", "2"):
        answer("200 OK", b'{"id":"%s"}' % number.encode())(connection, path)
    else:
        answer("404 Not Found", b'{"error":"Product not found"}')(connection, path)


def known_then(serve: Any) -> Any:
    """Know product 1; do `serve` for any other."""
    return lambda connection, path: (product if path.endswith("/1") else serve)(connection, path)


@pytest.mark.parametrize("serve", [drip, flood])
def test_a_slow_product_service_never_costs_an_order_for_a_known_product(
    database: Postgres, tmp_path: Path, serve: Any
) -> None:
    with (
        peer(healthy(known_then(serve))) as url,
        service("order-service", tmp_path, PRODUCT_SERVICE_URLS=url, **database.settings) as running,
    ):
        assert order(f"{running.url}/orders").status_code == 201
        with ThreadPoolExecutor(60) as pool:
            unknown = [
                pool.submit(order, f"{running.url}/orders", f"unknown-{number}") for number in range(60)
            ]
            begin, worst = time.monotonic(), 0.0
            for _ in range(20):
                before = time.monotonic()
                assert order(f"{running.url}/orders").status_code == 201
                worst = max(worst, time.monotonic() - before)
            assert all(is_unavailable(one.result()) for one in unknown)
        assert worst < 2.5, "the gateway gives an order 3 s"
        assert time.monotonic() - begin < 30


def test_one_slow_product_service_among_good_ones_costs_no_order(database: Postgres, tmp_path: Path) -> None:
    with (
        peer(healthy(drip)) as slow,
        peer(product) as good,
        service(
            "order-service", tmp_path, PRODUCT_SERVICE_URLS=f"{slow},{good}", **database.settings
        ) as running,
    ):
        with ThreadPoolExecutor(30) as pool:
            replies = list(
                pool.map(lambda number: order(f"{running.url}/orders", str(number % 4)), range(60))
            )
        assert {reply.status_code for reply in replies} <= {201, 400, 503}
        for number, status in (("1", 201), ("2", 201), ("3", 400)):
            assert order(f"{running.url}/orders", number).status_code == status


@pytest.mark.parametrize(
    "serve",
    [
        answer("200 OK", b"<html>"), answer("200 OK", b'{"id":"2"}'), answer("404 Not Found", b"<html>"),
        answer("301 Moved", b"{}", "Location: /\r\n"), answer("500 No", b'{"error":"x"}'),
        answer("200 OK", b"[" * 50000),
    ],
)  # fmt: skip
def test_an_answer_that_no_product_service_gives_says_nothing_of_the_product(
    database: Postgres, tmp_path: Path, serve: Any
) -> None:
    with (
        peer(serve) as url,
        service("order-service", tmp_path, PRODUCT_SERVICE_URLS=url, **database.settings) as running,
    ):
        assert is_unavailable(order(f"{running.url}/orders"))


@pytest.fixture
def products(service_folder: Any) -> Iterator[Any]:
    with service_folder("order-service") as load:
        yield load("products")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def knows(products: Any, url: str, clock: Clock) -> Any:
    known = products.Products(clock)
    known.update([products.Listed("p", url, True)])
    return known


def test_a_negative_answer_is_remembered_for_a_short_time(products: Any) -> None:
    asked: list[str] = []

    def count(connection: Any, path: str) -> None:
        asked.append(path)
        product(connection, path)

    clock = Clock()
    with peer(count) as url:
        known = knows(products, url, clock)
        assert [known.exists("no"), known.exists("no"), known.exists("1"), known.exists("1")] == [
            False,
            False,
            True,
            True,
        ]
        assert asked == ["/products/no", "/products/1"]
        clock.now += products.MISSING_SECONDS + 1
        assert not known.exists("no")
        assert asked[2:] == ["/products/no"]


def test_the_memory_for_answers_is_bounded_and_misses_do_not_push_out_products(
    products: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(products, "MAX_KNOWN", 3)
    with peer(product) as url:
        known = knows(products, url, Clock())
        assert known.exists("1")
        for number in range(10):
            assert not known.exists(f"no-{number}")
        assert len(known._missing) == 3
        assert "1" in known._found


def test_all_who_ask_for_one_product_at_once_share_one_exchange(products: Any) -> None:
    asked: list[str] = []
    go = threading.Event()

    def slow(connection: Any, path: str) -> None:
        asked.append(path)
        go.wait(5)
        product(connection, path)

    with peer(slow) as url, ThreadPoolExecutor(products.WAITING) as pool:
        known = knows(products, url, Clock())
        answers = [pool.submit(known.exists, "1") for _ in range(products.WAITING)]
        time.sleep(0.2)
        go.set()
        assert [one.result(5) for one in answers] == [True] * products.WAITING
    assert asked == ["/products/1"]


def test_a_known_product_stays_known_while_nobody_answers_and_is_not_waited_for_each_time(
    products: Any,
) -> None:
    clock = Clock()
    with peer(product) as url:
        known = knows(products, url, clock)
        assert known.exists("1")
    clock.now += products.FOUND_SECONDS + 1
    assert known.exists("1")
    known._ask = None  # would raise
    assert known.exists("1")
    with pytest.raises(products.UnavailableError):
        knows(products, url, clock).exists("1")


def test_an_empty_list_of_the_registry_leaves_the_instances_that_were_known(products: Any) -> None:
    with peer(product) as url:
        known = knows(products, url, Clock())
        known.update([])
        assert known.exists("1")


@pytest.fixture(scope="module")
def read_amount() -> Iterator[Any]:
    from conftest import folder_of  # noqa: PLC0415  a fixture of a narrower scope cannot be used here

    with folder_of("order-service") as load:
        orders, order = load("orders"), load("cnet_service.models").NewOrder

        def read(price: Any, quantity: int) -> Any:
            body = order.model_validate(GOOD | {"quantity": quantity, "total_price": price})
            return orders.read_amount(body.total_price, body.quantity)

        yield read


cents = st.integers(1, 2_000_000)


@given(cents, st.integers(1, 2000))
def test_a_sum_of_prices_in_floats_is_rounded_to_the_cents_that_it_stands_for(
    read_amount: Any, price: int, quantity: int
) -> None:
    total = 0.0
    for _ in range(quantity):
        total += price / 100
    if price * quantity <= 9_999_999_999:
        for value in (total, price / 100 * quantity, quantity * (price / 100)):
            assert read_amount(value, quantity) * 100 == price * quantity


@given(st.integers(0, 99_999_999), st.integers(1, 9), st.integers(1, 100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_price_with_a_third_decimal_place_is_refused(
    read_amount: Any, whole: int, third: int, quantity: int
) -> None:
    with pytest.raises(Exception, match="two decimal places"):
        read_amount(float(f"{whole // 100}.{whole % 100:02}{third}"), quantity)


@pytest.mark.parametrize(
    ("value", "quantity", "stored"),
    [
        (239.96999999999997, 3, "239.97"),
        (9.5, 2, "9.50"),
        (0, 1, "0.00"),
        (99999999.99, 1, "99999999.99"),
        (5, 1, "5.00"),
    ],
)
def test_prices_that_are_taken(read_amount: Any, value: float, quantity: int, stored: str) -> None:
    assert str(read_amount(value, quantity)) == stored


@pytest.mark.parametrize(
    ("value", "quantity"),
    [
        (10.005, 1),
        (1.234, 2),
        (1e-300, 1),
        (-0.01, 1),
        (1e8, 1),
        (float("inf"), 1),
        (10**400, 1),
        (True, 1),
        ("1", 1),
    ],
)
def test_prices_that_are_refused(read_amount: Any, value: Any, quantity: int) -> None:
    with pytest.raises(Exception, match="total_price"):
        read_amount(value, quantity)
