"""The tables of the dashboard's panel, from what ss, iptables-save and the logs print."""

from __future__ import annotations

from ipaddress import IPv6Interface
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6

from lab.ruleset.iptables import parse
from lab.topology import ROOT, load
from monitoring.connections.tracker import Translation
from monitoring.dashboard import details
from monitoring.dashboard.details import MISSING, SURPLUS, WANTED
from monitoring.dashboard.model import Model
from monitoring.dashboard.watchers import DropWatcher
from monitoring.traffic.packets import IPV4, IPV6
from security.diagnose.sockets import parse_listening
from security.proof.nflog import LoggedPacket

NODE = load(ROOT / "topology" / "flat.tsv").node("product-2")


def compared(printed: str) -> list[tuple[str, str, str]]:
    assert NODE
    return list(details.compare_sockets(NODE, parse_listening(printed)))


def test_a_socket_that_the_table_wants_has_its_program() -> None:
    line = 'tcp LISTEN 0 2048 10.0.0.31:5000 0.0.0.0:* users:(("python",pid=15,fd=3),("python",pid=9,fd=3))\n'
    assert compared(line) == [("10.0.0.31:5000/tcp", "python (pid 9, 15)", WANTED)]


def test_a_missing_socket_and_one_that_nobody_wants_are_marked() -> None:
    (missing, surplus) = compared('tcp LISTEN 0 5 127.0.0.1:5000 0.0.0.0:* users:(("nc",pid=7,fd=3))\n')
    assert missing[0] == "10.0.0.31:5000/tcp"
    assert missing[2].startswith(MISSING)
    assert surplus[:2] == ("127.0.0.1:5000/tcp", "nc (pid 7)")
    assert surplus[2].startswith(SURPLUS)


def test_a_socket_at_the_ipv6_address_of_the_node_is_wanted_too() -> None:
    assert NODE
    node = NODE._replace(address6=IPv6Interface("fd00::31/64"))
    (socket,) = parse_listening('tcp LISTEN 0 5 [fd00::31]:5000 [::]:* users:(("nc",pid=7,fd=3))\n')
    (row,) = details.compare_sockets(node, [socket])
    assert row == ("[fd00::31]:5000/tcp", "nc (pid 7)", WANTED)


def test_the_packets_of_a_policy_line_are_those_of_all_its_rules_but_not_those_of_its_log() -> None:
    saved = parse(
        "*security\n"
        '[5:300] -A CNET-TO-A -m comment --comment "cnet: products: why" -j RETURN\n'
        '[2:120] -A CNET-TO-B -m comment --comment "cnet: products: why" -j RETURN\n'
        '[4:240] -A CNET-TO-B -m comment --comment "cnet: closed: no" -j CNET-DROP-closed\n'
        '[4:240] -A CNET-DROP-closed -m comment --comment "cnet: closed: copy" -j NFLOG --nflog-group 1\n'
        '[4:240] -A CNET-DROP-closed -m comment --comment "cnet: closed: no" -j DROP\nCOMMIT\n'
    )
    counts = details.count_by_line(saved.rules)
    assert (counts["products"], counts["closed"]) == (7, 4)


@pytest.mark.parametrize(("table", "packets"), [("flat", "5"), ("dual", "7")])
def test_the_packets_of_a_policy_line_are_those_of_the_families_of_the_table(
    table: str, packets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = '*security\n[{}:9] -A CNET-TO-A -m comment --comment "cnet: cache: why" -j RETURN\nCOMMIT\n'
    saved = {"iptables-save": rule.format(5), "ip6tables-save": rule.format(2)}
    monkeypatch.setattr(details, "run", lambda command, *_: saved[command])
    rows = details.policy_lines(Model(load(table)), ["redis-cache"])
    assert [row[3] for row in rows.cells if row[0] == "cache"] == [packets]


@pytest.mark.parametrize(
    ("ethertype", "packet", "drop"),
    [
        (
            IPV4,
            IP(src="10.0.0.50", dst="10.0.0.60") / TCP(dport=5432),
            ("10.0.0.50", "10.0.0.60", "tcp/5432"),
        ),
        (IPV6, IPv6(src="fd00::50", dst="fd00::60") / UDP(dport=53), ("fd00::50", "fd00::60", "udp/53")),
        (IPV6, IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_RA(), ("fe80::1", "ff02::1", "icmpv6")),
        (IPV6, b"\x60short", ("", "", "ethertype 0x86dd")),
    ],
)
def test_a_drop_has_the_addresses_and_the_port_of_either_family(
    ethertype: int, packet: object, drop: tuple[str, str, str]
) -> None:
    watcher = DropWatcher()
    watcher._note(iter([LoggedPacket("DROPPED: closed", ethertype, bytes(packet))]))  # type: ignore[call-overload]
    (found,) = watcher.drops
    assert (found.source, found.destination, found.what.lower()) == drop
    assert found.policy_id == "closed"


def test_a_translation_is_counted_without_the_clients_port() -> None:
    found = Translation(
        "DNAT and SNAT", "tcp", "TIME_WAIT", "host:43996 \u2192 host:8080", "nginx-lb:80 \u2192 host:43996"
    )
    assert details.without_client_port(found) == (
        "DNAT and SNAT",
        "host \u2192 host:8080",
        "nginx-lb:80 \u2192 host",
    )


def test_the_newest_log_lines_come_first_and_control_characters_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(details, "LOGS", tmp_path)
    old = "".join(
        f'{{"time": "2026-11-28T17:04:{n:02}.1Z", "level": "info", "message": "{n}"}}\n' for n in range(30)
    )
    (tmp_path / "a.log").write_text(old + "\x1b[31mred <b>\n")
    rows = details.logged(details.log_lines("a"))
    assert len(rows.cells) == 12
    assert rows.cells[0] == ("-", "-", "?[31mred <b>")
    assert rows.cells[1] == ("17:04:29.1", "info", "29")
    with pytest.raises(OSError, match=r"b\.log"):
        details.log_lines("b")
