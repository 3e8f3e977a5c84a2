"""Rules of Docker (20.10 and 28) and of the lab in one spelling, by what they are for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from pages import page_faults

from docker.diff import as_json, document_of, shown_lines, summary
from docker.normal import Names
from docker.purposes import UNEXPLAINED, compare, purposes
from lab.document import Rows, as_markdown
from lab.document_files import write_pdf
from lab.ruleset.iptables import Rule, parse

DOCKER = Names(
    {
        "br-aaaaaaaaaaaa": IPv4Interface("172.18.0.1/16"),
        "br-bbbbbbbbbbbb": IPv4Interface("172.19.0.1/16"),
    },
    frozenset({IPv4Address("172.18.0.2"), IPv4Address("172.19.0.2")}),
)
LAB = Names(
    {"br-frontend": IPv4Interface("172.20.0.1/24"), "br-backend": IPv4Interface("172.21.0.1/24")},
    frozenset({IPv4Address("172.20.0.5")}),
)
DOCKER_20 = """*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.18.0.0/16 ! -o br-aaaaaaaaaaaa -j MASQUERADE
-A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i br-aaaaaaaaaaaa -j RETURN
-A DOCKER -d 127.0.0.1/32 ! -i br-aaaaaaaaaaaa -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.18.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o br-aaaaaaaaaaaa -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br-aaaaaaaaaaaa -j DOCKER
-A FORWARD -i br-aaaaaaaaaaaa ! -o br-aaaaaaaaaaaa -j ACCEPT
-A FORWARD -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -j ACCEPT
-A DOCKER -d 172.18.0.2/32 ! -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i br-aaaaaaaaaaaa ! -o br-aaaaaaaaaaaa -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o br-aaaaaaaaaaaa -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
DOCKER_28 = """*raw
-A PREROUTING -d 172.18.0.2/32 ! -i br-aaaaaaaaaaaa -j DROP
-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8081 -j DROP
COMMIT
*filter
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.18.0.2/32 ! -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -j DROP
-A DOCKER-BRIDGE -o br-aaaaaaaaaaaa -j DOCKER
-A DOCKER-CT -o br-aaaaaaaaaaaa -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i br-aaaaaaaaaaaa -j ACCEPT
COMMIT
"""
THE_LAB = """*nat
-A PREROUTING -m comment --comment "cnet: why" -m addrtype --dst-type LOCAL -j CNET-PUBLISH
-A POSTROUTING -m comment --comment "cnet: why" -j CNET-POSTROUTING
-A PREROUTING -i br-frontend -m comment --comment "cnet: why" -j CNET-NODES
-A CNET-NODES -d 172.20.0.0/24 -m comment --comment "cnet: why" -m addrtype ! --dst-type LOCAL -j ACCEPT
-A CNET-POSTROUTING -s 172.20.0.0/24 -d 172.20.0.5/32 -o br-frontend -p tcp -m comment --comment "cnet: why" \
-m tcp --dport 80 -m conntrack --ctstate DNAT -j MASQUERADE
-A CNET-POSTROUTING -s 127.0.0.0/8 -d 172.20.0.5/32 -o br-frontend -p tcp -m tcp --dport 80 -j MASQUERADE
-A CNET-POSTROUTING -o br-backend -m comment --comment "cnet: why" -j ACCEPT
-A CNET-POSTROUTING -s 172.20.0.0/24 ! -o br-frontend -m comment --comment "cnet: why" -j MASQUERADE
-A CNET-PUBLISH -p tcp -m comment --comment "cnet: why" -m tcp --dport 8080 -j DNAT --to-destination 172.20.0.5:80
COMMIT
*filter
-A FORWARD -m comment --comment "cnet: why" -j CNET-FORWARD
-A CNET-FORWARD -m comment --comment "cnet: before up: boot=1b2c3d4e chains="
-A CNET-FORWARD -m comment --comment "cnet: before up: not-forwarding=uplink"
-A CNET-FORWARD -i br-frontend -m comment --comment "cnet: why" -j ACCEPT
-A CNET-FORWARD -o br-frontend -m comment --comment "cnet: why" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNET-FORWARD -o br-frontend -m comment --comment "cnet: why" -m conntrack --ctstate DNAT -j ACCEPT
-A CNET-FORWARD -i uplink -o br-frontend -m comment --comment "cnet: why" -j RETURN
-A CNET-FORWARD -i uplink -m comment --comment "cnet: why" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A CNET-INPUT -d 127.0.0.0/8 -i br-frontend -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
"""


def _rules(text: str) -> tuple[Rule, ...]:
    saved = parse(text.replace("\n-A", "\n[0:0] -A"))
    assert not saved.unread
    return tuple(saved.rules)


