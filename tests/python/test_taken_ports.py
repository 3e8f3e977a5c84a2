"""Ports of the host that rules of others forward: what is compared, and what is not known."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from lab.ruleset import from_iptables, from_nft
from lab.ruleset.iptables import parse
from lab.ruleset.model import Step
from lab.ruleset.taken_ports import Packet, first_forwarding_step

PACKET = Packet(protocol="tcp", address=IPv4Address("203.0.113.1"), port=8080)
PORT = {"payload": {"protocol": "tcp", "field": "dport"}}


def _taker(*rules: str, command: str = "iptables") -> Step | None:
    text = "\n".join(["*nat", *(f"[0:0] {rule}" for rule in rules), "COMMIT"])
    return first_forwarding_step(from_iptables.chains_of(parse(text), command), PACKET)


def _saved(*rules: str) -> bool:
    return _taker(*rules) is not None


@pytest.mark.parametrize(
    ("matches", "taken"),
    [
        ("-p tcp -m tcp --dport 8080", True),
        ("-p tcp -m tcp --dport 8000:8100", True),
        ("-p tcp -m tcp --dport :8080", True),
        ("-p tcp -m tcp --dport 8081:", False),
        ("-p tcp -m tcp ! --dport 8080", False),
        ("-p tcp -m multiport --dports 22,8000:8100", True),
        ("-p tcp -m multiport --ports 8080", True),
        ("-p tcp -m multiport --dports 22,443", False),
        ("-p udp -m udp --dport 8080", False),
        ("! -p tcp", False),
        ("-p tcp", True),
        ("-d 203.0.113.0/24 -p tcp -m tcp --dport 8080", True),
        ("! -d 203.0.113.1/32 -p tcp -m tcp --dport 8080", False),
        ("-d 198.51.100.1/32 -p tcp -m tcp --dport 8080", False),
        ("-m addrtype ! --dst-type LOCAL -p tcp -m tcp --dport 8080", False),
        ("-i eth7 -s 192.0.2.0/24 -p tcp -m tcp --dport 8080", True),
        ("-p tcp -m set --match-set blocked src -m tcp --dport 443", False),
        ("-p tcp -m set ! --match-set blocked src,dst -m tcp --dport 8080", True),
        ("-p tcp -m physdev --physdev-is-bridged -m tcp --dport 443", False),
        ("-p tcp -m physdev ! --physdev-is-in -m tcp --dport 443", False),
        ("-p tcp -m tcp --tcp-flags SYN,RST SYN -m tcp --dport 443", False),
        ("-p tcp -m tcp ! --syn -m tcp --dport 443", False),
        ("-p tcp -m string --string --dport --algo bm", True),
        ('-p tcp -m comment --comment "-p udp" -m tcp --dport 443', False),
    ],
)
def test_a_rule_takes_what_it_matches(matches: str, taken: bool) -> None:
    assert _saved(f"-A PREROUTING {matches} -j REDIRECT --to-ports 1") is taken
    assert _saved(f"-A OUTPUT {matches} -j DNAT --to-destination 192.0.2.1:80") is taken
    assert not _saved(f"-A PREROUTING {matches} -j LOG")


def test_chains_are_followed_as_the_kernel_does() -> None:
    jump = "-A PREROUTING -m addrtype --dst-type LOCAL -j MINE"
    takes = "-A MINE -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.1:80"
    assert _saved(jump, takes)
    assert not _saved(takes)  # nobody calls it
    assert not _saved(jump, "-A MINE -d 203.0.113.0/24 -j RETURN", takes)
    assert _saved(jump, "-A MINE -s 192.0.2.1/32 -j RETURN", takes)  # for some sources only
    assert not _saved("-A PREROUTING -p tcp -j ACCEPT", jump, takes)
    assert not _saved("-A PREROUTING -j CNET-PUBLISH", "-A CNET-PUBLISH -p tcp -m tcp --dport 8080 -j DNAT")


def test_the_command_removes_the_rule() -> None:
    rule = '-A PREROUTING -p tcp -m tcp --dport 8080 -m comment --comment "it\\\'s mine" -j REDIRECT --to-ports 1'
    found = _taker(rule, command="iptables-legacy")
    assert found
    assert found.rule.removal == (
        "sudo iptables-legacy -t nat -D PREROUTING -p tcp -m tcp --dport 8080 "
        "-m comment --comment 'it'\"'\"'s mine' -j REDIRECT --to-ports 1"
    )


def _nft(*expressions: list[dict[str, Any]], sets: dict[str, list[Any]] | None = None) -> bool:
    place = {"family": "inet", "table": "mine"}
    objects: list[dict[str, Any]] = [
        {"chain": {**place, "name": "in", "type": "nat", "hook": "prerouting"}},
        {"chain": {**place, "name": "more"}},
        *({"set": {**place, "name": name, "elem": elements}} for name, elements in (sets or {}).items()),
        *(
            {"rule": {**place, "chain": "in" if at == 0 else "more", "handle": at, "expr": expression}}
            for at, expression in enumerate(expressions)
        ),
    ]
    return first_forwarding_step(from_nft.chains_of(objects), PACKET) is not None


def _match(left: Any, right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


@pytest.mark.parametrize(
    ("statement", "taken"),
    [
        (_match(PORT, 8080), True),
        (_match(PORT, {"range": [8000, 8100]}), True),
        (_match(PORT, {"set": [22, {"range": [8000, 8100]}]}), True),
        (_match(PORT, 22), False),
        (_match(PORT, 8080, "!="), False),
        (_match(PORT, "@open"), True),
        (_match(PORT, "@others"), False),
        (_match({"payload": {"protocol": "udp", "field": "dport"}}, 8080), False),
        (_match({"payload": {"protocol": "th", "field": "dport"}}, 8080), True),
        (_match({"meta": {"key": "l4proto"}}, {"set": [17]}), False),
        (_match({"payload": {"protocol": "ip", "field": "daddr"}}, "203.0.113.1"), True),
        (
            _match(
                {"payload": {"protocol": "ip", "field": "daddr"}}, {"prefix": {"addr": "10.0.0.0", "len": 8}}
            ),
            False,
        ),
        (_match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), True),
        (_match({"fib": {"result": "type", "flags": ["daddr"]}}, "local", "!="), False),
        (_match({"meta": {"key": "mark"}}, 5), True),  # not known, so it may
    ],
)
def test_a_rule_of_nft_takes_what_it_matches(statement: dict[str, Any], taken: bool) -> None:
    sets: dict[str, list[Any]] = {"open": [22, 8080], "others": [{"elem": {"val": 443}}]}
    assert _nft([statement, {"redirect": {"port": 3128}}], sets=sets) is taken
    target = {"xt": {"type": "target", "name": "REDIRECT"}}  # iptables-save shows it
    assert not _nft([statement, target], sets=sets)


def test_maps_of_nft_take_their_keys() -> None:
    def to(key: int) -> dict[str, Any]:
        return {"dnat": {"addr": {"map": {"key": PORT, "data": {"set": [[key, "192.0.2.1"]]}}}}}

    assert _nft([to(8080)])
    assert not _nft([to(8081)])
    for key, taken in ((8080, True), (8081, False)):
        vmap = {"vmap": {"key": PORT, "data": {"set": [[key, {"jump": {"target": "more"}}]]}}}
        assert _nft([vmap], [{"redirect": None}]) is taken
