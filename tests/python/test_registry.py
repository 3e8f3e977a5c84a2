"""The registry: slow peers, damaged files, and whose names are whose."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Peer:
    """A server on loopback; `answer` is given each connection once its request has begun to arrive."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.sent = 0
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(4096)
                self._answer(connection)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[Peer]:
    server = Peer(answer)
    try:
        yield server
    finally:
        server.close()


def answer_well(connection: socket.socket) -> None:
    connection.sendall(OK_HEAD)


def drip_head(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def say_nothing(connection: socket.socket) -> None:
    connection.settimeout(20)
    connection.recv(1)


def send_endless_head(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-More: " + b"a" * 60_000)


def send_endless_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    sent = 0
    while True:
        sent += connection.send(b"a" * 65_536)
        assert sent < 50_000_000, "somebody reads all of it"


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"a")
        time.sleep(0.05)


def instance(registry: Load, name: str = "shop", ip: str = "127.0.0.1", port: int = 1, **more: Any) -> Any:
    made = registry("instances").Instance(name, more.pop("instance_id", f"{name}-1"), ip, port, "")
    for field, value in more.items():
        setattr(made, field, value)
    return made


# --- checks: one deadline for a whole exchange


@pytest.mark.parametrize("bad", [drip_head, say_nothing, send_endless_head])
def test_a_peer_without_an_end_is_found_not_to_answer_in_time(
    registry: Load, bad: Callable[[socket.socket], None]
) -> None:
    checks = registry("checks")
    with peer(bad) as server:
        begin = time.monotonic()
        assert not checks.is_answering(instance(registry, port=server.port))
        assert time.monotonic() - begin < checks.DEADLINE_SECONDS + 0.5


@pytest.mark.parametrize("long", [send_endless_body, drip_body, answer_well])
def test_a_body_is_not_waited_for(registry: Load, long: Callable[[socket.socket], None]) -> None:
    checks = registry("checks")
    with peer(long) as server:
        begin = time.monotonic()
        assert checks.is_answering(instance(registry, port=server.port))
        assert time.monotonic() - begin < checks.DEADLINE_SECONDS + 0.5


def test_a_status_that_is_not_200_or_not_http_is_no_answer(registry: Load) -> None:
    for head in (
        b"HTTP/1.1 503 Busy\r\n\r\n",
        b"HTTP/1.1 20000 OK\r\n\r\n",
        b"SSH-2.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ):
        with peer(lambda connection, head=head: connection.sendall(head)) as server:  # type: ignore[misc]
            assert not registry("checks").is_answering(instance(registry, port=server.port)), head


def test_slow_peers_delay_the_check_of_nobody_else(registry: Load, tmp_path: Path) -> None:
    store = registry("store").Store(tmp_path / "registrations.json")
    known = registry("registry").Registry(store)
    registry("checks").check_for_ever(known)
    well = Peer(answer_well)
    with peer(drip_head) as slow:
        for number in range(60):  # more than any pool of workers might have
            known.register(
                instance(registry, "slow", f"127.0.1.{number}", slow.port, instance_id=f"s{number}")
            )
        known.register(instance(registry, "good", port=well.port))
        time.sleep(1)
        assert [found.health for found in known.instances("good")] == ["passing"]
        well.close()
        begin = time.monotonic()
        while known.healthy("good"):
            assert time.monotonic() - begin < 3
            time.sleep(0.02)
        for found in known.instances():
            known.deregister(found)


def test_an_endless_answer_does_not_hold_up_a_stopping_service(
    service_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service_folder("order-service") as load, peer(drip_head) as slow:
        registration = load("cnet_service.registration").Registration(
            f"http://127.0.0.1:{slow.port}", "shop", "shop-1", "127.0.0.1", 80
        )
        registration.begin()
        time.sleep(0.6)  # it waits for an answer now
        begin = time.monotonic()
        assert not registration.leave()
        assert time.monotonic() - begin < 4


def test_a_dns_message_has_one_deadline(registry: Load) -> None:
    dns_server = registry("dns_server")
    here, there = socket.socketpair()

    def drip() -> None:
        with suppress(OSError):
            for _ in range(100):
                there.send(b"\0")
                time.sleep(0.05)

    there.sendall(b"\x10\x00")
    threading.Thread(target=drip, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        dns_server.read_message(here, time.monotonic() + 0.3)
    assert time.monotonic() - begin < 1


# --- the store: a failure of bookkeeping is no failure of the registry


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20] + b"\xa5" * (path.stat().st_size - 20))


def replace_by_text(path: Path) -> None:
    path.write_text("this is no list of registrations\n" * 500)


def replace_by_other_json(path: Path) -> None:
    path.write_text('{"something": "else"}')


DAMAGE = [zero, cut, empty, garble, replace_by_text, replace_by_other_json]


@pytest.fixture
def stored(registry: Load, tmp_path: Path) -> tuple[Any, Path]:
    path = tmp_path / "registrations.json"
    store = registry("store").Store(path)
    store.save([instance(registry, "shop", "192.0.2.1", 80, registered_at="then", ttl=3.0)])
    return store, path


def test_a_store_gives_back_what_was_saved(registry: Load, stored: tuple[Any, Path]) -> None:
    store, path = stored
    assert [(found.name, found.ip, found.ttl) for found in store.load()] == [("shop", "192.0.2.1", 3.0)]
    store.save([])
    assert registry("store").Store(path).load() == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_set_aside_at_the_start_and_a_new_one_is_used(
    registry: Load, stored: tuple[Any, Path], damage: Callable[[Path], None]
) -> None:
    path = stored[1]
    damage(path)
    store = registry("store").Store(path)
    assert store.load() == []
    assert damage is empty or path.with_name("registrations.json.damaged").exists()
    store.save([instance(registry, "shop", "192.0.2.2", 80)])
    assert [found.ip for found in registry("store").Store(path).load()] == ["192.0.2.2"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_while_it_runs_costs_no_registration(
    registry: Load, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "registrations.json"
    known = registry("registry").Registry(registry("store").Store(path))
    known.register(instance(registry, "shop", "192.0.2.1", 80))
    damage(path)
    known.register(instance(registry, "shop", "192.0.2.2", 80, instance_id="shop-2"))
    assert len(known.instances()) == 2
    assert len(registry("registry").Registry(registry("store").Store(path)).instances()) == 2


def test_a_garbled_row_costs_that_row(registry: Load, stored: tuple[Any, Path]) -> None:
    store, path = stored
    rows = json.loads(path.read_text())
    bad = {
        "name": "shop",
        "instance_id": "x",
        "ip": "nowhere",
        "port": "http",
        "registered_at": 5,
        "ttl": "long",
    }
    path.write_text(json.dumps([bad, *rows, 5, [], {"name": "shop"}, rows[0] | {"more": 1}]))
    assert [found.ip for found in store.load()] == ["192.0.2.1"]


def test_a_disk_that_cannot_be_written_costs_nothing_and_is_written_when_it_can(
    registry: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file in the place of the folder")
    known = registry("registry").Registry(registry("store").Store(blocked / "registrations.json"))
    known.register(instance(registry, "shop", "192.0.2.1", 80))
    known.register(instance(registry, "shop", "192.0.2.2", 80, instance_id="shop-2"))
    assert known.renew("shop", "shop-2")
    assert len(known.instances("shop")) == 2
    assert sum("cannot write" in record.getMessage() for record in caplog.records) == 1
    blocked.unlink()
    known.sweep()
    assert len(registry("store").Store(blocked / "registrations.json").load()) == 2


# --- names and addresses belong to the table

TABLE = """192.0.2.30\t5000\tproduct-service\tproduct-1
192.0.2.31\t5000\tproduct-service\tproduct-2
192.0.2.40\t5000\torder-service\torder-service
192.0.2.90\t0\t-\tbare
"""


@pytest.fixture
def owned(registry: Load, tmp_path: Path) -> tuple[Any, Path]:
    path = tmp_path / "owners.tsv"
    path.write_text(TABLE)
    store = registry("store").Store(tmp_path / "registrations.json")
    return registry("registry").Registry(store, owners=registry("owners").Owners(path)), path


def test_a_node_may_register_what_the_table_runs_there(registry: Load, owned: tuple[Any, Path]) -> None:
    for ip, name, label in (
        ("192.0.2.30", "product-service", "product-1"),
        ("192.0.2.40", "order-service", "order-service"),
    ):
        owned[0].register(instance(registry, name, ip, 5000, instance_id=label))
    assert len(owned[0].instances()) == 2


@pytest.mark.parametrize(
    "claim",
    [
        ("192.0.2.40", 5000, "product-service", "product-1"),  # another program's name
        ("192.0.2.31", 5000, "order-service", "order-service"),
        ("192.0.2.31", 5000, "product-service", "product-1"),  # its twin's id
        ("192.0.2.31", 5001, "product-service", "product-2"),  # another port
        ("192.0.2.31", 5000, "new-service", "new-1"),  # a name that nobody has
        ("192.0.2.90", 5000, "new-service", "new-1"),  # a node that runs nothing
        ("192.0.2.99", 5000, "product-service", "product-9"),  # an address that is not in the table
        ("192.0.2.99", 5000, "product-1", "product-1"),
    ],
)
def test_every_other_claim_is_refused(
    registry: Load, owned: tuple[Any, Path], claim: tuple[str, int, str, str]
) -> None:
    ip, port, name, label = claim
    with pytest.raises(registry("owners").NotOwnerError):
        owned[0].register(instance(registry, name, ip, port, instance_id=label))
    assert owned[0].instances() == []


def test_an_address_outside_the_table_may_register_a_name_outside_it(
    registry: Load, owned: tuple[Any, Path]
) -> None:
    owned[0].register(instance(registry, "new-service", "192.0.2.99", 80))
    assert len(owned[0].instances("new-service")) == 1


def test_strangers_cannot_use_up_the_places_of_the_table(
    registry: Load, owned: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry("registry"), "MAX_INSTANCES", 20)
    for number in range(20):
        owned[0].register(instance(registry, "new", f"198.51.100.{number}", 80, instance_id=f"n{number}"))
    with pytest.raises(registry("registry").RefusedError):
        owned[0].register(instance(registry, "new", "198.51.100.251", 80, instance_id="one-more"))
    owned[0].register(instance(registry, "product-service", "192.0.2.30", 5000, instance_id="product-1"))


def test_a_node_that_scaling_adds_may_register_at_once(registry: Load, owned: tuple[Any, Path]) -> None:
    def register() -> None:
        owned[0].register(instance(registry, "product-service", "192.0.2.32", 5000, instance_id="product-3"))

    with pytest.raises(registry("owners").NotOwnerError):
        register()
    new = owned[1].with_suffix(".new")
    new.write_text(TABLE + "192.0.2.32\t5000\tproduct-service\tproduct-3\n")
    new.replace(owned[1])
    register()


def test_without_the_expected_table_nobody_registers(
    registry: Load, tmp_path: Path, owned: tuple[Any, Path]
) -> None:
    store = registry("store").Store(tmp_path / "other.json")
    known = registry("registry").Registry(store, owners=registry("owners").Owners(tmp_path / "missing"))
    with pytest.raises(registry("cnet_service.errors").UnavailableError):
        known.register(instance(registry, "new-service", "192.0.2.99", 80))


@pytest.mark.parametrize(
    "text", [None, "", "garbled\n", "192.0.2.30\tx\tproduct-service\tproduct-1\n", "\xff"]
)
def test_a_table_that_is_lost_later_is_still_in_force(
    registry: Load, owned: tuple[Any, Path], text: str | None
) -> None:
    claim = instance(registry, "product-service", "192.0.2.40", 5000, instance_id="product-1")
    with pytest.raises(registry("owners").NotOwnerError):
        owned[0].register(claim)
    if text is None:
        owned[1].unlink()
    else:
        owned[1].write_text(text, encoding="latin-1")
    with pytest.raises(registry("owners").NotOwnerError):
        owned[0].register(claim)


def test_a_forged_registration_in_the_store_is_not_restored(
    registry: Load, tmp_path: Path, owned: tuple[Any, Path]
) -> None:
    store = registry("store").Store(tmp_path / "registrations.json")
    store.save(
        [
            instance(registry, "product-service", "192.0.2.40", 5000, instance_id="product-1"),
            instance(registry, "product-service", "192.0.2.31", 5000, instance_id="product-2"),
        ]
    )
    known = registry("registry").Registry(store, owners=registry("owners").Owners(owned[1]))
    assert [found.instance_id for found in known.instances()] == ["product-2"]


def test_a_passing_instance_is_not_replaced_from_another_address_and_a_critical_one_is(
    registry: Load, tmp_path: Path
) -> None:
    known = registry("registry").Registry(registry("store").Store(tmp_path / "registrations.json"))
    first = instance(registry, ip="192.0.2.1")
    known.register(first)
    with pytest.raises(registry("registry").RefusedError, match="passing"):
        known.register(instance(registry, ip="192.0.2.2"))
    known.register(instance(registry, ip="192.0.2.1", port=2))  # its own address may change its port
    assert [found.port for found in known.instances()] == [2]
    known.note_check(known.instances()[0], answers=False)
    known.register(instance(registry, ip="192.0.2.2"))
    assert [found.ip for found in known.instances()] == ["192.0.2.2"]