def _lines(names: Names, text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for rule in _rules(text):
        if names.concerns(rule):
            line = f"rule {names.rule(rule)}"
            found[line] = found.get(line, 0) + 1
    return found


def test_one_spelling_for_docker_and_the_lab() -> None:
    ours, theirs = _lines(LAB, THE_LAB), _lines(DOCKER, DOCKER_20)
    assert "rule nat POSTROUTING -s NETWORK ! -o BRIDGE -j MASQUERADE" in ours.keys() & theirs.keys()
    assert (
        "rule filter FORWARD -o BRIDGE -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        in ours.keys() & theirs.keys()
    )
    assert "rule nat PUBLISH -p tcp --dport PORT -j DNAT --to-destination NODE:PORT" in ours


@pytest.mark.parametrize("docker", [DOCKER_20, DOCKER_28], ids=["Docker 20.10", "Docker 28"])
def test_every_rule_has_a_purpose(docker: str) -> None:
    rows = compare(_lines(LAB, THE_LAB), _lines(DOCKER, docker))
    assert [row for row in rows if row.relation == UNEXPLAINED] == []
    assert sum(sum(row.docker.values()) for row in rows) == docker.count("-A ")


def test_relations() -> None:
    policies = {"policy filter FORWARD ACCEPT": 1}, {"policy filter FORWARD DROP": 1}
    rows = compare(_lines(LAB, THE_LAB) | policies[0], _lines(DOCKER, DOCKER_20) | policies[1])
    found = {row.purpose: row.relation for row in rows}
    assert found["Nodes leave with the host's address"] == "the same"
    assert found["A published port"] == "equivalent"
    assert found["The chain's policy"] == "different"
    assert found["Networks do not reach each other"] == "only in Docker"
    assert found["Localhost leaves as the bridge"] == "only in the lab"


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("DOCKER-USER -i br-aaaaaaaaaaaa -p sctp -j DROP", "DOCKER-USER -i BRIDGE -p sctp -j DROP"),
        ("FORWARD -i br-aaaaaaaaaaaa -p sctp -j DROP", "FORWARD -i BRIDGE -p sctp -j DROP"),
        ("DOCKER-ISOLATION-STAGE-1 -j ACCEPT", "DOCKER-ISOLATION-STAGE-1 -j ACCEPT"),
        (
            "DOCKER-ISOLATION-STAGE-2 -o br-aaaaaaaaaaaa -j ACCEPT",
            "DOCKER-ISOLATION-STAGE-2 -o BRIDGE -j ACCEPT",
        ),
        (
            "DOCKER -d 172.18.0.2/32 ! -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -p tcp -m tcp --dport 1:65535 -j ACCEPT",
            "FORWARD -d NODE ! -i BRIDGE -o BRIDGE -p tcp --dport 1:65535 -j ACCEPT",
        ),
    ],
)
def test_a_rule_that_nobody_knows_is_named(rule: str, line: str) -> None:
    (row,) = compare({}, _lines(DOCKER, f"*filter\n-A {rule}\nCOMMIT\n"))
    assert row.relation == "not explained"
    assert f"rule filter {line}" in as_json([row])
    assert summary([row]) == "1 not explained"


@pytest.mark.parametrize("line", ["rule not read: -A FORWARD", "inside rule not read: -A OUTPUT"])
def test_a_rule_that_could_not_be_read_is_named(line: str) -> None:
    (row,) = compare({}, {line: 1})
    assert row.relation == "not explained"


@pytest.mark.parametrize(
    "rule",
    [
        "*filter\n-A FORWARD -j ufw-before-forward\nCOMMIT\n",
        "*nat\n-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE\nCOMMIT\n",
        "*filter\n-A DOCKER-ISOLATION-STAGE-2 -o br-cccccccccccc -j DROP\nCOMMIT\n",
        "*nat\n-A DOCKER ! -i docker0 -p tcp -m tcp --dport 90 -j DNAT --to-destination 172.17.0.2:90\nCOMMIT\n",
    ],
    ids=["ufw", "libvirt", "another network", "another container"],
)
def test_rules_of_others_are_left_out(rule: str) -> None:
    assert _lines(DOCKER, rule) == {}


def test_each_purpose_has_a_reason_and_is_found_once() -> None:
    known = purposes()
    assert len({one.title for one in known}) == len(known)
    assert all(len(one.why) > 20 and one.lines for one in known)
    topics = [one.topic for one in known]
    assert len(set(topics)) == sum(one != before for one, before in zip(topics, ["", *topics], strict=False))


def test_many_kinds_of_lines_are_summed_up() -> None:
    said = shown_lines({f"rule security {number}": number for number in range(1, 8)})
    assert len(said) == 4
    assert said[-1] == "and 22 more of 4 other kinds"


def test_the_document_has_every_row_and_a_rule_a_line(tmp_path: Path) -> None:
    rows = compare(_lines(LAB, THE_LAB), _lines(DOCKER, DOCKER_28))
    write_pdf(document_of(rows, "made"), tmp_path / "diff.pdf")
    assert [
        fault for fault in page_faults(tmp_path / "diff.pdf") if "raw name" not in fault
    ] == []  # rules have some
    assert b"/Courier" in (tmp_path / "diff.pdf").read_bytes()
    assert ";" not in "".join(
        str(cell)
        for section in document_of(rows, "made").sections[1:]
        for block in section.blocks
        if isinstance(block, Rows)
        for row in block.cells
        for cell in row[2:4]
    )
    text = as_markdown(document_of(rows, "made"))
    assert all(row.purpose in text for row in rows)
