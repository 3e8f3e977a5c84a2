"""The diagram shows what is live: every node by its own address, each wire, and what is broken."""

import html
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.ruleset.iptables import parse
from lab.topology import load
from lab.unread import Unread
from monitoring.live import Listener, parse_listeners
from monitoring.publications import Publications, publications

ROOT = Path(__file__).parents[2]
FLAT = load(str(ROOT / "topology/flat.tsv"))


def printed_by(*commands: str) -> str:
    """Return what commands print in a sandboxed network; each of them must succeed."""
    script = " && ".join(("scripts/network.sh up >/dev/null", "scripts/nat.sh up >/dev/null", *commands))
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", "bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def drawn(tmp_path: Path, broken: str = "true") -> tuple[str, str]:
    """Return the JSON and the SVG of a sandboxed network in which `broken` was run."""
    svg = tmp_path / "topology.svg"
    found = printed_by(broken, f"{sys.executable} -m monitoring.diagram --json --svg {svg}")
    return found, html.unescape(svg.read_text())


def test_every_node_is_shown_by_its_own_address_and_none_by_loopback(tmp_path: Path) -> None:
    shown, svg = drawn(tmp_path)
    for node in FLAT.nodes:
        assert str(node.address) in shown
        assert node.name in svg
        assert node.interface in svg
        assert node.bridge_interface in svg
    assert "127.0.0.1" not in shown + svg
    json.loads(shown)
    ElementTree.fromstring((tmp_path / "topology.svg").read_text())  # noqa: S314  our own file


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ("ip -n redis-cache link set veth-redis down", "down"),
        ("ip netns del redis-cache", "missing"),
    ],
)
def test_what_is_broken_is_said_in_words(tmp_path: Path, broken: str, word: str) -> None:
    _, whole = drawn(tmp_path)
    _, svg = drawn(tmp_path, broken)
    assert word not in whole
    assert word in svg


def test_without_a_lab_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", sys.executable, "-m", "monitoring.diagram"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_narrow_terminal_gets_whole_words_in_lines_a_wide_one_a_table() -> None:
    script = "scripts/network.sh up >/dev/null && for columns in 80 200; do "
    script += (
        f'TERM=xterm COLUMNS=$columns script -qec "{sys.executable} -m monitoring.diagram" /dev/null; done'
    )
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", "bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace("\r", "")
    narrow, wide = shown.split("node ", 1)
    assert "\norder-service: up\n" in re.sub("nothing listens.*", "up", narrow)
    assert "  namespace order-service, address 10.0.0.40/16\n" in narrow
    assert "veth-order-s-br = veth-order-s" in wide
    assert "\u2026" not in shown
    assert max(map(len, narrow.splitlines()[:30])) <= 80  # what follows is the other one


# --- rules of others -----------------------------------------------------------------------------

NETWORKS = [bridge.address.network for bridge in FLAT.bridges]


def found_in(*rules: str, ruleset: Sequence[Mapping[str, Any]] = ()) -> Publications:
    text = "\n".join(("*nat", *(f"[0:0] {rule}" for rule in rules), "COMMIT"))
    return publications(parse(text), ruleset, NETWORKS)


def to(destination: str, matches: str = "-p tcp -m tcp --dport 8000", more: str = "") -> str:
    return f"-A PREROUTING {matches} -j DNAT --to-destination {destination}{more}"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (to("10.0.0.10:80"), ["8000/tcp 10.0.0.10:80"]),
        (to("10.0.0.10", more=" --random --persistent"), ["8000/tcp 10.0.0.10:8000"]),
        (to("10.0.0.10:53", "-p udp -m udp --dport 53"), ["53/udp 10.0.0.10:53"]),
        (
            to("10.0.0.10", "-p tcp -m multiport --dports 81,82"),
            ["81/tcp 10.0.0.10:81", "82/tcp 10.0.0.10:82"],
        ),
        (to("10.0.0.10:80", "-p 17 -s 192.0.2.1/32 -i eth9 --dport 9"), ["9/udp 10.0.0.10:80"]),
    ],
)
def test_a_rule_that_leads_to_a_node_is_shown_whoever_made_it(rule: str, expected: list[str]) -> None:
    found = found_in(rule)
    assert [f"{one.host_port}/{one.protocol} {one.address}:{one.port}" for one in found.ports] == expected
    assert found.others == ()


