"""Diagnosis of programs: what ss, the supervisor's log, the database, nginx's file and resolver files say."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from lab.services import read_programs
from lab.topology import load
from security.diagnose import configuration, names
from security.diagnose.database import Database, own_role_settings, parse_database
from security.diagnose.finding import Kind
from security.diagnose.programs import Programs, Reply, ask_http
from security.diagnose.sockets import parse_listening
from security.diagnose.supervisor import Supervised, read_unexpected_ends

ROOT = Path(__file__).parents[2]
SS = """\
udp UNCONN 0      0          10.0.0.70:53        0.0.0.0:*    users:(("python",pid=1328,fd=12))
tcp LISTEN 0      2048      127.0.0.1:5000       0.0.0.0:*    users:(("python",pid=20,fd=3),("python",pid=7,fd=3))
tcp LISTEN 0      4096           [::]:80            [::]:*
"""


def test_ss_names_the_address_the_port_and_the_processes_of_each_socket() -> None:
    dns, loopback, everywhere = parse_listening(SS)
    assert (dns.protocol, dns.address, dns.port, dns.pids) == ("udp", "10.0.0.70", 53, (1328,))
    assert (loopback.pids, loopback.programs) == ((20, 7), ("python",))
    assert not loopback.is_at("10.0.0.30")
    assert everywhere.is_at("10.0.0.10")
    assert everywhere.pids == ()


def test_only_recent_ends_that_nobody_ordered_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text(
        "2026-01-01 10:00:00,100 WARN exited: old (exit status 3; not expected)\n"
        "2126-01-01 10:00:00,100 WARN exited: product-1 (exit status 3; not expected)\n"
        "2126-01-01 10:00:02,100 WARN exited: product-1 (terminated by SIGKILL; not expected)\n"
        "2126-01-01 10:00:03,100 INFO exited: nginx-lb (exit status 0; expected)\n"
    )
    assert read_unexpected_ends(log, 30) == {"product-1": 2}
    assert not read_unexpected_ends(tmp_path / "none", 30)


@pytest.mark.parametrize(
    ("state", "seconds", "steady"), [("RUNNING", 60, True), ("RUNNING", 1, False), ("BACKOFF", 60, False)]
)
def test_a_program_that_has_run_for_some_time_does_not_end_again_and_again(
    state: str, seconds: float, steady: bool
) -> None:
    node = load(ROOT / "topology/flat.tsv").nodes[0]
    started = time.time() - seconds  # noqa: TID251 - the supervisor gives a date
    supervised = {node.name: Supervised(node.name, state, 1, started, "")}
    programs = Programs(supervised, Counter({node.name: 3}), {}, {}, {}, frozenset(), {})
    assert programs.runs_steadily(node) == steady


def answer(**changes: object) -> str:
    row = {"max": 47, "sessions": None, "limits": {"orders": 40}, "changed": None, "system": None}
    return json.dumps(row | changes)


def session(pid: int = 1, **changes: object) -> dict[str, object]:
    row = {"pid": pid, "user": "orders", "program": "shop", "waits_for": [], "query": "", "seconds": 0}
    return row | {"holds_table": 0} | changes


def database(**changes: object) -> Database:
    found = parse_database(answer(**changes))
    assert found
    return found


@pytest.mark.parametrize(
    ("users", "full"),
    [(["orders"] * 39, ""), (["orders"] * 40, "role orders: 40"), (["postgres"] * 47, "all roles: 47")],
)
def test_sessions_are_used_up_at_the_limit_of_a_role_or_of_the_server(users: list[str], full: str) -> None:
    assert database(sessions=[session(user=user) for user in users]).full_for() == full


def test_a_session_blocks_others_if_they_have_waited_for_it() -> None:
    sessions = [session(1), session(2, waits_for=[1], seconds=2), session(3, waits_for=[2], seconds=2)]
    assert [one.pid for one in database(sessions=sessions).blockers()] == [1]
    brief = [session(1), session(2, waits_for=[1], seconds=0.2)]
    assert not database(sessions=brief).blockers()


def test_a_session_that_has_locked_a_table_for_long_blocks_others_although_none_waits_now() -> None:
    assert [one.pid for one in database(sessions=[session(1, holds_table=9)]).blockers()] == [1]
    assert not database(sessions=[session(1, holds_table=0.5)]).blockers()


def test_settings_changed_in_the_database_are_found_and_those_of_start_sh_are_known() -> None:
    found = database(
        system={"default_transaction_read_only": "on"},
        changed=[{"where": "ROLE orders", "settings": ["statement_timeout=5s"]}],
    )
    assert [(one.where, one.name, one.value) for one in found.changes] == [
        ("SYSTEM", "default_transaction_read_only", "on"),
        ("ROLE orders", "statement_timeout", "5s"),
    ]
    script = (ROOT / "services/postgres/start.sh").read_text()
    assert own_role_settings(script) == {"statement_timeout"}


def test_an_answer_that_is_none_of_the_database_is_no_database() -> None:
    assert parse_database("FATAL: sorry") is None
    assert parse_database("{}") is None


def test_nginx_runs_with_its_template_if_only_placeholders_differ() -> None:
    template = "listen @LISTEN@ backlog=4096;\nreturn 200;\n"
    assert not configuration.first_difference(template, "listen 10.0.0.10:80 backlog=4096;\nreturn 200;\n")
    assert (
        configuration.first_difference(template, "listen 10.0.0.10:80;\nreturn 200;\n")
        == "listen 10.0.0.10:80;"
    )
    assert configuration.first_difference(template, "listen 10.0.0.10:80 backlog=4096;\n") == "1 lines, not 2"


def test_what_ready_says_of_a_degraded_dependency_is_read_and_other_answers_are_not() -> None:
    assert Reply(200, '{"degraded": {"cache": "refused"}}').degraded == {"cache": "refused"}
    assert Reply(200, "OK").degraded == {}
    assert Reply(200, "[1]").degraded == {}


class TestNames:
    """The files that a resolver reads, in a folder in the place of /etc."""

    topology = load(ROOT / "topology/flat.tsv")

    @pytest.fixture(autouse=True)
    def etc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(names, "ETC", tmp_path)
        (tmp_path / "netns/product2").mkdir(parents=True)
        return tmp_path

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("# cnet\nnameserver 10.0.0.70\noptions timeout:1 attempts:2\n", ""),
            ("nameserver 192.0.2.1\noptions timeout:1 attempts:2\n", "nameserver 192.0.2.1, not 10.0.0.70"),
            ("nameserver 10.0.0.1\nnameserver 10.0.0.70\n", "nameserver 10.0.0.1, 10.0.0.70"),
            ("nameserver 10.0.0.70\n", "options none"),
            ("search corp\nnameserver 10.0.0.70\noptions timeout:1 attempts:2\n", "search corp"),
            ("", "no nameserver"),
        ],
    )
    def test_the_file_must_name_the_registry_alone(self, etc: Path, text: str, wrong: str) -> None:
        (etc / "netns/product2/resolv.conf").write_text(text)
        registry = names.dns_node(self.topology)
        assert registry
        found = list(names.check_resolver("product2", registry))
        assert [finding.kind for finding in found] == ([Kind.RESOLVER] if wrong else [])
        assert all(wrong in finding.cause for finding in found)

    @pytest.mark.parametrize(
        ("servers", "wrong"),
        [
            ("10.0.0.70 fd00:cafe::70", ""),
            ("10.0.0.70", "has nameserver 10.0.0.70, not 10.0.0.70 and fd00:cafe::70"),
            (
                "fd00:cafe::70 fd00:cafe::1",
                "fd00:cafe::70, fd00:cafe::1, not 10.0.0.70 and fd00:cafe::70 alone",
            ),
        ],
    )
    def test_the_registry_may_have_two_addresses(self, etc: Path, servers: str, wrong: str) -> None:
        lines = [f"nameserver {server}" for server in servers.split()]
        (etc / "netns/product2/resolv.conf").write_text("\n".join([*lines, "options timeout:1 attempts:2\n"]))
        registry = names.dns_node(load("dual"))
        assert registry
        causes = [finding.cause for finding in names.check_resolver("product2", registry)]
        assert len(causes) == bool(wrong)
        assert all(wrong in cause for cause in causes)

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("10.0.0.31 product-2.lab\n127.0.0.1 localhost\n", []),
            ("10.0.0.99 product-2.lab # old\n", ["product-2.lab"]),
            ("10.0.0.31 product-service.lab other.example\n", ["product-service.lab"]),
            ("# 10.0.0.99 product-2.lab\n", []),
        ],
    )
    def test_a_hosts_file_may_not_give_a_name_another_address(
        self, etc: Path, text: str, found: list[str]
    ) -> None:
        wanted = names.addresses_of_names(self.topology, read_programs(self.topology))
        (etc / "hosts").write_text(text)
        assert [one.object for one in names.check_hosts(wanted, etc / "hosts", "host")] == found

    def test_a_program_that_does_not_register_itself_has_its_nodes_name(self) -> None:
        wanted = names.addresses_of_names(self.topology, read_programs(self.topology))
        assert wanted["redis-cache.lab"] == {"10.0.0.50"}
        assert "redis.lab" not in wanted
        assert len(wanted["product-service.lab"]) == 3

    @pytest.mark.parametrize(("line", "count"), [("files dns", 0), ("files resolve", 0), ("files", 1)])
    def test_the_name_service_switch_must_ask_dns(self, etc: Path, line: str, count: int) -> None:
        (etc / "nsswitch.conf").write_text(f"passwd: files\nhosts: {line}\n")
        assert len(list(names.check_switch(etc / "nsswitch.conf", "host"))) == count

    def test_a_table_without_dns_has_no_registry_to_ask(self) -> None:
        nodes = [node._replace(listens=node.listens[:1]) for node in self.topology.nodes]
        without = type(self.topology)(self.topology.path, self.topology.bridges, nodes)
        assert names.dns_node(without) is None


def test_a_program_that_answers_nothing_timed_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ask_http("127.0.0.1", server.getsockname()[1], "/ready") == Reply(0, "timed out")


def test_an_answer_that_does_not_end_is_none_after_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with suppress(OSError), server.accept()[0] as client:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
                for _ in range(99):
                    client.sendall(b"x")
                    time.sleep(0.1)

        Thread(target=drip, daemon=True).start()
        begin = time.monotonic()
        assert ask_http("127.0.0.1", server.getsockname()[1], "/ready") == Reply(0, "timed out")
        assert time.monotonic() - begin < 3
