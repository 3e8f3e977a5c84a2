"""Connections: what conntrack and ss print, told by service; alarms when the table fills."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pages import page_faults

from lab.conntrack import connections
from lab.topology import load
from lab.unread import Unread
from monitoring.connections import report as report_module
from monitoring.connections.report import report
from monitoring.connections.tables import csv_tables
from monitoring.connections.tracker import (
    Established,
    Snapshot,
    Table,
    count_established,
    count_pairs,
    find_translations,
)
from monitoring.names import Names

FLAT = load("flat")
NAMES = Names(FLAT)
CONNTRACK = """\
ipv4     2 tcp      6 431999 ESTABLISHED src=203.0.113.2 dst=203.0.113.1 sport=4000 dport=8080 src=10.0.0.10 \
dst=203.0.113.2 sport=80 dport=4000 [ASSURED] mark=0 use=1
ipv4     2 tcp      6 100 TIME_WAIT src=127.0.0.1 dst=127.0.0.1 sport=5000 dport=8080 src=10.0.0.10 dst=10.0.0.1 \
sport=80 dport=5000 [ASSURED] mark=0 use=1
ipv4     2 tcp      6 60 SYN_SENT src=10.0.0.50 dst=10.0.0.60 sport=4001 dport=5432 [UNREPLIED] src=10.0.0.60 \
dst=10.0.0.50 sport=5432 dport=4001 mark=0 use=1
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.40 dst=10.0.0.60 sport=4002 dport=5432 src=10.0.0.60 \
dst=10.0.0.40 sport=5432 dport=4002 [ASSURED] mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 4 flow entries have been shown.
"""
SS = """\
0      0      10.0.0.60:5432    10.0.0.40:4002
0      0      [::ffff:10.0.0.60]:5432    [::ffff:10.0.0.40]:4003
0      0      10.0.0.60:4711    10.0.0.70:8500
0      0      127.0.0.1:5432    127.0.0.1:4004
"""


def snapshot(entries: int = 4, limit: int = 100, **counters: int) -> Snapshot:
    tracked = list(connections(CONNTRACK.splitlines()))
    return Snapshot(
        count_pairs(tracked, NAMES), (Established("postgres-db", 2, 1),), tuple(find_translations(tracked, NAMES)),
        Table(entries, limit, dict(counters)),
    )  # fmt: skip


def test_connections_are_counted_by_the_service_that_answers() -> None:
    assert snapshot().pairs == Counter(
        {
            ("203.0.113.2", "nginx-lb", "tcp", 80, "ESTABLISHED"): 1,
            ("host", "nginx-lb", "tcp", 80, "TIME_WAIT"): 1,
            ("redis-cache", "postgres-db", "tcp", 5432, "SYN_SENT"): 1,
            ("order-service", "postgres-db", "tcp", 5432, "ESTABLISHED"): 1,
        }
    )


def test_translations_are_shown_both_ways() -> None:
    first, second = snapshot().translations
    assert (first.kind, first.sent) == ("DNAT", "203.0.113.2:4000 \u2192 203.0.113.1:8080")
    assert first.answered == "nginx-lb:80 \u2192 203.0.113.2:4000"
    assert (second.kind, second.answered) == ("DNAT and SNAT", "nginx-lb:80 \u2192 host:5000")


def test_a_header_line_is_no_connection_nor_is_loopback() -> None:
    node = FLAT.node("postgres-db")
    assert node
    unread = Unread()
    assert count_established(node, SS, unread) == Established("postgres-db", 2, 1)
    assert count_established(node, "", unread) == Established("postgres-db", 0, 0)
    assert not unread.counts
    assert count_established(node, f"odd\n0 0 10.0.0.60:* *:*\n{SS}", unread) == Established(
        "postgres-db", 2, 1
    )
    assert list(unread.sentences()) == ["not read: a line of ss, 2 times (first at postgres-db: odd)"]


def test_a_full_table_and_clashes_raise_an_alarm() -> None:
    assert not list(snapshot(79).alarms())
    (alarm,) = snapshot(80).alarms()
    assert "80 % full (80 of 100)" in alarm
    (alarm,) = snapshot(insert_failed=3).alarms()
    assert alarm.startswith("insert_failed: 3")


def test_the_report_says_what_to_do_about_what_waits(tmp_path: Path) -> None:
    path = report(snapshot(search_restart=3, early_drop=0), tmp_path)
    assert page_faults(path) == []
    written = path.with_suffix(".md").read_text()
    assert "| search restart | 3 | lookups that were repeated" in written
    assert "| all others | 0 | early drop |" in written
    assert "sudo make explain FROM=redis-cache TO=postgres-db PORT=5432" in written
    assert "The host tracks 4 connections of at most 100" in written
    assert {table.name: len(table.rows) for table in csv_tables(snapshot())}["nat_translations"] == 2


def test_the_registrys_checks_are_no_client_without_a_pool() -> None:
    def said(source: str, destination: str) -> list[str]:
        pairs = Counter({(source, destination, "tcp", 5000, "TIME_WAIT"): 50})
        made = replace(snapshot(), pairs=pairs)
        return [line for line in report_module._observations(made) if "TIME_WAIT" in line]

    assert (
        said("service-registry", "product-1")
        == said("order-service", "service-registry")
        == said("host", "a")
        == []
    )
    (line,) = said("order-service", "product-1")
    assert line.startswith(
        "50 of 50 connections are closed already (TIME_WAIT), 50 of them from order-service to "
    )


# --- what conntrack prints -----------------------------------------------------------------------

FOREIGN = (Path(__file__).parents[1] / "fixtures/captures/conntrack.txt").read_text().splitlines()


def test_every_kind_of_entry_is_read_with_its_protocol_and_state() -> None:
    unread = Unread()
    found = [(one.protocol, one.state) for one in connections(FOREIGN, unread)]
    established = ("tcp", "ESTABLISHED")
    assert found == [
        established, established, ("udp", ""), ("tcp", ""), established, ("2", ""), ("50", ""), ("gre", ""),
        ("sctp", "ESTABLISHED"), ("icmpv6", ""), ("tcp", "TIME_WAIT"), ("icmp", ""), ("tcp", "SYN_SENT"),
        ("tcp", "SYN_SENT"), ("tcp", "SYN_SENT2"), established,
    ]  # fmt: skip
    assert not unread.counts


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("something else", "a line that is not a connection"),
        ("tcp 6 431999 ESTABLISHED", "a line that is not a connection"),
        ("src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1", "a line that is not a connection"),
        (FOREIGN[0][:100], "a truncated connection entry"),
        (FOREIGN[0][:115], "a truncated connection entry"),
        (FOREIGN[0].replace("10.0.0.60", "10.0.0.600"), "a connection with an invalid address or port"),
        (FOREIGN[0].replace("sport=4002", "sport=any"), "a connection with an invalid address or port"),
        (FOREIGN[0].replace("dst=10.0.0.60", ""), "a truncated connection entry"),
    ],
)
def test_a_line_that_is_no_connection_is_named_and_the_rest_is_counted(line: str, reason: str) -> None:
    unread = Unread()
    assert len(list(connections([FOREIGN[0], line, "", *CONNTRACK.splitlines()], unread))) == 5
    assert list(unread.sentences()) == [f"not read: {reason}, once (first at line 2)"]


def test_what_was_not_read_is_in_the_report(tmp_path: Path) -> None:
    unread = Unread()
    list(connections(["odd"], unread))
    written = report(replace(snapshot(), unread=unread), tmp_path).with_suffix(".md").read_text()
    assert "Not read: a line that is not a connection, once (first at line 1)." in written
    assert "could not be read" not in report(snapshot(), tmp_path).with_suffix(".md").read_text()


# --- both families -------------------------------------------------------------------------------

DUAL = load("dual")
CONNTRACK6 = """\
ipv6     10 tcp      6 431999 ESTABLISHED src=2001:db8:1::2 dst=2001:db8:1::1 sport=4000 dport=8080 \
src=fd00:cafe::10 dst=2001:db8:1::2 sport=80 dport=4000 [ASSURED] mark=0 use=1
ipv6     10 tcp      6 100 TIME_WAIT src=::1 dst=::1 sport=5000 dport=8080 src=fd00:cafe::10 dst=fd00:cafe::1 \
sport=80 dport=5000 [ASSURED] mark=0 use=1
ipv6     10 icmpv6   58 29 src=fd00:cafe::50 dst=fd00:cafe::60 type=128 code=0 id=7 src=fd00:cafe::60 \
dst=fd00:cafe::50 type=129 code=0 id=7 mark=0 use=1
"""


def test_connections_of_ipv6_are_counted_by_service_as_those_of_ipv4() -> None:
    unread = Unread()
    tracked = list(connections(CONNTRACK6.splitlines(), unread))
    names = Names(DUAL)
    assert not unread.counts
    assert count_pairs(tracked, names) == Counter(
        {
            ("2001:db8:1::2", "nginx-lb", "tcp", 80, "ESTABLISHED"): 1,
            ("host", "nginx-lb", "tcp", 80, "TIME_WAIT"): 1,
            ("redis-cache", "postgres-db", "icmpv6", 0, "-"): 1,
        }
    )
    first, second = find_translations(tracked, names)
    assert first.sent == "[2001:db8:1::2]:4000 \u2192 [2001:db8:1::1]:8080"
    assert first.answered == "nginx-lb:80 \u2192 [2001:db8:1::2]:4000"
    assert (second.kind, second.sent) == ("DNAT and SNAT", "host:5000 \u2192 host:8080")


def test_sockets_at_either_address_of_a_node_are_its_connections() -> None:
    node, listed = DUAL.node("postgres-db"), "0 0 [fd00:cafe::60]:5432 [fd00:cafe::40]:4002\n"
    assert node
    assert count_established(node, SS + listed, Unread()) == Established("postgres-db", 3, 1)
    assert count_established(FLAT.nodes[0], listed, Unread()).incoming == 0


def test_the_link_local_address_of_the_bridge_is_the_hosts() -> None:
    names = Names(DUAL)
    assert [names.of(one) for one in ("fe80::1", "fd00:cafe::1", "fe80::2")] == ["host", "host", "fe80::2"]