@pytest.mark.parametrize(
    "rule",
    [
        to("10.0.0.10-10.0.0.20"),
        to("9.0.0.1-10.0.0.0:80"),
        to("10.0.0.10:5000-5010"),
        to("10.0.0.10:5000-5010/5000", "-p tcp -m tcp --dport 5000:5010"),
        to("10.0.0.10:80", "-p tcp -m tcp --dport 8000:8010"),
        to("10.0.0.10:80", "-p tcp -m multiport --dports 80,8000:8010"),
        to("10.0.0.10:80", "-p tcp -m tcp ! --dport 22"),
        to("10.0.0.10", "! -p tcp"),
        to("10.0.0.10", "-d 192.0.2.1/32"),
        to("10.0.0.10:80", more=" --to-destination 10.0.0.20:80"),
        to("nonsense:80"),
        "-A PREROUTING -d 192.0.2.0/24 -j NETMAP --to 10.0.0.0/24",
        "-A PREROUTING -j DNAT",
    ],
)
def test_a_rule_that_is_not_one_port_to_one_port_is_named_and_the_rest_is_shown(rule: str) -> None:
    found = found_in(to("10.0.0.10:80"), rule)
    assert [one.host_port for one in found.ports] == [8000]
    assert found.others == (rule,)


@pytest.mark.parametrize(
    "rule",
    [
        to(":5353"),
        to(":5000-5010"),
        to("172.17.0.2:80"),
        to("172.17.0.2-172.17.0.9:80-90"),
        to("[fd00::1]:80"),
        "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128-3130",
        "-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE --random-fully",
    ],
)
def test_a_rule_that_leads_elsewhere_is_not_shown(rule: str) -> None:
    assert found_in(rule) == Publications()


def test_what_is_no_rule_is_named() -> None:
    (said,) = found_in("-A PREROUTING -j DNAT --to-destination 'x \"").others
    assert "not read: cannot be split into words" in said


def drawn_with(rules: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the published ports and the lines "not shown" of a sandboxed network with these rules."""
    diagram = f"{sys.executable} -m monitoring.diagram"
    text, _, shown = printed_by(rules, diagram, f"{diagram} --json").partition("{\n")
    lab = json.loads("{" + shown)["lab"]
    lines = [
        line.removeprefix("not shown").strip() for line in text.splitlines() if line.startswith("not shown")
    ]
    assert lines[1:] == lab["not_shown"]
    return lab["published"], lines


def test_the_kernels_own_rules_of_nft_and_iptables_are_read() -> None:
    published, lines = drawn_with(
        "iptables -t nat -A PREROUTING -p tcp --dport 8000:8010 -j DNAT --to-destination 10.0.0.20 && "
        "iptables -t nat -A PREROUTING -p udp --dport 53 -j DNAT --to-destination :5353 && "
        "nft add table ip mine && nft add chain ip mine pre '{ type nat hook prerouting priority -101; }' && "
        "nft add rule ip mine pre tcp dport 9000 dnat to 10.0.0.30:80 && "
        "nft add rule ip mine pre udp dport '{ 77, 78 }' dnat to 10.0.0.30 && "
        "nft add rule ip mine pre tcp dport 9100 dnat to 172.17.0.2:80 && "
        "nft add rule ip mine pre tcp dport 9100 dnat to :80 && "
        "nft add rule ip mine pre tcp dport 9000-9010 dnat to 10.0.0.10-10.0.0.20 && "
        "nft add rule ip mine pre dnat to tcp dport map '{ 80 : 10.0.0.10, 81 : 10.0.0.20 }'"
    )
    assert [(one["host_port"], one["address"], one["port"]) for one in published] == [
        (8080, "10.0.0.10", 80),
        (9000, "10.0.0.30", 80),
        (77, "10.0.0.30", 77),
        (78, "10.0.0.30", 78),
    ]
    assert lines[0] == "rules that forward, or may forward, into the lab, but not one port to one port: 3"
    assert lines[1] == "-A PREROUTING -p tcp -m tcp --dport 8000:8010 -j DNAT --to-destination 10.0.0.20"
    assert all(line.startswith("nft rule ip mine pre handle ") for line in lines[2:])


def test_a_table_that_iptables_save_does_not_print_is_named() -> None:
    published, lines = drawn_with("nft add rule ip nat PREROUTING tcp dport 77 dnat to 10.0.0.10:80")
    assert [one["host_port"] for one in published] == [77]
    assert (
        lines[1]
        == "table nat has rules made with nft, so iptables-save does not print it; see nft list table ip nat"
    )


def test_a_line_of_ss_that_cannot_be_read_is_named_and_the_rest_is_shown() -> None:
    unread = Unread()
    text = 'LISTEN 0 5 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=3))\nodd\nLISTEN 0 5 *:* *:*\n'
    assert list(parse_listeners(text, unread, "a")) == [Listener(80, "nginx", "0.0.0.0")]
    assert list(unread.sentences()) == ["not read: a line of ss, 2 times (first at a: odd)"]
